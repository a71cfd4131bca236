//! The snapshot as plain data: what the compiler writes, the contract carries and
//! [`crate::Snapshot`] is built from. Mirrors `weir.v1.Snapshot`, where the meaning is written.

mod sensor;
mod threat;

pub use sensor::{
    Combination, SensorAction, SensorDirection, SensorMask, SensorPatternSpec, SensorSpec,
    SensorWhat, SourceThreshold,
};
pub use threat::{ThreatAction, ThreatPolicySpec};

/// The identity of addresses that nobody knows.
pub const UNKNOWN_IDENTITY: u32 = 0;

/// How many claims a policy may tell of: of more, the first.
pub const CLAIMS_MAX: usize = 1024;

/// How far policy goes: learn, report, block. Ordered from the most to the least permissive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Learn; never block.
    Discover,
    /// Report what would be blocked; never block.
    Monitor,
    /// Block.
    Protect,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let through.
    Allow,
    /// Stop.
    Deny,
}

/// How the wire learns of a denial of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum DenyStyle {
    /// A reset to both ends.
    #[default]
    Reset,
    /// Silence.
    Drop,
}

/// The end of a connection whose document a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A rule of the client's document (egress).
    Client,
    /// A rule of the server's document (ingress).
    Server,
}

/// Everything a node enforces. Lists are sorted by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// Never goes back.
    pub version: u64,
    /// Sorted by id; [`UNKNOWN_IDENTITY`] does not occur.
    pub identities: Vec<IdentitySpec>,
    /// Sorted by network, prefix length, zone. The longest prefix wins; a zone wins over none.
    pub addresses: Vec<AddressSpec>,
    /// Sorted by pattern.
    pub names: Vec<NameSpec>,
    /// Sorted by id.
    pub rules: Vec<RuleSpec>,
    /// Addresses that nobody knows.
    pub unknown: UnknownSpec,
    /// Frames that are not IP.
    pub link: LinkSpec,
    /// How denial of TCP shows on the wire.
    pub deny_style: DenyStyle,
    /// Sorted by id.
    pub sensors: Vec<SensorSpec>,
    /// Sorted by id.
    pub threat_policies: Vec<ThreatPolicySpec>,
    /// Sorted by address and service; at most [`CLAIMS_MAX`].
    pub claims: Vec<ClaimSpec>,
}

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySpec {
    /// Small number, not 0.
    pub id: u32,
    /// "namespace/workload", or a CIDR or domain name in brackets: "[10.0.0.0/8]".
    pub name: String,
    /// Sorted by key.
    pub labels: Vec<(String, String)>,
    /// Whether it is an end with a mode of its own.
    pub managed: bool,
    /// The mode; counts where managed.
    pub mode: Mode,
    /// Nothing from or to it passes, whatever the mode.
    pub quarantined: bool,
    /// Names of the services that it answers for: "shop/db"; sorted.
    pub services: Vec<String>,
    /// The account it runs as, in its namespace.
    pub service_account: Option<String>,
    /// It runs on other nodes only, which judge what it does: between two ends that are both
    /// elsewhere a packet only passes through.
    pub elsewhere: bool,
    /// The labels of its namespace, sorted by key; with [`Self::service_addresses`] what the compiler
    /// has to know of it, so that a node can follow the compiler.
    pub namespace_labels: Vec<(String, String)>,
    /// Which of its addresses are those of services that it answers for: network, prefix length, zone as
    /// in [`AddressSpec`]; sorted. Rules that name networks look at the other ones.
    pub service_addresses: Vec<(u128, u8, Option<u32>)>,
}

impl Default for IdentitySpec {
    /// An end without number and name that nobody manages.
    fn default() -> Self {
        Self {
            id: UNKNOWN_IDENTITY,
            name: String::new(),
            labels: Vec::new(),
            managed: false,
            mode: Mode::Discover,
            quarantined: false,
            services: Vec::new(),
            service_account: None,
            elsewhere: false,
            namespace_labels: Vec::new(),
            service_addresses: Vec::new(),
        }
    }
}

/// A network that belongs to an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSpec {
    /// IPv4 mapped into IPv6, host bits zero.
    pub network: u128,
    /// Prefix length over the 128-bit form: an IPv4 /24 is 120. Below 96 only IPv6 addresses are
    /// meant, also where the network is `::`.
    pub prefix_bits: u8,
    /// Only in this zone, or in every zone.
    pub zone: Option<u32>,
    /// The identity.
    pub identity: u32,
}

/// An address that a service claims although it is somebody else's (CVE-2020-8554): what is sent there
/// may be brought to the service's workloads instead, on whichever node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimSpec {
    /// IPv4 mapped into IPv6.
    pub address: u128,
    /// "shop/web".
    pub service: String,
}

/// A domain name that stands for an identity: its addresses are learned from DNS answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSpec {
    /// "api.example.com" or "*.example.com" (any number of labels), lower case, no final dot.
    pub pattern: String,
    /// The identity.
    pub identity: u32,
}

/// A rule: to reach a server · using an application · coming from a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleSpec {
    /// Unique; stable while the rule's text and place stay.
    pub id: u32,
    /// "allowlist shop/photo-db ingress[0]".
    pub name: String,
    /// What it says.
    pub action: Action,
    /// Whose document it comes from.
    pub end: End,
    /// Client identities, sorted; empty means any.
    pub clients: Vec<u32>,
    /// Server identities, sorted; empty means any.
    pub servers: Vec<u32>,
    /// Registry names, sorted; empty means any.
    pub applications: Vec<String>,
    /// IP protocol numbers, sorted; empty means any.
    pub protocols: Vec<u8>,
    /// Inclusive ranges, sorted; empty means any.
    pub ports: Vec<(u16, u16)>,
    /// All must hold.
    pub conditions: Vec<ConditionSpec>,
}

/// Holds when the named field of the request matches at least one pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConditionSpec {
    /// "http.path"; the application is the part before the dot.
    pub field: String,
    /// At least one.
    pub patterns: Vec<Pattern>,
}

/// How a field is compared. Each is linear in the field's length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The whole field.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// `*` any run, `?` any one byte.
    Glob(String),
}

/// What happens to addresses that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSpec {
    /// Packets wait this long for the address to become known; 0: not at all.
    pub hold_ms: u32,
    /// The mode of `unknown` as an end, where the other end is not managed; None: it does not judge.
    /// A managed end judges unknown peers itself, in its own mode.
    pub mode: Option<Mode>,
    /// The default where no rule names `unknown` and the other end does not decide.
    pub action: Action,
}

impl Default for UnknownSpec {
    fn default() -> Self {
        Self {
            hold_ms: 0,
            mode: None,
            action: Action::Allow,
        }
    }
}

/// Frames that are not IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// In protect, an EtherType that is not listed is dropped.
    pub mode: Mode,
    /// Let through besides ARP; sorted.
    pub ether_types: Vec<u16>,
}

impl Default for LinkSpec {
    fn default() -> Self {
        Self {
            mode: Mode::Discover,
            ether_types: Vec::new(),
        }
    }
}
