//! Leases of nodes: written by the controller that serves a node, read by all.
//!
//! Written when something changed, at most once a second for each node, and once a minute. A node that
//! subscribes elsewhere is told of from there: who served it before leaves its lease alone. Memory: a
//! report for each node of the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use weir_kubernetes::{LeaseTold, NodeLeases, NodeReport, Report, Trouble, Wrote, is_cluster_kind};
use weir_sources::DocumentKey;

use super::TICK;
use super::hits::{Hits, Told};
use super::quarantines::Quarantines;
use crate::state::State;

/// How soon a changed report is written after the last one of the same node.
const CHANGED: Duration = Duration::from_secs(1);
/// How often a report is written that has not changed.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// A report that has not been written for so long is of no use.
pub const OVER: Duration = Duration::from_secs(600);
/// Writes that are on their way at once.
const AT_ONCE: usize = 8;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// What of it is a problem.
const PART: &str = "the leases of nodes";

/// What all controllers tell.
#[derive(Debug, Default)]
pub struct Reports {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By lease.
    reports: BTreeMap<String, Held>,
    /// All leases have been read, or cannot be.
    complete: bool,
}

/// A report as it was read.
#[derive(Clone, Debug)]
pub struct Held {
    /// The controller that wrote it.
    pub holder: String,
    /// What it says.
    pub report: Report,
    /// When it was read here.
    pub seen: Instant,
}

impl Reports {
    /// Whether all have been read, or cannot be.
    pub fn is_complete(&self) -> bool {
        crate::lock(&self.inner).complete
    }

    /// What another controller counted of a node.
    fn others_hits(&self, node: &str, own: &str) -> Option<Hits> {
        let inner = crate::lock(&self.inner);
        inner.reports.values().find_map(|held| match &held.report {
            Report::Node(report) if report.node == node && held.holder != own => {
                Some(report.hits.clone())
            }
            _ => None,
        })
    }

    /// All of them, by lease.
    pub fn all(&self) -> BTreeMap<String, Held> {
        crate::lock(&self.inner).reports.clone()
    }
}

/// How a document is named in a report.
pub fn title(key: &DocumentKey) -> String {
    let kind = key.kind.lower();
    match key.namespace.as_str() {
        "" => format!("{kind} {}", key.name),
        namespace => format!("{kind} {namespace}/{}", key.name),
    }
}

/// The document that a title names.
pub fn document(title: &str) -> Option<DocumentKey> {
    let (kind, full_name) = title.split_once(' ')?;
    let mut kinds = weir_model::Kind::ALL.into_iter();
    let kind = kinds.find(|one| one.lower() == kind)?;
    let (namespace, name) = full_name.split_once('/').unwrap_or(("", full_name));
    Some(DocumentKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Reads what all controllers tell.
pub async fn read(
    state: Arc<State>,
    leases: NodeLeases,
    reports: Arc<Reports>,
    quarantines: Arc<Quarantines>,
) {
    let mut told = leases.watch();
    while let Some(told) = told.recv().await {
        if quarantines.hear(&state, &told).await {
            continue;
        }
        let mut inner = crate::lock(&reports.inner);
        match told {
            LeaseTold::Report {
                lease,
                holder,
                report,
            } => {
                let held = Held {
                    holder,
                    report,
                    seen: Instant::now(),
                };
                inner.reports.insert(lease, held);
            }
            LeaseTold::Gone { lease } => {
                inner.reports.remove(&lease);
            }
            LeaseTold::Complete => inner.complete = true,
            LeaseTold::Condition(problem) => {
                // Who may not read them does without.
                inner.complete |= problem.is_some();
                drop(inner);
                state
                    .cluster
                    .set_problem("reading the leases of nodes", problem);
            }
        }
    }
}

/// What was written of one node last.
struct Written {
    subscription: u64,
    report: Report,
    at: Instant,
    anothers: bool,
}

/// Tells of the nodes that this controller serves.
pub async fn write(state: Arc<State>, leases: NodeLeases, reports: Arc<Reports>, identity: String) {
    let mut written: BTreeMap<String, Written> = BTreeMap::new();
    let mut hits = Told::default();
    loop {
        tokio::time::sleep(TICK).await;
        // Before the nodes are looked at: what they wait for is at least what came until now.
        let Some(documents) = state.cluster.documents() else {
            continue;
        };
        // What others counted goes on here.
        if !reports.is_complete() {
            continue;
        }
        let nodes = subscribed(&state, &mut hits, |node| {
            reports.others_hits(node, &identity)
        });
        let own = Report::Controller { documents };
        let nodes = nodes.into_iter().filter_map(|(name, number, report)| {
            let last = written.get(&name);
            let first = last.is_none_or(|last| last.subscription != number);
            is_due(last, number, &report).then_some((name, number, report, first))
        });
        let nodes: Vec<_> = nodes.collect();
        // The number of the documents comes after what nodes wait for of them.
        let told = send(&leases, nodes, &mut written).await;
        let told = match told {
            Ok(()) if is_due(written.get(&identity), 0, &own) => {
                let own = vec![(identity.clone(), 0, own, true)];
                send(&leases, own, &mut written).await
            }
            told => told,
        };
        let pause = match &told {
            Ok(()) => Duration::ZERO,
            Err(trouble) => trouble.retry_after.unwrap_or(PAUSE),
        };
        let problem = told.err().map(|trouble| trouble.problem);
        state.cluster.set_problem(PART, problem);
        tokio::time::sleep(pause).await;
    }
}

async fn send(
    leases: &NodeLeases,
    reports: Vec<(String, u64, Report, bool)>,
    written: &mut BTreeMap<String, Written>,
) -> Result<(), Trouble> {
    let sends = reports
        .into_iter()
        .map(|(name, subscription, report, takes)| {
            let leases = leases.clone();
            async move {
                let wrote = leases.write(&report, takes).await;
                (name, subscription, report, wrote)
            }
        });
    let mut sends = futures::stream::iter(sends).buffer_unordered(AT_ONCE);
    while let Some((name, subscription, report, wrote)) = sends.next().await {
        let last = Written {
            subscription,
            report,
            at: Instant::now(),
            anothers: wrote? == Wrote::Anothers,
        };
        written.insert(name, last);
    }
    Ok(())
}

fn subscribed(
    state: &State,
    hits: &mut Told,
    others: impl Fn(&str) -> Option<Hits>,
) -> Vec<(String, u64, Report)> {
    let newest = state.version();
    let subscribed = state.nodes.subscribed(newest);
    let told = subscribed.into_iter().map(|(node, number, version)| {
        let (waiting, refusal) = state.pipeline.standings.waiting(&node);
        let waiting = waiting.iter().filter(|key| !is_cluster_kind(key.kind));
        let counted = state.observed.node_hits(&node);
        let mut hits = hits.hits(&node, number, counted, || others(&node));
        hits.retain(|title, _| {
            let key = document(title);
            key.is_some_and(|key| state.pipeline.standings.has(&key))
        });
        let report = NodeReport {
            node: node.clone(),
            version,
            waiting: waiting.map(title).collect(),
            more: false,
            refusal,
            hits,
        };
        (node, number, Report::Node(report.bounded()))
    });
    told.collect()
}

fn is_due(last: Option<&Written>, subscription: u64, report: &Report) -> bool {
    let Some(last) = last else { return true };
    if last.subscription != subscription {
        return true;
    }
    if last.anothers {
        return false;
    }
    let pause = match is_same(&last.report, report) {
        true => HEARTBEAT,
        false => CHANGED,
    };
    last.at.elapsed() >= pause
}

/// Versions come with every pod, and counts with every connection: they are told with the next report.
fn is_same(one: &Report, other: &Report) -> bool {
    match (one, other) {
        (Report::Node(one), Report::Node(other)) => {
            NodeReport {
                version: other.version,
                hits: other.hits.clone(),
                ..one.clone()
            } == *other
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(version: u64, waiting: &[&str]) -> Report {
        Report::Node(NodeReport {
            node: "node-1".into(),
            version,
            waiting: waiting.iter().map(|&it| it.to_owned()).collect(),
            ..NodeReport::default()
        })
    }

    #[test]
    fn a_report_is_written_when_something_changed_and_not_for_every_version() {
        let last = |age: Duration, anothers| Written {
            subscription: 3,
            report: report(7, &[]),
            at: Instant::now().checked_sub(age).unwrap(),
            anothers,
        };
        let (soon, later) = (Duration::from_millis(10), Duration::from_secs(2));
        let changed = report(8, &["allowlist shop/db"]);
        assert!(is_due(None, 3, &changed));
        assert!(!is_due(Some(&last(soon, false)), 3, &changed));
        assert!(is_due(Some(&last(later, false)), 3, &changed));
        assert!(!is_due(Some(&last(later, false)), 3, &report(9, &[])));
        assert!(is_due(Some(&last(HEARTBEAT, false)), 3, &report(9, &[])));
        // Served elsewhere now, until it subscribes here once more.
        assert!(!is_due(Some(&last(HEARTBEAT, true)), 3, &changed));
        assert!(is_due(Some(&last(soon, true)), 4, &changed));
    }

    #[test]
    fn a_title_names_its_document() {
        for text in ["allowlist shop/db", "settings weir", "clusterallowlist all"] {
            assert_eq!(title(&document(text).unwrap()), text);
        }
        assert!(document("nothing shop/db").is_none() && document("allowlist").is_none());
    }
}
