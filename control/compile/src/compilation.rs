//! Documents and what they compile to, changed document by document.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{Document, Located, Problem};
use weir_policy::spec::SnapshotSpec;

use crate::change::{Change, Effect, Key, Outcome, SpecChange};
use crate::{Assignments, Compiled, compile};

/// Documents in force and the policy that they come to.
///
/// What [`Compilation::spec`] gives is at any time what [`compile`] gives for
/// [`Compilation::documents`] and [`Compilation::assignments`].
#[derive(Clone, Debug)]
pub struct Compilation {
    documents: BTreeMap<Key, Arc<Located<Document>>>,
    /// Newer states that cannot be taken as long as others stay as they are.
    waiting: BTreeMap<Key, Waiting>,
    compiled: Compiled,
}

#[derive(Clone, Debug)]
struct Waiting {
    document: Arc<Located<Document>>,
    problems: Vec<Problem>,
}

impl Compilation {
    /// Without documents. `previous` are the numbers of a compilation before.
    pub fn new(previous: Option<&Assignments>) -> Self {
        Self {
            documents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            compiled: compile(&[], previous),
        }
    }

    /// Takes changes, in their order. A document that cannot be taken leaves everything as it was:
    /// its last good state stays in force, and it is tried again when what it collides with goes.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Effect {
        let before = self.compiled.spec.clone();
        let mut outcomes = BTreeMap::new();
        for change in changes {
            let key = change.key();
            match change {
                Change::Put(document) => {
                    self.waiting.remove(&key);
                    let refused = self.put(&key, &document);
                    if !refused.is_empty() {
                        let problems = refused.clone();
                        self.waiting
                            .insert(key.clone(), Waiting { document, problems });
                    }
                    outcomes.insert(key, refused);
                }
                Change::Remove(_) => {
                    self.waiting.remove(&key);
                    if self.documents.remove(&key).is_some() {
                        self.compile();
                    }
                }
            }
        }
        for (key, waiting) in std::mem::take(&mut self.waiting) {
            let problems = self.put(&key, &waiting.document);
            if problems != waiting.problems {
                outcomes.insert(key.clone(), problems.clone());
            }
            if !problems.is_empty() {
                self.waiting.insert(
                    key,
                    Waiting {
                        problems,
                        ..waiting
                    },
                );
            }
        }
        let outcomes = outcomes.into_iter().map(|(key, refused)| {
            let warnings = Vec::new();
            (key, Outcome { refused, warnings })
        });
        Effect {
            spec: SpecChange::between(&before, &self.compiled.spec),
            outcomes: outcomes.collect(),
            ..Effect::default()
        }
    }

    /// The policy as one piece, with version 0. Slow: it copies everything.
    pub fn spec(&self) -> SnapshotSpec {
        self.compiled.spec.clone()
    }

    /// Everything as the effect that leads to it from nothing.
    pub fn everything(&self) -> Effect {
        Effect {
            spec: SpecChange::between(&SnapshotSpec::default(), &self.compiled.spec),
            ..Effect::default()
        }
    }

    /// The documents in force.
    pub fn documents(&self) -> impl Iterator<Item = (&Key, &Arc<Located<Document>>)> {
        self.documents.iter()
    }

    /// What was refused and waits for others to go.
    pub fn refused(&self) -> impl Iterator<Item = (&Key, &[Problem])> {
        let waiting = self.waiting.iter();
        waiting.map(|(key, waiting)| (key, waiting.problems.as_slice()))
    }

    /// What is probably not meant by the documents in force; sorted by place.
    pub fn warnings(&self) -> Vec<Problem> {
        self.compiled.warnings.clone()
    }

    /// The numbers of the identities, to be given to the next compilation.
    pub fn assignments(&self) -> &Assignments {
        &self.compiled.assignments
    }

    /// Returns why not, and takes nothing then.
    fn put(&mut self, key: &Key, document: &Arc<Located<Document>>) -> Vec<Problem> {
        let before = self.documents.insert(key.clone(), document.clone());
        let problems = self.compile();
        if !problems.is_empty() {
            match before {
                Some(before) => self.documents.insert(key.clone(), before),
                None => self.documents.remove(key),
            };
        }
        problems
    }

    /// Returns why not, and leaves everything as it was then.
    fn compile(&mut self) -> Vec<Problem> {
        let documents: Vec<_> = self.documents.values().map(|one| (**one).clone()).collect();
        let compiled = compile(&documents, Some(&self.compiled.assignments));
        if compiled.problems.is_empty() {
            self.compiled = compiled;
            return Vec::new();
        }
        compiled.problems
    }
}
