//! The binary protocol's messages, which Couchbase's protocol extends (`protocol_binary.h`).

use crate::read::cursor::Cursor;

/// Length of a message's head.
pub(crate) const HEADER: usize = 24;
/// Largest message: `item_size_max` may be raised to 1 GiB.
pub(crate) const BODY_MAX: u32 = 1 << 30;
/// Longest key (KEY_MAX_LENGTH).
pub(crate) const KEY_MAX: usize = 250;

pub(crate) mod magic {
    pub(crate) const REQUEST: u8 = 0x80;
    pub(crate) const RESPONSE: u8 = 0x81;
    /// Couchbase: from here on the head has room for framing extras.
    pub(crate) const SERVER_REQUEST: u8 = 0x82;
    pub(crate) const SERVER_RESPONSE: u8 = 0x83;
    pub(crate) const FLEXIBLE_REQUEST: u8 = 0x08;
    pub(crate) const FLEXIBLE_RESPONSE: u8 = 0x18;
}

pub(crate) mod opcode {
    pub(crate) const VERSION: u8 = 0x0b;
    pub(crate) const SASL_LIST: u8 = 0x20;
    pub(crate) const SASL_AUTH: u8 = 0x21;
    pub(crate) const SASL_STEP: u8 = 0x22;
}

/// Statuses of answers to a login.
pub(crate) mod status {
    pub(crate) const SUCCESS: u16 = 0;
    pub(crate) const AUTH_ERROR: u16 = 0x20;
    pub(crate) const AUTH_CONTINUE: u16 = 0x21;
}

/// A message's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) magic: u8,
    pub(crate) opcode: u8,
    pub(crate) framing: u8,
    pub(crate) key: u16,
    pub(crate) extras: u8,
    pub(crate) datatype: u8,
    /// The bucket's part (vBucket) of a request, the status of an answer.
    pub(crate) detail: u16,
    pub(crate) body: u32,
    pub(crate) cas: u64,
}

impl Header {
    /// None: too short.
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input.get(..HEADER)?);
        let (magic, opcode) = (cursor.u8()?, cursor.u8()?);
        let flexible = matches!(magic, magic::FLEXIBLE_REQUEST | magic::FLEXIBLE_RESPONSE);
        let (framing, key) = if flexible {
            (cursor.u8()?, cursor.u8()?.into())
        } else {
            (0, cursor.u16()?)
        };
        let (extras, datatype) = (cursor.u8()?, cursor.u8()?);
        let (detail, body) = (cursor.u16()?, cursor.u32()?);
        cursor.u32()?;
        Some(Self {
            magic,
            opcode,
            framing,
            key,
            extras,
            datatype,
            detail,
            body,
            cas: u64::from_be_bytes(cursor.array()?),
        })
    }

    /// Bytes before the value.
    pub(crate) fn before_value(&self) -> usize {
        usize::from(self.framing) + usize::from(self.extras) + usize::from(self.key)
    }

    /// Bytes of the value; none: the lengths contradict each other.
    pub(crate) fn value(&self) -> Option<usize> {
        (self.body <= BODY_MAX)
            .then(|| (self.body as usize).checked_sub(self.before_value()))
            .flatten()
    }

    /// The key in a whole or cut message.
    pub(crate) fn key_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        let start = HEADER + usize::from(self.framing) + usize::from(self.extras);
        message
            .get(start..start + usize::from(self.key))
            .unwrap_or_default()
    }

    /// The value in a whole or cut message.
    pub(crate) fn value_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message
            .get(HEADER + self.before_value()..)
            .unwrap_or_default()
    }

    /// What is to be read of a message: all but most of a long value.
    pub(crate) fn wanted(&self, value_max: usize) -> usize {
        HEADER + self.before_value() + self.value().unwrap_or_default().min(value_max)
    }
}

/// What a command's message holds.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    extras: &'static [u8],
    key: Part,
    value: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    None,
    Some,
    Any,
}

const fn shape(name: &'static str, extras: &'static [u8], key: Part, value: Part) -> Option<Shape> {
    Some(Shape {
        name,
        extras,
        key,
        value,
    })
}

impl Shape {
    /// Whether a request's lengths are those of the command.
    pub(crate) fn fits(&self, header: &Header) -> bool {
        let part = |part: Part, length: usize| match part {
            Part::None => length == 0,
            Part::Some => length > 0,
            Part::Any => true,
        };
        let Some(value) = header.value() else {
            return false;
        };
        self.extras.contains(&header.extras)
            && usize::from(header.key) <= KEY_MAX
            && part(self.key, header.key.into())
            && part(self.value, value)
    }
}

/// The commands that memcached has (memcached 1.6, `protocol_binary.h`).
pub(crate) fn command(opcode: u8) -> Option<Shape> {
    use Part::{Any, None as Without, Some as With};
    match opcode {
        0x00 => shape("get", &[0], With, Without),
        0x01 => shape("set", &[8], With, Any),
        0x02 => shape("add", &[8], With, Any),
        0x03 => shape("replace", &[8], With, Any),
        0x04 => shape("delete", &[0], With, Without),
        0x05 => shape("increment", &[20], With, Without),
        0x06 => shape("decrement", &[20], With, Without),
        0x07 => shape("quit", &[0], Without, Without),
        0x08 => shape("flush", &[0, 4], Without, Without),
        0x09 => shape("getq", &[0], With, Without),
        0x0a => shape("noop", &[0], Without, Without),
        opcode::VERSION => shape("version", &[0], Without, Without),
        0x0c => shape("getk", &[0], With, Without),
        0x0d => shape("getkq", &[0], With, Without),
        0x0e => shape("append", &[0], With, Any),
        0x0f => shape("prepend", &[0], With, Any),
        0x10 => shape("stat", &[0], Any, Any),
        0x11 => shape("setq", &[8], With, Any),
        0x12 => shape("addq", &[8], With, Any),
        0x13 => shape("replaceq", &[8], With, Any),
        0x14 => shape("deleteq", &[0], With, Without),
        0x15 => shape("incrementq", &[20], With, Without),
        0x16 => shape("decrementq", &[20], With, Without),
        0x17 => shape("quitq", &[0], Without, Without),
        0x18 => shape("flushq", &[0, 4], Without, Without),
        0x19 => shape("appendq", &[0], With, Any),
        0x1a => shape("prependq", &[0], With, Any),
        0x1b => shape("verbosity", &[0, 4], Without, Without),
        0x1c => shape("touch", &[4], With, Without),
        0x1d => shape("gat", &[4], With, Without),
        0x1e => shape("gatq", &[4], With, Without),
        opcode::SASL_LIST => shape("sasl_list_mechs", &[0], Without, Without),
        opcode::SASL_AUTH => shape("sasl_auth", &[0], With, Any),
        opcode::SASL_STEP => shape("sasl_step", &[0], With, Any),
        0x23 => shape("gatk", &[4], With, Without),
        0x24 => shape("gatkq", &[4], With, Without),
        _ => None,
    }
}

/// Commands that neither read nor change data.
pub(crate) fn is_session(opcode: u8) -> bool {
    matches!(opcode, 0x07 | 0x0a | 0x0b | 0x17 | 0x20..=0x22)
}

/// A status' name (`protocol_binary_response_status`, and Couchbase's).
pub(crate) fn status_name(status: u16) -> &'static str {
    match status {
        0x00 => "SUCCESS",
        0x01 => "KEY_ENOENT",
        0x02 => "KEY_EEXISTS",
        0x03 => "E2BIG",
        0x04 => "EINVAL",
        0x05 => "NOT_STORED",
        0x06 => "DELTA_BADVAL",
        0x07 => "NOT_MY_VBUCKET",
        0x08 => "NO_BUCKET",
        0x09 => "LOCKED",
        0x1f => "AUTH_STALE",
        0x20 => "AUTH_ERROR",
        0x21 => "AUTH_CONTINUE",
        0x22 => "ERANGE",
        0x23 => "ROLLBACK",
        0x24 => "EACCESS",
        0x25 => "NOT_INITIALIZED",
        0x30..=0x36 => "RATE_LIMITED",
        0x80 => "FROZEN",
        0x81 => "UNKNOWN_COMMAND",
        0x82 => "ENOMEM",
        0x83 => "NOT_SUPPORTED",
        0x84 => "EINTERNAL",
        0x85 => "EBUSY",
        0x86 => "ETMPFAIL",
        0x87 => "XATTR_EINVAL",
        0x88 => "UNKNOWN_COLLECTION",
        0x89 => "NO_COLLECTIONS_MANIFEST",
        0x8c => "UNKNOWN_SCOPE",
        0xa0..=0xa7 => "DURABILITY",
        0xc0..=0xd7 => "SUBDOC",
        _ => "OTHER",
    }
}

/// The user in a login's payload: of PLAIN the second of three texts, of SCRAM the attribute `n`.
pub(crate) fn user<'a>(mechanism: &[u8], payload: &'a [u8]) -> &'a [u8] {
    if mechanism == b"PLAIN" {
        return payload.split(|&byte| byte == 0).nth(1).unwrap_or_default();
    }
    payload
        .split(|&byte| byte == b',')
        .find_map(|attribute| attribute.strip_prefix(b"n="))
        .unwrap_or_default()
}
