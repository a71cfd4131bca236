//! ZooKeeper: sessions, operations and paths of the client protocol, and the four-letter words.
//!
//! After `zookeeper.jute` and `ZooDefs.java` (Apache ZooKeeper 3.9); messages are jute records
//! behind a length of four bytes. Trusts nothing. Data of nodes is skipped by its length; of the
//! operations of a `multi` those are told that lie within its first [`MULTI_MAX`] bytes, and the
//! `multi` itself with an empty path, so that a condition on paths sees that there may be more.
//! Passwords (of sessions and of the scheme `digest`) are never told. Violations: impossible
//! lengths, unknown operations. Memory: a few flags and the user's name.

mod operations;
mod probe;
mod words;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// `jute.maxbuffer` is 1 MiB by default; who raises it stays below this.
const MESSAGE_MAX: u32 = 1 << 28;
/// A path, with the request's head before it, must lie within this.
const PATH_MAX: usize = 1_024;
/// How much of a `multi` is read.
const MULTI_MAX: usize = 4_096;

const COMMAND: u8 = 0;
const PATH: u8 = 1;
const USER: u8 = 2;
const SCHEME: u8 = 3;
const SESSION: u8 = 4;
const TIMEOUT_MS: u8 = 5;
const READ_ONLY: u8 = 6;
const LOGIN: u8 = 7;
const ERROR: u8 = 8;
const WATCH: u8 = 9;

/// Transaction numbers of messages that belong to no request.
mod xid {
    pub(super) const NOTIFICATION: i32 = -1;
    pub(super) const PING: i32 = -2;
    pub(super) const AUTH: i32 = -4;
}

/// The parser.
#[derive(Default)]
pub struct Zookeeper {
    client: Stage,
    server: Stage,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
    user: ArrayVec<u8, 64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Connect,
    Messages,
    Over,
}

impl Application for Zookeeper {
    const NAME: &'static str = "zookeeper";
    const ABOUT: &'static str =
        "Apache ZooKeeper client protocol and four-letter words (zookeeper.jute, ZooDefs.java)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[2181];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Operation: create, getData, multi, …; or the four-letter word (ZooDefs.OpCode)",
        ),
        FieldSpec::condition("path", "Path of the node that an operation names"),
        FieldSpec::condition(
            "user",
            "User of the last authentication with the scheme digest, whether or not it succeeded",
        ),
        FieldSpec::text(
            "scheme",
            "Scheme of an authentication: digest, ip, x509, sasl",
        ),
        FieldSpec::number(
            "session",
            "Session number (ConnectRequest, ConnectResponse)",
        ),
        FieldSpec::number(
            "timeout_ms",
            "Session timeout; 0 in an answer: the session has expired (ConnectResponse)",
        ),
        FieldSpec::text(
            "read_only",
            "\"yes\" where the client is content with a read-only server",
        ),
        FieldSpec::text("login", "Outcome of an authentication: accepted or failed"),
        FieldSpec::text("error", "Name of an answer's error (KeeperException.Code)"),
        FieldSpec::text(
            "watch",
            "What a watch tells of its path: created, deleted, changed, children … (Watcher.Event)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0, 0xff]).and_range(b'c', b'w'),
        to_client: ByteSet::of(&[0, 0xff])
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => self.client_bytes(input, sink),
            Direction::ToClient => self.server_bytes(input, sink),
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        self.client = Stage::Messages;
        self.server = Stage::Messages;
        // The probe saw that a message begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Zookeeper {
    fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.client == Stage::Over {
            return Step::Done;
        }
        if let Some(first) = input.first()
            && first.is_ascii_lowercase()
            && self.client == Stage::Connect
        {
            return self.word(input, sink);
        }
        let mut cursor = Cursor::new(input);
        let Some(length) = cursor.u32() else {
            return Step::Incomplete;
        };
        if !(8..=MESSAGE_MAX).contains(&length) {
            return self.contradicts("zookeeper: message length out of bounds");
        }
        let whole = 4 + length as usize;
        if self.client == Stage::Connect {
            let Some(body) = cursor.take(length.min(64) as usize) else {
                return Step::Incomplete;
            };
            self.client = Stage::Messages;
            connect(body, sink);
            return Step::Skip(whole as u64);
        }
        let (Some(_), Some(operation)) = (cursor.u32(), cursor.u32()) else {
            return Step::Incomplete;
        };
        let Some(operation) = operations::name(operation as i32) else {
            return self.contradicts("zookeeper: unknown operation");
        };
        let wanted = match operation {
            "multi" | "multiRead" => MULTI_MAX,
            _ => PATH_MAX,
        };
        let rest = (whole - 12).min(wanted);
        let Some(body) = cursor.take(rest) else {
            return Step::Incomplete;
        };
        match operation {
            "ping" => {}
            "auth" => self.auth(body, sink),
            "sasl" | "closeSession" | "createSession" => Told::new()
                .name(COMMAND, operation)
                .send(EventKind::Session, sink),
            "multi" | "multiRead" => {
                self.request(operation, &[], sink);
                operations::multi(body, &mut |operation, path| {
                    self.request(operation, path, sink)
                });
            }
            _ => {
                let path = operations::path(operation, body);
                self.request(operation, path.unwrap_or_default(), sink);
            }
        }
        Step::Skip(whole as u64)
    }

    fn request(&self, command: &'static str, path: &[u8], sink: &mut dyn EventSink) {
        Told::new()
            .name(COMMAND, command)
            .bytes(PATH, path)
            .bytes(USER, &self.user)
            .send(EventKind::Request, sink);
    }

    fn word(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(front) = input.first_chunk::<4>() else {
            return Step::Incomplete;
        };
        let Some(word) = words::known(front) else {
            return Step::Violation("zookeeper: unknown word");
        };
        self.client = Stage::Over;
        self.server = Stage::Over;
        self.request(word, &[], sink);
        Step::Done
    }

    /// AuthPacket: type, scheme, credentials.
    fn auth(&mut self, body: &[u8], sink: &mut dyn EventSink) {
        let mut cursor = Cursor::new(body);
        let (Some(_), Some(scheme)) = (cursor.u32(), string(&mut cursor)) else {
            return;
        };
        let credentials = string(&mut cursor).unwrap_or_default();
        let user = match scheme {
            b"digest" | b"super" => credentials.split(|&byte| byte == b':').next(),
            _ => None,
        };
        // A name that does not fit is left empty: half a name could be somebody else's.
        self.user = ArrayVec::try_from(user.unwrap_or_default()).unwrap_or_default();
        Told::new()
            .name(COMMAND, "auth")
            .bytes(SCHEME, scheme)
            .known(USER, &self.user)
            .send(EventKind::Session, sink);
    }

    fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        // What a four-letter word brings is text for people.
        if self.server == Stage::Over || (self.server == Stage::Connect && words::answers(input)) {
            return Step::Done;
        }
        let mut cursor = Cursor::new(input);
        let Some(length) = cursor.u32() else {
            return Step::Incomplete;
        };
        if !(16..=MESSAGE_MAX).contains(&length) {
            return self.contradicts("zookeeper: message length out of bounds");
        }
        let whole = 4 + u64::from(length);
        let Some(body) = cursor.take((length as usize).min(PATH_MAX)) else {
            return Step::Incomplete;
        };
        if self.server == Stage::Connect {
            self.server = Stage::Messages;
            connected(body, sink);
        } else {
            self.reply(body, sink);
        }
        Step::Skip(whole)
    }

    /// ReplyHeader: transaction number of the client, of the server, error.
    fn reply(&self, body: &[u8], sink: &mut dyn EventSink) {
        let mut cursor = Cursor::new(body);
        let (Some(number), Some(_), Some(error)) =
            (cursor.u32(), cursor.array::<8>(), cursor.u32())
        else {
            return;
        };
        match number as i32 {
            xid::PING => {}
            xid::NOTIFICATION => {
                let (kind, _) = (cursor.u32(), cursor.u32());
                Told::new()
                    .name(WATCH, operations::watch(kind.unwrap_or_default() as i32))
                    .bytes(PATH, string(&mut cursor).unwrap_or_default())
                    .send(EventKind::Session, sink);
            }
            xid::AUTH => {
                let failed = error != 0;
                Told::new()
                    .name(LOGIN, if failed { "failed" } else { "accepted" })
                    .known(USER, &self.user)
                    .known_name(ERROR, operations::error(error as i32))
                    .send(EventKind::Session, sink);
            }
            _ if error != 0 => {
                let error = operations::error(error as i32);
                let told = Told::new().name(ERROR, error);
                let told = match error {
                    "AUTHFAILED" => told.name(LOGIN, "failed"),
                    _ => told,
                };
                told.send(EventKind::Response, sink);
            }
            _ => {}
        }
    }

    fn contradicts(&mut self, what: &'static str) -> Step {
        if self.picked_up {
            return Step::Done;
        }
        Step::Violation(what)
    }
}

/// ConnectRequest: protocol, last transaction, timeout, session, password, read only.
fn connect(body: &[u8], sink: &mut dyn EventSink) {
    let mut cursor = Cursor::new(body);
    let read = (|| {
        cursor.take(12)?;
        let timeout = cursor.u32()?;
        let session = u64::from_be_bytes(cursor.array()?);
        string(&mut cursor);
        Some((timeout, session, cursor.u8() == Some(1)))
    })();
    let Some((timeout, session, read_only)) = read else {
        return;
    };
    let mut told = Told::new().number(TIMEOUT_MS, timeout.into());
    if session != 0 {
        told = told.number(SESSION, session);
    }
    if read_only {
        told = told.name(READ_ONLY, "yes");
    }
    told.send(EventKind::Session, sink);
}

/// ConnectResponse: protocol, timeout, session, password, read only.
fn connected(body: &[u8], sink: &mut dyn EventSink) {
    let mut cursor = Cursor::new(body);
    let read = (|| {
        cursor.u32()?;
        Some((cursor.u32()?, u64::from_be_bytes(cursor.array()?)))
    })();
    if let Some((timeout, session)) = read {
        Told::new()
            .number(TIMEOUT_MS, timeout.into())
            .number(SESSION, session)
            .send(EventKind::Session, sink);
    }
}

/// A string or buffer of jute: a length, which is -1 for none, and bytes.
fn string<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match cursor.u32()? {
        u32::MAX => Some(&[]),
        length => cursor.take(length as usize),
    }
}
