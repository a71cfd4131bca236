//! Workloads and services that people write beside those of the cluster: hosts without Kubernetes.
//!
//! Distrusts them: who may write one gets neither the name nor an address of a workload of the cluster
//! by it. What the cluster has is the cluster's, whichever came first; the rest of the document holds,
//! and a condition says what does not.
//!
//! Memory bound: the documents, shared with whoever was told of them, and their single addresses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use weir_model::{Document, Kind, Located, Network, Problem};
use weir_sources::{Change, DocumentKey};

use crate::world::World;

#[derive(Debug, Default)]
pub(crate) struct Beside {
    documents: BTreeMap<DocumentKey, Entry>,
    /// Who names an address.
    hosts: HashMap<IpAddr, BTreeSet<DocumentKey>>,
    /// Those of which not everything holds.
    troubled: BTreeSet<DocumentKey>,
    touched: BTreeSet<DocumentKey>,
}

#[derive(Debug)]
struct Entry {
    document: Arc<Located<Document>>,
    revision: u64,
    /// As it was told: without what is the cluster's.
    told: Option<Arc<Located<Document>>>,
    problems: Vec<Problem>,
}

impl Beside {
    /// Takes what concerns workloads and services; gives back what does not.
    pub(crate) fn take(&mut self, change: Change, world: &World) -> Option<Change> {
        let key = change.key();
        if !matches!(key.kind, Kind::Workload | Kind::Service) {
            return Some(change);
        }
        match change {
            Change::Invalid { .. } => Some(change),
            Change::Upsert { document, revision } => {
                let old = self.forget(&key);
                for address in hosts(&document.value) {
                    self.hosts.entry(address).or_default().insert(key.clone());
                }
                let entry = Entry {
                    document,
                    revision,
                    told: old.and_then(|old| old.told),
                    problems: Vec::new(),
                };
                self.documents.insert(key.clone(), entry);
                self.touched.insert(key);
                None
            }
            Change::Remove(_) => {
                let told = self.forget(&key).and_then(|old| old.told);
                // The cluster may have another one of that name by now.
                let gone = told.is_some() && !world.has(&key);
                gone.then_some(Change::Remove(key))
            }
        }
    }

    /// What follows for these documents from what changed in the cluster, and from what was taken.
    pub(crate) fn settle(&mut self, changes: &[Change], world: &World) -> Vec<Change> {
        if self.documents.is_empty() {
            return Vec::new();
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.extend(self.troubled.iter().cloned());
        for change in changes {
            touched.insert(change.key());
            if let Change::Upsert { document, .. } = change {
                let hosts = hosts(&document.value);
                let named = hosts.filter_map(|address| self.hosts.get(&address));
                touched.extend(named.flatten().cloned());
            }
        }
        let settled = touched
            .into_iter()
            .filter_map(|key| self.weigh(&key, world));
        settled.collect()
    }

    /// What does not hold, and why.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        let entries = self
            .troubled
            .iter()
            .filter_map(|key| self.documents.get(key));
        entries.flat_map(|entry| &entry.problems)
    }

    fn forget(&mut self, key: &DocumentKey) -> Option<Entry> {
        let entry = self.documents.remove(key)?;
        for address in hosts(&entry.document.value) {
            if let Some(keys) = self.hosts.get_mut(&address) {
                keys.remove(key);
                if keys.is_empty() {
                    self.hosts.remove(&address);
                }
            }
        }
        self.troubled.remove(key);
        self.touched.remove(key);
        Some(entry)
    }

    fn weigh(&mut self, key: &DocumentKey, world: &World) -> Option<Change> {
        let entry = self.documents.get_mut(key)?;
        entry.problems.clear();
        if world.has(key) {
            let message = format!("the cluster has a {} of this name itself", key.kind.lower());
            let next_step = "rename this one, or remove it";
            let problem = entry.document.problem("metadata.name", message, next_step);
            entry.problems.push(problem);
            entry.told = None;
            self.troubled.insert(key.clone());
            return None;
        }
        let mut document = Document::clone(&entry.document.value);
        for (field, networks) in networks(&mut document) {
            networks.retain(|network| {
                let Some(holder) = host(network).and_then(|address| world.name_of_holder(address))
                else {
                    return true;
                };
                let message = format!("{network} is an address of {holder} in the cluster");
                let problem = entry.document.problem(field, message, "take it out");
                entry.problems.push(problem);
                false
            });
        }
        if entry.problems.is_empty() {
            self.troubled.remove(key);
        } else {
            self.troubled.insert(key.clone());
        }
        if entry
            .told
            .as_ref()
            .is_some_and(|told| told.value == document)
        {
            return None;
        }
        let whole = document == entry.document.value;
        let document = match whole {
            true => entry.document.clone(),
            false => Arc::new(Located::unplaced(document, &entry.document.file)),
        };
        entry.told = Some(document.clone());
        Some(Change::Upsert {
            document,
            revision: entry.revision,
        })
    }
}

fn networks(document: &mut Document) -> Vec<(&'static str, &mut Vec<Network>)> {
    match document {
        Document::Workload(it) => vec![("spec.addresses", &mut it.spec.addresses)],
        Document::Service(it) => vec![
            ("spec.addresses", &mut it.spec.addresses),
            ("spec.externalAddresses", &mut it.spec.external_addresses),
        ],
        _ => Vec::new(),
    }
}

/// The single addresses that a document names. Of a network around a pod's address the pod's is the
/// narrower one, which wins.
fn hosts(document: &Document) -> impl Iterator<Item = IpAddr> {
    let (first, second) = match document {
        Document::Workload(it) => (&it.spec.addresses[..], &[][..]),
        Document::Service(it) => (&it.spec.addresses[..], &it.spec.external_addresses[..]),
        _ => (&[][..], &[][..]),
    };
    first.iter().chain(second).filter_map(host)
}

fn host(network: &Network) -> Option<IpAddr> {
    let net = network.net();
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::ExternalAddresses;
    use crate::facts::{Event, Meta, Object, ObjectName, Pod, Watched};

    fn pod(name: &str, address: &str) -> Event {
        Event::Upsert(Box::new(Object::Pod(Pod {
            meta: Meta {
                name: ObjectName {
                    namespace: "shop".to_owned(),
                    name: name.to_owned(),
                },
                uid: 1,
                created_us: 1,
            },
            labels: Default::default(),
            owner: None,
            service_account: None,
            images: Default::default(),
            node: None,
            host_network: false,
            addresses: vec![address.parse().unwrap()],
            finished: false,
            terminating: false,
            bound_us: 1,
        })))
    }

    fn written(name: &str, addresses: &[&str]) -> Change {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{addresses: {addresses:?}}}\n"
        );
        let (mut documents, problems) = weir_model::parse_documents("x", &text);
        assert!(problems.is_empty(), "{problems:?}");
        Change::Upsert {
            document: Arc::new(documents.remove(0)),
            revision: 7,
        }
    }

    struct Site {
        world: World,
        beside: Beside,
        told: BTreeMap<String, String>,
    }

    impl Site {
        fn read(&mut self) -> String {
            let mut changes = self.world.changes(1);
            changes.extend(self.beside.settle(&changes, &self.world));
            self.tell(changes);
            let lines = self.told.iter().map(|(name, at)| format!("{name}: {at}"));
            lines.collect::<Vec<_>>().join("; ")
        }

        fn write(&mut self, change: Change) -> String {
            let changes = self.beside.take(change, &self.world);
            self.tell(changes);
            self.read()
        }

        fn tell(&mut self, changes: impl IntoIterator<Item = Change>) {
            for change in changes {
                match change {
                    Change::Upsert { document, .. } => {
                        let addresses: Vec<String> =
                            hosts(&document.value).map(|it| it.to_string()).collect();
                        let name = document.value.metadata().name.clone();
                        self.told.insert(name, addresses.join(" "));
                    }
                    Change::Remove(key) => drop(self.told.remove(&key.name)),
                    Change::Invalid { .. } => {}
                }
            }
        }
    }

    #[test]
    fn what_people_write_takes_nothing_from_the_cluster() {
        let mut site = Site {
            world: World::new("cluster.local", ExternalAddresses::default()),
            beside: Beside::default(),
            told: BTreeMap::new(),
        };
        assert_eq!(
            site.write(written("host", &["10.1.0.1", "192.0.2.9"])),
            "host: 10.1.0.1 192.0.2.9"
        );
        // A pod gets an address that somebody wrote down before.
        site.world.apply(pod("db", "10.1.0.1"), 1);
        assert_eq!(site.read(), "db: 10.1.0.1; host: 192.0.2.9");
        let problems: Vec<String> = site.beside.problems().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].contains("10.1.0.1 is an address of shop/db"),
            "{problems:?}"
        );
        // The name of a workload of the cluster.
        assert_eq!(
            site.write(written("db", &["192.0.2.7"])),
            "db: 10.1.0.1; host: 192.0.2.9"
        );
        assert_eq!(site.beside.problems().count(), 2);
        let name = ObjectName {
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
        };
        site.world.apply(Event::Remove(Watched::Pod, name), 1);
        assert_eq!(site.read(), "db: 192.0.2.7; host: 10.1.0.1 192.0.2.9");
        assert_eq!(site.beside.problems().count(), 0);
        // The pod comes back: the written one makes way without a word of its going.
        site.world.apply(pod("db", "10.1.0.2"), 1);
        assert_eq!(site.read(), "db: 10.1.0.2; host: 10.1.0.1 192.0.2.9");
        let key = |name: &str| DocumentKey {
            kind: Kind::Workload,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(
            site.write(Change::Remove(key("db"))),
            "db: 10.1.0.2; host: 10.1.0.1 192.0.2.9"
        );
        assert_eq!(site.write(Change::Remove(key("host"))), "db: 10.1.0.2");
        assert!(site.beside.hosts.is_empty() && site.beside.troubled.is_empty());
    }
}
