//! What a test can make go wrong.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

/// Requests that a fault is for.
#[derive(Debug, Clone, Default)]
pub struct Which {
    method: Option<String>,
    path: String,
    ends: bool,
    watches: Option<bool>,
    user: Option<String>,
}

impl Which {
    /// Every request.
    #[must_use]
    pub fn all() -> Which {
        Which::default()
    }

    /// Requests whose path contains this.
    #[must_use]
    pub fn path(path: &str) -> Which {
        Which {
            path: path.to_owned(),
            ..Which::default()
        }
    }

    /// Of those, the ones whose path ends there.
    #[must_use]
    pub fn ends(mut self) -> Which {
        self.ends = true;
        self
    }

    /// Of those, the ones with this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Which {
        self.method = Some(method.to_owned());
        self
    }

    /// Of those, only watches.
    #[must_use]
    pub fn only_watches(mut self) -> Which {
        self.watches = Some(true);
        self
    }

    /// Of those, only what is no watch.
    #[must_use]
    pub fn no_watches(mut self) -> Which {
        self.watches = Some(false);
        self
    }

    /// Of those, only what this user sends.
    #[must_use]
    pub fn user(mut self, name: &str) -> Which {
        self.user = Some(name.to_owned());
        self
    }

    fn matches(&self, method: &str, path: &str, watch: bool, user: &str) -> bool {
        path.contains(&self.path)
            && (!self.ends || path.ends_with(&self.path))
            && self.method.as_ref().is_none_or(|one| one == method)
            && self.watches.is_none_or(|only| only == watch)
            && self.user.as_ref().is_none_or(|one| one == user)
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer comes this much later.
    Slow(Duration),
    /// 429 with `Retry-After`.
    TooManyRequests {
        /// `Retry-After`, in seconds.
        retry_after_s: u64,
    },
    /// A Status with this code, as a server in trouble sends it.
    Error(u16),
    /// 410: in a list as a refusal, in a watch as the one event of the stream.
    Gone,
    /// The connection ends without an answer.
    Drop,
    /// The answer is cut off in the middle of its body.
    Cut,
    /// The body is not what was asked for.
    Garbage(String),
    /// The object that is answered is this one, with 200.
    Answer(Value),
}

#[derive(Debug)]
struct Planned {
    which: Which,
    fault: Fault,
    left: Option<usize>,
}

/// The knobs. They hold until they are cleared or used up.
#[derive(Debug)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    connections: watch::Sender<u64>,
    watches: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            planned: Mutex::default(),
            connections: watch::Sender::new(0),
            watches: watch::Sender::new(0),
        }
    }
}

impl Faults {
    /// From now on this happens to every such request.
    pub fn always(&self, which: Which, fault: Fault) {
        self.plan(which, fault, None);
    }

    /// This happens to the next `count` such requests.
    pub fn next(&self, count: usize, which: Which, fault: Fault) {
        self.plan(which, fault, Some(count));
    }

    /// Everything is well again.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Ends every open connection, watches included, without a word.
    pub fn drop_connections(&self) {
        self.connections.send_modify(|count| *count += 1);
    }

    /// Ends every open watch as a server does that is about to go: the stream ends, the connection stays.
    pub fn end_watches(&self) {
        self.watches.send_modify(|count| *count += 1);
    }

    fn plan(&self, which: Which, fault: Fault, left: Option<usize>) {
        self.lock().push(Planned { which, fault, left });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planned>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to happen to this request. The first plan that fits is used.
    pub(crate) fn take(&self, method: &str, path: &str, watch: bool, user: &str) -> Option<Fault> {
        let mut planned = self.lock();
        let position = planned
            .iter()
            .position(|one| one.which.matches(method, path, watch, user))?;
        let fault = planned[position].fault.clone();
        if let Some(left) = &mut planned[position].left {
            *left -= 1;
            if *left == 0 {
                planned.remove(position);
            }
        }
        Some(fault)
    }

    /// Changes whenever connections are to end.
    pub(crate) fn connection_ends(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    /// Changes whenever watches are to end.
    pub(crate) fn watch_ends(&self) -> watch::Receiver<u64> {
        self.watches.subscribe()
    }
}
