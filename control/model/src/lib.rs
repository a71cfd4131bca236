//! What a person writes: workloads, services, allowlists, sensors, modes, settings, what is done
//! about threats and after events, and guardrails, as YAML or as objects of an API server.
//!
//! [`parse_documents`] reads a file and says of every mistake where it stands and what to write
//! instead; [`to_yaml`] writes a document so that reading it gives the same document again. The
//! types can be built in code too (a learned [`Allowlist`], for instance); whatever is built is
//! checked by reading what [`to_yaml`] writes.
//!
//! Trusts nothing it reads. Memory is bounded: a file by [`FILE_BYTES_MAX`], its tree (aliases
//! expanded) by [`NODES_MAX`] and [`DEPTH_MAX`].

mod admission;
mod allowlist;
mod check;
#[cfg(feature = "crd")]
pub mod crd;
mod destination;
mod document;
mod guardrail;
mod learned;
mod name;
mod parse;
mod problem;
mod response;
mod scalar;
mod selector;
mod sensor;
mod settings;
mod status;
mod suggest;
mod threat;
mod time;
mod workload;
mod write;
mod yaml;

pub use admission::{AdmissionSettings, ImageSettings, VulnerabilitySettings};
pub use allowlist::{Action, Allowlist, AllowlistSpec, Condition, Peer, Rule, Stage};
pub use destination::{HostPort, WebhookUrl};
pub use document::{API_VERSION, Document, GROUP, Kind, Metadata, Resource, VERSION};
pub use guardrail::{Enforcement, Guardrail, GuardrailMatch, GuardrailSpec, Parameters};
pub use learned::{
    LearnedActivity, LearnedConfidence, LearnedConversation, LearnedDays, LearnedDecision,
    LearnedPoint, LearnedProfile, LearnedReplica, LearnedStatus, LearnedVerdict,
};
pub use name::{DomainPattern, NameError, Reference, check_name, check_namespace};
pub use parse::{from_object, parse_documents};
pub use problem::{Located, Problem};
pub use response::{
    Capture, CaptureOf, EventSource, OnEvent, OnSensor, OnThreat, OnViolation, Quarantine,
    ResponseAction, ResponseRule, ResponseRuleSpec, SensorClass, Severity, Side, Suppress,
    SuppressKey, Syslog, SyslogProtocol, Trigger, ViolationResult, Webhook, WebhookFormat,
    WebhookHeader,
};
pub use scalar::{EtherType, Network, PortRange, Protocol, ScalarError};
pub use selector::{
    Expression, LabelSelector, NAMESPACE_NAME_LABEL, Namespaces, Operator, Selector,
};
pub use sensor::{
    Entropy, Sensor, SensorAction, SensorDirection, SensorExamples, SensorMask, SensorMatch,
    SensorPattern, SensorSpec, SensorThreshold, SourceThreshold,
};
pub use settings::{
    DenyStyle, LinkSettings, Mode, ModeDocument, ModeSpec, Settings, SettingsSpec, UnknownSettings,
};
pub use status::{ConditionStatus, DraftStatus, ObjectStatus, StatusCondition};
pub use suggest::did_you_mean;
pub use threat::{
    ThreatAction, ThreatName, ThreatPolicy, ThreatPolicySpec, ThreatRule, ThreatThresholds,
};
pub use time::{Span, Timestamp};
pub use workload::{Namespace, NamespaceSpec, Service, ServiceSpec, Workload, WorkloadSpec};
pub use write::{to_yaml, to_yaml_stream};
pub use yaml::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX};
