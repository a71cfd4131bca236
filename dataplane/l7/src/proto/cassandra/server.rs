//! What the server answers: errors, outcomes of logins, the current keyspace, prepared statements.

use super::client::{hash, payload};
use super::{Cassandra, ERROR, ERROR_CODE, LOGIN, MECHANISM, Message, USER, opcode, string};
use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

mod flag {
    pub(super) const TRACING: u8 = 2;
    pub(super) const CUSTOM_PAYLOAD: u8 = 4;
    pub(super) const WARNING: u8 = 8;
}

/// The error of a wrong name or password.
const BAD_CREDENTIALS: u32 = 0x0100;

/// Kinds of a RESULT.
const SET_KEYSPACE: u32 = 3;
const PREPARED: u32 = 4;

impl Cassandra {
    pub(super) fn answer(
        &mut self,
        message: &Message<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<(), Step> {
        let head = message.head;
        let mut cursor = Cursor::new(message.body);
        if before_body(head.flags, &mut cursor).is_none() {
            return Ok(());
        }
        match head.opcode {
            opcode::ERROR => {
                self.failed(&mut cursor, sink);
                self.preparing.retain(|(stream, _)| *stream != head.stream);
            }
            opcode::AUTHENTICATE => Told::new()
                .known(MECHANISM, string(&mut cursor).unwrap_or_default())
                .send(EventKind::Session, sink),
            opcode::AUTH_SUCCESS => Told::new()
                .name(LOGIN, "accepted")
                .known(USER, &self.user)
                .send(EventKind::Session, sink),
            opcode::RESULT => self.result(head.stream, &mut cursor),
            opcode::READY | opcode::SUPPORTED | opcode::EVENT | opcode::AUTH_CHALLENGE => {}
            _ => return Err(Step::Violation("cassandra: unknown opcode")),
        }
        Ok(())
    }

    fn failed(&self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) {
        let Some(code) = cursor.u32() else {
            return;
        };
        let told = Told::new()
            .number(ERROR_CODE, code.into())
            .known(ERROR, string(cursor).unwrap_or_default());
        let told = match code {
            BAD_CREDENTIALS => told.name(LOGIN, "failed").known(USER, &self.user),
            _ => told,
        };
        told.send(EventKind::Response, sink);
    }

    fn result(&mut self, stream: u16, cursor: &mut Cursor<'_>) {
        match cursor.u32() {
            Some(SET_KEYSPACE) => {
                let keyspace = string(cursor).unwrap_or_default();
                self.keyspace = keyspace.try_into().unwrap_or_default();
            }
            Some(PREPARED) => {
                let place = self.preparing.iter().position(|(one, _)| *one == stream);
                let kind = place.and_then(|place| self.preparing.pop_at(place));
                if let (Some((_, kind)), Some(id)) = (kind, string(cursor)) {
                    self.prepared.numbered(hash(id), kind);
                }
            }
            _ => {}
        }
    }
}

/// What flags put before the body: a trace's number, warnings, a custom payload.
fn before_body(flags: u8, cursor: &mut Cursor<'_>) -> Option<()> {
    if flags & flag::TRACING != 0 {
        cursor.take(16)?;
    }
    if flags & flag::WARNING != 0 {
        for _ in 0..cursor.u16()? {
            string(cursor)?;
        }
    }
    if flags & flag::CUSTOM_PAYLOAD != 0 {
        payload(cursor)?;
    }
    Some(())
}
