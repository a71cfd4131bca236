//! Policy to nodes: `weir.v1.PolicyDistribution`.
//!
//! [`target`] is what a node is to have, [`session`] brings it there. Trusts a node to say what it
//! enforces; distrusts its pace and, with TLS, its name. Memory per node: what waits for it in its
//! session, and its target.

pub mod rate;
pub mod session;
pub mod target;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};
use weir_api::v1::wire::{self, controller_message};
use weir_api::{PROTOCOL_VERSION, first, v1};

use crate::certificate::{Gate, Peer};
use crate::nodes::Subscription;
use crate::policy::blocking;
use crate::state::State;
use session::{Outgoing, Session, Told, bounded, message};
use target::Mark;

/// A node says hello at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// So many snapshots in parts are on their way at a time: each holds the items that it is made of.
const LARGE_AT_ONCE: usize = 64;
/// What a node says is short.
pub const NODE_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The service.
#[derive(Clone, Debug)]
pub struct Push {
    state: Arc<State>,
    gate: Gate,
    large: Arc<Semaphore>,
}

/// A node that was let in.
struct Guest {
    hello: v1::Hello,
    protocol: u32,
    subscription: Arc<Subscription>,
}

/// Writes down what a node answers.
struct Book {
    state: Arc<State>,
    /// When the node came.
    since: Instant,
    subscription: Arc<Subscription>,
}

impl Push {
    /// Serves the policy of this controller.
    pub fn new(state: Arc<State>, gate: Gate) -> Self {
        Self {
            state,
            gate,
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        }
    }

    async fn serve(self, peer: Peer, mut incoming: Streaming<v1::NodeMessage>, outgoing: Outgoing) {
        let guest = match self.greet(&peer, &mut incoming).await {
            Ok(guest) => guest,
            Err(failure) => {
                warn!(reason = failure.reason, "a node is refused");
                let failure = message(controller_message::Message::Failure(failure));
                let _ = outgoing.send(Ok(failure)).await;
                return;
            }
        };
        let Guest {
            hello,
            protocol,
            subscription,
        } = guest;
        let whole = protocol == first::PROTOCOL;
        info!(
            node = hello.node,
            protocol,
            software = bounded(&hello.software),
            "node subscribed"
        );
        let (state, name) = (self.state.clone(), hello.node.clone());
        let target = blocking(move || state.pipeline.subscribe(&name, whole)).await;
        let why = match self.make_way(&hello, protocol, &target).await {
            Ok(()) => {
                self.state.nodes.serves(&subscription, target.clone());
                let book = Book {
                    state: self.state.clone(),
                    since: Instant::now(),
                    subscription: subscription.clone(),
                };
                let shared = (target, self.state.pipeline.newest(), self.large.clone());
                let session = Session::new(&hello, protocol, shared, book, outgoing);
                session.run(incoming, self.end(&peer, &subscription)).await
            }
            Err(failure) => {
                let why = failure.reason.clone();
                let failure = message(controller_message::Message::Failure(failure));
                let _ = outgoing.send(Ok(failure)).await;
                why
            }
        };
        self.state.pipeline.unsubscribe(&hello.node, whole);
        self.state.nodes.unsubscribe(&subscription);
        info!(node = hello.node, why, "node's subscription ended");
    }

    /// Completes with why a stream is to end that could go on.
    async fn end(&self, peer: &Peer, subscription: &Subscription) -> String {
        let mut stopping = self.state.stopping();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => "the controller stops".to_owned(),
            () = subscription.replaced() => "the node has subscribed once more".to_owned(),
            why = peer.expired() => why,
        }
    }

    async fn greet(
        &self,
        peer: &Peer,
        incoming: &mut Streaming<v1::NodeMessage>,
    ) -> Result<Guest, v1::Failure> {
        let first = timeout(HELLO_TIMEOUT, incoming.message()).await;
        let first = first.ok().and_then(Result::ok).flatten();
        let Some(v1::node_message::Message::Hello(hello)) = first.and_then(|first| first.message)
        else {
            return Err(failure(
                "the first message is not Hello",
                "send Hello first",
            ));
        };
        let protocol = negotiate(&hello)?;
        peer.check(&hello.node).map_err(|reason| {
            let next = "set the node's name to one in its certificate, or issue a certificate for its name";
            failure(&reason, next)
        })?;
        let subscription = self.state.nodes.subscribe(&hello);
        let subscription = subscription.map_err(|reason| {
            failure(reason, "give every node its host's name, and start it once")
        })?;
        Ok(Guest {
            hello,
            protocol,
            subscription: Arc::new(subscription),
        })
    }

    /// Whatever the node is sent has a version above the one that it enforces, unless that is it.
    async fn make_way(
        &self,
        hello: &v1::Hello,
        protocol: u32,
        target: &Arc<target::Target>,
    ) -> Result<(), v1::Failure> {
        let enforced = Mark {
            version: hello.enforced_version,
            checksum: hello.enforced_checksum,
        };
        let mark = target.mark();
        let has_it = protocol > first::PROTOCOL && enforced.checksum == mark.checksum;
        let newer = match protocol {
            first::PROTOCOL => enforced.version > mark.version,
            _ => !has_it && enforced.version >= mark.version,
        };
        let above = u64::from(newer && enforced.version > 0);
        let least = enforced.version.saturating_add(above);
        if least <= mark.version {
            return Ok(());
        }
        let raised = self.state.raise_version(enforced.version, least).await;
        let version = raised.map_err(|error| {
            let next = "see the controller's log; the node keeps what it enforces";
            failure(&error.to_string(), next)
        })?;
        if !has_it {
            target.raise(version);
        }
        Ok(())
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
        tokio::spawn(self.clone().serve(peer, incoming, outgoing));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Told for Book {
    fn applied(&self, version: u64) {
        let node = &self.subscription.node;
        self.state.nodes.applied(&self.subscription, version);
        if let Some(given) = self.state.pipeline.given.at(version) {
            self.state.meters.acknowledged(given.max(self.since));
        }
        self.state.pipeline.standings.applied(node, version);
    }

    fn refused(&self, refused: &v1::Refused) {
        let node = &self.subscription.node;
        self.state.nodes.refused(&self.subscription, refused);
        let reason = bounded(&refused.reason);
        let standings = &self.state.pipeline.standings;
        standings.refused(node, refused.version, &reason);
    }
}

/// The newest version of the contract that both speak.
fn negotiate(hello: &v1::Hello) -> Result<u32, v1::Failure> {
    let newest = PROTOCOL_VERSION.min(hello.protocol_max);
    if newest >= hello.protocol_min.max(first::PROTOCOL) {
        return Ok(newest);
    }
    let spoken = format!("{} to {}", hello.protocol_min, hello.protocol_max);
    let own = format!("{} to {PROTOCOL_VERSION}", first::PROTOCOL);
    let node = &hello.node;
    Err(failure(
        &format!("node {node:?} speaks versions {spoken} of the contract, this controller {own}"),
        "update the node or the controller, so that both speak one version",
    ))
}

fn failure(reason: &str, next_step: &str) -> v1::Failure {
    v1::Failure {
        reason: reason.to_owned(),
        next_step: next_step.to_owned(),
    }
}
