//! What several controllers of one Kubernetes cluster share: who leads, what nodes acknowledged to whom.
//!
//! Every controller serves nodes and tells of them in leases ([`reports`]); the one that leads writes
//! what became of each object into its status ([`conditions`]). Whom one of them cuts off all cut off
//! ([`quarantines`]), and what one learned all know ([`profiles`]). Nothing that is allowed depends on any of
//! it: where the API server does not answer, nodes are served all the same. With files none of this runs.

pub mod conditions;
pub mod events;
pub mod hits;
pub mod profiles;
pub mod quarantines;
pub mod reports;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{info, warn};
use weir_kubernetes::{Fingerprint, Leadership, NodeLeases, Timing, own_identity};
use weir_model::Problem;
use weir_sources::Change;

use crate::source::Source;
use crate::state::State;
use quarantines::Quarantines;
use reports::Reports;

/// The name of the lease that makes a controller the leader.
const LEASE: &str = "weir-controller";
/// How long what was learned may take to be written when the controller stops.
const LAST_WORDS: Duration = Duration::from_millis(1_500);
/// How often is looked for what is to be told.
const TICK: Duration = Duration::from_millis(250);

/// What a controller knows of its part in the cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    documents: Fingerprint,
    /// That of what nodes were given; none while something is on its way to them.
    given: Option<String>,
    problems: BTreeMap<&'static str, Problem>,
    identity: String,
    leader: Option<String>,
}

impl Cluster {
    /// A source told this, and it is about to be given to nodes.
    pub fn coming(&self, changes: &[Change], everything: bool) {
        let mut inner = crate::lock(&self.inner);
        inner.given = None;
        inner.documents.take(changes, everything);
    }

    /// Whether nodes have been given it.
    pub fn given(&self, given: bool) {
        let mut inner = crate::lock(&self.inner);
        inner.given = given.then(|| inner.documents.text());
    }

    /// Which documents nodes have been given; none while some are on their way.
    pub fn documents(&self) -> Option<String> {
        crate::lock(&self.inner).given.clone()
    }

    /// What keeps this controller from its part.
    pub fn problems(&self) -> Vec<Problem> {
        let inner = crate::lock(&self.inner);
        inner.problems.values().cloned().collect()
    }

    /// This controller's name among several; empty with files.
    pub fn identity(&self) -> String {
        crate::lock(&self.inner).identity.clone()
    }

    /// The same without those of one part.
    fn problems_but(&self, part: &str) -> Vec<Problem> {
        let inner = crate::lock(&self.inner);
        let others = inner.problems.iter().filter(|(of, _)| **of != part);
        others.map(|(_, problem)| problem.clone()).collect()
    }

    /// Which controller leads, as far as is known.
    pub fn leader(&self) -> Option<String> {
        crate::lock(&self.inner).leader.clone()
    }

    fn set_leader(&self, leader: Option<String>) {
        crate::lock(&self.inner).leader = leader;
    }

    /// Why it can take no part in the election; that is in the log already.
    fn set_election(&self, problem: Option<Problem>) {
        let mut inner = crate::lock(&self.inner);
        match problem {
            Some(problem) => inner.problems.insert("the election", problem),
            None => inner.problems.remove("the election"),
        };
    }

    /// What is wrong with this part of its work, or that nothing is.
    pub(crate) fn set_problem(&self, part: &'static str, problem: Option<Problem>) {
        let mut inner = crate::lock(&self.inner);
        let before = match problem.clone() {
            Some(problem) => inner.problems.insert(part, problem),
            None => inner.problems.remove(part),
        };
        drop(inner);
        match (before, problem) {
            (before, Some(problem)) if before.as_ref() != Some(&problem) => warn!("{problem}"),
            (Some(_), None) => info!("{part}: it works again"),
            _ => {}
        }
    }
}

/// Takes part until the controller stops.
pub async fn run(state: Arc<State>) {
    let Source::Kubernetes(source) = &state.source else {
        return;
    };
    let identity = own_identity();
    crate::lock(&state.cluster.inner)
        .identity
        .clone_from(&identity);
    let lease = (source.namespace(), LEASE);
    let leadership = Leadership::start(source.client(), lease, &identity, Timing::default());
    let leadership = Arc::new(leadership);
    let leases = NodeLeases::new(
        source.client(),
        source.namespace(),
        &identity,
        source.timeout(),
    );
    let reports = Arc::new(Reports::default());
    let quarantines = Arc::new(Quarantines::remembered(&state));
    let tasks = [
        tokio::spawn(reports::read(
            state.clone(),
            leases.clone(),
            reports.clone(),
            quarantines.clone(),
        )),
        tokio::spawn(quarantines::write(
            state.clone(),
            leases.clone(),
            quarantines,
        )),
        tokio::spawn(events::tell(state.clone(), identity.clone())),
        tokio::spawn(reports::write(
            state.clone(),
            leases.clone(),
            reports.clone(),
            identity,
        )),
        tokio::spawn(conditions::write(
            state.clone(),
            leases,
            reports,
            leadership.clone(),
        )),
        tokio::spawn(watch(state.clone(), leadership.clone())),
    ];
    let mut stopping = state.stopping();
    let keeping = profiles::keep(state.clone(), leadership.clone(), state.stopping());
    let mut keeping = tokio::spawn(keeping);
    let _ = stopping.wait_for(|stopping| *stopping).await;
    // What was learned since it was written last is told to the others before anything else ends.
    if tokio::time::timeout(LAST_WORDS, &mut keeping)
        .await
        .is_err()
    {
        keeping.abort();
    }
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    leadership.stop().await;
}

/// Says who leads, and what keeps this one from it.
async fn watch(state: Arc<State>, leadership: Arc<Leadership>) {
    loop {
        state.cluster.set_leader(leadership.holder());
        state.cluster.set_election(leadership.problem());
        tokio::time::sleep(TICK).await;
    }
}
