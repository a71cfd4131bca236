//! SMTP and ESMTP: commands, envelope, login and replies (RFC 5321; BDAT RFC 3030; STARTTLS
//! RFC 3207; AUTH RFC 4954); LMTP (RFC 2033) reads the same.
//!
//! Trusts nothing. Mails are passed over unless somebody looks into them: DATA to its lone dot, BDAT by
//! its size. Replies are
//! counted against commands, so that a DATA or AUTH that the server refuses leaves the parser where
//! the server is. Passwords are never told. Violations: control characters where a command must
//! stand, a command line beyond what is kept, a chunk without a size. After a loss within a body it
//! goes on at the next reply; after any other loss of the client's bytes it gives up. Memory: the
//! user's name and a few counters.

mod mail;
mod probe;

pub(crate) use probe::names_ftp;
use weir_wire::Direction;

use crate::read::lines::{self, Line, LoneDot, Reply};
use crate::read::sasl::{Mechanism, User};
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// Longest command that is told.
const COMMAND_MAX: usize = 16;
/// A path has 256 octets (RFC 5321, 4.5.3.1.3).
const PATH_MAX: usize = 320;

const COMMAND: u8 = 0;
const MAIL_FROM: u8 = 1;
const RCPT_TO: u8 = 2;
const USER: u8 = 3;
const HELO: u8 = 4;
const STATUS: u8 = 5;
const TEXT: u8 = 6;
const PRODUCT: u8 = 7;
const PRODUCT_VERSION: u8 = 8;

const PRODUCTS: &[&str] = &[
    "Postfix",
    "Exim",
    "Sendmail",
    "Microsoft ESMTP MAIL Service",
    "OpenSMTPD",
    "Haraka",
    "qmail",
    "CommuniGate Pro",
    "MDaemon",
    "hMailServer",
    "Exchange",
];

/// The parser.
#[derive(Default)]
pub struct Smtp {
    user: User,
    client: Client,
    mail: mail::Told,
    pending: Pending,
    mechanism: Mechanism,
    /// Replies to come, up to the one that answers `pending`.
    replies: u16,
    /// Replies to come for all that was asked.
    asked: u16,
    greeting: Greeting,
    /// Replies were lost: which command one answers is not known any more.
    unpaired: bool,
    /// Some were lost: which one ends a login is not known.
    replies_lost: bool,
    /// The rest of a line in the server's direction is not whole.
    server_lost: bool,
    /// The client may speak TLS from here on.
    tls_asked: bool,
    tls_agreed: bool,
}

/// The server speaks first, and that answers nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Greeting {
    #[default]
    Awaited,
    Within,
    Over,
}

/// Where the client is.
#[derive(Clone, Copy, Default)]
enum Client {
    #[default]
    Command,
    /// Answers to the server's challenges; the first may name the user.
    Login { first: bool },
    /// A body up to its dot; confirmed once the server asked for it.
    Body {
        dot: LoneDot,
        bare: bool,
        confirmed: bool,
    },
    /// A chunk that somebody looks into.
    Chunk { left: u64, last: bool },
}

/// A command whose reply decides what follows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Data,
    Login,
    Tls,
}

impl Application for Smtp {
    const NAME: &'static str = "smtp";
    const ABOUT: &'static str = "Simple Mail Transfer Protocol with its extensions (RFC 5321)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[25, 587, 2525];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Command in upper case (RFC 5321, 4.1.1)"),
        FieldSpec::condition(
            "mail_from",
            "Sender named by MAIL, without brackets; empty for a bounce (RFC 5321, 4.1.1.2)",
        )
        .looked_into_as(Buffer::SmtpFrom),
        FieldSpec::condition(
            "rcpt_to",
            "Recipient named by RCPT, without brackets (RFC 5321, 4.1.1.3)",
        )
        .looked_into_as(Buffer::SmtpTo),
        FieldSpec::condition(
            "user",
            "User of the last AUTH that named one, whether or not it succeeded (RFC 4954)",
        ),
        FieldSpec::text(
            "helo",
            "Name that the client gives itself (RFC 5321, 4.1.1.1)",
        )
        .looked_into_as(Buffer::SmtpHello),
        FieldSpec::number("status", "Reply code (RFC 5321, 4.2)"),
        FieldSpec::text(
            "text",
            "Text of the reply's last line, or of the greeting's first",
        ),
        FieldSpec::text("product", "Server software, where the greeting names it"),
        FieldSpec::text(
            "product_version",
            "Its version, where the greeting tells it",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Mail);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"EHLRNQVASDMXBTehlrnqvasdmxbt"),
        to_client: ByteSet::of(b"245"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(step) = self.tls(input) {
            return step;
        }
        match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => Step::Violation("smtp: a command line too long"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if direction == Direction::ToServer && length > 0 && self.within_chunk(length) {
            return true;
        }
        self.unpaired = true;
        self.pending = Pending::Nothing;
        match (direction, &mut self.client) {
            (Direction::ToClient, _) => {
                self.server_lost = length > 0;
                self.replies_lost |= length > 0;
                if length > 0 && self.greeting == Greeting::Awaited {
                    // Its last line is no answer either.
                    self.greeting = Greeting::Within;
                }
                true
            }
            (_, Client::Body { dot, .. }) => {
                *dot = LoneDot::Within;
                self.mail.lose();
                true
            }
            _ => length == 0,
        }
    }
}

impl Smtp {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match self.client {
            Client::Body {
                dot,
                bare,
                confirmed,
            } => {
                if self.unpaired && !confirmed && self.mail == mail::Told::Nothing {
                    // The server may have refused it: these may be commands.
                    self.mail.lose();
                }
                return self.body(dot, bare, input, sink);
            }
            Client::Chunk { left, last } => return self.chunk_piece(left, last, input, sink),
            Client::Command | Client::Login { .. } => {}
        }
        let (text, used) = match lines::command(input, NO_COMMAND) {
            Ok(command) => command,
            Err(step) => return step,
        };
        let bare = used == text.len() + 1;
        let (word, rest) = lines::word(text);
        match self.client {
            Client::Login { first } if !leaves_login(word, rest) => {
                self.answer(text, first, sink);
                return Step::Consumed(used);
            }
            _ => self.client = Client::Command,
        }
        if text.is_empty() {
            return Step::Consumed(used);
        }
        self.command(word, rest, bare, sink);
        if !word.eq_ignore_ascii_case(b"BDAT") {
            return Step::Consumed(used);
        }
        self.chunk(rest, used, sink)
    }

    /// What follows the server's consent; or a handshake, where the consent was not seen.
    fn tls(&self, input: &[u8]) -> Option<Step> {
        match input {
            _ if self.tls_agreed => Some(Step::StartTls),
            _ if !self.tls_asked => None,
            [22] => Some(Step::Incomplete),
            [22, 3, ..] => Some(Step::StartTls),
            _ => None,
        }
    }

    fn command(&mut self, word: &[u8], rest: &[u8], bare: bool, sink: &mut dyn EventSink) {
        let command = lines::upper::<COMMAND_MAX>(word);
        self.asked = self.asked.saturating_add(1);
        let (mut from, mut to, mut helo) = (&b""[..], &b""[..], &b""[..]);
        match command.as_slice() {
            b"EHLO" | b"HELO" | b"LHLO" => helo = rest,
            b"MAIL" | b"SEND" | b"SOML" | b"SAML" => from = path(rest),
            b"RCPT" => to = path(rest),
            b"RSET" => self.mail = mail::Told::Nothing,
            b"DATA" => {
                self.mail = mail::Told::Nothing;
                self.client = Client::Body {
                    dot: LoneDot::Start,
                    bare,
                    confirmed: false,
                };
                self.expect(Pending::Data);
            }
            b"STARTTLS" => {
                self.tls_asked = true;
                self.expect(Pending::Tls);
            }
            b"AUTH" => {
                let (mechanism, response) = lines::word(rest);
                self.mechanism = Mechanism::of(mechanism);
                self.user = self.mechanism.user(response);
                self.client = Client::Login {
                    first: response.is_empty(),
                };
                self.expect(Pending::Login);
            }
            _ => {}
        }
        self.request(&command, from, to, helo, sink);
    }

    /// An answer within a login.
    fn answer(&mut self, text: &[u8], first: bool, sink: &mut dyn EventSink) {
        self.client = Client::Login { first: false };
        if first {
            self.user = self.mechanism.user(text);
            if !self.user.is_empty() {
                self.request(b"AUTH", b"", b"", b"", sink);
            }
        }
    }

    fn request(
        &self,
        command: &[u8],
        from: &[u8],
        to: &[u8],
        helo: &[u8],
        sink: &mut dyn EventSink,
    ) {
        Told::new()
            .bytes(COMMAND, command)
            .bytes(MAIL_FROM, from)
            .bytes(RCPT_TO, to)
            .bytes(USER, &self.user)
            .known(HELO, helo)
            .send(EventKind::Request, sink);
    }

    fn expect(&mut self, pending: Pending) {
        if self.unpaired {
            return;
        }
        self.pending = pending;
        self.replies = self.asked;
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Line::Whole(text, used) = lines::first(input) else {
            return Step::Incomplete;
        };
        if std::mem::take(&mut self.server_lost) {
            return Step::Consumed(used);
        }
        let Some(reply) = Reply::read(text) else {
            return match self.unpaired {
                // Picked up within a line, or behind a loss.
                true => Step::Consumed(used),
                false => Step::Violation("smtp: a reply without its code"),
            };
        };
        let next = match reply.more {
            true => Greeting::Within,
            false => Greeting::Over,
        };
        if self.unpaired && self.greeting == Greeting::Awaited && reply.code != 220 {
            // Picked up behind the greeting.
            self.greeting = Greeting::Over;
        }
        match std::mem::replace(&mut self.greeting, next) {
            // Its first line names the product.
            Greeting::Awaited => Self::greet(reply, sink),
            Greeting::Within => {}
            Greeting::Over => {
                self.greeting = Greeting::Over;
                if !reply.more {
                    self.reply(reply, sink);
                }
            }
        }
        Step::Consumed(used)
    }

    fn greet(reply: Reply<'_>, sink: &mut dyn EventSink) {
        let (product, version) = lines::product(reply.text, PRODUCTS);
        Told::new()
            .number(STATUS, reply.code.into())
            .bytes(TEXT, reply.text)
            .known_name(PRODUCT, product)
            .known(PRODUCT_VERSION, version)
            .send(EventKind::Session, sink);
    }

    fn reply(&mut self, reply: Reply<'_>, sink: &mut dyn EventSink) {
        if self.unpaired && matches!(self.client, Client::Login { .. }) {
            return self.reply_to_login(reply, sink);
        }
        self.asked = self.asked.saturating_sub(1);
        let mut answered = Pending::Nothing;
        if self.pending != Pending::Nothing {
            self.replies = self.replies.saturating_sub(1);
            if self.replies == 0 {
                answered = std::mem::take(&mut self.pending);
            }
        }
        let user = match answered {
            Pending::Login if reply.code != 334 => &self.user[..],
            _ => &[],
        };
        Told::new()
            .number(STATUS, reply.code.into())
            .bytes(TEXT, reply.text)
            .known(USER, user)
            .send(EventKind::Response, sink);
        match answered {
            Pending::Login if reply.code == 334 => {
                self.asked = self.asked.saturating_add(1);
                self.expect(Pending::Login);
            }
            Pending::Login => self.client = Client::Command,
            Pending::Tls => {
                self.tls_asked = false;
                self.tls_agreed = reply.code == 220;
            }
            Pending::Data if reply.code >= 400 => self.client = Client::Command,
            _ => self.unforeseen(reply.code, answered),
        }
    }

    /// A reply within a login, where replies are not counted.
    fn reply_to_login(&mut self, reply: Reply<'_>, sink: &mut dyn EventSink) {
        let over = reply.code != 334;
        if over {
            self.client = Client::Command;
        }
        if !self.replies_lost {
            Told::new()
                .number(STATUS, reply.code.into())
                .bytes(TEXT, reply.text)
                .known(USER, if over { &self.user } else { &[] })
                .send(EventKind::Response, sink);
        }
    }

    fn unforeseen(&mut self, code: u16, answered: Pending) {
        match &mut self.client {
            Client::Body { confirmed, .. } if code == 354 => *confirmed = true,
            // The body's end was lost, but the server has seen it.
            Client::Body {
                confirmed: true, ..
            } if self.unpaired && answered == Pending::Nothing => self.client = Client::Command,
            _ => {}
        }
    }
}

const NO_COMMAND: Step = Step::Violation("smtp: bytes that are no command");

/// The path of `FROM:<path> parameters`, without its brackets.
fn path(rest: &[u8]) -> &[u8] {
    let Some(colon) = rest.iter().position(|&byte| byte == b':') else {
        return b"";
    };
    let text = rest.get(colon + 1..).unwrap_or_default().trim_ascii_start();
    let path = match text.split_first() {
        Some((b'<', inner)) => inner.split(|&byte| byte == b'>').next(),
        _ => text.split(|&byte| byte == b' ').next(),
    };
    let path = path.unwrap_or_default();
    path.get(..PATH_MAX).unwrap_or(path)
}

/// No answer within a login looks like this, being base64: the login is over, unseen.
fn leaves_login(word: &[u8], rest: &[u8]) -> bool {
    !rest.is_empty() && lines::is_one_of(probe::COMMANDS, word, true)
}
