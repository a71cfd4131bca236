//! Policy to nodes: `weir.v1.PolicyDistribution`.
//!
//! Trusts a node to say what it enforces; distrusts its pace and, with TLS, its name. One message at most
//! waits for a node: while it has not answered, newer versions replace each other, and its next
//! message leads straight to the newest one. Memory per node: the snapshot it was sent last, shared
//! with every other node that was.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};
use weir_api::first::{self, PROTOCOL};
use weir_api::v1::{self, wire};

use crate::certificate::{Gate, Peer};
use crate::nodes::Subscription;
use crate::policy::Published;
use crate::state::State;

/// A node says hello at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that has not answered for this long is sent the newest snapshot in full.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

type Outgoing = mpsc::Sender<Result<wire::ControllerMessage, Status>>;

/// The service.
#[derive(Clone, Debug)]
pub struct Push {
    state: Arc<State>,
    gate: Gate,
}

impl Push {
    /// Serves the policy of this controller.
    pub fn new(state: Arc<State>, gate: Gate) -> Self {
        Self { state, gate }
    }
}

#[tonic::async_trait]
impl v1::policy_distribution_server::PolicyDistribution for Push {
    type SubscribeStream = ReceiverStream<Result<wire::ControllerMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let peer = self.gate.peer(&request)?;
        let (outgoing, stream) = mpsc::channel(1);
        let incoming = request.into_inner();
        tokio::spawn(serve(self.state.clone(), peer, incoming, outgoing));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn serve(
    state: Arc<State>,
    peer: Peer,
    mut incoming: Streaming<v1::NodeMessage>,
    outgoing: Outgoing,
) {
    let subscription = match greet(&state, &peer, &mut incoming).await {
        Ok(subscription) => subscription,
        Err(failure) => {
            warn!(reason = failure.reason, "a node is refused");
            let message = v1::controller_message::Message::Failure(failure);
            let _ = outgoing.send(Ok(travelling(message))).await;
            return;
        }
    };
    info!(node = subscription.node, "node subscribed");
    let mut session = Session {
        policy: state.published(),
        state: state.clone(),
        subscription,
        outgoing,
        sent: None,
        awaiting: None,
        refused_version: 0,
    };
    let why = session.run(&mut incoming).await;
    state.nodes.unsubscribe(&session.subscription);
    info!(
        node = session.subscription.node,
        why, "node's subscription ended"
    );
}

async fn greet(
    state: &Arc<State>,
    peer: &Peer,
    incoming: &mut Streaming<v1::NodeMessage>,
) -> Result<Subscription, v1::Failure> {
    let failure = |reason: String, next_step: &str| v1::Failure {
        reason,
        next_step: next_step.to_owned(),
    };
    let first = timeout(HELLO_TIMEOUT, incoming.message()).await;
    let hello = match first
        .ok()
        .and_then(Result::ok)
        .flatten()
        .and_then(|first| first.message)
    {
        Some(v1::node_message::Message::Hello(hello)) => hello,
        _ => {
            return Err(failure(
                "the first message is not Hello".into(),
                "send Hello first",
            ));
        }
    };
    if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL) {
        let spoken = format!("{} to {}", hello.protocol_min, hello.protocol_max);
        return Err(failure(
            format!(
                "node {:?} speaks versions {spoken} of the contract, this controller {PROTOCOL}",
                hello.node
            ),
            "update the node or the controller, so that both speak one version",
        ));
    }
    peer.check(&hello.node).map_err(|reason| {
        failure(
            reason,
            "set the node's name to one in its certificate, or issue a certificate for its name",
        )
    })?;
    let subscription = state.nodes.subscribe(&hello);
    let subscription =
        subscription.map_err(|reason| failure(reason.into(), "give the node its host's name"))?;
    if hello.enforced_version > state.version() {
        state
            .raise_version(hello.enforced_version)
            .await
            .map_err(|error| {
                failure(
                    error.to_string(),
                    "see the controller's log; the node keeps what it enforces",
                )
            })?;
    }
    Ok(subscription)
}

fn travelling(message: v1::controller_message::Message) -> wire::ControllerMessage {
    let message = v1::ControllerMessage {
        message: Some(message),
    };
    // The same bytes: it can be read.
    weir_api::retyped(&message).unwrap_or_default()
}

struct Session {
    state: Arc<State>,
    policy: watch::Receiver<Arc<Published>>,
    subscription: Subscription,
    outgoing: Outgoing,
    /// What the node has if it took what it was sent; `None`: it needs everything.
    sent: Option<Arc<Published>>,
    awaiting: Option<Awaiting>,
    /// A version that was refused in full: not sent again.
    refused_version: u64,
}

#[derive(Clone, Copy)]
struct Awaiting {
    version: u64,
    full: bool,
    until: Instant,
}

impl Session {
    /// Returns why it ended.
    async fn run(&mut self, incoming: &mut Streaming<v1::NodeMessage>) -> &'static str {
        let mut stopping = self.state.stopping();
        loop {
            if self.awaiting.is_none() && !self.send_newest().await {
                return "the node is gone";
            }
            let patience = self.awaiting.map(|awaiting| awaiting.until);
            let patience = patience.unwrap_or_else(|| Instant::now() + ANSWER_TIMEOUT);
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(v1::NodeMessage { message: Some(message) })) => self.answered(message),
                    Ok(Some(_)) => {}
                    Ok(None) => return "the node closed it",
                    Err(_) => return "the connection was lost",
                },
                changed = self.policy.changed(), if self.awaiting.is_none() => {
                    if changed.is_err() {
                        return "the controller stops";
                    }
                }
                () = sleep_until(patience), if self.awaiting.is_some() => {
                    warn!(node = self.subscription.node, "no answer to the last snapshot; sending it in full");
                    self.awaiting = None;
                    self.sent = None;
                }
                _ = stopping.wait_for(|stopping| *stopping) => return "the controller stops",
            }
        }
    }

    fn answered(&mut self, message: v1::node_message::Message) {
        let awaited = |version| self.awaiting.filter(|awaiting| awaiting.version == version);
        match message {
            v1::node_message::Message::Hello(_) => {}
            v1::node_message::Message::Applied(applied) => {
                if awaited(applied.version).is_some() {
                    self.awaiting = None;
                }
                self.state
                    .nodes
                    .applied(&self.subscription, applied.version);
            }
            v1::node_message::Message::Refused(refused) => {
                warn!(
                    node = self.subscription.node,
                    version = refused.version,
                    reason = refused.reason,
                    "node refused"
                );
                self.state.nodes.refused(&self.subscription, &refused);
                if let Some(awaiting) = awaited(refused.version) {
                    self.awaiting = None;
                    self.sent = None;
                    // A delta may have met another base; a snapshot refused in full stays refused.
                    if awaiting.full {
                        self.refused_version = refused.version;
                    }
                }
            }
        }
    }

    /// Sends what leads to the newest version; false when the node is gone.
    async fn send_newest(&mut self) -> bool {
        let newest = self.policy.borrow_and_update().clone();
        let version = newest.message.version;
        let sent_version = self.sent.as_ref().map(|sent| sent.message.version);
        if version == 0 || version == self.refused_version || sent_version == Some(version) {
            return true;
        }
        let (message, full) = match &self.sent {
            Some(sent) => (
                v1::controller_message::Message::Delta(newest.delta_from(sent)),
                false,
            ),
            None => (
                v1::controller_message::Message::Snapshot(first::snapshot(newest.message.clone())),
                true,
            ),
        };
        self.awaiting = Some(Awaiting {
            version,
            full,
            until: Instant::now() + ANSWER_TIMEOUT,
        });
        self.sent = Some(newest);
        self.outgoing.send(Ok(travelling(message))).await.is_ok()
    }
}
