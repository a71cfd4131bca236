//! Policy from the controller: full snapshots and deltas, put in force on every worker, kept on
//! disk, and only then acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tracing::{error, info, warn};
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::v1::{self, NodeMessage, wire};
use weir_api::{Contents, Follower, Step};
use weir_policy::Snapshot;
use weir_policy::spec::SnapshotSpec;
use weir_sigs::sensor::SensorSet;

use super::signed::Accepted;
use super::{Alarms, ControllerAddress, LastGood, Tally, Trust};
use crate::sensors;
use crate::worker::Shared;

/// How long a lost connection waits for the next try: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How often a stream that stands is asked for whether the controller would still be trusted.
const SERVER_CHECK: Duration = Duration::from_secs(5);
/// How long the workers may take to put a policy in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);

/// A policy as it was sent, and what it says.
pub struct Policy {
    /// As it was sent.
    pub message: v1::Snapshot,
    /// What it says.
    pub spec: SnapshotSpec,
}

/// Whose signatures a policy needs, and who is told where they are missing.
pub struct Guard {
    /// None: it needs none.
    pub trust: Option<Trust>,
    /// What is raised then.
    pub alarms: Alarms,
}

/// Reads what was sent.
pub fn read(version: u64, contents: &Contents) -> Result<Policy, String> {
    let message = (contents.message(version)).map_err(|error| error.to_string())?;
    let spec = weir_api::from_message(&message).map_err(|error| error.to_string())?;
    Ok(Policy { message, spec })
}

impl Policy {
    /// As something that answers questions, and its sensors. Those in force are kept where they are
    /// the same.
    pub fn build(
        self,
        in_force: Option<Arc<SensorSet>>,
    ) -> Result<(Snapshot, Option<Arc<SensorSet>>), String> {
        let snapshot = Snapshot::build(self.spec).map_err(|error| error.to_string())?;
        let sensors = sensors::compile(&snapshot, in_force)?;
        Ok((snapshot, sensors))
    }
}

impl Guard {
    /// Whether a policy may be put in force; where not, an alarm is raised.
    pub fn judge(&mut self, policy: &Policy, enforced: u64) -> Result<Option<Accepted>, String> {
        let Some(trust) = &mut self.trust else {
            return Ok(None);
        };
        let now_unix_s = unix_s();
        let judged = trust.judge(&policy.message, &policy.spec, now_unix_s);
        judged.map(Some).inspect_err(|why| {
            let now_unix_us = now_unix_s.saturating_mul(1_000_000);
            self.alarms.forged_policy(why, enforced, now_unix_us);
        })
    }

    /// What was judged is in force.
    pub fn taken(&mut self, accepted: Option<Accepted>) {
        if let (Some(trust), Some(accepted)) = (&mut self.trust, accepted) {
            trust.taken(accepted);
        }
    }
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// Follows the controller until the node stops.
pub async fn follow(
    controller: &ControllerAddress,
    node: &str,
    (shared, tally): (&Arc<Shared>, &Tally),
    last_good: &LastGood,
    guard: Guard,
    kept: Option<(u64, Contents)>,
) {
    let (version, contents) = kept.unwrap_or_default();
    let mut enforcer = Enforcer {
        follower: Follower::new(node, env!("CARGO_PKG_VERSION"), version, contents),
        shared,
        tally,
        last_good,
        guard,
        saving: Saving::Saved,
    };
    let mut retry = RETRY_FIRST;
    while !stopped(shared) {
        let ended = enforcer.session(controller).await;
        tally.policy_stream.store(false, Ordering::Relaxed);
        match ended {
            Ok(()) => retry = RETRY_FIRST,
            Err(why) => {
                warn!(controller = %controller.endpoint, %why, "no policy stream; the policy in force stays; trying again")
            }
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_LAST);
    }
}

/// Whether the node stops.
pub fn stopped(shared: &Shared) -> bool {
    shared.stop.load(Ordering::Relaxed)
}

struct Enforcer<'a> {
    follower: Follower,
    shared: &'a Arc<Shared>,
    tally: &'a Tally,
    last_good: &'a LastGood,
    guard: Guard,
    saving: Saving,
}

/// Whether the policy in force is on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Saving {
    /// It is, or there is none.
    Saved,
    /// It is to be written.
    Wanted,
    /// Writing failed, which was told; it is tried again.
    Failed,
}

impl Enforcer<'_> {
    /// One stream, from Hello until it ends.
    async fn session(&mut self, controller: &ControllerAddress) -> Result<(), String> {
        let (channel, server) = controller.channel().map_err(|error| error.to_string())?;
        let mut client = PolicyDistributionClient::new(channel)
            .max_decoding_message_size(weir_api::MESSAGE_BYTES_MAX);
        let (answers, outgoing) = mpsc::channel(16);
        send(&answers, self.follower.hello()).await?;
        let response = client
            .subscribe(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| told(&status))?;
        let mut incoming = response.into_inner();
        info!(controller = %controller.endpoint, "policy stream open");
        self.tally.policy_stream.store(true, Ordering::Relaxed);
        let mut checked = std::time::Instant::now();
        while !stopped(self.shared) {
            self.save();
            if checked.elapsed() >= SERVER_CHECK {
                server.verify()?;
                checked = std::time::Instant::now();
            }
            let message =
                match tokio::time::timeout(Duration::from_millis(500), incoming.next()).await {
                    Err(_) => continue,
                    Ok(None) => return Err("the controller ended the stream".into()),
                    Ok(Some(message)) => message.map_err(|status| told(&status))?,
                };
            if let Some(answer) = self.take(message).await? {
                send(&answers, answer).await?;
            }
        }
        Ok(())
    }

    /// Takes one message; the answer, if it wants one.
    async fn take(
        &mut self,
        message: wire::ControllerMessage,
    ) -> Result<Option<NodeMessage>, String> {
        match self.follower.take(message) {
            Step::Nothing => Ok(None),
            Step::Answer(answer) => Ok(Some(answer)),
            Step::Keep(answer) => {
                self.keep();
                Ok(Some(answer))
            }
            Step::Enforce => Ok(Some(self.enforce().await)),
            Step::Failed(failure) => Err(format!(
                "the controller refuses this node: {}; {}",
                failure.reason, failure.next_step
            )),
        }
    }

    /// Puts what was sent in force on every worker and keeps it on disk; the answer.
    async fn enforce(&mut self) -> NodeMessage {
        let version = self.follower.version();
        match self.put_in_force().await {
            Ok(()) => {
                self.tally.policy_applied();
                let answer = self.follower.enforced();
                self.keep();
                answer
            }
            Err(reason) => {
                self.tally.policy_refused();
                let answer = self.follower.refuse(reason.clone());
                let enforced = self.follower.version();
                error!(version, %reason, enforced, "policy refused; the one in force stays");
                answer
            }
        }
    }

    async fn put_in_force(&mut self) -> Result<(), String> {
        let version = self.follower.version();
        let before = (
            self.shared.snapshot.load_full(),
            self.shared.sensors.load_full(),
        );
        let policy = read(version, self.follower.contents())?;
        let enforced = before.0.as_ref().map_or(0, |snapshot| snapshot.version());
        let accepted = self.guard.judge(&policy, enforced)?;
        let (snapshot, sensors) = policy.build(before.1.clone())?;
        let (rules, identities) = (
            snapshot.spec().rules.len(),
            snapshot.spec().identities.len(),
        );
        let put = |snapshot, sensors| {
            let generation = self.shared.put_in_force(snapshot, sensors);
            generation.map_err(|error| error.to_string())
        };
        let generation = put(Arc::new(snapshot), sensors)?;
        let deadline = tokio::time::Instant::now() + IN_FORCE_WITHIN;
        while !self.shared.in_force(generation) {
            if tokio::time::Instant::now() > deadline {
                // All of them or none: those that took it go back.
                if let (Some(snapshot), sensors) = before {
                    put(snapshot, sensors)?;
                }
                return Err(format!(
                    "not every worker took version {version} within {IN_FORCE_WITHIN:?}"
                ));
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        self.guard.taken(accepted);
        info!(version, rules, identities, "policy in force");
        Ok(())
    }

    fn keep(&mut self) {
        self.saving = Saving::Wanted;
        self.save();
    }

    /// Keeps the policy in force on disk. Where that fails it is told once, and tried again as long
    /// as the stream is open.
    fn save(&mut self) {
        if self.saving == Saving::Saved {
            return;
        }
        let version = self.follower.version();
        match self.last_good.keep(version, self.follower.contents()) {
            Ok(()) => {
                self.saving = Saving::Saved;
                self.tally.unsaved.store(false, Ordering::Relaxed);
                let seen = self.guard.trust.as_mut().map(Trust::save);
                if let Some(Err(error)) = seen {
                    warn!(%error, version, "an older signed policy would be taken after a restart; trying again with the next");
                }
            }
            Err(error) => {
                if self.saving == Saving::Wanted {
                    warn!(%error, version, "the policy is in force but would not survive a restart; trying again");
                }
                self.saving = Saving::Failed;
                self.tally.unsaved.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What a status says: the cause below it, where there is one.
pub fn told(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(_) => weir_api::explained(status),
        None => status.message().to_owned(),
    }
}

async fn send(answers: &mpsc::Sender<NodeMessage>, message: NodeMessage) -> Result<(), String> {
    (answers.send(message).await).map_err(|_| "the stream is closed".to_owned())
}
