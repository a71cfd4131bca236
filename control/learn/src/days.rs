//! On how many days something was seen, in twelve bytes.

use serde::{Deserialize, Serialize};

const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// The days (UTC) on which something was seen: exact for the last 64, a count before. Times may
/// come in any order; one that is older than 64 days counts only if it comes in its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    /// Number of the last day, counted from 1970.
    last: u32,
    /// Bit n: seen n days before the last.
    recent: u64,
    /// How many there were before these.
    older: u32,
}

impl Days {
    /// Remembers the day of a time in microseconds since 1970.
    pub fn insert(&mut self, time_unix_us: u64) {
        let day = u32::try_from(time_unix_us / DAY_US).unwrap_or(u32::MAX);
        if self.recent == 0 {
            (self.last, self.recent) = (day, 1);
        } else if let Some(behind) = self.last.checked_sub(day) {
            self.recent |= 1u64.checked_shl(behind).unwrap_or(0);
        } else {
            let ahead = day - self.last;
            let kept = self.recent.checked_shl(ahead).unwrap_or(0);
            self.older = self
                .older
                .saturating_add(self.recent.count_ones() - kept.count_ones());
            (self.last, self.recent) = (day, kept | 1);
        }
    }

    /// How many days.
    pub fn count(&self) -> u32 {
        self.older.saturating_add(self.recent.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn counts_days_in_any_order(days in proptest::collection::vec(1000u64..1064, 0..40)) {
            let mut seen = Days::default();
            days.iter().for_each(|day| seen.insert(day * DAY_US + 7));
            prop_assert_eq!(seen.count() as usize, days.iter().collect::<BTreeSet<_>>().len());
        }

        #[test]
        fn counts_many_days_in_their_order(days in proptest::collection::btree_set(0u64..100_000, 0..200)) {
            let mut seen = Days::default();
            days.iter().for_each(|day| seen.insert(day * DAY_US));
            prop_assert_eq!(seen.count() as usize, days.len());
        }
    }

    #[test]
    fn the_end_of_time_is_a_day() {
        let mut seen = Days::default();
        seen.insert(u64::MAX);
        seen.insert(0);
        assert_eq!(seen.count(), 1);
    }
}
