//! Microsoft SQL Server: logins, batches, procedure calls and errors (TDS 7.0 to 7.4, and the login
//! of the versions before).
//!
//! After [MS-TDS]. Trusts nothing. Texts are UTF-16 and told as UTF-8, with their first
//! [`KEPT`] bytes; a batch is read to its end for statements. Transact-SQL needs nothing between
//! two statements, so each verb of a batch is told. Of a procedure call what [`KEPT`] bytes hold is
//! read; where a call's end is not seen another call may follow, which is told as OTHER. Passwords
//! are never looked at. TLS is negotiated within packets: its records are skipped by their lengths;
//! where only the login is encrypted the statements behind it are read again.
//!
//! Violations: impossible lengths, unknown packets. Memory: [`Mssql`], below 1 KiB.

mod client;
mod login;
mod probe;
mod rpc;
mod server;
mod text;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::sql::{Prepared, Scanner};
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput,
    Step, Transport,
};

/// Type, status, length, process, number, window.
const HEADER: usize = 8;
/// How much of a packet is read at once.
const KEPT: usize = 4_096;

const COMMAND: u8 = 0;
const STATEMENT: u8 = 1;
const USER: u8 = 2;
const DATABASE: u8 = 3;
const QUERY: u8 = 4;
const TABLE: u8 = 5;
const CLIENT: u8 = 6;
const CLIENT_HOST: u8 = 7;
const SERVER_VERSION: u8 = 8;
const ENCRYPTION: u8 = 9;
const LOGIN: u8 = 10;
const ERROR_CODE: u8 = 11;
const ERROR: u8 = 12;

mod packet {
    pub(super) const BATCH: u8 = 1;
    pub(super) const OLD_LOGIN: u8 = 2;
    pub(super) const RPC: u8 = 3;
    pub(super) const RESPONSE: u8 = 4;
    pub(super) const ATTENTION: u8 = 6;
    pub(super) const BULK: u8 = 7;
    pub(super) const FEDERATED: u8 = 8;
    pub(super) const TRANSACTION: u8 = 14;
    pub(super) const LOGIN: u8 = 16;
    pub(super) const SSPI: u8 = 17;
    pub(super) const PRELOGIN: u8 = 18;
}

/// The parser.
#[derive(Default)]
pub struct Mssql {
    user: ArrayVec<u8, 128>,
    database: ArrayVec<u8, 128>,
    prepared: Prepared,
    /// A batch whose text goes on.
    scan: Option<Scan>,
    /// Bytes of the packet at hand that belong to the batch's text.
    left: usize,
    /// The message at hand goes on in the next packet, by direction.
    continues: [bool; 2],
    /// TLS was seen within packets: its records may follow without any.
    tls: bool,
    accepted: bool,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

#[derive(Clone, Copy)]
struct Scan {
    scanner: Scanner,
    /// The first half of a character.
    half: Option<u8>,
    told: bool,
}

struct Header {
    kind: u8,
    /// The message's last packet.
    last: bool,
    /// Bytes behind the header.
    length: usize,
}

impl Header {
    /// None: too short.
    fn read(input: &[u8]) -> Option<Result<Self, Step>> {
        let mut cursor = Cursor::new(input.get(..HEADER)?);
        let (kind, status, length) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
        Some(match usize::from(length).checked_sub(HEADER) {
            Some(length) => Ok(Self {
                kind,
                last: status & 1 != 0,
                length,
            }),
            None => Err(Step::Violation("mssql: packet length out of bounds")),
        })
    }

    fn step(&self) -> Step {
        Step::Skip((HEADER + self.length) as u64)
    }
}

impl Application for Mssql {
    const NAME: &'static str = "mssql";
    const ABOUT: &'static str = "Tabular Data Stream of Microsoft SQL Server ([MS-TDS])";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[1433];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "BATCH, BULK_LOAD, or the name of the procedure that is called",
        ),
        FieldSpec::condition(
            "statement",
            "Kind of each statement: SELECT, INSERT, …; EXECUTE for a procedure of the user's",
        ),
        FieldSpec::condition("user", "User of the login (LOGIN7, or NTLM)"),
        FieldSpec::condition("database", "Current database; a statement may name others"),
        FieldSpec::text(
            "query",
            "Text of a batch or call, at most its first 2,048 characters",
        ),
        FieldSpec::text("table", "Name behind FROM, JOIN, INTO, UPDATE or TABLE"),
        FieldSpec::text("client", "Application that logs in (LOGIN7)"),
        FieldSpec::text(
            "client_host",
            "Name that the client's machine gives itself (LOGIN7)",
        ),
        FieldSpec::text(
            "server_version",
            "Version of the server (PRELOGIN, LOGINACK)",
        ),
        FieldSpec::text(
            "encryption",
            "What the server says of encryption: off, on, required, none",
        ),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::number("error_code", "Number of an error ([MS-TDS], ERROR)"),
        FieldSpec::text("error", "Message of an error, at most 512 characters"),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Statement);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[packet::BATCH, packet::OLD_LOGIN, packet::RPC])
            .and_range(packet::LOGIN, packet::PRELOGIN),
        to_client: ByteSet::of(&[packet::RESPONSE]),
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
        self.tls = true;
        // The probe saw that a packet begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Mssql {
    /// A TLS record that follows without a packet around it; none: a packet.
    fn record(&self, input: &[u8]) -> Option<Step> {
        let first = *input.first()?;
        if !self.tls || !(0x14..=0x17).contains(&first) {
            return None;
        }
        let Some(&[_, _, _, high, low]) = input.first_chunk::<5>() else {
            return Some(Step::Incomplete);
        };
        Some(Step::Skip(5 + u64::from(u16::from_be_bytes([high, low]))))
    }
}
