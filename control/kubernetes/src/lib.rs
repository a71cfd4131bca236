//! The Kubernetes API server as a source of workloads and policy.
//!
//! [`KubernetesSource`] watches pods, services, hosts and what owns them, and all kinds of Weir, and
//! tells the controller [`weir_sources::News`]. What follows from the cluster's objects is worked out by
//! [`World`], which knows neither client nor clock; [`external_claims`] judges what a service claims.
//!
//! Nothing here writes a specification: with this source policy is what the API server has.

mod addresses;
mod beside;
mod bundle;
mod claims;
mod connect;
mod documents;
mod events;
mod facts;
mod failure;
mod fingerprint;
mod identity;
mod leader;
mod lease;
mod names;
mod node_leases;
mod object;
mod profiles;
mod resources;
mod source;
mod status;
mod statuses;
mod trouble;
mod watch;
mod world;

pub use bundle::{BundleObject, BundleObjects};
pub use claims::{
    Claim, ClaimAction, ClaimField, ClusterFacts, ExternalAddresses, Holder, external_claims,
};
pub use connect::{ConnectError, Settings};
pub use events::{EventType, Events};
pub use facts::{
    Event, Images, Labels, Meta, Namespace, Node, Object, ObjectName, Owner, OwnerKind, Pod,
    Service, Slice, Step, Template, Watched,
};
pub use fingerprint::{Fingerprint, is_cluster_kind};
pub use identity::{
    NODES_NAMESPACE, document_name, lasting_labels, second_name, spiffe_id, workload_of,
};
pub use leader::{Leadership, own_identity};
pub use lease::Timing;
pub use node_leases::{
    HITS_MAX, NodeLeases, NodeReport, QuarantineReport, Report, Told as LeaseTold, Wrote,
};
pub use object::service_of;
pub use profiles::{Profiles, Told as ProfileTold, Wrote as ProfileWrote};
pub use source::KubernetesSource;
pub use status::{Counts, is_object_kind, object_status};
pub use statuses::{Statuses, Write};
pub use trouble::Trouble;
pub use world::{Note, SPIFFE_ID, World, WorldCounts};
