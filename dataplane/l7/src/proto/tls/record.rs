//! Records, and the handshake messages that are spread over them (RFC 8446, 5.1).

use arrayvec::ArrayVec;

use crate::Probe;
use crate::read::cursor::Cursor;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
pub(super) const HEARTBEAT: u8 = 24;
pub(super) const HEADER_BYTES: usize = 5;
/// 2^14 and what encryption may add (RFC 5246, 6.2.3).
const RECORD_BYTES_MAX: usize = (1 << 14) + 2_048;
/// Records that must follow each other where a stream is picked up within one.
const CHAIN: usize = 3;

/// Holds a message that is spread over records.
pub(super) type Buffer = ArrayVec<u8, BUFFER_BYTES>;
pub(super) const BUFFER_BYTES: usize = 1 << 14;

/// The header at the front.
pub(super) enum Header {
    Incomplete,
    Broken,
    Whole { kind: u8, length: u16 },
}

/// Content of handshake records at the front.
pub(super) enum Gathered<'a> {
    Incomplete,
    Broken,
    Whole {
        content: &'a [u8],
        /// Bytes of the input up to the content's end.
        used: usize,
        /// What is left then of the last record.
        left: u16,
    },
}

pub(super) fn header(input: &[u8]) -> Header {
    let sound = |index: usize, byte: u8| match index {
        0 => (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&byte),
        1 => byte == 3,
        _ => true,
    };
    let known = input.iter().take(HEADER_BYTES).enumerate();
    if !known.into_iter().all(|(index, &byte)| sound(index, byte)) {
        return Header::Broken;
    }
    let &[kind, _, _, high, low, ..] = input else {
        return Header::Incomplete;
    };
    let length = u16::from_be_bytes([high, low]);
    match (1..=RECORD_BYTES_MAX).contains(&usize::from(length)) {
        true => Header::Whole { kind, length },
        false => Header::Broken,
    }
}

/// Puts `wanted` bytes of handshake content together, of which the record at hand has `left`. One
/// record is the rule, and is not copied.
pub(super) fn gather<'a>(
    input: &'a [u8],
    left: u16,
    wanted: usize,
    buffer: &'a mut Buffer,
) -> Gathered<'a> {
    if wanted <= usize::from(left) {
        return match input.get(..wanted) {
            Some(content) => Gathered::Whole {
                content,
                used: wanted,
                left: left - u16::try_from(wanted).unwrap_or(left),
            },
            None => Gathered::Incomplete,
        };
    }
    buffer.clear();
    let mut rest = input;
    let mut left = usize::from(left);
    loop {
        let take = left.min(wanted - buffer.len());
        let Some((content, tail)) = rest.split_at_checked(take) else {
            return Gathered::Incomplete;
        };
        if buffer.try_extend_from_slice(content).is_err() {
            return Gathered::Broken;
        }
        rest = tail;
        left -= take;
        if buffer.len() == wanted {
            return Gathered::Whole {
                content: buffer,
                used: input.len() - rest.len(),
                left: u16::try_from(left).unwrap_or(0),
            };
        }
        match header(rest) {
            Header::Whole {
                kind: HANDSHAKE,
                length,
            } => left = length.into(),
            Header::Incomplete => return Gathered::Incomplete,
            _ => return Gathered::Broken,
        }
        rest = rest.get(HEADER_BYTES..).unwrap_or_default();
    }
}

/// Copies the first bytes of the handshake, as many as there are. None: it is no handshake.
pub(super) fn peek<const N: usize>(input: &[u8], front: &mut [u8; N]) -> Option<usize> {
    let mut known = 0;
    let mut rest = input;
    while known < N {
        let length = match header(rest) {
            Header::Incomplete if rest.first().is_none_or(|&kind| kind == HANDSHAKE) => break,
            Header::Whole {
                kind: HANDSHAKE,
                length,
            } => usize::from(length),
            _ => return None,
        };
        let content = rest.get(HEADER_BYTES..).unwrap_or_default();
        let content = content.get(..length).unwrap_or(content);
        for (to, &from) in front.iter_mut().skip(known).zip(content) {
            *to = from;
            known += 1;
        }
        rest = rest.get(HEADER_BYTES + length..).unwrap_or_default();
    }
    Some(known)
}

/// Whether `input`, which is picked up in the middle of a connection, has records: proven by one
/// at the front that is all there and what follows it, or by several in a row further behind.
pub(super) fn probe_midway(input: &[u8]) -> Probe {
    match at_front(input) {
        Probe::NotMine if chained(input) => Probe::Certain,
        answer => answer,
    }
}

fn at_front(input: &[u8]) -> Probe {
    let (length, content) = match midway_header(input) {
        Some(found) => found,
        None => {
            let begun = input
                .first()
                .is_none_or(|kind| (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(kind));
            let unsure = begun && input.len() < HEADER_BYTES;
            return if unsure {
                Probe::Unsure
            } else {
                Probe::NotMine
            };
        }
    };
    match content.get(length..) {
        None => Probe::Unsure,
        Some([] | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA] | [_, 3, ..]) => Probe::Certain,
        Some(_) => Probe::NotMine,
    }
}

/// A record's length and what there is from its content on.
fn midway_header(input: &[u8]) -> Option<(usize, &[u8])> {
    let &[kind, 3, minor, high, low, ref content @ ..] = input else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let sound = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
        && (1..=4).contains(&minor)
        && (1..=RECORD_BYTES_MAX).contains(&length);
    sound.then_some((length, content))
}

/// Whether several records of one version follow each other somewhere.
fn chained(input: &[u8]) -> bool {
    memchr::memchr_iter(APPLICATION_DATA, input).any(|start| {
        let mut rest = input.get(start..).unwrap_or_default();
        let mut count = 0;
        loop {
            match rest {
                [APPLICATION_DATA, 3, 1..=3, high, low, content @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if !(16..=RECORD_BYTES_MAX).contains(&length) {
                        return false;
                    }
                    count += 1;
                    if count == CHAIN {
                        return true;
                    }
                    let Some(tail) = content.get(length..) else {
                        return false;
                    };
                    rest = tail;
                }
                _ => return false,
            }
        }
    })
}

/// Type and length of the handshake message that begins with these bytes.
pub(super) fn message_front(front: &[u8]) -> Option<(u8, usize)> {
    let mut cursor = Cursor::new(front);
    let kind = cursor.u8()?;
    Some((kind, usize::try_from(cursor.u24()?).ok()?))
}
