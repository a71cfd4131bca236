//! What a worker tells the rest of the process: small, fixed in size, made without allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrayvec::{ArrayString, ArrayVec};
use crossbeam::queue::ArrayQueue;
use weir_l7::{AppId, Confidence, Event as Message, Value};
use weir_policy::Decision;
use weir_sigs::sensor::SensorHit;
use weir_sigs::{Hit, RuleSet};
use weir_threat::Finding;
use weir_wire::Reason;

/// Bytes kept of a request's fields in an event.
pub const DETAIL_BYTES: usize = 384;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The application of a flow became known, or was given up.
    Identified,
    /// A denial, or what would have been one.
    Verdict,
    /// A request was read from an allowed flow.
    Request,
    /// A response was read from an allowed flow.
    Response,
    /// A DNS answer with addresses was read; told for the controller alone, where responses are not.
    Answer,
    /// A signature matched; it is in `Event::alert`.
    Alert,
    /// A threat showed; it is in `Event::finding`.
    Threat,
    /// A sensor fired; it is in `Event::sensed`.
    Sensor,
    /// The flow is over.
    End,
}

/// A sensor that fired.
#[derive(Clone, Debug)]
pub struct Sensed {
    /// Its number in the policy.
    pub sensor: u32,
    /// What fired, masked.
    pub hit: SensorHit,
}

/// The facts of a flow, client first.
#[derive(Clone, Copy, Debug)]
pub struct FlowFacts {
    /// Unique on this node since it started: worker in the top byte.
    pub number: u64,
    /// Zone of the flow key.
    pub zone: u32,
    /// Client and server address, IPv4 mapped into IPv6.
    pub client_address: u128,
    /// See `client_address`.
    pub server_address: u128,
    /// Client and server port; for ICMP the echo identifier.
    pub client_port: u16,
    /// See `client_port`.
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Identity of each end.
    pub client: u32,
    /// See `client`.
    pub server: u32,
    /// What it speaks; None while undecided.
    pub application: Option<AppId>,
    /// What it began as, where it turned to another application.
    pub carried: Option<AppId>,
    /// How sure that is.
    pub confidence: Confidence,
    /// What gave it away.
    pub evidence: &'static str,
    /// Whether its beginning was seen.
    pub from_start: bool,
    /// The last decision.
    pub decision: Decision,
    /// Version of the policy that gave it.
    pub policy_version: u64,
    /// Packets to the server, to the client.
    pub packets: [u64; 2],
    /// Bytes of frames to the server, to the client.
    pub bytes: [u64; 2],
    /// On the worker's clock, microseconds.
    pub first_seen_us: u64,
    /// See `first_seen_us`.
    pub last_seen_us: u64,
}

/// A signature that matched.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The rules that were looked for.
    pub rules: Arc<RuleSet>,
    /// Which of them, and what matched.
    pub hit: Hit,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When, on the worker's clock, microseconds.
    pub time_us: u64,
    /// To which flow.
    pub flow: FlowFacts,
    /// Why, for a verdict.
    pub reason: Option<Reason>,
    /// The signature that matched.
    pub alert: Option<Alert>,
    /// The request's fields.
    pub detail: Detail,
    /// The threat and its evidence.
    pub finding: Option<Finding>,
    /// The sensor that fired.
    pub sensed: Option<Sensed>,
}

/// The fields of a message as `name=value` lines, cut to [`DETAIL_BYTES`]; bytes that are not
/// printable are replaced by a full stop, so that a hostile value cannot forge a second line.
#[derive(Clone, Debug, Default)]
pub struct Detail(ArrayVec<u8, DETAIL_BYTES>);

impl Detail {
    /// The fields of a message of this application.
    pub fn of(application: AppId, message: &Message<'_>) -> Self {
        let mut detail = Self::default();
        let info = weir_l7::registry::info(application);
        for field in message.fields {
            let Some(spec) = info.and_then(|info| info.fields.get(usize::from(field.index))) else {
                continue;
            };
            if !detail.push_field(spec.name, &field.value) {
                break;
            }
        }
        detail
    }

    /// Name and value, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        std::str::from_utf8(&self.0)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once('='))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push_field(&mut self, name: &str, value: &Value<'_>) -> bool {
        use std::fmt::Write;
        let start = self.0.len();
        self.push_printable(name.as_bytes());
        self.push_printable(b"=");
        match value {
            Value::Bytes(bytes) => self.push_printable(bytes),
            Value::Name(text) => self.push_printable(text.as_bytes()),
            Value::Number(number) => {
                let mut text = ArrayString::<20>::new();
                let _ = write!(text, "{number}");
                self.push_printable(text.as_bytes());
            }
            Value::Address(address) => {
                let mut text = ArrayString::<48>::new();
                let _ = write!(text, "{address}");
                self.push_printable(text.as_bytes());
            }
        }
        if self.0.try_push(b'\n').is_err() {
            self.0.truncate(start);
            return false;
        }
        true
    }

    fn push_printable(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().take(self.0.remaining_capacity()) {
            let printable = byte == b' ' || byte.is_ascii_graphic();
            self.0.push(if printable { byte } else { b'.' });
        }
    }
}

/// A DNS answer that names an address policy has a domain name for.
#[derive(Clone, Copy, Debug)]
pub struct LearnedName {
    /// The address.
    pub address: u128,
    /// The identity of the name.
    pub identity: u32,
    /// When it ends, on the workers' clock, microseconds.
    pub expires_us: u64,
}

/// Bytes kept of a packet that raised an alert.
pub const EVIDENCE_BYTES: usize = 2_048;

/// A packet that raised an alert.
#[derive(Clone, Debug)]
pub struct EvidencePacket {
    /// When, on the workers' clock, microseconds.
    pub time_us: u64,
    /// The number of its flow, 0 for none.
    pub flow: u64,
    /// Bytes of the whole frame.
    pub frame_bytes: u32,
    /// The frame, cut to [`EVIDENCE_BYTES`].
    pub bytes: ArrayVec<u8, EVIDENCE_BYTES>,
}

/// Takes what a worker tells.
pub trait Events: Send {
    /// One event; must not block.
    fn emit(&mut self, event: Event);
    /// An address learned from a DNS answer, for the other workers.
    fn learned(&mut self, name: LearnedName);
    /// The frame that raised an alert in this flow.
    fn evidence(&mut self, _time_us: u64, _flow: u64, _frame: &[u8]) {}
}

/// The bounded ring out of a worker. A full ring loses the event and counts it.
#[derive(Clone)]
pub struct EventRing {
    /// Events, oldest first.
    pub events: Arc<ArrayQueue<Event>>,
    /// Learned names, oldest first.
    pub names: Arc<ArrayQueue<LearnedName>>,
    /// Packets that raised alerts, oldest first; None where nobody wants them.
    pub packets: Option<Arc<ArrayQueue<EvidencePacket>>>,
    /// Events lost since start.
    pub lost: Arc<AtomicU64>,
}

impl EventRing {
    /// A ring of so many events.
    pub fn new(capacity: usize) -> Self {
        Self {
            events: Arc::new(ArrayQueue::new(capacity)),
            names: Arc::new(ArrayQueue::new(1024)),
            packets: None,
            lost: Arc::default(),
        }
    }

    /// Keeps up to so many packets that raised alerts until they are taken.
    pub fn with_packets(mut self, capacity: usize) -> Self {
        self.packets = Some(Arc::new(ArrayQueue::new(capacity)));
        self
    }
}

impl Events for EventRing {
    fn emit(&mut self, event: Event) {
        if self.events.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn evidence(&mut self, time_us: u64, flow: u64, frame: &[u8]) {
        let Some(packets) = &self.packets else { return };
        let packet = EvidencePacket {
            time_us,
            flow,
            frame_bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            bytes: frame.iter().copied().take(EVIDENCE_BYTES).collect(),
        };
        if packets.push(packet).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn learned(&mut self, name: LearnedName) {
        if self.names.push(name).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_value_stays_one_line() {
        let mut detail = Detail::default();
        assert!(detail.push_field("path", &Value::Bytes(b"/a\nuser=root")));
        assert!(detail.push_field("status", &Value::Number(200)));
        assert_eq!(
            detail.fields().collect::<Vec<_>>(),
            [("path", "/a.user=root"), ("status", "200")]
        );
    }

    #[test]
    fn a_field_that_does_not_fit_is_left_out_whole() {
        let mut detail = Detail::default();
        assert!(!detail.push_field("path", &Value::Bytes(&[b'a'; 2 * DETAIL_BYTES])));
        assert!(detail.is_empty());
    }
}
