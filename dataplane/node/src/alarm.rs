//! How many alerts and findings are told: a connection that raises thousands fills neither ring nor disk.
//!
//! Memory: a few counters. What is not told is counted.

/// Most alerts and findings told of one connection.
pub const ALARMS_PER_FLOW: u16 = 64;

/// What one worker may tell.
#[derive(Debug)]
pub struct AlarmBudget {
    per_second: u64,
    /// Of the second that `second` is.
    left: u64,
    second: u64,
    suppressed: u64,
}

/// Whether an alarm is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It is.
    Tell,
    /// It is the first of its connection that is not: say so.
    LastOfFlow,
    /// It is counted.
    Count,
}

impl AlarmBudget {
    /// So many in a second, on this worker.
    pub fn new(per_second: u64) -> Self {
        Self {
            per_second,
            left: per_second,
            second: 0,
            suppressed: 0,
        }
    }

    /// Decides on one alarm of a connection that told `told` before.
    pub fn take(&mut self, told: &mut u16, now_us: u64) -> Telling {
        let second = now_us / 1_000_000;
        if second != self.second {
            (self.second, self.left) = (second, self.per_second);
        }
        let telling = match *told {
            _ if self.left == 0 => Telling::Count,
            count if count < ALARMS_PER_FLOW => Telling::Tell,
            ALARMS_PER_FLOW => Telling::LastOfFlow,
            _ => Telling::Count,
        };
        if telling == Telling::Count {
            self.suppressed += 1;
        } else {
            *told += 1;
            self.left -= 1;
        }
        telling
    }

    /// Alarms that were not told, since the start.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_cannot_tell_more_than_its_share() {
        let mut budget = AlarmBudget::new(1_000);
        let mut told = 0;
        let answers: Vec<Telling> = (0..10_000).map(|_| budget.take(&mut told, 0)).collect();
        let of = |wanted| answers.iter().filter(|&&answer| answer == wanted).count();
        assert_eq!(of(Telling::Tell), usize::from(ALARMS_PER_FLOW));
        assert_eq!(of(Telling::LastOfFlow), 1);
        assert_eq!(budget.suppressed() as usize, of(Telling::Count));
    }

    #[test]
    fn a_worker_tells_so_many_in_a_second_and_goes_on_in_the_next() {
        let mut budget = AlarmBudget::new(10);
        let tell = |budget: &mut AlarmBudget, now_us| {
            (0..100)
                .filter(|_| budget.take(&mut 0, now_us) == Telling::Tell)
                .count()
        };
        assert_eq!(tell(&mut budget, 0), 10);
        assert_eq!(tell(&mut budget, 1_000_000), 10);
        assert_eq!(budget.suppressed(), 180);
    }
}
