//! A node without a device: one worker's path, with a policy of ten thousand rules in force.

use std::sync::Arc;

use anyhow::Result;
use weir_flow::Hot;
use weir_node::connection::Connection;
use weir_node::event::{Event, EventRing};
use weir_node::handover::Ownership;
use weir_node::inspection::Inspection;
use weir_node::io::memory::{MemoryFrame, MemoryFrames};
use weir_node::io::{BURST, Outbox, Role};
use weir_node::limits::{Limits, Rules};
use weir_node::path::{Arrived, Path};
use weir_policy::Snapshot;
use weir_policy::spec::{
    Action, AddressSpec, ConditionSpec, End, IdentitySpec, Mode, Pattern, RuleSpec, SnapshotSpec,
};
use weir_sigs::RuleSet;
use weir_threat::{Threats, network::Shared};

/// Who sends: 10.0.0.0/9.
const CLIENT: u32 = 1;
/// Who is asked: 10.128.0.0/9.
const SERVER: u32 = 2;
/// Where clients and servers are in IPv6: see `load::ends`.
const NETWORKS_V6: [(u128, u32); 2] = [
    (0xfd00_0000_0000_0005 << 64, SERVER),
    (0xfd00_0000_0000_000c << 64, CLIENT),
];
const EVENTS: usize = 1 << 17;
/// More than churn has connections open at its end.
const SESSIONS_MAX: usize = 1 << 18;
/// Packets between two calls of [`Node::after_chunk`], at most.
pub const CHUNK_PACKETS: usize = 16 << 10;
const TICK_US: u64 = 1_000;

/// Bytes that one settled flow takes in the tables: hot line, what is kept beside it, one and a half places in the buckets of
/// ten to a line, place, timer. What it needs while its content is read comes on top.
pub const FLOW_BYTES: usize = size_of::<Hot>() + size_of::<Connection>() + 64 * 3 / 20 + 4 + 16;

/// What is on, beside policy.
#[derive(Clone)]
pub struct Options {
    /// Flows in the table.
    pub flows: usize,
    /// Threat detectors, which a node has unless each is switched off.
    pub detectors: bool,
    /// Signatures.
    pub signatures: Option<Arc<RuleSet>>,
    /// Keys the hashes.
    pub secret: [u64; 2],
    /// Rules in force, beside three for the load.
    pub rules: u32,
    /// Identities they are spread over, beside the two of the load.
    pub identities: u32,
}

impl Options {
    /// Flows that are read at a time.
    pub fn sessions(&self) -> usize {
        self.flows.min(SESSIONS_MAX)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flows: 1 << 20,
            detectors: true,
            signatures: None,
            secret: [1, 2],
            rules: 10_000,
            identities: 1_000,
        }
    }
}

/// The path, its ends, and its clock.
pub struct Node {
    /// What is measured.
    pub path: Path<MemoryFrames>,
    /// The next burst.
    pub burst: Vec<Arrived<MemoryFrame>>,
    /// What has left.
    pub out: Outbox<MemoryFrame>,
    /// Microseconds.
    pub now_us: u64,
    next_tick_us: u64,
    events: EventRing,
}

impl Node {
    /// One pair of ports, policy in force; threat detectors only tell.
    pub fn new(options: &Options) -> Result<Self> {
        let events = EventRing::new(EVENTS);
        let counted = counted(options);
        let mut path = path(options, &counted, Ownership::alone(), &events)?;
        path.install(snapshot(options)?);
        let mut out = Outbox::new(2);
        let lists = out.transmit.iter_mut().chain([&mut out.finished]);
        lists.for_each(|list| list.reserve(CHUNK_PACKETS + BURST));
        Ok(Self {
            path,
            burst: Vec::with_capacity(BURST),
            out,
            now_us: 1,
            next_tick_us: TICK_US,
            events,
        })
    }

    /// What time brings about, when a millisecond has passed.
    pub fn tick(&mut self) {
        if self.now_us >= self.next_tick_us {
            self.next_tick_us = self.now_us + TICK_US;
            self.path.tick(self.now_us, &mut self.out);
        }
    }

    /// What devices and other threads do with what left and what was told.
    pub fn after_chunk(&mut self) {
        while self.events.events.pop().is_some() {}
        self.out.transmit.iter_mut().for_each(Vec::clear);
        self.out.finished.clear();
    }

    /// The node stops: what it tells of every flow that it still has.
    pub fn stop(&mut self) -> Vec<Event> {
        self.path.shut_down(self.now_us, &mut self.out);
        std::iter::from_fn(|| self.events.events.pop()).collect()
    }

    /// Flows in the table.
    pub fn flows(&self) -> u64 {
        let gauges = self.path.gauges();
        gauges
            .iter()
            .find(|(name, _)| *name == "flows")
            .map_or(0, |(_, value)| *value)
    }
}

/// What detectors of all workers of a node count together.
pub fn counted(options: &Options) -> Arc<Shared> {
    Arc::new(Shared::new(&telling().network, options.secret))
}

/// Some samples are attacks by intention: they are told, and go on.
fn telling() -> weir_threat::Config {
    weir_threat::Config::default().telling_everything()
}

/// The policy in force.
pub fn snapshot(options: &Options) -> Result<Arc<Snapshot>> {
    Ok(Arc::new(Snapshot::build(policy(options))?))
}

/// The path of one worker, without a policy yet.
pub fn path(
    options: &Options,
    counted: &Arc<Shared>,
    ownership: Ownership<MemoryFrame>,
    events: &EventRing,
) -> Result<Path<MemoryFrames>> {
    let limits = Limits {
        flows: options.flows,
        // A flow that gets none is not read: nothing would be measured but that.
        sessions: options.sessions(),
        secret: options.secret,
        ..Limits::default()
    };
    let role = |peer| Role::Inline {
        peer,
        pair: 0,
        fail_open: false,
    };
    let rules = Rules {
        threats: Arc::new(telling()),
        lenient: true,
        ..Rules::default()
    };
    let mut inspection = Inspection::new(limits.sessions, options.signatures.clone())?;
    if options.detectors {
        let threats = Arc::clone(&rules.threats);
        let detectors = Threats::new(threats, Arc::clone(counted), limits.secret);
        inspection.watch(detectors, weir_content::Limits::default());
    }
    Ok(Path::new(
        &limits,
        rules,
        vec![role(1), role(0)],
        MemoryFrames,
        ownership,
        inspection,
        Box::new(events.clone()),
    ))
}

/// Two identities that may speak, HTTP but for /admin/, and others with rules among themselves.
fn policy(options: &Options) -> SnapshotSpec {
    let others = options.identities.max(1);
    let identities = (1..=2 + others).map(|id| IdentitySpec {
        id,
        name: format!("shop/w{id}"),
        labels: vec![],
        managed: true,
        mode: Mode::Protect,
        quarantined: false,
        ..IdentitySpec::default()
    });
    let mut rules = vec![
        rule(1, End::Client, CLIENT, SERVER),
        rule(2, End::Server, CLIENT, SERVER),
    ];
    rules.push(RuleSpec {
        action: Action::Deny,
        applications: vec!["http".into()],
        conditions: vec![ConditionSpec {
            field: "http.path".into(),
            patterns: vec![Pattern::Prefix("/admin/".into())],
        }],
        ..rule(3, End::Server, CLIENT, SERVER)
    });
    for other in 0..options.rules {
        let (me, peer) = (other % others, (other.wrapping_mul(7) + 1) % others);
        rules.push(rule(4 + other, End::Server, 3 + peer, 3 + me));
    }
    let mut addresses = vec![
        network([10, 0, 0, 0], 9, CLIENT),
        network([10, 128, 0, 0], 9, SERVER),
    ];
    for other in 0..others {
        let [_, highest, high, low] = other.to_be_bytes();
        addresses.push(network([172, 16 | highest, high, low], 32, 3 + other));
    }
    addresses.extend(NETWORKS_V6.map(|(network, identity)| AddressSpec {
        network,
        prefix_bits: 64,
        zone: None,
        identity,
    }));
    SnapshotSpec {
        version: 1,
        identities: identities.collect(),
        rules,
        addresses,
        ..SnapshotSpec::default()
    }
}

fn network(address: [u8; 4], prefix_bits: u8, identity: u32) -> AddressSpec {
    AddressSpec {
        network: 0xffff_0000_0000 | u128::from(u32::from_be_bytes(address)),
        prefix_bits: 96 + prefix_bits,
        zone: None,
        identity,
    }
}

fn rule(id: u32, end: End, client: u32, server: u32) -> RuleSpec {
    RuleSpec {
        id,
        name: format!("rule {id}"),
        action: Action::Allow,
        end,
        clients: vec![client],
        servers: vec![server],
        applications: vec![],
        protocols: vec![],
        ports: vec![],
        conditions: vec![],
    }
}
