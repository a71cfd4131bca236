//! The leader's work: what became of each object goes into its status.
//!
//! Of nodes that other controllers serve, or a controller that is gone served, it believes what their
//! leases say, as far as those controllers had the same documents. Bounded: so many statuses a second,
//! one a second of each object, and only what differs from what the object has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tracing::info;
use weir_kubernetes::{
    Counts, KubernetesSource, Leadership, NodeLeases, NodeReport, Report, Statuses, Write,
    is_cluster_kind, is_object_kind,
};
use weir_model::{DraftStatus, Kind};
use weir_sources::DocumentKey;

use super::TICK;
use super::hits::Sums;
use super::reports::{Held, OVER, Reports, document, title};
use crate::pipeline::{Changes, compile_key};
use crate::source::Source;
use crate::state::State;
use crate::view::Published;

/// Statuses that are written at a time, and how often.
const TOGETHER: usize = 50;
/// Writes that are on their way at once.
const AT_ONCE: usize = 8;
/// How soon the status of an object is written again.
const AGAIN: Duration = Duration::from_secs(1);
/// Kinds with targets, or rules that decide.
const COUNTED: [Kind; 5] = [
    Kind::Allowlist,
    Kind::ClusterAllowlist,
    Kind::Mode,
    Kind::Sensor,
    Kind::ThreatPolicy,
];
/// How soon hits and targets are looked at again, and what drafts would do.
const COUNT: Duration = Duration::from_secs(30);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How often is looked for nodes that are gone.
const SWEEP: Duration = Duration::from_secs(30);
/// How soon after this one began to lead what stands in the objects is read once more, and how often from
/// then on: what another sent who thought that he leads can arrive later, and people can write there too.
const READ_SOON: Duration = Duration::from_secs(20);
const READ_AGAIN: Duration = Duration::from_secs(300);
/// What of it is a problem.
const PART: &str = "the conditions of objects";

/// Writes statuses whenever this controller leads.
pub async fn write(
    state: Arc<State>,
    leases: NodeLeases,
    reports: Arc<Reports>,
    leadership: Arc<Leadership>,
) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let mut changes = leadership.changes();
    while changes.wait_for(|leads| *leads).await.is_ok() {
        let mut term = Term {
            state: &state,
            source,
            leases: &leases,
            reports: &reports,
            leadership: &leadership,
            statuses: Statuses::new(source.client(), source.timeout()),
            others: BTreeSet::new(),
            queue: BTreeSet::new(),
            written: HashMap::new(),
            drafts: Drafts::default(),
            hits: Sums::default(),
            counted: None,
            counts: HashMap::new(),
        };
        term.lead().await;
        term.end();
        tokio::time::sleep(TICK).await;
    }
}

/// The time for which this controller leads.
struct Term<'a> {
    state: &'a Arc<State>,
    source: &'a KubernetesSource,
    leases: &'a NodeLeases,
    reports: &'a Reports,
    leadership: &'a Leadership,
    statuses: Statuses,
    /// Nodes that others serve.
    others: BTreeSet<String>,
    /// Objects whose status is to be looked at.
    queue: BTreeSet<DocumentKey>,
    /// When statuses were written, of those that were just now.
    written: HashMap<DocumentKey, Instant>,
    drafts: Drafts,
    hits: Sums,
    /// When hits and targets were looked at, and what they were.
    counted: Option<Instant>,
    counts: HashMap<DocumentKey, (Option<u32>, Option<u64>)>,
}

/// What drafts would do.
#[derive(Default)]
struct Drafts {
    of: Option<Arc<Published>>,
    counted: Option<Instant>,
    counts: HashMap<String, DraftStatus>,
}

impl Term<'_> {
    async fn lead(&mut self) {
        // Before everything is known, what was written before is true.
        while self.state.cluster.documents().is_none() || !self.reports.is_complete() {
            if !self.leadership.leads() {
                return;
            }
            tokio::time::sleep(TICK).await;
        }
        while let Err(trouble) = self.statuses.read().await {
            self.state.cluster.set_problem(PART, Some(trouble.problem));
            tokio::time::sleep(trouble.retry_after.unwrap_or(PAUSE)).await;
            if !self.leadership.leads() {
                return;
            }
        }
        let state = self.state;
        let mut changes = state.pipeline.standings.follow();
        let mut swept = Instant::now();
        let mut read_again = Instant::now() + READ_SOON;
        info!("writes the conditions of objects");
        while self.leadership.leads() {
            self.hear_others();
            self.count_drafts();
            self.count();
            self.gather(&mut changes).await;
            let pause = self.write_some().await;
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep().await;
            }
            if Instant::now() >= read_again {
                let read = self.statuses.read().await.is_ok();
                let pause = match read {
                    true => READ_AGAIN,
                    false => READ_SOON,
                };
                read_again = Instant::now() + pause;
                if read {
                    changes = state.pipeline.standings.follow();
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn end(&mut self) {
        for node in std::mem::take(&mut self.others) {
            self.state.pipeline.unsubscribe(&node, false);
        }
        self.state.cluster.set_problem(PART, None);
    }

    /// Takes over what other controllers tell of their nodes.
    fn hear_others(&mut self) {
        let pipeline = &self.state.pipeline;
        let before = self.state.cluster.documents();
        let version = pipeline.version();
        // Nothing was on its way to nodes while the version was looked at.
        let Some(documents) =
            before.filter(|it| self.state.cluster.documents().as_ref() == Some(it))
        else {
            return;
        };
        let reports = self.reports.all();
        let subscribed = self.state.nodes.subscribed(version);
        let own: BTreeSet<String> = subscribed.into_iter().map(|(name, ..)| name).collect();
        let nodes = by_node(&reports);
        let gone = self.others.iter();
        let gone = gone.filter(|node| own.contains(*node) || !nodes.contains_key(node.as_str()));
        for node in gone.cloned().collect::<Vec<_>>() {
            self.others.remove(&node);
            pipeline.unsubscribe(&node, false);
            if !own.contains(&node) {
                pipeline.forget(&node);
            }
        }
        for (node, (holder, report)) in nodes {
            if own.contains(node) {
                continue;
            }
            if self.others.insert(node.to_owned()) {
                pipeline.subscribe(node, false);
            }
            if report.more || documents_of(&reports, holder) != Some(&documents) {
                continue;
            }
            let waiting = report.waiting.iter().filter_map(|it| document(it));
            let waiting: BTreeSet<DocumentKey> = waiting.collect();
            let standings = &pipeline.standings;
            standings.told(node, version, &waiting, &report.refusal);
        }
    }

    /// Waits a moment for what changes.
    async fn gather(&mut self, changes: &mut Changes) {
        let standings = &self.state.pipeline.standings;
        let changed = tokio::time::timeout(TICK, changes.next(standings)).await;
        let changed = changed.unwrap_or_default();
        for (key, standing) in changed {
            match standing {
                Some(_) => {
                    self.queue.insert(key);
                }
                None => {
                    self.queue.remove(&key);
                    self.statuses.forget(&key);
                    self.hits.forget(&title(&key));
                }
            }
        }
    }

    /// Writes what is due; returns after which pause to go on.
    async fn write_some(&mut self) -> Duration {
        // While a document is on its way, its newest state is known and not yet who waits for it.
        let Some(documents) = self.state.cluster.documents() else {
            return Duration::ZERO;
        };
        self.written.retain(|_, at| at.elapsed() < AGAIN);
        let due = self.queue.iter();
        let due = due.filter(|key| !self.written.contains_key(*key));
        let due: Vec<DocumentKey> = due.cloned().collect();
        let mut writes = Vec::new();
        for key in due {
            if writes.len() >= TOGETHER {
                break;
            }
            self.queue.remove(&key);
            if let Some(write) = self.status(&key) {
                writes.push((key, write));
            }
        }
        if self.state.cluster.documents() != Some(documents) {
            self.queue.extend(writes.into_iter().map(|(key, _)| key));
            return Duration::ZERO;
        }
        let (statuses, leadership) = (&self.statuses, self.leadership);
        let sends = writes.into_iter().map(|(key, write)| {
            let send = statuses.send(&write);
            async move {
                match leadership.leads() {
                    true => (key, write, Some(send.await)),
                    false => (key, write, None),
                }
            }
        });
        let sends = futures::stream::iter(sends).buffer_unordered(AT_ONCE);
        let sent: Vec<_> = sends.collect().await;
        let mut pause = Duration::ZERO;
        let mut problem = None;
        for (key, write, sent) in sent {
            match sent {
                Some(Ok(true)) => {
                    self.statuses.written(write);
                    self.written.insert(key, Instant::now());
                }
                Some(Ok(false)) => self.statuses.forget(&key),
                Some(Err(trouble)) => {
                    pause = pause.max(trouble.retry_after.unwrap_or(PAUSE));
                    problem = Some(trouble.problem);
                    self.queue.insert(key);
                }
                None => {}
            }
        }
        self.state.cluster.set_problem(PART, problem);
        pause
    }

    fn status(&self, key: &DocumentKey) -> Option<Write> {
        if !is_object_kind(key.kind) || is_cluster_kind(key.kind) && self.source.is_of_cluster(key)
        {
            return None;
        }
        let standings = &self.state.pipeline.standings;
        let standing = standings.of(key)?;
        let counts = Counts {
            rules: Some(standings.items(key)),
            targets: self.state.pipeline.targets(&compile_key(key)),
            hits: self.hits(key),
            draft: self.drafts.counts.get(&title(key)).copied(),
        };
        self.statuses.write(key, &standing, &counts)
    }

    fn hits(&self, key: &DocumentKey) -> Option<u64> {
        let known = self.hits.of(&title(key));
        let known = known.or_else(|| self.statuses.hits(key));
        let decides = matches!(key.kind, Kind::Allowlist | Kind::ClusterAllowlist);
        known.or(decides.then_some(0))
    }

    fn count_drafts(&mut self) {
        let policy = self.state.policy_of_late();
        let same = (self.drafts.of.as_ref()).is_some_and(|of| Arc::ptr_eq(of, &policy));
        let fresh = self.drafts.counted.is_some_and(|at| at.elapsed() < COUNT);
        if same && fresh {
            return;
        }
        let counts = self.state.observed.drafts(&policy.documents);
        let counts = counts.into_iter().map(|(title, counts)| {
            let counts = DraftStatus {
                would_allow: counts.would_allow,
                would_deny: counts.would_deny,
            };
            (title, counts)
        });
        let counts: HashMap<String, DraftStatus> = counts.collect();
        let titles: BTreeSet<&String> = counts.keys().chain(self.drafts.counts.keys()).collect();
        let changed = titles.into_iter();
        let changed = changed.filter(|it| counts.get(*it) != self.drafts.counts.get(*it));
        self.queue.extend(changed.filter_map(|it| document(it)));
        self.drafts = Drafts {
            of: Some(policy),
            counted: Some(Instant::now()),
            counts,
        };
    }

    /// Looks for documents whose targets or hits have changed.
    fn count(&mut self) {
        if self.counted.is_some_and(|at| at.elapsed() < COUNT) {
            return;
        }
        self.counted = Some(Instant::now());
        let reports = self.reports.all();
        let nodes = by_node(&reports).into_values().map(|(_, report)| report);
        let statuses = &self.statuses;
        let stored = |title: &str| document(title).and_then(|key| statuses.hits(&key));
        self.hits.take(nodes, stored);
        let pipeline = &self.state.pipeline;
        let mut counts = HashMap::new();
        for located in COUNTED
            .into_iter()
            .flat_map(|kind| pipeline.documents_of(kind))
        {
            let key = DocumentKey::of(&located.value);
            let targets = pipeline.targets(&compile_key(&key));
            let count = (targets, self.hits.of(&title(&key)));
            if self.counts.get(&key) != Some(&count) {
                self.queue.insert(key.clone());
            }
            counts.insert(key, count);
        }
        self.counts = counts;
    }

    /// Removes the leases that nobody writes any more.
    async fn sweep(&self) {
        for (lease, held) in self.reports.all() {
            if held.seen.elapsed() < OVER || !self.leadership.leads() {
                continue;
            }
            // It is tried again with the next round.
            let _ = self.leases.remove(&lease).await;
        }
    }
}

fn by_node(reports: &BTreeMap<String, Held>) -> BTreeMap<&str, (&str, &NodeReport)> {
    let nodes = reports.values().filter_map(|held| match &held.report {
        Report::Node(report) => Some((report.node.as_str(), (held.holder.as_str(), report))),
        Report::Controller { .. } | Report::Quarantine(_) => None,
    });
    nodes.collect()
}

fn documents_of<'a>(reports: &'a BTreeMap<String, Held>, holder: &str) -> Option<&'a String> {
    reports.values().find_map(|held| match &held.report {
        Report::Controller { documents } if held.holder == holder => Some(documents),
        _ => None,
    })
}
