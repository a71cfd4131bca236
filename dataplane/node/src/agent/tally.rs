//! What the agent counts of what it tells and is told, for whoever watches the node. Written by the agent's
//! tasks alone, never by a worker.
//!
//! Memory bound: [`THREATS_MAX`] names of threats; the catalogue has fewer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use weir_api::v1;
use weir_policy::WireAction;
use weir_policy::spec::Mode;

use super::records::Described;
use crate::event::{Event, EventKind};

/// More names of threats are not told apart.
const THREATS_MAX: usize = 256;
/// Severities that are told apart; the last stands for all lower ones.
const SEVERITIES: usize = 4;

/// Kinds of alerts, as they are called.
pub const ALERT_KINDS: [&str; 3] = ["threat", "signature", "sensor"];
/// What became of a packet on the wire.
pub const WIRE_ACTIONS: [&str; 3] = ["forward", "drop", "reset"];
/// Modes.
pub const MODES: [&str; 3] = ["discover", "monitor", "protect"];

/// What the agent counts.
#[derive(Debug, Default)]
pub struct Tally {
    alerts: [[AtomicU64; SEVERITIES]; ALERT_KINDS.len()],
    threats: Mutex<BTreeMap<(String, bool), u64>>,
    verdicts: [[AtomicU64; MODES.len()]; WIRE_ACTIONS.len()],
    /// Records that the controller did not take in time.
    pub records_lost: AtomicU64,
    /// Batches that it has not acknowledged.
    pub batches_waiting: AtomicU64,
    /// Lines that the EVE file could not take.
    pub eve_lost: AtomicU64,
    /// The stream that policy comes by stands.
    pub policy_stream: AtomicBool,
    /// The stream that observations go by stands.
    pub observations_stream: AtomicBool,
    applied: AtomicU64,
    refused: AtomicU64,
    applied_unix_s: AtomicU64,
    newest_refused: AtomicBool,
    /// The policy in force is not on disk.
    pub unsaved: AtomicBool,
}

/// What became of the policies that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applications {
    /// So many were put in force.
    pub applied: u64,
    /// So many were refused.
    pub refused: u64,
    /// When one was put in force last, in seconds since 1970.
    pub applied_unix_s: u64,
    /// The newest was refused.
    pub newest_refused: bool,
}

impl Tally {
    /// An event of a worker was told.
    pub fn event(&self, event: &Event, described: &Described) {
        if event.kind == EventKind::Verdict {
            let action = match event.flow.decision.wire_action {
                WireAction::Forward => 0,
                WireAction::Drop => 1,
                WireAction::Reset => 2,
            };
            let mode = match event.flow.decision.mode {
                Mode::Discover => 0,
                Mode::Monitor => 1,
                Mode::Protect => 2,
            };
            self.verdicts[action][mode].fetch_add(1, Ordering::Relaxed);
        }
        self.alert(described);
    }

    /// The same of an alarm that no worker raised.
    pub fn alert(&self, described: &Described) {
        let Some(alert) = &described.record.alert else {
            return;
        };
        let kind = match alert.kind() {
            v1::AlertKind::Signature => 1,
            v1::AlertKind::Sensor => 2,
            _ => 0,
        };
        let severity = (alert.severity.max(1) as usize).min(SEVERITIES) - 1;
        self.alerts[kind][severity].fetch_add(1, Ordering::Relaxed);
        if kind == 0 {
            let mut threats = self.threats.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (alert.name.clone(), alert.blocked);
            if threats.len() < THREATS_MAX || threats.contains_key(&key) {
                *threats.entry(key).or_default() += 1;
            }
        }
    }

    /// A policy is in force.
    pub fn policy_applied(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        self.applied_unix_s.store(now, Ordering::Relaxed);
        self.newest_refused.store(false, Ordering::Relaxed);
        self.applied.fetch_add(1, Ordering::Relaxed);
    }

    /// A policy was refused.
    pub fn policy_refused(&self) {
        self.newest_refused.store(true, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What became of policies so far.
    pub fn applications(&self) -> Applications {
        Applications {
            applied: self.applied.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            applied_unix_s: self.applied_unix_s.load(Ordering::Relaxed),
            newest_refused: self.newest_refused.load(Ordering::Relaxed),
        }
    }

    /// Kind, severity (1 is the highest) and number of the alerts told.
    pub fn alerts(&self) -> impl Iterator<Item = (&'static str, usize, u64)> {
        let kinds = ALERT_KINDS.iter().zip(&self.alerts);
        kinds.flat_map(|(kind, counts)| {
            let counts = counts.iter().enumerate();
            counts.map(|(index, count)| (*kind, index + 1, count.load(Ordering::Relaxed)))
        })
    }

    /// Name, whether they were blocked, and number of the threats told.
    pub fn threats(&self) -> BTreeMap<(String, bool), u64> {
        let threats = self.threats.lock().unwrap_or_else(PoisonError::into_inner);
        threats.clone()
    }

    /// What was done on the wire, the mode, and the number of the verdicts told.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let actions = WIRE_ACTIONS.iter().zip(&self.verdicts);
        actions.flat_map(|(action, counts)| {
            let counts = MODES.iter().zip(counts);
            counts.map(|(mode, count)| (*action, *mode, count.load(Ordering::Relaxed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Alarms;

    #[test]
    fn alerts_are_counted_by_kind_severity_and_name() {
        let tally = Tally::default();
        let alarms = Alarms::default();
        alarms.forged_policy("one", 1, 1);
        let mut raised = alarms.take().remove(0);
        tally.alert(&raised);
        let alert = raised.record.alert.as_mut().unwrap();
        (alert.severity, alert.kind) = (9, v1::AlertKind::Sensor.into());
        tally.alert(&raised);
        let counted: Vec<_> = tally.alerts().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(counted, [("threat", 1, 1), ("sensor", 4, 1)]);
        let threats: Vec<_> = tally.threats().into_iter().collect();
        assert_eq!(threats, [(("policy-forgery".to_owned(), true), 1)]);
    }

    #[test]
    fn names_from_nowhere_are_bounded() {
        let tally = Tally::default();
        let alarms = Alarms::default();
        alarms.forged_policy("one", 1, 1);
        let mut raised = alarms.take().remove(0);
        for number in 0..1_000 {
            raised.record.alert.as_mut().unwrap().name = number.to_string();
            tally.alert(&raised);
        }
        assert_eq!(tally.threats().len(), THREATS_MAX);
    }
}
