//! Looks at a daemon again and again, and tells its manager: ready, once; its status, when it changes;
//! and that it is alive, only while it is.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::notify::Notifier;

/// How often a daemon is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// How a daemon stands. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not do its work yet.
    Starting(String),
    /// It does.
    Working(String),
    /// It makes no progress: its manager may end it.
    Stuck(String),
}

/// Supervision that goes on until this is dropped.
#[derive(Debug)]
pub struct Supervision {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Looks at a daemon, on a thread of its own, and tells a manager if there is one. `look` is called a few
/// times a second and must not wait.
pub fn supervise(
    notifier: Option<Notifier>,
    look: impl FnMut() -> Standing + Send + 'static,
) -> Supervision {
    let Some(notifier) = notifier else {
        return Supervision {
            end: None,
            thread: None,
        };
    };
    let (end, ended) = channel::<()>();
    let watch = move || {
        let interval = notifier
            .watchdog()
            .map_or(INTERVAL, |it| INTERVAL.min(it / 4));
        let mut told = Told::new(look);
        let end = loop {
            match ended.recv_timeout(interval) {
                Err(RecvTimeoutError::Timeout) => told.tell(&notifier),
                end => break end,
            }
        };
        if end.is_err() {
            notifier.stopping();
        }
    };
    let thread = std::thread::Builder::new()
        .name("service".into())
        .spawn(watch);
    Supervision {
        end: Some(end),
        thread: thread.ok(),
    }
}

/// What was told already.
struct Told<L> {
    look: L,
    ready: bool,
    status: String,
}

impl<L: FnMut() -> Standing> Told<L> {
    fn new(look: L) -> Self {
        Self {
            look,
            ready: false,
            status: String::new(),
        }
    }

    fn tell(&mut self, notifier: &Notifier) {
        let (status, works, moves) = match (self.look)() {
            Standing::Starting(status) => (status, false, true),
            Standing::Working(status) => (status, true, true),
            Standing::Stuck(status) => (status, false, false),
        };
        if status != self.status {
            notifier.status(&status);
            self.status = status;
        }
        if works && !self.ready {
            notifier.ready();
            self.ready = true;
        }
        if moves && notifier.watchdog().is_some() {
            notifier.alive();
        }
    }
}

impl Supervision {
    /// Ends without a word: another process of the service goes on.
    pub fn hand_over(self) {
        if let Some(end) = &self.end {
            let _ = end.send(());
        }
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
