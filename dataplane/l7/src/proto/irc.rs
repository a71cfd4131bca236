//! IRC: what a client joins and says, its names, and what the server thinks of it.
//!
//! Read after RFC 1459, RFC 2812 and the IRCv3 specifications (ircv3.net). Trusts nothing. Each
//! line is told from itself alone, so a line that was lost hides no other. Passwords and channel
//! keys are never told.
//!
//! Violations: zero bytes. Memory: a few flags.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::lines::{self, Line, within};
use crate::read::weigh::{self, Sight, Weight, weigh};
use crate::{
    Application, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// What probes are given at most.
const PROBED_MAX: usize = 2_048;
/// 512 bytes, with 8,191 of tags before them (IRCv3 message-tags); some clients send more.
const LINE_MAX: usize = 12 << 10;
const PARAMETERS: usize = 15;

const COMMAND: u8 = 0;
const CHANNEL: u8 = 1;
const NICK: u8 = 2;
const USER: u8 = 3;
const REAL_NAME: u8 = 4;
const CODE: u8 = 5;
const SERVER: u8 = 6;
const LOGIN: u8 = 7;
const PRODUCT_VERSION: u8 = 8;
const ERROR: u8 = 9;

/// The parser.
#[derive(Default)]
pub struct Irc {
    /// Line ends are looked for, per direction: bytes were lost.
    lost: [bool; 2],
    tls: bool,
}

/// A line taken apart (RFC 2812, 2.3.1).
struct Message<'a> {
    prefix: &'a [u8],
    command: &'a [u8],
    parameters: ArrayVec<&'a [u8], PARAMETERS>,
    /// The last parameter was written behind a colon.
    trailing: bool,
}

impl Application for Irc {
    const NAME: &'static str = "irc";
    const ABOUT: &'static str = "Internet Relay Chat (RFC 1459, RFC 2812, IRCv3)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[
        6667, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6668, 6669, 7000,
    ];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command of the client in upper case (RFC 2812, 3)",
        ),
        FieldSpec::condition(
            "channel",
            "Channel or person that the command is for; each of several is a request of its own",
        ),
        FieldSpec::text("nick", "Nickname that the client wants"),
        FieldSpec::text("user", "User name of the client"),
        FieldSpec::text("real_name", "Real name of the client"),
        FieldSpec::number(
            "code",
            "Number of a welcome, a refused login or an error (RFC 2812, 5)",
        ),
        FieldSpec::text("server", "Name of the server"),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::text("product_version", "Version of the server (RPL_MYINFO)"),
        FieldSpec::text("error", "Text of an error"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"@:\r\n")
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
        to_client: ByteSet::of(b"@:\r\n")
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if !weigh::opens(&Self::OPENINGS, input) {
            return Probe::NotMine;
        }
        weigh::verdict(
            side(input.to_server, input.from_start, client_sight),
            side(input.to_client, input.from_start, server_sight),
            Self::PORTS.contains(&input.server_port),
        )
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.tls {
            return Step::StartTls;
        }
        let lost = self.lost.get_mut(direction as usize);
        match within(input, LINE_MAX) {
            Line::Whole(text, used) => {
                // The first line behind a loss may be half a line.
                if lost.is_some_and(std::mem::take) {
                    return Step::Consumed(used);
                }
                if memchr::memchr(0, text).is_some() {
                    return Step::Violation("irc: a line with a zero byte");
                }
                if let Some(message) = Message::read(text) {
                    match direction {
                        Direction::ToServer => client(&message, sink),
                        Direction::ToClient => self.server(&message, sink),
                    }
                }
                Step::Consumed(used)
            }
            Line::Part(part) if part.len() < LINE_MAX => Step::Incomplete,
            Line::Part(_) => {
                if let Some(lost) = lost {
                    *lost = true;
                }
                Step::Consumed(LINE_MAX.min(input.len()))
            }
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if length > 0
            && let Some(lost) = self.lost.get_mut(direction as usize)
        {
            *lost = true;
        }
        true
    }
}

impl<'a> Message<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let mut rest = text;
        if let Some(tags) = rest.strip_prefix(b"@") {
            rest = after_word(tags).1;
        }
        let mut prefix: &[u8] = &[];
        if let Some(behind) = rest.strip_prefix(b":") {
            (prefix, rest) = after_word(behind);
        }
        let (command, mut rest) = after_word(rest);
        if command.is_empty() || !command.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut message = Self {
            prefix,
            command,
            parameters: ArrayVec::new(),
            trailing: false,
        };
        while !rest.is_empty() {
            if let Some(last) = rest.strip_prefix(b":") {
                message.trailing = message.parameters.try_push(last).is_ok();
                break;
            }
            let (word, behind) = after_word(rest);
            if message.parameters.try_push(word).is_err() {
                break;
            }
            rest = behind;
        }
        Some(message)
    }

    fn parameter(&self, place: usize) -> &'a [u8] {
        self.parameters.get(place).copied().unwrap_or_default()
    }

    fn last(&self) -> &'a [u8] {
        self.parameters.last().copied().unwrap_or_default()
    }

    fn is(&self, command: &[u8]) -> bool {
        self.command.eq_ignore_ascii_case(command)
    }

    /// A number of three digits; 0 for a word.
    fn code(&self) -> u64 {
        match self.command.len() {
            3 => lines::decimal(self.command).unwrap_or_default(),
            _ => 0,
        }
    }
}

/// The first word, and what stands behind the blanks that follow it.
fn after_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
    (word, rest.get(blanks..).unwrap_or_default())
}

/// Commands whose first parameter lists channels or people.
const ADDRESSED: &[&[u8]] = &[
    b"JOIN",
    b"PART",
    b"PRIVMSG",
    b"NOTICE",
    b"TOPIC",
    b"NAMES",
    b"LIST",
    b"KICK",
    b"MODE",
    b"WHO",
    b"WHOIS",
    b"CPRIVMSG",
    b"CNOTICE",
    b"TAGMSG",
];

fn client(message: &Message<'_>, sink: &mut dyn EventSink) {
    let command: ArrayVec<u8, 16> = message
        .command
        .iter()
        .take(16)
        .map(u8::to_ascii_uppercase)
        .collect();
    let said = |sink: &mut dyn EventSink, fields: &[Field<'_>]| {
        sink.event(&Event {
            kind: EventKind::Session,
            fields,
        });
    };
    let word = Field::bytes(COMMAND, &command);
    match command.as_slice() {
        b"NICK" => return said(sink, &[word, Field::bytes(NICK, message.parameter(0))]),
        b"USER" => {
            return said(
                sink,
                &[
                    word,
                    Field::bytes(USER, message.parameter(0)),
                    Field::bytes(REAL_NAME, message.parameter(3)),
                ],
            );
        }
        b"PING" | b"PONG" | b"CAP" | b"PASS" | b"AUTHENTICATE" | b"STARTTLS" | b"QUIT" => return,
        _ => {}
    }
    let invited = usize::from(command.as_slice() == b"INVITE");
    let targets = if invited > 0 || ADDRESSED.contains(&command.as_slice()) {
        message.parameter(invited)
    } else {
        &[]
    };
    for channel in targets.split(|&byte| byte == b',') {
        sink.event(&Event {
            kind: EventKind::Request,
            fields: &[word, Field::bytes(CHANNEL, channel)],
        });
    }
}

impl Irc {
    fn server(&mut self, message: &Message<'_>, sink: &mut dyn EventSink) {
        let code = message.code();
        self.tls = code == 670;
        let login = match code {
            1 | 903 => "accepted",
            433 | 464 | 465 | 902 | 904 | 905 => "failed",
            _ => "",
        };
        let number = Field::number(CODE, code);
        let server = Field::bytes(SERVER, message.prefix);
        let (kind, third) = match code {
            1 | 903 => (EventKind::Session, Field::name(LOGIN, login)),
            4 => (
                EventKind::Session,
                Field::bytes(PRODUCT_VERSION, message.parameter(2)),
            ),
            400..=599 | 902 | 904..=907 => {
                (EventKind::Response, Field::bytes(ERROR, message.last()))
            }
            0 if message.is(b"ERROR") => {
                let error = Field::bytes(ERROR, message.last());
                return sink.event(&Event {
                    kind: EventKind::Response,
                    fields: &[error],
                });
            }
            _ => return,
        };
        let fields = [number, server, third, Field::name(LOGIN, login)];
        let count = if login == "failed" { 4 } else { 3 };
        sink.event(&Event {
            kind,
            fields: fields.get(..count).unwrap_or_default(),
        });
    }
}

/// What all words together count that others know too.
const WEAK: u32 = 10;

/// Picked up in the middle, the first line may be half a line.
fn side(input: &[u8], from_start: bool, look: fn(&Message<'_>) -> Option<u32>) -> Weight {
    let mut first = !from_start;
    let mut weak = 0;
    weigh(input, |rest| {
        let half = std::mem::take(&mut first);
        let (text, used) = match within(rest, PROBED_MAX) {
            Line::Whole(text, used) => (text, used),
            Line::Part(part) if part.len() < PROBED_MAX && (half || plausible(rest)) => {
                return Sight::Partial;
            }
            _ => return Sight::Foreign,
        };
        let bits = match text {
            [] => Some(0),
            _ if !plausible(text) => None,
            _ => Message::read(text).and_then(|message| look(&message)),
        };
        match bits {
            // Of words that others know too a few say as much as many.
            Some(bits) if bits <= WEAK => {
                let bits = bits.min(WEAK - weak);
                weak += bits;
                Sight::Message { bits, length: used }
            }
            Some(bits) => Sight::Message { bits, length: used },
            None if half => Sight::Message {
                bits: 0,
                length: used,
            },
            None => Sight::Foreign,
        }
    })
}

/// Text without control characters but those that colour it, and the first word is a command's.
fn plausible(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    text.first()
        .is_none_or(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'@'))
        && !text
            .iter()
            .any(|byte| matches!(byte, 0 | b'\r' | 0x0b | 0x0c | 0x0e | 0x7f))
}

fn is_channel(name: &[u8]) -> bool {
    name.len() > 1
        && matches!(name.first(), Some(b'#' | b'&' | b'+' | b'!'))
        && !name.iter().any(|byte| matches!(byte, b' ' | b',' | 7))
}

fn is_nick(name: &[u8]) -> bool {
    let special = |byte: u8| matches!(byte, b'['..=b'`' | b'{'..=b'}');
    (1..=64).contains(&name.len())
        && name
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || special(byte) || byte == b'-')
}

/// How much a client's line speaks for IRC; None: it speaks against it.
fn client_sight(message: &Message<'_>) -> Option<u32> {
    let count = message.parameters.len();
    let first = message.parameter(0);
    let upper: ArrayVec<u8, 16> = message
        .command
        .iter()
        .take(16)
        .map(u8::to_ascii_uppercase)
        .collect();
    let first_channel = first.split(|&byte| byte == b',').all(is_channel);
    Some(match upper.as_slice() {
        b"NICK" if (1..=2).contains(&count) && is_nick(first) => 16,
        b"USER" if count == 4 => 20,
        b"USER" | b"PASS" if count > 0 => 2,
        b"CAP" if matches!(first, b"LS" | b"REQ" | b"END" | b"LIST" | b"ACK" | b"CLEAR") => 20,
        b"JOIN" if first_channel => 20,
        b"JOIN" if first == b"0" => 4,
        b"PART" | b"TOPIC" | b"NAMES" | b"MODE" | b"WHO" | b"KICK" if first_channel => 20,
        b"PRIVMSG" | b"NOTICE" if count == 2 && message.trailing && first_channel => 28,
        b"PRIVMSG" | b"NOTICE" if count == 2 && message.trailing => 20,
        b"PRIVMSG" | b"NOTICE" if count == 2 => 14,
        b"MODE" if count == 2 && matches!(message.parameter(1).first(), Some(b'+' | b'-')) => 16,
        b"WHOIS" | b"ISON" | b"USERHOST" | b"MONITOR" if count > 0 => 10,
        b"AUTHENTICATE" | b"LUSERS" | b"MOTD" => 8,
        b"PING" | b"PONG" if (1..=2).contains(&count) => 6,
        b"STARTTLS" if count == 0 => 4,
        b"QUIT" | b"AWAY" | b"OPER" | b"LIST" | b"WHO" | b"INVITE" | b"WHOWAS" | b"VERSION"
        | b"STATS" | b"LINKS" | b"TIME" | b"ADMIN" | b"INFO" | b"WATCH" | b"PROTOCTL"
        | b"WEBIRC" | b"NAMES" | b"MODE" | b"NS" | b"CS" | b"NICKSERV" | b"CHANSERV" => 2,
        _ => return None,
    })
}

/// How much a server's line speaks for IRC; None: it speaks against it.
fn server_sight(message: &Message<'_>) -> Option<u32> {
    let count = message.parameters.len();
    let mut person = message.prefix.splitn(2, |&byte| byte == b'!');
    let someone = person.next().is_some_and(is_nick)
        && person
            .next()
            .is_some_and(|host| memchr::memchr(b'@', host).is_some());
    let verbs: &[&[u8]] = &[
        b"JOIN", b"PART", b"PRIVMSG", b"NOTICE", b"QUIT", b"NICK", b"MODE", b"KICK", b"TOPIC",
        b"INVITE", b"TAGMSG", b"AWAY", b"ACCOUNT", b"CHGHOST", b"SETNAME",
    ];
    let verb = verbs.iter().any(|verb| message.is(verb));
    let host = !message.prefix.is_empty();
    Some(match message.code() {
        1..=999 if host && count >= 2 => 28,
        670 if host && count == 1 && message.last().starts_with(b"STARTTLS") => 28,
        1..=999 if host && count == 1 => 16,
        1..=999 => return None,
        _ if someone && verb => 32,
        _ if host && message.is(b"NOTICE") && count == 2 => 24,
        _ if host && message.is(b"CAP") && count >= 2 => 24,
        _ if host && (verb || message.is(b"PONG")) && count > 0 => 16,
        _ if !host && message.is(b"NOTICE") && message.parameter(0) == b"AUTH" => 28,
        _ if !host && message.is(b"NOTICE") && count == 2 && message.trailing => 20,
        _ if !host && message.is(b"PING") && count == 1 => 8,
        _ if !host && message.is(b"AUTHENTICATE") => 8,
        _ if !host && message.is(b"ERROR") && message.trailing => 16,
        _ => return None,
    })
}
