//! A node without a device: one worker's path, with a policy of ten thousand rules in force.

use std::sync::Arc;

use anyhow::Result;
use weir_flow::Hot;
use weir_node::connection::Connection;
use weir_node::event::EventRing;
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
use weir_threat::{Threats, network::Shared};

/// Identities beside the two whose packets are measured; ten rules each.
const OTHERS: u32 = 1_000;
/// Who sends: 10.0.0.0/9.
const CLIENT: u32 = 1;
/// Who is asked: 10.128.0.0/9.
const SERVER: u32 = 2;
const EVENTS: usize = 1 << 16;

/// Bytes that one settled flow takes in the tables: hot line, what is kept beside it, one and a half places in the buckets of
/// ten to a line, place, timer. What it needs while its content is read comes on top.
pub const FLOW_BYTES: usize = size_of::<Hot>() + size_of::<Connection>() + 64 * 3 / 20 + 4 + 16;

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
    events: EventRing,
}

impl Node {
    /// One pair of ports, policy in force; threat detectors that only tell, or none.
    pub fn new(bare: bool) -> Result<Self> {
        let limits = Limits {
            flows: 1 << 20,
            secret: [1, 2],
            ..Limits::default()
        };
        let role = |peer| Role::Inline {
            peer,
            pair: 0,
            fail_open: false,
        };
        let events = EventRing::new(EVENTS);
        // Some samples are attacks by intention: they are told, and go on.
        let threats = weir_threat::Config::default().telling_everything();
        let rules = Rules {
            threats: Arc::new(threats),
            lenient: true,
            ..Rules::default()
        };
        let mut inspection = Inspection::new(limits.sessions, None)?;
        if !bare {
            let detectors = detectors(&rules.threats, limits.secret);
            inspection.watch(detectors, weir_content::Limits::default());
        }
        let mut path = Path::new(
            &limits,
            rules,
            vec![role(1), role(0)],
            MemoryFrames,
            Ownership::alone(),
            inspection,
            Box::new(events.clone()),
        );
        path.install(Arc::new(Snapshot::build(policy())?));
        Ok(Self {
            path,
            burst: Vec::with_capacity(BURST),
            out: Outbox::new(2),
            now_us: 1,
            events,
        })
    }

    /// What the rest of a node does between bursts.
    pub fn after_burst(&mut self) {
        while self.events.events.pop().is_some() {}
        if self.now_us.is_multiple_of(1000) {
            self.path.tick(self.now_us, &mut self.out);
        }
        self.out.transmit.iter_mut().for_each(Vec::clear);
        self.out.finished.clear();
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

fn detectors(config: &Arc<weir_threat::Config>, secret: [u64; 2]) -> Threats {
    let shared = Arc::new(Shared::new(&config.network, secret));
    Threats::new(Arc::clone(config), shared, secret)
}

/// Two identities that may speak, HTTP only below /api/, and a thousand others with ten rules each.
fn policy() -> SnapshotSpec {
    let identities = (1..=2 + OTHERS).map(|id| IdentitySpec {
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
    for other in 0..OTHERS * 10 {
        let (me, peer) = (other % OTHERS, (other * 7 + 1) % OTHERS);
        rules.push(rule(4 + other, End::Server, 3 + peer, 3 + me));
    }
    let mut addresses = vec![
        network([10, 0, 0, 0], 9, CLIENT),
        network([10, 128, 0, 0], 9, SERVER),
    ];
    for other in 0..OTHERS {
        let [.., high, low] = other.to_be_bytes();
        addresses.push(network([172, 16, high, low], 32, 3 + other));
    }
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
