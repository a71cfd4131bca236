//! Identify and parse: from the bytes of a connection to its application and events.
//!
//! Trusts: that stream bytes arrive in order and datagrams whole. Distrusts: every byte, every
//! port, and the parsers: one that makes no progress or claims more than it was given is stopped.
//! Reasons: none of its own; it reports violations, and the caller decides what they cost.
//! Memory: `sessions` sessions, `pending_pool_bytes` of kept bytes and `blocks` blocks, all allocated
//! by [`Engine::new`]; a connection keeps at most `pending_bytes` each way.

mod identify;
mod resume;
mod run;
#[cfg(test)]
mod tests;

pub use resume::{RESUMED, Resumed};
use weir_wire::Direction;

use crate::pool::{Kept, Pool};
use crate::registry::{self, Parser};
use crate::{
    Announcement, AppId, AppSet, Blocks, Buffer, BufferSet, Confidence, Content, Event, Transport,
};

/// What the engine may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time.
    pub sessions: usize,
    /// Bytes of each direction that are looked at before the application is decided.
    pub probe_bytes: usize,
    /// Packets that are looked at before the application is decided. Of a stream, only packets
    /// once 512 bytes have come count as the last, so that tiny segments do not hide it.
    pub probe_packets: u16,
    /// Bytes of one direction kept for a message that is not complete.
    pub pending_bytes: usize,
    /// Bytes kept for all connections together.
    pub pending_pool_bytes: usize,
    /// [`crate::Block`]s for parsers that need more than a session's share.
    pub blocks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 65_536,
            probe_bytes: 2_048,
            probe_packets: 16,
            pending_bytes: 16 << 10,
            pending_pool_bytes: 64 << 20,
            blocks: 2_048,
        }
    }
}

/// Who speaks: whose words an event is in, and what the connection is known as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The application whose parser reads: the event's fields are its.
    pub parser: AppId,
    /// The connection's application: the parser's, a special case of it, or what carries TLS.
    pub app: AppId,
    /// It may still turn out to be any special case of `app`.
    pub refinable: bool,
    /// The direction of the flow that the words go.
    pub direction: Direction,
}

/// Takes the events of every parser.
pub trait AppEventSink {
    /// Called once per message, in the order of the stream.
    fn event(&mut self, speaker: Speaker, event: &Event<'_>);

    /// Whether somebody looks into this buffer.
    fn wants(&self, _buffer: Buffer) -> bool {
        false
    }

    /// All that somebody looks into of what goes this way: asked once a message. [`Self::wants`] answers for
    /// both ways.
    fn wanted(&self, _direction: Direction) -> BufferSet {
        crate::event::wanted(|buffer| self.wants(buffer))
    }

    /// A piece of a buffer, behind the event of the message that it belongs to.
    fn content(&mut self, _speaker: Speaker, _content: &Content<'_>) {}

    /// Another connection between the same two hosts will follow.
    fn announce(&mut self, _announcement: &Announcement) {}
}

/// A connection within the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u32);

/// Evidence of none so far.
const UNDECIDED: &str = "too few bytes yet";

/// Evidence of an application that took the place of the one before it (Upgrade), where that agreed:
/// not of one that is carried within it (CONNECT).
pub const TURNED: &str = "what it began as turned into it";

/// What is known of a connection's application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification {
    /// None: still deciding. [`AppId::UNKNOWN`]: nothing that is known.
    pub app: Option<AppId>,
    /// It is `app`, but may still turn out to be any special case of it.
    pub refinable: bool,
    /// What it may still turn out to be; while deciding, [`AppId::UNKNOWN`] is always among them.
    pub candidates: AppSet,
    /// How sure the answer is.
    pub confidence: Confidence,
    /// What gave the answer.
    pub evidence: &'static str,
    /// The application it began with, once it has become another.
    pub carried: Option<AppId>,
    /// The bytes contradicted the application, and nothing behind that point was read.
    pub violation: Option<&'static str>,
}

impl Identification {
    /// Of a connection that there is not.
    const NONE: Self = Self {
        app: None,
        refinable: false,
        candidates: AppSet::EMPTY,
        confidence: Confidence::None,
        evidence: UNDECIDED,
        carried: None,
        violation: None,
    };
}

/// What the engine wants next of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Go on feeding.
    Feed,
    /// The next bytes of this direction, this many, need not be fed: report them with
    /// [`Engine::skipped`], or feed them all the same.
    Skip(u64),
    /// Nothing more of this direction is of interest.
    Done,
}

/// What a call brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is wanted next of this direction.
    pub interest: Interest,
    /// The application became known, or changed, in this call.
    pub identified: bool,
    /// The bytes contradict the application; what follows is not read.
    pub violation: Option<&'static str>,
}

/// Names applications and parses them, for one worker.
pub struct Engine {
    limits: Limits,
    sessions: Vec<Session>,
    free: Vec<u32>,
    pool: Pool,
    blocks: Blocks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    Probing,
    Parsing,
    Over,
}

struct Session {
    parser: Parser,
    sides: [Side; 2],
    candidates: AppSet,
    /// The ports of client and server, as the roles were taken.
    ports: [u16; 2],
    packets: u16,
    phase: Phase,
    transport: Transport,
    from_start: bool,
    first: Option<Direction>,
    app: Option<AppId>,
    /// Whose parser reads.
    reader: AppId,
    refinable: bool,
    /// The roles were taken the wrong way round: what opened the connection is the server.
    reversed: bool,
    carried: Option<AppId>,
    confidence: Confidence,
    changes: u8,
    evidence: &'static str,
    violation: Option<&'static str>,
}

#[derive(Default)]
struct Side {
    /// While probing: the first bytes. Then: a message that is not complete.
    kept: Kept,
    /// Bytes to come that nobody wants.
    skip: u64,
    /// Bytes lost while probing, before the first kept one.
    lost: u64,
    done: bool,
}

impl Session {
    fn empty() -> Self {
        Self {
            parser: Parser::None,
            sides: [Side::default(), Side::default()],
            candidates: AppSet::EMPTY,
            ports: [0; 2],
            packets: 0,
            phase: Phase::Free,
            transport: Transport::Tcp,
            from_start: true,
            first: None,
            app: None,
            reader: AppId::UNKNOWN,
            refinable: false,
            reversed: false,
            carried: None,
            confidence: Confidence::None,
            changes: 0,
            evidence: UNDECIDED,
            violation: None,
        }
    }

    fn identification(&self) -> Identification {
        Identification {
            app: self.app,
            refinable: self.refinable,
            candidates: self.candidates(),
            confidence: self.confidence,
            evidence: self.evidence,
            carried: self.carried,
            violation: self.violation,
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction as usize]
    }

    /// The direction as the parser knows it.
    fn oriented(&self, direction: Direction) -> Direction {
        if self.reversed {
            direction.reverse()
        } else {
            direction
        }
    }

    /// What is wanted next of a direction, as the parser knows it.
    fn interest(&self, direction: Direction) -> Interest {
        let side = &self.sides[direction as usize];
        match self.phase {
            Phase::Probing => Interest::Feed,
            Phase::Parsing if side.done => Interest::Done,
            Phase::Parsing if side.skip > 0 => Interest::Skip(side.skip),
            Phase::Parsing => Interest::Feed,
            Phase::Free | Phase::Over => Interest::Done,
        }
    }

    /// What it may turn out to be: with every candidate, what may become of it.
    fn candidates(&self) -> AppSet {
        match self.app {
            Some(app) if self.refinable => registry::special_cases(app),
            Some(app) => AppSet::of(app),
            None => registry::with_special_cases(self.candidates),
        }
    }

    /// Ends reading; what was said of the application stays.
    fn end(&mut self, pool: &mut Pool, blocks: &mut Blocks) {
        for side in &mut self.sides {
            pool.release(&mut side.kept);
            side.done = true;
        }
        self.parser.close(blocks);
        self.refinable = false;
        self.phase = Phase::Over;
    }
}

impl Engine {
    /// Allocates everything that the limits allow.
    pub fn new(limits: Limits) -> Self {
        registry::prepare();
        let count = u32::try_from(limits.sessions).unwrap_or(u32::MAX);
        let large = limits.pending_bytes.max(limits.probe_bytes);
        Self {
            sessions: (0..count).map(|_| Session::empty()).collect(),
            free: (0..count).rev().collect(),
            pool: Pool::new(limits.probe_bytes, large, limits.pending_pool_bytes),
            blocks: Blocks::new(limits.blocks),
            limits: Limits {
                pending_bytes: large,
                ..limits
            },
        }
    }

    /// Begins a connection between these ports, the client's first. None when every session is in
    /// use.
    pub fn open(
        &mut self,
        transport: Transport,
        ports: [u16; 2],
        from_start: bool,
    ) -> Option<SessionId> {
        let slot = self.free.pop()?;
        let session = &mut self.sessions[slot as usize];
        *session = Session::empty();
        session.phase = Phase::Probing;
        session.transport = transport;
        session.ports = ports;
        session.from_start = from_start;
        session.candidates = registry::carried_by(transport).with(AppId::UNKNOWN);
        Some(SessionId(slot))
    }

    /// Begins a connection that another one has announced: what it speaks is known.
    pub fn open_announced(
        &mut self,
        transport: Transport,
        ports: [u16; 2],
        app: AppId,
    ) -> Option<SessionId> {
        let id = self.open(transport, ports, true)?;
        let session = &mut self.sessions[id.0 as usize];
        session.app = Some(app);
        session.reader = app;
        session.parser = Parser::open(app, transport, &mut self.blocks);
        session.confidence = Confidence::Content;
        session.evidence = "announced by its control connection";
        session.phase = Phase::Parsing;
        Some(id)
    }

    /// Takes the next bytes of a stream's direction, or one datagram.
    pub fn data(
        &mut self,
        id: SessionId,
        direction: Direction,
        bytes: &[u8],
        sink: &mut dyn AppEventSink,
    ) -> Outcome {
        let Some(session) = self.sessions.get_mut(id.0 as usize) else {
            return Outcome {
                interest: Interest::Done,
                identified: false,
                violation: None,
            };
        };
        let direction = session.oriented(direction);
        let mut turn = run::Turn::new(
            session,
            &mut self.pool,
            &mut self.blocks,
            &self.limits,
            sink,
        );
        match turn.reader.session.phase {
            _ if bytes.is_empty() => {}
            Phase::Probing => turn.identify(direction, bytes),
            Phase::Parsing => turn.feed(direction, bytes),
            Phase::Free | Phase::Over => {}
        }
        turn.finish(direction)
    }

    /// The connection is over before its application was certain: the port may speak for one that
    /// is still possible.
    pub fn conclude(&mut self, id: SessionId) -> Identification {
        if let Some(session) = self.sessions.get_mut(id.0 as usize)
            && session.phase == Phase::Probing
            && session.first.is_some()
        {
            let (app, confidence, evidence) = session.by_port();
            session.app = Some(app);
            session.confidence = confidence;
            session.evidence = evidence;
            session.end(&mut self.pool, &mut self.blocks);
        }
        self.identification(id)
    }

    /// Counts bytes that were not fed because of [`Interest::Skip`].
    pub fn skipped(&mut self, id: SessionId, direction: Direction, length: u64) {
        if let Some(session) = self.sessions.get_mut(id.0 as usize) {
            let side = session.side(session.oriented(direction));
            side.skip = side.skip.saturating_sub(length);
        }
    }

    /// Bytes of this direction were lost for good.
    pub fn gap(&mut self, id: SessionId, direction: Direction, length: u64) -> Outcome {
        let Some(session) = self.sessions.get_mut(id.0 as usize) else {
            return Outcome {
                interest: Interest::Done,
                identified: false,
                violation: None,
            };
        };
        let direction = session.oriented(direction);
        match session.phase {
            Phase::Probing => {
                let side = &mut session.sides[direction as usize];
                side.lost = side
                    .lost
                    .saturating_add(side.kept.len() as u64)
                    .saturating_add(length);
                self.pool.release(&mut side.kept);
                session.from_start = false;
            }
            Phase::Parsing => {
                let side = &mut session.sides[direction as usize];
                let lost = length.saturating_sub(side.skip);
                side.skip = side.skip.saturating_sub(length);
                if lost > 0 {
                    self.pool.release(&mut side.kept);
                    if !session.parser.gap(direction, lost) {
                        session.end(&mut self.pool, &mut self.blocks);
                    }
                }
            }
            Phase::Free | Phase::Over => {}
        }
        Outcome {
            interest: session.interest(direction),
            identified: false,
            violation: None,
        }
    }

    /// What is known of the connection.
    pub fn identification(&self, id: SessionId) -> Identification {
        let session = self.sessions.get(id.0 as usize);
        session.map_or(Identification::NONE, Session::identification)
    }

    /// What the connection is known as, where it will turn out to be no special case of that any more.
    pub fn application(&self, id: SessionId) -> Option<AppId> {
        let session = self.sessions.get(id.0 as usize)?;
        session.app.filter(|_| !session.refinable)
    }

    /// What the connection may still turn out to be: of [`Self::identification`] the candidates alone.
    pub fn candidates(&self, id: SessionId) -> AppSet {
        let session = self.sessions.get(id.0 as usize);
        session.map_or(AppSet::EMPTY, Session::candidates)
    }

    /// What is wanted next of a direction.
    pub fn interest(&self, id: SessionId, direction: Direction) -> Interest {
        self.sessions
            .get(id.0 as usize)
            .map_or(Interest::Done, |session| {
                session.interest(session.oriented(direction))
            })
    }

    /// Ends a connection and takes its memory back.
    pub fn close(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id.0 as usize)
            && session.phase != Phase::Free
        {
            session.end(&mut self.pool, &mut self.blocks);
            session.phase = Phase::Free;
            self.free.push(id.0);
        }
    }

    /// Open connections.
    pub fn open_sessions(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    /// Bytes of memory that hold kept bytes.
    pub fn pending_bytes_used(&self) -> usize {
        self.pool.used_bytes()
    }
}
