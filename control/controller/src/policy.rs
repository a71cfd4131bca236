//! From documents to the published policy: compile, version, remember, publish.
//!
//! What cannot be compiled or remembered is not published: the last good policy holds, and the
//! problems say why.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{error, info, warn};
use weir_api::v1;
use weir_compile::Compiled;
use weir_learn::ConversationKey;
use weir_model::{Document, Located, Problem};
use weir_policy::Snapshot;
use weir_policy::spec::Action;

use crate::judge::Ends;
use crate::source::Source;
use crate::state::State;
use crate::store::{Store, StoreError};

/// A node that claims a version further ahead than this is not believed.
const VERSION_LEAP_MAX: u64 = 1 << 32;

/// The documents of a source.
pub type Documents = Arc<[Located<Document>]>;

/// The policy that nodes are to enforce.
#[derive(Debug)]
pub struct Published {
    /// As nodes get it.
    pub message: v1::Snapshot,
    /// As it answers questions.
    pub snapshot: Snapshot,
    /// What it was compiled from; empty where the store's snapshot stands in for broken documents.
    pub documents: Documents,
    /// What is probably not meant by them.
    pub warnings: Vec<Problem>,
    /// From the version before, for the nodes that have it.
    delta: Option<v1::Delta>,
    /// Identities by name.
    ends: Ends,
}

/// Why a policy could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The documents have mistakes.
    #[error("{} in the documents; the first: {}", count(.0), first(.0))]
    Documents(Vec<Problem>),
    /// The version could not be remembered, so it must not be given out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A node claims a version that this controller cannot have given out.
    #[error(
        "the node claims version {claimed}, far beyond this controller's {own}; it belongs to another controller"
    )]
    Leap {
        /// What the node claims.
        claimed: u64,
        /// What this controller has.
        own: u64,
    },
}

impl Published {
    /// What the store remembers; version 0, which is never sent, where it remembers nothing.
    pub fn from_store(store: &Store) -> Result<Self, String> {
        let message = store.published().map_err(|error| error.to_string())?;
        let message = message.unwrap_or_else(|| weir_api::to_message(&Default::default()));
        let spec = weir_api::from_message(&message);
        let spec =
            spec.map_err(|error| format!("the remembered policy cannot be read: {error}"))?;
        let snapshot = Snapshot::build(spec);
        let snapshot =
            snapshot.map_err(|error| format!("the remembered policy cannot be built: {error}"))?;
        Ok(Self::new(
            message,
            snapshot,
            Arc::from([]),
            Vec::new(),
            None,
        ))
    }

    /// What leads from `sent` to this.
    pub fn delta_from(&self, sent: &Self) -> v1::Delta {
        match &self.delta {
            Some(delta) if delta.base_version == sent.message.version => delta.clone(),
            _ => weir_api::first::delta(&sent.message, &self.message),
        }
    }

    /// What the policy says of a conversation now, and who decides.
    pub fn judge(&self, key: &ConversationKey) -> (Action, String) {
        match self.ends.decide(&self.snapshot, key) {
            Ok(decision) => (
                decision.rule_action,
                self.snapshot.rule_name(decision.decider).into_owned(),
            ),
            Err(why) => (Action::Deny, why),
        }
    }

    fn new(
        message: v1::Snapshot,
        snapshot: Snapshot,
        documents: Documents,
        warnings: Vec<Problem>,
        delta: Option<v1::Delta>,
    ) -> Self {
        Self {
            message,
            ends: Ends::of(&snapshot),
            snapshot,
            documents,
            warnings,
            delta,
        }
    }
}

impl State {
    /// Compiles what the source has and publishes it if it differs from what is published.
    pub async fn take(self: &Arc<Self>, source: weir_sources::State) -> Result<u64, PublishError> {
        let turn = self.publishing.lock().await;
        let state = self.clone();
        let published = blocking(move || state.compile_and_publish(source)).await;
        drop(turn);
        let problems = match &published {
            Err(PublishError::Documents(problems)) => problems.clone(),
            Err(error) => vec![Problem::of_file("", error.to_string(), "")],
            Ok(_) => Vec::new(),
        };
        if !problems.is_empty() && problems != self.own_problems() {
            for problem in &problems {
                warn!("{problem}");
            }
            warn!("the last good policy, version {}, holds", self.version());
        }
        self.set_problems(problems);
        published
    }

    /// Lifts the version above one that a node enforces already: this controller's memory was lost,
    /// and versions never go back.
    pub async fn raise_version(self: &Arc<Self>, least: u64) -> Result<(), PublishError> {
        let turn = self.publishing.lock().await;
        let own = self.version();
        if least > own.saturating_add(VERSION_LEAP_MAX) {
            error!(own, claimed = least, "a node claims an impossible version");
            return Err(PublishError::Leap {
                claimed: least,
                own,
            });
        }
        self.version_floor.fetch_max(least, Ordering::SeqCst);
        if least > own && own > 0 {
            warn!(
                own,
                claimed = least,
                "a node enforces a later version; going on after it"
            );
            let state = self.clone();
            blocking(move || {
                let last = state.policy();
                let compiled = Compiled {
                    spec: last.snapshot.spec().clone(),
                    problems: Vec::new(),
                    drafts: Vec::new(),
                    warnings: last.warnings.clone(),
                    assignments: state.assignments(),
                };
                state.publish(compiled, last.documents.clone(), state.next_version())
            })
            .await?;
        }
        drop(turn);
        Ok(())
    }

    /// What guardrails say of these documents in place of those that are published. Objects of an API
    /// server have met them one by one already.
    pub fn judge(&self, documents: &[Located<Document>]) -> Result<Vec<Problem>, Vec<Problem>> {
        let Source::Files(_) = self.source else {
            return Ok(Vec::new());
        };
        let policy = self.policy();
        // After a restart the store's policy holds, and what it came from is not known.
        let known = policy.message.version == 0 || !policy.documents.is_empty();
        self.guardrails
            .judge_set(&policy.documents, documents, known)
    }

    /// Above every version that this controller gave out or that a node has told of.
    fn next_version(&self) -> u64 {
        let floor = self.version_floor.load(Ordering::SeqCst);
        self.version().max(floor).saturating_add(1)
    }

    fn compile_and_publish(&self, source: weir_sources::State) -> Result<u64, PublishError> {
        let weir_sources::State {
            documents,
            problems,
        } = source;
        let documents = match documents {
            Some(documents) if problems.is_empty() => documents,
            _ => return Err(PublishError::Documents(problems)),
        };
        // A directory whose content has gone (a volume that is not mounted) must not open everything.
        if documents.is_empty() && !self.policy().message.identities.is_empty() {
            let directory = self.source.place();
            return Err(PublishError::Documents(vec![Problem::of_file(
                &directory,
                "no documents are left here",
                "bring them back; if nobody is to be governed any more, leave a Settings document",
            )]));
        }
        let advised = self.judge(&documents).map_err(PublishError::Documents)?;
        let mut compiled = weir_compile::compile(&documents, Some(&self.assignments()));
        if !compiled.problems.is_empty() {
            return Err(PublishError::Documents(compiled.problems));
        }
        compiled.warnings.extend(advised);
        self.publish(compiled, documents, self.next_version())
    }

    fn publish(
        &self,
        compiled: Compiled,
        documents: Documents,
        version: u64,
    ) -> Result<u64, PublishError> {
        let Compiled {
            mut spec,
            warnings,
            assignments,
            ..
        } = compiled;
        let last = self.policy();
        spec.version = version;
        let mut message = weir_api::to_message(&spec);
        let same = last.message.version > 0 && message.checksum == last.message.checksum;
        if same && version == last.message.version.saturating_add(1) {
            // Other text, equal policy: nodes have it already.
            spec.version = last.message.version;
            message.version = last.message.version;
        }
        let snapshot = Snapshot::build(spec).map_err(|error| {
            let next = "this is a mistake in the compiler; please report it with the documents";
            PublishError::Documents(vec![Problem::of_file("", error.to_string(), next)])
        })?;
        self.store.publish(&message, &assignments)?;
        let delta =
            (last.message.version > 0).then(|| weir_api::first::delta(&last.message, &message));
        let (version, identities, rules) = (
            message.version,
            message.identities.len(),
            message.rules.len(),
        );
        let delta = delta.filter(|_| version != last.message.version);
        self.replace(
            Published::new(message, snapshot, documents, warnings, delta),
            assignments,
        );
        if same {
            info!(version, "the documents come to the same policy");
        } else {
            info!(version, identities, rules, "policy published");
        }
        Ok(version)
    }
}

/// A problem as the operator sees it.
pub fn problem_message(problem: &Problem, warning: bool) -> v1::SourceProblem {
    v1::SourceProblem {
        file: problem.file.clone(),
        line: problem.line,
        column: problem.column,
        field: problem.field.clone(),
        message: problem.message.clone(),
        next_step: problem.next_step.clone(),
        warning,
    }
}

/// Runs what touches the disk or takes long beside the network's tasks.
pub async fn blocking<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(body).await {
        Ok(value) => value,
        // It only fails when the body panicked: go on panicking.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn count(problems: &[Problem]) -> String {
    match problems.len() {
        1 => "1 problem".to_owned(),
        number => format!("{number} problems"),
    }
}

fn first(problems: &[Problem]) -> String {
    problems.first().map_or(String::new(), Problem::to_string)
}
