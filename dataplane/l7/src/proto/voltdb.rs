//! VoltDB: logins, procedure calls and their outcome.
//!
//! After the "VoltDB Wire Protocol" (Guide to Client Development) and `ClientInterface.java`:
//! messages behind a length of four bytes, everything in network order. Trusts nothing. The text of
//! an `@AdHoc` call is read for its statements; parameters of other procedures are skipped.
//! Violations: impossible lengths, unknown versions. Memory: the user's name and a few flags.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::sql::{Dialect, Kind, Scanner, Statements};
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// The server's own limit.
const MESSAGE_MAX: u32 = 52_428_800;
/// Names of users, services and procedures.
const NAME_MAX: usize = 256;
/// A login: two names and a hash.
const LOGIN_MAX: u32 = 1_024;
/// How much of a call is read and told.
const CALL_MAX: usize = 4_096;

const COMMAND: u8 = 0;
const STATEMENT: u8 = 1;
const QUERY: u8 = 2;
const USER: u8 = 3;
const TABLE: u8 = 4;
const SERVICE: u8 = 5;
const LOGIN: u8 = 6;
const SERVER_VERSION: u8 = 7;
const STATUS: u8 = 8;
const ERROR: u8 = 9;

/// Status of a call that went well.
const SUCCESS: u8 = 1;
/// Type of a parameter.
const STRING: u8 = 9;

/// The parser.
#[derive(Default)]
pub struct Voltdb {
    client_logged_in: bool,
    server_answered: bool,
    user: ArrayVec<u8, 64>,
}

/// What a login says.
struct Login<'a> {
    service: &'a [u8],
    user: &'a [u8],
}

impl Application for Voltdb {
    const NAME: &'static str = "voltdb";
    const ABOUT: &'static str =
        "VoltDB client wire protocol, versions 0 and 1 (VoltDB documentation)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[21212];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Procedure that is called: @AdHoc, Vote, …"),
        FieldSpec::condition(
            "statement",
            "Kind of each statement of an @AdHoc call: SELECT, INSERT, …; else CALL",
        ),
        FieldSpec::text("query", "Text of an @AdHoc call, at most 4,096 bytes"),
        FieldSpec::condition("user", "User of the login"),
        FieldSpec::text("table", "Name behind FROM, JOIN, INTO, UPDATE or TABLE"),
        FieldSpec::text("service", "Service of the login: database, export"),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text(
            "server_version",
            "Build that the server tells in its answer to a login",
        ),
        FieldSpec::number(
            "status",
            "Status of a call that failed, as 256 less its amount (ClientResponse)",
        ),
        FieldSpec::text("error", "What the server says of a call that failed"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0]),
        to_client: ByteSet::of(&[0]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let long = |side: &[u8]| side.first().is_some_and(|&byte| byte != 0);
        if !input.from_start || long(input.to_server) || long(input.to_client) {
            return Probe::NotMine;
        }
        let client = match login(input.to_server, false) {
            Some(Some(_)) => Probe::Certain,
            Some(None) => Probe::NotMine,
            None => Probe::Unsure,
        };
        let server = match accepted(input.to_client) {
            // Alone it is little; with the port it may do.
            Some(Some(_)) if !Self::PORTS.contains(&input.server_port) => Probe::Unsure,
            Some(Some(_)) => Probe::Certain,
            Some(None) => Probe::NotMine,
            None => Probe::Unsure,
        };
        match (client, server) {
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let mut cursor = Cursor::new(input);
        let Some(length) = cursor.u32() else {
            return Step::Incomplete;
        };
        if !(2..MESSAGE_MAX).contains(&length) {
            return Step::Violation("voltdb: message length out of bounds");
        }
        let Some(body) = cursor.take((length as usize).min(CALL_MAX)) else {
            return Step::Incomplete;
        };
        match direction {
            Direction::ToServer if !self.client_logged_in => {
                let Some(Some(login)) = login(input, true) else {
                    return Step::Violation("voltdb: malformed login");
                };
                self.client_logged_in = true;
                // A name that does not fit is left empty: half a name could be somebody else's.
                self.user = ArrayVec::try_from(login.user).unwrap_or_default();
                Told::new()
                    .bytes(USER, login.user)
                    .bytes(SERVICE, login.service)
                    .send(EventKind::Session, sink);
            }
            Direction::ToServer => {
                if self.call(body, sink).is_none() {
                    return Step::Violation("voltdb: malformed call");
                }
            }
            Direction::ToClient if !self.server_answered => {
                self.server_answered = true;
                self.logged_in(body, input, sink);
            }
            Direction::ToClient => drop(response(body, sink)),
        }
        Step::Skip(4 + u64::from(length))
    }
}

impl Voltdb {
    fn logged_in(&self, body: &[u8], input: &[u8], sink: &mut dyn EventSink) {
        let failed = body.get(1) != Some(&0);
        let build = accepted(input).flatten().unwrap_or_default();
        Told::new()
            .name(LOGIN, if failed { "failed" } else { "accepted" })
            .known(USER, &self.user)
            .known(SERVER_VERSION, build)
            .send(EventKind::Session, sink);
    }

    /// Version, perhaps a timeout, procedure, handle, parameters.
    fn call(&self, body: &[u8], sink: &mut dyn EventSink) -> Option<()> {
        let mut cursor = Cursor::new(body);
        let version = cursor.u8()?;
        if version > 2 {
            return None;
        }
        if version == 1 && cursor.u8()? == 1 {
            cursor.u32()?;
        }
        let length = cursor.u32()? as usize;
        let procedure = cursor.take(length).filter(|name| name.len() <= NAME_MAX)?;
        cursor.array::<8>()?;
        // The server's own procedures that take SQL.
        let adhoc = procedure
            .get(..6)
            .is_some_and(|front| front.eq_ignore_ascii_case(b"@AdHoc"));
        let text = match adhoc {
            true if version < 2 => first_text(cursor),
            // Extensions come first; the text is left unread and the statement unknown.
            _ => None,
        };
        match text {
            Some((text, whole)) => self.adhoc(procedure, text, whole, sink),
            None if adhoc => self.request(procedure, Kind::OTHER, &[], &[], sink),
            None => {
                let kind = Kind::of_word(b"CALL").unwrap_or(Kind::OTHER);
                self.request(procedure, kind, &[], &[], sink);
            }
        }
        Some(())
    }

    fn adhoc(&self, procedure: &[u8], text: &[u8], whole: bool, sink: &mut dyn EventSink) {
        let mut scanner = Scanner::new(Dialect::PostgreSql, true);
        let statements = Statements::read(&mut scanner, text, whole);
        let mut told = false;
        statements.each(text, &mut |kind, tables| {
            told = true;
            self.request(procedure, kind, text, tables, sink);
        });
        // What was not read may hold anything.
        if !whole {
            self.request(procedure, Kind::OTHER, &[], &[], sink);
        } else if !told {
            self.request(procedure, Kind::EMPTY, text, &[], sink);
        }
    }

    fn request(
        &self,
        procedure: &[u8],
        kind: Kind,
        query: &[u8],
        tables: &[&[u8]],
        sink: &mut dyn EventSink,
    ) {
        Told::new()
            .bytes(COMMAND, procedure)
            .name(STATEMENT, kind.name())
            .bytes(USER, &self.user)
            .known(QUERY, query)
            .each(TABLE, tables)
            .send(EventKind::Request, sink);
    }
}

/// The first parameter where it is a text, and whether all of it is here.
fn first_text(mut cursor: Cursor<'_>) -> Option<(&[u8], bool)> {
    let count = cursor.u16()?;
    if count == 0 || cursor.u8()? != STRING {
        return None;
    }
    match cursor.u32()? {
        u32::MAX => None,
        length => Some(match cursor.take(length as usize) {
            Some(text) => (text, true),
            None => (cursor.rest(), false),
        }),
    }
}

/// The client's first message: version, perhaps the kind of hash, service, user, hash. Outer none:
/// too short to tell; inner none: no login. `whole`: nothing follows.
fn login(input: &[u8], whole: bool) -> Option<Option<Login<'_>>> {
    let read = |input| -> Option<Option<Login<'_>>> {
        let mut cursor = Cursor::new(input);
        let length = cursor.u32()?;
        if !(30..LOGIN_MAX).contains(&length) {
            return Some(None);
        }
        let hash_length = match cursor.u8()? {
            0 => 20,
            1 => match cursor.u8()? {
                0 => 20,
                1 => 32,
                _ => return Some(None),
            },
            _ => return Some(None),
        };
        let version_length = if hash_length == 20 && input.get(4) == Some(&0) {
            1
        } else {
            2
        };
        let service_length = cursor.u32()?;
        if service_length as usize > NAME_MAX {
            return Some(None);
        }
        let service = cursor.take(service_length as usize)?;
        if !matches!(service, b"database" | b"export") {
            return Some(None);
        }
        let user_length = cursor.u32()?;
        let lengths = user_length.checked_add(version_length + 8 + service_length + hash_length);
        if lengths != Some(length) {
            return Some(None);
        }
        Some(Some(Login {
            service,
            user: cursor.take(user_length as usize)?,
        }))
    };
    match read(input) {
        None if whole => Some(None),
        read => read,
    }
}

/// The server's consent: version, result, host, connection, time, leader, build. As for
/// [`login`]; the build is what is returned.
fn accepted(input: &[u8]) -> Option<Option<&[u8]>> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    if !(30..LOGIN_MAX).contains(&length) {
        return Some(None);
    }
    if cursor.u8()? != 0 || cursor.u8()? != 0 {
        return Some(None);
    }
    cursor.take(24)?;
    if cursor.u32()?.checked_add(30) != Some(length) {
        return Some(None);
    }
    let build = cursor.take(length as usize - 30)?;
    let plain = build
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    Some(plain.then_some(build))
}

/// ClientResponse: version, handle, fields that are there, status, texts.
fn response(body: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let mut cursor = Cursor::new(body);
    cursor.take(9)?;
    let (present, status) = (cursor.u8()?, cursor.u8()?);
    if status == SUCCESS {
        return Some(());
    }
    let text = if present & 0x20 != 0 {
        let length = cursor.u32()?;
        cursor.take(length as usize)
    } else {
        None
    };
    Told::new()
        .number(STATUS, status.into())
        .known(ERROR, text.unwrap_or_default())
        .send(EventKind::Response, sink);
    Some(())
}
