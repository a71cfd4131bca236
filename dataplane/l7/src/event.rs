//! What a parser tells: typed fields, declared once in its [`crate::FieldSpec`] table.

use std::net::IpAddr;

use weir_wire::Direction;

use crate::{Buffer, BufferSet, Content, Transport};

/// The value of a field, borrowed from the bytes that were parsed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Bytes as on the wire.
    Bytes(&'a [u8]),
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
    /// A name from a closed list ("SELECT", "A", "TLS 1.3").
    Name(&'static str),
}

impl<'a> Value<'a> {
    /// Its bytes, of a text; None of a number or an address.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Name(name) => Some(name.as_bytes()),
            Self::Number(_) | Self::Address(_) => None,
        }
    }
}

/// One field of an event: the index into the application's field table, and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Index into [`crate::Application::FIELDS`].
    pub index: u8,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// Bytes as on the wire.
    pub const fn bytes(index: u8, value: &'a [u8]) -> Self {
        Self {
            index,
            value: Value::Bytes(value),
        }
    }

    /// A name from a closed list.
    pub const fn name(index: u8, value: &'static str) -> Self {
        Self {
            index,
            value: Value::Name(value),
        }
    }

    /// A number.
    pub const fn number(index: u8, value: u64) -> Self {
        Self {
            index,
            value: Value::Number(value),
        }
    }

    /// An address.
    pub const fn address(index: u8, value: IpAddr) -> Self {
        Self {
            index,
            value: Value::Address(value),
        }
    }
}

/// What kind of message the fields describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The client asks for something: policy conditions are evaluated on it, before its bytes pass.
    Request,
    /// The server answers.
    Response,
    /// Something about the session itself (a hello, a login, a version).
    Session,
}

/// One message, parsed.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What kind of message.
    pub kind: EventKind,
    /// Its fields; one field may occur several times (DNS answers).
    pub fields: &'a [Field<'a>],
}

/// Another connection between the same two hosts, told of on a control connection (FTP, TFTP, SIP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Registry name of what it will speak.
    pub application: &'static str,
    /// What will carry it.
    pub transport: Transport,
    /// The port it will arrive at, or the media come from; 0: the port that this connection has
    /// there.
    pub port: u16,
    /// Whose port that is: `ToServer` the server's of the control connection.
    pub side: Direction,
    /// The host's address as the message tells it, where it does.
    pub address: Option<IpAddr>,
}

/// The buffers that are wanted, asked for one by one.
pub(crate) fn wanted(wants: impl Fn(Buffer) -> bool) -> BufferSet {
    Buffer::ALL
        .iter()
        .copied()
        .filter(|&buffer| wants(buffer))
        .collect()
}

/// Takes the events of a parser.
pub trait EventSink {
    /// Called once per message, in the order of the stream.
    fn event(&mut self, event: &Event<'_>);

    /// The connection turned out to be this special case: a row whose `REFINES` leads to the
    /// parser's. Told before the event that shows it.
    fn refine(&mut self, _application: &'static str) {}

    /// Nothing finer than what is known is to be expected.
    fn settle(&mut self) {}

    /// Whether somebody looks into this buffer; what nobody wants need not be told.
    fn wants(&self, _buffer: Buffer) -> bool {
        false
    }

    /// All that somebody looks into: for parsers that have many buffers to tell.
    fn wanted(&self) -> BufferSet {
        wanted(|buffer| self.wants(buffer))
    }

    /// A piece of a buffer, behind the event of the message that it belongs to.
    fn content(&mut self, _content: &Content<'_>) {}

    /// Another connection will follow.
    fn announce(&mut self, _announcement: &Announcement) {}
}
