//! What rules remember: bits and numbers of connections and hosts, and how often they fired.
//!
//! Memory: tables of fixed size ([`super::Limits::remembered`], [`super::Limits::counted`]), and the bits
//! of each connection.

use std::net::IpAddr;

use super::gate::Occasion;
use super::table::{Table, key_of};
use crate::compile::{Integer, State};
use crate::rule::{
    BitKind, Comparison, IntegerOperation, IntegerValue, Threshold, ThresholdKind, Track,
};

/// How long a number of a connection is kept, and a bit without an end: longer than a connection.
const LASTING_US: u64 = 86_400_000_000;

/// Counts of a threshold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    begun_us: u64,
    count: u32,
    next: u32,
}

/// Everything that is remembered across connections.
pub(crate) struct Memory {
    pub hosts: Table<u32>,
    pub counts: Table<Count>,
    pub secret: [u64; 2],
    /// Told of one rule on one connection in a second at most.
    pub told_per_second: u32,
}

/// The connection that asks: its number (never used again) and its bits.
pub(crate) struct Own<'a> {
    pub number: u64,
    pub bits: &'a mut [u64],
}

impl Own<'_> {
    fn has(&self, bit: u32) -> bool {
        let word = self.bits.get(bit as usize / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    fn set(&mut self, bit: u32, on: bool) {
        if let Some(word) = self.bits.get_mut(bit as usize / 64) {
            let mask = 1 << (bit % 64);
            *word = if on { *word | mask } else { *word & !mask };
        }
    }
}

/// What a threshold makes of a rule that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is told and acts.
    Told,
    /// It acts.
    Untold,
    /// As if it had not fired.
    Nothing,
}

impl Memory {
    /// The two ends, as a track names them.
    fn tracked(
        track: Track,
        on: &Occasion<'_>,
        own: &Own<'_>,
    ) -> (u64, Option<IpAddr>, Option<IpAddr>) {
        let ((source, _), (destination, _)) = on.facts.ends(on.direction);
        match track {
            Track::Source => (0, Some(source), None),
            // An address is the same host whichever way it is tracked.
            Track::Destination => (0, Some(destination), None),
            Track::Pair => (
                0,
                Some(source.min(destination)),
                Some(source.max(destination)),
            ),
            Track::Rule => (0, None, None),
            Track::Flow => (own.number + 1, None, None),
        }
    }

    fn host_key(&self, bit: u32, track: Track, on: &Occasion<'_>, own: &Own<'_>) -> u64 {
        key_of(self.secret, &(bit, Self::tracked(track, on, own)))
    }

    /// Whether what a rule asks of what is remembered holds.
    pub fn asks(&mut self, state: &[State], on: &Occasion<'_>, own: &Own<'_>) -> bool {
        state
            .iter()
            .filter(|step| step.is_test())
            .all(|step| match step {
                State::Flow { kind, bits } => {
                    let wanted = *kind == BitKind::IsSet;
                    bits.iter().any(|&bit| own.has(bit) == wanted)
                }
                State::Host {
                    kind, bits, track, ..
                } => {
                    let wanted = *kind == BitKind::IsSet;
                    bits.iter().any(|&bit| {
                        let key = self.host_key(bit, *track, on, own);
                        self.hosts.get(key, on.now_us).is_some() == wanted
                    })
                }
                State::Integer { number, operation } => self.compares(*number, operation, on, own),
            })
    }

    fn integer(&mut self, number: u32, on: &Occasion<'_>, own: &Own<'_>) -> (u64, Option<u32>) {
        let key = key_of(self.secret, &("number", number, own.number));
        (key, self.hosts.get(key, on.now_us).copied())
    }

    fn operand(&mut self, integer: &Integer, on: &Occasion<'_>, own: &Own<'_>) -> Option<u32> {
        let written = match &integer.operation {
            IntegerOperation::Test(_, value)
            | IntegerOperation::Differs(value)
            | IntegerOperation::Assign(value)
            | IntegerOperation::Add(value)
            | IntegerOperation::Subtract(value) => value,
            IntegerOperation::IsSet | IntegerOperation::IsNotSet => return None,
        };
        match (written, integer.other) {
            (IntegerValue::Number(number), _) => Some(*number),
            (IntegerValue::Named(_), Some(other)) => self.integer(other, on, own).1,
            (IntegerValue::Named(_), None) => None,
        }
    }

    fn compares(
        &mut self,
        number: u32,
        integer: &Integer,
        on: &Occasion<'_>,
        own: &Own<'_>,
    ) -> bool {
        let (_, held) = self.integer(number, on, own);
        let with = self.operand(integer, on, own);
        match (&integer.operation, held, with) {
            (IntegerOperation::IsSet, held, _) => held.is_some(),
            (IntegerOperation::IsNotSet, held, _) => held.is_none(),
            (IntegerOperation::Test(how, _), Some(held), Some(with)) => compare(held, *how, with),
            (IntegerOperation::Differs(_), Some(held), Some(with)) => held != with,
            _ => false,
        }
    }

    /// Does what a rule does with what is remembered.
    pub fn does(&mut self, state: &[State], on: &Occasion<'_>, own: &mut Own<'_>) {
        for step in state.iter().filter(|step| !step.is_test()) {
            match step {
                State::Flow { kind, bits } => {
                    for &bit in bits {
                        let on = match kind {
                            BitKind::Toggle => !own.has(bit),
                            kind => *kind == BitKind::Set,
                        };
                        own.set(bit, on);
                    }
                }
                State::Host {
                    kind,
                    bits,
                    track,
                    expire_s,
                } => {
                    for &bit in bits {
                        let key = self.host_key(bit, *track, on, own);
                        let is_set = self.hosts.get(key, on.now_us).is_some();
                        let set = match kind {
                            BitKind::Toggle => !is_set,
                            kind => *kind == BitKind::Set,
                        };
                        let until = on.now_us + u64::from(*expire_s) * 1_000_000;
                        match set {
                            true => self.hosts.put(key, 1, until, on.now_us),
                            false => self.hosts.remove(key),
                        }
                    }
                }
                State::Integer { number, operation } => {
                    self.calculates(*number, operation, on, own)
                }
            }
        }
    }

    fn calculates(&mut self, number: u32, integer: &Integer, on: &Occasion<'_>, own: &Own<'_>) {
        let (key, held) = self.integer(number, on, own);
        let Some(with) = self.operand(integer, on, own) else {
            return;
        };
        let held = held.unwrap_or(0);
        let result = match integer.operation {
            IntegerOperation::Assign(_) => with,
            IntegerOperation::Add(_) => held.saturating_add(with),
            IntegerOperation::Subtract(_) => held.saturating_sub(with),
            _ => return,
        };
        self.hosts
            .put(key, result, on.now_us + LASTING_US, on.now_us);
    }

    /// Counts a rule that fires.
    pub fn count(
        &mut self,
        rule: u32,
        threshold: &Threshold,
        on: &Occasion<'_>,
        own: &Own<'_>,
    ) -> Counted {
        let key = key_of(
            self.secret,
            &("count", rule, Self::tracked(threshold.track, on, own)),
        );
        let time_us = match threshold.kind {
            ThresholdKind::Backoff => LASTING_US,
            _ => u64::from(threshold.seconds).max(1) * 1_000_000,
        };
        let known = self.counts.get(key, on.now_us).copied();
        let mut count = known.unwrap_or(Count {
            begun_us: on.now_us,
            count: 0,
            next: threshold.count,
        });
        count.count = count.count.saturating_add(1);
        let outcome = match threshold.kind {
            ThresholdKind::Limit if count.count <= threshold.count => Counted::Told,
            ThresholdKind::Limit => Counted::Untold,
            ThresholdKind::Threshold if count.count >= threshold.count => {
                count.count = 0;
                Counted::Told
            }
            ThresholdKind::Both if count.count == threshold.count => Counted::Told,
            ThresholdKind::Both if count.count > threshold.count => Counted::Untold,
            ThresholdKind::Backoff if count.count == count.next => {
                count.next = count.next.saturating_mul(threshold.multiplier.max(1));
                Counted::Told
            }
            ThresholdKind::Backoff if count.count > threshold.count => Counted::Untold,
            ThresholdKind::Filter if count.count > threshold.count => Counted::Told,
            _ => Counted::Nothing,
        };
        self.counts
            .put(key, count, count.begun_us + time_us, on.now_us);
        outcome
    }

    /// Whether a rule may be told on this connection once more in this second.
    pub fn may_tell(&mut self, rule: u32, on: &Occasion<'_>, own: &Own<'_>) -> bool {
        let key = key_of(self.secret, &("told", rule, own.number));
        let mut count = self.counts.get(key, on.now_us).copied().unwrap_or(Count {
            begun_us: on.now_us,
            ..Count::default()
        });
        count.count = count.count.saturating_add(1);
        let until = count.begun_us + 1_000_000;
        self.counts.put(key, count, until, on.now_us);
        count.count <= self.told_per_second
    }
}

const fn compare(held: u32, how: Comparison, with: u32) -> bool {
    super::numbers::compare(held as u64, how, with as u64)
}
