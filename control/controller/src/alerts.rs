//! The most recent alerts of all nodes, for looking at and for following.
//!
//! Trusts records that [`v1::FlowRecord::raised`] took; distrusts how many there are, and that a node
//! tells each of them once. Memory bound: [`ALERTS_MAX`] records, shared with [`crate::flows::Recent`].

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use prost::Message;
use tokio::sync::broadcast;
use weir_api::v1;

use crate::flows::names;

/// Alerts kept.
pub const ALERTS_MAX: usize = 10_000;
/// Alerts that wait for someone who follows them.
const FOLLOW_MAX: usize = 1_024;

/// A ring of alerts, oldest first.
#[derive(Debug)]
pub struct Alerts {
    max: usize,
    views: VecDeque<(u64, Arc<v1::FlowView>)>,
    /// The marks of those in the ring: a node repeats a batch that was not acknowledged.
    marks: HashSet<u64>,
    marking: RandomState,
    counts: v1::AlertCounts,
    live: broadcast::Sender<Arc<v1::FlowView>>,
}

/// Which alerts someone wants to see.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    threat: String,
    workload: String,
    since_unix_us: u64,
}

impl Default for Alerts {
    fn default() -> Self {
        Self::with_max(ALERTS_MAX)
    }
}

impl Alerts {
    /// None yet, and at most this many.
    pub fn with_max(max: usize) -> Self {
        Self {
            max,
            views: VecDeque::new(),
            marks: HashSet::new(),
            marking: RandomState::new(),
            counts: v1::AlertCounts::default(),
            live: broadcast::Sender::new(FOLLOW_MAX),
        }
    }

    /// Adds the newest alert; false where it is known already.
    pub fn push(&mut self, view: Arc<v1::FlowView>) -> bool {
        // Equal records have equal bytes.
        let record = view.record.as_ref().map(Message::encode_to_vec);
        let mark = self.marking.hash_one((&view.node, record));
        if !self.marks.insert(mark) {
            return false;
        }
        if self.views.len() >= self.max
            && let Some((oldest, _)) = self.views.pop_front()
        {
            self.marks.remove(&oldest);
            self.counts.forgotten += 1;
        }
        self.views.push_back((mark, view.clone()));
        self.counts.raised += 1;
        // Nobody following is no error.
        let _ = self.live.send(view);
        true
    }

    /// Counts a record that is no alert although it says so.
    pub fn refuse(&mut self) {
        self.counts.refused += 1;
    }

    /// What came since the start, and what became of it.
    pub fn counts(&self) -> v1::AlertCounts {
        self.counts
    }

    /// The newest `limit` alerts that match, oldest first.
    pub fn newest(&self, filter: &AlertFilter, limit: usize) -> Vec<Arc<v1::FlowView>> {
        let views = self.views.iter().rev().map(|(_, view)| view);
        let matching = views.filter(|view| filter.matches(view));
        let mut newest: Vec<_> = matching.take(limit).cloned().collect();
        newest.reverse();
        newest
    }

    /// Every alert from now on.
    pub fn live(&self) -> broadcast::Receiver<Arc<v1::FlowView>> {
        self.live.subscribe()
    }
}

impl AlertFilter {
    /// The filter of a request.
    pub fn of(request: &v1::AlertsRequest) -> Self {
        Self {
            threat: request.threat.clone(),
            workload: request.workload.clone(),
            since_unix_us: request.since_unix_us,
        }
    }

    /// Whether an alert is wanted.
    pub fn matches(&self, view: &v1::FlowView) -> bool {
        let Some(record) = &view.record else {
            return false;
        };
        let is = |alert: &v1::Alert| {
            names(&self.threat, &alert.name) || self.threat.parse() == Ok(alert.id)
        };
        record.time_unix_us >= self.since_unix_us
            && (self.threat.is_empty() || record.alert.as_ref().is_some_and(is))
            && (self.workload.is_empty()
                || names(&self.workload, &view.client)
                || names(&self.workload, &view.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(time_unix_us: u64) -> Arc<v1::FlowView> {
        let alert = v1::Alert {
            id: 1146,
            name: "log4shell".into(),
            ..Default::default()
        };
        let record = v1::FlowRecord {
            time_unix_us,
            alert: Some(alert),
            ..Default::default()
        };
        Arc::new(v1::FlowView {
            record: Some(record),
            node: "node-1".into(),
            server: "shop/photo-db".into(),
            ..Default::default()
        })
    }

    #[test]
    fn the_ring_is_bounded_and_counts_what_it_forgets() {
        let mut alerts = Alerts::with_max(10);
        for time in 0..25 {
            assert!(alerts.push(view(time)));
        }
        assert!(!alerts.push(view(24)), "told again");
        let counts = alerts.counts();
        assert_eq!((counts.raised, counts.forgotten), (25, 15));
        let kept = alerts.newest(&AlertFilter::default(), usize::MAX);
        assert_eq!(kept, (15..25).map(view).collect::<Vec<_>>());
        assert_eq!((alerts.views.len(), alerts.marks.len()), (10, 10));
    }

    #[test]
    fn alerts_are_chosen_by_name_number_end_and_time() {
        let of = |threat: &str, workload: &str, since_unix_us| AlertFilter {
            threat: threat.into(),
            workload: workload.into(),
            since_unix_us,
        };
        for wanted in [
            of("log4shell", "", 0),
            of("1146", "photo-db", 0),
            of("", "shop/photo-db", 7),
        ] {
            assert!(wanted.matches(&view(7)), "{wanted:?}");
        }
        for other in [
            of("log4", "", 0),
            of("114", "", 0),
            of("", "db", 0),
            of("", "", 8),
        ] {
            assert!(!other.matches(&view(7)), "{other:?}");
        }
    }
}
