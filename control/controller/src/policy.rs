//! What sources tell becomes policy, and why where it does not.
//!
//! What cannot be compiled or remembered is not published: the last good policy holds, and the
//! problems say why. Nodes get theirs from the [`crate::pipeline`]; the whole policy, made beside it in
//! [`crate::view`], answers questions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};
use weir_api::v1;
use weir_compile::{Change, Key};
use weir_model::{Document, Kind, Located, Problem};
use weir_respond::is_quarantine;
use weir_sources::News;

use crate::pipeline::{Publication, compile_key};
use crate::source::Source;
use crate::state::State;
use crate::store::StoreError;

/// A node that claims a version further ahead than this is not believed.
const VERSION_LEAP_MAX: u64 = 1 << 32;

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

impl State {
    /// Takes the documents of a directory, all of them or none, and publishes what they come to.
    pub async fn take(self: &Arc<Self>, source: weir_sources::State) -> Result<u64, PublishError> {
        let turn = self.publishing.lock().await;
        let (state, begun) = (self.clone(), Instant::now());
        let published = blocking(move || state.take_whole(source)).await;
        self.meters.published(begun, published.is_ok());
        self.set_synced();
        drop(turn);
        self.told(&published);
        published.map(|publication| publication.version)
    }

    /// Takes what a source tells, document by document, and publishes what it comes to.
    pub async fn take_news(self: &Arc<Self>, news: News) -> Result<u64, PublishError> {
        let changes = match news {
            News::Condition(problems) => {
                self.set_conditions(problems);
                return Ok(self.version());
            }
            News::Everything(changes) => (changes, true),
            News::Changes(changes) => (changes, false),
        };
        let turn = self.publishing.lock().await;
        self.cluster.coming(&changes.0, changes.1);
        let (state, begun) = (self.clone(), Instant::now());
        let everything = changes.1;
        let published = blocking(move || state.take_changes(changes.0, everything)).await;
        self.meters.published(begun, published.is_ok());
        if everything {
            self.set_synced();
        }
        self.cluster.given(published.is_ok());
        drop(turn);
        published.map(|publication| publication.version)
    }

    /// Takes changes that the controller makes by itself, beside its source: quarantines.
    pub async fn apply_own(self: &Arc<Self>, changes: Vec<Change>) -> Result<u64, PublishError> {
        let turn = self.publishing.lock().await;
        let state = self.clone();
        let published = blocking(move || state.apply(changes)).await;
        drop(turn);
        published.map(|publication| publication.version)
    }

    /// Gives every node this signed policy, from now on.
    pub async fn carry(self: &Arc<Self>, bundle: v1::SignedBundle) -> Result<u64, PublishError> {
        let turn = self.publishing.lock().await;
        let state = self.clone();
        let carried = blocking(move || state.pipeline.carry(&bundle)).await;
        drop(turn);
        Ok(carried?.version)
    }

    /// Publishes what could not be written down when it came.
    pub async fn publish_again(self: &Arc<Self>) -> Result<u64, PublishError> {
        let turn = self.publishing.lock().await;
        let state = self.clone();
        let published = blocking(move || state.pipeline.retry()).await;
        self.cluster.given(published.is_ok());
        drop(turn);
        Ok(published?.version)
    }

    /// Lifts the version to at least `least`, since a node enforces `claimed`: this controller's memory
    /// was lost, and versions never go back.
    pub async fn raise_version(
        self: &Arc<Self>,
        claimed: u64,
        least: u64,
    ) -> Result<u64, PublishError> {
        let own = self.version();
        if claimed > own.saturating_add(VERSION_LEAP_MAX) {
            error!(own, claimed, "a node claims an impossible version");
            return Err(PublishError::Leap { claimed, own });
        }
        if claimed > own && own > 0 {
            warn!(
                own,
                claimed, "a node enforces a later version; going on after it"
            );
        }
        let state = self.clone();
        Ok(blocking(move || state.pipeline.raise(least)).await?)
    }

    /// What guardrails say of these documents in place of those that are published. Objects of an API
    /// server have met them one by one already.
    pub fn judge(&self, documents: &[Located<Document>]) -> Result<Vec<Problem>, Vec<Problem>> {
        let Source::Files(_) = self.source else {
            return Ok(Vec::new());
        };
        let in_force = self.pipeline.documents();
        // What an earlier version of this software remembered does not say what it came from.
        let known = self.version() == 0 || !in_force.is_empty();
        self.guardrails.judge_set(&in_force, documents, known)
    }

    fn take_whole(&self, source: weir_sources::State) -> Result<Publication, PublishError> {
        let weir_sources::State {
            documents,
            problems,
        } = source;
        let documents = match documents {
            Some(documents) if problems.is_empty() => documents,
            _ => return Err(PublishError::Documents(problems)),
        };
        // A directory whose content has gone (a volume that is not mounted) must not open everything.
        let known = self.keys_of_source();
        if documents.is_empty() && !known.is_empty() {
            let directory = self.source.place();
            return Err(PublishError::Documents(vec![Problem::of_file(
                &directory,
                "no documents are left here",
                "bring them back; if nobody is to be governed any more, leave a Settings document",
            )]));
        }
        let advised = self.judge(&documents).map_err(PublishError::Documents)?;
        let compiled = weir_compile::compile(&documents, Some(&self.assignments()));
        if !compiled.problems.is_empty() {
            return Err(PublishError::Documents(compiled.problems));
        }
        self.set_advice(advised);
        let present: BTreeSet<Key> = (documents.iter())
            .map(|document| Key::of(&document.value))
            .collect();
        let gone = known.into_iter().filter(|key| !present.contains(key));
        let mut changes: Vec<Change> = gone.map(Change::Remove).collect();
        for document in documents.iter() {
            let key = Key::of(&document.value);
            self.pipeline.standings.seen(&key, 0, None);
            if !self.pipeline.has(document) {
                changes.push(Change::Put(Arc::new(document.clone())));
            }
        }
        self.apply(changes)
    }

    fn take_changes(
        &self,
        told: Vec<weir_sources::Change>,
        everything: bool,
    ) -> Result<Publication, PublishError> {
        use weir_sources::Change as Told;
        let standings = &self.pipeline.standings;
        let mut changes = Vec::with_capacity(told.len());
        if everything {
            let present: BTreeSet<Key> = told.iter().map(|one| compile_key(&one.key())).collect();
            let known = self.keys_of_source().into_iter();
            changes.extend(
                known
                    .filter(|key| !present.contains(key))
                    .map(Change::Remove),
            );
        }
        for one in told {
            let key = compile_key(&one.key());
            match one {
                Told::Upsert { document, revision } => {
                    standings.seen(&key, revision, None);
                    if !everything || !self.pipeline.has(&document) {
                        changes.push(Change::Put(document));
                    }
                }
                Told::Invalid {
                    revision, problems, ..
                } => {
                    standings.seen(&key, revision, Some(problems));
                }
                Told::Remove(_) => changes.push(Change::Remove(key)),
            }
        }
        for change in &changes {
            if let Change::Remove(key) = change {
                standings.gone(key);
            }
        }
        self.apply(changes)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<Publication, PublishError> {
        let is_response = |change: &Change| change.key().kind == Kind::ResponseRule;
        let responses = changes.iter().any(is_response);
        let publication = self.pipeline.apply(changes)?;
        if responses {
            let rules = self.pipeline.documents_of(Kind::ResponseRule);
            self.response.take_rules(&rules);
        }
        if !publication.new {
            info!(
                version = publication.version,
                "the documents come to the same policy"
            );
        }
        Ok(publication)
    }

    /// The documents that the source has told of.
    fn keys_of_source(&self) -> BTreeSet<Key> {
        let keys = self.pipeline.keys().into_iter();
        keys.filter(|key| !is_quarantine(key.kind, &key.name))
            .collect()
    }

    fn told(&self, published: &Result<Publication, PublishError>) {
        let problems = match published {
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
        Err(error) => match error.try_into_panic() {
            // Go on panicking.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends before the body began, and this task with it.
            Err(_) => std::future::pending().await,
        },
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
