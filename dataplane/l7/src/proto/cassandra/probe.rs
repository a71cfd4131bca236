//! Recognition: the first message of either side, or one in the middle of a connection.

use super::frame::Head;
use super::{Cassandra, MESSAGE_MAX, opcode, string, thrift};
use crate::read::cursor::Cursor;
use crate::sql::Kind;
use crate::{Application, Probe, ProbeInput};

/// Options that a STARTUP may begin with.
const OPTIONS: &[&[u8]] = &[
    b"CQL_VERSION",
    b"COMPRESSION",
    b"DRIVER_NAME",
    b"DRIVER_VERSION",
    b"NO_COMPACT",
    b"THROW_ON_OVERLOAD",
    b"CLIENT_ID",
    b"APPLICATION_NAME",
    b"APPLICATION_VERSION",
    b"PROTOCOL_VERSIONS",
];

/// The answer to one message, as far as it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Certain,
    /// Nothing but a head.
    Bare,
    Partial,
    Foreign,
}

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let client = client(input.to_server, input.from_start);
    let server = server(input.to_client);
    let home = Cassandra::PORTS.contains(&input.server_port);
    match (client, server) {
        (Sight::Certain, _) | (_, Sight::Certain) => Probe::Certain,
        (Sight::Foreign, _) | (_, Sight::Foreign) => Probe::NotMine,
        (Sight::Bare, Sight::Bare) => Probe::Certain,
        (Sight::Bare, Sight::Partial) if home => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn sight(read: Option<bool>) -> Sight {
    match read {
        Some(true) => Sight::Certain,
        Some(false) => Sight::Foreign,
        None => Sight::Partial,
    }
}

fn client(input: &[u8], from_start: bool) -> Sight {
    match input.first() {
        None => return Sight::Partial,
        Some(0) => return sight(thrift::begins(input)),
        Some(1..=5 | 0x41 | 0x42) => {}
        Some(_) => return Sight::Foreign,
    }
    let Some(head) = Head::read(input) else {
        return partial(input);
    };
    if !plausible(&head) {
        return Sight::Foreign;
    }
    let mut cursor = Cursor::new(input.get(head.size..).unwrap_or_default());
    match head.opcode {
        opcode::OPTIONS if head.length == 0 => Sight::Bare,
        opcode::STARTUP if head.length > 15 => sight(option(&mut cursor)),
        opcode::QUERY | opcode::PREPARE if !from_start => sight(query(&head, &mut cursor)),
        opcode::EXECUTE if !from_start => sight(execute(&head, &mut cursor)),
        _ => Sight::Foreign,
    }
}

fn server(input: &[u8]) -> Sight {
    match input.first() {
        None => return Sight::Partial,
        Some(0x81..=0x85 | 0xc1 | 0xc2) => {}
        Some(0) => return Sight::Partial,
        Some(_) => return Sight::Foreign,
    }
    let Some(head) = Head::read(input) else {
        return partial(input);
    };
    if !plausible(&head) {
        return Sight::Foreign;
    }
    let mut cursor = Cursor::new(input.get(head.size..).unwrap_or_default());
    match head.opcode {
        opcode::SUPPORTED if head.length > 15 => sight(option(&mut cursor)),
        opcode::READY if head.length == 0 => Sight::Bare,
        opcode::AUTHENTICATE => sight(authenticate(&head, &mut cursor)),
        opcode::ERROR => sight(error(&head, &mut cursor)),
        opcode::RESULT => sight(result(&head, &mut cursor)),
        _ => Sight::Foreign,
    }
}

/// Too short for a head: its flags may tell already.
fn partial(input: &[u8]) -> Sight {
    match input.get(1) {
        Some(flags) if *flags > 0x1f => Sight::Foreign,
        _ => Sight::Partial,
    }
}

fn plausible(head: &Head) -> bool {
    head.flags <= 0x1f && head.length < MESSAGE_MAX
}

/// A map whose first key is known.
fn option(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !(1..=32).contains(&cursor.u16()?) {
        return Some(false);
    }
    let length = cursor.u16()?;
    if !(9..=32).contains(&length) {
        return Some(false);
    }
    Some(OPTIONS.contains(&cursor.take(length.into())?))
}

/// A text that begins with a verb.
fn query(head: &Head, cursor: &mut Cursor<'_>) -> Option<bool> {
    // Compressed: nothing to see.
    if head.flags & 1 != 0 {
        return Some(false);
    }
    let length = cursor.u32()?;
    if length.checked_add(4).is_none_or(|size| size > head.length) || length < 5 {
        return Some(false);
    }
    let text = cursor
        .rest()
        .get(..length as usize)
        .unwrap_or(cursor.rest());
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_alphabetic());
    let word = text.get(..end?)?;
    let mut upper = [0; 16];
    let Some(upper) = upper.get_mut(..word.len()) else {
        return Some(false);
    };
    upper.copy_from_slice(word);
    upper.make_ascii_uppercase();
    Some(Kind::of_word(upper).is_some())
}

/// The digest that names a prepared statement, then a consistency.
fn execute(head: &Head, cursor: &mut Cursor<'_>) -> Option<bool> {
    if head.flags & 1 != 0 || head.length < 21 || cursor.u16()? != 16 {
        return Some(false);
    }
    cursor.take(16)?;
    Some(matches!(head.version, 3 | 4) && cursor.u16()? <= 0x0a)
}

fn authenticate(head: &Head, cursor: &mut Cursor<'_>) -> Option<bool> {
    let length = cursor.u16()?;
    if u32::from(length) + 2 != head.length {
        return Some(false);
    }
    Some(cursor.take(length.into())?.ends_with(b"uthenticator"))
}

fn error(head: &Head, cursor: &mut Cursor<'_>) -> Option<bool> {
    let code = cursor.u32()?;
    let known = matches!(
        code,
        0 | 0x0a | 0x100 | 0x1000
            ..=0x1003
                | 0x1100
                | 0x1200
                | 0x1300
                | 0x1400
                | 0x1500
                | 0x1600
                | 0x1700
                | 0x2000
                | 0x2100
                | 0x2200
                | 0x2300
                | 0x2400
                | 0x2500
    );
    let length = cursor.u16()?;
    if !known || head.flags & 1 != 0 || u32::from(length) + 6 > head.length {
        return Some(false);
    }
    let text = string_front(cursor, length.into());
    Some(length > 0 && text.iter().all(|&byte| byte >= b' ' || byte == b'\n'))
}

/// A RESULT without flags: its kind, and what must follow it.
fn result(head: &Head, cursor: &mut Cursor<'_>) -> Option<bool> {
    if head.flags != 0 {
        return Some(false);
    }
    let kind = cursor.u32()?;
    match kind {
        1 => Some(head.length == 4),
        // Flags of the metadata, then a number of columns.
        2 => {
            let (flags, columns) = (cursor.u32()?, cursor.u32()?);
            Some(head.length >= 12 && flags <= 0x1f && columns < 4_096)
        }
        3 => {
            let length = cursor.u16()?;
            Some(u32::from(length) + 6 == head.length)
        }
        4 => Some(cursor.u16()? == 16 && head.length > 30),
        5 => {
            let change = string(cursor)?;
            Some(matches!(change, b"CREATED" | b"UPDATED" | b"DROPPED"))
        }
        _ => Some(false),
    }
}

fn string_front<'a>(cursor: &Cursor<'a>, length: usize) -> &'a [u8] {
    cursor.rest().get(..length).unwrap_or(cursor.rest())
}
