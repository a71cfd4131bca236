//! What was learned of a workload, as Weir writes it into the cluster and reads it back.
//!
//! Several controllers may write: what one point of observation (a node, and a zone of it) counted
//! only grows, so [`LearnedConversation::merge`] takes the larger count of each point, the earlier
//! first and the later last time, and every day and replica that either knows. Merging is
//! commutative, associative and idempotent, so that nobody has to know who wrote last.
//!
//! Memory bound: [`LearnedStatus::CONVERSATIONS_MAX`] conversations of at most
//! [`LearnedConversation::POINTS_MAX`] points and [`LearnedConversation::REPLICAS_MAX`] addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Resource;

/// What was learned of a workload (`kind: LearnedProfile`). Namespace and name are those of the
/// workload, followed by `.` and a number for each further part. Weir writes it, nobody else, and
/// it has `status` in place of `spec`.
pub type LearnedProfile = Resource<LearnedStatus>;

/// The conversations of a workload.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedStatus {
    /// The kind of the object that owns the pods: Deployment, DaemonSet …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Sorted by client, server, application, port, protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<LearnedConversation>,
    /// Conversations that found no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// A conversation and the evidence for it. Times are microseconds since 1970.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedConversation {
    /// "namespace/workload", "unknown", or a CIDR or domain name in brackets.
    pub client: String,
    /// As the client.
    pub server: String,
    /// The name of the application; "unknown" where the bytes were not recognised.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub application: String,
    /// The server's port; 0 where the protocol has none.
    #[serde(default)]
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// When it was seen first.
    pub first_seen_us: u64,
    /// When it was seen last.
    pub last_seen_us: u64,
    /// On which days.
    #[serde(default)]
    pub days: LearnedDays,
    /// Distinct addresses of clients.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub client_replicas: BTreeSet<IpAddr>,
    /// What each point counted, sorted by node and zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<LearnedPoint>,
    /// How sure the application's name is, at best.
    #[serde(default)]
    pub confidence: LearnedConfidence,
    /// Whether any of its connections was seen from its first packet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
}

/// What one point of observation counted since it first saw the conversation. Never shrinks.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedPoint {
    /// The node.
    pub node: String,
    /// The zone.
    #[serde(default, skip_serializing_if = "is_zero_zone")]
    pub zone: u32,
    /// Connections seen there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// Bytes seen there, both directions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Connections or requests that were stopped there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub denied: u64,
    /// Those that protect mode would have stopped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub would_deny: u64,
    /// Alerts raised on it there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alerts: u64,
}

/// The days on which something was seen: exact for the last 64, a count before.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LearnedDays {
    /// Number of the last day (UTC), counted from 1970.
    pub last: u32,
    /// Bit n: seen n days before the last. Hexadecimal, since it has 64 bits and JSON's readers 53.
    #[cfg_attr(
        feature = "crd",
        schemars(with = "String", regex(pattern = "^[0-9a-f]{1,16}$"))
    )]
    #[serde(with = "hexadecimal")]
    pub recent: u64,
    /// How many there were before these.
    #[serde(default, skip_serializing_if = "is_zero_zone")]
    pub older: u32,
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
    /// The most conversations of one object: with all their points they stay below the size that
    /// the API server takes.
    pub const CONVERSATIONS_MAX: usize = 256;
}

impl LearnedConversation {
    /// The most points of a conversation.
    pub const POINTS_MAX: usize = 16;
    /// The most addresses of clients.
    pub const REPLICAS_MAX: usize = 64;

    /// Adds what another writer knows of the same conversation.
    pub fn merge(&mut self, other: &Self) {
        self.first_seen_us = self.first_seen_us.min(other.first_seen_us);
        self.last_seen_us = self.last_seen_us.max(other.last_seen_us);
        self.days.merge(other.days);
        self.client_replicas.extend(&other.client_replicas);
        while self.client_replicas.len() > Self::REPLICAS_MAX {
            self.client_replicas.pop_last();
        }
        self.confidence = self.confidence.max(other.confidence);
        self.from_start |= other.from_start;
        for point in &other.points {
            let place = |known: &LearnedPoint| {
                (known.node.as_str(), known.zone).cmp(&(point.node.as_str(), point.zone))
            };
            match self.points.binary_search_by(place) {
                Ok(index) => self.points[index].merge(point),
                Err(index) => self.points.insert(index, point.clone()),
            }
        }
        self.drop_quietest_points();
    }

    /// Of too many points those that saw least are left out.
    fn drop_quietest_points(&mut self) {
        while self.points.len() > Self::POINTS_MAX {
            let least = |(_, point): &(usize, &LearnedPoint)| (point.bytes, point.connections);
            let quietest = self.points.iter().enumerate().min_by_key(least);
            let Some((index, _)) = quietest else { return };
            self.points.remove(index);
        }
    }
}

impl LearnedPoint {
    fn merge(&mut self, other: &Self) {
        self.connections = self.connections.max(other.connections);
        self.bytes = self.bytes.max(other.bytes);
        self.denied = self.denied.max(other.denied);
        self.would_deny = self.would_deny.max(other.would_deny);
        self.alerts = self.alerts.max(other.alerts);
    }
}

impl LearnedDays {
    /// Every day of the last 64 that either knows. Of older ones the larger count is kept: which of
    /// them both counted cannot be told, and so a merged count is the least that there were.
    pub fn merge(&mut self, other: Self) {
        let last = self.last.max(other.last);
        let moved = |days: Self| days.recent.checked_shl(last - days.last).unwrap_or(0);
        *self = Self {
            last,
            recent: moved(*self) | moved(other),
            older: self.older.max(other.older),
        };
    }

    /// How many days.
    pub fn count(&self) -> u32 {
        self.older.saturating_add(self.recent.count_ones())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero_zone(zone: &u32) -> bool {
    *zone == 0
}

mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(bits: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{bits:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map_err(|_| D::Error::custom("expected 1 to 16 hexadecimal digits"))
    }
}
