//! One capture along the packet's way.

use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use weir_flow::FragmentLimits;
use weir_l7::{AppId, PortUse};
use weir_policy::Snapshot;
use weir_sigs::RuleSet;
use weir_sigs::sensor::SensorSet;
use weir_threat::Threats;
use weir_wire::Reason;

use super::fields::{FlowFields, Gathered};
use super::threat_line::ThreatLine;
use crate::agent::{Clock, Described, describe};
use crate::event::{Event, EventKind, Events, LearnedName};
use crate::handover::Ownership;
use crate::inspection::Inspection;
use crate::io::memory::{MemoryFrame, MemoryFrames};
use crate::io::replay::Replay;
use crate::io::{Outbox, Role};
use crate::limits::{Limits, Rules};
use crate::path::{Arrived, Path};

/// Flows that one capture may have open at a time; more are evicted and counted.
const FLOWS_MAX: usize = 1 << 16;
/// Flows that even the smallest capture has room for.
const FLOWS_MIN: usize = 1 << 8;
/// Flows under inspection at a time.
const SESSIONS_MAX: usize = 1 << 13;
/// No packet that makes a flow takes less of a file: its record's header, and headers of IP and UDP.
const PACKET_BYTES_MIN: u64 = 16 + 20 + 8;
/// Contents decoded at a time: a capture holds few.
const CONTENT_LIMITS: weir_content::Limits = weir_content::Limits {
    messages: 64,
    inflate: 32,
    brotli: 2,
    zstd: 2,
    ..weir_content::Limits::DEFAULT
};
/// How often time-driven work is done, on the capture's clock.
const TICK_US: u64 = 10_000;
/// Longest time that one packet may move the capture's clock in ticks; a jump beyond is one tick.
const TICKS_PER_PACKET: u64 = 100;

/// Inspects captures under one policy.
pub struct Inspector {
    /// The policy.
    pub snapshot: Arc<Snapshot>,
    /// Its sensors.
    pub sensors: Option<Arc<SensorSet>>,
    /// The signatures.
    pub ruleset: Option<Arc<RuleSet>>,
    /// Which threats are looked for.
    pub threats: Arc<weir_threat::Config>,
    /// Whether packets with a wrong checksum are left unread.
    pub verify_checksums: bool,
    /// Whether the fields of each flow's messages are gathered, and what has no flow.
    pub gather_fields: bool,
}

/// What a capture held.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CaptureReport {
    /// File name.
    pub capture: String,
    /// Packets read.
    pub packets: u64,
    /// Packets found inside of tunnels that no container network uses: what the path did counts them too.
    pub inside: u64,
    /// Of them all, what the path did.
    pub forwarded: u64,
    /// Dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Forwarded although a stage objected; by reason.
    pub spared: Vec<(&'static str, u64)>,
    /// Packets that were neither forwarded nor dropped: 0 unless Weir is wrong.
    pub unaccounted: i64,
    /// Flows that a full table evicted.
    pub evicted: u64,
    /// Why the capture could not be read to its end.
    pub error: Option<String>,
    /// Its flows, in the order they ended.
    pub flows: Vec<FlowReport>,
    /// Signatures that matched: sid and message.
    pub alerts: Vec<String>,
    /// Threats found.
    pub threats: Vec<ThreatLine>,
}

/// One flow of a capture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FlowReport {
    /// The ends.
    pub src_ip: String,
    /// Client port.
    pub src_port: u32,
    /// Server.
    pub dst_ip: String,
    /// Server port.
    pub dst_port: u32,
    /// `tcp`, `udp`, or the protocol's name.
    pub proto: String,
    /// What it speaks; "" when nothing was said.
    pub app: String,
    /// What it began as.
    pub began_as: Option<&'static str>,
    /// How sure that is.
    pub confidence: String,
    /// What gave it away.
    pub evidence: &'static str,
    /// `usual` or `unusual`: whether the server's port is a customary one of the application's.
    pub app_port: Option<&'static str>,
    /// Whose customary port it is, where that is another's.
    pub expected_app: Option<&'static str>,
    /// Client and server by name.
    pub client: String,
    /// See `client`.
    pub server: String,
    /// What policy says.
    pub rule_action: String,
    /// The effective mode.
    pub mode: String,
    /// What the wire got.
    pub wire_action: String,
    /// Who decided.
    pub decider: String,
    /// Both directions.
    pub packets: u64,
    /// Both directions.
    pub bytes: u64,
    /// Since 1970, microseconds.
    pub first_seen_us: u64,
    /// See `first_seen_us`.
    pub last_seen_us: u64,
    /// Community ID.
    pub community_id: String,
    /// What its messages held, where that was gathered.
    #[serde(skip)]
    pub fields: FlowFields,
}

impl Inspector {
    /// Takes a capture along the way. Every event is shown to `each`.
    pub fn inspect(
        &self,
        file: &FilePath,
        each: &mut dyn FnMut(&Described),
    ) -> anyhow::Result<CaptureReport> {
        let mut report = CaptureReport {
            capture: file_name(file),
            ..CaptureReport::default()
        };
        let mut replay = match Replay::open(file) {
            Ok(replay) => replay,
            Err(error) => {
                report.error = Some(error.to_string());
                return Ok(report);
            }
        };
        let events = Collected::default();
        let gathered = Gathered::default();
        let mut path = self.path(&events, &gathered, most_flows(file))?;
        path.install(Arc::clone(&self.snapshot));
        let mut out = Outbox::new(2);
        let mut burst = Vec::with_capacity(1);
        let mut ticked_us = 0;
        let mut now_us = 0;
        while let Some(captured) = replay.next_packet() {
            let captured = match captured {
                Ok(captured) => captured,
                Err(error) => {
                    report.error = Some(error.to_string());
                    break;
                }
            };
            now_us = captured.time_us;
            report.packets += 1;
            burst.push(arrived(captured.frame, now_us));
            path.run(&mut burst, now_us, &mut out);
            for inner in path.take_inside() {
                report.inside += 1;
                burst.push(arrived(inner, now_us));
                path.run(&mut burst, now_us, &mut out);
            }
            // As deep as the limit allows was looked at once.
            path.take_inside();
            ticked_us = tick(&mut path, ticked_us, now_us, &mut out);
            self.drain(&events, &gathered, &mut report, each);
            out.transmit.iter_mut().for_each(Vec::clear);
            out.finished.clear();
        }
        // What still waits is judged as if time went on.
        path.tick(now_us.saturating_add(self.longest_wait_us()), &mut out);
        path.shut_down(now_us, &mut out);
        self.drain(&events, &gathered, &mut report, each);
        report.flows.extend(gathered.apart());
        report.count(&path);
        Ok(report)
    }

    /// How long packets may wait: for the rest of their datagram, for their address to be known.
    fn longest_wait_us(&self) -> u64 {
        let hold_us = u64::from(self.snapshot.spec().unknown.hold_ms) * 1000;
        hold_us.max(FragmentLimits::default().timeout_us)
    }

    fn path(
        &self,
        events: &Collected,
        gathered: &Gathered,
        flows: usize,
    ) -> anyhow::Result<Path<MemoryFrames>> {
        let sessions = flows.min(SESSIONS_MAX);
        let mut limits = Limits {
            flows,
            sessions,
            ..Limits::default()
        };
        limits.reassembly.pool_bytes = 32 << 20;
        let rules = Rules {
            verify_checksums: self.verify_checksums,
            foreign_tunnels: true,
            tell_requests: true,
            threats: Arc::clone(&self.threats),
            ..Rules::default()
        };
        let roles = vec![
            Role::Inline {
                peer: 1,
                pair: 0,
                fail_open: false,
            },
            Role::Inline {
                peer: 0,
                pair: 0,
                fail_open: false,
            },
        ];
        let mut inspection = Inspection::new(sessions, self.ruleset.clone())?;
        let shared = weir_threat::network::Shared::new(&self.threats.network, limits.secret);
        let shared = Arc::new(shared);
        let threats = Threats::new(Arc::clone(&self.threats), shared, limits.secret);
        inspection.watch(threats, CONTENT_LIMITS);
        inspection.sense_with(crate::sensors::prepare(self.sensors.as_ref(), sessions)?);
        if self.gather_fields {
            inspection.listener = Some(Box::new(gathered.clone()));
        }
        Ok(Path::new(
            &limits,
            rules,
            roles,
            MemoryFrames,
            Ownership::alone(),
            inspection,
            Box::new(events.clone()),
        ))
    }

    fn drain(
        &self,
        events: &Collected,
        gathered: &Gathered,
        report: &mut CaptureReport,
        each: &mut dyn FnMut(&Described),
    ) {
        let clock = Clock::of_capture();
        for event in events.take() {
            let described = describe(&event, &self.snapshot, &clock);
            match event.kind {
                EventKind::End => report.flows.push(FlowReport {
                    fields: gathered.take(event.flow.number),
                    ..FlowReport::of(&described, event.flow.last_seen_us)
                }),
                EventKind::Alert => report.alerts.extend(
                    event
                        .alert
                        .as_ref()
                        .map(|alert| alert.rules.describe(alert.hit.rule)),
                ),
                EventKind::Sensor => {
                    let told =
                        described.record.alert.iter().map(|alert| {
                            format!("{} {} {}", alert.message, alert.sign, alert.excerpt)
                        });
                    report.alerts.extend(told);
                }
                EventKind::Threat => {
                    let line = ThreatLine::of(&report.capture, &described);
                    report.threats.extend(line);
                }
                _ => {}
            }
            each(&described);
        }
    }
}

/// What the path tells, until it is put into words.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Event>>>);

impl Collected {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Events for Collected {
    fn emit(&mut self, event: Event) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    fn learned(&mut self, _name: LearnedName) {}
}

/// Room for as many flows as the file has bytes for, and as many again, so that none gives way
/// because two buckets are full.
fn most_flows(file: &FilePath) -> usize {
    let bytes = std::fs::metadata(file).map_or(u64::MAX, |file| file.len());
    let packets = usize::try_from(bytes / PACKET_BYTES_MIN).unwrap_or(usize::MAX);
    packets.saturating_mul(2).clamp(FLOWS_MIN, FLOWS_MAX)
}

fn arrived(frame: Vec<u8>, received_us: u64) -> Arrived<MemoryFrame> {
    Arrived {
        frame: MemoryFrame(frame),
        port: 0,
        received_us,
        at_owner: false,
    }
}

/// Moves the clock: time-driven work at every tick, but not for hours that a capture skips.
fn tick(
    path: &mut Path<MemoryFrames>,
    ticked_us: u64,
    now_us: u64,
    out: &mut Outbox<MemoryFrame>,
) -> u64 {
    if now_us < ticked_us + TICK_US {
        return ticked_us;
    }
    let ticks = ((now_us - ticked_us) / TICK_US).min(TICKS_PER_PACKET);
    for _ in 0..ticks {
        path.tick(now_us, out);
    }
    now_us
}

impl CaptureReport {
    fn count(&mut self, path: &Path<MemoryFrames>) {
        let counts = path.counts();
        let by_reason = |counts: &[u64]| -> Vec<(&'static str, u64)> {
            Reason::ALL
                .iter()
                .map(|reason| (reason.name(), counts[*reason as usize]))
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        self.forwarded = counts.transmitted - counts.injected;
        self.dropped = by_reason(&counts.dropped);
        self.spared = by_reason(&counts.spared);
        let accounted = counts.transmitted + counts.tapped + counts.dropped_total() + path.held();
        self.unaccounted = (counts.received + counts.injected) as i64 - accounted as i64;
        self.evicted = path
            .gauges()
            .iter()
            .find(|(name, _)| *name == "flows_evicted")
            .map_or(0, |(_, value)| *value);
    }
}

impl FlowReport {
    fn of(described: &Described, last_seen_us: u64) -> Self {
        let record = &described.record;
        let weir = crate::eve::actions(record);
        Self {
            src_ip: described.addresses.0.to_string(),
            src_port: record.client_port,
            dst_ip: described.addresses.1.to_string(),
            dst_port: record.server_port,
            proto: crate::eve::protocol_name(record.protocol).to_lowercase(),
            app: record.application.clone(),
            began_as: described.carried,
            confidence: record.confidence.clone(),
            evidence: described.evidence,
            app_port: described.port_use.map(PortUse::name),
            expected_app: described
                .port_use
                .and_then(PortUse::expected)
                .map(AppId::name),
            client: described.client.clone(),
            server: described.server.clone(),
            rule_action: weir.rule_action,
            mode: weir.mode,
            wire_action: weir.wire_action,
            decider: record.decider.clone(),
            packets: record.packets_to_server + record.packets_to_client,
            bytes: record.bytes_to_server + record.bytes_to_client,
            first_seen_us: record.first_seen_unix_us,
            last_seen_us,
            community_id: record.community_id.clone(),
            fields: FlowFields::default(),
        }
    }
}

fn file_name(file: &FilePath) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}
