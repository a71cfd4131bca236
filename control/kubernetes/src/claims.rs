//! Services that claim addresses which are not theirs (CVE-2020-8554).
//!
//! Whoever may write a service may write any address into `spec.externalIPs`, and whoever may write
//! its status into `status.loadBalancer`: every node then brings traffic for that address to the
//! service's pods. Distrusts both fields; a service's own are the addresses that the operator says
//! are given out to services ([`ExternalAddresses::allowed`]), as far as nobody else has them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::facts::{ObjectName, Service};

/// What services may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalAddresses {
    /// The networks from which addresses are given to services. Without any, `externalIPs` are always
    /// somebody else's, and load-balancer addresses a service's own unless somebody has them.
    pub allowed: Vec<IpNet>,
    /// What becomes of other claims.
    pub action: ClaimAction,
}

/// What becomes of a claim that is not allowed. It is told of in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimAction {
    /// The address is not the service's.
    #[default]
    Refuse,
    /// The address is the service's unless a node, a workload or another service has it.
    Alert,
}

/// The field in which a service claims an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimField {
    /// `spec.externalIPs`
    External,
    /// `status.loadBalancer.ingress`
    Balancer,
}

/// Whose the address is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// The node of this name.
    Node(String),
    /// The workload of this full name.
    Workload(String),
    /// The service of this full name.
    Service(String),
    /// Nobody that Weir knows; it lies outside of what is given to services.
    Outside,
}

/// A claim that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The service that claims.
    pub service: ObjectName,
    /// The address.
    pub address: IpAddr,
    /// Where it is written.
    pub field: ClaimField,
    /// Whose it is.
    pub holder: Holder,
}

/// What has to be known of a cluster to judge a claim.
pub trait ClusterFacts {
    /// Who has the address, other than this service.
    fn holder(&self, address: IpAddr, except: &ObjectName) -> Option<Holder>;
    /// What services may claim.
    fn external(&self) -> &ExternalAddresses;
}

/// The claims of a service that are not allowed; empty for one that claims nothing or only its own.
pub fn external_claims(service: &Service, facts: &(impl ClusterFacts + ?Sized)) -> Vec<Claim> {
    let allowed = &facts.external().allowed;
    let claim = |address: &IpAddr, field: ClaimField| {
        let given = allowed.iter().any(|network| network.contains(address));
        let holder = match facts.holder(*address, &service.meta.name) {
            // A cluster that gives nodes' addresses to services has said so.
            Some(Holder::Node(_)) if given => return None,
            Some(holder) => holder,
            None if given => return None,
            None if allowed.is_empty() && field == ClaimField::Balancer && service.balanced => {
                return None;
            }
            None => Holder::Outside,
        };
        Some(Claim {
            service: service.meta.name.clone(),
            address: *address,
            field,
            holder,
        })
    };
    let external = service.external_addresses.iter();
    let external = external.filter_map(|address| claim(address, ClaimField::External));
    let balancer = service.balancer_addresses.iter();
    let balancer = balancer.filter_map(|address| claim(address, ClaimField::Balancer));
    external.chain(balancer).collect()
}

impl Claim {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        "take the address out of the service, or name its network with --external-addresses if it is \
         one that services are given"
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for ClaimField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::External => "spec.externalIPs",
            Self::Balancer => "status.loadBalancer.ingress",
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            address,
            field,
            holder,
        } = self;
        write!(
            formatter,
            "service {service} claims {address} in {field}, which "
        )?;
        match holder {
            Holder::Node(node) => write!(formatter, "is an address of node {node}"),
            Holder::Workload(workload) => write!(formatter, "is an address of workload {workload}"),
            Holder::Service(other) => write!(formatter, "is an address of service {other}"),
            Holder::Outside => formatter.write_str("is not among those that services are given"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Meta;

    struct Facts {
        external: ExternalAddresses,
        held: Vec<(IpAddr, Holder)>,
    }

    impl ClusterFacts for Facts {
        fn holder(&self, address: IpAddr, _: &ObjectName) -> Option<Holder> {
            let mut held = self.held.iter().filter(|(held, _)| *held == address);
            held.next().map(|(_, holder)| holder.clone())
        }

        fn external(&self) -> &ExternalAddresses {
            &self.external
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn service(external: &[&str], balancer: &[&str]) -> Service {
        Service {
            meta: Meta {
                name: ObjectName {
                    namespace: "shop".to_owned(),
                    name: "web".to_owned(),
                },
                uid: 1,
                created_us: 0,
            },
            selector: Default::default(),
            cluster_addresses: Vec::new(),
            external_addresses: external.iter().map(|it| address(it)).collect(),
            balancer_addresses: balancer.iter().map(|it| address(it)).collect(),
            balanced: true,
            external_name: None,
        }
    }

    fn told(allowed: &[&str], external: &[&str], balancer: &[&str]) -> Vec<String> {
        let facts = Facts {
            external: ExternalAddresses {
                allowed: allowed.iter().map(|it| it.parse().unwrap()).collect(),
                action: ClaimAction::Refuse,
            },
            held: vec![
                (address("192.0.2.1"), Holder::Node("worker-1".to_owned())),
                (address("10.1.0.9"), Holder::Workload("shop/db".to_owned())),
                (address("198.51.100.7"), Holder::Service("a/b".to_owned())),
            ],
        };
        let claims = external_claims(&service(external, balancer), &facts);
        claims.iter().map(Claim::to_string).collect()
    }

    #[test]
    fn a_claim_names_whose_the_address_is() {
        let claims = told(
            &[],
            &["192.0.2.1", "10.1.0.9", "198.51.100.7", "8.8.8.8"],
            &[],
        );
        for (claim, words) in claims.iter().zip([
            "192.0.2.1 in spec.externalIPs, which is an address of node worker-1",
            "workload shop/db",
            "service a/b",
            "not among those",
        ]) {
            assert!(claim.contains(words), "{claim}");
        }
        assert_eq!(claims.len(), 4);
    }

    #[test]
    fn what_services_are_given_is_their_own_unless_somebody_has_it() {
        let allowed = ["198.51.100.0/24"];
        assert!(told(&allowed, &["198.51.100.1"], &["198.51.100.2"]).is_empty());
        assert_eq!(told(&allowed, &["198.51.100.7"], &[]).len(), 1);
        assert_eq!(told(&allowed, &["203.0.113.1"], &["203.0.113.2"]).len(), 2);
        // Where nothing is configured a balancer's address is nobody else's; somebody's stays so.
        assert!(told(&[], &[], &["203.0.113.2"]).is_empty());
        assert_eq!(told(&[], &[], &["192.0.2.1", "10.1.0.9"]).len(), 2);
        assert!(told(&["192.0.2.0/24"], &[], &["192.0.2.1"]).is_empty());
    }
}
