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
    /// By name of the threat in the catalogue, sorted; at least one. Of several policies that
    /// concern a connection the strictest action holds for each threat.
    pub actions: Vec<(String, ThreatAction)>,
}

/// What is done about a threat. Ordered from the most to the least permissive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreatAction {
    /// It is not looked for.
    Off,
    /// It is told.
    Alert,
    /// It is told, and dropped where the mode is protect.
    Drop,
}
