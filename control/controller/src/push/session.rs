//! One node's stream, from after its Hello until it ends.
//!
//! Trusts a node to say what it enforces; distrusts its pace and its order. One message waits for a
//! node at most: while it has not answered, changes gather in its [`Target`], and its next message
//! leads straight to the newest. Whatever is lost on the way ends in a full snapshot. Memory: the
//! message that is on its way, a full one as references to its items.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tracing::{debug, warn};
use weir_api::v1::wire::{self, controller_message::Message};
use weir_api::v1::{self, node_message};
use weir_api::{Parts, cut, first, part_message};

use super::rate::Rate;
use super::target::{Mark, Target, Way};

/// A node that has not answered for this long is sent everything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A node that has taken nothing of what waits for it for this long is not served any more.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// What was refused in full is tried again after this, doubled each time up to the last.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
const REFUSED_LAST: Duration = Duration::from_secs(300);
/// How soon a large snapshot is tried again while as many as may are on their way.
const TURN: Duration = Duration::from_millis(20);
/// What a node says beside acknowledging what it is sent.
const MESSAGES_AT_ONCE: u64 = 100;
const MESSAGES_PER_SECOND: u64 = 20;

/// Where messages to a node go.
pub type Outgoing = mpsc::Sender<Result<wire::ControllerMessage, Status>>;

/// Who wants to know what a node answers.
pub trait Told: Send {
    /// It enforces this version.
    fn applied(&self, version: u64);
    /// It refused a version.
    fn refused(&self, refused: &v1::Refused);
}

/// What a session is made of.
#[derive(Debug)]
pub struct Session<T> {
    node: String,
    protocol: u32,
    target: Arc<Target>,
    /// The newest version of all, for nodes that have the newest content.
    newest: Arc<AtomicU64>,
    /// So many large snapshots are on their way at a time.
    large: Arc<Semaphore>,
    told: T,
    outgoing: Outgoing,
    /// What the node enforces, as far as it said.
    has: Option<Mark>,
    /// Version 1: what it was sent last, as the base of the next delta.
    first: Option<v1::Snapshot>,
    /// The node is known to have what `has` says, and knows that it is the newest.
    confirmed: bool,
    /// What it has is of no use: everything is sent next.
    whole_next: bool,
    awaiting: Option<Awaiting>,
    refused: Option<HeldBack>,
    /// Not before then.
    turn: Option<Instant>,
    rate: Rate,
}

#[derive(Debug)]
struct Awaiting {
    mark: Mark,
    whole: bool,
    pieces: Pieces,
    /// When it was sent, or a piece of it was.
    since: Instant,
    /// Held while a large snapshot is on its way.
    _turn: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Pieces {
    Messages(VecDeque<wire::ControllerMessage>),
    Parts(Box<Parts>, Option<Box<wire::ControllerMessage>>),
}

#[derive(Clone, Copy, Debug)]
struct HeldBack {
    mark: Mark,
    wait: Duration,
    until: Instant,
}

impl<T: Told> Session<T> {
    /// Of a node that said this, in a version of the contract that both speak.
    pub fn new(
        hello: &v1::Hello,
        protocol: u32,
        (target, newest, large): (Arc<Target>, Arc<AtomicU64>, Arc<Semaphore>),
        told: T,
        outgoing: Outgoing,
    ) -> Self {
        let mark = Mark {
            version: hello.enforced_version,
            checksum: hello.enforced_checksum,
        };
        Self {
            node: hello.node.clone(),
            protocol,
            target,
            newest,
            large,
            told,
            outgoing,
            has: (mark.version > 0).then_some(mark),
            first: None,
            confirmed: false,
            whole_next: false,
            awaiting: None,
            refused: None,
            turn: None,
            rate: Rate::new(MESSAGES_AT_ONCE, MESSAGES_PER_SECOND),
        }
    }

    /// Serves the node until the stream ends, or `end` does; returns why.
    pub async fn run(
        mut self,
        incoming: impl Stream<Item = Result<v1::NodeMessage, Status>>,
        end: impl Future<Output = String>,
    ) -> String {
        let (mut incoming, mut end) = (pin!(incoming), pin!(end));
        let mut changes = self.target.changes();
        let greets = self.protocol > first::PROTOCOL;
        if greets && self.outgoing.send(Ok(self.welcome())).await.is_err() {
            return "the node is gone".to_owned();
        }
        loop {
            changes.borrow_and_update();
            if self.awaiting.is_none() {
                self.prepare();
            }
            let sends = self
                .awaiting
                .as_ref()
                .is_some_and(|it| !it.pieces.is_empty());
            let outgoing = self.outgoing.clone();
            let late = self.late();
            tokio::select! {
                told = incoming.next() => match told {
                    Some(Ok(told)) => {
                        if !self.is_asked(&told) && self.rate.take(1).is_err() {
                            return self.fail("it sends more messages than it is asked for");
                        }
                        if let Err(why) = self.answered(told) {
                            return self.fail(&why);
                        }
                    }
                    Some(Err(status)) => return format!("the connection was lost: {}", status.message()),
                    None => return "the node closed it".to_owned(),
                },
                permit = outgoing.reserve(), if sends => match permit {
                    Ok(permit) => if let Some(piece) = self.next_piece() {
                        permit.send(Ok(piece));
                    },
                    Err(_) => return "the node is gone".to_owned(),
                },
                changed = changes.changed(), if self.awaiting.is_none() => {
                    if changed.is_err() {
                        return "the policy is gone".to_owned();
                    }
                }
                () = sleep_until(late.unwrap_or_else(far)), if late.is_some() => {
                    if sends {
                        return self.fail("it does not read what it is sent");
                    }
                    self.wake();
                }
                why = &mut end => return self.fail(&why),
            }
        }
    }

    /// Comes once more with whatever begins anew: nothing then hangs on what came before.
    fn welcome(&self) -> wire::ControllerMessage {
        message(Message::Welcome(v1::Welcome {
            protocol: self.protocol,
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    /// Tells the node why it is not served any more, if it listens.
    fn fail(&self, why: &str) -> String {
        let failure = Message::Failure(v1::Failure {
            reason: format!("the stream of node {:?} ends: {why}", self.node),
            next_step: "subscribe again".to_owned(),
        });
        let _ = self.outgoing.try_send(Ok(message(failure)));
        why.to_owned()
    }

    fn next_piece(&mut self) -> Option<wire::ControllerMessage> {
        let awaiting = self.awaiting.as_mut()?;
        awaiting.since = Instant::now();
        awaiting.pieces.next()
    }

    /// When something is to be done although nothing comes.
    fn late(&self) -> Option<Instant> {
        match &self.awaiting {
            Some(awaiting) if awaiting.pieces.is_empty() => Some(awaiting.since + ANSWER_TIMEOUT),
            Some(awaiting) => Some(awaiting.since + READ_TIMEOUT),
            None => self.turn.or(self.refused.map(|held| held.until)),
        }
    }

    fn wake(&mut self) {
        self.turn = None;
        if self.awaiting.take().is_some() {
            warn!(
                node = self.node,
                "no answer to the last message; sending everything"
            );
            self.whole_next = true;
        }
    }

    /// What leads to the newest becomes the message that is awaited, if there is any.
    fn prepare(&mut self) {
        let newest = self.target.mark();
        if newest.version == 0 || self.turn.is_some_and(|turn| turn > Instant::now()) {
            return;
        }
        self.turn = None;
        let held_back = |held: HeldBack| held.mark == newest && Instant::now() < held.until;
        if self.refused.is_some_and(held_back) {
            return;
        }
        match self.protocol {
            first::PROTOCOL => self.prepare_first(newest),
            _ => self.prepare_newest(),
        }
    }

    fn prepare_newest(&mut self) {
        let has = self.has.filter(|_| !self.whole_next);
        let (way, mark) = self.target.way_from(has);
        match way {
            Way::There if self.confirmed => {}
            Way::There => {
                let has = self.has.map_or(0, |has| has.version);
                let newest = self.newest.load(Ordering::SeqCst);
                let version = newest.max(mark.version).max(has);
                let mark = Mark { version, ..mark };
                let current = v1::Current {
                    version,
                    checksum: mark.checksum,
                };
                self.send(mark, false, vec![message(Message::Current(current))]);
            }
            Way::Delta(delta) => {
                let pieces = cut(mark.version, message(Message::Delta(*delta)));
                self.send(mark, false, pieces);
            }
            Way::Whole(mut parts) if parts.is_one() => {
                // One part is an encoded message; a message that fits travels as itself.
                let whole = parts.next().map(|part| part.piece);
                let whole = whole.and_then(|piece| prost::Message::decode(piece).ok());
                let welcome = std::iter::once(self.welcome());
                self.send(mark, true, welcome.chain(whole).collect());
            }
            Way::Whole(parts) => match self.large.clone().try_acquire_owned() {
                Ok(turn) => {
                    let pieces = Pieces::Parts(Box::new(parts), Some(Box::new(self.welcome())));
                    self.send(mark, true, Vec::new());
                    if let Some(awaiting) = &mut self.awaiting {
                        awaiting.pieces = pieces;
                        awaiting._turn = Some(turn);
                    }
                }
                Err(_) => self.turn = Some(Instant::now() + TURN),
            },
        }
    }

    fn prepare_first(&mut self, newest: Mark) {
        let sent = self.first.as_ref().filter(|_| !self.whole_next);
        if sent.is_some_and(|sent| sent.version == newest.version) {
            return;
        }
        let (version, contents) = self.target.contents();
        // What was made here can be read here.
        let next = first::snapshot(contents.message(version).unwrap_or_default());
        let (whole, typed) = match sent {
            Some(sent) => {
                let delta = first::delta(sent, &next);
                (false, v1::controller_message::Message::Delta(delta))
            }
            None => {
                let snapshot = v1::controller_message::Message::Snapshot(next.clone());
                (true, snapshot)
            }
        };
        let typed = v1::ControllerMessage {
            message: Some(typed),
        };
        let travelling = weir_api::retyped(&typed).unwrap_or_default();
        let mark = Mark {
            version,
            checksum: contents.checksum(),
        };
        self.first = Some(next);
        self.send(mark, whole, vec![travelling]);
    }

    fn send(&mut self, mark: Mark, whole: bool, messages: Vec<wire::ControllerMessage>) {
        debug!(
            node = self.node,
            version = mark.version,
            whole,
            "sending policy"
        );
        self.awaiting = Some(Awaiting {
            mark,
            whole,
            pieces: Pieces::Messages(messages.into()),
            since: Instant::now(),
            _turn: None,
        });
    }

    /// The right answer to what was sent comes as often as there is something to send.
    fn is_asked(&self, told: &v1::NodeMessage) -> bool {
        let (Some(node_message::Message::Applied(applied)), Some(awaiting)) =
            (&told.message, &self.awaiting)
        else {
            return false;
        };
        applied.version == awaiting.mark.version && self.is_right(applied, awaiting)
    }

    fn is_right(&self, applied: &v1::Applied, awaiting: &Awaiting) -> bool {
        self.protocol == first::PROTOCOL || applied.checksum == awaiting.mark.checksum
    }

    /// Takes an answer; an error ends the stream.
    fn answered(&mut self, told: v1::NodeMessage) -> Result<(), String> {
        match told.message {
            Some(node_message::Message::Applied(applied)) => self.applied(applied),
            Some(node_message::Message::Refused(refused)) => return self.refuse(&refused),
            Some(node_message::Message::Hello(_)) | None => {}
        }
        Ok(())
    }

    fn applied(&mut self, applied: v1::Applied) {
        let Some(awaiting) = self.awaited(applied.version) else {
            return;
        };
        if !self.is_right(&applied, &awaiting) {
            warn!(
                node = self.node,
                version = applied.version,
                "the node has another content"
            );
            self.whole_next = true;
            return;
        }
        self.has = Some(awaiting.mark);
        self.confirmed = true;
        self.whole_next = false;
        self.refused = None;
        self.told.applied(applied.version);
    }

    fn refuse(&mut self, refused: &v1::Refused) -> Result<(), String> {
        let newest = self.newest.load(Ordering::SeqCst);
        let newest = newest.max(self.target.mark().version);
        if self.protocol > first::PROTOCOL && refused.enforced_version > newest {
            let version = refused.enforced_version;
            return Err(format!(
                "it enforces version {version}, which it was not given here"
            ));
        }
        let Some(awaiting) = self.awaited(refused.version) else {
            return Ok(());
        };
        let (version, reason) = (refused.version, bounded(&refused.reason));
        warn!(node = self.node, version, reason, "node refused");
        self.told.refused(refused);
        // A delta may have met another base; what is refused in full is left alone for a while.
        if awaiting.whole {
            let before = self.refused.filter(|held| held.mark == awaiting.mark);
            let wait = before.map_or(REFUSED_FIRST, |held| (held.wait * 2).min(REFUSED_LAST));
            self.refused = Some(HeldBack {
                mark: awaiting.mark,
                wait,
                until: Instant::now() + wait,
            });
        }
        self.first = None;
        self.confirmed = false;
        self.whole_next = true;
        Ok(())
    }

    /// What was awaited, if this is the answer to it.
    fn awaited(&mut self, version: u64) -> Option<Awaiting> {
        self.awaiting
            .take_if(|awaiting| awaiting.mark.version == version)
    }
}

impl Pieces {
    fn is_empty(&self) -> bool {
        match self {
            Self::Messages(messages) => messages.is_empty(),
            Self::Parts(_, next) => next.is_none(),
        }
    }

    fn next(&mut self) -> Option<wire::ControllerMessage> {
        match self {
            Self::Messages(messages) => messages.pop_front(),
            Self::Parts(parts, next) => {
                let following = parts.next().map(part_message).map(Box::new);
                std::mem::replace(next, following).map(|next| *next)
            }
        }
    }
}

/// A message of this kind.
pub fn message(message: Message) -> wire::ControllerMessage {
    wire::ControllerMessage {
        message: Some(message),
    }
}

/// A node's text, as much of it as is shown.
pub fn bounded(text: &str) -> String {
    text.chars().take(1024).collect()
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
