//! Records, and the handshake messages that are spread over them (RFC 8446, 5.1).

use arrayvec::ArrayVec;

use crate::cursor::Cursor;
use crate::{Probe, Step};

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HEADER_BYTES: usize = 5;
/// 2^14 and what encryption may add (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = (1 << 14) + 2_048;

/// Holds a message that is spread over records.
pub(super) type Buffer = ArrayVec<u8, { 1 << 14 }>;

/// The handshake message at the front.
pub(super) enum Handshake<'a> {
    Incomplete,
    Broken(&'static str),
    Whole {
        kind: u8,
        body: &'a [u8],
        /// Where its last record ends, possibly beyond the input.
        end: u64,
    },
}

/// A handshake record at the front: what is here of its content, and its whole length.
enum Record<'a> {
    Incomplete,
    Broken(&'static str),
    Content(&'a [u8], usize),
}

fn record(input: &[u8]) -> Record<'_> {
    let mut cursor = Cursor::new(input);
    let (Some([kind, major]), Some([_minor])) = (cursor.array(), cursor.array()) else {
        return match input {
            [] | [HANDSHAKE] | [HANDSHAKE, 3] => Record::Incomplete,
            _ => Record::Broken("a record that is no handshake"),
        };
    };
    if kind != HANDSHAKE || major != 3 {
        return Record::Broken("a record that is no handshake");
    }
    let Some(length) = cursor.u16().map(usize::from) else {
        return Record::Incomplete;
    };
    if length == 0 || length > RECORD_BYTES_MAX {
        return Record::Broken("a record of an impossible length");
    }
    let rest = cursor.rest();
    Record::Content(&rest[..length.min(rest.len())], length)
}

/// Puts the handshake message at the front together. One record is the rule, and is not copied.
pub(super) fn handshake<'a>(input: &'a [u8], buffer: &'a mut Buffer) -> Handshake<'a> {
    let (content, length) = match record(input) {
        Record::Incomplete => return Handshake::Incomplete,
        Record::Broken(what) => return Handshake::Broken(what),
        Record::Content(content, length) => (content, length),
    };
    if let Some((kind, body)) = message(content) {
        return Handshake::Whole {
            kind,
            body,
            end: (HEADER_BYTES + length) as u64,
        };
    }
    let mut at = 0;
    loop {
        let (content, length) = match record(&input[at..]) {
            Record::Incomplete => return Handshake::Incomplete,
            Record::Broken(what) => return Handshake::Broken(what),
            Record::Content(content, length) => (content, length),
        };
        // What lies behind the message in its last record may be more than fits.
        let fitting = content.len().min(buffer.remaining_capacity());
        buffer.extend(content[..fitting].iter().copied());
        at += HEADER_BYTES + length;
        if message(buffer).is_some() {
            break;
        }
        if fitting < content.len() {
            return Handshake::Broken("a hello larger than is read");
        }
        if content.len() < length {
            return Handshake::Incomplete;
        }
    }
    match message(buffer) {
        Some((kind, body)) => Handshake::Whole {
            kind,
            body,
            end: at as u64,
        },
        None => Handshake::Incomplete,
    }
}

/// Type and body of the message at the front, when it is all there.
fn message(content: &[u8]) -> Option<(u8, &[u8])> {
    let mut cursor = Cursor::new(content);
    let kind = cursor.u8()?;
    let length = cursor.u24()?;
    Some((kind, cursor.take(usize::try_from(length).ok()?)?))
}

/// Copies the first bytes of the handshake, as many as there are. None: it is no handshake.
pub(super) fn peek<const N: usize>(input: &[u8], front: &mut [u8; N]) -> Option<usize> {
    let mut known = 0;
    let mut rest = input;
    while known < N {
        let (content, length) = match record(rest) {
            Record::Incomplete => break,
            Record::Broken(_) => return None,
            Record::Content(content, length) => (content, length),
        };
        for (to, &from) in front[known..].iter_mut().zip(content) {
            *to = from;
            known += 1;
        }
        rest = rest.get(HEADER_BYTES + length..).unwrap_or_default();
    }
    Some(known)
}

/// Passes over the record at the front.
pub(super) fn skip(input: &[u8]) -> Step {
    match input {
        [_, 3, _, high, low, ..] => {
            let length = u64::from(u16::from_be_bytes([*high, *low]));
            Step::Skip(length + HEADER_BYTES as u64)
        }
        [_] | [_, 3] | [_, 3, _] | [_, 3, _, _] => Step::Incomplete,
        _ => Step::Violation("a record of another protocol"),
    }
}

/// Whether `input`, which is picked up in the middle of a connection, begins with a record: proven
/// by one that is all there and what follows it.
pub(super) fn probe_midway(input: &[u8]) -> Probe {
    let kinds = CHANGE_CIPHER_SPEC..=APPLICATION_DATA;
    let &[kind, 3, minor, high, low, ref content @ ..] = input else {
        let begun = input.first().is_none_or(|kind| kinds.contains(kind));
        let unsure = begun && input.len() < HEADER_BYTES;
        return if unsure {
            Probe::Unsure
        } else {
            Probe::NotMine
        };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let sound = kinds.contains(&kind)
        && (1..=4).contains(&minor)
        && (1..=RECORD_BYTES_MAX).contains(&length);
    match content.get(length..) {
        _ if !sound => Probe::NotMine,
        None => Probe::Unsure,
        Some([] | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA] | [_, 3, ..]) => Probe::Certain,
        Some(_) => Probe::NotMine,
    }
}
