//! Policy from the controller: full snapshots and deltas, put in force on every worker, kept on
//! disk, and only then acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tracing::{error, info, warn};
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::v1::{
    Applied, ControllerMessage, Hello, NodeMessage, Refused, Snapshot as Message,
    controller_message, node_message,
};
use weir_policy::Snapshot;
use weir_sigs::sensor::SensorSet;

use super::{ControllerAddress, LastGood};
use crate::sensors;
use crate::worker::Shared;

/// How long a lost connection waits for the next try: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How long the workers may take to put a policy in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);

/// A policy message as something that answers questions, and its sensors. Those in force are kept
/// where they are the same.
pub fn build(
    message: &Message,
    in_force: Option<Arc<SensorSet>>,
) -> Result<(Snapshot, Option<Arc<SensorSet>>), String> {
    let spec = weir_api::from_message(message).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::build(spec).map_err(|error| error.to_string())?;
    let sensors = sensors::compile(&snapshot, in_force)?;
    Ok((snapshot, sensors))
}

/// Follows the controller until the node stops.
pub async fn follow(
    controller: &ControllerAddress,
    node: &str,
    shared: &Arc<Shared>,
    last_good: &LastGood,
) {
    let mut follower = Follower {
        node,
        shared,
        last_good,
        current: last_good.read().ok().flatten(),
        saving: Saving::Saved,
    };
    let mut retry = RETRY_FIRST;
    while !stopped(shared) {
        match follower.session(controller).await {
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
    shared.stop.load(std::sync::atomic::Ordering::Relaxed)
}

struct Follower<'a> {
    node: &'a str,
    shared: &'a Arc<Shared>,
    last_good: &'a LastGood,
    /// What is in force, as the base of the next delta.
    current: Option<Message>,
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

impl Follower<'_> {
    /// One stream, from Hello until it ends.
    async fn session(&mut self, controller: &ControllerAddress) -> Result<(), String> {
        let channel = controller.channel().map_err(|error| error.to_string())?;
        let mut client = PolicyDistributionClient::new(channel)
            .max_decoding_message_size(weir_api::MESSAGE_BYTES_MAX);
        let (answers, outgoing) = mpsc::channel(16);
        let hello = node_message::Message::Hello(Hello {
            node: self.node.to_owned(),
            protocol_min: weir_api::PROTOCOL_VERSION,
            protocol_max: weir_api::PROTOCOL_VERSION,
            enforced_version: self.version(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        });
        send(&answers, hello).await?;
        let response = client
            .subscribe(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| status.message().to_owned())?;
        let mut incoming = response.into_inner();
        info!(controller = %controller.endpoint, "policy stream open");
        while !stopped(self.shared) {
            self.save();
            let message =
                match tokio::time::timeout(Duration::from_millis(500), incoming.next()).await {
                    Err(_) => continue,
                    Ok(None) => return Err("the controller ended the stream".into()),
                    Ok(Some(message)) => message.map_err(|status| status.message().to_owned())?,
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
        message: ControllerMessage,
    ) -> Result<Option<node_message::Message>, String> {
        let (version, next) = match message.message {
            Some(controller_message::Message::Snapshot(snapshot)) => {
                (snapshot.version, verified(snapshot))
            }
            Some(controller_message::Message::Delta(delta)) => {
                let base = self.current.as_ref();
                let next = base.ok_or_else(|| "there is no policy to apply a delta to".to_owned());
                (
                    delta.version,
                    next.and_then(|base| {
                        weir_api::apply(base, &delta).map_err(|error| error.to_string())
                    }),
                )
            }
            Some(controller_message::Message::Failure(failure)) => {
                return Err(format!(
                    "the controller refuses this node: {}; {}",
                    failure.reason, failure.next_step
                ));
            }
            None => return Ok(None),
        };
        let outcome = match next {
            Ok(next) => self.enforce(next).await,
            Err(why) => Err(why),
        };
        Ok(Some(match outcome {
            Ok(()) => node_message::Message::Applied(Applied { version }),
            Err(reason) => {
                error!(version, %reason, enforced = self.version(), "policy refused; the one in force stays");
                node_message::Message::Refused(Refused {
                    version,
                    reason,
                    enforced_version: self.version(),
                })
            }
        }))
    }

    /// Puts a policy in force on every worker and keeps it on disk.
    async fn enforce(&mut self, message: Message) -> Result<(), String> {
        if message.version < self.version() {
            return Err(format!(
                "version {} is older than version {}, which is in force",
                message.version,
                self.version()
            ));
        }
        let in_force = self.shared.sensors.load_full();
        let (snapshot, sensors) = build(&message, in_force)?;
        let generation = self
            .shared
            .put_in_force(Arc::new(snapshot), sensors)
            .map_err(|error| error.to_string())?;
        let deadline = tokio::time::Instant::now() + IN_FORCE_WITHIN;
        while !self.shared.in_force(generation) {
            if tokio::time::Instant::now() > deadline {
                return Err(format!(
                    "not every worker took version {} within {IN_FORCE_WITHIN:?}",
                    message.version
                ));
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        info!(
            version = message.version,
            rules = message.rules.len(),
            identities = message.identities.len(),
            "policy in force"
        );
        self.current = Some(message);
        self.saving = Saving::Wanted;
        self.save();
        Ok(())
    }

    /// Keeps the policy in force on disk. Where that fails it is told once, and tried again as long
    /// as the stream is open.
    fn save(&mut self) {
        let Some(message) = self
            .current
            .as_ref()
            .filter(|_| self.saving != Saving::Saved)
        else {
            return;
        };
        match self.last_good.keep(message) {
            Ok(()) => self.saving = Saving::Saved,
            Err(error) => {
                if self.saving == Saving::Wanted {
                    warn!(%error, version = message.version, "the policy is in force but would not survive a restart; trying again");
                }
                self.saving = Saving::Failed;
            }
        }
    }

    fn version(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.version)
    }
}

fn verified(snapshot: Message) -> Result<Message, String> {
    if weir_api::checksum(&snapshot) == snapshot.checksum {
        Ok(snapshot)
    } else {
        Err("the checksum does not fit the snapshot".into())
    }
}

async fn send(
    answers: &mpsc::Sender<NodeMessage>,
    message: node_message::Message,
) -> Result<(), String> {
    answers
        .send(NodeMessage {
            message: Some(message),
        })
        .await
        .map_err(|_| "the stream is closed".to_owned())
}
