//! What the node tells over HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! Read when somebody asks, from what others read anyway: the workers' counter pages, copied; the ports'
//! statistics; the agent's [`Tally`](crate::agent::Tally). A worker waits for nobody here and shares no
//! line with it.

mod collect;
mod settings;
mod table;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_metrics::Told;
use weir_service::Standing;

pub use collect::Sources;
pub use settings::MetricsSettings;
pub use table::NodeMetric;

use crate::service::Progress;

/// How often the workers are looked at, so that their silence is known when somebody asks.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What the node tells.
pub struct Telling {
    sources: Sources,
    progress: Mutex<Progress>,
}

impl Telling {
    /// From these sources; `progress` is how it stands.
    pub fn new(sources: Sources, progress: Progress) -> Arc<Self> {
        Arc::new(Self {
            sources,
            progress: Mutex::new(progress),
        })
    }

    /// Looks at the workers for as long as it is polled.
    pub async fn look(self: Arc<Self>) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            ticks.tick().await;
            self.progress().look(Instant::now());
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told for Telling {
    fn metrics(&self) -> String {
        let silent = self.progress().silent(Instant::now());
        self.sources.reading(&silent).text()
    }

    fn standing(&self) -> Standing {
        self.progress().look(Instant::now())
    }
}
