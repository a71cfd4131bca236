//! Who there is, out of a policy that was sent, as the documents that the compiler reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use weir_model::{
    Document, DomainPattern, Located, Metadata, NAMESPACE_NAME_LABEL, Namespace, NamespaceSpec,
    Network, Reference, Resource, ServiceSpec, WorkloadSpec,
};
use weir_policy::spec::{AddressSpec, IdentitySpec, SnapshotSpec};

/// Stands for a file in messages.
const ORIGIN: &str = "the identities that were sent";
/// Begins the names of services that stand for what is a workload's own.
const ADDRESSES: &str = "addresses-";
/// Stands for workloads that this node does not know.
const OTHERS: (&str, &str) = ("weir", "others");

/// Workloads, services and namespaces as the policy has them, but for those whose titles are in `pinned`:
/// they are signed.
pub(super) fn documents(
    spec: &SnapshotSpec,
    pinned: &BTreeSet<String>,
) -> Result<Vec<Located<Document>>, String> {
    let mut facts = Facts::default();
    let mut addresses: BTreeMap<u32, Vec<&AddressSpec>> = BTreeMap::new();
    for address in &spec.addresses {
        addresses.entry(address.identity).or_default().push(address);
    }
    for identity in spec.identities.iter().filter(|identity| identity.managed) {
        let own = addresses.remove(&identity.id).unwrap_or_default();
        let wrong = |why: String| format!("identity {:?} {why}", shortened(&identity.name));
        facts.identity(identity, &own).map_err(wrong)?;
    }
    for identity in spec.identities.iter().filter(|it| !it.managed) {
        let wrong = |why: String| format!("identity {:?} {why}", shortened(&identity.name));
        facts.shared(identity).map_err(wrong)?;
    }
    let services = facts.services.into_values().map(several);
    let services = services.collect::<Vec<_>>();
    let all = facts.namespaces.into_values().map(Document::Namespace);
    let all = all.chain(facts.workloads.into_iter().map(Document::Workload));
    let all = all.chain(services.into_iter().map(Document::Service));
    let open = all.filter(|document| !pinned.contains(&document.title()));
    Ok(open
        .map(|document| Located::unplaced(document, ORIGIN))
        .collect())
}

#[derive(Default)]
struct Facts {
    namespaces: BTreeMap<String, Namespace>,
    workloads: Vec<Resource<WorkloadSpec>>,
    /// By namespace and name.
    services: BTreeMap<(String, String), Resource<ServiceSpec>>,
}

impl Facts {
    fn identity(
        &mut self,
        identity: &IdentitySpec,
        addresses: &[&AddressSpec],
    ) -> Result<(), String> {
        let Some((namespace, name)) = identity.name.split_once('/') else {
            return Err("is managed and has no name of a workload".to_owned());
        };
        let metadata = |name: &str| {
            Metadata::new(namespace, name).map_err(|error| format!("is no workload: {error}"))
        };
        self.namespace(namespace, identity)?;
        let reference = Reference::new(namespace, name).map_err(|error| error.to_string())?;
        let mut own = BTreeMap::new();
        let mut of_services: BTreeMap<Option<u32>, Vec<Network>> = BTreeMap::new();
        for address in addresses {
            let key = (address.network, address.prefix_bits, address.zone);
            let network = network(address)?;
            match identity.service_addresses.binary_search(&key) {
                Ok(_) => of_services.entry(address.zone).or_default().push(network),
                Err(_) => drop(own.insert(network, address.zone)),
            }
        }
        let zones: BTreeSet<Option<u32>> = own.values().copied().collect();
        if zones.len() > 1 {
            return Err("has addresses in several zones".to_owned());
        }
        let mut workload = Resource {
            metadata: metadata(name)?,
            spec: WorkloadSpec {
                addresses: own.into_keys().collect(),
                zone: zones.into_iter().next().flatten(),
                service_account: identity.service_account.clone(),
                ..WorkloadSpec::default()
            },
        };
        workload.metadata.labels = identity.labels.iter().cloned().collect();
        self.workloads.push(workload);
        for service in &identity.services {
            self.service(service, &reference)?;
        }
        // Which of several services an address is of makes no difference to anybody.
        for (place, (zone, addresses)) in of_services.into_iter().enumerate() {
            let key = format!("{ADDRESSES}{}-{place}", identity.id);
            let spec = ServiceSpec {
                addresses,
                zone,
                ..ServiceSpec::of(reference.clone())
            };
            let metadata = metadata(&key)?;
            let taken = self
                .services
                .insert((namespace.to_owned(), key), Resource { metadata, spec });
            if taken.is_some() {
                return Err("answers for a service of a reserved name".to_owned());
            }
        }
        Ok(())
    }

    /// An address that several workloads share behind services, or the name that services stand for.
    fn shared(&mut self, identity: &IdentitySpec) -> Result<(), String> {
        let name = identity.name.strip_prefix('[');
        let Some(name) = name.and_then(|name| name.strip_suffix(']')) else {
            return Ok(());
        };
        for title in &identity.services {
            let spec = &mut self.named(title)?.spec;
            match (name.parse::<Network>(), name.parse::<DomainPattern>()) {
                (Ok(network), _) => spec.addresses.push(network),
                (_, Ok(domain)) => spec.external_name = Some(domain),
                _ => return Err("is of a service and no network or domain name".to_owned()),
            }
        }
        Ok(())
    }

    fn namespace(&mut self, name: &str, identity: &IdentitySpec) -> Result<(), String> {
        let labels = identity.namespace_labels.iter().cloned();
        let mut labels: BTreeMap<String, String> = labels.collect();
        // It is the name, whatever is said.
        labels.remove(NAMESPACE_NAME_LABEL);
        if let Some(known) = self.namespaces.get(name) {
            return match known.metadata.labels == labels {
                true => Ok(()),
                false => Err("has other labels of its namespace than its neighbours".to_owned()),
            };
        }
        let metadata = Metadata::of_cluster(name);
        let mut metadata = metadata.map_err(|error| format!("is in no namespace: {error}"))?;
        metadata.labels = labels;
        let spec = NamespaceSpec {};
        self.namespaces
            .insert(name.to_owned(), Resource { metadata, spec });
        Ok(())
    }

    fn service(&mut self, title: &str, workload: &Reference) -> Result<(), String> {
        let service = self.named(title)?;
        service.spec.workloads.push(workload.clone());
        Ok(())
    }

    /// The service of that full name.
    fn named(&mut self, title: &str) -> Result<&mut Resource<ServiceSpec>, String> {
        let Some((namespace, name)) = title.split_once('/') else {
            return Err(format!(
                "answers for {:?}, which is no service",
                shortened(title)
            ));
        };
        let metadata = Metadata::new(namespace, name);
        let metadata = metadata.map_err(|error| format!("answers for no service: {error}"))?;
        let key = (namespace.to_owned(), name.to_owned());
        let spec = ServiceSpec::default();
        let new = Resource { metadata, spec };
        Ok(self.services.entry(key).or_insert(new))
    }
}

/// A service whose address is nobody's has several workloads, though this node may know of one alone.
fn several(mut service: Resource<ServiceSpec>) -> Resource<ServiceSpec> {
    let shared = !service.spec.addresses.is_empty() && !is_addresses(&service.metadata.name);
    if shared && service.spec.workloads.len() == 1 {
        service
            .spec
            .workloads
            .extend(Reference::new(OTHERS.0, OTHERS.1));
    }
    service
}

fn is_addresses(name: &str) -> bool {
    name.starts_with(ADDRESSES)
}

/// In the form in which documents have it.
fn network(address: &AddressSpec) -> Result<Network, String> {
    let v6 = Ipv6Addr::from(address.network);
    let (ip, prefix_bits) = match v6.to_ipv4_mapped() {
        Some(v4) if address.prefix_bits >= 96 => (IpAddr::from(v4), address.prefix_bits - 96),
        _ => (IpAddr::from(v6), address.prefix_bits),
    };
    let text = format!("{ip}/{prefix_bits}");
    let network = text.parse::<Network>();
    network.map_err(|error| format!("has the address {text}: {error}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
