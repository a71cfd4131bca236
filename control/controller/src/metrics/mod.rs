//! What the controller tells over HTTP: `/metrics`, `/healthz`, `/readyz`. Read when somebody asks, and
//! measured by [`Meters`] where that has to be done meanwhile.

mod collect;
mod meters;
mod table;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use weir_metrics::{Listen, Told};
use weir_service::Standing;

use collect::Coverage;
pub use meters::{Given, Meters};
pub use table::ControllerMetric;

use crate::source::Source;
use crate::state::State;

/// What the controller tells.
struct Telling {
    state: Arc<State>,
    certificate: Option<PathBuf>,
    coverage: Mutex<Coverage>,
}

/// Serves what is told of this state until the controller stops. `certificate`: the one that it shows.
pub fn serve(state: Arc<State>, certificate: Option<PathBuf>, listen: Listen) {
    let mut stopping = state.stopping();
    let telling = Arc::new(Telling {
        state,
        certificate,
        coverage: Mutex::default(),
    });
    tokio::spawn(weir_metrics::serve(listen, telling, async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }));
}

impl Told for Telling {
    fn metrics(&self) -> String {
        self.reading().text()
    }

    /// A runtime that hangs answers nobody: it needs no word here.
    fn standing(&self) -> Standing {
        let state = &self.state;
        let version = state.version();
        let missing = if !state.is_synced() {
            Some(format!("{} has not been read yet", state.source.describe()))
        } else if version == 0 {
            Some("there is no policy yet: `weir status` says why".to_owned())
        } else if let Some(problem) = state.store_problem() {
            Some(problem)
        } else if matches!(state.source, Source::Kubernetes(_)) && state.cluster.leader().is_none()
        {
            Some("no controller leads as far as is known".to_owned())
        } else {
            None
        };
        match missing {
            Some(missing) => Standing::Starting(missing),
            None => Standing::Working(format!("policy {version} is published")),
        }
    }
}
