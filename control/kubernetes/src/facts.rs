//! What Weir keeps of Kubernetes objects, as plain data: no client, no clock, no JSON.
//!
//! Whoever fills these in has bounded and checked them ([`crate::object`]); [`crate::World`] takes
//! them as what the API server says, and believes of addresses only what fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Labels as written.
pub type Labels = BTreeMap<String, String>;

/// Images as written.
pub type Images = BTreeSet<String>;

/// The kinds of objects that are watched beside the kinds of Weir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// Who speaks.
    Pod,
    /// Labels of namespaces.
    Namespace,
    /// Names and addresses that clients use.
    Service,
    /// Who answers for a service.
    EndpointSlice,
    /// The hosts.
    Node,
    /// Whether the accounts that pods run as are there.
    ServiceAccount,
    /// Between a pod and its Deployment or Rollout.
    ReplicaSet,
    /// A workload.
    Deployment,
    /// A workload.
    StatefulSet,
    /// A workload.
    DaemonSet,
    /// A workload, or between a pod and its CronJob.
    Job,
    /// A workload.
    CronJob,
}

/// An object's namespace (empty where its kind has none) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Empty for what belongs to no namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What every object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub name: ObjectName,
    /// Tells it from an earlier object of the same name.
    pub uid: u128,
    /// When the API server made it.
    pub created_us: u64,
}

/// The kinds of owners that mean something to Weir.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// apps
    Deployment,
    /// apps
    ReplicaSet,
    /// apps
    StatefulSet,
    /// apps
    DaemonSet,
    /// batch
    Job,
    /// batch
    CronJob,
    /// Of static pods.
    Node,
    /// Nobody owns the pod.
    Pod,
    /// A controller that Weir does not know, by its kind: Rollout, CloneSet.
    Other(String),
}

/// The controller that an object names as its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its name, in the object's namespace.
    pub name: String,
    /// Its uid.
    pub uid: u128,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Name, uid, time.
    pub meta: Meta,
    /// All of its labels.
    pub labels: Labels,
    /// The controller that owns it.
    pub owner: Option<Owner>,
    /// The account it runs as.
    pub service_account: Option<String>,
    /// The images of its containers.
    pub images: Images,
    /// Where it runs; none before it is bound.
    pub node: Option<String>,
    /// It uses its node's addresses.
    pub host_network: bool,
    /// None before it has got one.
    pub addresses: Vec<IpAddr>,
    /// It has run to its end and given its addresses up.
    pub finished: bool,
    /// It has been told to end.
    pub terminating: bool,
    /// When it got its addresses, as nearly as its status tells; 0 where it does not.
    pub bound_us: u64,
}

/// A ReplicaSet or Job: a step on the way from a pod to its workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Name, uid, time.
    pub meta: Meta,
    /// Its kind.
    pub kind: OwnerKind,
    /// The controller that owns it.
    pub owner: Option<Owner>,
}

/// A Deployment, StatefulSet, DaemonSet or CronJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Name, uid, time.
    pub meta: Meta,
    /// Its kind.
    pub kind: OwnerKind,
    /// Labels that its pods get.
    pub labels: Labels,
    /// The account that its pods run as.
    pub service_account: Option<String>,
    /// The images of its pods' containers.
    pub images: Images,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Name, uid, time.
    pub meta: Meta,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses within the cluster.
    pub addresses: Vec<IpAddr>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Name, uid, time.
    pub meta: Meta,
    /// Its labels.
    pub labels: Labels,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, uid, time.
    pub meta: Meta,
    /// Of the pods behind it; empty for a service whose endpoints somebody else writes.
    pub selector: Labels,
    /// Given by the cluster; none for a headless service.
    pub cluster_addresses: Vec<IpAddr>,
    /// `spec.externalIPs`: whoever may write a service may write any address here (CVE-2020-8554).
    pub external_addresses: Vec<IpAddr>,
    /// `status.loadBalancer.ingress`, and whoever may write that.
    pub balancer_addresses: Vec<IpAddr>,
    /// It is of type LoadBalancer.
    pub balanced: bool,
    /// It stands for this name (type ExternalName).
    pub external_name: Option<String>,
}

/// A part of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Name, uid, time.
    pub meta: Meta,
    /// The service, in the slice's namespace.
    pub service: Option<String>,
    /// Of the endpoints, ready or not.
    pub addresses: Vec<IpAddr>,
}

/// One object of a watched kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A pod.
    Pod(Pod),
    /// A ReplicaSet or Job.
    Step(Step),
    /// A workload's controller.
    Template(Template),
    /// A node.
    Node(Node),
    /// A namespace.
    Namespace(Namespace),
    /// A service.
    Service(Service),
    /// Endpoints.
    Slice(Slice),
    /// A service account, of which nothing but its being there counts.
    Account(Meta),
}

/// What happened to the objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All objects of the kind follow, as upserts; those that do not come are gone.
    ListBegins(Watched),
    /// An object came or changed.
    Upsert(Box<Object>),
    /// An object is gone.
    Remove(Watched, ObjectName),
    /// The list that began has come to its end.
    ListEnds(Watched),
}

impl Watched {
    /// All of them.
    pub const ALL: [Watched; 12] = [
        Watched::Pod,
        Watched::Namespace,
        Watched::Service,
        Watched::EndpointSlice,
        Watched::Node,
        Watched::ServiceAccount,
        Watched::ReplicaSet,
        Watched::Deployment,
        Watched::StatefulSet,
        Watched::DaemonSet,
        Watched::Job,
        Watched::CronJob,
    ];
}

impl OwnerKind {
    /// From an owner reference's `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Self {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            ("apps", "Deployment") => Self::Deployment,
            ("apps", "ReplicaSet") => Self::ReplicaSet,
            ("apps", "StatefulSet") => Self::StatefulSet,
            ("apps", "DaemonSet") => Self::DaemonSet,
            ("batch", "Job") => Self::Job,
            ("batch", "CronJob") => Self::CronJob,
            ("", "Node") => Self::Node,
            _ => Self::Other(kind.chars().take(63).collect()),
        }
    }

    /// As in `kind:`.
    pub fn name(&self) -> &str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Other(kind) => kind,
        }
    }

    /// As in names, in lower case.
    pub fn lower(&self) -> String {
        self.name().to_ascii_lowercase()
    }
}

impl Object {
    /// Its kind, as it is watched.
    pub fn watched(&self) -> Watched {
        match self {
            Self::Pod(_) => Watched::Pod,
            Self::Step(step) if step.kind == OwnerKind::Job => Watched::Job,
            Self::Step(_) => Watched::ReplicaSet,
            Self::Template(template) => match template.kind {
                OwnerKind::StatefulSet => Watched::StatefulSet,
                OwnerKind::DaemonSet => Watched::DaemonSet,
                OwnerKind::CronJob => Watched::CronJob,
                _ => Watched::Deployment,
            },
            Self::Node(_) => Watched::Node,
            Self::Namespace(_) => Watched::Namespace,
            Self::Service(_) => Watched::Service,
            Self::Slice(_) => Watched::EndpointSlice,
            Self::Account(_) => Watched::ServiceAccount,
        }
    }

    /// What every object has.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Pod(it) => &it.meta,
            Self::Step(it) => &it.meta,
            Self::Template(it) => &it.meta,
            Self::Node(it) => &it.meta,
            Self::Namespace(it) => &it.meta,
            Self::Service(it) => &it.meta,
            Self::Slice(it) => &it.meta,
            Self::Account(meta) => meta,
        }
    }
}
