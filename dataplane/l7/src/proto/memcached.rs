//! Memcached: commands and keys of the text, meta and binary protocols, over TCP and UDP.
//!
//! After `protocol.txt` and `protocol_binary.h` (memcached 1.6). Trusts nothing. Values are skipped
//! by their sizes, so large ones cost nothing. Each key of a multiget is a request of its own, up to
//! [`KEYS_MAX`] and [`text::LINE_MAX`] bytes; behind them one with an empty key says that there may
//! be more. A binary connection that uses Couchbase's commands becomes `couchbase`. Violations:
//! lines that are no commands, messages whose lengths contradict each other. Memory: the user's name
//! and a few flags.

pub(crate) mod binary;
mod probe;
mod text;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{
    Application, Blocks, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput,
    Seen, Step, Transport,
};
use binary::{HEADER, Header, magic, opcode, status};
use text::{Form, LINE_MAX, Reply, Sight};

/// Longest key.
const KEY_MAX: usize = 250;
/// How many keys of a line are told.
const KEYS_MAX: usize = 64;
/// UDP: request, place, count, reserved.
const FRAME: usize = 8;
/// How much of a login is looked at.
const LOGIN_MAX: usize = 512;

const COMMAND: u8 = 0;
const KEY: u8 = 1;
const USER: u8 = 2;
const SIZE: u8 = 3;
const STATUS: u8 = 4;
const MECHANISM: u8 = 5;
const LOGIN: u8 = 6;
const SERVER_VERSION: u8 = 7;

/// The parser.
#[derive(Default)]
pub struct Memcached {
    datagrams: bool,
    /// A line longer than is read goes on.
    long_line: bool,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
    user: ArrayVec<u8, 64>,
}

/// A datagram's head.
struct Frame {
    place: u16,
    count: u16,
    /// Zero, but for old clients.
    reserved: u16,
}

impl Frame {
    /// None: no frame.
    fn read(input: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        cursor.u16()?;
        let (place, count, reserved) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        (place < count).then_some(Self {
            place,
            count,
            reserved,
        })
    }
}

impl Application for Memcached {
    const NAME: &'static str = "memcached";
    const ABOUT: &'static str =
        "Memcached text, meta and binary protocols (memcached, protocol.txt, protocol_binary.h)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[11211];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Command: get, set, mg, getkq, … (protocol.txt)"),
        FieldSpec::condition(
            "key",
            "Key; empty where a command has none or may have more",
        ),
        FieldSpec::condition(
            "user",
            "User of the last SASL login, whether or not it succeeded",
        ),
        FieldSpec::number("size", "Bytes of the value that a command stores"),
        FieldSpec::text(
            "status",
            "What the server answers: STORED, NOT_FOUND, KEY_ENOENT, …",
        ),
        FieldSpec::text("mechanism", "SASL mechanism of a login"),
        FieldSpec::text("login", "Outcome of a login: accepted or failed"),
        FieldSpec::text("server_version", "Version that the server tells"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::ANY,
        to_client: ByteSet::ANY,
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            datagrams: transport == Transport::Udp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.datagrams {
            return self.datagram(direction, input, sink);
        }
        match self.message(direction, input, sink) {
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

impl Memcached {
    fn message(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match (direction, input.first()) {
            (Direction::ToServer, Some(&magic::REQUEST)) => self.request(input, sink),
            (Direction::ToServer, _) => self.line(input, sink),
            (Direction::ToClient, Some(&magic::RESPONSE)) => self.response(input, sink),
            (Direction::ToClient, _) => self.reply(input, sink),
        }
    }

    /// A datagram with its frame; of an answer in several the first alone begins with a message.
    fn datagram(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(frame) = Frame::read(input) else {
            return Step::Violation("memcached: a datagram without a frame");
        };
        let mut rest = input.get(FRAME..).unwrap_or_default();
        while frame.place == 0 && !rest.is_empty() {
            let used = match self.message(direction, rest, sink) {
                Step::Consumed(used) => used,
                Step::Skip(used) => usize::try_from(used).unwrap_or(usize::MAX),
                Step::Violation(what) => return Step::Violation(what),
                _ => break,
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Step::Consumed(input.len())
    }

    /// A line of the client.
    fn line(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let front = input.get(..LINE_MAX).unwrap_or(input);
        let end = memchr::memchr(b'\n', front);
        if self.long_line {
            self.long_line = end.is_none();
            return Step::Consumed(end.map_or(front.len(), |end| end + 1));
        }
        if end.is_none() && front.len() < LINE_MAX {
            return Step::Incomplete;
        }
        let whole = front.get(..end.unwrap_or(front.len())).unwrap_or_default();
        let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
        let Some(line) = text::line(whole) else {
            return self.unknown(whole, end, sink);
        };
        if end.is_none() && !matches!(line.form, Form::Keys | Form::Gat) {
            return Step::Violation("memcached: line too long");
        }
        self.long_line = end.is_none();
        match line.form {
            Form::Session => Told::new()
                .name(COMMAND, line.command)
                .send(EventKind::Session, sink),
            Form::Other => self.request_told(line.command, &[], line.data, sink),
            Form::Keys | Form::Gat => {
                let skipped = usize::from(line.form == Form::Gat);
                let mut keys = text::words(line.rest).skip(skipped);
                for key in keys.by_ref().take(KEYS_MAX) {
                    self.request_told(line.command, key, None, sink);
                }
                if keys.next().is_some() || self.long_line {
                    self.request_told(line.command, &[], None, sink);
                }
            }
            _ => {
                let key = text::words(line.rest).next().unwrap_or_default();
                self.request_told(line.command, key, line.data, sink);
            }
        }
        let used = end.map_or(front.len(), |end| end + 1) as u64;
        Step::Skip(used + line.data.map_or(0, |size| size.saturating_add(2)))
    }

    /// What the server will call an error, as long as it is text.
    fn unknown(&mut self, line: &[u8], end: Option<usize>, sink: &mut dyn EventSink) -> Step {
        let word = text::words(line).next().unwrap_or_default();
        let plain = line.iter().all(|&byte| byte >= b' ' && byte != 0x7f);
        let Some(end) = end.filter(|_| plain && word.len() <= 32) else {
            return Step::Violation("memcached: no command");
        };
        Told::new()
            .bytes(COMMAND, word)
            .bytes(KEY, &[])
            .bytes(USER, &self.user)
            .send(EventKind::Request, sink);
        Step::Consumed(end + 1)
    }

    fn request_told(
        &self,
        command: &'static str,
        key: &[u8],
        size: Option<u64>,
        sink: &mut dyn EventSink,
    ) {
        let told = Told::new()
            .name(COMMAND, command)
            .bytes(KEY, key)
            .bytes(USER, &self.user);
        match size {
            Some(size) => told.number(SIZE, size),
            None => told,
        }
        .send(EventKind::Request, sink);
    }

    /// A line of the server.
    fn reply(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(end) = memchr::memchr(b'\n', input.get(..LINE_MAX).unwrap_or(input)) else {
            // Statistics and logs have their own forms: nothing in them is told.
            return if input.len() < LINE_MAX {
                Step::Incomplete
            } else {
                Step::Done
            };
        };
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let used = end as u64 + 1;
        match text::reply(input) {
            Reply::Value { size } => {
                return Step::Skip(used.saturating_add(size).saturating_add(2));
            }
            Reply::Sight(Sight::Foreign) => {}
            Reply::Sight(_) => status_told(line, sink),
        }
        Step::Skip(used)
    }

    /// A binary request.
    fn request(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(header) = Header::read(input) else {
            return Step::Incomplete;
        };
        let Some(shape) = binary::command(header.opcode) else {
            return Step::Becomes("couchbase");
        };
        let Some(size) = header.value() else {
            return Step::Violation("memcached: lengths that contradict each other");
        };
        if usize::from(header.key) > KEY_MAX {
            return Step::Violation("memcached: key too long");
        }
        let login = matches!(header.opcode, opcode::SASL_AUTH);
        let Some(message) = input.get(..header.wanted(if login { LOGIN_MAX } else { 0 })) else {
            return Step::Incomplete;
        };
        let key = header.key_of(message);
        if login {
            let user = binary::user(key, header.value_of(message));
            // A name that does not fit is left empty: half a name could be somebody else's.
            self.user = ArrayVec::try_from(user).unwrap_or_default();
            Told::new()
                .name(COMMAND, shape.name)
                .bytes(MECHANISM, key)
                .known(USER, &self.user)
                .send(EventKind::Session, sink);
        } else if binary::is_session(header.opcode) {
            Told::new()
                .name(COMMAND, shape.name)
                .send(EventKind::Session, sink);
        } else {
            let size = (size > 0).then_some(size as u64);
            self.request_told(shape.name, key, size, sink);
        }
        Step::Skip(HEADER as u64 + u64::from(header.body))
    }

    /// A binary answer.
    fn response(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(header) = Header::read(input) else {
            return Step::Incomplete;
        };
        if header.value().is_none() {
            return Step::Violation("memcached: lengths that contradict each other");
        }
        let version = header.opcode == opcode::VERSION;
        let Some(message) = input.get(..header.wanted(if version { 64 } else { 0 })) else {
            return Step::Incomplete;
        };
        let login = match (header.opcode, header.detail) {
            (opcode::SASL_AUTH | opcode::SASL_STEP, status::SUCCESS) => "accepted",
            (opcode::SASL_AUTH | opcode::SASL_STEP, status::AUTH_ERROR) => "failed",
            _ => "",
        };
        if !login.is_empty() {
            Told::new()
                .name(LOGIN, login)
                .known(USER, &self.user)
                .name(STATUS, binary::status_name(header.detail))
                .send(EventKind::Session, sink);
        } else if version {
            Told::new()
                .bytes(SERVER_VERSION, header.value_of(message))
                .send(EventKind::Session, sink);
        } else if !matches!(header.detail, status::SUCCESS | status::AUTH_CONTINUE) {
            Told::new()
                .name(STATUS, binary::status_name(header.detail))
                .send(EventKind::Response, sink);
        }
        Step::Skip(HEADER as u64 + u64::from(header.body))
    }
}

/// Tells a status line; statistics, numbers and ends of lists tell nothing.
fn status_told(line: &[u8], sink: &mut dyn EventSink) {
    let mut words = line.splitn(2, |&byte| byte == b' ');
    let head = words.next().unwrap_or_default();
    match head {
        b"STAT" | b"END" | b"EN" | b"MN" | b"ME" => {}
        b"VERSION" => Told::new()
            .bytes(SERVER_VERSION, words.next().unwrap_or_default())
            .send(EventKind::Session, sink),
        b"CLIENT_ERROR" | b"SERVER_ERROR" => {
            let failed = matches!(
                words.next(),
                Some(b"unauthenticated" | b"authentication failure")
            );
            Told::new()
                .bytes(STATUS, line)
                .known_name(LOGIN, if failed { "failed" } else { "" })
                .send(EventKind::Response, sink);
        }
        _ if head.iter().all(u8::is_ascii_digit) => {}
        _ => Told::new()
            .bytes(STATUS, head)
            .send(EventKind::Response, sink),
    }
}
