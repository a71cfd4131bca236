//! What the policy is now, of that alone which was stirred.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use weir_model::{Document, Kind, Network};
use weir_policy::spec::{
    AddressSpec, CLAIMS_MAX, IdentitySpec, Mode, NameSpec, RuleSpec, SensorSpec, ThreatPolicySpec,
};
use weir_policy::{INDEX_ENTRIES_MAX, index_entries};

use crate::change::{AddressKey, Effect, Global, Key, SpecChange};
use crate::compilation::Compilation;
use crate::lists::{allowlist, vote};
use crate::modes::{self, policy_mode};
use crate::sensors::sensor_spec;
use crate::slots::{Item, Slots, home};
use crate::threats::threat_policy_spec;
use crate::tracked::Tracked;

/// What has to be looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) identities: BTreeSet<u32>,
    pub(crate) networks: BTreeSet<Network>,
    pub(crate) rules: BTreeSet<Item>,
    /// Sensors and threat policies.
    pub(crate) attached: BTreeSet<Arc<Key>>,
    pub(crate) global: bool,
    /// Documents whose warnings may have changed.
    pub(crate) documents: BTreeSet<Arc<Key>>,
    /// Documents whose warnings did change.
    pub(crate) warned: BTreeSet<Arc<Key>>,
    /// Names of identities that may be gone.
    pub(crate) retired: Vec<String>,
}

/// The policy by keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outputs {
    identities: Tracked<u32, Arc<IdentitySpec>>,
    addresses: Tracked<AddressKey, u32>,
    pub(crate) names: Tracked<String, u32>,
    rules: Numbered<RuleSpec>,
    drafts: Numbered<RuleSpec>,
    sensors: Numbered<SensorSpec>,
    threat_policies: Numbered<ThreatPolicySpec>,
    global: Tracked<(), Global>,
    pub(crate) placements: Tracked<u32, Arc<[String]>>,
    /// How many workloads are in each mode.
    modes: BTreeMap<Mode, usize>,
    /// What all rules cost in a node's index.
    entries: usize,
}

/// Specs that are numbered by their place and text.
#[derive(Clone, Debug)]
struct Numbered<T> {
    slots: Slots,
    specs: BTreeMap<Item, (u32, Arc<T>)>,
    out: Tracked<u32, Arc<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            specs: BTreeMap::new(),
            out: Tracked::default(),
        }
    }
}

/// "[10.0.0.0/8]": how an identity that is no workload is called.
pub(crate) fn bracketed(name: &impl std::fmt::Display) -> String {
    format!("[{name}]")
}

/// A spec that knows its number.
trait WithId: Clone + PartialEq {
    fn with_id(self, id: u32) -> Self;
    fn is_but_for_id(&self, other: &Self) -> bool;
}

macro_rules! with_id {
    ($($spec:ident)*) => {$(
        impl WithId for $spec {
            fn with_id(self, id: u32) -> Self {
                Self { id, ..self }
            }

            fn is_but_for_id(&self, other: &Self) -> bool {
                *other == Self { id: other.id, ..self.clone() }
            }
        }
    )*};
}

with_id!(RuleSpec SensorSpec ThreatPolicySpec);

impl<T: WithId> Numbered<T> {
    /// Gives each item its spec and number, or takes it away. With the spec comes the number that it
    /// would have for itself.
    fn set(&mut self, changes: BTreeMap<Item, Option<(u32, T)>>) {
        let mut moved: BTreeSet<Item> = BTreeSet::new();
        for (item, change) in &changes {
            let home = change.as_ref().map(|(home, _)| *home);
            if self.slots.home(item) == home {
                continue;
            }
            moved.extend(self.slots.remove(item).into_iter().map(|(item, _)| item));
            if let Some(home) = home {
                let others = self.slots.insert(item.clone(), home).into_iter();
                moved.extend(others.map(|(item, _)| item));
            }
        }
        let touched: BTreeSet<Item> = moved.into_iter().chain(changes.keys().cloned()).collect();
        let mut changes = changes;
        let mut put = Vec::new();
        for item in touched {
            let before = self.specs.remove(&item);
            if let Some((id, _)) = &before {
                self.out.set(*id, None);
            }
            let Some(id) = self.slots.id(&item) else {
                continue;
            };
            let spec = match (changes.remove(&item).flatten(), before) {
                // What is as it was stays the same piece of memory for all who have it.
                (Some((_, new)), Some((old_id, old)))
                    if old_id == id && new.is_but_for_id(&old) =>
                {
                    old
                }
                (Some((_, new)), _) => Arc::new(new.with_id(id)),
                (None, Some((_, old))) => Arc::new((*old).clone().with_id(id)),
                (None, None) => continue,
            };
            put.push((item, id, spec));
        }
        for (item, id, spec) in put {
            self.out.set(id, Some(spec.clone()));
            self.specs.insert(item, (id, spec));
        }
    }

    fn list(&self) -> Vec<T> {
        self.out
            .now()
            .values()
            .map(|spec| (**spec).clone())
            .collect()
    }
}

impl Outputs {
    /// Of no documents.
    pub(crate) fn new() -> Self {
        let mut outputs = Self::default();
        outputs.global.set((), Some(Global::default()));
        outputs.global.changes();
        outputs
    }

    pub(crate) fn pairs(&self) -> usize {
        self.entries
    }

    /// What is wrong, and what to do, where a node could not hold all rules.
    pub(crate) fn too_many_rules(&self) -> Option<(String, &'static str)> {
        (self.entries > INDEX_ENTRIES_MAX).then(|| {
            (
                format!(
                    "with this the rules name {} identities in all, more than {INDEX_ENTRIES_MAX}",
                    self.entries
                ),
                "let the widest rules name any peer, or a network, instead of many workloads",
            )
        })
    }

    /// A network or domain name.
    pub(crate) fn set_outsider(&mut self, id: u32, name: Option<String>, services: Vec<String>) {
        let identity = name.map(|name| {
            Arc::new(IdentitySpec {
                id,
                name,
                services,
                ..IdentitySpec::default()
            })
        });
        self.identities.set(id, identity);
    }

    fn set_workload(&mut self, id: u32, identity: Option<IdentitySpec>) {
        let mode = |identity: &IdentitySpec| identity.managed.then_some(identity.mode);
        let before = self.identities.now().get(&id);
        if let Some(mode) = before.and_then(|one| mode(one))
            && let Some(count) = self.modes.get_mut(&mode)
        {
            *count -= 1;
            if *count == 0 {
                self.modes.remove(&mode);
            }
        }
        if let Some(mode) = identity.as_ref().and_then(mode) {
            *self.modes.entry(mode).or_default() += 1;
        }
        self.identities.set(id, identity.map(Arc::new));
    }

    fn set_rules(&mut self, changes: BTreeMap<Item, (bool, Option<(u32, RuleSpec)>)>) {
        let (mut rules, mut drafts) = (BTreeMap::new(), BTreeMap::new());
        for (item, (draft, rule)) in changes {
            if let Some((_, before)) = self.rules.specs.get(&item) {
                self.entries -= index_entries(before);
            }
            let (in_force, in_draft) = match draft {
                true => (None, rule),
                false => (rule, None),
            };
            if let Some((_, after)) = &in_force {
                self.entries = self.entries.saturating_add(index_entries(after));
            }
            rules.insert(item.clone(), in_force);
            drafts.insert(item, in_draft);
        }
        self.rules.set(rules);
        self.drafts.set(drafts);
    }

    /// All that changed since this was asked last.
    pub(crate) fn changes(&mut self) -> Effect {
        fn values<K, V>(list: Vec<(K, V)>) -> Vec<V> {
            list.into_iter().map(|(_, value)| value).collect()
        }
        let mut spec = SpecChange::default();
        let (gone, put) = self.identities.changes();
        (spec.removed_identities, spec.identities) = (gone, values(put));
        let (gone, put) = self.addresses.changes();
        (spec.removed_addresses, spec.addresses) = (gone, put.into_iter().map(address).collect());
        let (gone, put) = self.names.changes();
        (spec.removed_names, spec.names) = (gone, put.into_iter().map(name).collect());
        let (gone, put) = self.rules.out.changes();
        (spec.removed_rules, spec.rules) = (gone, values(put));
        let (gone, put) = self.sensors.out.changes();
        (spec.removed_sensors, spec.sensors) = (gone, values(put));
        let (gone, put) = self.threat_policies.out.changes();
        (spec.removed_threat_policies, spec.threat_policies) = (gone, values(put));
        spec.global = values(self.global.changes().1).pop();
        let mut drafts = SpecChange::default();
        let (gone, put) = self.drafts.out.changes();
        (drafts.removed_rules, drafts.rules) = (gone, values(put));
        Effect {
            spec,
            drafts,
            placements: self.placements.changes().1,
            outcomes: BTreeMap::new(),
        }
    }

    pub(crate) fn everything(&self) -> Effect {
        let drafts = SpecChange {
            rules: self.drafts.out.now().values().cloned().collect(),
            ..SpecChange::default()
        };
        let placements = self.placements.now().iter();
        Effect {
            spec: self.items(),
            drafts,
            placements: placements.map(|(id, nodes)| (*id, nodes.clone())).collect(),
            outcomes: BTreeMap::new(),
        }
    }

    /// The change that leads to the policy from nothing.
    pub(crate) fn items(&self) -> SpecChange {
        let addresses = self.addresses.now().iter();
        let names = self.names.now().iter();
        SpecChange {
            identities: self.identities.now().values().cloned().collect(),
            addresses: addresses.map(|(key, id)| address((*key, *id))).collect(),
            names: names
                .map(|(pattern, id)| name((pattern.clone(), *id)))
                .collect(),
            rules: self.rules.out.now().values().cloned().collect(),
            sensors: self.sensors.out.now().values().cloned().collect(),
            threat_policies: self.threat_policies.out.now().values().cloned().collect(),
            global: self.global.now().get(&()).cloned(),
            ..SpecChange::default()
        }
    }

    pub(crate) fn drafts(&self) -> Vec<RuleSpec> {
        self.drafts.list()
    }
}

pub(crate) fn address(((network, prefix_bits, zone), identity): (AddressKey, u32)) -> AddressSpec {
    AddressSpec {
        network,
        prefix_bits,
        zone,
        identity,
    }
}

pub(crate) fn name((pattern, identity): (String, u32)) -> NameSpec {
    NameSpec { pattern, identity }
}

/// The network and its prefix over the 128-bit form.
fn mapped(network: &Network) -> (u128, u8) {
    let net = network.net();
    let bits = net.prefix_len();
    let over_128 = match net {
        IpNet::V4(_) => bits.saturating_add(96),
        IpNet::V6(_) => bits,
    };
    (weir_wire::from_ip_address(net.network()), over_128)
}

impl Compilation {
    /// Looks at everything that was stirred.
    pub(crate) fn settle(&mut self) {
        for network in std::mem::take(&mut self.marks.networks) {
            self.settle_network(&network);
        }
        let identities = std::mem::take(&mut self.marks.identities);
        self.marks.global |= !identities.is_empty();
        for id in identities {
            // Networks and names are told when they come and go.
            let outsider = self
                .outputs
                .identities
                .now()
                .get(&id)
                .is_some_and(|one| !one.managed);
            if !outsider || self.world.members.contains_key(&id) {
                let identity = self.identity(id);
                self.outputs.set_workload(id, identity);
            }
        }
        let rules = std::mem::take(&mut self.marks.rules).into_iter();
        let rules = rules.map(|item| {
            let list = self.lists.get(&item.0);
            let home = list.and_then(|list| Some(list.rules.get(item.1 as usize)?.home));
            let rule = list.and_then(|list| list.rule(item.1, &self.atoms, &self.world));
            let draft = list.is_some_and(|list| list.draft);
            (item, (draft, home.zip(rule)))
        });
        let rules = rules.collect();
        self.outputs.set_rules(rules);
        self.settle_attached();
        if std::mem::take(&mut self.marks.global) {
            let global = self.global();
            self.outputs.global.set((), Some(global));
        }
        for key in std::mem::take(&mut self.marks.documents) {
            let Some(held) = self.documents.get(&key) else {
                continue;
            };
            let warnings = self.warnings_of(&key, held);
            if let Some(held) = self.documents.get_mut(&key)
                && held.warnings != warnings
            {
                held.warnings = warnings;
                self.marks.warned.insert(key);
            }
        }
    }

    /// Whose a network is in each zone. Networks that rules name stand behind workloads: a part of a
    /// workload's network, though the longer prefix, stays the workload's.
    fn settle_network(&mut self, network: &Network) {
        let owner = |network: Network, zone| {
            let name = self.places.owner(network, zone)?;
            self.world.id(name)
        };
        let zones = self.places.zones(*network);
        let mut now: BTreeMap<Option<u32>, u32> = zones
            .filter_map(|zone| Some((zone, owner(*network, zone)?)))
            .collect();
        if let Some(outsider) = self.world.networks.get(network) {
            let shielded = network.around().any(|around| owner(around, None).is_some());
            if !shielded {
                now.insert(None, outsider.id);
                for around in network.around() {
                    for zone in self.places.zones(around).filter(Option::is_some) {
                        if let Some(owner) = owner(around, zone) {
                            now.entry(zone).or_insert(owner);
                        }
                    }
                }
            }
        }
        let (network, prefix_bits) = mapped(network);
        let range = (network, prefix_bits, None)..=(network, prefix_bits, Some(u32::MAX));
        let before = self.outputs.addresses.now().range(range);
        let gone: Vec<AddressKey> = before
            .map(|(key, _)| *key)
            .filter(|(.., zone)| !now.contains_key(zone))
            .collect();
        for key in gone {
            self.outputs.addresses.set(key, None);
        }
        for (zone, id) in now {
            self.outputs
                .addresses
                .set((network, prefix_bits, zone), Some(id));
        }
    }

    /// A workload as nodes know it.
    fn identity(&self, id: u32) -> Option<IdentitySpec> {
        let member = self.world.members.get(&id)?;
        let mut mode = Mode::Discover;
        let mut quarantined = false;
        for key in self.atoms.of(id).flat_map(|atom| atom.targeted_by()) {
            let Some(held) = self.documents.get(key) else {
                continue;
            };
            let asked = match &held.located.value {
                Document::Mode(document) => {
                    quarantined |= document.spec.quarantine;
                    document.spec.mode
                }
                other => allowlist(other).and_then(vote),
            };
            mode = mode.max(asked.map_or(Mode::Discover, policy_mode));
        }
        let services = self.world.answers.get(&member.name);
        let labels = member.metadata().labels.clone();
        let space = self.world.spaces.get(&member.metadata().namespace);
        let namespace_labels = space.and_then(|space| space.labels.clone());
        Some(IdentitySpec {
            id,
            name: member.name.clone(),
            labels: labels.into_iter().collect(),
            managed: true,
            mode,
            quarantined,
            services: services.into_iter().flatten().cloned().collect(),
            service_account: member.spec().and_then(|spec| spec.service_account.clone()),
            elsewhere: false,
            namespace_labels: namespace_labels.into_iter().flatten().collect(),
            service_addresses: self.service_addresses(&member.name),
        })
    }

    /// The addresses of a workload that are its services' and not its own.
    fn service_addresses(&self, workload: &str) -> Vec<AddressKey> {
        let services = self.world.answers.get(workload).into_iter().flatten();
        let keys = services.filter_map(|service| Some(&self.world.services.get(service)?.key));
        let documents = keys.filter_map(|key| Some(&self.documents.get(key)?.located.value));
        let mut addresses = BTreeSet::new();
        for document in documents {
            let Document::Service(service) = document else {
                continue;
            };
            for network in service.spec.all_addresses() {
                let zone = service.spec.zone;
                let its = self.places.owner(*network, zone) == Some(workload);
                if its && self.places.is_of_services(*network, zone) {
                    let (network, prefix_bits) = mapped(network);
                    addresses.insert((network, prefix_bits, zone));
                }
            }
        }
        addresses.into_iter().collect()
    }

    /// The settings; without a mode for frames the strictest of all workloads.
    fn global(&self) -> Global {
        let settings = self.settings().map(modes::read).unwrap_or_default();
        let strictest = self.outputs.modes.keys().max().copied();
        Global {
            unknown: settings.unknown,
            link: modes::link(settings.link, strictest),
            deny_style: settings.deny_style,
            claims: self.world.claims.iter().take(CLAIMS_MAX).cloned().collect(),
        }
    }

    fn settings(&self) -> Option<&weir_model::Settings> {
        match &self.documents_of(Kind::Settings).next()?.value {
            Document::Settings(settings) => Some(settings),
            _ => None,
        }
    }

    fn settle_attached(&mut self) {
        let (mut sensors, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for key in std::mem::take(&mut self.marks.attached) {
            let item = (key.clone(), 0);
            let located = self.documents.get(&key).map(|held| held.located.clone());
            let targets = match self.targets.get(&key) {
                // An empty list would mean everybody.
                Some(atom) => (self.atoms.get(*atom).map(|atom| atom.members().to_vec()))
                    .filter(|members| !members.is_empty()),
                None => Some(Vec::new()),
            };
            let both = located.as_ref().zip(targets);
            match key.kind {
                Kind::Sensor => {
                    let spec = both.and_then(|(located, targets)| match &located.value {
                        Document::Sensor(sensor) => {
                            let spec = sensor_spec(located, sensor);
                            let home = home(spec.name.as_bytes());
                            Some((home, SensorSpec { targets, ..spec }))
                        }
                        _ => None,
                    });
                    sensors.insert(item, spec);
                }
                _ => {
                    let spec = both.and_then(|(located, targets)| match &located.value {
                        Document::ThreatPolicy(policy) => {
                            let spec = threat_policy_spec(located, policy, targets);
                            Some((home(spec.name.as_bytes()), spec))
                        }
                        _ => None,
                    });
                    policies.insert(item, spec);
                }
            }
        }
        self.outputs.sensors.set(sensors);
        self.outputs.threat_policies.set(policies);
    }
}
