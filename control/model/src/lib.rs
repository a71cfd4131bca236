//! What a person writes: workloads, services, allowlists, sensors, modes and settings, as YAML.
//!
//! [`parse_documents`] reads a file and says of every mistake where it stands and what to write
//! instead; [`to_yaml`] writes a document so that reading it gives the same document again. The
//! types can be built in code too (a learned [`Allowlist`], for instance); whatever is built is
//! checked by reading what [`to_yaml`] writes.
//!
//! Trusts nothing it reads. Memory is bounded: a file by [`FILE_BYTES_MAX`], its tree (aliases
//! expanded) by [`NODES_MAX`] and [`DEPTH_MAX`].

mod allowlist;
mod document;
mod name;
mod parse;
mod problem;
mod scalar;
mod sensor;
mod settings;
mod suggest;
mod workload;
mod write;
mod yaml;

pub use allowlist::{Action, Allowlist, AllowlistSpec, Condition, Peer, Rule, Selector};
pub use document::{API_VERSION, Document, Kind, Metadata, Resource};
pub use name::{DomainPattern, NameError, Reference, check_name};
pub use parse::parse_documents;
pub use problem::{Located, Problem};
pub use scalar::{EtherType, Network, PortRange, Protocol, ScalarError};
pub use sensor::{
    Entropy, Sensor, SensorAction, SensorDirection, SensorExamples, SensorMask, SensorMatch,
    SensorPattern, SensorSpec, SensorThreshold, SourceThreshold,
};
pub use settings::{
    DenyStyle, LinkSettings, Mode, ModeDocument, ModeSpec, Settings, SettingsSpec, UnknownSettings,
};
pub use suggest::did_you_mean;
pub use workload::{Service, ServiceSpec, Workload, WorkloadSpec};
pub use write::{to_yaml, to_yaml_stream};
pub use yaml::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX};
