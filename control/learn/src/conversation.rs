//! A conversation and the evidence for it.
//!
//! [`Conversation::merge`] adds what a node saw; [`Conversation::join`] adds what another controller
//! knows: in any order, repeated or not, the same parts come to the same whole.
//!
//! Memory bound, for each conversation: [`POINTS_MAX`] points, [`REPLICAS_MAX`](crate::REPLICAS_MAX)
//! addresses, [`ACTIVITY_DAYS_MAX`](crate::ACTIVITY_DAYS_MAX) days, [`NAMES_MAX`] names of the server and
//! of alerts: some 600 bytes for one of three replicas seen on five days, at most 8 KiB.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Activity, Days, Replicas};

/// Points of observation that are counted apart.
pub const POINTS_MAX: usize = 16;
/// Names that are kept: of a server, of alerts.
pub const NAMES_MAX: usize = 8;

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
    /// Connections that ended without an answer of the server.
    pub unanswered: u64,
    /// Further bytes, both directions.
    pub bytes: u64,
    /// Further bytes from the client to the server.
    pub bytes_sent: u64,
    /// Connections or requests that were stopped.
    pub denied: u64,
    /// Those that protect mode would have stopped.
    pub would_deny: u64,
    /// Names of alerts raised on it: threats, signatures, sensors; one for each.
    pub alerts: Vec<String>,
    /// The name that led the client to the server's address, where a DNS answer was seen shortly before.
    pub resolved: Option<String>,
    /// How sure the application's name is.
    pub confidence: Confidence,
    /// Whether the flow was seen from its first packet.
    pub from_start: bool,
}

/// What one point (a node, and a zone of it) counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct PointCounts {
    /// Connections seen there.
    pub connections: u64,
    /// The node.
    pub node: String,
    /// The zone.
    pub zone: u32,
    /// Bytes seen there.
    pub bytes: u64,
    /// Of these, from the client to the server.
    pub bytes_sent: u64,
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
    /// Connections that ended without an answer.
    pub unanswered: u64,
    /// Bytes, both directions.
    pub bytes: u64,
    /// Bytes from the client to the server.
    pub bytes_sent: u64,
    /// Connections or requests that were stopped.
    pub denied: u64,
    /// Those that protect mode would have stopped.
    pub would_deny: u64,
    /// Alerts raised on it, at whichever point.
    pub alerts: u64,
    /// How many of each name, of up to [`NAMES_MAX`] names.
    pub alert_names: BTreeMap<String, u64>,
    /// When the first alert was raised; 0 where there was none.
    pub first_alert_us: u64,
    /// When the last one was.
    pub last_alert_us: u64,
    /// When it was seen first, microseconds since 1970.
    pub first_seen_us: u64,
    /// When it was seen last.
    pub last_seen_us: u64,
    /// On which days.
    pub days: Days,
    /// How much of it on each of the last days.
    pub activity: Activity,
    /// Distinct client addresses with their days.
    pub client_replicas: Replicas,
    /// What each point counted, up to [`POINTS_MAX`] points.
    pub points: Vec<PointCounts>,
    /// Connections to an address that a DNS answer had named to the client shortly before.
    pub resolved: u64,
    /// By which names, up to [`NAMES_MAX`].
    pub names: BTreeSet<String>,
    /// How sure the application's name is, at best.
    pub confidence: Confidence,
    /// Whether any of its connections was seen from its first packet.
    pub from_start: bool,
}

impl Conversation {
    /// Adds what was observed.
    pub fn merge(&mut self, seen: &Observation) {
        let time = seen.time_unix_us;
        self.first_seen_us = match self.days.is_empty() {
            true => time,
            false => self.first_seen_us.min(time),
        };
        self.last_seen_us = self.last_seen_us.max(time);
        self.days.insert(time);
        self.client_replicas.insert(seen.client_address, time);
        self.confidence = self.confidence.max(seen.confidence);
        self.from_start |= seen.from_start;
        self.unanswered = self.unanswered.saturating_add(seen.unanswered);
        self.merge_alerts(seen);
        if let Some(name) = &seen.resolved {
            self.resolved = self.resolved.saturating_add(seen.connections);
            self.names.insert(name.clone());
            self.bound_names();
        }
        self.merge_counts(seen);
    }

    fn merge_alerts(&mut self, seen: &Observation) {
        let time = seen.time_unix_us;
        for name in &seen.alerts {
            self.alerts = self.alerts.saturating_add(1);
            *self.alert_names.entry(name.clone()).or_default() += 1;
            self.first_alert_us = match self.first_alert_us {
                0 => time,
                first => first.min(time),
            };
            self.last_alert_us = self.last_alert_us.max(time);
        }
        self.bound_names();
    }

    /// What the point counts more than any point did before is what the day gets.
    fn merge_counts(&mut self, seen: &Observation) {
        let Some(point) = self.point(&seen.node, seen.zone) else {
            return;
        };
        point.connections = point.connections.saturating_add(seen.connections);
        point.bytes = point.bytes.saturating_add(seen.bytes);
        point.bytes_sent = point.bytes_sent.saturating_add(seen.bytes_sent);
        point.denied = point.denied.saturating_add(seen.denied);
        point.would_deny = point.would_deny.saturating_add(seen.would_deny);
        let point = point.clone();
        let raise = |count: &mut u64, most: u64| {
            let more = most.saturating_sub(*count);
            *count += more;
            more
        };
        raise(&mut self.bytes, point.bytes);
        raise(&mut self.bytes_sent, point.bytes_sent);
        let connections = raise(&mut self.connections, point.connections);
        let denied = raise(&mut self.denied, point.denied);
        let would_deny = raise(&mut self.would_deny, point.would_deny);
        self.activity
            .add(seen.time_unix_us, connections, denied, would_deny);
    }

    /// Adds what another controller, or an earlier state of this one, knows of the same conversation.
    pub fn join(&mut self, other: &Self) {
        if self.days.is_empty() || other.days.is_empty() {
            if self.days.is_empty() {
                self.clone_from(other);
            }
            return self.join_points(&[]);
        }
        self.first_seen_us = self.first_seen_us.min(other.first_seen_us);
        self.first_alert_us = match (self.first_alert_us, other.first_alert_us) {
            (0, first) | (first, 0) => first,
            (one, first) => one.min(first),
        };
        for (own, its) in [
            (&mut self.last_seen_us, other.last_seen_us),
            (&mut self.last_alert_us, other.last_alert_us),
            (&mut self.connections, other.connections),
            (&mut self.unanswered, other.unanswered),
            (&mut self.bytes, other.bytes),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.denied, other.denied),
            (&mut self.would_deny, other.would_deny),
            (&mut self.alerts, other.alerts),
            (&mut self.resolved, other.resolved),
        ] {
            *own = (*own).max(its);
        }
        self.days.join(&other.days);
        self.activity.join(&other.activity);
        self.client_replicas.join(&other.client_replicas);
        self.confidence = self.confidence.max(other.confidence);
        self.from_start |= other.from_start;
        self.names.extend(other.names.iter().cloned());
        for (name, count) in &other.alert_names {
            let own = self.alert_names.entry(name.clone()).or_default();
            *own = (*own).max(*count);
        }
        self.bound_names();
        self.join_points(&other.points);
    }

    /// With no more of anything than is kept, whoever made it up.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        let points = std::mem::take(&mut self.points);
        self.join_points(&points);
        self.bound_names();
        self
    }

    /// Of a point that both have, the state that counted more stays, whole: the other is an earlier
    /// one. Of too many points, those that saw most stay.
    fn join_points(&mut self, others: &[PointCounts]) {
        for other in others {
            let same =
                |point: &&mut PointCounts| point.zone == other.zone && point.node == other.node;
            match self.points.iter_mut().find(same) {
                Some(point) if *point < *other => point.clone_from(other),
                Some(_) => {}
                None => self.points.push(other.clone()),
            }
        }
        self.points.sort_unstable_by(|one, other| other.cmp(one));
        self.points.truncate(POINTS_MAX);
    }

    /// Those first in the alphabet stay: which they are does not depend on the order.
    fn bound_names(&mut self) {
        while self.names.len() > NAMES_MAX {
            self.names.pop_last();
        }
        while self.alert_names.len() > NAMES_MAX {
            self.alert_names.pop_last();
        }
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
    use crate::REPLICAS_MAX;

    fn seen(node: &str, zone: u32) -> Observation {
        Observation {
            node: node.into(),
            zone,
            time_unix_us: 1_000_000,
            client_address: IpAddr::from([10, 0, 0, 1]),
            connections: 1,
            unanswered: 0,
            bytes: 100,
            bytes_sent: 40,
            denied: 0,
            would_deny: 1,
            alerts: Vec::new(),
            resolved: None,
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
        let today = conversation.activity.since(0);
        assert_eq!((today.connections, today.would_deny), (6, 6));
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
                time_unix_us: u64::from(round) * 50_000_000_000,
                alerts: vec![format!("alert-{round}")],
                resolved: Some(format!("{round}.example.com")),
                ..seen(&node, 0)
            });
            assert!(conversation.connections >= before);
            before = conversation.connections;
        }
        assert_eq!(conversation.points.len(), POINTS_MAX);
        assert_eq!(conversation.client_replicas.len(), REPLICAS_MAX);
        assert_eq!(conversation.names.len(), NAMES_MAX);
        assert_eq!(conversation.alert_names.len(), NAMES_MAX);
        assert_eq!(conversation.alerts, 1000);
        assert!(conversation.connections >= 3);
        let bytes = serde_json::to_string(&conversation).unwrap().len();
        assert!(bytes < 8192, "{bytes}");
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

    #[test]
    fn rows_of_earlier_versions_are_read() {
        let old = r#"{"connections":7,"bytes":9,"denied":0,"would_deny":2,"alerts":1,
            "first_seen_us":5,"last_seen_us":6,"days":{"last":3,"recent":9,"older":0},
            "client_replicas":["10.0.0.1","fd00::1"],
            "points":[{"node":"n","zone":1,"connections":7,"bytes":9,"denied":0,"would_deny":2}],
            "confidence":"content","from_start":true}"#;
        let conversation: Conversation = serde_json::from_str(old).unwrap();
        assert_eq!(conversation.connections, 7);
        assert_eq!(conversation.client_replicas.len(), 2);
        assert_eq!(conversation.days.count(), 2);
        assert_eq!(conversation.points[0].zone, 1);
    }
}
