//! What is not seen any more fades, and is forgotten in the end.

use serde::{Deserialize, Serialize};

use crate::days::day_of;
use crate::{Conversation, Rhythm};

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ageing {
    /// After so many days of absence (beyond its rhythm) the evidence counts half.
    pub half_life_days: u32,
    /// After so many days unseen a conversation is forgotten, unless somebody accepted it.
    pub forget_after_days: u32,
}

impl Default for Ageing {
    fn default() -> Self {
        Self {
            half_life_days: 30,
            forget_after_days: 90,
        }
    }
}

impl Ageing {
    /// Days since it was seen.
    pub fn unseen_days(seen: &Conversation, now_us: u64) -> u32 {
        day_of(now_us).saturating_sub(day_of(seen.last_seen_us))
    }

    /// What is left of its evidence: 1 while it may still come back in its rhythm, then less.
    pub fn left(&self, seen: &Conversation, now_us: u64) -> f64 {
        let rhythm = Rhythm::of(&seen.days, day_of(seen.last_seen_us));
        let late = Self::unseen_days(seen, now_us).saturating_sub(rhythm.gap_days());
        0.5_f64.powf(f64::from(late) / f64::from(self.half_life_days.max(1)))
    }

    /// Whether it is to be forgotten. What was accepted never is: that is for a person to say.
    pub fn is_over(&self, seen: &Conversation, accepted: bool, now_us: u64) -> bool {
        !accepted && Self::unseen_days(seen, now_us) > self.forget_after_days
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::days::DAY_US;

    #[test]
    fn evidence_fades_by_half_lives_and_accepted_conversations_stay() {
        let mut seen = Conversation::default();
        for day in 100..110 {
            seen.days.insert(day * DAY_US);
            seen.last_seen_us = day * DAY_US;
        }
        let ageing = Ageing {
            half_life_days: 10,
            forget_after_days: 60,
        };
        let left = |day: u64| ageing.left(&seen, day * DAY_US);
        assert_eq!((left(109), left(112), left(122)), (1.0, 1.0, 0.5));
        assert!((left(132) - 0.25).abs() < 1e-9);
        assert!(!ageing.is_over(&seen, false, 169 * DAY_US));
        assert!(ageing.is_over(&seen, false, 170 * DAY_US));
        assert!(!ageing.is_over(&seen, true, 999 * DAY_US));
    }
}
