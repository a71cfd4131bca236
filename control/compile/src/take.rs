//! A document comes into force, changes or goes: what that stirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_model::{Document, DomainPattern, Kind, LabelSelector, Located, Network, Peer};

use crate::atoms::{AtomId, Stirred, Use, What};
use crate::change::Key;
use crate::compilation::{Compilation, Held};
use crate::lists::{List, allowlist, selected, vote, written};
use crate::settle::bracketed;
use crate::world::{Outsider, Space, Spaces, shared, workloads};

impl Compilation {
    /// Puts a document in force, in place of its state of before, or takes it away.
    pub(crate) fn take(&mut self, key: &Arc<Key>, held: Option<Held>) {
        let before = match &held {
            Some(held) => self.documents.insert(key.clone(), held.clone()),
            None => self.documents.remove(key),
        };
        let before = before.map(|held| held.located);
        let after = held.map(|held| held.located);
        let (old, new) = (before.as_ref(), after.as_ref());
        self.marks.documents.insert(key.clone());
        match key.kind {
            Kind::Workload => self.take_workload(old, new),
            Kind::Namespace => self.take_namespace(key, old, new),
            Kind::Service => self.take_service(key, old, new),
            Kind::Allowlist | Kind::ClusterAllowlist => self.take_allowlist(key, old, new),
            Kind::Mode | Kind::Sensor | Kind::ThreatPolicy => self.take_target(key, new),
            Kind::Settings => self.marks.global = true,
            Kind::ResponseRule | Kind::Guardrail | Kind::LearnedProfile => {}
        }
    }

    fn take_workload(
        &mut self,
        old: Option<&Arc<Located<Document>>>,
        new: Option<&Arc<Located<Document>>>,
    ) {
        let (Some(any), mut stirred) = (new.or(old), Stirred::default()) else {
            return;
        };
        let metadata = any.value.metadata();
        let name = metadata.full_name();
        let spec = |located: Option<&Arc<Located<Document>>>| match located.map(|one| &one.value) {
            Some(Document::Workload(workload)) => workload.spec.clone(),
            _ => Default::default(),
        };
        let (old_spec, new_spec) = (spec(old), spec(new));
        let labels = |located: Option<&Arc<Located<Document>>>| {
            located.map(|located| located.value.metadata().labels.clone())
        };
        let (old_labels, new_labels) = (labels(old), labels(new));
        let same = old_labels == new_labels;
        if !same && let Some(old) = old {
            self.world.take_away(old.value.metadata());
        }
        let id = match new {
            Some(new) if same => self.world.replace(new),
            Some(new) => Some(self.world.add(new)),
            None => self.world.assignments.id(&name),
        };
        let Some(id) = id else { return };
        if !same {
            let pairs = old_labels
                .iter()
                .flatten()
                .chain(new_labels.iter().flatten());
            self.atoms
                .workload(id, &name, pairs, &self.world, &mut stirred);
        }
        let addresses = || old_spec.addresses.iter().chain(&new_spec.addresses);
        let moved = old_spec.addresses != new_spec.addresses || old_spec.zone != new_spec.zone;
        let born = old.is_some() != new.is_some();
        if moved || born {
            let changed = addresses();
            self.atoms.addresses(id, changed, &self.world, &mut stirred);
            self.touch(addresses());
        }
        if born {
            // A service that names it has addresses for it.
            for service in self.world.answers.get(&name).into_iter().flatten() {
                let Some(serving) = self.world.services.get(service) else {
                    continue;
                };
                self.marks.documents.insert(serving.key.clone());
                if let Some(Document::Service(service)) = self
                    .documents
                    .get(&serving.key)
                    .map(|held| &held.located.value)
                {
                    for network in service.spec.all_addresses() {
                        self.marks.networks.insert(*network);
                        let within = self.world.networks.range(network.within());
                        self.marks
                            .networks
                            .extend(within.map(|(network, _)| *network));
                    }
                }
            }
        }
        let nodes = new.map(|_| new_spec.nodes.into());
        self.outputs.placements.set(id, nodes);
        self.marks.identities.insert(id);
        if new.is_none() {
            self.marks.retired.push(name);
        }
        self.stir(stirred);
    }

    /// Whose these networks are may have changed.
    fn touch<'a>(&mut self, networks: impl Iterator<Item = &'a Network>) {
        for network in networks {
            self.marks.networks.insert(*network);
            let within = self.world.networks.range(network.within());
            self.marks
                .networks
                .extend(within.map(|(network, _)| *network));
        }
    }

    fn take_namespace(
        &mut self,
        key: &Key,
        old: Option<&Arc<Located<Document>>>,
        new: Option<&Arc<Located<Document>>>,
    ) {
        let labels = |located: Option<&Arc<Located<Document>>>| {
            located.map(|located| located.value.metadata().labels.clone())
        };
        let mut stirred = Stirred::default();
        let mut before = Space::default();
        before.labels = labels(old);
        self.world.label(&key.name, labels(new));
        if let Some(space) = self.world.spaces.get(&key.name) {
            self.marks.identities.extend(space.ids());
        }
        self.atoms
            .namespace(&key.name, &before, &self.world, &mut stirred);
        self.stir(stirred);
    }

    fn take_service(
        &mut self,
        key: &Arc<Key>,
        old: Option<&Arc<Located<Document>>>,
        new: Option<&Arc<Located<Document>>>,
    ) {
        let mut stirred = Stirred::default();
        let mut name = None;
        // What both share out stays named meanwhile.
        self.name_shared(new, true);
        for (located, comes) in [(old, false), (new, true)] {
            let Some(Document::Service(service)) = located.map(|located| &located.value) else {
                continue;
            };
            match comes {
                true => self.world.serve(key, service),
                false => self.world.stop_serving(service),
            }
            name = Some(service.metadata.full_name());
            self.marks.global |= !service.spec.disputed_addresses.is_empty();
            self.touch(service.spec.all_addresses());
            let ids = workloads(service).into_iter();
            let ids = ids.filter_map(|workload| self.world.id(&workload));
            let ids: Vec<u32> = ids.collect();
            if !shared(service).is_empty() {
                self.stir_denials(&ids);
            }
            self.marks.identities.extend(ids);
        }
        self.name_shared(old, false);
        for located in [old, new] {
            self.tell_shared(located);
        }
        if let Some(name) = name {
            self.atoms.service(&name, &self.world, &mut stirred);
        }
        self.stir(stirred);
    }

    /// A service's own addresses and the name that it stands for are named, or no longer.
    fn name_shared(&mut self, located: Option<&Arc<Located<Document>>>, comes: bool) {
        let Some(Document::Service(service)) = located.map(|located| &located.value) else {
            return;
        };
        for network in &shared(service) {
            match comes {
                true => self.name_network(network),
                false => self.forget_network(network),
            }
        }
        if let Some(domain) = &service.spec.external_name {
            match comes {
                true => self.name_domain(domain),
                false => self.forget_domain(domain),
            }
        }
    }

    /// Which services an address or name is of may have changed.
    fn tell_shared(&mut self, located: Option<&Arc<Located<Document>>>) {
        let Some(Document::Service(service)) = located.map(|located| &located.value) else {
            return;
        };
        for network in &shared(service) {
            if let Some(outsider) = self.world.networks.get(network) {
                self.tell_network(network, outsider.id);
            }
        }
        if let Some(domain) = &service.spec.external_name
            && let Some(outsider) = self.world.domains.get(domain)
        {
            self.tell_domain(domain, outsider.id);
        }
    }

    fn tell_network(&mut self, network: &Network, id: u32) {
        let there = self.world.networks.contains_key(network);
        let services = self.world.shared.get(network);
        let services = services.into_iter().flatten().cloned().collect();
        let name = there.then(|| bracketed(network));
        self.outputs.set_outsider(id, name, services);
    }

    fn tell_domain(&mut self, domain: &DomainPattern, id: u32) {
        let there = self.world.domains.contains_key(domain);
        let services = self.world.external.get(domain);
        let services = services.into_iter().flatten().cloned().collect();
        let name = there.then(|| bracketed(domain));
        self.outputs.set_outsider(id, name, services);
    }

    /// Rules that deny one of these deny every address that may lead there, which may be others now.
    fn stir_denials(&mut self, ids: &[u32]) {
        for id in ids {
            for (key, used) in self.atoms.of(*id).flat_map(|atom| atom.users()) {
                if let Use::Peer(number) = used {
                    self.marks.rules.insert((key.clone(), number));
                }
            }
        }
    }

    fn take_allowlist(
        &mut self,
        key: &Arc<Key>,
        old: Option<&Arc<Located<Document>>>,
        new: Option<&Arc<Located<Document>>>,
    ) {
        // What both name stays named meanwhile.
        let (networks, domains) = outsiders(new);
        networks
            .iter()
            .for_each(|network| self.name_network(network));
        domains.iter().for_each(|domain| self.name_domain(domain));
        let before = self.lists.remove(key);
        let list = new.and_then(|located| {
            let allowlist = allowlist(&located.value)?;
            let (atoms, world) = (&mut self.atoms, &self.world);
            Some(List::new(key, located, allowlist, atoms, world))
        });
        let vote_of = |located: Option<&Arc<Located<Document>>>| {
            located.and_then(|located| vote(allowlist(&located.value)?))
        };
        let (old_vote, new_vote) = (vote_of(old), vote_of(new));
        let target = |list: &Option<List>| list.as_ref().map(|list| list.target);
        let same = old_vote == new_vote && target(&before) == target(&list);
        let both = [(old_vote, &before), (new_vote, &list)];
        for (vote, list) in both {
            let Some(list) = list else { continue };
            let numbers = (0..).take(list.rules.len());
            self.marks
                .rules
                .extend(numbers.map(|number| (key.clone(), number)));
            if let Some(target) = self.atoms.get(list.target)
                && vote.is_some()
                && !same
            {
                self.marks.identities.extend(target.members());
            }
        }
        if let Some(before) = before {
            // Those that the new one has too are its own from now on.
            before.release(key, &mut self.atoms, list.as_ref());
        }
        if let Some(list) = list {
            self.lists.insert(key.clone(), list);
        }
        let (networks, domains) = outsiders(old);
        networks
            .iter()
            .for_each(|network| self.forget_network(network));
        domains.iter().for_each(|domain| self.forget_domain(domain));
    }

    fn name_network(&mut self, network: &Network) {
        if let Some(outsider) = self.world.networks.get_mut(network) {
            outsider.count += 1;
            return;
        }
        let id = self.world.assignments.take(&bracketed(network));
        self.world
            .networks
            .insert(*network, Outsider { id, count: 1 });
        self.stir_network(network, id);
    }

    fn forget_network(&mut self, network: &Network) {
        let Some(outsider) = self.world.networks.get_mut(network) else {
            return;
        };
        outsider.count -= 1;
        if outsider.count == 0 {
            let id = outsider.id;
            self.world.networks.remove(network);
            self.stir_network(network, id);
            self.marks.retired.push(bracketed(network));
        }
    }

    fn stir_network(&mut self, network: &Network, id: u32) {
        let mut stirred = Stirred::default();
        self.atoms.network(network, &self.world, &mut stirred, id);
        self.marks.networks.insert(*network);
        self.tell_network(network, id);
        self.stir(stirred);
    }

    fn name_domain(&mut self, domain: &DomainPattern) {
        if let Some(outsider) = self.world.domains.get_mut(domain) {
            outsider.count += 1;
            return;
        }
        let id = self.world.assignments.take(&bracketed(domain));
        let outsider = Outsider { id, count: 1 };
        self.world.domains.insert(domain.clone(), outsider);
        self.stir_domain(domain, id);
    }

    fn forget_domain(&mut self, domain: &DomainPattern) {
        let Some(outsider) = self.world.domains.get_mut(domain) else {
            return;
        };
        outsider.count -= 1;
        if outsider.count == 0 {
            let id = outsider.id;
            self.world.domains.remove(domain);
            self.stir_domain(domain, id);
            self.marks.retired.push(bracketed(domain));
        }
    }

    fn stir_domain(&mut self, domain: &DomainPattern, id: u32) {
        let mut stirred = Stirred::default();
        self.atoms.domain(domain, &self.world, &mut stirred, id);
        self.tell_domain(domain, id);
        let there = self.world.domains.contains_key(domain);
        let pattern = domain.as_str().to_owned();
        self.outputs.names.set(pattern, there.then_some(id));
        self.stir(stirred);
    }

    fn take_target(&mut self, key: &Arc<Key>, new: Option<&Arc<Located<Document>>>) {
        let target = new.and_then(|located| target(&located.value, &key.namespace));
        let before = self.targets.remove(key);
        let atom: Option<AtomId> =
            target.map(|target| self.atoms.take(target, key, Use::Target, &self.world));
        if key.kind == Kind::Mode {
            for atom in before.iter().chain(&atom) {
                if let Some(atom) = self.atoms.get(*atom) {
                    self.marks.identities.extend(atom.members());
                }
            }
        } else {
            self.marks.attached.insert(key.clone());
        }
        if let Some(before) = before.filter(|before| Some(*before) != atom) {
            self.atoms.release(before, key, Use::Target);
        }
        if let Some(atom) = atom {
            self.targets.insert(key.clone(), atom);
        }
    }

    /// What depends on the selectors whose members changed.
    fn stir(&mut self, stirred: Stirred) {
        for (atom, ids) in stirred.0 {
            let Some(atom) = self.atoms.get(atom) else {
                continue;
            };
            for (key, used) in atom.users() {
                self.marks.documents.insert(key.clone());
                match (key.kind, used) {
                    (_, Use::Peer(number)) => {
                        self.marks.rules.insert((key.clone(), number));
                    }
                    (Kind::Sensor | Kind::ThreatPolicy, Use::Target) => {
                        self.marks.attached.insert(key.clone());
                    }
                    (Kind::Mode, Use::Target) => self.marks.identities.extend(&ids),
                    (_, Use::Target) => {
                        let rules = self.lists.get(key).map_or(0, |list| list.rules.len());
                        let numbers = (0..).take(rules);
                        self.marks
                            .rules
                            .extend(numbers.map(|number| (key.clone(), number)));
                        let located = self.documents.get(key).map(|held| &held.located);
                        let list = located.and_then(|located| allowlist(&located.value));
                        if list.and_then(vote).is_some() {
                            self.marks.identities.extend(&ids);
                        }
                    }
                }
            }
        }
    }
}

/// What the target of a document in `own` selects, of those that have one beside allowlists. A sensor
/// without target looks into its namespace: whoever may write there has no say over others.
fn target(document: &Document, own: &str) -> Option<What> {
    let target = match document {
        Document::Mode(document) => &document.spec.target,
        Document::ThreatPolicy(document) => &document.spec.target,
        Document::Sensor(document) => match &document.spec.target {
            Some(target) => target,
            None if own.is_empty() => return None,
            None => {
                let own = Spaces::One(own.to_owned());
                return Some(What::Labels(own, LabelSelector::default()));
            }
        },
        _ => return None,
    };
    Some(selected(target, own))
}

/// The networks and domain names that an allowlist names, each once.
fn outsiders(
    located: Option<&Arc<Located<Document>>>,
) -> (BTreeSet<Network>, BTreeSet<DomainPattern>) {
    let (mut networks, mut domains) = (BTreeSet::new(), BTreeSet::new());
    let list = located.and_then(|located| allowlist(&located.value));
    for (.., rule) in list.into_iter().flat_map(written) {
        for peer in &rule.peers {
            match peer {
                Peer::Network { cidr, except } => {
                    networks.insert(*cidr);
                    networks.extend(except);
                }
                Peer::Domain(domain) => {
                    domains.insert(domain.clone());
                }
                Peer::Workload(_) | Peer::Service(_) | Peer::Unknown | Peer::Any => {}
            }
        }
    }
    (networks, domains)
}
