//! Procedure calls ([MS-TDS] 2.2.6.6), whose parameters may hold the statement.

use arrayvec::ArrayVec;

use super::client::{headers, kind};
use super::text::{self, little_u16, little_u32};
use super::{Header, KEPT, Mssql};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::sql::{Dialect, Kind, Scanner, Statements};
use crate::{Buffer, EventSink};

/// Names of procedures.
const NAME_MAX: usize = 128;
/// How many calls of a message are told.
const CALLS_MAX: usize = 64;

/// Procedures that have numbers; the number of texts before that of the statement.
const NUMBERED: &[(&[u8], Option<usize>)] = &[
    (b"", None),
    (b"sp_cursor", None),
    (b"sp_cursoropen", Some(0)),
    (b"sp_cursorprepare", Some(1)),
    (b"sp_cursorexecute", None),
    (b"sp_cursorprepexec", Some(1)),
    (b"sp_cursorunprepare", None),
    (b"sp_cursorfetch", None),
    (b"sp_cursoroption", None),
    (b"sp_cursorclose", None),
    (b"sp_executesql", Some(0)),
    (b"sp_prepare", Some(1)),
    (b"sp_execute", None),
    (b"sp_prepexec", Some(1)),
    (b"sp_prepexecrpc", None),
    (b"sp_unprepare", None),
];

/// A parameter's value, as far as it matters.
enum Parameter<'a> {
    /// UTF-16, and whether all of it is here.
    Text(&'a [u8], bool),
    Other,
}

impl Mssql {
    /// The calls of a message, as far as its front goes.
    pub(super) fn calls(&mut self, header: &Header, body: &[u8], sink: &mut dyn EventSink) {
        let mut cursor = Cursor::new(body.get(headers(body)..).unwrap_or_default());
        for _ in 0..CALLS_MAX {
            match self.call(&mut cursor, sink) {
                // Another call follows.
                Some(true) => {}
                Some(false) if header.last && header.length <= KEPT => return,
                _ => break,
            }
        }
        // Nobody knows what follows.
        self.request(b"", Kind::OTHER, &[], &[], sink);
    }

    /// A call; returns whether one more follows. None: its end was not read.
    fn call(&mut self, cursor: &mut Cursor<'_>, sink: &mut dyn EventSink) -> Option<bool> {
        let length = u16::from_le_bytes(cursor.array()?);
        let mut name: ArrayVec<u8, { NAME_MAX * 3 }> = ArrayVec::new();
        let mut place = None;
        if length == u16::MAX {
            let number = u16::from_le_bytes(cursor.array()?);
            let (known, before) = NUMBERED.get(usize::from(number))?;
            let _ = name.try_extend_from_slice(known);
            place = *before;
        } else {
            text::append(cursor.take(2 * usize::from(length))?, &mut name);
            let front = name.rsplit(|&byte| byte == b'.').next();
            let known = NUMBERED
                .iter()
                .find(|(known, _)| front.is_some_and(|front| front.eq_ignore_ascii_case(known)));
            if let Some((_, before)) = known {
                place = *before;
            }
        }
        cursor.u16()?;
        let runs = name.eq_ignore_ascii_case(b"sp_execute")
            || name.eq_ignore_ascii_case(b"sp_cursorexecute");
        let mut told = false;
        let mut texts = 0;
        let more = loop {
            match cursor.rest().first() {
                None => break Some(false),
                Some(0x80 | 0xff) => {
                    cursor.u8();
                    break Some(true);
                }
                Some(_) => {}
            }
            let Some(parameter) = parameter(cursor) else {
                break None;
            };
            if let Parameter::Text(text, whole) = parameter {
                if place == Some(texts) {
                    self.statement(&name, text, whole, sink);
                    told = true;
                }
                texts += 1;
                if !whole {
                    break None;
                }
            }
        };
        if !told {
            let kind = match (place, runs) {
                // Its statement was not found.
                (Some(_), _) => Kind::OTHER,
                (None, true) => self.prepared.kind(0),
                (None, false) => kind(b"EXECUTE"),
            };
            self.request(&name, kind, &[], &[], sink);
        }
        more
    }

    fn statement(&mut self, name: &[u8], text: &[u8], whole: bool, sink: &mut dyn EventSink) {
        let utf8: ArrayVec<u8, { KEPT / 2 * 3 }> = text::front(text);
        let mut scanner = Scanner::new(Dialect::SqlServer, true);
        let statements = Statements::read(&mut scanner, &utf8, whole);
        let prepares = !name.eq_ignore_ascii_case(b"sp_executesql");
        let mut several = 0;
        let first = statements.each(&utf8, &mut |kind, tables| {
            several += 1;
            self.request(name, kind, &utf8, tables, sink);
        });
        let empty = if whole { Kind::EMPTY } else { Kind::OTHER };
        if first.is_none() {
            self.request(name, empty, &utf8, &[], sink);
        }
        if sink.wants(Buffer::Statement) {
            content::piece(Buffer::Statement, true, &utf8, whole, sink);
        }
        // What runs later by its number.
        if !prepares {
            return;
        }
        let kind = if several > 1 || !whole {
            Kind::OTHER
        } else {
            first.unwrap_or(empty)
        };
        self.prepared.sent(kind);
    }
}

/// A parameter: name, status, type, value. None: unknown or cut off.
fn parameter<'a>(cursor: &mut Cursor<'a>) -> Option<Parameter<'a>> {
    let name = cursor.u8()?;
    cursor.take(2 * usize::from(name))?;
    cursor.u8()?;
    let kind = cursor.u8()?;
    match kind {
        // Of fixed length.
        0x1f => {}
        0x30 | 0x32 => drop(cursor.take(1)?),
        0x34 => drop(cursor.take(2)?),
        0x38 | 0x3a | 0x3b | 0x7a => drop(cursor.take(4)?),
        0x3c..=0x3e | 0x7f => drop(cursor.take(8)?),
        // With a length of one byte, and what the type itself tells.
        0x28 => short(cursor, 0)?,
        0x24 | 0x26 | 0x29..=0x2b | 0x68 | 0x6d..=0x6f => short(cursor, 1)?,
        0x37 | 0x3f | 0x6a | 0x6c => short(cursor, 3)?,
        // Bytes with a length of two bytes, or in chunks.
        0xa5 | 0xad => drop(long(cursor, 0)?),
        0xa7 | 0xaf => drop(long(cursor, 5)?),
        0xe7 | 0xef => {
            let (text, whole) = long(cursor, 5)?;
            return Some(Parameter::Text(text, whole));
        }
        // With a length of four bytes: image, text and ntext.
        0x22 => drop(large(cursor, 0)?),
        0x23 => drop(large(cursor, 5)?),
        0x63 => {
            let (text, whole) = large(cursor, 5)?;
            return Some(Parameter::Text(text, whole));
        }
        0x62 => drop(large(cursor, 0)?),
        // XML without a schema.
        0xf1 if cursor.u8()? == 0 => drop(chunks(cursor)?),
        _ => return None,
    }
    Some(Parameter::Other)
}

fn short(cursor: &mut Cursor<'_>, about: usize) -> Option<()> {
    cursor.take(about)?;
    let length = cursor.u8()?;
    cursor.take(length.into()).map(drop)
}

fn long<'a>(cursor: &mut Cursor<'a>, about: usize) -> Option<(&'a [u8], bool)> {
    let room = u16::from_le_bytes(cursor.array()?);
    cursor.take(about)?;
    if room == u16::MAX {
        return chunks(cursor);
    }
    match little_u16(&cursor.array::<2>()?)? {
        u16::MAX => Some((&[], true)),
        length => Some(front(cursor, length.into())),
    }
}

fn large<'a>(cursor: &mut Cursor<'a>, about: usize) -> Option<(&'a [u8], bool)> {
    cursor.take(4 + about)?;
    match little_u32(&cursor.array::<4>()?)? {
        u32::MAX => Some((&[], true)),
        length => Some(front(cursor, length as usize)),
    }
}

/// A length of eight bytes, then chunks up to an empty one. Only the first is returned; more than
/// one is not seen whole.
fn chunks<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], bool)> {
    let all = u64::from_le_bytes(cursor.array()?);
    if all == u64::MAX {
        return Some((&[], true));
    }
    let length = u32::from_le_bytes(cursor.array()?) as usize;
    if length == 0 {
        return Some((&[], true));
    }
    let (first, whole) = front(cursor, length);
    let ends = whole && cursor.u32() == Some(0);
    Some((first, ends))
}

fn front<'a>(cursor: &mut Cursor<'a>, length: usize) -> (&'a [u8], bool) {
    match cursor.take(length) {
        Some(bytes) => (bytes, true),
        None => (cursor.rest(), false),
    }
}
