//! What Weir says back of an object in a cluster: conditions as the Gateway API has them, and counts.

use serde::{Deserialize, Serialize};

/// The status of an object.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// The generation of the object that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, Programmed, Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<StatusCondition>,
    /// Rules that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,
    /// Workloads that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<u32>,
    /// Nodes that acknowledged a policy with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_enforcing: Option<u32>,
    /// Nodes that need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_wanted: Option<u32>,
    /// Both as they are shown: "3/5".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed: Option<String>,
    /// Connections and requests that its rules decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// What a draft would have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftStatus>,
}

/// What a draft would have done to the conversations that were seen.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DraftStatus {
    /// Conversations that its rules would allow.
    pub would_allow: u64,
    /// Conversations that would be stopped in protect.
    pub would_deny: u64,
}

/// A condition of Kubernetes.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// What is said of the object.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// The generation of the object that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when the status is what it is (RFC 3339).
    #[cfg_attr(feature = "crd", schemars(extend("format" = "date-time")))]
    pub last_transition_time: String,
    /// Why, in a word.
    pub reason: String,
    /// Why, and what to do next.
    pub message: String,
}

/// Whether a condition holds.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl ObjectStatus {
    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&StatusCondition> {
        self.conditions.iter().find(|one| one.kind == kind)
    }
}
