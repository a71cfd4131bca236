//! The node's side of the controller: policy comes in, observations go out. Runs beside the workers
//! on ordinary threads; nothing here is on the packet's way.

mod alarms;
mod alert;
mod answers;
mod captures;
mod evidence;
mod last_good;
mod names;
mod observe;
mod policy;
mod records;
mod signed;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;

pub use alarms::Alarms;
pub use evidence::EvidenceFiles;
pub use last_good::{LastGood, LastGoodError};
pub use records::{Clock, Described, describe};
pub use signed::{CLOCK_TOLERANCE_S, Trust, TrustError};
pub use tally::Tally;
use tonic::transport::Channel;
use weir_api::{Contents, Endpoint, EndpointError, Server, TlsFiles};

use crate::capture::CaptureDesk;
use crate::eve::EveFile;
use crate::event::EventRing;
use crate::status::Status;
use crate::worker::Shared;

/// What the agent needs.
pub struct Agent {
    /// The node's name.
    pub node: String,
    /// What it shares with the workers.
    pub shared: Arc<Shared>,
    /// The workers' rings.
    pub rings: Vec<EventRing>,
    /// Where the last good policy is kept.
    pub last_good: LastGood,
    /// Whose signatures policy needs; None: it needs none.
    pub trust: Option<Trust>,
    /// What is in force from before; [`Agent::start_with_last_good`] finds it.
    pub kept: Option<(u64, Contents)>,
    /// What is raised without a packet.
    pub alarms: Alarms,
    /// What it counts, for whoever watches.
    pub tally: Arc<Tally>,
    /// Ports and workers, for the counters.
    pub status: Arc<dyn Status>,
    /// Events for other programs.
    pub eve: Option<EveFile>,
    /// The packets that raised alerts.
    pub evidence: Option<EvidenceFiles>,
    /// Who captures packets; None: nobody does.
    pub captures: Option<CaptureDesk>,
    /// Where the controller is; None: enforce the last good policy.
    pub controller: Option<ControllerAddress>,
}

/// How to reach the controller.
#[derive(Clone, Debug)]
pub struct ControllerAddress {
    /// Where.
    pub endpoint: Endpoint,
    /// With which certificate.
    pub tls: Option<TlsFiles>,
    /// The name expected in its certificate.
    pub server_name: Option<String>,
}

impl ControllerAddress {
    /// A connection; made when it is first used, and again whenever it breaks.
    fn channel(&self) -> Result<(Channel, Server), EndpointError> {
        self.endpoint
            .connect_lazily(self.tls.as_ref(), self.server_name.as_deref())
    }
}

impl Agent {
    /// Puts the last good policy in force, if there is one. Returns its version, 0 for none.
    pub fn start_with_last_good(&mut self) -> Result<u64, LastGoodError> {
        let Some((version, contents)) = self.last_good.read()? else {
            return Ok(0);
        };
        let damaged = |why| self.last_good.damaged(why);
        let policy = policy::read(version, &contents).map_err(damaged)?;
        let mut guard = policy::Guard {
            trust: self.trust.take(),
            alarms: self.alarms.clone(),
        };
        let judged = guard.judge(&policy, 0);
        let put = judged
            .map_err(|why| self.last_good.untrusted(why))
            .and_then(|accepted| {
                let (snapshot, sensors) = policy.build(None).map_err(damaged)?;
                self.shared
                    .put_in_force(Arc::new(snapshot), sensors)
                    .map_err(|why| damaged(why.to_string()))?;
                guard.taken(accepted);
                Ok(())
            });
        self.trust = guard.trust;
        put?;
        self.kept = Some((version, contents));
        Ok(version)
    }

    /// Serves until the node stops.
    pub async fn run(mut self) {
        let evidence = self.evidence.take();
        let (observer, batches) = observe::Observer::new(&self, evidence);
        let drain = tokio::spawn(observer.run());
        if let Some(controller) = &self.controller {
            let guard = policy::Guard {
                trust: self.trust.take(),
                alarms: self.alarms.clone(),
            };
            let kept = self.kept.take();
            let shared = (&self.shared, &*self.tally);
            let policy =
                policy::follow(controller, &self.node, shared, &self.last_good, guard, kept);
            let captures = (self.node.as_str(), self.captures.as_ref());
            let report = observe::report(controller, batches, captures, shared);
            tokio::join!(policy, report);
        }
        let _ = drain.await;
    }
}

/// Where a node keeps what must survive it.
pub fn last_good_path(state_directory: &std::path::Path) -> PathBuf {
    state_directory.join("policy.last-good")
}
