//! `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy` of cilium.io/v2, requests (L7) included.
//!
//! Cilium knows denials, names (`toFQDNs`), entities and, of requests, those of HTTP, Kafka and DNS.
//! One thing is read wider than it was meant, and told: a `*` in a name stands for one label there
//! and for any number of them here.

mod endpoint;
mod layer7;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

pub(crate) const API_VERSION: &str = "cilium.io/v2";
pub(crate) const KIND: &str = "CiliumNetworkPolicy";
pub(crate) const CLUSTER_KIND: &str = "CiliumClusterwideNetworkPolicy";
