//! Notices a worker that is dead or stuck, takes its queues, and keeps the declared fail mode.
//!
//! `closed`: what arrives is received and dropped. `open`: it goes to the peer port uninspected.
//! A worker that wakes up again finds its queues gone and ends.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{error, warn};

use crate::io::{Queue, Role};
use crate::worker::{Shared, SharedQueues};

/// How often heartbeats are looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the bypass sleeps when nothing comes.
const IDLE_SLEEP: Duration = Duration::from_micros(100);

/// Watches the workers; runs on a thread of its own.
pub struct Watchdog<Q> {
    shared: Arc<Shared>,
    queues: Vec<SharedQueues<Q>>,
    roles: Vec<Role>,
    stuck_after: Duration,
}

/// What the watchdog knows of a worker.
struct Watched {
    heartbeat: u64,
    silent: Duration,
}

impl<Q: Queue> Watchdog<Q> {
    /// Watches workers over these queues; one that makes no progress for `stuck_after` is stuck.
    pub fn new(
        shared: Arc<Shared>,
        queues: Vec<SharedQueues<Q>>,
        roles: Vec<Role>,
        stuck_after: Duration,
    ) -> Self {
        Self {
            shared,
            queues,
            roles,
            stuck_after,
        }
    }

    /// Watches until the node stops.
    pub fn run(self) {
        let mut watched: Vec<_> = self
            .queues
            .iter()
            .map(|_| Watched {
                heartbeat: 0,
                silent: Duration::ZERO,
            })
            .collect();
        let mut bypass = Bypass {
            lanes: Vec::new(),
            frames: Vec::new(),
        };
        while !self.shared.stop.load(Ordering::Relaxed) {
            for (worker, state) in watched.iter_mut().enumerate() {
                self.look_at(worker, state, &mut bypass);
            }
            bypass.run_for(CHECK_INTERVAL, &self.roles, &self.shared);
        }
    }

    fn look_at(&self, worker: usize, state: &mut Watched, bypass: &mut Bypass<Q>) {
        let heartbeat = self.shared.heartbeat[worker].load(Ordering::Relaxed);
        let moved = std::mem::replace(&mut state.heartbeat, heartbeat) != heartbeat;
        state.silent = if moved {
            Duration::ZERO
        } else {
            state.silent + CHECK_INTERVAL
        };
        let dead = !self.shared.alive[worker].load(Ordering::Acquire);
        if !dead && state.silent < self.stuck_after {
            return;
        }
        // A worker inside a device call holds the lock: its queues cannot be had yet.
        let taken = match self.queues[worker].try_lock() {
            Ok(mut queues) => queues.take(),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => {
                PoisonError::into_inner(poisoned).take()
            }
            Err(std::sync::TryLockError::WouldBlock) => {
                warn!(
                    worker,
                    "worker makes no progress inside a device call; its queues cannot be taken"
                );
                None
            }
        };
        if let Some(queues) = taken {
            self.shared.alive[worker].store(false, Ordering::Release);
            let state = if dead { "dead" } else { "stuck" };
            error!(
                worker,
                state, "worker lost: its ports now follow their fail mode; restart weir-node"
            );
            bypass.lanes.push(queues);
        }
    }
}

/// Keeps the fail mode on the queues of lost workers.
struct Bypass<Q: Queue> {
    lanes: Vec<Vec<Q>>,
    frames: Vec<Q::Frame>,
}

impl<Q: Queue> Bypass<Q> {
    fn run_for(&mut self, time: Duration, roles: &[Role], shared: &Shared) {
        if self.lanes.is_empty() {
            // No queue is to be polled: a thread that woke up as often as the bypass has to would cost a core a tenth.
            std::thread::sleep(time);
            return;
        }
        let begun = std::time::Instant::now();
        while begun.elapsed() < time && !shared.stop.load(Ordering::Relaxed) {
            let moved: usize = (0..self.lanes.len())
                .map(|lane| self.move_frames(lane, roles, shared))
                .sum();
            if moved == 0 {
                std::thread::sleep(IDLE_SLEEP.min(time));
            }
        }
    }

    fn move_frames(&mut self, lane: usize, roles: &[Role], shared: &Shared) -> usize {
        let queues = &mut self.lanes[lane];
        let mut moved = 0;
        for (port, role) in roles.iter().enumerate() {
            queues[port].receive(&mut self.frames);
            let came = self.frames.len();
            moved += came;
            if let Role::Inline {
                peer,
                fail_open: true,
                ..
            } = role
            {
                queues[usize::from(*peer)].transmit(&mut self.frames);
            }
            // What the device took is no longer in the list.
            let dropped = self.frames.len();
            let [forwarded_total, dropped_total] = &shared.bypassed;
            forwarded_total.fetch_add((came - dropped) as u64, Ordering::Relaxed);
            dropped_total.fetch_add(dropped as u64, Ordering::Relaxed);
            self.frames.clear();
        }
        moved
    }
}
