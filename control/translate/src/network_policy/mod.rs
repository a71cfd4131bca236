//! `NetworkPolicy` of networking.k8s.io/v1.
//!
//! It knows pods, namespaces, networks, ports; no applications, no denials, no names. A pod that no
//! policy selects for a direction is open in it, while a workload of Weir in protect is governed in
//! both: what a policy leaves open is written as a rule that allows anybody.

mod read;
mod write;

pub(crate) use read::{namespaces, read};
pub(crate) use write::write;

pub(crate) const API_VERSION: &str = "networking.k8s.io/v1";
pub(crate) const KIND: &str = "NetworkPolicy";
