//! What documents select, each distinct selector once, with whom it means at present.
//!
//! A change of a workload asks only selectors that may mean it: by its name, its namespace and one
//! pair of its labels, its addresses. Memory: a number for each workload that a selector means, twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_model::{Action, DomainPattern, Expression, LabelSelector, Network, Operator, Peer};

use crate::Key;
use crate::networks::{self, Clause, Within};
use crate::world::{Space, Spaces, World};

/// Which atom.
pub(crate) type AtomId = u32;

/// What is selected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    /// The workload of this full name.
    Name(String),
    Labels(Spaces, LabelSelector),
    /// The workloads that answer for the service of this full name.
    Service(String),
    /// Networks, and workloads that lie within: all of one for an allow, any part for a deny.
    Networks(Vec<Clause>, Action),
    /// Domain names within this one.
    Domain(DomainPattern),
    /// All networks and domain names but those that these peers mean.
    Outsiders(Vec<Peer>),
}

/// Where a document uses an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    Target,
    /// Of the rule of this number, egress counted on after ingress.
    Peer(u32),
}

/// One selector and whom it means.
#[derive(Clone, Debug)]
pub(crate) struct Atom {
    what: Arc<What>,
    /// Sorted.
    members: Vec<u32>,
    /// Workloads that lie in the networks with a part of their addresses only; sorted.
    partial: Vec<u32>,
    /// Targets first.
    users: BTreeSet<(Use, Arc<Key>)>,
}

/// What came of a change: atoms whose members changed, and whom they lost or gained.
#[derive(Debug, Default)]
pub(crate) struct Stirred(pub(crate) BTreeMap<AtomId, BTreeSet<u32>>);

/// All selectors in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Atoms {
    atoms: HashMap<AtomId, Atom>,
    last: AtomId,
    ids: HashMap<Arc<What>, AtomId>,
    /// The atoms that mean a workload.
    of: HashMap<u32, BTreeSet<AtomId>>,
    by_label: HashMap<Option<String>, Bucket>,
    /// Those that ask for labels of namespaces.
    selected: BTreeSet<AtomId>,
    by_cidr: BTreeMap<Network, BTreeSet<AtomId>>,
    /// Those that mean domain names whatever they are.
    all_domains: BTreeSet<AtomId>,
    outsiders: BTreeSet<AtomId>,
}

/// Selectors by labels that look in one namespace, or in several.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// By a pair that a workload must have.
    pairs: HashMap<(String, String), BTreeSet<AtomId>>,
    /// By a label that a workload must have, with whatever value.
    keys: HashMap<String, BTreeSet<AtomId>>,
    /// Those that ask for nothing that must be there.
    rest: BTreeSet<AtomId>,
}

/// Where a selector is found.
enum Door<'a> {
    Pairs(&'a str, &'a [String]),
    Key(&'a str),
    Rest,
}

impl Atom {
    pub(crate) fn members(&self) -> &[u32] {
        &self.members
    }

    pub(crate) fn partial(&self) -> &[u32] {
        &self.partial
    }

    /// The documents whose target it is.
    pub(crate) fn targeted_by(&self) -> impl Iterator<Item = &Arc<Key>> {
        let users = self.users.iter();
        users
            .take_while(|(used, _)| *used == Use::Target)
            .map(|(_, key)| key)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = (&Arc<Key>, Use)> {
        self.users.iter().map(|(used, key)| (key, *used))
    }
}

impl Stirred {
    fn add(&mut self, atom: AtomId, id: u32) {
        self.0.entry(atom).or_default().insert(id);
    }
}

/// Returns whether it was different.
fn set(list: &mut Vec<u32>, id: u32, member: bool) -> bool {
    match (list.binary_search(&id), member) {
        (Ok(place), false) => {
            list.remove(place);
            true
        }
        (Err(place), true) => {
            list.insert(place, id);
            true
        }
        _ => false,
    }
}

impl Atoms {
    pub(crate) fn get(&self, id: AtomId) -> Option<&Atom> {
        self.atoms.get(&id)
    }

    /// What selects this, where a document uses it.
    pub(crate) fn find(&self, what: &What) -> Option<&Atom> {
        self.get(*self.ids.get(what)?)
    }

    /// The atoms that mean a workload.
    pub(crate) fn of(&self, id: u32) -> impl Iterator<Item = &Atom> {
        let atoms = self.of.get(&id).into_iter().flatten();
        atoms.filter_map(|atom| self.atoms.get(atom))
    }

    /// The atom for this, used from now on; found out from the world where nobody used it before.
    pub(crate) fn take(&mut self, what: What, key: &Arc<Key>, used: Use, world: &World) -> AtomId {
        let user = (used, key.clone());
        if let Some(&id) = self.ids.get(&what) {
            if let Some(atom) = self.atoms.get_mut(&id) {
                atom.users.insert(user);
            }
            return id;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.atoms.contains_key(&self.last) {
                break;
            }
        }
        let id = self.last;
        let (members, partial) = find(&what, world);
        for member in &members {
            self.of.entry(*member).or_default().insert(id);
        }
        self.index(id, &what, true);
        let what = Arc::new(what);
        self.ids.insert(what.clone(), id);
        let users = BTreeSet::from([user]);
        let atom = Atom {
            what,
            members,
            partial,
            users,
        };
        self.atoms.insert(id, atom);
        id
    }

    /// The document uses it no more.
    pub(crate) fn release(&mut self, id: AtomId, key: &Arc<Key>, used: Use) {
        let Some(atom) = self.atoms.get_mut(&id) else {
            return;
        };
        atom.users.remove(&(used, key.clone()));
        if !atom.users.is_empty() {
            return;
        }
        if let Some(atom) = self.atoms.remove(&id) {
            self.ids.remove(&atom.what);
            for member in &atom.members {
                if let Some(atoms) = self.of.get_mut(member) {
                    atoms.remove(&id);
                    if atoms.is_empty() {
                        self.of.remove(member);
                    }
                }
            }
            self.index(id, &atom.what, false);
        }
    }

    /// A workload came, went, or has other labels: `labels` are those of before and of now.
    pub(crate) fn workload<'a>(
        &mut self,
        id: u32,
        name: &str,
        labels: impl Iterator<Item = (&'a String, &'a String)> + Clone,
        world: &World,
        stirred: &mut Stirred,
    ) {
        let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
        let mut asked: BTreeSet<AtomId> = BTreeSet::new();
        asked.extend(self.ids.get(&What::Name(name.to_owned())));
        for bucket in [Some(namespace.to_owned()), None] {
            let Some(bucket) = self.by_label.get(&bucket) else {
                continue;
            };
            asked.extend(&bucket.rest);
            for (key, value) in labels.clone() {
                asked.extend(bucket.keys.get(key).into_iter().flatten());
                let pair = (key.clone(), value.clone());
                asked.extend(bucket.pairs.get(&pair).into_iter().flatten());
            }
        }
        for atom in asked {
            self.ask(atom, id, world, stirred);
        }
        for service in world.answers.get(name).into_iter().flatten() {
            self.service(service, world, stirred);
        }
    }

    /// Addresses of a workload came or went.
    pub(crate) fn addresses<'a>(
        &mut self,
        id: u32,
        addresses: impl Iterator<Item = &'a Network>,
        world: &World,
        stirred: &mut Stirred,
    ) {
        if self.by_cidr.is_empty() {
            return;
        }
        let asked: BTreeSet<AtomId> = addresses.flat_map(|one| self.touching(one)).collect();
        for atom in asked {
            self.ask(atom, id, world, stirred);
        }
    }

    /// The labels of a namespace changed.
    pub(crate) fn namespace(
        &mut self,
        name: &str,
        before: &Space,
        world: &World,
        stirred: &mut Stirred,
    ) {
        let after = world.spaces.get(name).unwrap_or(before);
        for atom in self.selected.clone() {
            let Some(What::Labels(spaces, _)) = self.atoms.get(&atom).map(|atom| &*atom.what)
            else {
                continue;
            };
            if spaces.contains(name, before) != spaces.contains(name, after) {
                for id in after.ids().collect::<Vec<_>>() {
                    self.ask(atom, id, world, stirred);
                }
            }
        }
    }

    /// A service came, went, or is answered by others.
    pub(crate) fn service(&mut self, name: &str, world: &World, stirred: &mut Stirred) {
        let Some(&id) = self.ids.get(&What::Service(name.to_owned())) else {
            return;
        };
        let after = world.serving(name);
        let Some(atom) = self.atoms.get(&id) else {
            return;
        };
        let all: BTreeSet<u32> = atom.members.iter().chain(&after).copied().collect();
        for member in all {
            self.put(id, member, after.binary_search(&member).is_ok(), stirred);
        }
    }

    /// A network that rules name came or went.
    pub(crate) fn network(
        &mut self,
        network: &Network,
        world: &World,
        stirred: &mut Stirred,
        id: u32,
    ) {
        let around: Vec<AtomId> = network
            .around()
            .filter_map(|around| self.by_cidr.get(&around))
            .flatten()
            .chain(&self.outsiders)
            .copied()
            .collect();
        let there = world.networks.contains_key(network);
        for atom in around {
            let meant = self.atoms.get(&atom).is_some_and(|atom| match &*atom.what {
                What::Networks(clauses, _) => networks::means(clauses, network),
                What::Outsiders(named) => !networks::named(named, network),
                _ => false,
            });
            self.put(atom, id, there && meant, stirred);
        }
    }

    /// A domain name that rules name came or went.
    pub(crate) fn domain(
        &mut self,
        domain: &DomainPattern,
        world: &World,
        stirred: &mut Stirred,
        id: u32,
    ) {
        let within = networks::wider(domain)
            .filter_map(|wider| self.ids.get(&What::Domain(wider)))
            .chain(&self.all_domains)
            .chain(&self.outsiders)
            .copied()
            .collect::<Vec<AtomId>>();
        let there = world.domains.contains_key(domain);
        for atom in within {
            let meant = self.atoms.get(&atom).is_some_and(|atom| match &*atom.what {
                What::Outsiders(named) => !networks::named_domain(named, domain),
                _ => true,
            });
            self.put(atom, id, there && meant, stirred);
        }
    }

    /// The atoms that have something to do with the addresses of this network.
    fn touching(&self, network: &Network) -> impl Iterator<Item = AtomId> {
        let around = network.around().skip(1);
        let around = around.filter_map(|around| self.by_cidr.get(&around));
        let within = self.by_cidr.range(network.within()).map(|(_, atoms)| atoms);
        within.chain(around).flatten().copied()
    }

    /// Whether the atom means the workload now.
    fn ask(&mut self, atom: AtomId, id: u32, world: &World, stirred: &mut Stirred) {
        let Some(found) = self.atoms.get_mut(&atom) else {
            return;
        };
        let member = match &*found.what {
            What::Name(name) => world.id(name) == Some(id),
            What::Labels(spaces, labels) => world.members.get(&id).is_some_and(|member| {
                let namespace = &member.metadata().namespace;
                let space = world.spaces.get(namespace);
                world.has(id, labels)
                    && space.is_some_and(|space| spaces.contains(namespace, space))
            }),
            What::Networks(clauses, action) => {
                let addresses = world
                    .members
                    .get(&id)
                    .map_or(&[][..], |one| one.addresses());
                let within = networks::within(addresses, clauses);
                let part = within == Within::Part;
                if set(&mut found.partial, id, part) {
                    stirred.add(atom, id);
                }
                match action {
                    Action::Allow => within == Within::All,
                    Action::Deny => within != Within::Nothing,
                }
            }
            What::Service(_) | What::Domain(_) | What::Outsiders(_) => return,
        };
        self.put(atom, id, member, stirred);
    }

    fn put(&mut self, atom: AtomId, id: u32, member: bool, stirred: &mut Stirred) {
        let Some(found) = self.atoms.get_mut(&atom) else {
            return;
        };
        if !set(&mut found.members, id, member) {
            return;
        }
        stirred.add(atom, id);
        let atoms = self.of.entry(id).or_default();
        if member {
            atoms.insert(atom);
        } else {
            atoms.remove(&atom);
            if atoms.is_empty() {
                self.of.remove(&id);
            }
        }
    }

    /// Puts an atom into the indices where changes find it, or takes it out.
    fn index(&mut self, id: AtomId, what: &What, there: bool) {
        let change = |set: &mut BTreeSet<AtomId>| match there {
            true => set.insert(id),
            false => set.remove(&id),
        };
        match what {
            What::Labels(spaces, labels) => {
                let space = match spaces {
                    Spaces::One(name) => Some(name.clone()),
                    Spaces::All | Spaces::Selected(_) => None,
                };
                if matches!(spaces, Spaces::Selected(_)) {
                    change(&mut self.selected);
                }
                let bucket = self.by_label.entry(space.clone()).or_default();
                match door(labels) {
                    Door::Pairs(key, values) => {
                        for value in values {
                            let pair = (key.to_owned(), value.clone());
                            let set = bucket.pairs.entry(pair.clone()).or_default();
                            change(set);
                            if set.is_empty() {
                                bucket.pairs.remove(&pair);
                            }
                        }
                    }
                    Door::Key(key) => {
                        let set = bucket.keys.entry(key.to_owned()).or_default();
                        change(set);
                        if set.is_empty() {
                            bucket.keys.remove(key);
                        }
                    }
                    Door::Rest => {
                        change(&mut bucket.rest);
                    }
                }
                if bucket.is_empty() {
                    self.by_label.remove(&space);
                }
            }
            What::Networks(clauses, _) => {
                for (cidr, _) in clauses {
                    let set = self.by_cidr.entry(*cidr).or_default();
                    change(set);
                    if set.is_empty() {
                        self.by_cidr.remove(cidr);
                    }
                }
                if networks::everything(clauses) {
                    change(&mut self.all_domains);
                }
            }
            What::Outsiders(_) => {
                change(&mut self.outsiders);
            }
            What::Name(_) | What::Service(_) | What::Domain(_) => {}
        }
    }
}

impl Bucket {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.keys.is_empty() && self.rest.is_empty()
    }
}

/// The narrowest thing that whatever is selected must have.
fn door(labels: &LabelSelector) -> Door<'_> {
    if let Some((key, value)) = labels.match_labels.iter().next() {
        return Door::Pairs(key, std::slice::from_ref(value));
    }
    let with = |operator: Operator| -> Option<&Expression> {
        let mut expressions = labels.match_expressions.iter();
        expressions.find(|expression| expression.operator == operator)
    };
    match (with(Operator::In), with(Operator::Exists)) {
        (Some(one), _) => Door::Pairs(&one.key, &one.values),
        (None, Some(one)) => Door::Key(&one.key),
        (None, None) => Door::Rest,
    }
}

/// Whom something selects, and who lies in it with a part: from nothing.
fn find(what: &What, world: &World) -> (Vec<u32>, Vec<u32>) {
    let members = match what {
        What::Name(name) => world.id(name).into_iter().collect(),
        What::Labels(spaces, labels) => world.select(spaces, labels),
        What::Service(name) => world.serving(name),
        What::Networks(clauses, action) => return networks::find(clauses, *action, world),
        What::Domain(pattern) => {
            let domains = world.domains.iter();
            let within = domains.filter(|(domain, _)| pattern.contains(domain));
            within.map(|(_, outsider)| outsider.id).collect()
        }
        What::Outsiders(named) => {
            let networks = world.networks.iter();
            let networks = networks.filter(|(network, _)| !networks::named(named, network));
            let domains = world.domains.iter();
            let domains = domains.filter(|(domain, _)| !networks::named_domain(named, domain));
            let domains = domains.map(|(_, outsider)| outsider.id);
            networks.map(|(_, one)| one.id).chain(domains).collect()
        }
    };
    let mut members: Vec<u32> = members;
    members.sort_unstable();
    (members, Vec::new())
}
