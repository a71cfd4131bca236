//! A small cluster to tell of: objects with as little as a test needs, and the documents that follow.

#![allow(dead_code)] // Every test file uses a part of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_kubernetes::{
    Event, ExternalAddresses, Labels, Meta, Node, Object, ObjectName, Owner, OwnerKind, Pod,
    Service, Slice, Step, Template, Watched, World,
};
use weir_model::Document;
use weir_sources::{Change, DocumentKey};

pub const NAMESPACE: &str = "shop";

pub fn name(name: &str) -> ObjectName {
    ObjectName {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

pub fn meta(of: &str, uid: u128) -> Meta {
    Meta {
        name: name(of),
        uid,
        created_us: uid as u64,
    }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

pub fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub fn owner(kind: OwnerKind, name: &str, uid: u128) -> Option<Owner> {
    Some(Owner {
        kind,
        name: name.to_owned(),
        uid,
    })
}

pub fn pod(of: &str, uid: u128, owner: Option<Owner>, at: &[&str]) -> Pod {
    Pod {
        meta: meta(of, uid),
        labels: labels(&[("app", "web")]),
        owner,
        service_account: Some("web".to_owned()),
        images: Default::default(),
        node: Some("worker-1".to_owned()),
        host_network: false,
        addresses: addresses(at),
        finished: false,
        terminating: false,
        bound_us: uid as u64,
    }
}

pub fn template(kind: OwnerKind, of: &str, uid: u128) -> Template {
    Template {
        meta: meta(of, uid),
        kind,
        labels: labels(&[("app", of)]),
        service_account: None,
        images: Default::default(),
    }
}

pub fn step(kind: OwnerKind, of: &str, uid: u128, owner: Option<Owner>) -> Step {
    Step {
        meta: meta(of, uid),
        kind,
        owner,
    }
}

pub fn node(of: &str, uid: u128, at: &[&str]) -> Node {
    let mut meta = meta(of, uid);
    meta.name.namespace.clear();
    Node {
        meta,
        labels: labels(&[("kubernetes.io/os", "linux")]),
        addresses: addresses(at),
    }
}

pub fn service(of: &str, uid: u128, selector: &[(&str, &str)], at: &[&str]) -> Service {
    Service {
        meta: meta(of, uid),
        selector: labels(selector),
        cluster_addresses: addresses(at),
        external_addresses: Vec::new(),
        balancer_addresses: Vec::new(),
        balanced: false,
        external_name: None,
    }
}

pub fn slice(of: &str, uid: u128, service: &str, at: &[&str]) -> Slice {
    Slice {
        meta: meta(of, uid),
        service: Some(service.to_owned()),
        addresses: addresses(at),
    }
}

/// A world, and what somebody knows who reads its changes.
pub struct Cluster {
    pub world: World,
    pub told: BTreeMap<DocumentKey, Document>,
    pub now_us: u64,
}

impl Cluster {
    pub fn new() -> Self {
        Self::with(ExternalAddresses::default())
    }

    pub fn with(external: ExternalAddresses) -> Self {
        Self {
            world: World::new("cluster.local", external),
            told: BTreeMap::new(),
            now_us: 1_000_000,
        }
    }

    pub fn apply(&mut self, event: Event) {
        self.now_us += 10;
        self.world.apply(event, self.now_us);
    }

    pub fn upsert(&mut self, object: Object) {
        self.apply(Event::Upsert(Box::new(object)));
    }

    pub fn pod(&mut self, pod: Pod) {
        self.upsert(Object::Pod(pod));
    }

    pub fn remove(&mut self, kind: Watched, of: &str) {
        let mut name = name(of);
        if matches!(kind, Watched::Node | Watched::Namespace) {
            name.namespace.clear();
        }
        self.apply(Event::Remove(kind, name));
    }

    /// A whole list of one kind.
    pub fn list(&mut self, kind: Watched, objects: impl IntoIterator<Item = Object>) {
        self.apply(Event::ListBegins(kind));
        for object in objects {
            self.upsert(object);
        }
        self.apply(Event::ListEnds(kind));
    }

    /// Reads the changes; how many there were.
    pub fn tell(&mut self) -> usize {
        let changes = self.world.changes(self.now_us);
        let number = changes.len();
        for change in changes {
            match change {
                Change::Upsert { document, .. } => {
                    let key = DocumentKey::of(&document.value);
                    self.told.insert(key, document.value.clone());
                }
                Change::Remove(key) => {
                    assert!(self.told.remove(&key).is_some(), "{key:?} was never told");
                }
                Change::Invalid { .. } => panic!("the world has no invalid documents"),
            }
        }
        self.check_addresses();
        number
    }

    /// No address is ever two documents'.
    fn check_addresses(&self) {
        let mut seen = BTreeMap::new();
        for document in self.told.values() {
            for address in addresses_of(document) {
                let first = seen.insert(address.clone(), document.title());
                assert_eq!(first, None, "{address} is also {}'s", document.title());
            }
        }
    }

    /// "shop/web: 10.1.0.1 10.1.0.2", of all workloads and services.
    pub fn owners(&mut self) -> Vec<String> {
        self.tell();
        let line = |document: &Document| {
            let addresses = addresses_of(document).join(" ");
            let line = format!("{}: {addresses}", document.metadata().full_name());
            line.trim_end_matches([':', ' ']).to_owned()
        };
        self.told.values().map(line).collect()
    }

    pub fn workload(&mut self, full_name: &str) -> weir_model::Workload {
        self.tell();
        let mut found = self.told.values().filter_map(|document| match document {
            Document::Workload(it) if it.metadata.full_name() == full_name => Some(it.clone()),
            _ => None,
        });
        found.next().unwrap_or_else(|| panic!("no {full_name}"))
    }
}

pub fn addresses_of(document: &Document) -> Vec<String> {
    let addresses: Vec<_> = match document {
        Document::Workload(it) => it.spec.addresses.iter().collect(),
        Document::Service(it) => it.spec.all_addresses().collect(),
        _ => return Vec::new(),
    };
    addresses.into_iter().map(ToString::to_string).collect()
}
