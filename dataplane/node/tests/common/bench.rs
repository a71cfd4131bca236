//! A path between two ports, with a clock of its own. After every step every frame is accounted for.

use std::sync::Arc;

use weir_node::event::{Event, EventKind, EventRing};
use weir_node::handover::Ownership;
use weir_node::inspection::{Inspection, scan_limits};
use weir_node::io::memory::{MemoryFrame, MemoryFrames};
use weir_node::io::{Outbox, Role};
use weir_node::limits::{Limits, Rules};
use weir_node::path::{Arrived, Path};
use weir_policy::Snapshot;
use weir_sigs::rule::RuleReader;
use weir_sigs::{Prepared, RuleSet};
use weir_wire::{Packet, Reason};

/// The clients' side, and the servers'.
pub const CLIENTS: u8 = 0;
pub const SERVERS: u8 = 1;

/// A path and what leads to and from it.
pub struct Bench {
    pub path: Path<MemoryFrames>,
    pub ring: EventRing,
    pub now_us: u64,
    pub out: Outbox<MemoryFrame>,
    pub burst: Vec<Arrived<MemoryFrame>>,
}

/// What left in one step: ports and frames, in order.
#[derive(Debug, Default)]
pub struct Sent(pub Vec<(u8, Vec<u8>)>);

impl Sent {
    /// Exactly this frame left, by the peer of the port it came in by, as it was.
    pub fn is_passed(&self, port: u8, frame: &[u8]) -> bool {
        self.0 == [(1 - port, frame.to_vec())]
    }

    /// The resets among what left, decoded.
    pub fn resets(&self) -> Vec<(u8, Packet)> {
        let decode = |(port, frame): &(u8, Vec<u8>)| {
            let packet = weir_wire::decode(frame, &Default::default()).unwrap();
            assert!(weir_wire::transport_checksum_ok(frame, &packet));
            (*port, packet)
        };
        self.0
            .iter()
            .map(decode)
            .filter(|(_, packet)| packet.tcp.flags & super::frames::RST != 0)
            .collect()
    }
}

pub fn inline(fail_open: bool) -> Vec<Role> {
    let role = |peer| Role::Inline {
        peer,
        pair: 0,
        fail_open,
    };
    vec![role(1), role(0)]
}

pub fn tap() -> Vec<Role> {
    vec![Role::Tap { pair: 0 }, Role::Tap { pair: 1 }]
}

pub fn small_limits() -> Limits {
    let mut limits = Limits {
        flows: 256,
        sessions: 64,
        held_packets: 8,
        learned_names: 16,
        secret: [1, 2],
        ..Limits::default()
    };
    limits.fragments.datagrams = 16;
    limits.fragments.bytes = 1 << 20;
    limits.reassembly.pool_bytes = 1 << 20;
    limits
}

/// Rules, compiled; each must be accepted.
pub fn compiled(rules: &str) -> Arc<RuleSet> {
    let mut reader = RuleReader::new(weir_sigs::rule::Options::default());
    reader.read("test", rules.as_bytes());
    let (rules, refused) = reader.finish();
    assert!(refused.is_empty(), "{refused:?}");
    let (set, refused) = RuleSet::compile(rules, &weir_sigs::Options::default()).unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    Arc::new(set)
}

/// What a worker takes between two bursts.
pub fn prepared(rules: &str) -> Prepared {
    Prepared::new(compiled(rules), &scan_limits(small_limits().sessions)).unwrap()
}

impl Bench {
    pub fn new(snapshot: &Arc<Snapshot>) -> Self {
        let mut bench = Self::with(inline(false), small_limits(), Ownership::alone());
        bench.install(snapshot);
        bench
    }

    /// One that looks for threats as well.
    pub fn watching(snapshot: &Arc<Snapshot>, limits: Limits) -> Self {
        let config = Arc::new(weir_threat::Config::default());
        let shared = weir_threat::network::Shared::new(&config.network, limits.secret);
        let threats = weir_threat::Threats::new(config, Arc::new(shared), limits.secret);
        let mut inspection = Inspection::new(limits.sessions, None).unwrap();
        inspection.watch(threats, weir_content::Limits::default());
        let mut bench = Self::inspecting(inline(false), limits, Ownership::alone(), inspection);
        bench.install(snapshot);
        bench
    }

    /// One that looks for signatures.
    pub fn searching(snapshot: &Arc<Snapshot>, rules: &str) -> Self {
        let mut bench = Self::watching(snapshot, small_limits());
        assert!(bench.path.look_for(prepared(rules)).is_none());
        bench
    }

    /// The numbers of the rules that were told since the last time, in order.
    pub fn alerts(&mut self) -> Vec<u32> {
        let alerts = self.events_of(EventKind::Alert);
        let sid = |event: Event| {
            let alert = event.alert?;
            Some(alert.rules.rule(alert.hit.rule)?.sid)
        };
        let mut sids: Vec<u32> = alerts.into_iter().filter_map(sid).collect();
        sids.sort_unstable();
        sids
    }

    pub fn with(roles: Vec<Role>, limits: Limits, ownership: Ownership<MemoryFrame>) -> Self {
        let inspection = Inspection::new(limits.sessions, None).unwrap();
        Self::inspecting(roles, limits, ownership, inspection)
    }

    fn inspecting(
        roles: Vec<Role>,
        limits: Limits,
        ownership: Ownership<MemoryFrame>,
        inspection: Inspection,
    ) -> Self {
        let ring = EventRing::new(1024);
        let path = Path::new(
            &limits,
            Rules::default(),
            roles,
            MemoryFrames,
            ownership,
            inspection,
            Box::new(ring.clone()),
        );
        Self {
            path,
            ring,
            now_us: 1_000_000,
            out: Outbox::new(2),
            burst: Vec::new(),
        }
    }

    pub fn install(&mut self, snapshot: &Arc<Snapshot>) {
        self.path.install(Arc::clone(snapshot));
        let sensors = weir_node::sensors::compile(snapshot, None).expect("sensors compile");
        let scanner = weir_node::sensors::prepare(sensors.as_ref(), small_limits().sessions);
        drop(self.path.sense_with(scanner.expect("memory for sensors")));
    }

    /// One frame comes in.
    pub fn send(&mut self, port: u8, frame: &[u8]) -> Sent {
        self.send_all(&[(port, frame.to_vec())])
    }

    /// Frames come in as one burst.
    pub fn send_all(&mut self, frames: &[(u8, Vec<u8>)]) -> Sent {
        for (port, frame) in frames {
            self.burst.push(Arrived {
                frame: MemoryFrame(frame.clone()),
                port: *port,
                received_us: self.now_us,
                at_owner: false,
            });
        }
        self.path.run(&mut self.burst, self.now_us, &mut self.out);
        assert!(self.burst.is_empty());
        self.collect()
    }

    /// What other workers handed over comes in.
    pub fn take_handed_over(&mut self) -> Sent {
        self.path.take_handed_over(&mut self.burst);
        self.path.run(&mut self.burst, self.now_us, &mut self.out);
        self.collect()
    }

    /// Time passes; what it brings about leaves.
    pub fn wait(&mut self, milliseconds: u64) -> Sent {
        self.now_us += milliseconds * 1000;
        self.path.tick(self.now_us, &mut self.out);
        self.collect()
    }

    fn collect(&mut self) -> Sent {
        let (counts, held) = (self.path.counts(), self.path.held());
        assert!(counts.balances(held), "{counts:?} with {held} held");
        self.out.finished.clear();
        let mut sent = Sent::default();
        for (port, frames) in self.out.transmit.iter_mut().enumerate() {
            sent.0
                .extend(frames.drain(..).map(|frame| (port as u8, frame.0)));
        }
        sent
    }

    pub fn dropped(&self, reason: Reason) -> u64 {
        self.path.counts().dropped[reason as usize]
    }

    pub fn spared(&self, reason: Reason) -> u64 {
        self.path.counts().spared[reason as usize]
    }

    pub fn gauge(&self, name: &str) -> u64 {
        let gauges = self.path.gauges();
        gauges.iter().find(|(known, _)| *known == name).unwrap().1
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.ring.events.pop()).collect()
    }

    pub fn events_of(&mut self, kind: EventKind) -> Vec<Event> {
        let mut events = self.events();
        events.retain(|event| event.kind == kind);
        events
    }
}
