//! Captures to nodes and back: `weir.v1.Captures`.
//!
//! Trusts a node in what it captured; distrusts its pace and, with TLS, its name. A node that does not
//! follow makes no captures, and is told nothing of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;
use weir_api::v1::capture_order::Order;
use weir_api::v1::capture_report::Report;
use weir_api::v1::{self, CaptureOrder, CaptureReport};

use super::Read;
use crate::certificate::{Gate, Peer};
use crate::push::rate::Rate;
use crate::state::State;

/// A node says hello at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the addresses of captured workloads are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pieces of a file that wait for whoever reads it, and for how long.
pub(super) const PIECES_WAITING: usize = 64;
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Files of one node that are read at a time.
const READS_MAX: usize = 4;
/// What a node tells, at once and a second in the long run.
const TOLD_AT_ONCE: u64 = 100;
const TOLD_PER_SECOND: u64 = 20;
/// Longest node name, as DNS has it.
const NAME_BYTES_MAX: usize = 253;

/// The service.
#[derive(Clone, Debug)]
pub struct Follow {
    state: Arc<State>,
    gate: Gate,
}

/// Where orders to a node go.
type Orders = mpsc::Sender<Result<CaptureOrder, Status>>;

/// One node's stream.
struct Session {
    state: Arc<State>,
    node: String,
    stream: u64,
    orders: Orders,
    /// What the node was told last, without the time that was left.
    sent: Option<Vec<v1::WantedCapture>>,
    readers: HashMap<u64, mpsc::Sender<Result<v1::CapturePiece, Status>>>,
    reads: u64,
    rate: Rate,
}

impl Follow {
    /// Serves the captures of this controller.
    pub fn new(state: Arc<State>, gate: Gate) -> Self {
        Self { state, gate }
    }
}

#[tonic::async_trait]
impl v1::captures_server::Captures for Follow {
    type FollowStream = ReceiverStream<Result<CaptureOrder, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<CaptureReport>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let peer = self.gate.peer(&request)?;
        let (orders, stream) = mpsc::channel(8);
        let (state, incoming) = (self.state.clone(), request.into_inner());
        tokio::spawn(serve(state, peer, incoming, orders));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn serve(
    state: Arc<State>,
    peer: Peer,
    mut incoming: Streaming<CaptureReport>,
    orders: Orders,
) {
    let node = match greet(&peer, &mut incoming).await {
        Ok(node) => node,
        Err(status) => {
            let _ = orders.send(Err(status)).await;
            return;
        }
    };
    let (reads, reading) = mpsc::channel(READS_MAX);
    let stream = match state.capturing.connect(&node, reads) {
        Ok(stream) => stream,
        Err(why) => {
            let _ = orders.send(Err(Status::resource_exhausted(why))).await;
            return;
        }
    };
    let session = Session {
        state: state.clone(),
        node: node.clone(),
        stream,
        orders: orders.clone(),
        sent: None,
        readers: HashMap::new(),
        reads: 0,
        rate: Rate::new(TOLD_AT_ONCE, TOLD_PER_SECOND),
    };
    if let Err(status) = session.run(&peer, incoming, reading).await {
        debug!(node, why = status.message(), "a stream of captures ends");
        let _ = orders.try_send(Err(status));
    }
    state.capturing.disconnect(&node, stream);
}

async fn greet(peer: &Peer, incoming: &mut Streaming<CaptureReport>) -> Result<String, Status> {
    let hello = timeout(HELLO_TIMEOUT, incoming.message()).await;
    let hello = hello.map_err(|_| Status::deadline_exceeded("no hello came"))??;
    let Some(Report::Hello(hello)) = hello.and_then(|report| report.report) else {
        return Err(Status::invalid_argument("what comes first is a hello"));
    };
    let node = hello.node;
    if node.is_empty() || node.len() > NAME_BYTES_MAX || node.contains(char::is_control) {
        let why = "the node's name is empty, too long or not printable";
        return Err(Status::invalid_argument(why));
    }
    peer.check(&node).map_err(Status::permission_denied)?;
    Ok(node)
}

impl Session {
    async fn run(
        mut self,
        peer: &Peer,
        mut incoming: Streaming<CaptureReport>,
        mut reading: mpsc::Receiver<Read>,
    ) -> Result<(), Status> {
        let state = self.state.clone();
        let mut stopping = state.stopping();
        let mut changed = state.capturing.changed.subscribe();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired = std::pin::pin!(peer.expired());
        // What it makes already is known before it is told what to make.
        let mut known = false;
        loop {
            let stop = async {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            tokio::select! {
                report = incoming.message() => match report?.and_then(|report| report.report) {
                    Some(Report::Statuses(told)) => {
                        if self.rate.take(1).is_err() {
                            return Err(Status::resource_exhausted("it tells more than it may"));
                        }
                        state.capturing.told(&self.node, told, !known);
                        known = true;
                        self.send_wanted().await?;
                    }
                    Some(Report::Piece(piece)) => self.pass_on(piece).await,
                    Some(Report::Hello(_)) => {}
                    None => return Ok(()),
                },
                _ = changed.changed(), if known => self.send_wanted().await?,
                _ = looks.tick(), if known => {
                    if !state.capturing.is_current(&self.node, self.stream) {
                        return Err(Status::aborted("the node has opened a newer stream"));
                    }
                    self.send_wanted().await?;
                }
                Some(read) = reading.recv() => self.ask(read).await?,
                why = &mut expired => return Err(Status::unauthenticated(why)),
                () = stop => return Ok(()),
            }
        }
    }

    /// Tells the node what is wanted of it, if that has changed.
    async fn send_wanted(&mut self) -> Result<(), Status> {
        let wanted = self.state.wanted_of(&self.node);
        let mut lasting = wanted.clone();
        lasting.iter_mut().for_each(|it| it.left_ms = 0);
        if self.sent.as_ref() == Some(&lasting) {
            return Ok(());
        }
        debug!(node = self.node, captures = wanted.len(), "captures wanted");
        self.sent = Some(lasting);
        let wanted = v1::WantedCaptures { captures: wanted };
        self.send(Order::Wanted(wanted)).await
    }

    async fn ask(&mut self, read: Read) -> Result<(), Status> {
        self.readers.retain(|_, reader| !reader.is_closed());
        self.reads += 1;
        self.readers.insert(self.reads, read.pieces);
        let asked = v1::CaptureRead {
            request: self.reads,
            file: read.file,
        };
        self.send(Order::Read(asked)).await
    }

    /// A piece goes to whoever asked for it; one who does not take it is let go.
    async fn pass_on(&mut self, piece: v1::CapturePiece) {
        let request = piece.request;
        let Some(reader) = self.readers.get(&request) else {
            return;
        };
        let last = piece.last || !piece.error.is_empty();
        let passed = match piece.error.is_empty() {
            true => Ok(piece),
            false => Err(Status::failed_precondition(crate::push::session::bounded(
                &piece.error,
            ))),
        };
        let taken = timeout(READER_TIMEOUT, reader.send(passed)).await;
        if last || !matches!(taken, Ok(Ok(()))) {
            self.readers.remove(&request);
        }
    }

    async fn send(&self, order: Order) -> Result<(), Status> {
        let order = CaptureOrder { order: Some(order) };
        let sent = self.orders.send(Ok(order)).await;
        sent.map_err(|_| Status::unavailable("the node is gone"))
    }
}
