//! How the controller stands, for the service manager that watches it: ready as soon as it has started,
//! since by then both endpoints answer and the documents are compiled; alive while its tasks have turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_service::{Notifier, Standing, Supervision, supervise};

use crate::Controller;

/// How often a task counts.
const TURN_INTERVAL: Duration = Duration::from_millis(250);
/// After so long without a turn the runtime hangs.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Tells a service manager, if there is one, for as long as what is returned lives.
pub fn watched(controller: &Controller) -> Supervision {
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let state = Arc::clone(controller.state());
    let mut stopping = state.stopping();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TURN_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => counted.fetch_add(1, Ordering::Relaxed),
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
        }
    });
    let mut progress = Progress::new(Instant::now());
    supervise(Notifier::from_environment(), move || {
        let moves = progress.moves(turns.load(Ordering::Relaxed), Instant::now());
        match moves {
            true => Standing::Working(format!("policy {} is published", state.version())),
            false => Standing::Stuck("no task has a turn any more".to_owned()),
        }
    })
}

/// Whether a count goes on.
struct Progress {
    seen: u64,
    since: Instant,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self {
            seen: 0,
            since: now,
        }
    }

    fn moves(&mut self, count: u64, now: Instant) -> bool {
        if count != self.seen {
            (self.seen, self.since) = (count, now);
        }
        now.duration_since(self.since) < STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_stands_still_is_stuck() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        assert!(progress.moves(1, start + STUCK_AFTER / 2));
        assert!(progress.moves(1, start + STUCK_AFTER));
        assert!(!progress.moves(1, start + STUCK_AFTER * 3 / 2));
        assert!(progress.moves(2, start + STUCK_AFTER * 2));
    }
}
