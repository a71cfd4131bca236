//! The scopes of all nodes, kept while the policy changes.
//!
//! An effect is looked at item by item, and for each item by the nodes that it can concern: those that
//! know an identity, that run it, or that rules bind which name it. Memory: the policy once, two bits for
//! each identity and node, and the rules of each node, shared where they are whole.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use weir_policy::spec::{
    Action, IdentitySpec, RuleSpec, SensorSpec, SnapshotSpec, ThreatPolicySpec, UNKNOWN_IDENTITY,
};

use crate::bits::Bits;
use crate::change::{AddressKey, Effect, Global, SpecChange};
use crate::nest::Nest;
use crate::scope::{ends, is_lenient, meets};

/// What each node needs, and what changes for whom.
///
/// Begins with nothing, or with the effect of [`crate::Compilation::everything`], and is given every effect after
/// that: [`Scopes::spec`] is at any time what [`crate::scope`] gives for the whole policy and what runs
/// on the node.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    pub(crate) identities: HashMap<u32, Entry, FixedState>,
    pub(crate) rules: BTreeMap<u32, Arc<RuleSpec>>,
    /// Rules that bind anybody, and that name anybody.
    bind_any: BTreeSet<u32>,
    pub(crate) name_any: BTreeSet<u32>,
    pub(crate) sensors: BTreeMap<u32, Arc<SensorSpec>>,
    pub(crate) threat_policies: BTreeMap<u32, Arc<ThreatPolicySpec>>,
    pub(crate) global: Global,
    pub(crate) nest: Nest,
    pub(crate) names: BTreeMap<String, u32>,
    places: HashMap<Arc<str>, usize>,
    pub(crate) nodes: Vec<Option<Node>>,
    /// What runs where, also on nodes that are not kept.
    by_node: HashMap<String, BTreeSet<u32>>,
    everywhere: BTreeSet<u32>,
    lenient: BTreeSet<u32>,
    quarantined: BTreeSet<u32>,
    /// Whoever would be nobody if he were not known.
    pub(crate) outermost: BTreeSet<u32>,
}

/// An identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) spec: Option<Arc<IdentitySpec>>,
    /// As nodes have it where it does not run.
    pub(crate) away: Option<Arc<IdentitySpec>>,
    placement: Arc<[String]>,
    pub(crate) addresses: BTreeSet<AddressKey>,
    pub(crate) names: BTreeSet<String>,
    /// For whom its addresses would be taken if it were not known.
    pub(crate) parents: BTreeSet<u32>,
    /// The rules that bind it, and that name it.
    pub(crate) binds: BTreeSet<u32>,
    pub(crate) named: BTreeSet<u32>,
    /// The nodes that need it for itself.
    pub(crate) core: Bits,
    /// The nodes that know it.
    pub(crate) known: Bits,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) local: BTreeSet<u32>,
    /// What runs here and is not protected.
    lenient: BTreeSet<u32>,
    /// Rules that bind what runs here.
    pub(crate) bound: HashSet<u32>,
    /// Of these, those that let anybody in or out, and those that name whom nobody knows.
    open: BTreeSet<u32>,
    outside: BTreeSet<u32>,
    pub(crate) rules: BTreeMap<u32, Arc<RuleSpec>>,
    pub(crate) sensors: BTreeMap<u32, Arc<SensorSpec>>,
    pub(crate) threat_policies: BTreeMap<u32, Arc<ThreatPolicySpec>>,
}

/// What has to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Stir {
    /// Identities, on every node.
    pub(crate) identities: BTreeSet<u32>,
    /// Identities whose parents may be others, on every node.
    pub(crate) parents: BTreeSet<u32>,
    /// Identities on one node.
    pub(crate) pairs: BTreeSet<(usize, u32)>,
    /// Nodes on which everybody has to be looked at.
    pub(crate) nodes: BTreeSet<usize>,
    /// Rules on one node.
    pub(crate) rules: BTreeSet<(usize, u32)>,
    /// Nodes whose sensors and threat policies have to be looked at.
    pub(crate) attached: BTreeSet<usize>,
    /// Whose the addresses and names that changed were before.
    pub(crate) addresses: BTreeMap<AddressKey, Option<u32>>,
    pub(crate) names: BTreeMap<String, Option<u32>>,
    /// Identities whose description changed, and what it was, where they run and elsewhere.
    pub(crate) described: BTreeMap<u32, [Option<Arc<IdentitySpec>>; 2]>,
    /// Identities that may have begun or ceased to run on a node, and whether they ran there before.
    pub(crate) moved: BTreeMap<(usize, u32), bool>,
    /// Who became known or ceased to be.
    pub(crate) flips: BTreeSet<(usize, u32)>,
    pub(crate) global: bool,
}

impl Node {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: name.clone(),
            local: BTreeSet::new(),
            lenient: BTreeSet::new(),
            bound: HashSet::new(),
            open: BTreeSet::new(),
            outside: BTreeSet::new(),
            rules: BTreeMap::new(),
            sensors: BTreeMap::new(),
            threat_policies: BTreeMap::new(),
        }
    }

    /// Whether everybody is known here.
    pub(crate) fn meets_everybody(&self) -> bool {
        !self.lenient.is_empty() || !self.open.is_empty()
    }

    /// Whether whoever is not known here could be allowed something.
    pub(crate) fn meets_strangers(&self) -> bool {
        !self.outside.is_empty()
    }

    fn character(&self) -> (bool, bool, bool) {
        (
            self.local.is_empty(),
            self.meets_everybody(),
            self.meets_strangers(),
        )
    }
}

impl Scopes {
    /// Takes what changed; returns what that changes on which nodes, by name. Nodes for which
    /// nothing changes do not occur.
    pub fn apply(&mut self, effect: &Effect) -> Vec<(Arc<str>, SpecChange)> {
        let mut stir = Stir::default();
        let characters: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.as_ref().map(Node::character))
            .collect();
        self.take_rules(&effect.spec, &mut stir);
        self.take_identities(effect, &mut stir);
        self.take_places(&effect.spec, &mut stir);
        self.take_rest(&effect.spec, &mut stir);
        let now = self
            .nodes
            .iter()
            .map(|node| node.as_ref().map(Node::character));
        let other = now.zip(characters).enumerate();
        stir.nodes.extend(
            other
                .filter(|(_, (now, before))| now != before)
                .map(|(place, _)| place),
        );
        let changes = self.settle(stir);
        for id in &effect.spec.removed_identities {
            self.identities.remove(id);
        }
        changes
    }

    /// Begins to keep the scope of a node.
    pub fn add_node(&mut self, name: &str) {
        if self.places.contains_key(name) {
            return;
        }
        let name: Arc<str> = name.into();
        let free = self.nodes.iter().position(Option::is_none);
        let place = free.unwrap_or(self.nodes.len());
        if free.is_none() {
            self.nodes.push(None);
        }
        let mut node = Node::new(&name);
        let here = self.by_node.get(&*name).into_iter().flatten();
        node.local = here.chain(&self.everywhere).copied().collect();
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = Some(node);
        }
        self.places.insert(name, place);
        let mut stir = Stir::default();
        let entries = self.local(place).into_iter();
        let entries = entries.filter_map(|id| Some((id, self.identities.get(&id)?)));
        let (mut lenient, mut rules) = (BTreeSet::new(), self.bind_any.clone());
        rules.extend(&self.name_any);
        for (id, entry) in entries {
            if entry.spec.as_ref().is_some_and(|one| is_lenient(one)) {
                lenient.insert(id);
            }
            rules.extend(entry.binds.iter().chain(&entry.named));
        }
        if let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) {
            node.lenient = lenient;
        }
        for rule in rules {
            self.bind(place, rule, &mut stir);
            stir.rules.insert((place, rule));
        }
        stir.attached.insert(place);
        self.stir_newcomer(place, &mut stir);
        self.settle(stir);
    }

    /// Who can be known on a node of which nothing is known yet. Whom its rules name has been stirred.
    fn stir_newcomer(&self, place: usize, stir: &mut Stir) {
        let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
            return;
        };
        if node.meets_everybody() {
            stir.nodes.insert(place);
            return;
        }
        let mut lists = vec![&self.quarantined];
        if !node.local.is_empty() {
            lists.extend([&node.local, &self.lenient]);
        }
        if node.meets_strangers() {
            lists.push(&self.outermost);
        }
        stir.pairs
            .extend(lists.into_iter().flatten().map(|id| (place, *id)));
    }

    /// Forgets a node.
    pub fn remove_node(&mut self, name: &str) {
        let Some(place) = self.places.remove(name) else {
            return;
        };
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = None;
        }
        for entry in self.identities.values_mut() {
            entry.core.set(place, false);
            entry.known.set(place, false);
        }
    }

    /// The nodes whose scopes are kept.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.iter().flatten().map(|node| &node.name)
    }

    /// Everything that a node needs, as the change that leads to it from nothing: items that it has in
    /// common with other nodes are shared.
    pub fn everything(&self, node: &str) -> Option<SpecChange> {
        let place = *self.places.get(node)?;
        let node = self.nodes.get(place)?.as_ref()?;
        let mut change = SpecChange {
            rules: node.rules.values().cloned().collect(),
            sensors: node.sensors.values().cloned().collect(),
            threat_policies: node.threat_policies.values().cloned().collect(),
            global: Some(self.global.clone()),
            ..SpecChange::default()
        };
        let known = self
            .identities
            .iter()
            .filter(|(_, entry)| entry.known.has(place));
        for (id, entry) in known {
            change
                .identities
                .extend(entry.seen(node.local.contains(id)).cloned());
            change.addresses.extend(
                entry
                    .addresses
                    .iter()
                    .map(|key| crate::settle::address((*key, *id))),
            );
            change.names.extend(
                entry
                    .names
                    .iter()
                    .map(|name| crate::settle::name((name.clone(), *id))),
            );
        }
        change.identities.sort_unstable_by_key(|one| one.id);
        change.addresses.sort_unstable();
        change
            .names
            .sort_unstable_by(|a, b| a.pattern.cmp(&b.pattern));
        Some(change)
    }

    /// Everything that a node needs as one piece, with version 0.
    pub fn spec(&self, node: &str) -> Option<SnapshotSpec> {
        Some(self.everything(node)?.into_spec())
    }

    fn local(&self, place: usize) -> BTreeSet<u32> {
        let node = self.nodes.get(place).and_then(Option::as_ref);
        node.map(|node| node.local.clone()).unwrap_or_default()
    }

    fn take_rules(&mut self, spec: &SpecChange, stir: &mut Stir) {
        let gone = spec.removed_rules.iter().map(|id| (*id, None));
        let put = spec.rules.iter().map(|rule| (rule.id, Some(rule.clone())));
        for (id, new) in gone.chain(put) {
            let old = match &new {
                Some(new) => self.rules.insert(id, new.clone()),
                None => self.rules.remove(&id),
            };
            let list = |rule: &Option<Arc<RuleSpec>>| match rule {
                Some(rule) => {
                    let (subjects, peers) = ends(rule);
                    (
                        subjects.to_vec(),
                        peers.to_vec(),
                        subjects.is_empty(),
                        peers.is_empty(),
                    )
                }
                None => Default::default(),
            };
            let (old_subjects, old_peers, old_bind_any, old_name_any) = list(&old);
            let (subjects, peers, bind_any, name_any) = list(&new);
            let subject_changes = differing(&old_subjects, &subjects);
            let peer_changes = differing(&old_peers, &peers);
            for &(one, there) in &subject_changes {
                change(&mut self.entry(one).binds, id, there);
            }
            for &(one, there) in &peer_changes {
                change(&mut self.entry(one).named, id, there);
                stir.identities.insert(one);
            }
            change(&mut self.bind_any, id, bind_any);
            change(&mut self.name_any, id, name_any);
            // Where only members came and went, only nodes that know them look at it again.
            let only_members = match (&old, &new) {
                (Some(old), Some(new)) => {
                    let (clients, servers) = (new.clients.clone(), new.servers.clone());
                    old_bind_any == bind_any
                        && old_name_any == name_any
                        && RuleSpec {
                            clients,
                            servers,
                            ..(**old).clone()
                        } == **new
                }
                _ => false,
            };
            let both = subject_changes.iter().chain(&peer_changes);
            let changed = || both.map(|(one, _)| *one).collect();
            self.look_at_rule(id, only_members.then(changed), stir);
        }
    }

    /// On which nodes a rule has to be looked at that is another now.
    fn look_at_rule(&mut self, id: u32, members: Option<BTreeSet<u32>>, stir: &mut Stir) {
        for place in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let concerned = match &members {
                Some(members) => members.iter().any(|one| {
                    let known = || {
                        self.identities
                            .get(one)
                            .is_some_and(|one| one.known.has(place))
                    };
                    *one == UNKNOWN_IDENTITY || node.local.contains(one) || known()
                }),
                None => true,
            };
            if concerned {
                stir.rules.insert((place, id));
                self.bind(place, id, stir);
            }
        }
    }

    /// Whether a rule binds what runs on a node, and what follows from that.
    fn bind(&mut self, place: usize, id: u32, stir: &mut Stir) {
        let rule = self.rules.get(&id);
        let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
            return;
        };
        let binds = rule.is_some_and(|rule| {
            let here = || meets(ends(rule).0, &node.local);
            !node.local.is_empty() && here()
        });
        let open = rule.is_some_and(|rule| ends(rule).1.is_empty() && rule.action == Action::Allow);
        let outside = rule.is_some_and(|rule| {
            let mut peers = ends(rule).1.iter();
            peers.any(|peer| {
                let by_name = |one: &Entry| !one.names.is_empty();
                *peer == UNKNOWN_IDENTITY || self.identities.get(peer).is_some_and(by_name)
            })
        });
        let peers = rule.map_or(Vec::new(), |rule| ends(rule).1.to_vec());
        let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let other = match binds {
            true => node.bound.insert(id),
            false => node.bound.remove(&id),
        };
        change(&mut node.open, id, binds && open);
        change(&mut node.outside, id, binds && outside);
        if other {
            stir.pairs
                .extend(peers.into_iter().map(|peer| (place, peer)));
            stir.rules.insert((place, id));
        }
    }

    fn take_identities(&mut self, effect: &Effect, stir: &mut Stir) {
        for id in &effect.spec.removed_identities {
            let entry = self.entry(*id);
            let before = [entry.spec.take(), entry.away.take()];
            let placement = std::mem::take(&mut entry.placement);
            if before.iter().flatten().any(|one| one.managed) {
                self.place(*id, &placement, false, stir);
            }
            for set in [
                &mut self.lenient,
                &mut self.quarantined,
                &mut self.outermost,
            ] {
                set.remove(id);
            }
            stir.identities.insert(*id);
            stir.described.insert(*id, before);
        }
        let placements: HashMap<u32, &Arc<[String]>> = (effect.placements.iter())
            .map(|(id, nodes)| (*id, nodes))
            .collect();
        let described = effect.spec.identities.iter().map(|one| (one.id, Some(one)));
        let placed = placements.keys().map(|id| (*id, None));
        for (id, new) in placed.chain(described) {
            let entry = self.entry(id);
            let was_there = entry.spec.as_ref().is_some_and(|spec| spec.managed);
            let before = entry.placement.clone();
            if let Some(nodes) = placements.get(&id) {
                entry.placement = (*nodes).clone();
            }
            let placement = entry.placement.clone();
            if let Some(new) = new {
                let before = [entry.spec.clone(), entry.away.clone()];
                stir.described.entry(id).or_insert(before);
                entry.away = new.managed.then(|| {
                    let away = IdentitySpec {
                        elsewhere: true,
                        ..(**new).clone()
                    };
                    Arc::new(away)
                });
                entry.spec = Some(new.clone());
                stir.identities.insert(id);
                change(&mut self.lenient, id, is_lenient(new));
                change(&mut self.quarantined, id, new.quarantined);
            }
            let entry = self.entry(id);
            let is_there = entry.spec.as_ref().is_some_and(|spec| spec.managed);
            if was_there && (!is_there || before != placement) {
                self.place(id, &before, false, stir);
            }
            if is_there && (!was_there || before != placement) {
                self.place(id, &placement, true, stir);
            }
            if is_there && new.is_some() {
                for place in self.places_of(&placement) {
                    self.take_local(place, id, stir);
                }
            }
        }
    }

    fn places_of(&self, placement: &[String]) -> Vec<usize> {
        match placement {
            [] => self.places.values().copied().collect(),
            nodes => nodes
                .iter()
                .filter_map(|node| self.places.get(node.as_str()).copied())
                .collect(),
        }
    }

    /// An identity begins or ceases to run on its nodes.
    fn place(&mut self, id: u32, placement: &[String], there: bool, stir: &mut Stir) {
        match placement {
            [] => change(&mut self.everywhere, id, there),
            nodes => {
                for node in nodes {
                    let ids = self.by_node.entry(node.clone()).or_default();
                    change(ids, id, there);
                    if ids.is_empty() {
                        self.by_node.remove(node);
                    }
                }
            }
        }
        for place in self.places_of(placement) {
            if let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) {
                stir.moved
                    .entry((place, id))
                    .or_insert(node.local.contains(&id));
                change(&mut node.local, id, there);
            }
            self.take_local(place, id, stir);
        }
    }

    /// What follows on a node where an identity runs now, or no longer, or in another mode.
    fn take_local(&mut self, place: usize, id: u32, stir: &mut Stir) {
        let entry = self.identities.get(&id);
        let lenient = entry
            .and_then(|one| one.spec.as_ref())
            .is_some_and(|one| is_lenient(one));
        let (binds, named) = entry.map_or_else(Default::default, |one| {
            (one.binds.clone(), one.named.clone())
        });
        let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let here = node.local.contains(&id);
        change(&mut node.lenient, id, here && lenient);
        for rule in binds.iter().chain(&self.bind_any.clone()) {
            self.bind(place, *rule, stir);
        }
        stir.pairs.insert((place, id));
        stir.rules
            .extend(binds.iter().chain(&named).map(|rule| (place, *rule)));
        if here {
            stir.rules
                .extend(self.name_any.iter().map(|rule| (place, *rule)));
        }
    }

    pub(crate) fn entry(&mut self, id: u32) -> &mut Entry {
        self.identities.entry(id).or_default()
    }

    /// Domain names: a rule that names one lets in whoever an answer of DNS names.
    pub(crate) fn rebind(&mut self, id: u32, stir: &mut Stir) {
        let named = self.identities.get(&id).map(|one| one.named.clone());
        for rule in named.into_iter().flatten() {
            for place in 0..self.nodes.len() {
                self.bind(place, rule, stir);
            }
        }
    }
}

impl Entry {
    /// As a node has it.
    pub(crate) fn seen(&self, here: bool) -> Option<&Arc<IdentitySpec>> {
        match here {
            true => self.spec.as_ref(),
            false => self.away.as_ref().or(self.spec.as_ref()),
        }
    }
}

pub(crate) fn change(set: &mut BTreeSet<u32>, id: u32, there: bool) {
    match there {
        true => set.insert(id),
        false => set.remove(&id),
    };
}

/// What is in one of two sorted lists only, and whether it is in the second.
fn differing(old: &[u32], new: &[u32]) -> Vec<(u32, bool)> {
    let mut differing = Vec::new();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                old.next();
                new.next();
            }
            (Some(&&a), b) if b.is_none_or(|b| a < **b) => {
                differing.push((a, false));
                old.next();
            }
            (_, Some(&&b)) => {
                differing.push((b, true));
                new.next();
            }
            (Some(&&a), None) => {
                differing.push((a, false));
                old.next();
            }
            (None, None) => return differing,
        }
    }
}
