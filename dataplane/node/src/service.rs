//! How the node stands, for the service manager that watches it: ready when a policy is in force on
//! every worker, alive while every worker makes progress.
//!
//! Looks at the workers' heartbeats itself, so that it notices too when the watchdog is gone. A lost
//! worker's ports follow their fail mode until the manager starts the node again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_service::Standing;

use crate::worker::Shared;

/// What was seen of the workers so far.
pub struct Progress {
    shared: Arc<Shared>,
    stuck_after: Duration,
    /// Whether policy can still come where there is none.
    waits_for_policy: bool,
    /// Heartbeat of each worker, and when it was first seen.
    seen: Vec<(u64, Instant)>,
}

impl Progress {
    /// Of these workers, from now on. Without a controller there is nobody to wait for.
    pub fn new(shared: Arc<Shared>, stuck_after: Duration, has_controller: bool) -> Self {
        let now = Instant::now();
        let seen = shared.heartbeat.iter().map(|_| (0, now)).collect();
        Self {
            shared,
            stuck_after,
            waits_for_policy: has_controller,
            seen,
        }
    }

    /// How it stands now.
    pub fn look(&mut self, now: Instant) -> Standing {
        if let Some(worker) = self.lost(now) {
            return Standing::Stuck(format!(
                "worker {worker} is lost: its ports follow their fail mode"
            ));
        }
        let workers = self.seen.len();
        let generation = self.shared.generation.load(Ordering::Acquire);
        let version = self.shared.snapshot.load().as_ref().map(|it| it.version());
        match version {
            Some(version) if self.shared.in_force(generation) => {
                Standing::Working(format!("policy {version} is in force, {workers} workers"))
            }
            Some(version) => Standing::Starting(format!("policy {version} reaches the workers")),
            None if self.waits_for_policy => {
                Standing::Starting("ports are up, waiting for policy".to_owned())
            }
            None => Standing::Working(format!(
                "no policy and no controller: pairs that fail closed drop everything, {workers} workers"
            )),
        }
    }

    /// How long each worker has been silent, as far as was looked.
    pub fn silent(&self, now: Instant) -> Vec<Duration> {
        let silent = self.seen.iter().zip(&self.shared.heartbeat);
        silent
            .map(|((heartbeat, since), current)| {
                match current.load(Ordering::Relaxed) == *heartbeat {
                    true => now.duration_since(*since),
                    false => Duration::ZERO,
                }
            })
            .collect()
    }

    /// A worker that ended or made no progress for too long.
    fn lost(&mut self, now: Instant) -> Option<usize> {
        let mut lost = None;
        for (worker, (heartbeat, since)) in self.seen.iter_mut().enumerate() {
            let current = self.shared.heartbeat[worker].load(Ordering::Relaxed);
            if current != *heartbeat {
                (*heartbeat, *since) = (current, now);
            }
            let alive = self.shared.alive[worker].load(Ordering::Acquire);
            if !alive || now.duration_since(*since) >= self.stuck_after {
                lost = lost.or(Some(worker));
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use weir_policy::Snapshot;
    use weir_policy::spec::SnapshotSpec;

    use super::*;

    const STUCK_AFTER: Duration = Duration::from_secs(2);

    fn beat(shared: &Shared, worker: usize) {
        shared.heartbeat[worker].fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn ready_when_policy_is_in_force_on_every_worker() {
        let shared = Shared::new(2, 16);
        let now = Instant::now();
        let mut progress = Progress::new(Arc::clone(&shared), STUCK_AFTER, true);
        assert!(matches!(progress.look(now), Standing::Starting(_)));
        let spec = SnapshotSpec {
            version: 7,
            ..SnapshotSpec::default()
        };
        let snapshot = Snapshot::build(spec).unwrap();
        let generation = shared.put_in_force(Arc::new(snapshot), None).unwrap();
        shared.installed[0].store(generation, Ordering::Release);
        assert!(matches!(progress.look(now), Standing::Starting(_)));
        shared.installed[1].store(generation, Ordering::Release);
        let expected = Standing::Working("policy 7 is in force, 2 workers".into());
        assert_eq!(progress.look(now), expected);
    }

    #[test]
    fn without_a_controller_nobody_is_waited_for() {
        let shared = Shared::new(1, 16);
        let mut progress = Progress::new(shared, STUCK_AFTER, false);
        assert!(matches!(
            progress.look(Instant::now()),
            Standing::Working(_)
        ));
    }

    #[test]
    fn one_worker_without_progress_is_enough() {
        let shared = Shared::new(2, 16);
        let mut now = Instant::now();
        let mut progress = Progress::new(Arc::clone(&shared), STUCK_AFTER, false);
        for _ in 0..10 {
            now += STUCK_AFTER / 2;
            beat(&shared, 0);
            beat(&shared, 1);
            assert!(matches!(progress.look(now), Standing::Working(_)));
        }
        now += STUCK_AFTER / 2;
        beat(&shared, 0);
        assert!(matches!(progress.look(now), Standing::Working(_)));
        now += STUCK_AFTER / 2;
        beat(&shared, 0);
        assert!(matches!(progress.look(now), Standing::Stuck(_)));
        assert_eq!(progress.silent(now), [Duration::ZERO, STUCK_AFTER]);
        // It goes on: it was only slow.
        beat(&shared, 1);
        assert!(matches!(progress.look(now), Standing::Working(_)));
        shared.alive[0].store(false, Ordering::Release);
        assert!(matches!(progress.look(now), Standing::Stuck(_)));
    }
}
