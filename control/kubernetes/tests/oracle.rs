//! Whatever happens in whatever order, what was told equals what a slow and obvious reading of the
//! objects gives.

mod common;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use common::*;
use proptest::prelude::*;
use weir_kubernetes::{
    ClaimAction, Event, ExternalAddresses, Object, ObjectName, OwnerKind, Pod, Service, Slice,
    Step, Template, Watched,
};
use weir_model::Document;

const ADDRESSES: [&str; 5] = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "fd00::1", "192.0.2.1"];

/// The objects as they are, and when each pod came to claim each address.
#[derive(Default)]
struct Model {
    pods: BTreeMap<String, Pod>,
    steps: BTreeMap<String, Step>,
    templates: BTreeMap<String, Template>,
    nodes: BTreeMap<String, weir_kubernetes::Node>,
    services: BTreeMap<String, Service>,
    slices: BTreeMap<String, Slice>,
    claimed: BTreeMap<(u128, IpAddr), u64>,
    time: u64,
}

/// One line a document: what it is, and all that matters of it.
type Lines = BTreeSet<String>;

impl Model {
    fn upsert(&mut self, object: &Object, time: u64) {
        let name = object.meta().name.name.clone();
        match object.clone() {
            Object::Pod(pod) => {
                for address in held_by(&pod) {
                    self.claimed.entry((pod.meta.uid, address)).or_insert(time);
                }
                let (uid, held) = (pod.meta.uid, held_by(&pod));
                self.claimed
                    .retain(|key, _| key.0 != uid || held.contains(&key.1));
                if let Some(old) = self.pods.insert(name, pod)
                    && old.meta.uid != uid
                {
                    self.claimed.retain(|key, _| key.0 != old.meta.uid);
                }
            }
            Object::Step(step) => drop(self.steps.insert(name, step)),
            Object::Template(template) => drop(self.templates.insert(name, template)),
            Object::Node(node) => drop(self.nodes.insert(name, node)),
            Object::Service(service) => drop(self.services.insert(name, service)),
            Object::Slice(slice) => drop(self.slices.insert(name, slice)),
            Object::Namespace(_) | Object::Account(_) => {}
        }
    }

    fn remove(&mut self, kind: Watched, name: &str) {
        match kind {
            Watched::Pod => {
                if let Some(old) = self.pods.remove(name) {
                    self.claimed.retain(|key, _| key.0 != old.meta.uid);
                }
            }
            Watched::Node => drop(self.nodes.remove(name)),
            Watched::Service => drop(self.services.remove(name)),
            Watched::EndpointSlice => drop(self.slices.remove(name)),
            Watched::Deployment => drop(self.templates.remove(name)),
            _ => {}
        }
    }

    fn workload_of(&self, pod: &Pod) -> String {
        let Some(owner) = &pod.owner else {
            return format!("shop/{}", pod.meta.name.name);
        };
        let step = self.steps.get(&owner.name);
        let step = step.filter(|it| it.kind == owner.kind && it.meta.uid == owner.uid);
        let above = step.and_then(|step| step.owner.as_ref());
        format!("shop/{}", above.unwrap_or(owner).name)
    }

    /// "node N", "workload N" or "service N".
    fn holder(&self, address: IpAddr) -> Option<String> {
        let node = self
            .nodes
            .values()
            .filter(|it| it.addresses.contains(&address));
        if let Some(node) = node.min_by_key(|node| (node.meta.created_us, Reverse(node.meta.uid))) {
            return Some(format!("nodes/{}", node.meta.name.name));
        }
        let pods = self
            .pods
            .values()
            .filter(|pod| held_by(pod).contains(&address));
        let last = pods.max_by_key(|pod| {
            let claimed = self.claimed[&(pod.meta.uid, address)];
            let bound = pod.bound_us.max(pod.meta.created_us);
            (claimed, !pod.terminating, bound, pod.meta.uid)
        });
        if let Some(pod) = last {
            return Some(self.workload_of(pod));
        }
        let wants = |it: &&Service| it.cluster_addresses.contains(&address);
        let services = self.services.values().filter(wants);
        let oldest = services.min_by_key(|it| (it.meta.created_us, Reverse(it.meta.uid)));
        oldest.map(|it| format!("service {}", it.meta.name.name))
    }

    fn lines(&self) -> Lines {
        let mut workloads: BTreeMap<String, (Vec<&Pod>, Option<&Template>)> = BTreeMap::new();
        for pod in self.pods.values() {
            workloads
                .entry(self.workload_of(pod))
                .or_default()
                .0
                .push(pod);
        }
        for (name, template) in &self.templates {
            workloads.entry(format!("shop/{name}")).or_default().1 = Some(template);
        }
        let addresses = |name: &str| -> Vec<String> {
            let all: BTreeSet<IpAddr> = ADDRESSES.iter().map(|it| it.parse().unwrap()).collect();
            let held = all
                .into_iter()
                .filter(|it| self.holder(*it).as_deref() == Some(name));
            held.map(|it| it.to_string()).collect()
        };
        let mut lines = Lines::new();
        let mut labels_of: BTreeMap<String, weir_kubernetes::Labels> = BTreeMap::new();
        for (name, (pods, template)) in &workloads {
            let alive: Vec<&&Pod> = pods.iter().filter(|pod| !pod.finished).collect();
            let mut labels = match (alive.first(), template) {
                (Some(first), _) => first.labels.clone(),
                (None, Some(template)) => template.labels.clone(),
                // What its last pod had: depends on the past, and is left out on both sides.
                (None, None) => weir_kubernetes::Labels::new(),
            };
            labels.retain(|key, value| alive.iter().all(|it| it.labels.get(key) == Some(value)));
            if let Some(account) = alive.first().and_then(|it| it.service_account.clone()) {
                labels.insert("weir.dev/service-account".to_owned(), account);
            }
            let nodes: BTreeSet<&String> = alive.iter().filter_map(|it| it.node.as_ref()).collect();
            let held = addresses(name);
            lines.insert(line(
                name,
                &held,
                &labels,
                nodes.into_iter().cloned().collect(),
            ));
            labels_of.insert(name.clone(), labels);
        }
        for name in self.nodes.keys() {
            let full_name = format!("nodes/{name}");
            let labels = labels(&[("kubernetes.io/os", "linux")]);
            lines.insert(line(
                &full_name,
                &addresses(&full_name),
                &labels,
                vec![name.clone()],
            ));
        }
        for (name, service) in &self.services {
            let mut answering: BTreeMap<String, usize> = BTreeMap::new();
            let slices = self.slices.values();
            let slices = slices.filter(|it| it.service.as_ref() == Some(name));
            let endpoints: BTreeSet<IpAddr> = slices.flat_map(|it| it.addresses.clone()).collect();
            for holder in endpoints.iter().filter_map(|it| self.holder(*it)) {
                if !holder.starts_with("service ") {
                    *answering.entry(holder).or_default() += 1;
                }
            }
            for (workload, labels) in labels_of.iter().filter(|it| self.is_plain(it.0)) {
                let mut wanted = service.selector.iter();
                if !service.selector.is_empty()
                    && wanted.all(|(key, it)| labels.get(key) == Some(it))
                {
                    answering.entry(workload.clone()).or_default();
                }
            }
            let mut answering: Vec<_> = answering.into_iter().collect();
            answering.sort_by_key(|(name, endpoints)| (Reverse(*endpoints), name.clone()));
            let answering: Vec<String> = answering.into_iter().map(|(name, _)| name).collect();
            let held = addresses(&format!("service {name}"));
            lines.insert(format!("service shop/{name} {held:?} {answering:?}"));
        }
        lines
    }

    /// Whether the labels of this workload follow from the present alone.
    fn is_plain(&self, name: &str) -> bool {
        let own = self
            .pods
            .values()
            .filter(|pod| self.workload_of(pod) == name);
        let alive = own.filter(|pod| !pod.finished).count();
        alive > 0
            || self
                .templates
                .contains_key(name.trim_start_matches("shop/"))
    }
}

fn line(
    name: &str,
    addresses: &[String],
    labels: &weir_kubernetes::Labels,
    nodes: Vec<String>,
) -> String {
    format!("workload {name} {addresses:?} {labels:?} {nodes:?}")
}

fn held_by(pod: &Pod) -> Vec<IpAddr> {
    match pod.host_network || pod.finished {
        true => Vec::new(),
        false => pod.addresses.clone(),
    }
}

fn told(cluster: &Cluster, model: &Model) -> Lines {
    let line = |document: &Document| match document {
        Document::Workload(it) => {
            let name = it.metadata.full_name();
            let plain = name.starts_with("nodes/") || model.is_plain(&name);
            let labels = if plain {
                it.metadata.labels.clone()
            } else {
                Default::default()
            };
            line(
                &name,
                &addresses_of(document),
                &labels,
                it.spec.nodes.clone(),
            )
        }
        Document::Service(it) => {
            let names = it.spec.workloads.iter().map(ToString::to_string);
            let plain = |name: &String| name.starts_with("nodes/") || model.is_plain(name);
            let names: Vec<String> = names.filter(plain).collect();
            format!(
                "service {} {:?} {names:?}",
                it.metadata.full_name(),
                addresses_of(document)
            )
        }
        other => other.title(),
    };
    cluster.told.values().map(line).collect()
}

#[derive(Clone, Debug)]
enum Happens {
    Upsert(Box<Object>),
    Remove(Watched, String),
    /// All pods are listed anew.
    List,
    Tell,
}

fn some_addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    prop::collection::btree_set(0..ADDRESSES.len(), 0..3).prop_map(|set| {
        set.into_iter()
            .map(|it| ADDRESSES[it].parse().unwrap())
            .collect()
    })
}

fn some_pod() -> impl Strategy<Value = Pod> {
    let owner = prop_oneof![
        Just(None),
        Just(owner(OwnerKind::StatefulSet, "set", 1)),
        Just(owner(OwnerKind::Deployment, "deployment", 1)),
        (0..2_u128).prop_map(|uid| owner(OwnerKind::ReplicaSet, "replicas", 100 + uid)),
    ];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.2),
    );
    (
        0..5_u128,
        0..3_u128,
        owner,
        some_addresses(),
        flags,
        0..3_u8,
        0..3_u64,
    )
        .prop_map(
            |(number, life, owner, at, (terminating, host_network, finished), tier, bound_us)| {
                let mut pod = pod(&format!("p{number}"), number * 10 + life, owner, &[]);
                pod.labels = labels(&[("app", "web"), ("tier", ["a", "b", "c"][tier as usize])]);
                pod.node = Some(format!("worker-{tier}"));
                (pod.addresses, pod.bound_us) = (at, bound_us);
                (pod.terminating, pod.host_network, pod.finished) =
                    (terminating, host_network, finished);
                pod
            },
        )
}

fn happens() -> impl Strategy<Value = Happens> {
    let upsert = |object| Happens::Upsert(Box::new(object));
    let step = (0..2_u128, prop::option::of(Just("above"))).prop_map(|(uid, above)| {
        let above = above.and_then(|name| owner(OwnerKind::Other("Rollout".into()), name, 5));
        Object::Step(step(OwnerKind::ReplicaSet, "replicas", 100 + uid, above))
    });
    let deployment = Just(Object::Template(template(
        OwnerKind::Deployment,
        "deployment",
        1,
    )));
    let host = (0..2_u128, some_addresses()).prop_map(|(number, at)| {
        let mut node = node(&format!("worker-{number}"), 200 + number, &[]);
        node.addresses = at;
        Object::Node(node)
    });
    let service = (0..2_u128, some_addresses(), prop::option::of(0..3_usize)).prop_map(
        |(number, at, tier)| {
            let mut service = service(&format!("s{number}"), 300 + number, &[], &[]);
            service.cluster_addresses = at;
            if let Some(tier) = tier {
                service.selector = labels(&[("tier", ["a", "b", "c"][tier])]);
            }
            Object::Service(service)
        },
    );
    let slice = (0..3_u128, 0..2, some_addresses()).prop_map(|(number, service, at)| {
        let mut slice = slice(
            &format!("e{number}"),
            400 + number,
            &format!("s{service}"),
            &[],
        );
        slice.addresses = at;
        Object::Slice(slice)
    });
    let gone = prop_oneof![
        4 => (0..5).prop_map(|it| (Watched::Pod, format!("p{it}"))),
        1 => Just((Watched::Deployment, "deployment".to_owned())),
        1 => (0..2).prop_map(|it| (Watched::Node, format!("worker-{it}"))),
        1 => (0..2).prop_map(|it| (Watched::Service, format!("s{it}"))),
        1 => (0..3).prop_map(|it| (Watched::EndpointSlice, format!("e{it}"))),
    ];
    prop_oneof![
        8 => some_pod().prop_map(Object::Pod).prop_map(upsert),
        2 => step.prop_map(upsert),
        1 => deployment.prop_map(upsert),
        2 => host.prop_map(upsert),
        2 => service.prop_map(upsert),
        2 => slice.prop_map(upsert),
        5 => gone.prop_map(|(kind, name)| Happens::Remove(kind, name)),
        1 => Just(Happens::List),
        3 => Just(Happens::Tell),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_told_follows_from_the_objects(story in prop::collection::vec(happens(), 1..60)) {
        let mut cluster = Cluster::with(ExternalAddresses { allowed: Vec::new(), action: ClaimAction::Refuse });
        let mut model = Model::default();
        for what in story {
            model.time += 1;
            match what {
                Happens::Upsert(object) => {
                    model.upsert(&object, model.time);
                    cluster.upsert(*object);
                }
                Happens::Remove(kind, name) => {
                    model.remove(kind, &name);
                    let namespace = if kind == Watched::Node { "" } else { NAMESPACE };
                    let namespace = namespace.to_owned();
                    cluster.apply(Event::Remove(kind, ObjectName { namespace, name }));
                }
                Happens::List => {
                    let pods = model.pods.values().cloned().map(Object::Pod);
                    cluster.list(Watched::Pod, pods.collect::<Vec<_>>());
                }
                Happens::Tell => {
                    cluster.tell();
                    prop_assert_eq!(told(&cluster, &model), model.lines());
                }
            }
        }
        cluster.tell();
        prop_assert_eq!(told(&cluster, &model), model.lines());
        prop_assert_eq!(cluster.tell(), 0);
        // When everything is gone nothing is left.
        for kind in Watched::ALL {
            cluster.list(kind, []);
        }
        cluster.tell();
        prop_assert!(cluster.told.is_empty(), "{:?}", cluster.told);
        prop_assert_eq!(cluster.world.counts().addresses, 0);
        prop_assert_eq!(cluster.world.counts().workloads, 0);
    }
}
