//! What a flow that is told of several times adds to its conversation each time.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use weir_api::{Verdict, v1};
use weir_learn::{Confidence, ConversationKey, Observation};

use crate::flows::ip_address;
use crate::time::now_unix_us;

const TCP: u8 = 6;
/// Alerts that wait for the flow's conversation to be known.
const ALERTS_MAX: usize = 64;

/// What was counted of a flow. Conversation and decider are known again by their hashes, which are keyed so that no
/// node can choose two that look alike: in full each flow that is tracked had four texts of its own.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    conversation: Option<u64>,
    /// Whether it counts among the connections of that conversation.
    connected: bool,
    bytes: u64,
    bytes_sent: u64,
    /// Whether its end was told of without an answer.
    unanswered: bool,
    /// Alerts that no conversation has yet, up to [`ALERTS_MAX`].
    alerts: Vec<String>,
    pub(crate) denial: bool,
    decider: Option<u64>,
    last_verdict_unix_us: u64,
}

impl Counted {
    /// An alert was raised on it.
    pub(crate) fn raise(&mut self, alert: &v1::Alert) {
        if self.alerts.len() < ALERTS_MAX {
            self.alerts.push(alert.name.clone());
        }
    }

    /// Whether it was decided by another than before, if by anybody.
    pub(crate) fn is_news(&mut self, decider: &str, hasher: &RandomState) -> bool {
        let decider = (!decider.is_empty()).then(|| hasher.hash_one(decider));
        let news = decider.is_some() && decider != self.decider;
        self.decider = decider.or(self.decider);
        news
    }

    pub(crate) fn observation(
        &mut self,
        (key, hasher): (&ConversationKey, &RandomState),
        node: &str,
        record: &v1::FlowRecord,
        (denied, would_deny): (u64, u64),
        resolved: Option<String>,
    ) -> Observation {
        // A flow that was told of without an application does not become a second connection.
        let known_before = key.application.is_empty() && self.conversation.is_some();
        let conversation = Some(hasher.hash_one(key));
        if self.conversation != conversation && !known_before {
            self.conversation = conversation;
            self.connected = false;
        }
        let made = record.packets_to_client > 0 || key.protocol != TCP;
        let connected = !self.connected && made && record.verdict() != Verdict::Denied;
        self.connected |= connected;
        let silent = record.event() == v1::FlowEvent::End && !made;
        let unanswered = silent && !self.unanswered && record.verdict() != Verdict::Denied;
        self.unanswered |= unanswered;
        let sent = record.bytes_to_server.saturating_sub(self.bytes_sent);
        self.bytes_sent = self.bytes_sent.max(record.bytes_to_server);
        let bytes = record
            .bytes_to_server
            .saturating_add(record.bytes_to_client);
        let further = bytes.saturating_sub(self.bytes);
        self.bytes = self.bytes.max(bytes);
        Observation {
            node: node.to_owned(),
            zone: record.zone,
            time_unix_us: record.time_unix_us.min(now_unix_us()),
            client_address: ip_address(&record.client_address).unwrap_or(IpAddr::from([0; 4])),
            connections: connected.into(),
            unanswered: unanswered.into(),
            bytes: further,
            bytes_sent: sent,
            denied,
            would_deny,
            alerts: std::mem::take(&mut self.alerts),
            resolved,
            confidence: match record.confidence.as_str() {
                "content" => Confidence::Content,
                "port" => Confidence::Port,
                _ => Confidence::None,
            },
            from_start: !record.picked_up,
        }
    }
}

/// How many denials and would-be denials this record adds: one for each verdict on a request, one
/// for the flow as a whole.
pub(crate) fn denials(counted: &mut Counted, record: &v1::FlowRecord) -> (u64, u64) {
    let verdict = record.verdict();
    let is_verdict = record.event() == v1::FlowEvent::Verdict;
    let new = if is_verdict {
        record.time_unix_us > counted.last_verdict_unix_us || !counted.denial
    } else {
        !counted.denial
    };
    if !verdict.is_denial() || !new {
        return (0, 0);
    }
    counted.denial = true;
    if is_verdict {
        counted.last_verdict_unix_us = record.time_unix_us;
    }
    if verdict == Verdict::Denied {
        (1, 0)
    } else {
        (0, 1)
    }
}
