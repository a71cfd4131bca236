//! AMQP 1.0: frames, and as much of its types as performatives need.

use weir_wire::Direction;

use super::{
    ADDRESS, Amqp, CLIENT, ERROR, EXCHANGE, FRAME_MAX, LOGIN, MECHANISM, METHOD, PRODUCT,
    PRODUCT_VERSION, QUEUE, READ_MAX, ROUTING_KEY, USER, VHOST, plain_user,
};
use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

/// Length, offset of the data, type, channel.
const HEAD: usize = 8;

/// Descriptors of performatives (AMQP 1.0, 2.7 and 5.3.3).
pub(super) mod performative {
    pub(in super::super) const OPEN: u64 = 0x10;
    pub(super) const ATTACH: u64 = 0x12;
    pub(super) const DETACH: u64 = 0x16;
    pub(super) const END: u64 = 0x17;
    pub(in super::super) const CLOSE: u64 = 0x18;
    pub(in super::super) const SASL_MECHANISMS: u64 = 0x40;
    pub(super) const SASL_INIT: u64 = 0x41;
    pub(in super::super) const SASL_OUTCOME: u64 = 0x44;
}

/// A value, as far as anybody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Number(u64),
    /// A string, symbol or binary.
    Bytes(&'a [u8]),
    /// A list's members.
    List(&'a [u8]),
    /// A described list, with its descriptor.
    Described(u64, &'a [u8]),
    Other(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

/// Reads one value; None: it is none, or ends too early.
pub(super) fn value<'a>(cursor: &mut Cursor<'a>) -> Option<Value<'a>> {
    let code = cursor.u8()?;
    if code != 0 {
        return plain(code, cursor);
    }
    let descriptor = {
        let code = cursor.u8()?;
        plain(code, cursor)?
    };
    let code = cursor.u8()?;
    let described = plain(code, cursor)?;
    Some(match (descriptor, described) {
        (Value::Number(descriptor), Value::List(members)) => Value::Described(descriptor, members),
        (Value::Bytes(name), Value::List(members)) => Value::Described(named(name), members),
        (_, other) => other,
    })
}

/// A value without a descriptor (AMQP 1.0, 1.6): a code's upper half tells its size.
fn plain<'a>(code: u8, cursor: &mut Cursor<'a>) -> Option<Value<'a>> {
    let bytes = match code >> 4 {
        4 => cursor.take(0)?,
        5 => cursor.take(1)?,
        6 => cursor.take(2)?,
        7 => cursor.take(4)?,
        8 => cursor.take(8)?,
        9 => cursor.take(16)?,
        0xa | 0xc | 0xe => cursor.vector8()?.rest(),
        0xb | 0xd | 0xf => {
            let length = cursor.u32()? as usize;
            cursor.take(length)?
        }
        _ => return None,
    };
    let number = || {
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    };
    Some(match code {
        0x40 => Value::Null,
        0x41 => Value::Boolean(true),
        0x42 => Value::Boolean(false),
        0x43 | 0x44 => Value::Number(0),
        0x45 => Value::List(&[]),
        0x56 => Value::Boolean(bytes != [0]),
        0x50 | 0x52 | 0x53 | 0x60 | 0x70 | 0x80 => Value::Number(number()),
        0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 => Value::Bytes(bytes),
        // Behind the number of members.
        0xc0 => Value::List(bytes.get(1..)?),
        0xd0 => Value::List(bytes.get(4..)?),
        _ => Value::Other(bytes),
    })
}

/// Descriptors may also be written out.
fn named(name: &[u8]) -> u64 {
    match name {
        b"amqp:open:list" => performative::OPEN,
        b"amqp:attach:list" => performative::ATTACH,
        b"amqp:detach:list" => performative::DETACH,
        b"amqp:end:list" => performative::END,
        b"amqp:close:list" => performative::CLOSE,
        b"amqp:sasl-init:list" => performative::SASL_INIT,
        b"amqp:sasl-outcome:list" => performative::SASL_OUTCOME,
        _ => 0,
    }
}

/// The members of a list, one after the other; null where there is none.
struct Members<'a>(Cursor<'a>);

impl<'a> Members<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    fn next(&mut self) -> Value<'a> {
        value(&mut self.0).unwrap_or(Value::Null)
    }

    fn nth(&mut self, place: usize) -> Value<'a> {
        for _ in 0..place {
            self.next();
        }
        self.next()
    }
}

/// The performative of a frame, behind its head.
pub(super) fn frame(input: &[u8]) -> Option<(u32, u8, &[u8])> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    let offset = usize::from(cursor.u8()?) * 4;
    let kind = cursor.u8()?;
    cursor.u16()?;
    if (length as usize) < HEAD || offset < HEAD || offset > length as usize {
        return Some((0, kind, &[]));
    }
    let body = input.get(..length as usize).unwrap_or(input);
    Some((length, kind, body.get(offset..).unwrap_or_default()))
}

impl Amqp {
    pub(super) fn one(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let Some((length, kind, _)) = frame(input) else {
            return Step::Incomplete;
        };
        if length == 0 || length > FRAME_MAX || kind > 1 {
            return self.wrong("amqp: a frame that is none");
        }
        let kept = (length as usize).min(READ_MAX);
        let Some(kept) = input.get(..kept) else {
            return Step::Incomplete;
        };
        let body = frame(kept).map_or(&[][..], |(.., body)| body);
        if !body.is_empty() {
            match value(&mut Cursor::new(body)) {
                Some(Value::Described(descriptor, members)) => {
                    self.performative(direction, descriptor, members, sink);
                }
                // A message in parts is larger than is read, its performative never is.
                _ => return self.wrong("amqp: a performative that is none"),
            }
        }
        Step::Skip(length.into())
    }

    fn performative(
        &mut self,
        direction: Direction,
        descriptor: u64,
        members: &[u8],
        sink: &mut dyn EventSink,
    ) {
        let mut members = Members::new(members);
        match (descriptor, direction) {
            (performative::OPEN, _) => self.open(direction, &mut members, sink),
            (performative::ATTACH, Direction::ToServer) => self.attach(&mut members, sink),
            (performative::DETACH, _) => failed("detach", members.nth(2), sink),
            (performative::END, _) => failed("end", members.next(), sink),
            (performative::CLOSE, _) => failed("close", members.next(), sink),
            (performative::SASL_INIT, Direction::ToServer) => {
                let mechanism = members.next().bytes();
                let response = members.next().bytes();
                let user = if mechanism == b"PLAIN" {
                    plain_user(response)
                } else {
                    &[]
                };
                Told::new()
                    .bytes(USER, user)
                    .bytes(MECHANISM, mechanism)
                    .send(EventKind::Session, sink);
            }
            (performative::SASL_OUTCOME, Direction::ToClient) => {
                let login = match members.next() {
                    Value::Number(0) => "accepted",
                    _ => "failed",
                };
                Told::new()
                    .name(LOGIN, login)
                    .send(EventKind::Session, sink);
            }
            _ => {}
        }
    }

    fn open(&mut self, direction: Direction, members: &mut Members<'_>, sink: &mut dyn EventSink) {
        let container = members.next().bytes();
        if direction == Direction::ToServer {
            let host = members.next().bytes();
            // RabbitMQ's way of naming a virtual host.
            let host = host.strip_prefix(b"vhost:").unwrap_or(host);
            self.vhost = host.try_into().unwrap_or_default();
            Told::new()
                .name(METHOD, "open")
                .bytes(VHOST, host)
                .bytes(CLIENT, container)
                .send(EventKind::Session, sink);
            return;
        }
        // Properties are the tenth member.
        if let Value::Other(map) = members.nth(8) {
            let text = |key: &[u8]| entry(map, key).unwrap_or_default();
            Told::new()
                .bytes(PRODUCT, text(b"product"))
                .bytes(PRODUCT_VERSION, text(b"version"))
                .send(EventKind::Session, sink);
        }
    }

    fn attach(&mut self, members: &mut Members<'_>, sink: &mut dyn EventSink) {
        let role = members.nth(2);
        let (source, target) = (members.nth(2), members.next());
        let (method, end) = match role {
            Value::Boolean(true) => ("attach.receiver", source),
            _ => ("attach.sender", target),
        };
        let address = match end {
            Value::Described(_, members) => Members::new(members).next().bytes(),
            _ => &[],
        };
        Told::new()
            .name(METHOD, method)
            .bytes(EXCHANGE, &[])
            .bytes(QUEUE, &[])
            .bytes(ROUTING_KEY, &[])
            .bytes(VHOST, &self.vhost)
            .bytes(ADDRESS, address)
            .send(EventKind::Request, sink);
    }
}

/// Tells the condition of an error, where there is one.
fn failed(method: &'static str, error: Value<'_>, sink: &mut dyn EventSink) {
    if let Value::Described(_, members) = error {
        let condition = Members::new(members).next().bytes();
        Told::new()
            .name(METHOD, method)
            .bytes(ERROR, condition)
            .send(EventKind::Response, sink);
    }
}

/// A text of a map, whose first bytes are the number of its members.
fn entry<'a>(map: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    // One byte or four: a key is a symbol or string, which tells.
    let skipped = if matches!(map.get(1), Some(0xa1 | 0xa3)) {
        1
    } else {
        4
    };
    let mut cursor = Cursor::new(map.get(skipped..)?);
    loop {
        let key = value(&mut cursor)?;
        let held = value(&mut cursor)?;
        if key == Value::Bytes(wanted) {
            return Some(held.bytes());
        }
    }
}
