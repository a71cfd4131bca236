//! The snapshot: everything a node enforces, immutable, shared by all workers.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::Decider;
use crate::addresses::AddressTable;
use crate::index::RuleIndex;
use crate::names::NameTable;
use crate::rules::Rule;
use crate::spec::{IdentitySpec, SnapshotSpec, ThreatPolicySpec, UNKNOWN_IDENTITY};
use crate::threats::ThreatSets;
use crate::validate::{BuildError, validate};

/// What [`UNKNOWN_IDENTITY`] is called.
const UNKNOWN_NAME: &str = "unknown";

/// A policy ready to answer. Immutable: workers share one and swap to the next between bursts.
#[derive(Debug)]
pub struct Snapshot {
    spec: SnapshotSpec,
    /// From id to place in `spec.identities`.
    identities: HashMap<u32, u32, FixedState>,
    addresses: AddressTable,
    names: NameTable,
    threats: ThreatSets,
    /// In the order of `spec.rules`.
    pub(crate) rules: Vec<Rule>,
    pub(crate) index: RuleIndex,
}

impl Snapshot {
    /// Checks the data and builds what answers questions about it. Names of applications and
    /// fields are resolved through [`weir_l7::registry`].
    pub fn build(spec: SnapshotSpec) -> Result<Self, BuildError> {
        validate(&spec)?;
        Ok(Self::of_valid(spec))
    }

    /// The policy of a node that has none yet: nobody is known, nobody is managed.
    pub fn empty() -> Self {
        Self::of_valid(SnapshotSpec::default())
    }

    fn of_valid(spec: SnapshotSpec) -> Self {
        Self {
            identities: (0..)
                .zip(&spec.identities)
                .map(|(place, identity)| (identity.id, place))
                .collect(),
            addresses: AddressTable::new(&spec.addresses),
            names: NameTable::new(&spec.names),
            threats: ThreatSets::new(&spec.threat_policies),
            rules: spec.rules.iter().map(Rule::new).collect(),
            index: RuleIndex::new(&spec.rules),
            spec,
        }
    }

    /// The data it was built from.
    pub fn spec(&self) -> &SnapshotSpec {
        &self.spec
    }

    /// The version; never goes back.
    pub fn version(&self) -> u64 {
        self.spec.version
    }

    /// Whom an address belongs to: the longest prefix, at equal length the one bound to the zone;
    /// [`UNKNOWN_IDENTITY`] where there is none. An IPv4 address is not in an IPv6 network.
    pub fn identity_of(&self, zone: u32, address: u128) -> u32 {
        self.addresses
            .find(zone, address)
            .unwrap_or(UNKNOWN_IDENTITY)
    }

    /// The name of an identity; "unknown" for one that the snapshot does not have.
    pub fn identity_name(&self, id: u32) -> &str {
        self.identity(id)
            .map_or(UNKNOWN_NAME, |identity| &identity.name)
    }

    /// An identity; none for [`UNKNOWN_IDENTITY`].
    pub fn identity(&self, id: u32) -> Option<&IdentitySpec> {
        self.spec
            .identities
            .get(*self.identities.get(&id)? as usize)
    }

    /// The identity of that name, the lowest where several share it; "unknown" has one.
    pub fn identity_by_name(&self, name: &str) -> Option<u32> {
        if name == UNKNOWN_NAME {
            return Some(UNKNOWN_IDENTITY);
        }
        self.spec
            .identities
            .iter()
            .find(|identity| identity.name == name)
            .map(|identity| identity.id)
    }

    /// The identity whose addresses DNS answers for `domain` teach.
    pub fn name_identity(&self, domain: &[u8]) -> Option<u32> {
        self.names.find(domain)
    }

    /// The number of the set of threat policies that hold for an identity; 0 where only those do that
    /// hold for everybody. Two identities with the same number are treated alike.
    pub fn threat_set(&self, identity: u32) -> u32 {
        self.threats.of(identity)
    }

    /// The threat policies of a set, by their ids.
    pub fn threat_policies(&self, set: u32) -> impl Iterator<Item = &ThreatPolicySpec> {
        let places = self.threats.places(set);
        places
            .iter()
            .filter_map(|&place| self.spec.threat_policies.get(place as usize))
    }

    /// What a decider is called in events: the rule's name, or what stood in for a rule.
    pub fn rule_name(&self, decider: Decider) -> Cow<'_, str> {
        match decider {
            Decider::Rule(index) => match self.spec.rules.get(index as usize) {
                Some(rule) => Cow::Borrowed(rule.name.as_str()),
                None => Cow::Owned(format!("rule {index} of another policy version")),
            },
            Decider::Default(id) => Cow::Owned(format!("default of {}", self.identity_name(id))),
            Decider::Quarantine(id) => {
                Cow::Owned(format!("quarantine of {}", self.identity_name(id)))
            }
            Decider::Unknown => Cow::Borrowed("settings for unknown addresses"),
            Decider::Unmanaged => Cow::Borrowed("neither end is managed here"),
            Decider::Link => Cow::Borrowed("settings for frames that are not IP"),
        }
    }
}
