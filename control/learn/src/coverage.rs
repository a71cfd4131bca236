//! Whether a workload has shown all it does.
//!
//! Good–Turing (I. J. Good, 1953): the chance that the next thing seen is new is the share of
//! what was seen once. What is counted here is not connections but hours in which a conversation was
//! seen: connections come in bursts, and a conversation that opens ten at once is never "seen once",
//! though it was. The interval is that of W. W. Esty (1983), with the rule of three where nothing was
//! seen once. The chance for the next day takes days for hours, as A. Chao does for incidence.
//!
//! Neither knows of what comes once a week or a month before it had a chance to come: hence
//! [`READY_AFTER_DAYS`].

use crate::days::day_of;
use crate::{Conversation, Days};

/// A workload is ready for protect below this chance.
pub const READY_BELOW: f64 = 0.02;
/// And with the upper end of the interval below this one.
pub const READY_UPPER_BELOW: f64 = 0.05;
/// And after it was watched for so many days: what happens once a week has happened.
pub const READY_AFTER_DAYS: u32 = 7;

/// One-sided 95 %.
const NORMAL_QUANTILE: f64 = 1.645;
const RULE_OF_THREE: f64 = 3.0;

/// How much of a workload's behaviour is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// The chance that the next conversation, counted once an hour, was not seen before; 0 to 1.
    pub next_is_new: f64,
    /// It is above this with a chance of 95 %.
    pub lower: f64,
    /// And below this.
    pub upper: f64,
    /// The chance that the next day shows something new.
    pub next_day_is_new: f64,
    /// Conversations that this rests on.
    pub conversations: u64,
    /// Connections of these.
    pub connections: u64,
    /// Hours of these, each conversation's counted for itself.
    pub occurrences: u64,
    /// Days from the first one to now.
    pub days: u32,
    /// Whether nothing is missing.
    pub ready: bool,
    /// What is missing for protect, as sentences.
    pub missing: Vec<String>,
}

/// What is counted of a workload's conversations, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    once: u64,
    twice: u64,
    on_one_day: u64,
    occurrences: u64,
    connections: u64,
    count: u64,
    days: Days,
    first_day: u32,
}

/// From the conversations that a workload takes part in.
pub fn coverage<'a>(
    conversations: impl IntoIterator<Item = &'a Conversation>,
    now_us: u64,
) -> Coverage {
    let mut tally = Tally::default();
    for seen in conversations {
        tally.add(seen);
    }
    tally.coverage(now_us)
}

impl Tally {
    /// One more conversation.
    pub fn add(&mut self, seen: &Conversation) {
        if seen.connections == 0 {
            return;
        }
        // Rows of earlier versions know the days only.
        let hours = u64::from(seen.activity.hours().max(seen.days.count()));
        let first_day = day_of(seen.first_seen_us);
        self.once += u64::from(hours == 1);
        self.twice += u64::from(hours == 2);
        self.on_one_day += u64::from(seen.days.count() == 1);
        self.occurrences += hours;
        self.connections = self.connections.saturating_add(seen.connections);
        self.days.join(&seen.days);
        self.first_day = match self.count {
            0 => first_day,
            _ => self.first_day.min(first_day),
        };
        self.count += 1;
    }

    /// What follows. One more of each than was seen keeps few observations from saying anything:
    /// without any the chance is 1, and it cannot be below 1 in n + 1.
    pub fn coverage(&self, now_us: u64) -> Coverage {
        let (once, total) = (self.once as f64, self.occurrences as f64);
        let next_is_new = (once + 1.0) / (total + 1.0);
        let (lower, upper) = interval(once, self.twice as f64, total);
        let watched = match self.count {
            0 => 0,
            _ => day_of(now_us).saturating_sub(self.first_day) + 1,
        };
        let next_day_is_new = match self.days.count() {
            0 => 1.0,
            days => 1.0 - (-(self.on_one_day as f64) / f64::from(days)).exp(),
        };
        let mut missing = Vec::new();
        if self.count == 0 {
            missing.push("no connection was seen".to_owned());
        } else {
            if watched < READY_AFTER_DAYS {
                missing.push(format!(
                    "watched for {} so far; what happens once a week may not have shown before {READY_AFTER_DAYS}",
                    number(watched.into(), "day")
                ));
            }
            if next_is_new >= READY_BELOW || upper >= READY_UPPER_BELOW {
                missing.push(still_new(once, total, upper));
            }
        }
        Coverage {
            next_is_new,
            lower,
            upper,
            next_day_is_new,
            conversations: self.count,
            connections: self.connections,
            occurrences: self.occurrences,
            days: watched,
            ready: missing.is_empty(),
            missing,
        }
    }
}

/// One-sided bounds, each with 95 %.
fn interval(once: f64, twice: f64, total: f64) -> (f64, f64) {
    if total < 1.0 {
        return (0.0, 1.0);
    }
    let share = once / total;
    let deviation = (once * (1.0 - share) + 2.0 * twice).sqrt() / total;
    let lower = share - NORMAL_QUANTILE * deviation;
    let upper = (share + NORMAL_QUANTILE * deviation).max(RULE_OF_THREE / total);
    (lower.max(0.0), upper.min(1.0))
}

fn still_new(once: f64, total: f64, upper: f64) -> String {
    if once == 0.0 {
        return format!(
            "{} of conversations are too few to rule out 1 new in {:.0}",
            number(total as u64, "hour"),
            1.0 / READY_UPPER_BELOW
        );
    }
    format!(
        "{} seen in one hour only; up to {:.0} of the next 100 may be new",
        number(once as u64, "conversation"),
        (upper * 100.0).ceil()
    )
}

fn number(count: u64, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::days::DAY_US;
    use proptest::prelude::*;

    const START_US: u64 = 20_000 * DAY_US;

    /// Each conversation in the first so many hours.
    fn conversations(hours: &[u64]) -> Vec<Conversation> {
        let one = |&hours: &u64| {
            let mut seen = Conversation {
                connections: hours * 10,
                first_seen_us: START_US,
                ..Conversation::default()
            };
            for hour in 0..hours {
                let time = START_US + hour * DAY_US / 24;
                seen.days.insert(time);
                seen.activity.add(time, 10, 0, 0);
            }
            seen
        };
        hours.iter().map(one).collect()
    }

    fn after_days(hours: &[u64], days: u64) -> Coverage {
        coverage(&conversations(hours), START_US + days * DAY_US)
    }

    #[test]
    fn nothing_seen_is_not_ready_and_a_week_of_the_same_is() {
        let nothing = after_days(&[], 9);
        assert_eq!((nothing.next_is_new, nothing.upper), (1.0, 1.0));
        assert_eq!(nothing.missing, ["no connection was seen"]);
        let burst = after_days(&[1], 0);
        assert!(!burst.ready && burst.missing.len() == 2, "{burst:?}");
        let ready = after_days(&[150, 160], 7);
        assert!(ready.ready && ready.missing.is_empty(), "{ready:?}");
        assert!(!after_days(&[150, 160], 3).ready, "not a week yet");
        let news = after_days(&[150, 160, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 7);
        assert_eq!(news.missing.len(), 1, "{news:?}");
        assert!(news.missing[0].starts_with("10 conversations seen in one hour only"));
    }

    proptest! {
        #[test]
        fn a_chance_lies_between_0_and_1(hours in prop::collection::vec(0u64..200, 0..20), days in 0u64..20) {
            let found = after_days(&hours, days);
            prop_assert!(found.next_is_new > 0.0 && found.next_is_new <= 1.0, "{:?}", found);
            prop_assert!(found.lower <= found.upper && found.upper <= 1.0 && found.lower >= 0.0);
            prop_assert!((0.0..=1.0).contains(&found.next_day_is_new));
            prop_assert_eq!(found.ready, found.missing.is_empty());
        }

        #[test]
        fn seeing_the_same_again_makes_news_less_likely(hours in prop::collection::vec(1u64..50, 1..20)) {
            let before = after_days(&hours, 9).next_is_new;
            let more: Vec<u64> = hours.iter().map(|hours| hours + 1).collect();
            prop_assert!(after_days(&more, 9).next_is_new < before);
        }
    }
}
