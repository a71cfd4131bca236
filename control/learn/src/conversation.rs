//! A conversation and the evidence for it.
//!
//! Memory bound: [`POINTS_MAX`] points and [`REPLICAS_MAX`] addresses for each conversation.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Days;

/// Points of observation that are counted apart.
pub const POINTS_MAX: usize = 16;
/// Client addresses that are told apart.
pub const REPLICAS_MAX: usize = 64;

/// How sure the application's name is, best answer so far.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Not recognised.
    #[default]
    None,
    /// By the port, and bytes that do not contradict it.
    Port,
    /// By the content.
    Content,
}

/// What one record of a node adds to a conversation. The counts are what is new, not totals.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The node.
    pub node: String,
    /// Zone of the port it was seen at: one flow may pass several.
    pub zone: u32,
    /// When, microseconds since 1970.
    pub time_unix_us: u64,
    /// Which replica of the client.
    pub client_address: IpAddr,
    /// New connections.
    pub connections: u64,
    /// Further bytes, both directions.
    pub bytes: u64,
    /// Connections or requests that were stopped.
    pub denied: u64,
    /// Those that protect mode would have stopped.
    pub would_deny: u64,
    /// Alerts raised on it: threats, signatures, sensors.
    pub alerts: u64,
    /// How sure the application's name is.
    pub confidence: Confidence,
    /// Whether the flow was seen from its first packet.
    pub from_start: bool,
}

/// What one point (a node, and a zone of it) counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PointCounts {
    /// The node.
    pub node: String,
    /// The zone.
    pub zone: u32,
    /// Connections seen there.
    pub connections: u64,
    /// Bytes seen there.
    pub bytes: u64,
    /// Denials there.
    pub denied: u64,
    /// Denials there that the mode let pass.
    pub would_deny: u64,
}

/// The evidence for a conversation. A flow that passes several points is reported by each, so the
/// counts are those of the point that saw most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// Connections that were made.
    pub connections: u64,
    /// Bytes, both directions.
    pub bytes: u64,
    /// Connections or requests that were stopped.
    pub denied: u64,
    /// Those that protect mode would have stopped.
    pub would_deny: u64,
    /// Alerts raised on it, at whichever point.
    pub alerts: u64,
    /// When it was seen first, microseconds since 1970.
    pub first_seen_us: u64,
    /// When it was seen last.
    pub last_seen_us: u64,
    /// On which days.
    pub days: Days,
    /// Distinct client addresses, up to [`REPLICAS_MAX`].
    pub client_replicas: BTreeSet<IpAddr>,
    /// What each point counted, up to [`POINTS_MAX`] points.
    pub points: Vec<PointCounts>,
    /// How sure the application's name is, at best.
    pub confidence: Confidence,
    /// Whether any of its connections was seen from its first packet.
    pub from_start: bool,
}

impl Conversation {
    /// Adds what was observed.
    pub fn merge(&mut self, seen: &Observation) {
        let time = seen.time_unix_us;
        self.first_seen_us = if self.days.count() == 0 {
            time
        } else {
            self.first_seen_us.min(time)
        };
        self.last_seen_us = self.last_seen_us.max(time);
        self.days.insert(time);
        if self.client_replicas.len() < REPLICAS_MAX {
            self.client_replicas.insert(seen.client_address);
        }
        self.confidence = self.confidence.max(seen.confidence);
        self.from_start |= seen.from_start;
        self.alerts = self.alerts.saturating_add(seen.alerts);
        let Some(point) = self.point(&seen.node, seen.zone) else {
            return;
        };
        point.connections = point.connections.saturating_add(seen.connections);
        point.bytes = point.bytes.saturating_add(seen.bytes);
        point.denied = point.denied.saturating_add(seen.denied);
        point.would_deny = point.would_deny.saturating_add(seen.would_deny);
        let PointCounts {
            connections,
            bytes,
            denied,
            would_deny,
            ..
        } = *point;
        self.connections = self.connections.max(connections);
        self.bytes = self.bytes.max(bytes);
        self.denied = self.denied.max(denied);
        self.would_deny = self.would_deny.max(would_deny);
    }

    /// The counts of a point. Where there are too many, a new one takes the place of the one that
    /// saw least: a busy point is soon among the counted again.
    fn point(&mut self, node: &str, zone: u32) -> Option<&mut PointCounts> {
        let known = self
            .points
            .iter()
            .position(|point| point.zone == zone && point.node == node);
        let place = known.unwrap_or_else(|| {
            let new = PointCounts {
                node: node.to_owned(),
                zone,
                ..PointCounts::default()
            };
            let least = (0..self.points.len()).min_by_key(|&place| self.points[place].connections);
            match least.filter(|_| self.points.len() >= POINTS_MAX) {
                Some(place) => {
                    self.points[place] = new;
                    place
                }
                None => {
                    self.points.push(new);
                    self.points.len() - 1
                }
            }
        });
        self.points.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: &str, zone: u32) -> Observation {
        Observation {
            node: node.into(),
            zone,
            time_unix_us: 1_000_000,
            client_address: IpAddr::from([10, 0, 0, 1]),
            connections: 1,
            bytes: 100,
            denied: 0,
            would_deny: 1,
            alerts: 0,
            confidence: Confidence::Content,
            from_start: true,
        }
    }

    #[test]
    fn a_flow_seen_at_two_points_counts_once() {
        let mut conversation = Conversation::default();
        for _ in 0..5 {
            conversation.merge(&seen("node-1", 0));
            conversation.merge(&seen("node-1", 1));
            conversation.merge(&seen("node-2", 0));
        }
        conversation.merge(&seen("node-1", 1));
        assert_eq!(
            (
                conversation.connections,
                conversation.bytes,
                conversation.would_deny
            ),
            (6, 600, 6)
        );
        assert_eq!(
            (
                conversation.client_replicas.len(),
                conversation.days.count()
            ),
            (1, 1)
        );
    }

    #[test]
    fn memory_is_bounded_and_counts_never_fall() {
        let mut conversation = Conversation::default();
        let mut before = 0;
        for round in 0..1000u32 {
            let address = IpAddr::from(round.to_be_bytes());
            let node = format!("node-{}", round % 100);
            conversation.merge(&Observation {
                client_address: address,
                connections: 3,
                ..seen(&node, 0)
            });
            assert!(conversation.connections >= before);
            before = conversation.connections;
        }
        assert_eq!(conversation.points.len(), POINTS_MAX);
        assert_eq!(conversation.client_replicas.len(), REPLICAS_MAX);
        assert!(conversation.connections >= 3);
    }

    #[test]
    fn times_may_come_in_any_order() {
        let mut conversation = Conversation::default();
        for time_unix_us in [50, 20, 90] {
            conversation.merge(&Observation {
                time_unix_us,
                ..seen("node-1", 0)
            });
        }
        assert_eq!(
            (conversation.first_seen_us, conversation.last_seen_us),
            (20, 90)
        );
    }

    #[test]
    fn evidence_survives_the_store() {
        let mut conversation = Conversation::default();
        conversation.merge(&seen("node-1", 3));
        let text = serde_json::to_string(&conversation).unwrap();
        assert_eq!(
            serde_json::from_str::<Conversation>(&text).unwrap(),
            conversation
        );
        assert_eq!(
            serde_json::from_str::<Conversation>("{}").unwrap(),
            Conversation::default()
        );
    }
}
