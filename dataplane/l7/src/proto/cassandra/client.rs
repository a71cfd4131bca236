//! What the client asks for.

use super::frame::Head;
use super::{
    CLIENT, COMMAND, COMPRESSION, Cassandra, Compression, KEYSPACE, Message, QUERY, STATEMENT,
    TABLE, USER, opcode, string,
};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::sql::{Dialect, Kind, Scanner, Statements, identifier};
use crate::told::Told;
use crate::{Buffer, EventKind, EventSink, Step};

/// A request with named bytes of anybody's before its body.
const CUSTOM_PAYLOAD: u8 = 4;
/// Version 5: a keyspace stands behind the query's values, or behind a statement to prepare.
const WITH_KEYSPACE: u32 = 0x80;
/// How many statements of a batch are told.
const BATCH_MAX: u16 = 64;

impl Cassandra {
    pub(super) fn request(
        &mut self,
        message: &Message<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<(), Step> {
        let head = message.head;
        let mut cursor = Cursor::new(message.body);
        if head.flags & CUSTOM_PAYLOAD != 0 && head.version > 3 && payload(&mut cursor).is_none() {
            self.unread(sink);
            return Ok(());
        }
        match head.opcode {
            opcode::STARTUP => self.startup(cursor, sink),
            opcode::AUTH_RESPONSE => {
                let token = cursor.u32().map(|_| cursor.rest()).unwrap_or_default();
                // SASL PLAIN: authorization name, name, password.
                let user = token.split(|&byte| byte == 0).nth(1).unwrap_or_default();
                // A name that does not fit is left empty: half a name could be somebody else's.
                self.user = user.try_into().unwrap_or_default();
                Told::new()
                    .bytes(USER, &self.user)
                    .send(EventKind::Session, sink);
            }
            opcode::QUERY => {
                let Some((text, whole)) = long_string(&mut cursor) else {
                    self.unread(sink);
                    return Ok(());
                };
                let named = foreign_keyspace(head, &mut cursor, message.whole);
                self.statements("QUERY", text, whole, named, sink);
            }
            opcode::PREPARE => {
                let Some((text, whole)) = long_string(&mut cursor) else {
                    self.unread(sink);
                    return Ok(());
                };
                let named = head.version == 5 && cursor.u32() != Some(0);
                let kind = self.statements("PREPARE", text, whole, named, sink);
                self.prepared.sent(kind);
                if self.preparing.is_full() {
                    self.preparing.pop_at(0);
                }
                self.preparing.push((head.stream, kind));
            }
            opcode::EXECUTE => {
                let kind = string(&mut cursor).map(|id| self.prepared.kind(hash(id)));
                let kind = kind.unwrap_or(Kind::OTHER);
                let keyspace = self.keyspace.clone();
                self.told("EXECUTE", kind, &keyspace, &[], &[], sink);
            }
            opcode::BATCH => {
                if self.batch(cursor, sink).is_none() {
                    let keyspace = [];
                    self.told("BATCH", Kind::OTHER, &keyspace, &[], &[], sink);
                }
            }
            opcode::OPTIONS | opcode::REGISTER => {}
            // CREDENTIALS of version 1.
            0x04 if head.version == 1 => self.credentials(cursor, sink),
            _ => return Err(Step::Violation("cassandra: unknown opcode")),
        }
        Ok(())
    }

    fn startup(&mut self, mut cursor: Cursor<'_>, sink: &mut dyn EventSink) {
        let (mut client, mut compression) = (&[][..], &[][..]);
        each_pair(&mut cursor, &mut |key, value| match key {
            b"DRIVER_NAME" => client = value,
            b"COMPRESSION" => compression = value,
            _ => {}
        });
        self.compression = match compression {
            [] => Compression::None,
            _ if compression.eq_ignore_ascii_case(b"lz4") => Compression::Lz4,
            _ if compression.eq_ignore_ascii_case(b"snappy") => Compression::Snappy,
            _ => Compression::Unknown,
        };
        Told::new()
            .name(COMMAND, "STARTUP")
            .known(CLIENT, client)
            .known(COMPRESSION, compression)
            .send(EventKind::Session, sink);
    }

    fn credentials(&mut self, mut cursor: Cursor<'_>, sink: &mut dyn EventSink) {
        each_pair(&mut cursor, &mut |key, value| {
            if key == b"username" {
                self.user = value.try_into().unwrap_or_default();
            }
        });
        Told::new()
            .bytes(USER, &self.user)
            .send(EventKind::Session, sink);
    }

    /// Tells the statements of a text; returns the first kind. `named`: the request names a
    /// keyspace of its own, which is not read.
    fn statements(
        &self,
        command: &'static str,
        text: &[u8],
        whole: bool,
        named: bool,
        sink: &mut dyn EventSink,
    ) -> Kind {
        let mut scanner = Scanner::new(Dialect::PostgreSql, true);
        let statements = Statements::read(&mut scanner, text, whole);
        let first = statements.each(text, &mut |kind, tables| {
            let keyspace = if named {
                None
            } else {
                self.keyspace_of(kind, text, tables)
            };
            self.told(
                command,
                kind,
                keyspace.unwrap_or_default(),
                text,
                tables,
                sink,
            );
        });
        let first = first.unwrap_or(if whole { Kind::EMPTY } else { Kind::OTHER });
        let batch = Kind::of_word(b"BEGIN") == Some(first);
        if matches!(first, Kind::EMPTY) || (!whole && (batch || first == Kind::OTHER)) {
            let kind = if whole { Kind::EMPTY } else { Kind::OTHER };
            self.told(command, kind, &[], text, &[], sink);
        }
        if sink.wants(Buffer::Statement) {
            content::piece(Buffer::Statement, true, text, whole, sink);
        }
        first
    }

    /// The keyspace that a statement is about; none: not known.
    fn keyspace_of<'b>(
        &'b self,
        kind: Kind,
        text: &'b [u8],
        tables: &[&'b [u8]],
    ) -> Option<&'b [u8]> {
        if let Some(table) = tables.first() {
            return Some(qualifier(table).unwrap_or(&self.keyspace));
        }
        let mut words = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words.next()?;
        match kind.name() {
            "USE" => Some(plain(identifier(words.next()?)?)),
            "CREATE" | "ALTER" | "DROP" => {
                let what = words.next()?;
                let keyspace =
                    what.eq_ignore_ascii_case(b"KEYSPACE") || what.eq_ignore_ascii_case(b"SCHEMA");
                let mut names = words.filter(|word| {
                    let skipped: [&[u8]; 3] = [b"IF", b"NOT", b"EXISTS"];
                    !skipped.iter().any(|skip| word.eq_ignore_ascii_case(skip))
                });
                keyspace
                    .then(|| names.next().and_then(identifier))
                    .flatten()
                    .map(plain)
            }
            "TRUNCATE" => {
                let name = identifier(words.next()?)?;
                Some(qualifier(name).unwrap_or(&self.keyspace))
            }
            "BEGIN" => Some(&self.keyspace),
            _ => None,
        }
    }

    /// Kind, count, statements with values. None: not all of it was read.
    fn batch(&self, mut cursor: Cursor<'_>, sink: &mut dyn EventSink) -> Option<()> {
        cursor.u8()?;
        let count = cursor.u16()?;
        for _ in 0..count.min(BATCH_MAX) {
            if cursor.u8()? == 0 {
                let (text, whole) = long_string(&mut cursor)?;
                self.statements("BATCH", text, whole, false, sink);
            } else {
                let kind = self.prepared.kind(hash(string(&mut cursor)?));
                self.told("BATCH", kind, &self.keyspace, &[], &[], sink);
            }
            for _ in 0..cursor.u16()? {
                value(&mut cursor)?;
            }
        }
        (count <= BATCH_MAX).then_some(())
    }

    fn told(
        &self,
        command: &'static str,
        kind: Kind,
        keyspace: &[u8],
        query: &[u8],
        tables: &[&[u8]],
        sink: &mut dyn EventSink,
    ) {
        Told::new()
            .name(COMMAND, command)
            .name(STATEMENT, kind.name())
            .bytes(KEYSPACE, keyspace)
            .bytes(USER, &self.user)
            .known(QUERY, query)
            .each(TABLE, tables)
            .send(EventKind::Request, sink);
    }

    /// Something is asked that was not read.
    pub(super) fn unread(&self, sink: &mut dyn EventSink) {
        self.told("QUERY", Kind::OTHER, &[], &[], &[], sink);
    }
}

/// Whether a query of version 5 names a keyspace for itself, or may.
fn foreign_keyspace(head: Head, cursor: &mut Cursor<'_>, whole: bool) -> bool {
    if head.version != 5 {
        return false;
    }
    match (cursor.u16(), cursor.u32()) {
        (Some(_), Some(flags)) => flags & WITH_KEYSPACE != 0,
        _ => !whole,
    }
}

/// A text behind a length of four bytes, and whether all of it is here.
fn long_string<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], bool)> {
    let length = cursor.u32()? as usize;
    Some(match cursor.take(length) {
        Some(text) => (text, true),
        None => (cursor.rest(), false),
    })
}

/// Bytes behind a length of four bytes, which is below zero for none.
fn value(cursor: &mut Cursor<'_>) -> Option<()> {
    match cursor.u32()? {
        length if (length as i32) < 0 => Some(()),
        length => cursor.take(length as usize).map(drop),
    }
}

/// A custom payload: names and bytes.
pub(super) fn payload(cursor: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..cursor.u16()? {
        string(cursor)?;
        value(cursor)?;
    }
    Some(())
}

/// The pairs of a map of texts.
pub(super) fn each_pair<'a>(cursor: &mut Cursor<'a>, tell: &mut dyn FnMut(&'a [u8], &'a [u8])) {
    for _ in 0..cursor.u16().unwrap_or_default().min(32) {
        let (Some(key), Some(value)) = (string(cursor), string(cursor)) else {
            return;
        };
        tell(key, value);
    }
}

/// What stands before the dot of `keyspace.table`.
fn qualifier(name: &[u8]) -> Option<&[u8]> {
    let quoted = name.first() == Some(&b'"');
    let end = match quoted {
        true => 2 + name.get(1..)?.iter().position(|&byte| byte == b'"')?,
        false => name.iter().position(|&byte| byte == b'.')?,
    };
    (name.get(end) == Some(&b'.'))
        .then(|| name.get(..end))
        .flatten()
        .map(plain)
}

/// A name without its quotes.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"\"")
        .and_then(|name| name.strip_suffix(b"\""))
        .unwrap_or(name)
}

/// Never 0 and never all ones, which [`crate::sql::Prepared`] gives a meaning of their own.
pub(super) fn hash(id: &[u8]) -> u32 {
    let hash = id.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte))
            .wrapping_mul(0x0100_0193)
            .rotate_left(7)
    });
    hash.clamp(1, u32::MAX - 1)
}
