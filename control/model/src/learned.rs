//! What was learned of a workload, as Weir writes it into the cluster and reads it back.
//!
//! These are the words of the object only. What they mean, how two states of it become one and what
//! is left out of an object that would grow too large is `weir-learn`'s business.
//!
//! Memory bound: [`LearnedStatus::CONVERSATIONS_MAX`] conversations and
//! [`LearnedStatus::DECISIONS_MAX`] decisions, each bounded by the constants beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Resource;

/// What was learned of a workload (`kind: LearnedProfile`). Namespace and name are those of the
/// workload; a node of the cluster has its profile in Weir's own namespace. Weir writes it, nobody
/// else, and it has `status` in place of `spec`.
pub type LearnedProfile = Resource<LearnedStatus>;

/// What was learned of a workload: a summary, then the evidence.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedStatus {
    /// "namespace/name" of the workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// The kind of the object that owns the pods: Deployment, DaemonSet …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Conversations that the workload takes part in, at either end.
    pub known: u64,
    /// How likely the next conversation is one that was seen before: "97%".
    #[serde(skip_serializing_if = "String::is_empty")]
    pub coverage: String,
    /// Whether nothing is missing for protect.
    pub ready: bool,
    /// What is missing, as sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// When any of its conversations was seen last, to the minute (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(with = "Option<String>", extend("format" = "date-time"))
    )]
    pub last_seen: Option<String>,
    /// The evidence for the conversations of which the workload is the client, or the server where
    /// the client is no workload; the others stand in the profiles of their clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<LearnedConversation>,
    /// Conversations that found no room. The controllers that heard them have them still.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// What people said of these conversations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<LearnedDecision>,
    /// Decisions that found no room.
    #[serde(skip_serializing_if = "is_zero")]
    pub decisions_left_out: u64,
    /// Workloads that this one goes on for, each with the time at which somebody said so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub formerly: BTreeMap<String, u64>,
}

/// A conversation and the evidence for it. Times are microseconds since 1970.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedConversation {
    /// "namespace/workload", "unknown", or a CIDR or domain name in brackets.
    pub client: String,
    /// As the client.
    pub server: String,
    /// The name of the application; "unknown" where the bytes were not recognised.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// The server's port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// When it was seen first.
    pub first_seen_us: u64,
    /// When it was seen last.
    pub last_seen_us: u64,
    /// Connections that were made.
    #[serde(skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// Connections that ended without an answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub unanswered: u64,
    /// Bytes, both directions.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Of these, from the client to the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_sent: u64,
    /// Connections or requests that were stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Those that protect mode would have stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub would_deny: u64,
    /// Alerts raised on it.
    #[serde(skip_serializing_if = "is_zero")]
    pub alerts: u64,
    /// How many of each name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alert_names: BTreeMap<String, u64>,
    /// When the first alert was raised.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_alert_us: u64,
    /// When the last one was.
    #[serde(skip_serializing_if = "is_zero")]
    pub last_alert_us: u64,
    /// On which days it was seen.
    pub days: LearnedDays,
    /// How much of it there was on each of the last days, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<LearnedActivity>,
    /// Addresses of clients, each with its days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_replicas: Vec<LearnedReplica>,
    /// What each point of observation counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<LearnedPoint>,
    /// Connections to an address that a DNS answer had named to the client shortly before.
    #[serde(skip_serializing_if = "is_zero")]
    pub resolved: u64,
    /// By which names.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<String>,
    /// How sure the application's name is, at best.
    pub confidence: LearnedConfidence,
    /// Whether any of its connections was seen from its first packet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
}

/// What one point of observation counted since it first saw the conversation. Never shrinks.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedPoint {
    /// The node.
    pub node: String,
    /// The zone.
    #[serde(skip_serializing_if = "is_zero_number")]
    pub zone: u32,
    /// Connections seen there.
    #[serde(skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// Bytes seen there, both directions.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Of these, from the client to the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_sent: u64,
    /// Connections or requests that were stopped there.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Those that protect mode would have stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub would_deny: u64,
}

/// The days on which something was seen: exact for the last 128, a count before.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedDays {
    /// Number of the last day (UTC), counted from 1970.
    pub last: u32,
    /// Bit n: seen n days before the last. Hexadecimal, since it has 128 bits and JSON's readers 53.
    #[cfg_attr(
        feature = "crd",
        schemars(with = "String", regex(pattern = "^[0-9a-f]{1,32}$"))
    )]
    #[serde(with = "hexadecimal")]
    pub recent: u128,
    /// How many there were before these.
    #[serde(skip_serializing_if = "is_zero_number")]
    pub older: u32,
}

/// What one day showed of a conversation.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LearnedActivity {
    /// Number of the day (UTC), counted from 1970.
    pub day: u32,
    /// Bit n: seen in hour n (UTC).
    pub hours: u32,
    /// Connections that were made.
    #[serde(skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// Connections or requests that were stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Those that protect mode would have stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub would_deny: u64,
}

/// A client's address, and the first and the last day on which it was seen, counted from 1970.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedReplica {
    /// The address.
    pub address: IpAddr,
    /// The first day.
    pub first: u32,
    /// The last day.
    pub last: u32,
}

/// What a person said of a conversation.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedDecision {
    /// "namespace/workload", "unknown", or a CIDR or domain name in brackets.
    pub client: String,
    /// As the client.
    pub server: String,
    /// The name of the application; "unknown" where the bytes were not recognised.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// The server's port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Yes or no.
    pub verdict: LearnedVerdict,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The kinds of evidence that there were.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub basis: BTreeSet<String>,
}

/// Yes or no.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnedVerdict {
    /// A rule is wanted.
    Accepted,
    /// None is.
    Rejected,
}

/// How sure the application's name is.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LearnedConfidence {
    /// Not recognised.
    #[default]
    None,
    /// By the port, and bytes that do not contradict it.
    Port,
    /// By the content.
    Content,
}

impl LearnedStatus {
    /// The most bytes of an object's status: far below what API servers take (1.5 MB), since every
    /// controller of a cluster is sent each new state.
    pub const BYTES_MAX: usize = 240 * 1024;
    /// The most conversations of one object.
    pub const CONVERSATIONS_MAX: usize = 512;
    /// The most decisions of one object.
    pub const DECISIONS_MAX: usize = 512;
    /// The most names of workloads that it goes on for.
    pub const FORMERLY_MAX: usize = 16;
}

impl LearnedConversation {
    /// The most points of a conversation.
    pub const POINTS_MAX: usize = 16;
    /// The most addresses of clients.
    pub const REPLICAS_MAX: usize = 64;
    /// The most days of which is told how much there was.
    pub const ACTIVITY_MAX: usize = 35;
    /// The most names, of the server and of alerts.
    pub const NAMES_MAX: usize = 8;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero_number(number: &u32) -> bool {
    *number == 0
}

mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bits: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{bits:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .map_err(|_| D::Error::custom("expected 1 to 32 hexadecimal digits"))
    }
}
