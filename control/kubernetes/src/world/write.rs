//! From records to documents: what changed since it was told last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_model::{
    Document, DomainPattern, Located, Metadata, NamespaceSpec, Network, Reference, Resource,
    ServiceSpec, WorkloadSpec,
};
use weir_sources::{Change, DocumentKey};

use super::pods::common;
use super::{ServiceRecord, WorkloadRecord, World};
use crate::facts::Labels;
use crate::identity::{document_name, spiffe_id};

/// On a workload that is not called as its controller or host: "Deployment web".
const OWNER: &str = "weir.dev/owner";
/// On a workload: its account's name for others.
pub const SPIFFE_ID: &str = "weir.dev/spiffe-id";
/// On a workload whose account was deleted.
const ACCOUNT: &str = "weir.dev/service-account-gone";
/// On a workload without addresses of its own.
const HOST_NETWORK: &str = "weir.dev/host-network";
/// The label by which selectors select the workloads of an account.
const ACCOUNT_LABEL: &str = "weir.dev/service-account";
/// As long as the value of a label may be.
const LABEL_BYTES_MAX: usize = 63;
/// So many addresses of others that one service claims are told to nodes.
const DISPUTED_MAX: usize = 64;

/// What is to be told: of each document the last word.
#[derive(Debug, Default)]
struct Telling {
    gone: BTreeSet<DocumentKey>,
    come: BTreeMap<DocumentKey, (Arc<Located<Document>>, u64)>,
}

impl World {
    /// What changed since this was asked last; at first, everything. What goes comes before what
    /// comes, so that an address is never told to be two workloads'.
    pub fn changes(&mut self, now_us: u64) -> Vec<Change> {
        let mut telling = Telling::default();
        // Telling of one can touch another: a name or an address that became free. It ends, since
        // who has a name or an address follows from an order of those who want it.
        loop {
            if let Some(number) = self.touched_workloads.pop_first() {
                self.tell_workload(number, &mut telling);
            } else if let Some(number) = self.touched_services.pop_first() {
                self.claim_for_service(number, now_us);
                self.touched_services.remove(&number);
                self.tell_service(number, &mut telling);
            } else {
                break;
            }
        }
        while let Some(name) = self.touched_namespaces.pop_first() {
            self.tell_namespace(&name, &mut telling);
        }
        telling.into_changes()
    }

    fn tell_namespace(&mut self, name: &Arc<str>, telling: &mut Telling) {
        let Some(record) = self.namespaces.get(name) else {
            return;
        };
        let document = record.labels.as_ref().and_then(|labels| {
            let mut metadata = Metadata::of_cluster(name).ok()?;
            metadata.labels = Labels::clone(labels);
            let spec = NamespaceSpec::default();
            Some(Document::Namespace(Resource { metadata, spec }))
        });
        let told = record.told.clone();
        let told = self.tell(told, document, &format!("namespace {name}"), telling);
        if let Some(record) = self.namespaces.get_mut(name) {
            record.told = told;
        }
        self.drop_idle_namespace(name);
    }

    fn tell_workload(&mut self, number: u32, telling: &mut Telling) {
        let Some(record) = self.workloads.get(number) else {
            return;
        };
        let document = self.workload_document(record);
        let (told, is_gone) = (record.told.clone(), document.is_none());
        let same = told
            .as_ref()
            .zip(document.as_ref())
            .is_some_and(|(told, new)| {
                let (old, new) = (told.value.metadata(), new.metadata());
                old.labels == new.labels && old.name == new.name
            });
        if !same {
            let namespace = record.key.namespace.clone();
            let new = document.as_ref().map(|it| &it.metadata().labels);
            let old = told.as_ref().map(|told| &told.value.metadata().labels);
            self.choose_anew(number, &namespace, old, new);
        }
        let Some(record) = self.workloads.get(number) else {
            return;
        };
        let origin = format!("{} {}", record.key.kind.lower(), record.full_name);
        let document = self.tell(told, document, &origin, telling);
        if is_gone {
            self.drop_workload(number);
        } else if let Some(record) = self.workloads.get_mut(number) {
            record.told = document;
        }
    }

    fn drop_workload(&mut self, number: u32) {
        let Some(record) = self.workloads.remove(number) else {
            return;
        };
        self.workload_by_key.remove(&record.key);
        if let Some(namespace) = self.namespaces.get_mut(&record.key.namespace) {
            namespace.workloads.remove(&number);
        }
        self.drop_idle_namespace(&record.key.namespace);
        let place = (record.key.namespace, record.plain_name);
        if let Some(namesakes) = self.namesakes.get_mut(&place) {
            namesakes.retain(|it| *it != number);
            if namesakes.is_empty() {
                self.namesakes.remove(&place);
            } else {
                self.name_anew(place);
            }
        }
    }

    fn tell_service(&mut self, number: u32, telling: &mut Telling) {
        let Some(record) = self.services.get(number) else {
            return;
        };
        let document = self.service_document(number, record);
        let told = record.told.clone();
        let origin = format!("service {}/{}", record.name.0, record.name.1);
        let idle = record.service.is_none() && record.endpoints.is_empty();
        let document = self.tell(told, document, &origin, telling);
        if idle {
            self.drop_service(number);
        } else if let Some(record) = self.services.get_mut(number) {
            record.told = document;
        }
    }

    fn drop_service(&mut self, number: u32) {
        let Some(record) = self.services.remove(number) else {
            return;
        };
        self.service_by_name.remove(&record.name);
        if let Some(namespace) = self.namespaces.get_mut(&record.name.0) {
            namespace.services.remove(&number);
        }
        self.drop_idle_namespace(&record.name.0);
    }

    fn drop_idle_namespace(&mut self, name: &Arc<str>) {
        let idle = self.namespaces.get(name).is_some_and(|it| {
            it.labels.is_none() && it.workloads.is_empty() && it.services.is_empty()
        });
        if idle {
            self.namespaces.remove(name);
        }
    }

    /// Adds what leads from what was told to what is; returns what is told now.
    fn tell(
        &mut self,
        told: Option<Arc<Located<Document>>>,
        document: Option<Document>,
        origin: &str,
        telling: &mut Telling,
    ) -> Option<Arc<Located<Document>>> {
        if let (Some(told), Some(document)) = (&told, &document)
            && told.value == *document
        {
            return Some(told.clone());
        }
        let after = document.as_ref().map(DocumentKey::of);
        if let Some(told) = told {
            let before = DocumentKey::of(&told.value);
            if after.as_ref() != Some(&before) {
                telling.remove(before, &told);
            }
        }
        let document = Arc::new(Located::unplaced(document?, origin));
        self.revision += 1;
        let key = DocumentKey::of(&document.value);
        telling.come.insert(key, (document.clone(), self.revision));
        Some(document)
    }

    fn workload_document(&self, record: &WorkloadRecord) -> Option<Document> {
        if record.pods == 0 && record.template.is_none() {
            return None;
        }
        let mut metadata = metadata(&record.full_name)?;
        metadata.labels = record.labels().unwrap_or_default();
        let account = record.account();
        // What pods say of themselves there is not believed.
        metadata.labels.remove(ACCOUNT_LABEL);
        if let Some(account) = account.as_ref().filter(|it| it.len() <= LABEL_BYTES_MAX) {
            let label = (ACCOUNT_LABEL.to_owned(), account.to_string());
            metadata.labels.extend([label]);
        }
        let mut note = |key: &str, text: String| metadata.annotations.insert(key.to_owned(), text);
        let owner = record.key.kind.name();
        if !record.full_name.ends_with(&format!("/{}", record.key.name)) {
            note(OWNER, format!("{owner} {}", record.key.name));
        }
        if let Some(account) = &account {
            let namespace = &record.key.namespace;
            note(SPIFFE_ID, spiffe_id(&self.trust_domain, namespace, account));
            if self.lacks_account(namespace, account) {
                let text = format!("{account} does not exist any more: its tokens are void");
                note(ACCOUNT, text);
            }
        }
        if record.in_host_network > 0 {
            let text = "its pods use their nodes' addresses, which are the nodes' own".to_owned();
            note(HOST_NETWORK, text);
        }
        let spec = WorkloadSpec {
            addresses: record
                .addresses
                .iter()
                .copied()
                .map(Network::host)
                .collect(),
            service_account: account.map(|account| document_name(&account)),
            nodes: record.nodes.keys().map(ToString::to_string).collect(),
            owner: Some(owner.to_owned()),
            images: record.images(),
            ..WorkloadSpec::default()
        };
        Some(Document::Workload(Resource { metadata, spec }))
    }

    fn service_document(&self, number: u32, record: &ServiceRecord) -> Option<Document> {
        let service = record.service.as_ref()?;
        let (namespace, name) = &record.name;
        let metadata = metadata(&format!("{namespace}/{}", document_name(name)))?;
        let answering = self.answering(record);
        let external_name = service.external_name.as_deref().and_then(external_name);
        let workloads = answering
            .iter()
            .filter_map(|number| self.workloads.get(*number));
        let reference = |workload: &WorkloadRecord| workload.full_name.parse::<Reference>().ok();
        let of_cluster = |address: &&IpAddr| service.cluster_addresses.contains(address);
        let (inner, outer): (Vec<_>, Vec<_>) = record.held.iter().partition(of_cluster);
        let networks = |addresses: Vec<&IpAddr>| -> Vec<Network> {
            addresses.into_iter().copied().map(Network::host).collect()
        };
        let disputed = self.disputed.get(&number).into_iter().flatten();
        let disputed: BTreeSet<IpAddr> = disputed.map(|claim| claim.address).collect();
        let spec = ServiceSpec {
            workloads: workloads.filter_map(reference).collect(),
            addresses: networks(inner),
            external_addresses: networks(outer),
            external_name: external_name.filter(|_| answering.is_empty()),
            disputed_addresses: disputed.into_iter().take(DISPUTED_MAX).collect(),
            ..ServiceSpec::default()
        };
        Some(Document::Service(Resource { metadata, spec }))
    }
}

impl Telling {
    /// The document is not what it was told to be; another may have come in its place.
    fn remove(&mut self, key: DocumentKey, told: &Arc<Located<Document>>) {
        let just_told = self.come.get(&key);
        if just_told.is_some_and(|(document, _)| Arc::ptr_eq(document, told)) {
            self.come.remove(&key);
        }
        self.gone.insert(key);
    }

    fn into_changes(self) -> Vec<Change> {
        let Self { gone, come } = self;
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|key| !come.contains_key(key))
            .collect();
        let come = come.into_values();
        let come = come.map(|(document, revision)| Change::Upsert { document, revision });
        gone.into_iter().map(Change::Remove).chain(come).collect()
    }
}

impl WorkloadRecord {
    /// The labels that all of its pods have, or will have.
    pub(super) fn labels(&self) -> Option<Labels> {
        if let Some(labels) = common(&self.label_sets) {
            return Some(labels);
        }
        let template = self.template.as_ref().map(|template| &template.labels);
        template
            .or(self.last_labels.as_ref())
            .map(|labels| Labels::clone(labels))
    }

    /// The images that any of its pods runs, or will run.
    fn images(&self) -> Vec<String> {
        let mut images: BTreeSet<&String> = self.image_sets.iter().flat_map(|it| &*it.0).collect();
        if self.image_sets.is_empty() {
            let template = self.template.as_ref().map(|template| &template.images);
            images.extend(
                template
                    .or(self.last_images.as_ref())
                    .into_iter()
                    .flat_map(|it| &**it),
            );
        }
        images.into_iter().cloned().collect()
    }

    /// The account that all of its pods run as; none where they differ.
    pub(super) fn account(&self) -> Option<Arc<str>> {
        match &self.accounts[..] {
            [] => match &self.template {
                Some(template) => template.account.clone(),
                None => self.last_account.clone(),
            },
            [(account, _)] => account.clone(),
            _ => None,
        }
    }
}

/// The domain name that a service stands for, if it is one: no address, no wildcard.
fn external_name(written: &str) -> Option<DomainPattern> {
    let name = written.trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.parse::<IpAddr>().is_ok();
    let pattern: DomainPattern = name.parse().ok().filter(|_| !is_address)?;
    (!pattern.as_str().starts_with('*')).then_some(pattern)
}

/// From a full name that is one of documents.
fn metadata(full_name: &str) -> Option<Metadata> {
    let (namespace, name) = full_name.split_once('/')?;
    Metadata::new(namespace, name).ok()
}
