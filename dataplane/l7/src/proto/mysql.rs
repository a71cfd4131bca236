//! MySQL and MariaDB: logins, commands, statements and errors.
//!
//! Read after the MySQL "Client/Server Protocol" and MariaDB's "Clients & Utilities: protocol".
//! Trusts nothing. A command's text is told with its first [`QUERY_MAX`] bytes; every statement of
//! it is named, also beyond them. Commands that neither read nor change data (PING, QUIT, closing a
//! statement …) are no requests: a condition on statements would else cut every connection pool
//! off. A condition on `database` sees the current one; a statement may name others.
//!
//! Violations: packets out of order, malformed logins, unknown commands. Where nothing more can be
//! read (compression) a last request with the command COMPRESSED is told, so that conditions bite.
//! Memory: [`Mysql`], below 1 KiB.

mod client;
mod login;
mod server;
mod state;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::sql::{Kind, Prepared, Scanner};
use crate::{
    Application, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};
use state::Asked;

/// Length and sequence number of a packet.
const HEADER: usize = 4;
/// A packet of this length is continued by the next one.
const FULL: usize = 0xff_ffff;
/// How much of a command is kept and told.
const QUERY_MAX: usize = 4_096;

const COMMAND: u8 = 0;
const STATEMENT: u8 = 1;
const QUERY: u8 = 2;
const USER: u8 = 3;
const DATABASE: u8 = 4;
const TABLE: u8 = 5;
const SERVER_VERSION: u8 = 6;
const AUTH_PLUGIN: u8 = 7;
const CLIENT: u8 = 8;
const COMPRESSED: u8 = 9;
const LOGIN: u8 = 10;
const ERROR_CODE: u8 = 11;
const SQLSTATE: u8 = 12;
const ERROR: u8 = 13;
const LOCAL_FILE: u8 = 14;

/// Capability flags (MySQL `mysql_com.h`; from bit 32 on MariaDB's own).
mod capability {
    pub(super) const CONNECT_WITH_DB: u64 = 1 << 3;
    pub(super) const COMPRESS: u64 = 1 << 5;
    pub(super) const PROTOCOL_41: u64 = 1 << 9;
    pub(super) const SSL: u64 = 1 << 11;
    pub(super) const SECURE_CONNECTION: u64 = 1 << 15;
    pub(super) const MULTI_STATEMENTS: u64 = 1 << 16;
    pub(super) const PLUGIN_AUTH: u64 = 1 << 19;
    pub(super) const CONNECT_ATTRIBUTES: u64 = 1 << 20;
    pub(super) const PLUGIN_AUTH_LENENC: u64 = 1 << 21;
    pub(super) const DEPRECATE_EOF: u64 = 1 << 24;
    pub(super) const OPTIONAL_METADATA: u64 = 1 << 25;
    pub(super) const COMPRESS_ZSTD: u64 = 1 << 26;
    pub(super) const QUERY_ATTRIBUTES: u64 = 1 << 27;
    /// Unset by MariaDB's clients and servers, which then use the upper half.
    pub(super) const LONG_PASSWORD: u64 = 1;
    pub(super) const MARIADB_CACHE_METADATA: u64 = 1 << 36;
}

/// Server status flags.
mod status {
    pub(super) const MORE_RESULTS: u16 = 0x0008;
    pub(super) const CURSOR_EXISTS: u16 = 0x0040;
    pub(super) const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
}

/// A user's or database's name. One that does not fit is left empty: half a name could be
/// somebody else's.
type Name = ArrayVec<u8, 64>;

/// The parser.
#[derive(Default)]
pub struct Mysql {
    phase: Phase,
    /// What both sides can do.
    capabilities: u64,
    /// What the server offered; 0: its greeting was not seen.
    offered: u64,
    status: u16,
    /// The text's encoding may hide quotes: statements cannot be named for certain.
    opaque_charset: bool,
    user: Name,
    database: Name,
    /// The database that the command at hand asks for.
    wanted: Option<Name>,
    client: ClientSide,
    server: ServerSide,
    asked: Asked,
    prepared: Prepared,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing was seen.
    #[default]
    Greeting,
    /// From the client's first packet until the server accepts it.
    Login,
    Commands,
    /// As `Commands`, but begun in the middle: the server's packets have no known boundary.
    PickedUp,
    Tls,
    Compressed,
}

#[derive(Default)]
struct ClientSide {
    /// Text of the packet at hand that is still to be read for statements.
    left: usize,
    /// The packet was full: its command goes on in the next.
    continues: bool,
    scan: Option<Scan>,
    /// Somebody looks into the text that goes on.
    looked: bool,
    /// The server asked for a file; it ends with an empty packet.
    sends_file: bool,
    several_statements: bool,
    /// The login was sent.
    logged_in: bool,
}

/// A text that goes on.
#[derive(Clone, Copy)]
struct Scan {
    scanner: Scanner,
    command: &'static str,
    told: bool,
}

#[derive(Default)]
struct ServerSide {
    greeted: bool,
    continues: bool,
    stage: Stage,
}

/// Where in an answer the server is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Before the first packet of an answer, or of its next result.
    #[default]
    First,
    /// Packets that describe columns, the last one perhaps an EOF; rows follow.
    Columns {
        left: u32,
    },
    /// Packets that describe a prepared statement; nothing follows.
    Description {
        left: u32,
    },
    Rows,
}

impl Application for Mysql {
    const NAME: &'static str = "mysql";
    const ABOUT: &'static str = "MySQL and MariaDB client/server protocol, versions 9 and 10 (MySQL Source Code Documentation)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[3306];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command: QUERY, STMT_PREPARE, STMT_EXECUTE, INIT_DB, … (MySQL, Command Phase)",
        ),
        FieldSpec::condition(
            "statement",
            "Kind of each statement: SELECT, INSERT, …; also of a prepared one when it runs, and of a command that does the same as one (INIT_DB: USE)",
        ),
        FieldSpec::text(
            "query",
            "Text of the command, at most its first 4,096 bytes",
        ),
        FieldSpec::condition("user", "User of the login (MySQL, HandshakeResponse)"),
        FieldSpec::condition("database", "Current database; a statement may name others"),
        FieldSpec::text("table", "Name behind FROM, JOIN, INTO, UPDATE or TABLE"),
        FieldSpec::text(
            "server_version",
            "Version of the greeting (MySQL, Handshake)",
        ),
        FieldSpec::text(
            "auth_plugin",
            "Authentication method (MySQL, Handshake and AuthSwitchRequest)",
        ),
        FieldSpec::text(
            "client",
            "Name of the client's program or library (MySQL, connection attributes)",
        ),
        FieldSpec::text(
            "compressed",
            "Compression that hides the commands: zlib or zstd (MySQL, capability flags)",
        ),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::number("error_code", "Error number (MySQL, ERR_Packet)"),
        FieldSpec::text("sqlstate", "SQLSTATE of the error (MySQL, ERR_Packet)"),
        FieldSpec::text("error", "Message of the error (MySQL, ERR_Packet)"),
        FieldSpec::text(
            "local_file",
            "File of the client that the server asked for (MySQL, LOCAL INFILE)",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Statement);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::ANY,
        to_client: ByteSet::ANY,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        login::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let step = match (self.phase, direction) {
            (Phase::Tls, _) => Step::StartTls,
            (_, Direction::ToServer) => self.client_bytes(input, sink),
            (_, Direction::ToClient) => self.server_bytes(input, sink),
        };
        match step {
            Step::Violation(_) if self.picked_up => Step::Done,
            step => step,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if direction == Direction::ToServer && length > 0 && self.client.within_text(length) {
            return true;
        }
        self.picked_up = true;
        // The probe saw that a packet begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Mysql {
    /// Whether both sides agreed on `flags`.
    fn can(&self, flags: u64) -> bool {
        self.capabilities & flags != 0
    }

    /// Tells a request with every field that a condition may name.
    fn request(
        &self,
        command: &'static str,
        kind: &'static str,
        query: &[u8],
        tables: &[&[u8]],
        sink: &mut dyn EventSink,
    ) {
        let mut fields: ArrayVec<Field<'_>, 16> = ArrayVec::new();
        fields.push(Field::name(COMMAND, command));
        fields.push(Field::name(STATEMENT, kind));
        fields.push(Field::bytes(QUERY, query));
        fields.push(Field::bytes(USER, &self.user));
        fields.push(Field::bytes(
            DATABASE,
            self.wanted.as_ref().unwrap_or(&self.database),
        ));
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

    /// The wanted database is the current one.
    fn settle_database(&mut self) {
        if let Some(database) = self.wanted.take() {
            self.database = database;
        }
    }
}

/// Payload length and sequence number.
fn header(input: &[u8]) -> Option<(usize, u8)> {
    let (&[low, middle, high, sequence], _) = input.split_first_chunk::<HEADER>()?;
    Some((
        u32::from_le_bytes([low, middle, high, 0]) as usize,
        sequence,
    ))
}

fn name(bytes: &[u8]) -> Name {
    Name::try_from(bytes).unwrap_or_default()
}

/// Up to the next zero byte, and what is behind it.
fn until_zero(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == 0)?;
    Some((input.get(..end)?, input.get(end + 1..)?))
}

/// A length-encoded integer and what is behind it.
fn number(input: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = input.split_first()?;
    let size = match first {
        0..=0xfa => return Some((first.into(), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let value = rest
        .get(..size)?
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some((value, rest.get(size..)?))
}

/// A length-encoded string and what is behind it.
fn string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(input)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn little_u16(bytes: Option<&[u8]>) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes?.first_chunk()?))
}

fn little_u32(bytes: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes?.first_chunk()?))
}

#[cfg(test)]
mod tests;
