//! Something that happened.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use weir_model::{EventSource, Metadata, SensorClass, ViolationResult};

/// One thing that happened, whoever saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What it is.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The name of the threat, sensor, rule or event.
    pub name: String,
    /// Its number, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// 1 is the most urgent.
    pub severity: u32,
    /// A sentence.
    pub message: String,
    /// Who began it; of what happened on one machine, where.
    pub client: Party,
    /// The other end; nobody, where there is none.
    pub server: Party,
    /// What they speak; empty where nobody knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// The node that saw it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Whether it was stopped.
    pub blocked: bool,
    /// The connection, as every tool names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub community_id: String,
    /// When, microseconds since 1970.
    pub time_unix_us: u64,
    /// Where on its node the connection is found, beside the ends; none where there is none.
    #[serde(skip)]
    pub flow: Option<FlowPlace>,
}

/// What tells a connection from others between the same ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPlace {
    /// The node's number of it; 0 for none.
    pub id: u64,
    /// IP protocol number.
    pub protocol: u8,
    /// Which network of the node.
    pub zone: u32,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum EventKind {
    /// A threat of the catalogue.
    Threat,
    /// A signature matched.
    Signature,
    /// Policy stopped something, or would have.
    Violation {
        /// Which of the two.
        result: ViolationResult,
    },
    /// A sensor fired.
    Sensor {
        /// What it protects from.
        class: SensorClass,
    },
    /// Another program reported it.
    Outside {
        /// Which.
        source: EventSource,
    },
}

/// An end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// "shop/photo-db"; none where it is no workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Its port, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What is known of workloads.
pub trait Facts {
    /// The metadata of a workload, by full name.
    fn workload(&self, full_name: &str) -> Option<&Metadata>;

    /// The labels of a namespace.
    fn namespace(&self, name: &str) -> Option<&BTreeMap<String, String>>;
}

impl Party {
    /// In messages: the workload, or else the address.
    pub fn shown(&self) -> String {
        match (&self.workload, self.address) {
            (Some(workload), _) => workload.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "nobody".to_owned(),
        }
    }
}
