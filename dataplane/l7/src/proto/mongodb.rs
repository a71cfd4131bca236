//! MongoDB: commands with database and collection, logins and errors.
//!
//! After the "MongoDB Wire Protocol" (MongoDB manual) and the BSON specification: OP_MSG, the
//! opcodes before it, and OP_COMPRESSED, whose front is unpacked (snappy, zlib) to
//! [`UNPACKED_MAX`] bytes; of zstd, and of what lies beyond, nothing is known: the command is then
//! told as COMPRESSED, or its database stays empty. Trusts nothing. Documents are walked at their
//! top level, element by element; everything else is skipped by its length. Greetings and logins
//! are told as sessions, not as requests: a condition on commands would else cut every driver off.
//! Violations: impossible lengths, unknown opcodes, malformed documents. Memory: [`Mongodb`],
//! below 1 KiB.

mod bson;
mod client;
mod command;
mod probe;
mod server;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

/// Length, request, answered request, opcode.
const HEADER: usize = 16;
/// The server's `maxMessageSizeBytes`.
const MESSAGE_MAX: u32 = 48_000_000 + 16_384;
/// How much of a compressed message is unpacked, and how much of it is looked at for that.
const UNPACKED_MAX: usize = 4_096;

const COMMAND: u8 = 0;
const DATABASE: u8 = 1;
const COLLECTION: u8 = 2;
const USER: u8 = 3;
const MECHANISM: u8 = 4;
const CLIENT: u8 = 5;
const LOGIN: u8 = 6;
const ERROR_CODE: u8 = 7;
const ERROR: u8 = 8;
const COMPRESSOR: u8 = 9;
const SERVER_VERSION: u8 = 10;

mod opcode {
    pub(super) const REPLY: i32 = 1;
    pub(super) const UPDATE: i32 = 2001;
    pub(super) const INSERT: i32 = 2002;
    pub(super) const QUERY: i32 = 2004;
    pub(super) const GET_MORE: i32 = 2005;
    pub(super) const DELETE: i32 = 2006;
    pub(super) const KILL_CURSORS: i32 = 2007;
    pub(super) const COMMAND: i32 = 2010;
    pub(super) const COMMAND_REPLY: i32 = 2011;
    pub(super) const COMPRESSED: i32 = 2012;
    pub(super) const MSG: i32 = 2013;
}

/// The parser.
#[derive(Default)]
pub struct Mongodb {
    client: Side,
    server: Side,
    command: command::Command,
    answer: server::Answer,
    user: ArrayVec<u8, 64>,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
    /// The last request was a command: the document of an old reply is its outcome, not data.
    asked_command: bool,
    /// The compressor was told.
    compressed: [bool; 2],
}

/// A direction, and where in a message it is.
#[derive(Clone, Copy, Default)]
struct Side {
    stage: Stage,
    /// Bytes of the message that were not taken yet.
    left: usize,
    /// Bytes of the document at hand, of those.
    document: usize,
    /// No element of the document was read yet.
    first: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Header,
    /// Sections of an OP_MSG; a checksum may end them.
    Sections,
    /// A document of an OP_MSG, which more sections may follow.
    Body,
    /// The only document of an older message that matters.
    Document,
}

struct Header {
    length: u32,
    response_to: u32,
    opcode: i32,
}

impl Header {
    fn read(input: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(*input.get(at..)?.first_chunk()?));
        Some(Self {
            length: number(0)?,
            response_to: number(8)?,
            opcode: number(12)? as i32,
        })
    }
}

impl Application for Mongodb {
    const NAME: &'static str = "mongodb";
    const ABOUT: &'static str = "MongoDB wire protocol (MongoDB manual; BSON 1.1)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[27017, 27018, 27019];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command: find, insert, aggregate, …; COMPRESSED where it cannot be read",
        ),
        FieldSpec::condition(
            "database",
            "Database of a command ($db, or of an old namespace)",
        ),
        FieldSpec::condition(
            "collection",
            "Collection of a command: its first value, where that is a text",
        ),
        FieldSpec::condition(
            "user",
            "User of the last login, whether or not it succeeded (SCRAM, PLAIN, MONGODB-CR)",
        ),
        FieldSpec::text("mechanism", "SASL mechanism of a login"),
        FieldSpec::text("client", "Driver's or application's name (hello, client)"),
        FieldSpec::text("login", "Outcome of a login: accepted or failed"),
        FieldSpec::number("error_code", "Number of an error (MongoDB, error codes)"),
        FieldSpec::text("error", "Message of an error, at most 160 bytes"),
        FieldSpec::text(
            "compressor",
            "How messages are compressed: noop, snappy, zlib, zstd (OP_COMPRESSED)",
        ),
        FieldSpec::text("server_version", "Version of the server (buildInfo)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::ANY,
        to_client: ByteSet::ANY,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let step = match direction {
            Direction::ToServer => self.client_bytes(input, sink),
            Direction::ToClient => self.server_bytes(input, sink),
        };
        match step {
            Step::Violation(_) if self.picked_up => Step::Done,
            step => step,
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        // The probe saw that a message begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Side {
    /// Reads a message's header. None: too short.
    fn header(&mut self, input: &[u8]) -> Option<Result<Header, Step>> {
        let header = Header::read(input)?;
        if !(HEADER as u32..=MESSAGE_MAX).contains(&header.length) {
            return Some(Err(Step::Violation(
                "mongodb: message length out of bounds",
            )));
        }
        self.left = header.length as usize;
        Some(Ok(header))
    }

    /// Takes bytes of the message.
    fn take(&mut self, count: usize) -> Step {
        self.left = self.left.saturating_sub(count);
        Step::Skip(count as u64)
    }

    /// Takes what is left of the message, of which nothing was taken yet or all but this.
    fn drop_rest(&mut self) -> Step {
        let left = std::mem::take(&mut self.left);
        self.stage = Stage::Header;
        Step::Skip(left as u64)
    }

    /// The next section of an OP_MSG.
    fn section(&mut self, input: &[u8]) -> Step {
        // What is left without room for a section is a checksum.
        if self.left < 6 {
            self.stage = Stage::Header;
            return match std::mem::take(&mut self.left) {
                0 => Step::Violation("mongodb: a message without end"),
                left => Step::Skip(left as u64),
            };
        }
        let Some((&kind, rest)) = input.split_first() else {
            return Step::Incomplete;
        };
        let Some(size) = bson::little_i32(rest) else {
            return Step::Incomplete;
        };
        let size = usize::try_from(size).unwrap_or_default();
        if size < 5 || size >= self.left {
            return Step::Violation("mongodb: section length out of bounds");
        }
        match kind {
            0 => {
                self.begin(Stage::Body, size);
                self.take(5)
            }
            1 => {
                let step = self.take(1 + size);
                self.settle();
                step
            }
            _ => Step::Violation("mongodb: unknown section"),
        }
    }

    /// A document of `size` bytes, the length at its front being taken.
    fn begin(&mut self, stage: Stage, size: usize) {
        self.stage = stage;
        self.document = size.saturating_sub(4);
        self.first = true;
    }

    /// Takes `count` bytes of the document.
    fn take_element(&mut self, count: usize) -> Step {
        self.document = self.document.saturating_sub(count);
        self.first = false;
        self.take(count)
    }

    /// The document's last byte is taken.
    fn end(&mut self) -> Step {
        if self.document != 1 {
            return Step::Violation("mongodb: a document that ends too early");
        }
        if self.stage == Stage::Document {
            return self.drop_rest();
        }
        self.stage = Stage::Sections;
        let step = self.take(1);
        self.settle();
        step
    }

    /// After a section: the message may be over.
    fn settle(&mut self) {
        if self.left == 0 {
            self.stage = Stage::Header;
        }
    }
}
