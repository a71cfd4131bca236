//! The cluster as its events tell it, and the documents that follow: workloads, services, hosts.
//!
//! Pure: events in ([`World::apply`]), changes of documents out ([`World::changes`]); the time is an
//! argument. Work for an event grows with the workload or service that it touches, never with the
//! cluster. Trusts that events of one kind come in order; between kinds there is none: an owner may
//! come after its pods, an endpoint before the pod that has its address.
//!
//! Memory bound: the cluster's objects, each as a small record; strings and sets of labels that objects
//! share are there once. Past holders of addresses are bounded by a number of their own.

mod accounts;
mod claims;
mod pods;
mod services;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use weir_model::{Document, Located};

use crate::addresses::{Addresses, Claimant, Moved, Order, Rank, Who};
use crate::claims::{Claim, ExternalAddresses};
use crate::facts::{Event, Images, Labels, Node, Object, ObjectName, OwnerKind, Service, Watched};
use crate::identity::NODES_NAMESPACE;
use crate::names::{Name, Places, Shared};

pub use write::SPIFFE_ID;

/// What happened that somebody should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Two claim one address at the same time.
    Overlap {
        /// The address.
        address: IpAddr,
        /// The workload that has it now.
        holder: Arc<str>,
        /// The workload that claims it too, and has it no longer or never had.
        other: Arc<str>,
    },
}

/// How large the world is, and what happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorldCounts {
    /// Pods.
    pub pods: usize,
    /// Workloads, hosts among them.
    pub workloads: usize,
    /// Services.
    pub services: usize,
    /// Addresses that somebody has.
    pub addresses: usize,
    /// How often two claimed one address.
    pub overlaps: u64,
}

/// The cluster.
#[derive(Debug)]
pub struct World {
    shared: Shared,
    sequence: u64,
    lists: BTreeMap<Watched, List>,
    pods: Places<PodRecord>,
    pod_by_name: HashMap<Name, u32>,
    nodes: Places<NodeRecord>,
    node_by_name: HashMap<Arc<str>, u32>,
    steps: HashMap<(Watched, Name), StepRecord>,
    workloads: Places<WorkloadRecord>,
    workload_by_key: HashMap<WorkloadKey, u32>,
    /// Workloads that would have the same name, by namespace and name.
    namesakes: HashMap<Name, Vec<u32>>,
    services: Places<ServiceRecord>,
    service_by_name: HashMap<Name, u32>,
    slices: HashMap<Name, SliceRecord>,
    /// What services claim that is not theirs.
    disputed: BTreeMap<u32, Vec<Claim>>,
    disputed_anew: bool,
    namespaces: HashMap<Arc<str>, NamespaceRecord>,
    /// Service accounts, with the list that brought them.
    accounts: HashMap<Name, u32>,
    /// All of them have been seen once.
    accounts_known: bool,
    addresses: Addresses,
    touched_workloads: BTreeSet<u32>,
    touched_services: BTreeSet<u32>,
    touched_namespaces: BTreeSet<Arc<str>>,
    revision: u64,
    hashing: RandomState,
    overlaps: u64,
    notes: Vec<Note>,
    external: ExternalAddresses,
    trust_domain: String,
}

/// A list of one kind: every object that a list brings gets its number.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    number: u32,
    open: bool,
    sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PodRecord {
    name: Name,
    uid: u128,
    owner: Option<(OwnerKind, Arc<str>, u128)>,
    /// The workload as long as its ReplicaSet or Job is not known.
    guess: (OwnerKind, Arc<str>),
    labels: Arc<Labels>,
    account: Option<Arc<str>>,
    images: Arc<Images>,
    node: Option<Arc<str>>,
    /// None in the host's network, and none once it has run to its end.
    addresses: Box<[IpAddr]>,
    host_network: bool,
    finished: bool,
    lasting: bool,
    created_us: u64,
    bound_us: u64,
    workload: u32,
    listed: u32,
}

#[derive(Debug)]
struct NodeRecord {
    node: Node,
    workload: u32,
    listed: u32,
}

/// A ReplicaSet or Job; its facts are unknown where pods name it that it has not been seen.
#[derive(Debug, Default)]
struct StepRecord {
    facts: Option<StepFacts>,
    pods: Vec<u32>,
    /// Deleted; its facts stay as long as it has pods.
    gone: bool,
    listed: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct StepFacts {
    uid: u128,
    owner: Option<(OwnerKind, Arc<str>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WorkloadKey {
    namespace: Arc<str>,
    kind: OwnerKind,
    name: Arc<str>,
}

#[derive(Debug)]
struct WorkloadRecord {
    key: WorkloadKey,
    /// The name that it would have if it were alone.
    plain_name: Arc<str>,
    /// "shop/photo-db", as documents call it.
    full_name: Arc<str>,
    pods: u32,
    in_host_network: u32,
    /// The sets of labels of its pods, and how many have each.
    label_sets: Vec<(Arc<Labels>, u32)>,
    /// The newest set that was seen, for when no pod is left.
    last_labels: Option<Arc<Labels>>,
    accounts: Vec<(Option<Arc<str>>, u32)>,
    last_account: Option<Arc<str>>,
    image_sets: Vec<(Arc<Images>, u32)>,
    last_images: Option<Arc<Images>>,
    nodes: BTreeMap<Arc<str>, u32>,
    addresses: BTreeSet<IpAddr>,
    template: Option<TemplateRecord>,
    created_us: u64,
    /// What was told last.
    told: Option<Arc<Located<Document>>>,
}

#[derive(Debug)]
struct TemplateRecord {
    labels: Arc<Labels>,
    account: Option<Arc<str>>,
    images: Arc<Images>,
    listed: u32,
}

#[derive(Debug)]
struct ServiceRecord {
    name: Name,
    /// None while only endpoints of it are known.
    service: Option<Service>,
    listed: u32,
    /// Its endpoints' addresses, and in how many slices each is.
    endpoints: BTreeMap<IpAddr, u32>,
    /// Those that it claims, as far as they are believed to be its own.
    claimed: BTreeSet<IpAddr>,
    /// Those of them that it has.
    held: BTreeSet<IpAddr>,
    /// Under which it stands in its namespace.
    selector_hash: Option<u64>,
    /// The workloads that its selector chooses.
    chosen: BTreeSet<u32>,
    told: Option<Arc<Located<Document>>>,
}

#[derive(Debug)]
struct SliceRecord {
    service: Option<Arc<str>>,
    addresses: Box<[IpAddr]>,
    listed: u32,
}

#[derive(Debug, Default)]
struct NamespaceRecord {
    labels: Option<Arc<Labels>>,
    told: Option<Arc<Located<Document>>>,
    listed: u32,
    workloads: BTreeSet<u32>,
    services: BTreeSet<u32>,
    /// The workloads that have a label, by a hash of key and value.
    by_label: HashMap<u64, Vec<u32>>,
    /// The services whose selector has it as its first.
    by_selector: HashMap<u64, Vec<u32>>,
}

impl World {
    /// An empty one. Accounts are named below the trust domain: `cluster.local`.
    pub fn new(trust_domain: &str, external: ExternalAddresses) -> Self {
        Self {
            shared: Shared::default(),
            sequence: 0,
            lists: BTreeMap::new(),
            pods: Places::default(),
            pod_by_name: HashMap::new(),
            nodes: Places::default(),
            node_by_name: HashMap::new(),
            steps: HashMap::new(),
            workloads: Places::default(),
            workload_by_key: HashMap::new(),
            namesakes: HashMap::new(),
            services: Places::default(),
            service_by_name: HashMap::new(),
            slices: HashMap::new(),
            disputed: BTreeMap::new(),
            disputed_anew: false,
            namespaces: HashMap::new(),
            accounts: HashMap::new(),
            accounts_known: false,
            addresses: Addresses::default(),
            touched_workloads: BTreeSet::new(),
            touched_services: BTreeSet::new(),
            touched_namespaces: BTreeSet::new(),
            revision: 0,
            hashing: RandomState::new(),
            overlaps: 0,
            notes: Vec::new(),
            external,
            trust_domain: trust_domain.to_owned(),
        }
    }

    /// Takes an event. What follows from it is told by [`World::changes`].
    pub fn apply(&mut self, event: Event, now_us: u64) {
        self.sequence += 1;
        match event {
            Event::ListBegins(kind) => {
                let sequence = self.sequence;
                let list = self.lists.entry(kind).or_default();
                *list = List {
                    number: list.number.wrapping_add(1),
                    open: true,
                    sequence,
                };
            }
            Event::Upsert(object) => self.upsert(*object, now_us),
            Event::Remove(kind, name) => self.remove(kind, &name, now_us),
            Event::ListEnds(kind) => self.end_list(kind, now_us),
        }
    }

    /// What happened since the last time this was asked.
    pub fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// How large it is.
    pub fn counts(&self) -> WorldCounts {
        WorldCounts {
            pods: self.pods.len(),
            workloads: self.workloads.len(),
            services: self.services.len(),
            addresses: self.addresses.count(),
            overlaps: self.overlaps,
        }
    }

    /// The full name of the workload (or of the service, for an address of its own) that had the
    /// address at that time; none where nobody is remembered to have had it.
    pub fn who_had(&self, address: IpAddr, time_us: u64) -> Option<Arc<str>> {
        match self.addresses.who_had(address.to_canonical(), time_us)? {
            Who::Still(claimant) => Some(self.name_of(claimant)),
            Who::Then(name) => Some(name),
        }
    }

    fn upsert(&mut self, object: Object, now_us: u64) {
        match object {
            Object::Pod(pod) => self.upsert_pod(pod, now_us),
            Object::Step(step) => self.upsert_step(step),
            Object::Template(template) => self.upsert_template(template),
            Object::Node(node) => self.upsert_node(node, now_us),
            Object::Namespace(namespace) => {
                let name = self.shared.text(&namespace.meta.name.name);
                let labels = self.shared.labels(namespace.labels);
                let listed = self.list(Watched::Namespace).number;
                let record = self.namespaces.entry(name.clone()).or_default();
                record.listed = listed;
                if record.labels.as_ref() != Some(&labels) {
                    record.labels = Some(labels);
                    self.touched_namespaces.insert(name);
                }
            }
            Object::Service(service) => self.upsert_service(service, now_us),
            Object::Slice(slice) => self.upsert_slice(slice),
            Object::Account(meta) => self.upsert_account(&meta.name),
        }
    }

    fn remove(&mut self, kind: Watched, name: &ObjectName, now_us: u64) {
        let key = self.key(name);
        match kind {
            Watched::Pod => {
                if let Some(&pod) = self.pod_by_name.get(&key) {
                    self.remove_pod(pod, now_us);
                }
            }
            Watched::Namespace => self.remove_namespace(&key.1),
            Watched::Service => self.remove_service(&key, now_us),
            Watched::EndpointSlice => self.remove_slice(&key),
            Watched::ServiceAccount => self.remove_account(&key),
            Watched::Node => {
                if let Some(&node) = self.node_by_name.get(&key.1) {
                    self.remove_node(node, now_us);
                }
            }
            Watched::ReplicaSet | Watched::Job => self.remove_step(kind, key),
            Watched::Deployment | Watched::StatefulSet | Watched::DaemonSet | Watched::CronJob => {
                self.remove_template(kind, key)
            }
        }
    }

    /// What the list did not bring is gone.
    fn end_list(&mut self, kind: Watched, now_us: u64) {
        let Some(list) = self.lists.get_mut(&kind).filter(|list| list.open) else {
            return;
        };
        list.open = false;
        let number = list.number;
        if kind == Watched::ServiceAccount && !self.accounts_known {
            self.accounts_known = true;
            self.touch_all();
        }
        for name in self.unlisted(kind, number) {
            let (namespace, name) = (name.0.to_string(), name.1.to_string());
            self.remove(kind, &ObjectName { namespace, name }, now_us);
        }
    }

    fn unlisted(&self, kind: Watched, number: u32) -> Vec<Name> {
        let none: Arc<str> = Arc::from("");
        match kind {
            Watched::Pod => {
                let old = self.pods.iter().filter(|(_, pod)| pod.listed != number);
                old.map(|(_, pod)| pod.name.clone()).collect()
            }
            Watched::Namespace => {
                let known = self.namespaces.iter();
                let old = known.filter(|(_, it)| it.labels.is_some() && it.listed != number);
                old.map(|(name, _)| (none.clone(), name.clone())).collect()
            }
            Watched::Service => {
                let known = self.services.iter();
                let old = known.filter(|(_, it)| it.service.is_some() && it.listed != number);
                old.map(|(_, it)| it.name.clone()).collect()
            }
            Watched::ServiceAccount => {
                let old = self
                    .accounts
                    .iter()
                    .filter(|(_, listed)| **listed != number);
                old.map(|(name, _)| name.clone()).collect()
            }
            Watched::EndpointSlice => {
                let old = self.slices.iter().filter(|(_, it)| it.listed != number);
                old.map(|(name, _)| name.clone()).collect()
            }
            Watched::Node => {
                let old = self.nodes.iter().filter(|(_, it)| it.listed != number);
                old.map(|(_, it)| (none.clone(), it.node.meta.name.name.as_str().into()))
                    .collect()
            }
            Watched::ReplicaSet | Watched::Job => {
                let known = self.steps.iter().filter(|((of, _), _)| *of == kind);
                let old = known.filter(|(_, it)| it.facts.is_some() && it.listed != number);
                old.map(|((_, name), _)| name.clone()).collect()
            }
            Watched::Deployment | Watched::StatefulSet | Watched::DaemonSet | Watched::CronJob => {
                let of_kind = owner_kind(kind);
                let old = |workload: &&WorkloadRecord| {
                    let template = workload.template.as_ref();
                    workload.key.kind == of_kind && template.is_some_and(|it| it.listed != number)
                };
                let known = self.workloads.iter().map(|(_, workload)| workload);
                let old = known.filter(old).map(|workload| &workload.key);
                old.map(|key| (key.namespace.clone(), key.name.clone()))
                    .collect()
            }
        }
    }

    fn upsert_node(&mut self, node: Node, now_us: u64) {
        let name = self.shared.text(&node.meta.name.name);
        let list = self.list(Watched::Node);
        if let Some(&number) = self.node_by_name.get(&name) {
            let record = self.nodes.get_mut(number);
            if let Some(record) = record.filter(|record| record.node == node) {
                record.listed = list.number;
                return;
            }
            self.remove_node(number, now_us);
        }
        let key = WorkloadKey {
            namespace: self.shared.text(NODES_NAMESPACE),
            kind: OwnerKind::Node,
            name: name.clone(),
        };
        let labels = self.shared.labels(node.labels.clone());
        let workload = self.workload(key, node.meta.created_us);
        if let Some(record) = self.workloads.get_mut(workload) {
            record.pods += 1;
            record.label_sets.push((labels, 1));
            *record.nodes.entry(name.clone()).or_default() += 1;
        }
        let (uid, created_us) = (node.meta.uid, node.meta.created_us);
        let addresses = node.addresses.clone();
        let record = NodeRecord {
            node,
            workload,
            listed: list.number,
        };
        let number = self.nodes.insert(record);
        self.node_by_name.insert(name, number);
        let order = Order {
            rank: Rank::Node,
            sequence: 0,
            lasting: true,
            bound_us: u64::MAX - created_us,
            uid,
        };
        for address in addresses {
            let since_us = if list.open { created_us } else { now_us };
            let since_us = since_us.min(now_us);
            let moved = self
                .addresses
                .claim(address, Claimant::Node(number), order, since_us);
            self.moved(address, moved);
        }
        self.touch(workload);
    }

    fn remove_node(&mut self, number: u32, now_us: u64) {
        let Some(record) = self.nodes.get(number) else {
            return;
        };
        let (workload, addresses) = (record.workload, record.node.addresses.clone());
        let name: Arc<str> = record.node.meta.name.name.as_str().into();
        for address in addresses {
            let moved = self
                .addresses
                .release(address, Claimant::Node(number), now_us);
            self.moved(address, moved);
        }
        if let Some(record) = self.workloads.get_mut(workload) {
            record.pods = record.pods.saturating_sub(1);
            record.label_sets.clear();
            record.nodes.clear();
        }
        self.nodes.remove(number);
        self.node_by_name.remove(&name);
        self.touch(workload);
    }

    /// An address may have gone from one to another: both documents change, and those of services
    /// whose endpoint or claim it is.
    fn moved(&mut self, address: IpAddr, moved: Moved) {
        if moved.from == moved.to {
            return;
        }
        if let (Some(from), Some(ended_us)) = (moved.from, moved.ended_us) {
            let who = self.name_of(from);
            self.addresses.remember(address, who, ended_us);
        }
        if let Some(from) = moved.from {
            self.with_addresses(from, |addresses| {
                addresses.remove(&address);
            });
        }
        if let Some(to) = moved.to {
            self.with_addresses(to, |addresses| {
                addresses.insert(address);
            });
        }
        let services = self.addresses.backs(address).iter().copied();
        let claiming = self.addresses.claimants(address);
        let claiming = claiming.filter_map(|claimant| match claimant {
            Claimant::Service(service) => Some(service),
            Claimant::Node(_) | Claimant::Pod(_) => None,
        });
        self.touched_services.extend(services.chain(claiming));
    }

    fn with_addresses(&mut self, claimant: Claimant, change: impl FnOnce(&mut BTreeSet<IpAddr>)) {
        if let Claimant::Service(service) = claimant {
            if let Some(record) = self.services.get_mut(service) {
                change(&mut record.held);
            }
            self.touched_services.insert(service);
            return;
        }
        let Some(workload) = self.workload_of_claimant(claimant) else {
            return;
        };
        if let Some(record) = self.workloads.get_mut(workload) {
            change(&mut record.addresses);
        }
        self.touch(workload);
    }

    fn workload_of_claimant(&self, claimant: Claimant) -> Option<u32> {
        match claimant {
            Claimant::Node(node) => Some(self.nodes.get(node)?.workload),
            Claimant::Pod(pod) => Some(self.pods.get(pod)?.workload),
            Claimant::Service(_) => None,
        }
    }

    /// The full name of a claimant's document.
    fn name_of(&self, claimant: Claimant) -> Arc<str> {
        let name = match claimant {
            Claimant::Service(service) => {
                let service = self.services.get(service);
                service.map(|it| format!("{}/{}", it.name.0, it.name.1).into())
            }
            Claimant::Node(_) | Claimant::Pod(_) => self
                .workload_of_claimant(claimant)
                .and_then(|workload| self.workloads.get(workload))
                .map(|workload| workload.full_name.clone()),
        };
        name.unwrap_or_else(|| Arc::from(""))
    }

    fn touch(&mut self, workload: u32) {
        self.touched_workloads.insert(workload);
    }

    fn list(&self, kind: Watched) -> List {
        self.lists.get(&kind).copied().unwrap_or_default()
    }

    /// The place in the order of events; within a list all come at once.
    fn sequence(&self, kind: Watched) -> u64 {
        let list = self.list(kind);
        if list.open {
            list.sequence
        } else {
            self.sequence
        }
    }

    fn key(&mut self, name: &ObjectName) -> Name {
        let namespace = self.shared.text(&name.namespace);
        (namespace, Arc::from(name.name.as_str()))
    }
}

/// The owners' kind that a watched kind of workloads is.
fn owner_kind(kind: Watched) -> OwnerKind {
    match kind {
        Watched::StatefulSet => OwnerKind::StatefulSet,
        Watched::DaemonSet => OwnerKind::DaemonSet,
        Watched::CronJob => OwnerKind::CronJob,
        _ => OwnerKind::Deployment,
    }
}
