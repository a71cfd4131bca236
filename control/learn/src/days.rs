//! On which days something was seen: a bit each, and how much it was on each of the last ones.
//!
//! Memory bound: sixteen bytes of days, and [`ACTIVITY_DAYS_MAX`] buckets.
//!
//! Both join by law: in any order, repeated or not, the same parts come to the same whole. What lies
//! further back than the bound, seen from the newest day, is dropped wherever it is met, so
//! that it cannot depend on the order either.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A day in microseconds.
pub const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;
const HOUR_US: u64 = DAY_US / 24;
/// Days that are told apart.
pub const DAYS_MAX: u32 = u128::BITS;
/// Days of which is kept how much there was.
pub const ACTIVITY_DAYS_MAX: usize = 35;

/// The number of a day, counted from 1970.
pub fn day_of(time_unix_us: u64) -> u32 {
    u32::try_from(time_unix_us / DAY_US).unwrap_or(u32::MAX)
}

/// The days (UTC) on which something was seen, of the last [`DAYS_MAX`]. Times may come in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Days {
    /// Number of the last day, counted from 1970.
    last: u32,
    /// Bit n: seen n days before the last. Written as hexadecimal digits: not every reader of JSON
    /// keeps numbers of more than 53 bits.
    #[serde(serialize_with = "write_bits", deserialize_with = "read_bits")]
    recent: u128,
    /// How many there were before these; stores of earlier versions have it.
    #[serde(skip_serializing_if = "is_zero")]
    older: u32,
}

/// What one day showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u64, u64, u64)", into = "(u32, u32, u64, u64, u64)")]
pub struct DayCounts {
    /// Counted from 1970.
    pub day: u32,
    /// Bit n: seen in hour n (UTC).
    pub hours: u32,
    /// Connections that were made.
    pub connections: u64,
    /// Connections or requests that were stopped.
    pub denied: u64,
    /// Those that protect mode would have stopped.
    pub would_deny: u64,
}

/// What each of the last [`ACTIVITY_DAYS_MAX`] days showed, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Activity(Vec<DayCounts>);

impl Days {
    /// As they were written: see [`Days::parts`].
    pub fn of(last: u32, recent: u128, older: u32) -> Self {
        // The last day is one on which something was seen, whatever was written.
        let late = match recent {
            0 => 0,
            recent => recent.trailing_zeros(),
        };
        Self {
            last: last.saturating_sub(late),
            recent: recent >> late,
            older,
        }
    }

    /// The last day, a bit for each of the days up to it, and how many there were before these.
    pub fn parts(&self) -> (u32, u128, u32) {
        (self.last, self.recent, self.older)
    }

    /// Remembers the day of a time in microseconds since 1970.
    pub fn insert(&mut self, time_unix_us: u64) {
        let day = day_of(time_unix_us);
        self.join(&Self {
            last: day,
            recent: 1,
            older: 0,
        });
    }

    /// Adds the days of another.
    pub fn join(&mut self, other: &Self) {
        let last = self.last.max(other.last);
        let aligned = |days: &Self| match days.recent {
            0 => 0,
            recent => recent.checked_shl(last - days.last).unwrap_or(0),
        };
        *self = Self {
            recent: aligned(self) | aligned(other),
            last,
            older: self.older.max(other.older),
        };
    }

    /// How many days.
    pub fn count(&self) -> u32 {
        self.older.saturating_add(self.recent.count_ones())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.recent == 0
    }

    /// The last day; 0 where there is none.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// The first day that is still told apart.
    pub fn first(&self) -> u32 {
        let span = (DAYS_MAX - 1).saturating_sub(self.recent.leading_zeros());
        self.last.saturating_sub(span)
    }

    /// Whether something was seen on that day.
    pub fn contains(&self, day: u32) -> bool {
        let behind = self
            .last
            .checked_sub(day)
            .filter(|behind| *behind < DAYS_MAX);
        behind.is_some_and(|behind| self.recent >> behind & 1 == 1)
    }

    /// The days, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = u32> {
        let Self { last, recent, .. } = *self;
        (0..DAYS_MAX)
            .filter(move |behind| recent >> behind & 1 == 1)
            .filter_map(move |behind| last.checked_sub(behind))
    }
}

impl Activity {
    /// Adds what a moment showed.
    pub fn add(&mut self, time_unix_us: u64, connections: u64, denied: u64, would_deny: u64) {
        let day = day_of(time_unix_us);
        let hour = u32::try_from(time_unix_us % DAY_US / HOUR_US).unwrap_or(0);
        let (Ok(place) | Err(place)) = self.0.binary_search_by_key(&day, |counts| counts.day);
        if self.0.get(place).is_none_or(|counts| counts.day != day) {
            let new = DayCounts {
                day,
                ..DayCounts::default()
            };
            self.0.insert(place, new);
        }
        if let Some(counts) = self.0.get_mut(place) {
            counts.hours |= 1 << hour;
            counts.connections = counts.connections.saturating_add(connections);
            counts.denied = counts.denied.saturating_add(denied);
            counts.would_deny = counts.would_deny.saturating_add(would_deny);
        }
        self.bound();
    }

    /// Takes of each day what either saw most of.
    pub fn join(&mut self, other: &Self) {
        for counts in &other.0 {
            match self.0.binary_search_by_key(&counts.day, |own| own.day) {
                Ok(place) => self.0[place].join(counts),
                Err(place) => self.0.insert(place, *counts),
            }
        }
        self.bound();
    }

    /// The days, oldest first.
    pub fn days(&self) -> &[DayCounts] {
        &self.0
    }

    /// All that was seen from that day on, as one; `hours` are then those of any day.
    pub fn since(&self, day: u32) -> DayCounts {
        let mut sum = DayCounts {
            day,
            ..DayCounts::default()
        };
        for counts in self.0.iter().filter(|counts| counts.day >= day) {
            sum.hours |= counts.hours;
            sum.connections = sum.connections.saturating_add(counts.connections);
            sum.denied = sum.denied.saturating_add(counts.denied);
            sum.would_deny = sum.would_deny.saturating_add(counts.would_deny);
        }
        sum
    }

    /// In how many different hours it was seen.
    pub fn hours(&self) -> u32 {
        self.0.iter().map(|counts| counts.hours.count_ones()).sum()
    }

    fn bound(&mut self) {
        let Some(last) = self.0.last().map(|counts| counts.day) else {
            return;
        };
        let kept = u32::try_from(ACTIVITY_DAYS_MAX).unwrap_or(u32::MAX);
        self.0.retain(|counts| last - counts.day < kept);
    }
}

/// Of days that are named twice both are joined; what lies too far back is left out.
impl FromIterator<DayCounts> for Activity {
    fn from_iter<T: IntoIterator<Item = DayCounts>>(days: T) -> Self {
        let mut activity = Self::default();
        for counts in days {
            activity.join(&Self(vec![counts]));
        }
        activity
    }
}

impl DayCounts {
    fn join(&mut self, other: &Self) {
        self.hours |= other.hours;
        self.connections = self.connections.max(other.connections);
        self.denied = self.denied.max(other.denied);
        self.would_deny = self.would_deny.max(other.would_deny);
    }
}

impl From<(u32, u32, u64, u64, u64)> for DayCounts {
    fn from((day, hours, connections, denied, would_deny): (u32, u32, u64, u64, u64)) -> Self {
        Self {
            day,
            hours,
            connections,
            denied,
            would_deny,
        }
    }
}

impl From<DayCounts> for (u32, u32, u64, u64, u64) {
    fn from(counts: DayCounts) -> Self {
        (
            counts.day,
            counts.hours,
            counts.connections,
            counts.denied,
            counts.would_deny,
        )
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn write_bits<S: Serializer>(bits: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bits:x}"))
}

/// Stores of earlier versions have a number here.
fn read_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Bits {
        Number(u64),
        Text(String),
    }
    match Bits::deserialize(deserializer)? {
        Bits::Number(number) => Ok(number.into()),
        Bits::Text(text) => u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn counts_the_last_days_in_any_order(days in prop::collection::vec(1000u64..1300, 1..60)) {
            let mut seen = Days::default();
            days.iter().for_each(|day| seen.insert(day * DAY_US + 7));
            let last = *days.iter().max().unwrap();
            let expected: BTreeSet<u32> = days
                .iter()
                .filter(|day| last - **day < u64::from(DAYS_MAX))
                .map(|day| *day as u32)
                .collect();
            prop_assert_eq!(seen.count() as usize, expected.len());
            prop_assert_eq!(seen.first(), *expected.first().unwrap());
            prop_assert!(seen.newest_first().eq(expected.iter().rev().copied()));
            prop_assert!((1000..1300).all(|day| seen.contains(day) == expected.contains(&day)));
        }

        #[test]
        fn activity_of_any_order_is_that_of_the_last_days(
            moments in prop::collection::vec((1000u64..1060, 0u64..24, 0u64..9), 1..80)
        ) {
            let mut seen = Activity::default();
            for (day, hour, connections) in &moments {
                seen.add(day * DAY_US + hour * HOUR_US, *connections, 0, 1);
            }
            let last = moments.iter().map(|moment| moment.0).max().unwrap();
            let kept = |from: u64| {
                let recent = move |moment: &&(u64, u64, u64)| {
                    last - moment.0 < ACTIVITY_DAYS_MAX as u64 && moment.0 >= from
                };
                moments.iter().filter(recent)
            };
            let hours: BTreeSet<_> = kept(0).map(|moment| (moment.0, moment.1)).collect();
            prop_assert_eq!(seen.hours() as usize, hours.len());
            let middle = seen.since(last as u32 - 3);
            let expected: u64 = kept(last - 3).map(|moment| moment.2).sum();
            prop_assert_eq!(middle.connections, expected);
        }
    }

    #[test]
    fn the_end_of_time_is_a_day() {
        let mut seen = Days::default();
        seen.insert(u64::MAX);
        seen.insert(0);
        assert_eq!(seen.count(), 1);
        let mut activity = Activity::default();
        activity.add(u64::MAX, 1, 0, 0);
        activity.add(0, 1, 0, 0);
        assert_eq!(activity.days().len(), 1);
    }

    #[test]
    fn rows_of_earlier_versions_are_read() {
        let old: Days = serde_json::from_str(r#"{"last":20000,"recent":5,"older":3}"#).unwrap();
        assert_eq!((old.count(), old.first()), (5, 19_998));
        let text = serde_json::to_string(&old).unwrap();
        assert_eq!(text, r#"{"last":20000,"recent":"5","older":3}"#);
        assert_eq!(serde_json::from_str::<Days>(&text).unwrap(), old);
    }
}
