//! Cassandra: CQL statements, logins and errors of the native protocol, versions 1 to 5.
//!
//! After `native_protocol_v3.spec` to `v5.spec` (Apache Cassandra), and the calls of the Thrift
//! interface before it. Trusts nothing. Of a message the first [`BODY_MAX`] bytes are read, unpacked
//! (LZ4, Snappy) where it is compressed; checksums of version 5 are left to the endpoints. A query
//! holds one statement, or a batch of them; what lies beyond the part that was read of a batch is
//! told as a statement OTHER. Prepared statements keep their kind, not their table.
//!
//! Violations: impossible lengths, unknown opcodes. Memory: [`Cassandra`], below 1 KiB.

mod client;
mod frame;
mod probe;
mod server;
mod thrift;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::sql::{Kind, Prepared};
use crate::{
    Application, Blocks, Buffer, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// How much of a message is read, and how much of it is unpacked.
const BODY_MAX: usize = 4_096;
/// `native_transport_max_frame_size` may be raised; nobody sends more at once.
const MESSAGE_MAX: u32 = 1 << 28;

const COMMAND: u8 = 0;
const STATEMENT: u8 = 1;
const KEYSPACE: u8 = 2;
const USER: u8 = 3;
const QUERY: u8 = 4;
const TABLE: u8 = 5;
const CLIENT: u8 = 6;
const COMPRESSION: u8 = 7;
const MECHANISM: u8 = 8;
const LOGIN: u8 = 9;
const ERROR_CODE: u8 = 10;
const ERROR: u8 = 11;

mod opcode {
    pub(super) const ERROR: u8 = 0x00;
    pub(super) const STARTUP: u8 = 0x01;
    pub(super) const READY: u8 = 0x02;
    pub(super) const AUTHENTICATE: u8 = 0x03;
    pub(super) const OPTIONS: u8 = 0x05;
    pub(super) const SUPPORTED: u8 = 0x06;
    pub(super) const QUERY: u8 = 0x07;
    pub(super) const RESULT: u8 = 0x08;
    pub(super) const PREPARE: u8 = 0x09;
    pub(super) const EXECUTE: u8 = 0x0a;
    pub(super) const REGISTER: u8 = 0x0b;
    pub(super) const EVENT: u8 = 0x0c;
    pub(super) const BATCH: u8 = 0x0d;
    pub(super) const AUTH_CHALLENGE: u8 = 0x0e;
    pub(super) const AUTH_RESPONSE: u8 = 0x0f;
    pub(super) const AUTH_SUCCESS: u8 = 0x10;
}

/// The parser.
#[derive(Default)]
pub struct Cassandra {
    /// The Thrift interface instead.
    thrift: bool,
    compression: Compression,
    /// Version 5 puts messages into frames once the connection is set up.
    framed: [bool; 2],
    /// Bytes of a message that frames to come go on with, by direction.
    continued: [u32; 2],
    keyspace: ArrayVec<u8, 64>,
    user: ArrayVec<u8, 64>,
    /// Statements sent for preparation, by stream.
    preparing: ArrayVec<(u16, Kind), 32>,
    prepared: Prepared,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Compression {
    #[default]
    None,
    Lz4,
    Snappy,
    /// Another one, or nobody saw which.
    Unknown,
}

/// A message's front.
struct Message<'a> {
    head: frame::Head,
    body: &'a [u8],
    /// All of the body is there.
    whole: bool,
}

impl Application for Cassandra {
    const NAME: &'static str = "cassandra";
    const ABOUT: &'static str =
        "CQL native protocol, versions 1 to 5 (Apache Cassandra), and its Thrift interface";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[9042, 9142, 9160];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "QUERY, PREPARE, EXECUTE or BATCH; or the name of a Thrift call",
        ),
        FieldSpec::condition(
            "statement",
            "Kind of each statement: SELECT, INSERT, …; also of a prepared one when it runs",
        ),
        FieldSpec::condition(
            "keyspace",
            "Keyspace that a statement names, else the current one; empty where it is not known",
        ),
        FieldSpec::condition(
            "user",
            "User of the last login, whether or not it succeeded",
        ),
        FieldSpec::text("query", "Text of a statement, at most 4,096 bytes"),
        FieldSpec::text("table", "Name behind FROM, INTO, UPDATE or TABLE"),
        FieldSpec::text("client", "Name of the driver (STARTUP)"),
        FieldSpec::text("compression", "How bodies are compressed (STARTUP)"),
        FieldSpec::text(
            "mechanism",
            "Class of the server's authenticator (AUTHENTICATE)",
        ),
        FieldSpec::text("login", "Outcome of a login: accepted or failed"),
        FieldSpec::number("error_code", "Number of an error (native protocol, ERROR)"),
        FieldSpec::text("error", "Message of an error"),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Statement);
    const OPENINGS: Openings = Openings {
        // Thrift begins with a length.
        to_server: ByteSet::of(&[0]).and_range(1, 5).and_range(0x41, 0x42),
        to_client: ByteSet::of(&[0])
            .and_range(0x81, 0x85)
            .and_range(0xc1, 0xc2),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn open(_transport: Transport, _blocks: &mut Blocks) -> Self {
        Self::default()
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let thrift = self.thrift || input.first() == Some(&0);
        let step = match direction {
            // The first byte of a frame of version 5 may be anything.
            _ if self.framed(direction) => self.frame(direction, input, sink),
            _ if thrift => self.call(direction, input, sink),
            _ => self.plain(direction, input, sink),
        };
        match step {
            Step::Violation(_) if self.picked_up => Step::Done,
            step => step,
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        self.compression = Compression::Unknown;
        // The probe saw that a message begins here; behind a loss nobody knows.
        length == 0
    }
}

/// A text behind a length of two bytes.
fn string<'a>(cursor: &mut crate::read::cursor::Cursor<'a>) -> Option<&'a [u8]> {
    let length = cursor.u16()?;
    cursor.take(length.into())
}
