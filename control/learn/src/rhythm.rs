//! Whether something comes back, and how regularly.

use crate::Days;

/// How something comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rhythm {
    /// On one day so far, or on days without order.
    None,
    /// On most days since it began.
    Daily,
    /// Every seventh day.
    Weekly,
    /// About once a month.
    Monthly,
}

impl Rhythm {
    /// What the days show. Three days of a daily rhythm are enough, two returns of a weekly one, and
    /// one return of a monthly one, which nobody waits longer for.
    pub fn of(days: &Days, today: u32) -> Self {
        let newest: Vec<u32> = days.newest_first().collect();
        let count = u32::try_from(newest.len()).unwrap_or(u32::MAX);
        let (Some(&last), Some(&first)) = (newest.first(), newest.last()) else {
            return Self::None;
        };
        let until = today.max(last);
        if count >= 3 && count * 5 >= (until - first + 1) * 4 {
            return Self::Daily;
        }
        let gaps: Vec<u32> = newest.windows(2).map(|pair| pair[0] - pair[1]).collect();
        let all = |fits: fn(u32) -> bool| !gaps.is_empty() && gaps.iter().all(|&gap| fits(gap));
        if gaps.len() >= 2 && all(|gap| gap % 7 == 0 && gap <= 14) {
            return Self::Weekly;
        }
        // A run at the end of a month may last for some days.
        let between: Vec<u32> = gaps.iter().copied().filter(|&gap| gap > 3).collect();
        if !between.is_empty() && between.iter().all(|gap| (25..=35).contains(gap)) {
            return Self::Monthly;
        }
        // Working days: five of seven.
        if count >= 5 && gaps.iter().all(|&gap| gap <= 4) && count * 7 >= (last - first + 1) * 4 {
            return Self::Daily;
        }
        Self::None
    }

    /// How many days may pass before its absence says something.
    pub fn gap_days(self) -> u32 {
        match self {
            Self::None | Self::Weekly => 7,
            Self::Daily => 3,
            Self::Monthly => 35,
        }
    }

    /// As it stands in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "irregularly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::days::DAY_US;

    fn rhythm(days: impl IntoIterator<Item = u64>, today: u32) -> Rhythm {
        let mut seen = Days::default();
        days.into_iter().for_each(|day| seen.insert(day * DAY_US));
        Rhythm::of(&seen, today)
    }

    #[test]
    fn a_rhythm_is_told_by_its_days() {
        assert_eq!(rhythm([], 100), Rhythm::None);
        assert_eq!(rhythm([100], 100), Rhythm::None);
        assert_eq!(rhythm([100, 101], 101), Rhythm::None);
        assert_eq!(rhythm(100..103, 102), Rhythm::Daily);
        assert_eq!(rhythm([100, 107], 107), Rhythm::None);
        assert_eq!(rhythm([100, 107, 114], 114), Rhythm::Weekly);
        assert_eq!(rhythm([100, 107, 121], 130), Rhythm::Weekly);
        assert_eq!(rhythm([100, 130], 140), Rhythm::Monthly);
        assert_eq!(rhythm([100, 101, 130, 131], 140), Rhythm::Monthly);
        assert_eq!(rhythm([100, 104, 113], 114), Rhythm::None);
        let working = (0..14).filter(|day| day % 7 < 5).map(|day| 100 + day);
        assert_eq!(rhythm(working, 113), Rhythm::Daily);
    }
}
