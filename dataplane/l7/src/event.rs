//! What a parser tells: typed fields, declared once in its [`crate::FieldSpec`] table.

use std::net::IpAddr;

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

/// One field of an event: the index into the application's field table, and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Index into [`crate::Application::FIELDS`].
    pub index: u8,
    /// The value.
    pub value: Value<'a>,
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

/// Takes the events of a parser.
pub trait EventSink {
    /// Called once per message, in the order of the stream.
    fn event(&mut self, event: &Event<'_>);
}
