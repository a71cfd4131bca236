//! What comes in, document by document, and what follows for the policy, item by item.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::{Document, Kind, Located, Problem};
use weir_policy::spec::{
    AddressSpec, ClaimSpec, DenyStyle, IdentitySpec, LinkSpec, NameSpec, RuleSpec, SensorSpec,
    SnapshotSpec, ThreatPolicySpec, UnknownSpec,
};

/// Which document: kind, namespace, name. Kinds that belong to no namespace have an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One document that came, changed or went.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is like this now.
    Put(Arc<Located<Document>>),
    /// It is gone.
    Remove(Key),
}

/// What came of some changes.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// What changed in the policy.
    pub spec: SpecChange,
    /// What changed in the rules of drafts, which no node gets: only rules are in it.
    pub drafts: SpecChange,
    /// Where identities run that came or moved: the nodes, or everywhere where the list is empty.
    /// Those that went are in [`SpecChange::removed_identities`].
    pub placements: Vec<(u32, Arc<[String]>)>,
    /// What became of documents, as far as it changed: of those that were put, and of others whose
    /// warnings changed or whose turn has come.
    pub outcomes: BTreeMap<Key, Outcome>,
}

/// What became of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Why its newest state was not taken; empty where it was. The last good state holds meanwhile.
    pub refused: Vec<Problem>,
    /// What is probably not meant in the state that holds.
    pub warnings: Vec<Problem>,
}

/// Which addresses: network, prefix length over the 128-bit form, zone.
pub type AddressKey = (u128, u8, Option<u32>);

/// What changes from one policy to the next: removals first, then what is new or different. Each
/// list is sorted by its keys, and nothing is both removed and put.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpecChange {
    /// Ids.
    pub removed_identities: Vec<u32>,
    /// Keys.
    pub removed_addresses: Vec<AddressKey>,
    /// Patterns.
    pub removed_names: Vec<String>,
    /// Ids.
    pub removed_rules: Vec<u32>,
    /// Ids.
    pub removed_sensors: Vec<u32>,
    /// Ids.
    pub removed_threat_policies: Vec<u32>,
    /// New or different.
    pub identities: Vec<Arc<IdentitySpec>>,
    /// New, or of another identity.
    pub addresses: Vec<AddressSpec>,
    /// New, or of another identity.
    pub names: Vec<NameSpec>,
    /// New or different.
    pub rules: Vec<Arc<RuleSpec>>,
    /// New or different.
    pub sensors: Vec<Arc<SensorSpec>>,
    /// New or different.
    pub threat_policies: Vec<Arc<ThreatPolicySpec>>,
    /// Where any of them differs, all of them.
    pub global: Option<Global>,
}

/// What holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// Addresses that nobody knows.
    pub unknown: UnknownSpec,
    /// Frames that are not IP.
    pub link: LinkSpec,
    /// How denial of TCP shows on the wire.
    pub deny_style: DenyStyle,
    /// What services claim of others: told to every node, since whoever sends there is a victim on
    /// whichever node.
    pub claims: Vec<ClaimSpec>,
}

impl Key {
    /// The key of a document.
    pub fn of(document: &Document) -> Self {
        let metadata = document.metadata();
        Self {
            kind: document.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }
}

impl Change {
    /// Which document it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(document) => Key::of(&document.value),
            Self::Remove(key) => key.clone(),
        }
    }
}

impl Global {
    /// Of a policy.
    pub fn of(spec: &SnapshotSpec) -> Self {
        Self {
            unknown: spec.unknown.clone(),
            link: spec.link.clone(),
            deny_style: spec.deny_style,
            claims: spec.claims.clone(),
        }
    }
}

impl SpecChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What leads from one policy to the other, whatever their versions.
    pub fn between(old: &SnapshotSpec, new: &SnapshotSpec) -> Self {
        let mut change = Self::default();
        let arc = |list: Vec<_>| list.into_iter().map(Arc::new).collect();
        let (gone, put) = difference(&old.identities, &new.identities, |one| one.id);
        (change.removed_identities, change.identities) = (gone, arc(put));
        (change.removed_addresses, change.addresses) =
            difference(&old.addresses, &new.addresses, address_key);
        (change.removed_names, change.names) =
            difference(&old.names, &new.names, |one| one.pattern.clone());
        let (gone, put) = difference(&old.rules, &new.rules, |one| one.id);
        (change.removed_rules, change.rules) = (gone, put.into_iter().map(Arc::new).collect());
        let (gone, put) = difference(&old.sensors, &new.sensors, |one| one.id);
        (change.removed_sensors, change.sensors) = (gone, put.into_iter().map(Arc::new).collect());
        let (gone, put) = difference(&old.threat_policies, &new.threat_policies, |one| one.id);
        (change.removed_threat_policies, change.threat_policies) =
            (gone, put.into_iter().map(Arc::new).collect());
        let global = Global::of(new);
        change.global = (Global::of(old) != global).then_some(global);
        change
    }

    /// The policy that this leads to from nothing, with version 0.
    pub fn into_spec(self) -> SnapshotSpec {
        fn own<T: Clone>(items: Vec<Arc<T>>) -> Vec<T> {
            items.into_iter().map(Arc::unwrap_or_clone).collect()
        }
        let global = self.global.unwrap_or_default();
        SnapshotSpec {
            version: 0,
            identities: own(self.identities),
            addresses: self.addresses,
            names: self.names,
            rules: own(self.rules),
            unknown: global.unknown,
            link: global.link,
            deny_style: global.deny_style,
            sensors: own(self.sensors),
            threat_policies: own(self.threat_policies),
            claims: global.claims,
        }
    }

    /// Changes a policy by this. Slow: for those who hold a policy as one piece.
    pub fn apply_to(&self, spec: &mut SnapshotSpec) {
        fn change<T: Clone, K: Ord>(
            list: &mut Vec<T>,
            removed: &[K],
            put: impl Iterator<Item = T>,
            key: impl Fn(&T) -> K,
        ) {
            let mut all: BTreeMap<K, T> = list.drain(..).map(|item| (key(&item), item)).collect();
            for gone in removed {
                all.remove(gone);
            }
            all.extend(put.map(|item| (key(&item), item)));
            list.extend(all.into_values());
        }
        let identities = self.identities.iter().map(|one| (**one).clone());
        change(
            &mut spec.identities,
            &self.removed_identities,
            identities,
            |one| one.id,
        );
        let addresses = self.addresses.iter().cloned();
        change(
            &mut spec.addresses,
            &self.removed_addresses,
            addresses,
            address_key,
        );
        let names = self.names.iter().cloned();
        change(&mut spec.names, &self.removed_names, names, |one| {
            one.pattern.clone()
        });
        let rules = self.rules.iter().map(|one| (**one).clone());
        change(&mut spec.rules, &self.removed_rules, rules, |one| one.id);
        let sensors = self.sensors.iter().map(|one| (**one).clone());
        change(&mut spec.sensors, &self.removed_sensors, sensors, |one| {
            one.id
        });
        let policies = self.threat_policies.iter().map(|one| (**one).clone());
        let removed = &self.removed_threat_policies;
        change(&mut spec.threat_policies, removed, policies, |one| one.id);
        if let Some(global) = self.global.clone() {
            spec.unknown = global.unknown;
            spec.link = global.link;
            spec.deny_style = global.deny_style;
            spec.claims = global.claims;
        }
    }
}

/// The key of an address.
pub fn address_key(address: &AddressSpec) -> AddressKey {
    (address.network, address.prefix_bits, address.zone)
}

/// What is in `old` only, by key, and what is new or different in `new`.
fn difference<T: Clone + PartialEq, K: Ord + Clone>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<K>, Vec<T>) {
    let before: BTreeMap<K, &T> = old.iter().map(|item| (key(item), item)).collect();
    let put: Vec<T> = new
        .iter()
        .filter(|item| before.get(&key(item)).is_none_or(|old| old != item))
        .cloned()
        .collect();
    let after: BTreeSet<K> = new.iter().map(&key).collect();
    let gone = before.into_keys().filter(|key| !after.contains(key));
    (gone.collect(), put)
}
