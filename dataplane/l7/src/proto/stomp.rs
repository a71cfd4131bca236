//! STOMP: messages sent and subscriptions with their destinations, the login, errors.
//!
//! Read after STOMP 1.0, 1.1 and 1.2 (stomp.github.io). Trusts nothing. Bodies are skipped, by
//! their length where a frame tells it. Only SEND and SUBSCRIBE are requests: what acknowledges,
//! commits or ends acts on what they opened. The passcode is never told.
//!
//! Violations: frames that are none, a client's frame with two different destinations or lengths.
//! Memory: where each side's frame ends.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::lines::{Line, decimal, within};
use crate::read::weigh::{self, Sight, weigh};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// A frame's head; ActiveMQ stops at 10 KiB a header, RabbitMQ at 100 headers.
const HEAD_MAX: usize = 12 << 10;
const HEADERS_MAX: usize = 1_000;
const BODY_MAX: u64 = 1 << 40;
const DESTINATION_MAX: usize = 1_024;

const COMMAND: u8 = 0;
const DESTINATION: u8 = 1;
const USER: u8 = 2;
const HOST: u8 = 3;
const VERSION: u8 = 4;
const PRODUCT: u8 = 5;
const PRODUCT_VERSION: u8 = 6;
const CONTENT_TYPE: u8 = 7;
const LOGIN: u8 = 8;
const ERROR: u8 = 9;

/// A kind of frame.
struct Command {
    name: &'static str,
    sender: Sender,
    /// Headers of which such a frame always, or nearly always, has one.
    own: &'static [&'static [u8]],
}

const fn from_client(name: &'static str, own: &'static [&'static [u8]]) -> Command {
    Command {
        name,
        sender: Sender::Client,
        own,
    }
}

const fn from_server(name: &'static str, own: &'static [&'static [u8]]) -> Command {
    Command {
        name,
        sender: Sender::Server,
        own,
    }
}

const COMMANDS: &[Command] = &[
    from_client(
        "CONNECT",
        &[
            b"login",
            b"accept-version",
            b"host",
            b"passcode",
            b"heart-beat",
        ],
    ),
    from_client("STOMP", &[b"accept-version", b"host", b"login"]),
    from_client("SEND", &[b"destination"]),
    from_client("SUBSCRIBE", &[b"destination"]),
    from_client("UNSUBSCRIBE", &[b"id", b"destination"]),
    from_client("ACK", &[b"message-id", b"subscription"]),
    from_client("NACK", &[b"message-id", b"subscription"]),
    from_client("BEGIN", &[b"transaction"]),
    from_client("COMMIT", &[b"transaction"]),
    from_client("ABORT", &[b"transaction"]),
    from_client("DISCONNECT", &[b"receipt"]),
    from_server(
        "CONNECTED",
        &[b"version", b"session", b"server", b"heart-beat"],
    ),
    from_server("MESSAGE", &[b"destination", b"message-id"]),
    from_server("RECEIPT", &[b"receipt-id"]),
    from_server("ERROR", &[b"message", b"receipt-id"]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// The parser.
#[derive(Default)]
pub struct Stomp {
    sides: [Place; 2],
    picked_up: bool,
}

/// Where in a frame a side is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// In a body that the next zero byte ends.
    Body,
    /// Behind a body of known length: the zero byte is next.
    End,
}

/// A frame's command and headers.
struct Head<'a> {
    command: &'static Command,
    headers: &'a [u8],
    used: usize,
}

enum Read<'a> {
    Whole(Head<'a>),
    Partial,
    Bad(&'static str),
}

impl Application for Stomp {
    const NAME: &'static str = "stomp";
    const ABOUT: &'static str =
        "Simple Text Oriented Messaging Protocol, versions 1.0 to 1.2 (stomp.github.io)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[61613];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "SEND or SUBSCRIBE of a client; others in further events",
        ),
        FieldSpec::condition("destination", "Destination, with its escapes undone"),
        FieldSpec::text("user", "User of CONNECT (login)"),
        FieldSpec::text("host", "Virtual host of CONNECT"),
        FieldSpec::text(
            "version",
            "Versions that the client accepts, or the one agreed on",
        ),
        FieldSpec::text("product", "Software of the server (CONNECTED, server)"),
        FieldSpec::text(
            "product_version",
            "Version of the server (CONNECTED, server)",
        ),
        FieldSpec::text("content_type", "Media type of the message"),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text("error", "Message of an ERROR"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"\r\nCcSsUuAaNnBbDd"),
        to_client: ByteSet::of(b"\r\nCcMmRrEe"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if !weigh::opens(&Self::OPENINGS, input) {
            return Probe::NotMine;
        }
        weigh::verdict(
            weigh(input.to_server, |input| sight(input, Sender::Client)),
            weigh(input.to_client, |input| sight(input, Sender::Server)),
            Self::PORTS.contains(&input.server_port),
        )
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(place) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        match (*place, input.first()) {
            (Place::Body, _) => {
                let end = memchr::memchr(0, input);
                if end.is_some() {
                    *place = Place::Head;
                }
                return Step::Consumed(end.map_or(input.len(), |end| end + 1));
            }
            (Place::End, Some(0)) => {
                *place = Place::Head;
                return Step::Consumed(1);
            }
            (Place::End, _) => return Step::Violation("stomp: a body longer than it says"),
            (Place::Head, _) => {}
        }
        let idle = blank(input);
        if idle > 0 {
            return Step::Consumed(idle);
        }
        let sender = match direction {
            Direction::ToServer => Sender::Client,
            Direction::ToClient => Sender::Server,
        };
        match head(input, sender) {
            Read::Whole(head) => self.frame(direction, &head, sink),
            Read::Partial => Step::Incomplete,
            Read::Bad(_) if self.picked_up => Step::Done,
            Read::Bad(what) => Step::Violation(what),
        }
    }

    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Violation("stomp: head too long")
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

impl Stomp {
    fn frame(&mut self, direction: Direction, head: &Head<'_>, sink: &mut dyn EventSink) -> Step {
        let length = match (
            head.header(b"content-length"),
            head.twice(b"content-length"),
        ) {
            (_, true) => return Step::Violation("stomp: two lengths"),
            (None, _) => None,
            (Some(text), _) => match decimal(text.trim_ascii()) {
                Some(length) if length < BODY_MAX => Some(length),
                _ => return Step::Violation("stomp: a length that is no number"),
            },
        };
        if head.twice(b"destination") {
            return Step::Violation("stomp: two destinations");
        }
        head.tell(direction, sink);
        if let Some(place) = self.sides.get_mut(direction as usize) {
            *place = if length.is_some() {
                Place::End
            } else {
                Place::Body
            };
        }
        Step::Skip(head.used as u64 + length.unwrap_or_default())
    }
}

impl Head<'_> {
    /// The first header of that name: later ones are to be ignored (STOMP 1.2).
    fn header(&self, name: &[u8]) -> Option<&[u8]> {
        headers(self.headers)
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// Whether a header is there again with another value.
    fn twice(&self, name: &[u8]) -> bool {
        let first = self.header(name);
        headers(self.headers).any(|(key, value)| key == name && Some(value) != first)
    }

    fn text(&self, name: &[u8]) -> &[u8] {
        self.header(name).unwrap_or_default()
    }

    fn tell(&self, direction: Direction, sink: &mut dyn EventSink) {
        let command = Field::name(COMMAND, self.command.name);
        let destination = unescape(self.text(b"destination"));
        let place = Field::bytes(DESTINATION, &destination);
        let kind = Field::bytes(CONTENT_TYPE, self.text(b"content-type"));
        let error = Field::bytes(ERROR, self.text(b"message"));
        match (direction, self.command.name) {
            (Direction::ToServer, "CONNECT" | "STOMP") => tell(
                EventKind::Session,
                &[
                    command,
                    Field::bytes(USER, self.text(b"login")),
                    Field::bytes(HOST, self.text(b"host")),
                    Field::bytes(VERSION, self.text(b"accept-version")),
                ],
                sink,
            ),
            (Direction::ToServer, "SEND") => {
                tell(EventKind::Request, &[command, place, kind], sink);
            }
            (Direction::ToServer, "SUBSCRIBE") => tell(EventKind::Request, &[command, place], sink),
            (_, "CONNECTED") => {
                let server = self.text(b"server");
                let server = server
                    .split(|&byte| byte == b' ')
                    .next()
                    .unwrap_or_default();
                let mut parts = server.splitn(2, |&byte| byte == b'/');
                tell(
                    EventKind::Session,
                    &[
                        Field::name(LOGIN, "accepted"),
                        Field::bytes(VERSION, self.text(b"version")),
                        Field::bytes(PRODUCT, parts.next().unwrap_or_default()),
                        Field::bytes(PRODUCT_VERSION, parts.next().unwrap_or_default()),
                    ],
                    sink,
                );
            }
            (_, "MESSAGE") => tell(EventKind::Response, &[command, place, kind], sink),
            (_, "ERROR") => tell(EventKind::Response, &[command, error], sink),
            _ => {}
        }
    }
}

fn tell(kind: EventKind, fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event { kind, fields });
}

/// Line ends at the front.
fn blank(input: &[u8]) -> usize {
    input
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n' | 0))
        .count()
}

/// Names and values; blanks around both are not theirs (STOMP 1.0).
fn headers(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((
            line.get(..colon)?.trim_ascii(),
            line.get(colon + 1..)?.trim_ascii(),
        ))
    })
}

/// Reads a head; an empty line ends it.
fn head(input: &[u8], sender: Sender) -> Read<'_> {
    let (word, mut at) = match within(input, HEAD_MAX) {
        Line::Whole(text, used) => (text, used),
        Line::Part(part) if part.len() < HEAD_MAX && known(input, sender, true).is_some() => {
            return Read::Partial;
        }
        _ => return Read::Bad("stomp: no command"),
    };
    let Some(command) = known(word, sender, false) else {
        return Read::Bad("stomp: no command");
    };
    let start = at;
    for _ in 0..HEADERS_MAX {
        match within(input.get(at..).unwrap_or_default(), HEAD_MAX) {
            Line::Whole([], used) => {
                return Read::Whole(Head {
                    command,
                    headers: input.get(start..at).unwrap_or_default(),
                    used: at + used,
                });
            }
            Line::Whole(text, used) => match text.iter().position(|&byte| byte == b':') {
                Some(1..) => at += used,
                _ => return Read::Bad("stomp: a header without a name"),
            },
            Line::Part(_) if input.len() < HEAD_MAX => return Read::Partial,
            _ => return Read::Bad("stomp: head too long"),
        }
    }
    Read::Bad("stomp: too many headers")
}

/// The command of that name, or one that begins like this.
fn known(word: &[u8], sender: Sender, begun: bool) -> Option<&'static Command> {
    let word = match begun {
        true => word.strip_suffix(b"\r").unwrap_or(word),
        false => word,
    };
    COMMANDS.iter().find(|command| {
        let name = command.name.as_bytes();
        command.sender == sender
            && (word.len() == name.len() || begun && word.len() < name.len())
            && name
                .get(..word.len())
                .is_some_and(|front| front.eq_ignore_ascii_case(word))
    })
}

fn unescape(value: &[u8]) -> ArrayVec<u8, DESTINATION_MAX> {
    let mut text = ArrayVec::new();
    let mut bytes = value.iter();
    // One that does not fit is left empty: half a name could be another's.
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            b'\\' => match bytes.next() {
                Some(b'c') => b':',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(&other) => other,
                None => byte,
            },
            byte => byte,
        };
        if text.try_push(byte).is_err() {
            text.clear();
            break;
        }
    }
    text
}

fn sight(input: &[u8], sender: Sender) -> Sight {
    let idle = blank(input);
    if idle > 0 {
        return Sight::Message {
            bits: 0,
            length: idle,
        };
    }
    let head = match head(input, sender) {
        Read::Whole(head) => head,
        Read::Partial => return Sight::Partial,
        Read::Bad(_) => return Sight::Foreign,
    };
    let own = headers(head.headers).any(|(name, _)| head.command.own.contains(&name));
    match own {
        true => Sight::Message {
            bits: weigh::ENOUGH,
            length: head.used,
        },
        // An old client may say no more than CONNECT; what its body is would be guessed.
        false => match input.get(head.used) {
            None => Sight::Partial,
            Some(0) => Sight::Message {
                bits: 16,
                length: head.used + 1,
            },
            Some(_) => Sight::Foreign,
        },
    }
}
