//! PostgreSQL: startup, statements of both query protocols, errors (protocol 3, PostgreSQL manual
//! chapter "Frontend/Backend Protocol").
//!
//! Trusts nothing. A query's text is told with its first [`QUERY_MAX`] bytes; every statement of it
//! is named, also beyond them. Parse and Execute are requests of their own, the latter with the kind
//! of the statement it runs; Describe, Sync and the like are none. Results and COPY data are skipped
//! by their lengths. Violations: unknown messages and impossible lengths. Memory: [`Postgresql`],
//! below 1 KiB.

mod client;
mod server;
mod startup;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::sql::{Kind, Prepared, Scanner};
use crate::{
    Application, Buffer, BufferSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// A message's type and length.
const HEADER: usize = 5;
/// PostgreSQL's own limit for most messages (PQ_LARGE_MESSAGE_LIMIT).
const MESSAGE_MAX: usize = 0x3fff_ffff;
/// How much of a query is kept and told.
const QUERY_MAX: usize = 4_096;

const COMMAND: u8 = 0;
const STATEMENT: u8 = 1;
const QUERY: u8 = 2;
const USER: u8 = 3;
const DATABASE: u8 = 4;
const TABLE: u8 = 5;
const APPLICATION_NAME: u8 = 6;
const SERVER_VERSION: u8 = 7;
const LOGIN: u8 = 8;
const SEVERITY: u8 = 9;
const SQLSTATE: u8 = 10;
const ERROR: u8 = 11;

/// A user's or database's name: PostgreSQL has none above 63 bytes. One that does not fit is left
/// empty: half a name could be somebody else's.
type Name = ArrayVec<u8, 64>;

/// The parser.
#[derive(Default)]
pub struct Postgresql {
    phase: Phase,
    /// Encryption that the client asked for and the server has not answered.
    offered: Option<Encryption>,
    user: Name,
    database: Name,
    accepted: bool,
    /// `standard_conforming_strings` is off: backslashes escape in '…'.
    escapes: bool,
    /// Text of the message at hand that is still to be read for statements.
    left: usize,
    scan: Option<Scan>,
    /// Somebody looks into the text that goes on.
    looked: bool,
    prepared: Prepared,
    unnamed: Kind,
    /// Portals by the hash of their names, the latest last.
    portals: ArrayVec<(u32, Kind), 8>,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Startup,
    Messages,
    Tls,
    /// Encrypted by GSSAPI, cancelled, or of another version.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Tls,
    Gss,
}

/// A text that goes on.
#[derive(Clone, Copy)]
struct Scan {
    scanner: Scanner,
    command: &'static str,
    told: bool,
    /// The statement that gets the first kind found, when none was found yet.
    names: Option<u32>,
    /// Bytes behind the text.
    ended: bool,
}

impl Application for Postgresql {
    const NAME: &'static str = "postgresql";
    const ABOUT: &'static str =
        "PostgreSQL frontend/backend protocol, version 3 (PostgreSQL manual)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[5432];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "QUERY, PARSE, EXECUTE or FUNCTION_CALL (manual, Message Formats)",
        ),
        FieldSpec::condition(
            "statement",
            "Kind of each statement: SELECT, INSERT, …; also of a prepared one when it runs",
        ),
        FieldSpec::text("query", "Text of the query, at most its first 4,096 bytes"),
        FieldSpec::condition("user", "User of the startup message"),
        FieldSpec::condition(
            "database",
            "Database of the startup message, by default the user's name",
        ),
        FieldSpec::text("table", "Name behind FROM, JOIN, INTO, UPDATE or TABLE"),
        FieldSpec::text(
            "application_name",
            "Name that the client gives itself (startup message)",
        ),
        FieldSpec::text("server_version", "Version of the server (ParameterStatus)"),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text(
            "severity",
            "Severity of an error (manual, Error and Notice Message Fields)",
        ),
        FieldSpec::text(
            "sqlstate",
            "SQLSTATE of an error (manual, Error and Notice Message Fields)",
        ),
        FieldSpec::text(
            "error",
            "Message of an error (manual, Error and Notice Message Fields)",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Statement);
    const OPENINGS: Openings = Openings::ANY;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        startup::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let step = match (self.phase, direction) {
            (Phase::Tls, _) => Step::StartTls,
            (Phase::Over, _) => Step::Done,
            (Phase::Startup, Direction::ToServer) => self.startup(input, sink),
            (_, Direction::ToServer) => self.client_bytes(input, sink),
            (_, Direction::ToClient) => self.server_bytes(input, sink),
        };
        match step {
            Step::Violation(_) if self.picked_up => Step::Done,
            step => step,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if direction == Direction::ToServer && length > 0 && self.within_text(length) {
            return true;
        }
        self.picked_up = true;
        // The probe saw that a message begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Postgresql {
    /// Tells a request with every field that a condition may name.
    fn request(
        &self,
        command: &'static str,
        kind: Kind,
        query: &[u8],
        tables: &[&[u8]],
        sink: &mut dyn EventSink,
    ) {
        let mut fields: ArrayVec<Field<'_>, 16> = ArrayVec::new();
        fields.push(Field::name(COMMAND, command));
        fields.push(Field::name(STATEMENT, kind.name()));
        fields.push(Field::bytes(QUERY, query));
        fields.push(Field::bytes(USER, &self.user));
        fields.push(Field::bytes(DATABASE, &self.database));
        fields.extend(
            tables
                .iter()
                .map(|table| Field::bytes(TABLE, table))
                .take(8),
        );
        sink.event(&Event {
            kind: EventKind::Request,
            fields: &fields,
        });
    }
}

/// Type of a message and its whole length.
fn header(input: &[u8]) -> Option<(u8, usize)> {
    let (&[kind, a, b, c, d], _) = input.split_first_chunk::<HEADER>()?;
    Some((kind, u32::from_be_bytes([a, b, c, d]) as usize + 1))
}

/// Up to the next zero byte, and what is behind it.
fn until_zero(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == 0)?;
    Some((input.get(..end)?, input.get(end + 1..)?))
}

#[cfg(test)]
mod tests;
