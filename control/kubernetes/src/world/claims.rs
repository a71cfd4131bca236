//! The cluster as those see it who judge what a service claims.

use std::net::IpAddr;

use super::World;
use crate::addresses::Claimant;
use crate::claims::{ClusterFacts, ExternalAddresses, Holder};
use crate::facts::ObjectName;

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
