//! NATS: publishes and subscriptions with their subjects, the login, errors.
//!
//! Read after "Client Protocol" and "Leafnode and Route Protocol" (docs.nats.io). Trusts nothing.
//! Payloads are skipped by their lengths. CONNECT, UNSUB, PING and PONG are no requests: a
//! condition on subjects would else cut every client off. Passwords, tokens and signatures are
//! never told.
//!
//! Violations: lines that are no operation, sizes that are no number. Memory: a few flags.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::lines::{Line, decimal, within, words};
use crate::read::weigh::{self, Sight, Weight, weigh};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// A server's max_control_line is 4 KiB; CONNECT with a JWT and INFO of a large cluster are longer.
const LINE_MAX: usize = 12 << 10;
/// max_payload is at most 64 MiB.
const PAYLOAD_MAX: u64 = 1 << 30;
/// Words of a line: operation, account, subject, reply, queue, sizes.
const WORDS: usize = 8;

const COMMAND: u8 = 0;
const SUBJECT: u8 = 1;
const REPLY: u8 = 2;
const QUEUE: u8 = 3;
const USER: u8 = 4;
const CLIENT: u8 = 5;
const LIBRARY: u8 = 6;
const PRODUCT: u8 = 7;
const PRODUCT_VERSION: u8 = 8;
const SERVER: u8 = 9;
const ERROR: u8 = 10;

/// The parser.
#[derive(Default)]
pub struct Nats {
    /// The server has told of itself and the client has not answered yet: TLS may begin.
    greeted: bool,
    picked_up: bool,
}

/// What stands at the front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Info,
    Connect,
    Publish,
    PublishWithHeaders,
    Subscribe,
    Unsubscribe,
    Message,
    MessageWithHeaders,
    /// Between servers, with a payload.
    Routed,
    /// Between servers, a line.
    Interest,
    Ping,
    Pong,
    Ok,
    Error,
}

use Operation as Op;

const OPERATIONS: &[(&[u8], Operation, &str)] = &[
    (b"INFO", Op::Info, "INFO"),
    (b"CONNECT", Op::Connect, "CONNECT"),
    (b"PUB", Op::Publish, "PUB"),
    (b"HPUB", Op::PublishWithHeaders, "HPUB"),
    (b"SUB", Op::Subscribe, "SUB"),
    (b"UNSUB", Op::Unsubscribe, "UNSUB"),
    (b"MSG", Op::Message, "MSG"),
    (b"HMSG", Op::MessageWithHeaders, "HMSG"),
    (b"RMSG", Op::Routed, "RMSG"),
    (b"LMSG", Op::Routed, "LMSG"),
    (b"RS+", Op::Interest, "RS+"),
    (b"RS-", Op::Interest, "RS-"),
    (b"LS+", Op::Interest, "LS+"),
    (b"LS-", Op::Interest, "LS-"),
    (b"A+", Op::Interest, "A+"),
    (b"A-", Op::Interest, "A-"),
    (b"PING", Op::Ping, "PING"),
    (b"PONG", Op::Pong, "PONG"),
    (b"+OK", Op::Ok, "+OK"),
    (b"-ERR", Op::Error, "-ERR"),
];

/// A line taken apart.
struct Parsed<'a> {
    operation: Operation,
    name: &'static str,
    words: ArrayVec<&'a [u8], WORDS>,
    /// What stands behind the operation.
    rest: &'a [u8],
    /// Bytes of the payload with its line end.
    payload: u64,
}

impl Application for Nats {
    const NAME: &'static str = "nats";
    const ABOUT: &'static str = "NATS client protocol (docs.nats.io, Client Protocol)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[4222, 6222, 7422];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "PUB, HPUB or SUB of a client; MSG or HMSG of a server",
        ),
        FieldSpec::condition(
            "subject",
            "Subject published to, subscribed to or delivered from",
        ),
        FieldSpec::text("reply", "Subject that an answer is wanted on"),
        FieldSpec::text("queue", "Queue group of a subscription"),
        FieldSpec::text("user", "User of CONNECT, or the public key it logs in with"),
        FieldSpec::text("client", "Name that the client gives itself in CONNECT"),
        FieldSpec::text(
            "library",
            "Language of the client's library (CONNECT, lang)",
        ),
        FieldSpec::text(
            "product",
            "Software of the server, where INFO tells a version",
        ),
        FieldSpec::text("product_version", "Version of the server (INFO, version)"),
        FieldSpec::text("server", "Name of the server (INFO, server_name)"),
        FieldSpec::text("error", "Error of the server (-ERR)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"+-IiCcPpHhSsUuRrLlAaMm"),
        to_client: ByteSet::of(b"+-IiCcPpHhSsUuRrLlAaMm"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if !weigh::opens(&Self::OPENINGS, input) {
            return Probe::NotMine;
        }
        weigh::verdict(
            side(input.to_server),
            side(input.to_client),
            Self::PORTS.contains(&input.server_port),
        )
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.greeted && input.first() == Some(&0x16) {
            return Step::StartTls;
        }
        let (text, used) = match within(input, LINE_MAX) {
            Line::Whole(text, used) => (text, used),
            Line::Part(part) if part.len() < LINE_MAX => return Step::Incomplete,
            Line::Part(_) => return Step::Violation("nats: line too long"),
        };
        if text.is_empty() {
            return Step::Consumed(used);
        }
        let Some(parsed) = parse_line(text) else {
            return if self.picked_up {
                Step::Done
            } else {
                Step::Violation("nats: no operation")
            };
        };
        match direction {
            Direction::ToServer => self.client(&parsed, sink),
            Direction::ToClient => self.server(&parsed, sink),
        }
        Step::Skip(used as u64 + parsed.payload)
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("nats: line too long")
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

impl Nats {
    fn client(&mut self, parsed: &Parsed<'_>, sink: &mut dyn EventSink) {
        self.greeted = false;
        match parsed.operation {
            Op::Connect => {
                let user = json_text(parsed.rest, b"user").or(json_text(parsed.rest, b"nkey"));
                let client = json_text(parsed.rest, b"name").unwrap_or_default();
                let library = json_text(parsed.rest, b"lang").unwrap_or_default();
                tell(
                    EventKind::Session,
                    &[
                        Field::name(COMMAND, parsed.name),
                        Field::bytes(USER, user.unwrap_or_default()),
                        Field::bytes(CLIENT, client),
                        Field::bytes(LIBRARY, library),
                    ],
                    sink,
                );
            }
            Op::Publish | Op::PublishWithHeaders => {
                let sizes = parsed.sizes();
                let reply = parsed.words.get(1).copied().unwrap_or_default();
                let reply = if parsed.words.len() > sizes + 1 {
                    reply
                } else {
                    &[]
                };
                self.request(parsed, REPLY, reply, sink);
            }
            Op::Subscribe => {
                let queue = parsed.words.get(1).copied().unwrap_or_default();
                let queue = if parsed.words.len() > 2 { queue } else { &[] };
                self.request(parsed, QUEUE, queue, sink);
            }
            Op::Routed => self.request(parsed, REPLY, &[], sink),
            _ => {}
        }
    }

    fn request(&self, parsed: &Parsed<'_>, index: u8, more: &[u8], sink: &mut dyn EventSink) {
        let fields = [
            Field::name(COMMAND, parsed.name),
            Field::bytes(SUBJECT, parsed.subject()),
            Field::bytes(index, more),
        ];
        let count = if more.is_empty() { 2 } else { 3 };
        tell(
            EventKind::Request,
            fields.get(..count).unwrap_or_default(),
            sink,
        );
    }

    fn server(&mut self, parsed: &Parsed<'_>, sink: &mut dyn EventSink) {
        match parsed.operation {
            Op::Info => {
                self.greeted = true;
                let text = |key: &[u8]| json_text(parsed.rest, key).unwrap_or_default();
                tell(
                    EventKind::Session,
                    &[
                        Field::name(PRODUCT, "nats-server"),
                        Field::bytes(PRODUCT_VERSION, text(b"version")),
                        Field::bytes(SERVER, text(b"server_name")),
                    ],
                    sink,
                );
            }
            Op::Message | Op::MessageWithHeaders | Op::Routed => tell(
                EventKind::Response,
                &[
                    Field::name(COMMAND, parsed.name),
                    Field::bytes(SUBJECT, parsed.subject()),
                ],
                sink,
            ),
            Op::Error => {
                let message = parsed.rest.strip_prefix(b"'").unwrap_or(parsed.rest);
                let message = message.strip_suffix(b"'").unwrap_or(message);
                tell(EventKind::Response, &[Field::bytes(ERROR, message)], sink);
            }
            _ => {}
        }
    }
}

impl Parsed<'_> {
    fn subject(&self) -> &[u8] {
        let place = usize::from(self.operation == Op::Routed && self.name == "RMSG");
        self.words.get(place).copied().unwrap_or_default()
    }

    /// Numbers at the end of the line.
    fn sizes(&self) -> usize {
        match self.operation {
            Op::PublishWithHeaders | Op::MessageWithHeaders => 2,
            Op::Publish | Op::Message | Op::Routed => 1,
            _ => 0,
        }
    }
}

fn tell(kind: EventKind, fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event { kind, fields });
}

/// Takes a line apart; None: it is no operation.
fn parse_line(text: &[u8]) -> Option<Parsed<'_>> {
    let end = text
        .iter()
        .position(|&byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let &(_, operation, name) = OPERATIONS
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(word))?;
    let rest = rest.trim_ascii();
    let mut parsed = Parsed {
        operation,
        name,
        words: ArrayVec::new(),
        rest,
        payload: 0,
    };
    let counts = match operation {
        Op::Info | Op::Connect => return rest.starts_with(b"{").then_some(parsed),
        Op::Error => return Some(parsed),
        Op::Ping | Op::Pong | Op::Ok => 0..=0,
        Op::Publish => 2..=3,
        Op::PublishWithHeaders => 3..=4,
        Op::Subscribe => 2..=3,
        Op::Unsubscribe => 1..=2,
        Op::Message => 3..=4,
        Op::MessageWithHeaders => 4..=5,
        Op::Routed => 2..=WORDS,
        Op::Interest => 1..=WORDS,
    };
    for word in words(rest) {
        parsed.words.try_push(word).ok()?;
    }
    if !counts.contains(&parsed.words.len()) {
        return None;
    }
    if parsed.sizes() > 0 {
        let total = decimal(parsed.words.last()?).filter(|&size| size < PAYLOAD_MAX)?;
        parsed.payload = total + 2;
    }
    if parsed.sizes() == 2 {
        let headers = decimal(parsed.words.get(parsed.words.len().checked_sub(2)?)?)?;
        if headers + 2 > parsed.payload {
            return None;
        }
    }
    Some(parsed)
}

/// The text of a key of the outermost object, as it is written; the last where it is repeated.
fn json_text<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (mut rest, mut depth, mut found) = (json, 0_usize, None);
    let mut last: &[u8] = &[];
    let mut value = false;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'{' | b'[' => (depth, value) = (depth + 1, false),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => value = false,
            b':' => value = true,
            b'"' => {
                let (text, tail) = json_string(rest)?;
                rest = tail;
                match value {
                    true if depth == 1 && last == key => found = Some(text),
                    true => {}
                    false => last = text,
                }
            }
            _ => {}
        }
    }
    found
}

/// Up to the closing quote, and what follows it.
fn json_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        match input.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some((input.get(..at)?, input.get(at + 1..)?)),
            _ => at += 1,
        }
    }
}

/// What PING, PONG and +OK say: others know them too.
const KEEP_ALIVE: u32 = 4;

/// Keys that a server puts first, and that every client sends.
const INFO_KEYS: &[&[u8]] = &[
    b"{\"server_id\":\"",
    b"\"max_payload\":",
    b"\"server_name\":\"",
];
const CONNECT_KEYS: &[&[u8]] = &[
    b"\"verbose\":",
    b"\"pedantic\":",
    b"\"tls_required\":",
    b"\"lang\":\"",
];

/// Keep-alives count once: many of them say no more than one.
fn side(input: &[u8]) -> Weight {
    let mut alive = false;
    weigh(input, |rest| match sight(rest) {
        Sight::Message { bits, length } if bits <= KEEP_ALIVE => Sight::Message {
            bits: if std::mem::replace(&mut alive, true) {
                0
            } else {
                bits
            },
            length,
        },
        sight => sight,
    })
}

fn sight(input: &[u8]) -> Sight {
    let (text, used) = match within(input, LINE_MAX) {
        Line::Whole(text, used) => (text, used),
        Line::Part(_) => return begun(input),
    };
    let Some(parsed) = parse_line(text) else {
        return Sight::Foreign;
    };
    if matches!(parsed.operation, Op::Info | Op::Connect) {
        return match begun(text) {
            Sight::Partial => Sight::Foreign,
            sight => sight,
        };
    }
    let subject = parsed.subject();
    let named = subject.iter().all(|byte| byte.is_ascii_graphic());
    let bits = match parsed.operation {
        // Only as NATS writes them.
        Op::Ping | Op::Pong | Op::Ok if input.get(used.saturating_sub(2)) == Some(&b'\r') => {
            KEEP_ALIVE
        }
        Op::Ping | Op::Pong | Op::Ok => return Sight::Foreign,
        Op::Error if parsed.rest.starts_with(b"'") && parsed.rest.ends_with(b"'") => 12,
        Op::Error => return Sight::Foreign,
        _ if !named => return Sight::Foreign,
        Op::Subscribe | Op::Unsubscribe | Op::Interest => 12,
        _ => return payload_sight(input, used, parsed.payload),
    };
    Sight::Message { bits, length: used }
}

/// Where a payload must end with a line end.
fn payload_sight(input: &[u8], used: usize, payload: u64) -> Sight {
    let Some(end) = usize::try_from(payload)
        .ok()
        .and_then(|size| used.checked_add(size))
    else {
        return Sight::Foreign;
    };
    match input.get(end - 2..end) {
        Some(b"\r\n") => Sight::Message {
            bits: 24,
            length: end,
        },
        Some(_) => Sight::Foreign,
        None => Sight::Partial,
    }
}

/// A line without its end.
fn begun(text: &[u8]) -> Sight {
    let known = OPERATIONS.iter().any(|(word, ..)| {
        let shown = text.len().min(word.len());
        let alike = text
            .iter()
            .zip(word.iter())
            .all(|(one, other)| one.eq_ignore_ascii_case(other));
        alike
            && (shown < word.len()
                || text
                    .get(shown)
                    .is_none_or(|&byte| matches!(byte, b' ' | b'\t' | b'\r')))
    });
    let object = |word: usize| text.get(word..).unwrap_or_default().trim_ascii_start();
    let (keys, rest) = match text.get(..4) {
        _ if !known => return Sight::Foreign,
        Some(word) if word.eq_ignore_ascii_case(b"INFO") => (INFO_KEYS, object(4)),
        Some(word) if word.eq_ignore_ascii_case(b"CONN") => (CONNECT_KEYS, object(7)),
        _ if text.len() > 4_096 => return Sight::Foreign,
        _ => return Sight::Partial,
    };
    match rest.first() {
        None => Sight::Partial,
        Some(b'{')
            if keys
                .iter()
                .any(|key| memchr::memmem::find(rest, key).is_some()) =>
        {
            Sight::Message {
                bits: weigh::ENOUGH,
                length: text.len(),
            }
        }
        Some(b'{') => Sight::Partial,
        Some(_) => Sight::Foreign,
    }
}
