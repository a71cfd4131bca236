//! What a worker knows of a flow beyond the hot line: the cold state of the flow table.

use weir_flow::{FlowKey, Hot, Life, StreamState, TcpConnection};
use weir_l7::{AppId, Confidence, Identification, SessionId, TURNED, registry};
use weir_policy::{Application, Certainty, Decision, Question, spec::Action};
use weir_sigs::ScanFlow;
use weir_sigs::sensor::SensorFlow;
use weir_wire::{Direction, protocol, to_ip_address};

use crate::announced::Part;
use crate::event::FlowFacts;
use crate::session::{Known, Told};

/// What [`Hot::verdict`] holds: what happens to the next packet without looking further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// Every packet takes the whole way.
    Inspect = 0,
    /// Settled: decode → track → tx.
    Forward = 1,
    /// Denied: dropped at track.
    Drop = 2,
}

impl Standing {
    /// The standing in a flow's hot line.
    pub fn of(hot: &Hot) -> Self {
        match hot.verdict {
            1 => Self::Forward,
            2 => Self::Drop,
            _ => Self::Inspect,
        }
    }
}

/// The cold state of a flow.
#[derive(Default)]
pub struct Connection {
    /// Unique on this node since it started.
    pub number: u64,
    /// TCP state; unused for other protocols.
    pub tcp: TcpConnection,
    /// Reassembly, by direction.
    pub streams: [StreamState; 2],
    /// Whether `streams` were opened, by direction.
    pub streams_open: [bool; 2],
    /// Identification and parsing.
    pub session: Option<SessionId>,
    /// No session: it was closed since nothing more is of interest, or none could be had.
    pub session_over: bool,
    /// Directions in which nothing more is of interest to the parser.
    pub done: [bool; 2],
    /// Where the bytes of the streams begin.
    pub stream_begins: [u32; 2],
    /// What its application said, as far as rules ask for it.
    pub told_by_application: Told,
    /// Signature scanning.
    pub scan: Option<ScanFlow>,
    /// Bytes scanned, by direction.
    pub scanned: [u64; 2],
    /// Identities.
    pub client: u32,
    /// See `client`.
    pub server: u32,
    /// What it speaks; None while undecided.
    pub application: Option<AppId>,
    /// It is that application, but may still turn out to be a special case of it.
    pub refinable: bool,
    /// The connection that announced this one, which it is a part of.
    pub part_of: Option<Part>,
    /// What it began as.
    pub carried: Option<AppId>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// What gave it away.
    pub evidence: &'static str,
    /// The parser met bytes that contradict the application.
    pub contradicted: bool,
    /// Whether the flow's first packet was seen.
    pub from_start: bool,
    /// Whether Weir can stop it: false on a tap.
    pub enforceable: bool,
    /// The decision in force; None before the first.
    pub decision: Option<Decision>,
    /// Version of the policy that gave it.
    pub policy_version: u64,
    /// The decision that was last told as a denial.
    pub told: Option<Decision>,
    /// The identification was already told.
    pub identified_told: bool,
    /// The id of the rule that allowed the last request; None before the first, and after bytes that
    /// were not seen.
    pub granted_by: Option<u32>,
    /// The denial was already answered by resets to both ends.
    pub reset_sent: bool,
    /// What threat detectors remember of it.
    pub watch: weir_threat::Watch,
    /// Content of it may be being decoded.
    pub decoding: bool,
    /// The flow as its sensors know it; None where none looks into it.
    pub sensed: Option<SensorFlow>,
    /// Under which policy that was decided.
    pub sensed_epoch: Option<u32>,
    /// Bytes of the stream that sensors looked at, by direction.
    pub sensed_bytes: [u64; 2],
    /// Findings and alerts that were told.
    pub alarms: u16,
    /// By direction.
    pub packets: [u64; 2],
    /// By direction, bytes of frames.
    pub bytes: [u64; 2],
    /// Microseconds.
    pub first_seen_us: u64,
}

impl Connection {
    /// Its bytes contradict what it was, which may never have been told: the same bytes can show and
    /// contradict it. What is kept is what it began as, or turned into as a special case of that.
    pub fn contradict(&mut self, known: &Identification) {
        self.contradicted = true;
        self.confidence = Some(known.confidence);
        self.evidence = known.evidence;
        let special = |outer| {
            let app = known.app.filter(|_| known.evidence == TURNED);
            app.filter(|&app| registry::refines(app, outer))
        };
        let outer = known.carried.map(|outer| special(outer).unwrap_or(outer));
        self.application = outer.or(known.app).or(self.application);
    }

    /// Counts a packet.
    pub fn count(&mut self, direction: Direction, frame_bytes: usize) {
        self.packets[direction as usize] += 1;
        self.bytes[direction as usize] += frame_bytes as u64;
    }

    /// What policy is asked about this flow; `candidates` while the application is undecided. An
    /// announced flow is judged as a part of the one that announced it.
    pub fn question(
        &self,
        key: &FlowKey,
        hot: &Hot,
        candidates: weir_l7::AppSet,
    ) -> Question<'static> {
        let (_, _, _, server_port) = key.endpoints(hot.initiator_is_low);
        let plain = Question {
            client: self.client,
            server: self.server,
            protocol: key.protocol(),
            server_port: if has_ports(key.protocol()) {
                server_port
            } else {
                0
            },
            application: match self.application {
                None => Application::Candidates(candidates),
                Some(app) if self.refinable => Application::OneOf(registry::special_cases(app)),
                Some(app) => Application::Known(app),
            },
            request: None,
        };
        let Some(part) = self.part_of else {
            return plain;
        };
        let (client, server) = match part.turned {
            true => (self.server, self.client),
            false => (self.client, self.server),
        };
        Question {
            client,
            server,
            protocol: part.control.protocol,
            server_port: part.control.server_port,
            application: Application::Known(part.control.application),
            ..plain
        }
    }

    /// The application, where the decision allows all of its requests.
    pub fn allowed(&self) -> Option<(AppId, Decision)> {
        let decision = self.decision?;
        let is_final = decision.certainty == Certainty::Final && !self.refinable;
        let allows = decision.rule_action == Action::Allow && self.part_of.is_none();
        Some((self.application?, decision)).filter(|_| is_final && allows)
    }

    /// What threat detectors are told of it.
    pub fn watched(&self, hot: &Hot) -> weir_threat::Connection {
        let (client, client_port, server, server_port) = hot.key.endpoints(hot.initiator_is_low);
        weir_threat::Connection {
            number: self.number,
            zone: hot.key.zone(),
            client,
            server,
            client_port,
            server_port,
            protocol: hot.key.protocol(),
            application: self.application,
            from_start: self.from_start,
            first_seen_us: self.first_seen_us,
            packets: self.packets,
        }
    }

    /// What signatures ask of the flow.
    pub fn scan_facts<'a>(&self, hot: &Hot, known: &'a Known) -> weir_sigs::Facts<'a> {
        let (client, client_port, server, server_port) = hot.key.endpoints(hot.initiator_is_low);
        let number = hot.key.protocol();
        weir_sigs::Facts {
            client: to_ip_address(client),
            server: to_ip_address(server),
            client_port,
            server_port,
            protocol: number,
            // Bytes that contradict an application are still said to it.
            application: match self.contradicted {
                true => self.carried.or(self.application),
                false => self.application,
            },
            // A stream has bytes to look at when both ends agreed on it.
            established: number == protocol::TCP || self.packets.iter().all(|&count| count > 0),
            session: Some(known),
        }
    }

    /// How it ends, for threat detectors.
    pub fn ending(&self, hot: &Hot) -> weir_threat::Ending {
        weir_threat::Ending {
            was_established: self.tcp.is_established() || hot.life == Life::Established,
            bytes: self.bytes,
        }
    }

    /// The facts for an event. None before the first decision.
    pub fn facts(&self, hot: &Hot) -> Option<FlowFacts> {
        let (client_address, client_port, server_address, server_port) =
            hot.key.endpoints(hot.initiator_is_low);
        Some(FlowFacts {
            number: self.number,
            zone: hot.key.zone(),
            client_address,
            server_address,
            client_port,
            server_port,
            protocol: hot.key.protocol(),
            client: self.client,
            server: self.server,
            application: self.application,
            carried: self.carried,
            confidence: self.confidence.unwrap_or(Confidence::None),
            evidence: self.evidence,
            from_start: self.from_start,
            decision: self.decision?,
            policy_version: self.policy_version,
            packets: self.packets,
            bytes: self.bytes,
            first_seen_us: self.first_seen_us,
            last_seen_us: hot.last_seen_us,
        })
    }
}

/// Whether flows of this protocol have ports that policy can name.
pub fn has_ports(protocol: u8) -> bool {
    use weir_wire::protocol;
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}
