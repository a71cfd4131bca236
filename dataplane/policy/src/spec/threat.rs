//! What is to happen to threats, per target, as plain data.

/// Actions for threats on the connections of its targets, in place of the node's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThreatPolicySpec {
    /// Unique; stable while the policy's name stays.
    pub id: u32,
    /// "threatpolicy shop/strict".
    pub name: String,
    /// Identities, sorted; empty means every connection, also of ends that nobody knows.
    pub targets: Vec<u32>,
    /// By name of the threat in the catalogue, sorted. Of several policies that name a threat for a
    /// connection the strictest action holds.
    pub actions: Vec<(String, ThreatAction)>,
    /// For threats that no policy of the connection names; the strictest of several holds. None: as
    /// the node is configured.
    pub others: Option<ThreatAction>,
    /// From where on something is told, by name as in the node's configuration, sorted. The lowest
    /// of several holds.
    pub thresholds: Vec<(String, u32)>,
}

/// What is done about a threat. Ordered from the most to the least permissive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreatAction {
    /// It is neither told nor stopped.
    Ignore,
    /// It is told.
    Alert,
    /// It is told, and stopped where the mode is protect.
    Drop,
}
