//! The identities: workloads, the networks and domain names that rules name, and whose an address is.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use ipnet::IpNet;
use weir_model::{
    Allowlist, Document, DomainPattern, Located, Network, Peer, Reference, Selector, Service,
    Workload, did_you_mean,
};
use weir_policy::spec::{AddressSpec, IdentitySpec, NameSpec};

use crate::change::AddressKey;
use crate::modes::Modes;
use crate::{Assignments, Documents, Report};

/// Everything that has an identity.
pub(crate) struct Inventory<'a> {
    /// By full name.
    pub(crate) workloads: BTreeMap<String, Member<'a>>,
    /// By full name: the workloads that answer.
    services: BTreeMap<String, Vec<String>>,
    /// The labels of namespaces, by name.
    namespaces: BTreeMap<&'a str, &'a BTreeMap<String, String>>,
    pub(crate) networks: BTreeMap<Network, u32>,
    pub(crate) domains: BTreeMap<DomainPattern, u32>,
    /// The workloads by their own addresses, for finding those that a network touches.
    located: BTreeMap<Network, Vec<String>>,
    /// Whose an address is, by network and zone: services' too.
    owners: BTreeMap<(Network, Option<u32>), Owner<'a>>,
}

/// A workload and its number.
pub(crate) struct Member<'a> {
    pub(crate) id: u32,
    pub(crate) workload: &'a Workload,
}

#[derive(Clone)]
struct Owner<'a> {
    workload: String,
    located: &'a Located<Document>,
}

impl<'a> Inventory<'a> {
    /// Takes stock of all documents and numbers what it finds.
    pub(crate) fn take(
        documents: &Documents<'a>,
        assignments: &mut Assignments,
        report: &mut Report,
    ) -> Self {
        let mut inventory = Self {
            workloads: BTreeMap::new(),
            services: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            networks: BTreeMap::new(),
            domains: BTreeMap::new(),
            located: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        // Workloads sort before services, so a service finds the workload that it names.
        for located in &documents.sorted {
            match &located.value {
                Document::Workload(workload) => inventory.workload(located, workload, report),
                Document::Namespace(namespace) => {
                    let metadata = &namespace.metadata;
                    inventory
                        .namespaces
                        .insert(&metadata.name, &metadata.labels);
                }
                Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                    inventory.named(allowlist);
                }
                Document::Service(_)
                | Document::Mode(_)
                | Document::Settings(_)
                | Document::Sensor(_)
                | Document::ThreatPolicy(_)
                | Document::ResponseRule(_)
                | Document::Guardrail(_)
                | Document::LearnedProfile(_) => {}
            }
        }
        for located in &documents.sorted {
            if let Document::Service(service) = &located.value {
                inventory.service(located, service, report);
            }
        }
        inventory.number(assignments);
        inventory
    }

    fn workload(
        &mut self,
        located: &'a Located<Document>,
        workload: &'a Workload,
        report: &mut Report,
    ) {
        let name = workload.metadata.full_name();
        self.own(
            located,
            &name,
            &workload.spec.addresses,
            workload.spec.zone,
            report,
        );
        for address in &workload.spec.addresses {
            self.located.entry(*address).or_default().push(name.clone());
        }
        self.workloads.insert(name, Member { id: 0, workload });
    }

    fn service(
        &mut self,
        located: &'a Located<Document>,
        service: &'a Service,
        report: &mut Report,
    ) {
        let mut workloads = Vec::new();
        for (index, reference) in service.spec.workloads.iter().enumerate() {
            let workload = reference.resolve(&service.metadata.namespace);
            if self.workloads.contains_key(&workload) {
                workloads.push(workload);
                continue;
            }
            let field = match service.spec.workloads.len() {
                1 => "spec.workload".to_owned(),
                _ => format!("spec.workloads[{index}]"),
            };
            let next_step = self.near(&workload);
            let message = format!(
                "names workload {workload}, which does not exist; its addresses belong to nobody"
            );
            report
                .warnings
                .push(located.problem(&field, message, next_step));
        }
        let Some(first) = workloads.first() else {
            return;
        };
        if workloads.len() > 1 {
            report.warnings.push(located.problem(
                "spec.workloads",
                format!(
                    "several workloads answer; the service's addresses count as those of {first}"
                ),
                "give each workload a service of its own where this matters",
            ));
        }
        let addresses: Vec<Network> = service.spec.all_addresses().copied().collect();
        let first = first.clone();
        self.own(located, &first, &addresses, service.spec.zone, report);
        self.services
            .insert(service.metadata.full_name(), workloads);
    }

    /// Two that claim one address: whose it is could only be guessed.
    fn own(
        &mut self,
        located: &'a Located<Document>,
        workload: &str,
        addresses: &[Network],
        zone: Option<u32>,
        report: &mut Report,
    ) {
        for (index, network) in addresses.iter().enumerate() {
            match self.owners.entry((*network, zone)) {
                btree_map::Entry::Vacant(entry) => {
                    entry.insert(Owner {
                        workload: workload.to_owned(),
                        located,
                    });
                }
                btree_map::Entry::Occupied(entry) if entry.get().workload != workload => {
                    let first = entry.get().located;
                    let place = match zone {
                        Some(zone) => format!("{network} in zone {zone}"),
                        None => network.to_string(),
                    };
                    report.problems.push(located.problem(
                        &format!("spec.addresses[{index}]"),
                        format!(
                            "{place} belongs to {} already ({})",
                            first.value.title(),
                            first.place()
                        ),
                        "give it to one of the two, or tell them apart by zone",
                    ));
                }
                btree_map::Entry::Occupied(_) => {}
            }
        }
    }

    /// The networks and domains that an allowlist names.
    fn named(&mut self, allowlist: &Allowlist) {
        for rule in allowlist.spec.ingress.iter().chain(&allowlist.spec.egress) {
            for peer in &rule.peers {
                match peer {
                    Peer::Network { cidr, except } => {
                        self.networks.insert(*cidr, 0);
                        self.networks
                            .extend(except.iter().map(|network| (*network, 0)));
                    }
                    Peer::Domain(domain) => {
                        self.domains.insert(domain.clone(), 0);
                    }
                    Peer::Workload(_) | Peer::Service(_) | Peer::Unknown | Peer::Any => {}
                }
            }
        }
    }

    fn number(&mut self, assignments: &mut Assignments) {
        let names: BTreeSet<String> = self
            .workloads
            .keys()
            .cloned()
            .chain(self.networks.keys().map(bracketed))
            .chain(self.domains.keys().map(bracketed))
            .collect();
        assignments.assign(&names);
        let id = |name: &str| {
            assignments
                .id(name)
                .unwrap_or(weir_policy::spec::UNKNOWN_IDENTITY)
        };
        for (name, member) in &mut self.workloads {
            member.id = id(name);
        }
        for (network, number) in &mut self.networks {
            *number = id(&bracketed(network));
        }
        for (domain, number) in &mut self.domains {
            *number = id(&bracketed(domain));
        }
    }

    /// The numbers of the workloads that a selector of a document in `namespace` selects.
    pub(crate) fn select(&self, selector: &Selector, namespace: &str) -> BTreeSet<u32> {
        if let Selector::Name(name) = selector {
            return self
                .workloads
                .get(&name.resolve(namespace))
                .map(|member| member.id)
                .into_iter()
                .collect();
        }
        let labels_of = |name: &str| self.namespaces.get(name).copied();
        self.workloads
            .values()
            .filter(|member| selector.selects(namespace, &member.workload.metadata, labels_of))
            .map(|member| member.id)
            .collect()
    }

    /// The workloads that have an address in common with the network.
    pub(crate) fn touching(&self, network: &Network) -> BTreeSet<&str> {
        let inside = self.located.range(network.within()).map(|(_, names)| names);
        let around = network
            .around()
            .filter_map(|around| self.located.get(&around));
        inside.chain(around).flatten().map(String::as_str).collect()
    }

    /// The numbers of the workloads that answer for a service; none where there is no such service.
    pub(crate) fn serving(&self, service: &Reference, namespace: &str) -> Vec<u32> {
        let workloads = self.services.get(&service.resolve(namespace));
        workloads
            .into_iter()
            .flatten()
            .filter_map(|workload| self.workloads.get(workload))
            .map(|member| member.id)
            .collect()
    }

    /// What to do about a selector that selects nothing.
    pub(crate) fn advice(&self, selector: &Selector, namespace: &str) -> String {
        match selector {
            Selector::Name(name) => self.near(&name.resolve(namespace)),
            Selector::Labels { .. } => {
                "compare it with the labels and namespaces of the workloads".to_owned()
            }
        }
    }

    /// What to do about a service that does not exist.
    pub(crate) fn service_advice(&self, service: &Reference, namespace: &str) -> String {
        match did_you_mean(
            &service.resolve(namespace),
            self.services.keys().map(String::as_str),
        ) {
            Some(near) => format!("did you mean {near}?"),
            None => "add the service or correct the name".to_owned(),
        }
    }

    fn near(&self, workload: &str) -> String {
        match did_you_mean(workload, self.workloads.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "add the workload or correct the name".to_owned(),
        }
    }

    /// Sorted by number.
    pub(crate) fn identities(&self, modes: &Modes) -> Vec<IdentitySpec> {
        let mut services: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (service, workloads) in &self.services {
            for workload in workloads {
                services.entry(workload).or_default().push(service.clone());
            }
        }
        let mut of_services: BTreeMap<&str, Vec<AddressKey>> = BTreeMap::new();
        for ((network, zone), owner) in &self.owners {
            if matches!(owner.located.value, Document::Service(_)) {
                let (network, prefix_bits) = mapped(network);
                let addresses = of_services.entry(&owner.workload).or_default();
                addresses.push((network, prefix_bits, *zone));
            }
        }
        of_services
            .values_mut()
            .for_each(|addresses| addresses.sort());
        let pairs = |labels: &BTreeMap<String, String>| labels.clone().into_iter().collect();
        let workloads = self.workloads.iter().map(|(name, member)| {
            let Workload { metadata, spec } = member.workload;
            let namespace = self.namespaces.get(metadata.namespace.as_str());
            IdentitySpec {
                id: member.id,
                name: name.clone(),
                labels: pairs(&metadata.labels),
                managed: true,
                mode: modes.mode(member.id),
                quarantined: modes.quarantined(member.id),
                services: services.remove(name.as_str()).unwrap_or_default(),
                service_account: spec.service_account.clone(),
                elsewhere: false,
                namespace_labels: namespace.map(|labels| pairs(labels)).unwrap_or_default(),
                service_addresses: of_services.remove(name.as_str()).unwrap_or_default(),
            }
        });
        let unmanaged = |id: u32, name: String| IdentitySpec {
            id,
            name,
            ..IdentitySpec::default()
        };
        let networks = self
            .networks
            .iter()
            .map(|(network, id)| unmanaged(*id, bracketed(network)));
        let domains = self
            .domains
            .iter()
            .map(|(domain, id)| unmanaged(*id, bracketed(domain)));
        let mut identities: Vec<IdentitySpec> = workloads.chain(networks).chain(domains).collect();
        identities.sort_by_key(|identity| identity.id);
        identities
    }

    /// Sorted by network, prefix and zone. Networks that rules name stand behind workloads: a part
    /// of a workload's network, though the longer prefix, stays the workload's.
    pub(crate) fn addresses(&self) -> Vec<AddressSpec> {
        let mut addresses = BTreeMap::new();
        let mut zoned: BTreeMap<u32, Vec<(Network, u32)>> = BTreeMap::new();
        let mut anywhere: BTreeSet<Network> = BTreeSet::new();
        for ((network, zone), owner) in &self.owners {
            let Some(member) = self.workloads.get(&owner.workload) else {
                continue;
            };
            addresses.insert((*network, *zone), member.id);
            match zone {
                Some(zone) => zoned.entry(*zone).or_default().push((*network, member.id)),
                None => {
                    anywhere.insert(*network);
                }
            }
        }
        for (network, id) in &self.networks {
            if network.around().any(|around| anywhere.contains(&around)) {
                continue;
            }
            addresses.insert((*network, None), *id);
            for (zone, owned) in &zoned {
                let around = owned.iter().filter(|(owned, _)| owned.contains(network));
                if let Some((_, owner)) = around.max_by_key(|(owned, _)| owned.net().prefix_len()) {
                    addresses.insert((*network, Some(*zone)), *owner);
                }
            }
        }
        let mut specs: Vec<AddressSpec> = addresses
            .into_iter()
            .map(|((network, zone), identity)| {
                let (network, prefix_bits) = mapped(&network);
                AddressSpec {
                    network,
                    prefix_bits,
                    zone,
                    identity,
                }
            })
            .collect();
        specs.sort();
        specs
    }

    /// Sorted by pattern.
    pub(crate) fn names(&self) -> Vec<NameSpec> {
        let name = |(domain, id): (&DomainPattern, &u32)| NameSpec {
            pattern: domain.as_str().to_owned(),
            identity: *id,
        };
        self.domains.iter().map(name).collect()
    }
}

/// "[10.0.0.0/8]": how an identity that is no workload is called.
fn bracketed(name: &impl std::fmt::Display) -> String {
    format!("[{name}]")
}

/// The network and its prefix over the 128-bit form.
fn mapped(network: &Network) -> (u128, u8) {
    let net = network.net();
    let bits = net.prefix_len();
    let over_128 = match net {
        IpNet::V4(_) => bits.saturating_add(96),
        IpNet::V6(_) => bits,
    };
    (weir_wire::from_ip_address(net.network()), over_128)
}
