//! What the parts of the controller share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use weir_api::v1;
use weir_compile::Assignments;
use weir_model::Problem;

use crate::guardrails::Gate;
use crate::nodes::Nodes;
use crate::observe::Observed;
use crate::policy::{Published, problem_message};
use crate::source::Source;
use crate::store::Store;

/// The controller's state. Each part has its own lock; none is held across another or an await.
#[derive(Debug)]
pub struct State {
    /// What survives a restart.
    pub store: Arc<Store>,
    /// Who enforces.
    pub nodes: Nodes,
    /// What they saw.
    pub observed: Observed,
    /// Where documents come from.
    pub source: Source,
    /// What they must satisfy.
    pub guardrails: Gate,
    /// Held while a version is made.
    pub(crate) publishing: tokio::sync::Mutex<()>,
    /// Held while an operator changes the documents.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// A version that some node enforces: the next one is above it.
    pub(crate) version_floor: AtomicU64,
    published: watch::Sender<Arc<Published>>,
    assignments: Mutex<Assignments>,
    problems: Mutex<Vec<Problem>>,
    conditions: Mutex<Vec<Problem>>,
    advice: Mutex<Vec<Problem>>,
    store_problem: Mutex<Option<String>>,
    stopping: watch::Sender<bool>,
}

impl State {
    /// With what the store remembers.
    pub fn new(
        store: Arc<Store>,
        observed: Observed,
        source: Source,
        published: Published,
        assignments: Assignments,
    ) -> Self {
        Self {
            store,
            nodes: Nodes::default(),
            observed,
            source,
            guardrails: Gate::default(),
            publishing: tokio::sync::Mutex::new(()),
            changing: tokio::sync::Mutex::new(()),
            version_floor: AtomicU64::new(0),
            published: watch::Sender::new(Arc::new(published)),
            assignments: Mutex::new(assignments),
            problems: Mutex::default(),
            conditions: Mutex::default(),
            advice: Mutex::default(),
            store_problem: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// The policy that is published now.
    pub fn policy(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }

    /// The published policy and every one that follows; those that were missed are not made up for.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// The published version; 0 before the first.
    pub fn version(&self) -> u64 {
        self.published.borrow().message.version
    }

    /// The numbers that identities have.
    pub fn assignments(&self) -> Assignments {
        crate::lock(&self.assignments).clone()
    }

    /// What is wrong with the documents, their source, or the store.
    pub fn problems(&self) -> Vec<v1::SourceProblem> {
        let (mut errors, policy) = (self.own_problems(), self.policy());
        errors.extend(crate::lock(&self.conditions).iter().cloned());
        let errors = errors.iter().map(|problem| problem_message(problem, false));
        let advice = crate::lock(&self.advice).clone();
        let warnings = policy.warnings.iter().chain(&advice);
        let warnings = warnings.map(|problem| problem_message(problem, true));
        let mut problems: Vec<_> = errors.chain(warnings).collect();
        let store = crate::lock(&self.store_problem).clone();
        // A policy that could not be written says the same already.
        let store = store.filter(|message| problems.iter().all(|told| told.message != *message));
        problems.extend(store.map(|message| v1::SourceProblem {
            message,
            ..Default::default()
        }));
        problems
    }

    /// Completes with `true` when the controller stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends every stream and task.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Writes what was learned since the last time, in one transaction. Blocks on the disk.
    pub fn flush(&self) {
        let unwritten = self.observed.take_unwritten();
        if unwritten.is_empty() {
            return;
        }
        let written = self
            .store
            .write_conversations(&unwritten.rows, &unwritten.forgotten);
        let problem = written.as_ref().err().map(ToString::to_string);
        if written.is_err() {
            self.observed.put_back(unwritten);
        }
        let before = std::mem::replace(&mut *crate::lock(&self.store_problem), problem.clone());
        match (problem, before) {
            (Some(problem), None) => {
                tracing::error!("{problem}; learned conversations wait in memory")
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

    /// What is wrong with the source, or with documents of which the last good state holds.
    pub(crate) fn set_conditions(&self, conditions: Vec<Problem>) {
        *crate::lock(&self.conditions) = conditions;
    }

    /// What guardrails tell of documents that are in force.
    pub(crate) fn set_advice(&self, advice: Vec<Problem>) {
        *crate::lock(&self.advice) = advice;
    }

    pub(crate) fn replace(&self, published: Published, assignments: Assignments) {
        *crate::lock(&self.assignments) = assignments;
        self.published.send_replace(Arc::new(published));
    }
}
