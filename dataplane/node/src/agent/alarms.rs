//! What a node raises about what it was told, not about a packet: alerts without a connection, for EVE and
//! the controller.
//!
//! Memory bound: [`WAITING_MAX`]; what is raised again and again is told once in [`AGAIN_AFTER`].

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_api::{THREAT_GENERATOR, v1};
use weir_threat::Threat;

use super::records::Described;
use crate::event::EventKind;

/// Alarms that wait to be told.
const WAITING_MAX: usize = 64;
/// How soon an alarm that stays the same is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// The longest message.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Alarms on their way out.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    alarms: VecDeque<Described>,
    last: Option<(String, Instant)>,
}

impl Alarms {
    /// A policy that was sent is not what was signed.
    pub fn forged_policy(&self, why: &str, enforced_version: u64, time_unix_us: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = waiting.last.as_ref();
        if again.is_some_and(|(last, told)| last == why && told.elapsed() < AGAIN_AFTER) {
            return;
        }
        waiting.last = Some((why.to_owned(), Instant::now()));
        if waiting.alarms.len() >= WAITING_MAX {
            waiting.alarms.pop_front();
        }
        let alarm = forged_policy(why, enforced_version, time_unix_us);
        waiting.alarms.push_back(alarm);
    }

    /// Those that were raised since the last time.
    pub fn take(&self) -> Vec<Described> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.alarms.drain(..).collect()
    }
}

fn forged_policy(why: &str, policy_version: u64, time_unix_us: u64) -> Described {
    let threat = Threat::PolicyForgery;
    let alert = v1::Alert {
        kind: v1::AlertKind::Threat.into(),
        generator: THREAT_GENERATOR,
        id: threat.id().into(),
        revision: 1,
        name: threat.name().to_owned(),
        message: why.chars().take(MESSAGE_CHARS_MAX).collect(),
        action: v1::AlertAction::Drop.into(),
        // What was sent is not in force.
        blocked: true,
        severity: 1,
        technique: threat.technique().to_owned(),
        counters: BTreeMap::from([("enforced_version".to_owned(), policy_version)])
            .into_iter()
            .collect(),
        ..Default::default()
    };
    let nobody = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    Described {
        kind: EventKind::Threat,
        record: v1::FlowRecord {
            event: v1::FlowEvent::Alert.into(),
            time_unix_us,
            first_seen_unix_us: time_unix_us,
            policy_version,
            alert: Some(alert),
            ..Default::default()
        },
        client: String::new(),
        server: String::new(),
        carried: None,
        evidence: "",
        port_use: None,
        from_start: false,
        addresses: (nobody, nobody),
        alert: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_once_until_it_changes() {
        let alarms = Alarms::default();
        for why in ["one", "one", "two", "one"] {
            alarms.forged_policy(why, 7, 1);
        }
        let told = alarms.take();
        let messages: Vec<_> = told
            .iter()
            .filter_map(|told| told.record.alert.as_ref())
            .collect();
        let messages: Vec<_> = messages
            .iter()
            .map(|alert| alert.message.as_str())
            .collect();
        assert_eq!(messages, ["one", "two", "one"]);
        assert!(told[0].record.raised().unwrap().is_some());
        assert!(alarms.take().is_empty());
        for number in 0..200 {
            alarms.forged_policy(&number.to_string(), 7, 1);
        }
        assert_eq!(alarms.take().len(), WAITING_MAX);
    }
}
