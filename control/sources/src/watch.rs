//! Noticing that files changed: the system's notification, and a slow look in any case, since
//! notifications get lost (network file systems, a directory that was replaced, full queues).

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use notify::{EventKind, RecursiveMode, Watcher as _};

use crate::files::Shared;

/// Editors and version control write several times: a change is read when nothing more came for
/// this long.
const QUIET: Duration = Duration::from_millis(100);

/// A directory that never comes to rest is read this often nevertheless.
const UNREST_MAX: Duration = Duration::from_secs(1);

/// The slow look.
const RESCAN: Duration = Duration::from_secs(3);

/// Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    failure: Option<String>,
    notice: SyncSender<Notice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Changed,
    Stop,
}

impl Watcher {
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let (notice, notices) = sync_channel(1);
        let sender = notice.clone();
        let told = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files is an event too; it must not lead to reading them again. An error
            // means that events were lost.
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                // A full channel holds a notice already.
                let _ = sender.try_send(Notice::Changed);
            }
        })
        .and_then(|mut watcher| {
            watcher.watch(shared.directory(), RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let (watcher, failure) = match told {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let weak = Arc::downgrade(shared);
        let thread = thread::Builder::new()
            .name("policy-files".to_owned())
            .spawn(move || {
                run(&notices, &weak);
                drop(watcher);
            });
        let failure = failure.or(thread
            .err()
            .map(|error| format!("no thread can be started: {error}")));
        Self { failure, notice }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Where the channel is full, the thread wakes by itself and finds its source gone.
        let _ = self.notice.try_send(Notice::Stop);
    }
}

fn run(notices: &Receiver<Notice>, shared: &Weak<Shared>) {
    loop {
        let thorough = match notices.recv_timeout(RESCAN) {
            Ok(Notice::Changed) => {
                if settle(notices) == Notice::Stop {
                    return;
                }
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        };
        match shared.upgrade() {
            Some(shared) => shared.rescan(thorough),
            None => return,
        }
    }
}

/// Waits until nothing changes any more.
fn settle(notices: &Receiver<Notice>) -> Notice {
    let began = Instant::now();
    while began.elapsed() < UNREST_MAX {
        match notices.recv_timeout(QUIET) {
            Ok(Notice::Changed) => {}
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return Notice::Stop,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Notice::Changed
}
