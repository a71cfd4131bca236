//! Who and what there is: workloads, namespaces, services, the networks and domain names that rules
//! name; each found by what documents say of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use weir_model::{
    Document, DomainPattern, LabelSelector, Located, Metadata, Namespaces, Network, Reference,
    Selector, Service, WorkloadSpec, did_you_mean,
};

use weir_policy::spec::ClaimSpec;

use crate::{Assignments, Key};

/// Names beyond these are not compared with one that is probably misspelt.
const NEAR_NAMES_MAX: usize = 1000;

/// Everything that documents can name.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) assignments: Assignments,
    /// By number.
    pub(crate) members: HashMap<u32, Member>,
    pub(crate) spaces: BTreeMap<String, Space>,
    /// By full name.
    pub(crate) services: BTreeMap<String, Serving>,
    /// The services that name a workload, by its full name.
    pub(crate) answers: HashMap<String, BTreeSet<String>>,
    pub(crate) networks: BTreeMap<Network, Outsider>,
    pub(crate) domains: BTreeMap<DomainPattern, Outsider>,
    /// The services that share out a network, and those that stand for a domain name.
    pub(crate) shared: BTreeMap<Network, BTreeSet<String>>,
    pub(crate) external: BTreeMap<DomainPattern, BTreeSet<String>>,
    /// What services claim of others.
    pub(crate) claims: BTreeSet<ClaimSpec>,
    /// Workloads by their own addresses.
    located: BTreeMap<Network, BTreeSet<u32>>,
}

/// A workload.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    located: Arc<Located<Document>>,
}

impl Member {
    pub(crate) fn metadata(&self) -> &Metadata {
        self.located.value.metadata()
    }

    pub(crate) fn spec(&self) -> Option<&WorkloadSpec> {
        match &self.located.value {
            Document::Workload(workload) => Some(&workload.spec),
            _ => None,
        }
    }

    pub(crate) fn addresses(&self) -> &[Network] {
        self.spec().map_or(&[], |spec| &spec.addresses)
    }
}

/// A namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// Of its document, where it has one.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The workloads by name.
    names: BTreeMap<String, u32>,
    /// The workloads that have a label of this key and value.
    pairs: HashMap<(String, String), BTreeSet<u32>>,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) key: Arc<Key>,
    /// Full names; they need not exist.
    pub(crate) workloads: Vec<String>,
    /// Its addresses, where they are not those of one workload; each is named as rules name networks.
    pub(crate) shared: Vec<Network>,
    /// The name that it stands for, named as rules name domain names.
    pub(crate) external: Option<DomainPattern>,
}

/// A network or a domain name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outsider {
    pub(crate) id: u32,
    /// How many times rules name it.
    pub(crate) count: usize,
}

/// In which namespaces a selector looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Spaces {
    One(String),
    All,
    Selected(LabelSelector),
}

impl Spaces {
    /// As a document in `own` means it.
    pub(crate) fn of(namespaces: &Namespaces, own: &str) -> Self {
        match namespaces {
            Namespaces::Own if own.is_empty() => Self::All,
            Namespaces::Own => Self::One(own.to_owned()),
            Namespaces::Named(name) => Self::One(name.clone()),
            Namespaces::Selected(selector) if selector.is_empty() => Self::All,
            Namespaces::Selected(selector) => Self::Selected(selector.clone()),
        }
    }

    pub(crate) fn contains(&self, name: &str, space: &Space) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::All => true,
            Self::Selected(selector) => selector.matches_namespace(name, space.labels.as_ref()),
        }
    }
}

impl Space {
    fn is_empty(&self) -> bool {
        self.labels.is_none() && self.names.is_empty()
    }

    /// All workloads.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.names.values().copied()
    }
}

impl World {
    pub(crate) fn new(assignments: Assignments) -> Self {
        Self {
            assignments,
            ..Self::default()
        }
    }

    /// Adds a workload; returns its number.
    pub(crate) fn add(&mut self, located: &Arc<Located<Document>>) -> u32 {
        let metadata = located.value.metadata();
        let name = metadata.full_name();
        let id = self.assignments.take(&name);
        let space = self.spaces.entry(metadata.namespace.clone()).or_default();
        space.names.insert(metadata.name.clone(), id);
        for pair in pairs(metadata) {
            space.pairs.entry(pair).or_default().insert(id);
        }
        let located = located.clone();
        let member = Member { name, located };
        self.locate(&member, id, true);
        self.members.insert(id, member);
        id
    }

    fn locate(&mut self, member: &Member, id: u32, there: bool) {
        for address in member.addresses() {
            let ids = self.located.entry(*address).or_default();
            match there {
                true => ids.insert(id),
                false => ids.remove(&id),
            };
            if ids.is_empty() {
                self.located.remove(address);
            }
        }
    }

    /// The workloads that have an address in common with the network.
    pub(crate) fn touching(&self, network: &Network) -> impl Iterator<Item = u32> {
        let around = network.around().skip(1);
        let around = around.filter_map(|around| self.located.get(&around));
        let within = self.located.range(network.within()).map(|(_, ids)| ids);
        within.chain(around).flatten().copied()
    }

    /// A workload whose name and labels are as before.
    pub(crate) fn replace(&mut self, located: &Arc<Located<Document>>) -> Option<u32> {
        let id = self.id(&located.value.metadata().full_name())?;
        let before = self.members.remove(&id)?;
        self.locate(&before, id, false);
        let member = Member {
            located: located.clone(),
            ..before
        };
        self.locate(&member, id, true);
        self.members.insert(id, member);
        Some(id)
    }

    /// Takes a workload away. Its number stays taken until it is retired.
    pub(crate) fn take_away(&mut self, metadata: &Metadata) -> Option<u32> {
        let space = self.spaces.get_mut(&metadata.namespace)?;
        let id = space.names.remove(&metadata.name)?;
        for pair in pairs(metadata) {
            if let Some(ids) = space.pairs.get_mut(&pair) {
                ids.remove(&id);
                if ids.is_empty() {
                    space.pairs.remove(&pair);
                }
            }
        }
        if space.is_empty() {
            self.spaces.remove(&metadata.namespace);
        }
        if let Some(member) = self.members.remove(&id) {
            self.locate(&member, id, false);
        }
        Some(id)
    }

    /// Sets or takes away the labels that a document gives a namespace.
    pub(crate) fn label(&mut self, namespace: &str, labels: Option<BTreeMap<String, String>>) {
        let space = self.spaces.entry(namespace.to_owned()).or_default();
        space.labels = labels;
        if space.is_empty() {
            self.spaces.remove(namespace);
        }
    }

    /// The number of a workload, by its full name.
    pub(crate) fn id(&self, full_name: &str) -> Option<u32> {
        let (namespace, name) = full_name.split_once('/')?;
        self.spaces.get(namespace)?.names.get(name).copied()
    }

    /// The numbers of all workloads that these select.
    pub(crate) fn select(&self, spaces: &Spaces, labels: &LabelSelector) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut look = |space: &Space| match labels.match_labels.iter().next() {
            Some((key, value)) => {
                let pair = (key.clone(), value.clone());
                let found = space.pairs.get(&pair).into_iter().flatten().copied();
                ids.extend(found.filter(|id| self.has(*id, labels)));
            }
            None => ids.extend(space.ids().filter(|id| self.has(*id, labels))),
        };
        match spaces {
            Spaces::One(name) => {
                if let Some(space) = self.spaces.get(name) {
                    look(space);
                }
            }
            all => {
                let spaces = self.spaces.iter();
                for (_, space) in spaces.filter(|(name, space)| all.contains(name, space)) {
                    look(space);
                }
            }
        }
        ids.sort_unstable();
        ids
    }

    /// Whether a workload has the labels.
    pub(crate) fn has(&self, id: u32, labels: &LabelSelector) -> bool {
        let member = self.members.get(&id);
        member.is_some_and(|member| labels.matches(&member.metadata().labels))
    }

    /// Adds a service, whose workloads need not exist.
    pub(crate) fn serve(&mut self, key: &Arc<Key>, service: &Service) {
        let name = service.metadata.full_name();
        let workloads = workloads(service);
        for workload in &workloads {
            let services = self.answers.entry(workload.clone()).or_default();
            services.insert(name.clone());
        }
        self.claims.extend(claims(service));
        let serving = Serving {
            key: key.clone(),
            workloads,
            shared: shared(service),
            external: service.spec.external_name.clone(),
        };
        for network in &serving.shared {
            let services = self.shared.entry(*network).or_default();
            services.insert(name.clone());
        }
        if let Some(domain) = &serving.external {
            let services = self.external.entry(domain.clone()).or_default();
            services.insert(name.clone());
        }
        self.services.insert(name, serving);
    }

    /// Takes a service away.
    pub(crate) fn stop_serving(&mut self, service: &Service) {
        let name = service.metadata.full_name();
        let serving = self.services.remove(&name);
        if let Some(Serving {
            shared, external, ..
        }) = serving
        {
            shared
                .iter()
                .for_each(|network| strike(&mut self.shared, network, &name));
            if let Some(domain) = external {
                strike(&mut self.external, &domain, &name);
            }
        }
        for claim in claims(service) {
            self.claims.remove(&claim);
        }
        for workload in workloads(service) {
            if let Some(services) = self.answers.get_mut(&workload) {
                services.remove(&name);
                if services.is_empty() {
                    self.answers.remove(&workload);
                }
            }
        }
    }

    /// The numbers of those that a service leads to, by its full name: the workloads that answer, its
    /// addresses where they are not those of one workload, the name that it stands for.
    pub(crate) fn serving(&self, service: &str) -> Vec<u32> {
        let Some(found) = self.services.get(service) else {
            return Vec::new();
        };
        let workloads = found.workloads.iter();
        let workloads = workloads.filter_map(|workload| self.id(workload));
        let name = found.external.as_ref();
        let name = name.and_then(|name| Some(self.domains.get(name)?.id));
        let mut ids: Vec<u32> = workloads.chain(self.shared_by(found)).chain(name).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The numbers of a service's addresses that are not those of one workload.
    fn shared_by<'a>(&'a self, serving: &'a Serving) -> impl Iterator<Item = u32> + 'a {
        let networks = serving.shared.iter();
        networks.filter_map(|network| Some(self.networks.get(network)?.id))
    }

    /// The numbers of all addresses that may lead to a workload, and to others as well.
    pub(crate) fn leading_to(&self, workload: u32) -> impl Iterator<Item = u32> + '_ {
        let name = self.members.get(&workload).map(|member| &member.name);
        let services = name.and_then(|name| self.answers.get(name));
        let serving = services.into_iter().flatten();
        let serving = serving.filter_map(|service| self.services.get(service));
        serving.flat_map(|serving| self.shared_by(serving))
    }

    /// Whether a name in brackets is that of a network or domain name that rules name.
    pub(crate) fn bracketed(&self) -> impl Fn(&str) -> bool + '_ {
        |name| {
            let name = name
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'));
            name.is_some_and(|name| {
                let network = name
                    .parse()
                    .is_ok_and(|one| self.networks.contains_key(&one));
                network
                    || name
                        .parse()
                        .is_ok_and(|one| self.domains.contains_key(&one))
            })
        }
    }

    /// What to do about a selector that selects nothing.
    pub(crate) fn advice(&self, selector: &Selector, namespace: &str) -> String {
        match selector {
            Selector::Name(name) => self.near(name, namespace),
            Selector::Labels { .. } => {
                "compare it with the labels and namespaces of the workloads".to_owned()
            }
        }
    }

    /// What to do about a workload that does not exist.
    pub(crate) fn near(&self, workload: &Reference, namespace: &str) -> String {
        let space = workload.namespace().unwrap_or(namespace);
        let names = self.spaces.get(space).map(|space| space.names.keys());
        match near(
            workload.name(),
            names.into_iter().flatten().map(String::as_str),
        ) {
            Some(near) => format!("did you mean {space}/{near}?"),
            None => "add the workload or correct the name".to_owned(),
        }
    }

    /// What to do about a service that does not exist.
    pub(crate) fn service_advice(&self, service: &Reference, namespace: &str) -> String {
        let space = format!("{}/", service.namespace().unwrap_or(namespace));
        let names = self.services.range(space.clone()..);
        let names = names.map_while(|(name, _)| name.strip_prefix(&space));
        match near(service.name(), names) {
            Some(near) => format!("did you mean {space}{near}?"),
            None => "add the service or correct the name".to_owned(),
        }
    }
}

fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names = names.filter(|other| *other != name);
    did_you_mean(name, names.take(NEAR_NAMES_MAX))
}

/// The full names of the workloads that answer for a service, sorted.
pub(crate) fn workloads(service: &Service) -> Vec<String> {
    let names = service.spec.workloads.iter();
    let names: BTreeSet<String> = names
        .map(|name| name.resolve(&service.metadata.namespace))
        .collect();
    names.into_iter().collect()
}

/// The addresses of a service that no one workload has: those of one that several answer, or nobody.
pub(crate) fn shared(service: &Service) -> Vec<Network> {
    if service.spec.zone.is_some() || workloads(service).len() == 1 {
        return Vec::new();
    }
    let networks: BTreeSet<Network> = service.spec.all_addresses().copied().collect();
    networks.into_iter().collect()
}

fn strike<K: Ord>(lists: &mut BTreeMap<K, BTreeSet<String>>, of: &K, name: &str) {
    if let Some(names) = lists.get_mut(of) {
        names.remove(name);
        if names.is_empty() {
            lists.remove(of);
        }
    }
}

/// What a service claims of others.
pub(crate) fn claims(service: &Service) -> impl Iterator<Item = ClaimSpec> {
    let name = service.metadata.full_name();
    let addresses = service.spec.disputed_addresses.iter();
    addresses.map(move |address| ClaimSpec {
        address: weir_wire::from_ip_address(*address),
        service: name.clone(),
    })
}

fn pairs(metadata: &Metadata) -> impl Iterator<Item = (String, String)> + '_ {
    let labels = metadata.labels.iter();
    labels.map(|(key, value)| (key.clone(), value.clone()))
}
