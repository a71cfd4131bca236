//! BSON (bsonspec.org, version 1.1), as far as the top level of a command needs it.

use crate::read::cursor::Cursor;

/// Longest name of an element that is read.
pub(super) const NAME_MAX: usize = 128;
/// Longest value that is looked into.
pub(super) const VALUE_MAX: usize = 512;

/// The element at the front of some bytes.
pub(super) enum Element<'a> {
    /// Its type, its name, the front of its value and the bytes of all of it. A value that is cut
    /// off at [`VALUE_MAX`] has `whole` unset.
    Read {
        kind: u8,
        name: &'a [u8],
        value: &'a [u8],
        whole: bool,
        length: usize,
    },
    /// The document ends with this byte.
    End,
    Partial,
    Bad,
}

pub(super) mod kind {
    pub(in super::super) const DOUBLE: u8 = 0x01;
    pub(in super::super) const STRING: u8 = 0x02;
    pub(in super::super) const DOCUMENT: u8 = 0x03;
    pub(in super::super) const BINARY: u8 = 0x05;
    pub(in super::super) const BOOLEAN: u8 = 0x08;
    pub(in super::super) const INT32: u8 = 0x10;
    pub(in super::super) const INT64: u8 = 0x12;
}

pub(super) fn element(input: &[u8]) -> Element<'_> {
    let Some((&kind, rest)) = input.split_first() else {
        return Element::Partial;
    };
    if kind == 0 {
        return Element::End;
    }
    let front = rest.get(..NAME_MAX + 1).unwrap_or(rest);
    let Some(end) = memchr::memchr(0, front) else {
        return if rest.len() > NAME_MAX {
            Element::Bad
        } else {
            Element::Partial
        };
    };
    let (name, value) = (
        rest.get(..end).unwrap_or_default(),
        rest.get(end + 1..).unwrap_or_default(),
    );
    // The length of the value's fixed part, and how much its own length adds.
    let sized = |before: i64| {
        let length = little_i32(value)?;
        Some(if length < 0 {
            -1
        } else {
            i64::from(length) + before
        })
    };
    let length = match kind {
        0x01 | 0x09 | 0x11 | 0x12 => Some(8),
        0x02 | 0x0d | 0x0e => sized(4),
        0x03 | 0x04 | 0x0f => sized(0),
        0x05 => sized(5),
        0x07 => Some(12),
        0x08 => Some(1),
        0x06 | 0x0a | 0xff | 0x7f => Some(0),
        0x0c => sized(16),
        0x10 => Some(4),
        0x13 => Some(16),
        0x0b => return regular_expression(kind, name, value, end),
        _ => return Element::Bad,
    };
    let Some(length) = length else {
        return Element::Partial;
    };
    let least = match kind {
        0x02 | 0x05 | 0x0d | 0x0e | 0x03 | 0x04 => 5,
        _ => 0,
    };
    let Ok(length) = usize::try_from(length) else {
        return Element::Bad;
    };
    if length < least {
        return Element::Bad;
    }
    let kept = length.min(VALUE_MAX);
    match value.get(..kept) {
        Some(value) => Element::Read {
            kind,
            name,
            value,
            whole: kept == length,
            length: 2 + end + length,
        },
        None => Element::Partial,
    }
}

/// Two texts without lengths.
fn regular_expression<'a>(kind: u8, name: &'a [u8], value: &'a [u8], end: usize) -> Element<'a> {
    let front = value.get(..VALUE_MAX).unwrap_or(value);
    let first = memchr::memchr(0, front);
    let second = first.and_then(|first| {
        let behind = front.get(first + 1..)?;
        Some(first + 1 + memchr::memchr(0, behind)?)
    });
    match second {
        Some(last) => Element::Read {
            kind,
            name,
            value: value.get(..last + 1).unwrap_or_default(),
            whole: true,
            length: 2 + end + last + 1,
        },
        None if value.len() < VALUE_MAX => Element::Partial,
        None => Element::Bad,
    }
}

/// The text of a string element.
pub(super) fn text(kind: u8, value: &[u8]) -> Option<&[u8]> {
    if kind != kind::STRING {
        return None;
    }
    let length = usize::try_from(little_i32(value)?).ok()?.checked_sub(1)?;
    value.get(4..)?.get(..length)
}

/// The bytes of a binary element.
pub(super) fn binary(kind: u8, value: &[u8]) -> Option<&[u8]> {
    if kind != kind::BINARY {
        return None;
    }
    let length = usize::try_from(little_i32(value)?).ok()?;
    value.get(5..)?.get(..length)
}

/// A whole, not negative number of any numeric type, or of a truth value.
pub(super) fn number(kind: u8, value: &[u8]) -> Option<u64> {
    match kind {
        kind::INT32 => u64::try_from(little_i32(value)?).ok(),
        kind::INT64 => u64::try_from(i64::from_le_bytes(*value.first_chunk()?)).ok(),
        kind::DOUBLE => {
            let number = f64::from_le_bytes(*value.first_chunk()?);
            (0.0..=f64::from(u32::MAX))
                .contains(&number)
                .then_some(number as u64)
        }
        kind::BOOLEAN => Some(u64::from(*value.first()?)),
        _ => None,
    }
}

/// The elements of a document that lies in `document`, as far as it reaches.
pub(super) fn elements(document: &[u8]) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
    let mut cursor = Cursor::new(document);
    let _ = cursor.u32();
    std::iter::from_fn(move || match element(cursor.rest()) {
        Element::Read {
            kind,
            name,
            value,
            length,
            whole: true,
        } => {
            cursor.take(length)?;
            Some((kind, name, value))
        }
        _ => None,
    })
}

pub(super) fn little_i32(bytes: &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(*bytes.first_chunk()?))
}
