//! Who owns which addresses.

use serde::{Deserialize, Serialize};

use crate::{Network, Reference, Resource, name};

/// A workload: a named host, address set or pod owner.
pub type Workload = Resource<WorkloadSpec>;

/// A service: addresses that clients use to reach a workload.
pub type Service = Resource<ServiceSpec>;

/// What makes up a workload.
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
}

/// What makes up a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// The workload that answers.
    pub workload: Reference,
    /// The addresses that clients use; they belong to that workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Network>,
    /// Only in this zone; without one, in every zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<u32>,
}
