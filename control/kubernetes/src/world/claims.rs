//! The cluster as those see it who judge what a service or a written document claims.

use std::net::IpAddr;
use std::sync::Arc;

use weir_model::{Document, Kind, Located};
use weir_sources::DocumentKey;

use super::World;
use crate::addresses::Claimant;
use crate::claims::{ClusterFacts, ExternalAddresses, Holder};
use crate::facts::ObjectName;

impl World {
    /// The full name of who has the address.
    pub(crate) fn name_of_holder(&self, address: IpAddr) -> Option<Arc<str>> {
        let holder = self.addresses.holder(address)?;
        Some(self.name_of(holder))
    }

    /// Whether the cluster has a workload or service whose document is called this. Looks through the
    /// namespace.
    pub(crate) fn has(&self, key: &DocumentKey) -> bool {
        let Some(namespace) = self.namespaces.get(&*key.namespace) else {
            return false;
        };
        let is = |told: &Option<Arc<Located<Document>>>| {
            let told = told.as_ref().map(|told| &told.value);
            told.is_some_and(|told| told.kind() == key.kind && told.metadata().name == key.name)
        };
        match key.kind {
            Kind::Workload => namespace.workloads.iter().any(|number| {
                let workload = self.workloads.get(*number);
                workload.is_some_and(|workload| is(&workload.told))
            }),
            Kind::Service => namespace.services.iter().any(|number| {
                let service = self.services.get(*number);
                service.is_some_and(|service| is(&service.told))
            }),
            _ => false,
        }
    }
}

impl ClusterFacts for World {
    fn holder(&self, address: IpAddr, except: &ObjectName) -> Option<Holder> {
        // Whoever holds it, unless that is this very service; of two services the older one holds.
        let claimant = self.addresses.holder(address.to_canonical())?;
        match claimant {
            Claimant::Node(node) => {
                let node = &self.nodes.get(node)?.node;
                Some(Holder::Node(node.meta.name.name.clone()))
            }
            Claimant::Pod(_) => Some(Holder::Workload(self.name_of(claimant).to_string())),
            Claimant::Service(service) => {
                let (namespace, name) = &self.services.get(service)?.name;
                let own = **namespace == *except.namespace && **name == *except.name;
                (!own).then(|| Holder::Service(self.name_of(claimant).to_string()))
            }
        }
    }

    fn external(&self) -> &ExternalAddresses {
        &self.external
    }
}
