//! A connection that another engine read so far: what is said of it, and how it is read on from.
//!
//! Trusts: what the other engine said. Distrusts: that a message begins where this one begins to read; only
//! where the other was at rest is that so.

use weir_wire::Direction;

use super::{Engine, Phase, Session, SessionId};
use crate::registry::{self, Parser};
use crate::{AppId, Confidence, Transport};

/// What is known of a connection whose beginning another engine read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What it speaks.
    pub app: AppId,
    /// It may still turn out to be a special case of it.
    pub refinable: bool,
    /// Whose parser reads it: a special case is read by the general one's.
    pub reader: AppId,
    /// How sure that is: what only the port said falls with the first byte that contradicts it.
    pub confidence: Confidence,
    /// See [`Engine::is_reversed`].
    pub reversed: bool,
    /// See [`Engine::rest_in`].
    pub rest_in: [Option<u64>; 2],
}

/// What gave a resumed connection's application away.
pub const RESUMED: &str = "what the process before had read";

impl Engine {
    /// Begins in the middle of a connection that is named already. The name stays as after a loss of bytes:
    /// where the other engine knew where the next message begins this one reads on there; otherwise the parser looks for the
    /// next message itself, or reads nothing more. None when every session is in use.
    pub fn open_resumed(
        &mut self,
        transport: Transport,
        ports: [u16; 2],
        known: Resumed,
    ) -> Option<SessionId> {
        let id = self.open(transport, ports, false)?;
        let session = &mut self.sessions[id.0 as usize];
        session.app = Some(known.app);
        session.refinable = known.refinable;
        session.reader = known.reader;
        session.parser = Parser::open(known.reader, transport, &mut self.blocks);
        session.confidence = known.confidence;
        session.evidence = RESUMED;
        session.reversed = known.reversed;
        session.phase = Phase::Parsing;
        if transport == Transport::Tcp && !session.go_on(known.rest_in) {
            session.end(&mut self.pool, &mut self.blocks);
        }
        Some(id)
    }

    /// By direction, in how many bytes the next message begins, as far as the connection's parser can tell.
    pub fn rest_in(&self, id: SessionId) -> [Option<u64>; 2] {
        let Some(session) = self.sessions.get(id.0 as usize) else {
            return [None; 2];
        };
        let is_read = session.phase == Phase::Parsing
            && (session.app).is_some_and(|app| registry::refines(app, session.reader));
        [Direction::ToServer, Direction::ToClient].map(|direction| {
            let direction = session.oriented(direction);
            let side = &session.sides[direction as usize];
            let is_whole = is_read && !side.done && side.kept.is_empty();
            let rest_in = session.parser.rest_in(direction).filter(|_| is_whole)?;
            rest_in.checked_add(side.skip)
        })
    }

    /// Whose parser reads the connection.
    pub fn reader(&self, id: SessionId) -> AppId {
        (self.sessions.get(id.0 as usize)).map_or(AppId::UNKNOWN, |session| session.reader)
    }

    /// Whether the connection's client is what the parser takes for the server.
    pub fn is_reversed(&self, id: SessionId) -> bool {
        (self.sessions.get(id.0 as usize)).is_some_and(|session| session.reversed)
    }
}

impl Session {
    /// Whether the parser can read on.
    fn go_on(&mut self, mut rest_in: [Option<u64>; 2]) -> bool {
        if self.reversed {
            rest_in.reverse();
        }
        for (side, bytes) in self.sides.iter_mut().zip(rest_in) {
            side.skip = bytes.unwrap_or(0);
        }
        self.parser.resume(rest_in.map(|bytes| bytes.is_some()))
    }
}
