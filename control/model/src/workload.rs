//! Who owns which addresses, and the namespaces they are in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{DomainPattern, Network, Reference, Resource, name};

/// A workload: a named host, address set or pod owner.
pub type Workload = Resource<WorkloadSpec>;

/// A service: addresses that clients use to reach workloads.
pub type Service = Resource<ServiceSpec>;

/// A namespace: its labels are those of its metadata (`kind: Namespace`). Nobody has to write one:
/// a namespace without a document has [`crate::NAMESPACE_NAME_LABEL`] alone.
pub type Namespace = Resource<NamespaceSpec>;

/// A namespace says nothing but its labels, so `spec` may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceSpec {}

/// What makes up a workload.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Its addresses and networks, both families. May be empty: it then has no traffic yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// Only in this zone (a port, VLAN or VNI of the nodes); without one, in every zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u32>,
    /// The account it runs as.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "name::deserialize_optional_name"
    )]
    pub service_account: Option<String>,
    /// The nodes where it runs. Empty: anywhere, so that every node gets to know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The kind of the object that owns its pods: Deployment, DaemonSet, CronJob …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The images of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// What makes up a service.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawService", into = "RawService")]
pub struct ServiceSpec {
    /// The workloads that answer: `workload:` where it is one, `workloads:` otherwise. None where
    /// nobody answers yet.
    pub workloads: Vec<Reference>,
    /// The addresses that clients within the cluster use.
    pub addresses: Vec<Network>,
    /// The addresses that clients outside use: of load balancers, and external ones.
    pub external_addresses: Vec<Network>,
    /// Addresses that it claims although they are somebody else's (CVE-2020-8554): traffic to them is told
    /// as a threat, on every node.
    pub disputed_addresses: Vec<IpAddr>,
    /// The name elsewhere that it stands for: whoever is allowed to reach the service is allowed to reach
    /// what this name stands for in DNS. It has no workloads and addresses then.
    pub external_name: Option<DomainPattern>,
    /// Only in this zone; without one, in every zone.
    pub zone: Option<u32>,
}

#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawService {
    /// The workload that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workload: Option<Reference>,
    /// The workloads that answer, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workloads: Option<Vec<Reference>>,
    /// The addresses that clients within the cluster use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Network>,
    /// The addresses that clients outside use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    external_addresses: Vec<Network>,
    /// Addresses that it claims although they are somebody else's: traffic to them is told as a threat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    disputed_addresses: Vec<IpAddr>,
    /// The domain name elsewhere that the service stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_name: Option<DomainPattern>,
    /// Only in this zone (a port, VLAN or VNI of the nodes); without one, in every zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<u32>,
}

impl ServiceSpec {
    /// A service that one workload answers.
    pub fn of(workload: Reference) -> Self {
        Self {
            workloads: vec![workload],
            ..Self::default()
        }
    }

    /// All its addresses.
    pub fn all_addresses(&self) -> impl Iterator<Item = &Network> {
        self.addresses.iter().chain(&self.external_addresses)
    }
}

impl TryFrom<RawService> for ServiceSpec {
    type Error = String;

    fn try_from(raw: RawService) -> Result<Self, String> {
        let outside = raw.external_name.as_ref();
        let workloads = match (raw.workload, raw.workloads, outside) {
            (Some(workload), None, None) => vec![workload],
            (None, Some(workloads), None) => workloads,
            (None, None, Some(name)) if !name.as_str().starts_with('*') => Vec::new(),
            (None, None, Some(name)) => {
                return Err(format!("externalName {name} is no single name"));
            }
            (None, None, None) => {
                return Err("says not who answers; give workload or workloads".to_owned());
            }
            (.., None) => {
                return Err("give either workload or workloads, not both".to_owned());
            }
            (.., Some(_)) => {
                return Err("give either externalName or workloads, not both".to_owned());
            }
        };
        Ok(Self {
            workloads,
            addresses: raw.addresses,
            external_addresses: raw.external_addresses,
            disputed_addresses: raw.disputed_addresses,
            external_name: raw.external_name,
            zone: raw.zone,
        })
    }
}

impl From<ServiceSpec> for RawService {
    fn from(spec: ServiceSpec) -> Self {
        let mut workloads = spec.workloads;
        let single = (workloads.len() == 1).then(|| workloads.pop()).flatten();
        Self {
            workloads: (single.is_none() && spec.external_name.is_none()).then_some(workloads),
            workload: single,
            addresses: spec.addresses,
            external_addresses: spec.external_addresses,
            disputed_addresses: spec.disputed_addresses,
            external_name: spec.external_name,
            zone: spec.zone,
        }
    }
}
