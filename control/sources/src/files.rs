//! A directory of YAML files as a source.
//!
//! The set of files is taken as a whole or not at all: while any file has a mistake, the documents of
//! the last good reading stand, and the problems say why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_model::Problem;

use crate::error::{SourceError, WriteError};
use crate::scan::{self, Listing, Scan, shown};
use crate::watch::Watcher;
use crate::{Plan, State};

/// A watched directory. Reads all `*.yaml` and `*.yml` files below it, in the order of their paths;
/// names that begin with a dot or `#` are left alone.
#[derive(Debug)]
pub struct FilesSource {
    shared: Arc<Shared>,
    changes: watch::Receiver<State>,
    watcher: Watcher,
}

/// What the watching thread and the owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    directory: PathBuf,
    /// Held while the directory is read and while it is written, so that no reading sees half of a
    /// change.
    last: Mutex<Last>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct Last {
    listing: Listing,
    contents: Option<u64>,
}

impl FilesSource {
    /// Reads the directory and begins to watch it. Mistakes in files are part of the first
    /// [`State`]; a directory that cannot be read is an error.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let directory = directory.into();
        scan::list(&directory)?;
        let (state, changes) = watch::channel(State::default());
        let shared = Arc::new(Shared {
            directory,
            last: Mutex::default(),
            state,
        });
        // Watching begins before the first reading, so that no change falls between the two.
        let watcher = Watcher::start(&shared);
        let mut source = Self {
            shared,
            changes,
            watcher,
        };
        source.reload();
        source.changes.mark_unchanged();
        Ok(source)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// What it has now.
    pub fn state(&self) -> State {
        self.changes.borrow().clone()
    }

    /// Waits for the next change and returns what there is then; changes in quick succession come
    /// as one. Can be dropped and called again without missing one.
    pub async fn next_change(&mut self) -> State {
        // The sender lives in `shared`, so this cannot fail while `self` is there.
        let _ = self.changes.changed().await;
        self.changes.borrow_and_update().clone()
    }

    /// Another receiver of every state, for tasks that do not own the source.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Reads the directory now instead of when the watch notices. Blocks on the disk.
    pub fn reload(&self) -> State {
        self.shared.rescan(true);
        self.state()
    }

    /// What documents written into the directory would come to. Blocks on the disk.
    pub fn plan(&self, files: &[crate::PolicyFile]) -> Result<Plan, WriteError> {
        let _last = self.shared.lock();
        Plan::apply(&self.shared.directory, files)
    }

    /// What setting the mode of these workloads would come to. Blocks on the disk.
    pub fn plan_mode(
        &self,
        workloads: &[weir_model::Reference],
        mode: weir_model::Mode,
    ) -> Result<Plan, WriteError> {
        let _last = self.shared.lock();
        Plan::mode(&self.shared.directory, workloads, mode)
    }

    /// Carries a plan out and reads the directory again: the state has all of it or, after an error,
    /// none. Blocks on the disk.
    pub fn write(&self, plan: &Plan) -> Result<State, WriteError> {
        let mut last = self.shared.lock();
        let written = plan.write();
        self.shared.rescan_locked(&mut last, true);
        drop(last);
        written.map(|_| self.state())
    }

    /// Why the system does not tell of changes, if it does not: they are then found by looking
    /// every few seconds.
    pub fn watch_failure(&self) -> Option<&str> {
        self.watcher.failure()
    }
}

impl Shared {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads the directory; `thorough` also where size and times tell of no change.
    pub(crate) fn rescan(&self, thorough: bool) {
        let mut last = self.lock();
        self.rescan_locked(&mut last, thorough);
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        // What it guards is replaced as a whole: a panic elsewhere leaves nothing half-written.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rescan_locked(&self, last: &mut Last, thorough: bool) {
        let listing = match scan::list(&self.directory) {
            Ok(listing) => listing,
            Err(error) => {
                let problem = Problem::of_file(
                    &shown(&error.path),
                    format!("the policy directory {}", error.what),
                    error.next_step,
                );
                *last = Last::default();
                self.publish(Scan {
                    problems: vec![problem],
                    ..Scan::default()
                });
                return;
            }
        };
        if !thorough && last.contents.is_some() && listing == last.listing {
            return;
        }
        let scan = scan::read(&listing);
        let same = last.contents == Some(scan.contents);
        *last = Last {
            listing,
            contents: Some(scan.contents),
        };
        if !same {
            self.publish(scan);
        }
    }

    fn publish(&self, scan: Scan) {
        self.state.send_if_modified(|state| {
            let next = if scan.problems.is_empty() {
                State {
                    documents: Some(scan.documents.into()),
                    problems: Vec::new(),
                }
            } else {
                State {
                    documents: state.documents.clone(),
                    problems: scan.problems,
                }
            };
            // Called only for other contents: the same mistakes again are nothing new, other
            // documents are, if only by their places.
            let changed = next.problems.is_empty() || next.problems != state.problems;
            *state = next;
            changed
        });
    }
}
