//! Oracle: the connections of Oracle Net (TNS): what is asked for, by whom, and what is refused.
//!
//! There is no public specification; after the descriptions in Wireshark's `packet-tns.c` and in
//! python-oracledb (Oracle's own driver, open source). Trusts nothing. Connect descriptors are read
//! for their keys, packets behind them are skipped by their lengths, which have four bytes from
//! version 315 on; of the server's packets those that carry an error are looked into. Of a call the
//! first text that begins with a verb is handed on as its statement, if somebody looks. Native encryption hides what follows the negotiation: nothing is told of it. Violations:
//! impossible lengths, unknown packets. Memory: two names and a few flags.

mod descriptor;
mod probe;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content;
use crate::read::cursor::Cursor;
use crate::read::lines;
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};
use descriptor::value;

/// A call of the server, alone or behind others.
const CALL: u8 = 3;
const CALL_BEHIND: u8 = 17;
/// What statements begin with.
const VERBS: &[&[u8]] = &[
    b"SELECT",
    b"INSERT",
    b"UPDATE",
    b"DELETE",
    b"MERGE",
    b"WITH",
    b"BEGIN",
    b"DECLARE",
    b"CALL",
    b"CREATE",
    b"ALTER",
    b"DROP",
    b"TRUNCATE",
    b"GRANT",
    b"REVOKE",
    b"EXPLAIN",
    b"LOCK",
    b"SET",
];

/// Length, checksum, type, flags, checksum of the header.
const HEADER: usize = 8;
/// How much of a packet is looked at: descriptors are below 4 KiB.
const KEPT: usize = 4_096;
/// From this version on lengths have four bytes.
const LARGE_VERSION: u16 = 315;
/// How much of an error is told.
const ERROR_MAX: usize = 512;

const COMMAND: u8 = 0;
const SERVICE: u8 = 1;
const USER: u8 = 2;
const SID: u8 = 3;
const PROGRAM: u8 = 4;
const CLIENT_HOST: u8 = 5;
const LOGIN: u8 = 6;
const ERROR_CODE: u8 = 7;
const ERROR: u8 = 8;
const ADDRESS: u8 = 9;
const VERSION: u8 = 10;

mod packet {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const ACCEPT: u8 = 2;
    pub(super) const REFUSE: u8 = 4;
    pub(super) const REDIRECT: u8 = 5;
    pub(super) const DATA: u8 = 6;
    pub(super) const RESEND: u8 = 11;
    pub(super) const LAST: u8 = 17;
}

/// Message of the server that ends a call: an error, or none.
const OUTCOME: u8 = 4;

/// The parser.
#[derive(Default)]
pub struct Oracle {
    /// Lengths have four bytes, since the server accepted.
    large: bool,
    /// The descriptor follows the connect packet in one of its own.
    descriptor_follows: bool,
    /// The redirect's address follows in a packet of its own.
    address_follows: bool,
    service: ArrayVec<u8, 128>,
    user: ArrayVec<u8, 64>,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

impl Application for Oracle {
    const NAME: &'static str = "oracle";
    const ABOUT: &'static str =
        "Oracle Net (TNS) connections, versions 300 to 319 (Oracle's drivers)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[1521];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "CONNECT"),
        FieldSpec::condition(
            "service",
            "Service that is asked for (SERVICE_NAME), else the SID",
        ),
        FieldSpec::condition(
            "user",
            "User of the client's system (CID), not of the database",
        ),
        FieldSpec::text("sid", "Instance that is asked for (SID)"),
        FieldSpec::text("program", "Client's program (CID)"),
        FieldSpec::text("client_host", "Client's host, as it says (CID)"),
        FieldSpec::text("login", "Outcome of a login: failed"),
        FieldSpec::number(
            "error_code",
            "Number of an error: 1017 of ORA-01017, 12514 of a refusal",
        ),
        FieldSpec::text("error", "Message of an error, or the refusal's descriptor"),
        FieldSpec::text(
            "address",
            "Where the server sends the client instead (REDIRECT)",
        ),
        FieldSpec::number(
            "version",
            "Version of the protocol that is asked for, or accepted",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Statement);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0]).and_range(1, 0x20),
        to_client: ByteSet::of(&[0]).and_range(1, 0x20),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(head) = input.first_chunk::<HEADER>() else {
            return Step::Incomplete;
        };
        let [a, b, c, d, kind, ..] = *head;
        let length = if self.large {
            u32::from_be_bytes([a, b, c, d])
        } else {
            u16::from_be_bytes([a, b]).into()
        };
        if (length as usize) < HEADER || length > 1 << 24 {
            return self.contradicts("oracle: packet length out of bounds");
        }
        if kind == 0 || kind > packet::LAST {
            return self.contradicts("oracle: unknown packet");
        }
        let Some(body) = input.get(HEADER..(length as usize).min(KEPT)) else {
            return Step::Incomplete;
        };
        match direction {
            Direction::ToServer => self.client(kind, body, sink),
            Direction::ToClient => self.server(kind, body, sink),
        }
        Step::Skip(length.into())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        // How long lengths are was agreed on at the beginning.
        false
    }
}

impl Oracle {
    fn contradicts(&self, what: &'static str) -> Step {
        if self.picked_up {
            return Step::Done;
        }
        Step::Violation(what)
    }

    fn client(&mut self, kind: u8, body: &[u8], sink: &mut dyn EventSink) {
        match kind {
            packet::CONNECT => {
                let mut cursor = Cursor::new(body);
                let (version, _) = (cursor.u16(), cursor.take(14));
                let (length, start) = (cursor.u16(), cursor.u16());
                let start = usize::from(start.unwrap_or_default()).saturating_sub(HEADER);
                let length = usize::from(length.unwrap_or_default());
                let text = body.get(start..).unwrap_or_default();
                self.descriptor_follows = text.is_empty() && length > 0;
                Told::new()
                    .number(VERSION, version.unwrap_or_default().into())
                    .send(EventKind::Session, sink);
                if !self.descriptor_follows {
                    self.connect(text.get(..length).unwrap_or(text), sink);
                }
            }
            packet::DATA if self.descriptor_follows => {
                self.descriptor_follows = false;
                self.connect(body.get(2..).unwrap_or_default(), sink);
            }
            packet::DATA if sink.wants(Buffer::Statement) => {
                if let Some(text) = statement(body) {
                    content::whole(Buffer::Statement, text, sink);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, text: &[u8], sink: &mut dyn EventSink) {
        let sid = value(text, b"SID").unwrap_or_default();
        let service = value(text, b"SERVICE_NAME").unwrap_or(sid);
        // What CID says of the client stands in its own parentheses; HOST is also the server's.
        let client = value(text, b"CID").unwrap_or_default();
        let user = value(client, b"USER").or_else(|| value(text, b"USER"));
        // A name that does not fit is left empty: half a name could be somebody else's.
        self.service = service.try_into().unwrap_or_default();
        self.user = user.unwrap_or_default().try_into().unwrap_or_default();
        Told::new()
            .name(COMMAND, "CONNECT")
            .bytes(SERVICE, &self.service)
            .bytes(USER, &self.user)
            .known(SID, sid)
            .known(PROGRAM, value(client, b"PROGRAM").unwrap_or_default())
            .known(CLIENT_HOST, value(client, b"HOST").unwrap_or_default())
            .send(EventKind::Request, sink);
    }

    fn server(&mut self, kind: u8, body: &[u8], sink: &mut dyn EventSink) {
        match kind {
            packet::ACCEPT => {
                let version = Cursor::new(body).u16().unwrap_or_default();
                self.large = version >= LARGE_VERSION;
                Told::new()
                    .number(VERSION, version.into())
                    .send(EventKind::Session, sink);
            }
            packet::REFUSE => {
                let text = body.get(4..).unwrap_or_default();
                let code = value(text, b"ERR").and_then(number).unwrap_or_default();
                Told::new()
                    .number(ERROR_CODE, code)
                    .known(ERROR, text.get(..ERROR_MAX).unwrap_or(text))
                    .send(EventKind::Response, sink);
            }
            packet::REDIRECT => {
                let text = body.get(2..).unwrap_or_default();
                self.address_follows = text.is_empty();
                if !self.address_follows {
                    redirect(text, sink);
                }
            }
            packet::DATA if self.address_follows => {
                self.address_follows = false;
                redirect(body.get(2..).unwrap_or_default(), sink);
            }
            packet::DATA if body.get(2) == Some(&OUTCOME) => failure(body, sink),
            packet::RESEND => self.descriptor_follows = false,
            _ => {}
        }
    }
}

/// The statement of a call, which stands in it as text: what begins with a verb, up to the next byte
/// that no text has.
fn statement(body: &[u8]) -> Option<&[u8]> {
    if !matches!(body.get(2), Some(&(CALL | CALL_BEHIND))) {
        return None;
    }
    let is_text = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    body.split(|byte| !is_text(byte)).find_map(|text| {
        // Its length may look like text.
        (0..text.len().min(4)).find_map(|start| {
            let text = text.get(start..)?;
            let (verb, rest) = lines::word(text);
            let known = VERBS.iter().any(|known| known.eq_ignore_ascii_case(verb));
            (known && !rest.is_empty()).then_some(text)
        })
    })
}

fn redirect(text: &[u8], sink: &mut dyn EventSink) {
    let address = text.split(|&byte| byte == 0).next().unwrap_or_default();
    Told::new()
        .bytes(ADDRESS, address)
        .send(EventKind::Session, sink);
}

/// "ORA-01017: invalid username/password; logon denied"
fn failure(body: &[u8], sink: &mut dyn EventSink) {
    let Some(start) = memchr::memmem::find(body, b"ORA-") else {
        return;
    };
    let text = body.get(start..).unwrap_or_default();
    let end = text
        .iter()
        .take(ERROR_MAX)
        .position(|&byte| byte == 0 || byte == b'\n')
        .unwrap_or(text.len().min(ERROR_MAX));
    let text = text.get(..end).unwrap_or_default();
    let Some(code) = text.get(4..9).and_then(number) else {
        return;
    };
    let told = Told::new().number(ERROR_CODE, code).bytes(ERROR, text);
    let told = match code {
        // Wrong password, locked, expired, no right to connect.
        1005 | 1017 | 28000 | 28001 | 1045 => told.name(LOGIN, "failed"),
        _ => told,
    };
    told.send(EventKind::Response, sink);
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
