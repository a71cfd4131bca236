//! What the parts of the controller share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use weir_api::v1;
use weir_compile::Assignments;
use weir_model::Problem;

use crate::capture::Capturing;
use crate::cluster::Cluster;
use crate::guardrails::Gate;
use crate::metrics::Meters;
use crate::nodes::Nodes;
use crate::observe::Observed;
use crate::pipeline::Pipeline;
use crate::policy::problem_message;
use crate::response::Response;
use crate::source::Source;
use crate::store::{Store, StoreError};
use crate::view::{Published, View};

/// The controller's state. Each part has its own lock; none is held across another or an await.
#[derive(Debug)]
pub struct State {
    /// What survives a restart.
    pub store: Arc<Store>,
    /// What nodes are to have.
    pub pipeline: Pipeline,
    /// Who enforces.
    pub nodes: Nodes,
    /// What they saw.
    pub observed: Observed,
    /// Where documents come from.
    pub source: Source,
    /// What they must satisfy.
    pub guardrails: Gate,
    /// What is done when something happens.
    pub response: Response,
    /// Whose packets nodes keep.
    pub capturing: Capturing,
    /// What controllers of one cluster share.
    pub cluster: Cluster,
    /// What is measured meanwhile, for whoever watches.
    pub meters: Meters,
    /// Held while a version is made.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Held while an operator changes the documents.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// The policy as people ask about it.
    pub(crate) view: View,
    problems: Mutex<Vec<Problem>>,
    conditions: Mutex<Vec<Problem>>,
    advice: Mutex<Vec<Problem>>,
    store_problem: Mutex<Option<String>>,
    synced: AtomicBool,
    stopping: watch::Sender<bool>,
}

impl State {
    /// With what the store remembers.
    pub fn new(
        store: Arc<Store>,
        observed: Observed,
        source: Source,
        pipeline: Pipeline,
        published: Published,
    ) -> Self {
        let response = Response::new(&published.documents);
        Self {
            store,
            response,
            pipeline,
            nodes: Nodes::default(),
            observed,
            source,
            guardrails: Gate::default(),
            capturing: Capturing::default(),
            cluster: Cluster::default(),
            meters: Meters::default(),
            publishing: tokio::sync::Mutex::new(()),
            changing: tokio::sync::Mutex::new(()),
            view: View::new(published),
            problems: Mutex::default(),
            conditions: Mutex::default(),
            advice: Mutex::default(),
            store_problem: Mutex::default(),
            synced: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        }
    }

    /// The published version; 0 before the first.
    pub fn version(&self) -> u64 {
        self.pipeline.version()
    }

    /// The numbers that identities have.
    pub fn assignments(&self) -> Assignments {
        self.pipeline.assignments()
    }

    /// What is wrong with the documents, their source, or the store.
    pub fn problems(&self) -> Vec<v1::SourceProblem> {
        let (mut errors, policy) = (self.own_problems(), self.policy_of_late());
        errors.extend(crate::lock(&self.conditions).iter().cloned());
        errors.extend(self.pipeline.standings.problems());
        errors.extend(self.cluster.problems());
        errors.extend(self.nodes.problems());
        let errors = errors.iter().map(|problem| problem_message(problem, false));
        let advice = crate::lock(&self.advice).clone();
        let warnings = policy.warnings.iter().chain(&advice);
        let warnings = warnings.map(|problem| problem_message(problem, true));
        let mut problems: Vec<_> = errors.chain(warnings).collect();
        problems.extend(self.capturing.problems());
        let store = crate::lock(&self.store_problem).clone();
        // A policy that could not be written says the same already.
        let store = store.filter(|message| problems.iter().all(|told| told.message != *message));
        problems.extend(store.map(|message| v1::SourceProblem {
            message,
            ..Default::default()
        }));
        problems
    }

    /// Why the store cannot be written, if it cannot.
    pub fn store_problem(&self) -> Option<String> {
        crate::lock(&self.store_problem).clone()
    }

    /// Whether the source has been read as a whole since the start.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// Completes with `true` when the controller stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends every stream and task.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Writes what was learned, and which documents came, since the last time. Blocks on the disk.
    pub fn flush(&self) {
        let documents = self.pipeline.flush();
        let unwritten = self.observed.take_unwritten();
        if unwritten.is_empty() {
            self.written(documents);
            return;
        }
        let written = self
            .store
            .write_conversations(&unwritten.rows, &unwritten.forgotten);
        if written.is_err() {
            self.observed.put_back(unwritten);
        }
        self.written(documents.and(written));
    }

    fn written(&self, written: Result<(), StoreError>) {
        let problem = written.err().map(|error| error.to_string());
        let before = std::mem::replace(&mut *crate::lock(&self.store_problem), problem.clone());
        match (problem, before) {
            (Some(problem), None) => {
                tracing::error!("{problem}; what is new waits in memory")
            }
            (None, Some(_)) => tracing::info!("the store can be written again"),
            _ => {}
        }
    }

    pub(crate) fn own_problems(&self) -> Vec<Problem> {
        crate::lock(&self.problems).clone()
    }

    pub(crate) fn set_problems(&self, problems: Vec<Problem>) {
        *crate::lock(&self.problems) = problems;
    }

    /// What is wrong with the source as a whole.
    pub(crate) fn set_conditions(&self, conditions: Vec<Problem>) {
        *crate::lock(&self.conditions) = conditions;
    }

    /// The same.
    pub(crate) fn conditions(&self) -> Vec<Problem> {
        crate::lock(&self.conditions).clone()
    }

    /// What guardrails tell of documents that are in force.
    pub(crate) fn set_advice(&self, advice: Vec<Problem>) {
        *crate::lock(&self.advice) = advice;
    }
}
