//! Recognition: the header of a message, and the front of what it holds.

use super::bson::{self, Element};
use super::{HEADER, Header, MESSAGE_MAX, opcode};
use crate::{Probe, ProbeInput};

/// "database.collection" in an old query.
const NAMESPACE_MAX: usize = 256;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    match (judge(input.to_server, false), judge(input.to_client, true)) {
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

fn judge(input: &[u8], server: bool) -> Probe {
    if input.is_empty() {
        return Probe::Unsure;
    }
    match message(input, server) {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

/// None: too short to tell.
fn message(input: &[u8], server: bool) -> Option<bool> {
    let length = bson::little_i32(input)?;
    if !(HEADER as i32 + 5..=MESSAGE_MAX as i32).contains(&length) {
        return Some(false);
    }
    let header = Header::read(input)?;
    let body = input.get(HEADER..)?;
    // Who asks answers nothing; one old driver says so with -1.
    let asks = matches!(header.response_to, 0 | u32::MAX);
    let left = length as usize - HEADER;
    match header.opcode {
        opcode::REPLY if server => reply(body, left),
        opcode::MSG if server != asks => sections(body, left),
        opcode::COMPRESSED if server != asks => compressed(body),
        opcode::QUERY if !server && asks => query(body, left),
        opcode::UPDATE | opcode::INSERT | opcode::DELETE | opcode::GET_MORE if !server && asks => {
            written(body)
        }
        opcode::KILL_CURSORS if !server && asks => {
            let count = bson::little_i32(body.get(4..)?)?;
            Some(bson::little_i32(body)? == 0 && i64::from(count) * 8 + 8 == left as i64)
        }
        _ => Some(false),
    }
}

/// Flags, then a document of kind 0 or a sequence of kind 1.
fn sections(body: &[u8], left: usize) -> Option<bool> {
    let flags = bson::little_i32(body)?;
    if flags & !0x1_0003 != 0 {
        return Some(false);
    }
    let (&kind, rest) = body.get(4..)?.split_first()?;
    let size = bson::little_i32(rest)?;
    if size < 5 || size as usize > left {
        return Some(false);
    }
    match kind {
        0 => first_element(rest.get(4..)?),
        1 => name(rest.get(4..)?, NAMESPACE_MAX, |byte| {
            byte.is_ascii_alphanumeric()
        }),
        _ => Some(false),
    }
}

fn reply(body: &[u8], left: usize) -> Option<bool> {
    let flags = bson::little_i32(body)?;
    let count = bson::little_i32(body.get(16..)?)?;
    if flags & !0xf != 0 || count < 0 || left < 20 {
        return Some(false);
    }
    if count == 0 {
        // Nothing but the header: a cursor and no documents.
        return Some(left == 20);
    }
    let size = bson::little_i32(body.get(20..)?)?;
    if size < 5 || size as usize > left - 20 {
        return Some(false);
    }
    first_element(body.get(24..)?)
}

fn query(body: &[u8], left: usize) -> Option<bool> {
    if bson::little_i32(body)? & !0xfe != 0 {
        return Some(false);
    }
    let rest = body.get(4..)?;
    if !namespace(rest)? {
        return Some(false);
    }
    let end = memchr::memchr(0, rest)?;
    let size = bson::little_i32(rest.get(end + 9..)?)?;
    Some(size >= 5 && size as usize + end + 13 <= left)
}

/// Zero or flags, then a namespace.
fn written(body: &[u8]) -> Option<bool> {
    if !matches!(bson::little_i32(body)?, 0 | 1) {
        return Some(false);
    }
    namespace(body.get(4..)?)
}

fn namespace(input: &[u8]) -> Option<bool> {
    let whole = name(input, NAMESPACE_MAX, |byte| byte > b' ' && byte != 0x7f)?;
    let end = memchr::memchr(0, input)?;
    Some(whole && memchr::memchr(b'.', input.get(..end)?).is_some_and(|dot| dot > 0))
}

fn compressed(body: &[u8]) -> Option<bool> {
    let original = bson::little_i32(body)?;
    let size = bson::little_i32(body.get(4..)?)?;
    let compressor = *body.get(8)?;
    let known = matches!(
        original,
        opcode::REPLY | opcode::QUERY | opcode::MSG | opcode::INSERT | opcode::GET_MORE
    );
    Some(known && (5..=MESSAGE_MAX as i32).contains(&size) && compressor <= 3)
}

/// The first element of a document has a type and a name that reads well.
fn first_element(input: &[u8]) -> Option<bool> {
    match bson::element(input) {
        Element::Read { name, .. } => Some(
            !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() || *byte >= 0x80),
        ),
        Element::Partial => None,
        Element::End | Element::Bad => Some(false),
    }
}

/// A text that ends with a zero byte within `max`.
fn name(input: &[u8], max: usize, plausible: fn(u8) -> bool) -> Option<bool> {
    let front = input.get(..max).unwrap_or(input);
    let end = memchr::memchr(0, front);
    let text = front.get(..end.unwrap_or(front.len()))?;
    if !text.iter().all(|&byte| plausible(byte)) {
        return Some(false);
    }
    match end {
        Some(end) => Some(end > 0),
        None if input.len() >= max => Some(false),
        None => None,
    }
}
