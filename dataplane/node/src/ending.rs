//! The end of a node: workers stop, ports are let go, and connections are left to the process that goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::{error, info, warn};
use weir_service::{Notifier, Supervision};

use crate::config::Config;
use crate::ports::{self, Ports};
use crate::takeover::{self, Estate, Moment, Successor};
use crate::worker::Shared;

/// Who goes on.
pub enum Next {
    /// Nobody.
    Nobody,
    /// Perhaps somebody, soon.
    Someone,
    /// This process, which is ready.
    This(Successor),
}

/// What ends with the node, in this order.
pub struct Ending<'a> {
    /// As it was at the start.
    pub config: &'a Config,
    /// Tells the workers to stop.
    pub shared: &'a Arc<Shared>,
    /// Workers and those beside them.
    pub threads: Vec<JoinHandle<()>>,
    /// What they used.
    pub ports: Arc<Ports>,
    /// Who tells the service manager.
    pub supervision: Supervision,
}

impl Ending<'_> {
    /// Stops the workers, lets go of the ports and leaves the connections to who goes on.
    pub fn end(self, next: Next) {
        info!("stopping: what was received is still taken along the way");
        let leaves = self.config.upgrade.hand_over && !matches!(next, Next::Nobody);
        if leaves {
            self.shared.leaving.want();
        }
        let begun = Instant::now();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.ports.close();
        if leaves {
            let estate = Estate {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ports: ports::described(self.config),
                workers: self.shared.leaving.collect(),
            };
            leave(self.config, &estate, begun);
        }
        if let Next::This(mut successor) = next {
            self.supervision.hand_over();
            if let Some(notifier) = Notifier::from_environment() {
                notifier.main_process(successor.id());
            }
            match successor.go() {
                Ok(()) => info!(process = successor.id(), "another process has taken over"),
                Err(why) => error!(%why, "the process that was to take over is gone"),
            }
        }
    }
}

/// Leaves connections where the next process looks for them.
fn leave(config: &Config, estate: &Estate, begun: Instant) {
    let path = config.upgrade.path(&config.node.state_directory);
    let kept = Moment::now()
        .map_err(|why| why.to_string())
        .and_then(|now| takeover::keep(&path, estate, &now).map_err(|why| why.to_string()));
    let (flows, took_ms) = (estate.flows(), begun.elapsed().as_millis() as u64);
    match kept {
        Ok(()) => {
            info!(flows, took_ms, path = %path.display(), "connections are left to the next process")
        }
        Err(why) => {
            warn!(%why, "connections are not left: the next process picks them up in the middle")
        }
    }
}
