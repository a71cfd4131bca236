//! POP3: commands, login and replies (RFC 1939; CAPA RFC 2449; STLS RFC 2595; AUTH RFC 5034).
//!
//! Trusts nothing. Mails are passed over to their lone dot. Each reply is matched with its command,
//! since only that tells whether lines follow. Passwords, digests and tokens are never told.
//! Violations: control characters where a command must stand, a command line beyond what is kept.
//! After a loss it
//! gives up. Memory: the user's name and a
//! ring of bits for the commands that wait for their reply.

mod probe;

use weir_wire::Direction;

use crate::read::content;
use crate::read::lines::{self, Line, LoneDot};
use crate::read::sasl::{Mechanism, User};
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const COMMAND_MAX: usize = 8;
/// Commands that may wait for their reply; more are not counted.
const WAITING_MAX: u8 = 64;

const COMMAND: u8 = 0;
const USER: u8 = 1;
const MESSAGE: u8 = 2;
const STATUS: u8 = 3;
const TEXT: u8 = 4;
const PRODUCT: u8 = 5;
const PRODUCT_VERSION: u8 = 6;

const PRODUCTS: &[&str] = &[
    "Dovecot",
    "Cyrus POP3",
    "Courier",
    "Microsoft Exchange",
    "Qpopper",
    "UW POP3",
    "Zimbra",
    "MDaemon",
    "hMailServer",
    "Lotus Notes",
];

/// The parser.
#[derive(Default)]
pub struct Pop3 {
    user: User,
    mechanism: Mechanism,
    waiting: Waiting,
    client: Client,
    /// The lines of a reply, up to the lone dot.
    lines: Option<LoneDot>,
    /// They are a mail that somebody looks into.
    mail: bool,
    greeted: bool,
    /// Picked up: replies are not matched with commands.
    unpaired: bool,
    tls_agreed: bool,
}

#[derive(Clone, Copy, Default)]
enum Client {
    #[default]
    Command,
    /// Answers to the server's challenges; the first may name the user.
    Login { first: bool },
}

/// What a command's reply means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Lines follow a good one.
    Lines,
    Login,
    Tls,
}

/// The commands that wait, oldest first: two bits for each.
#[derive(Default)]
struct Waiting {
    kinds: u128,
    /// Which of them bring a mail: one bit for each.
    mails: u64,
    count: u8,
}

impl Waiting {
    fn push(&mut self, kind: Kind, mail: bool) {
        if self.count < WAITING_MAX {
            self.mails |= u64::from(mail) << self.count;
            self.kinds |= (kind as u128) << (2 * self.count);
            self.count += 1;
        }
    }

    /// What the oldest one's reply means, and whether it brings a mail.
    fn pop(&mut self) -> (Kind, bool) {
        let mail = self.mails & 1 != 0;
        self.mails >>= 1;
        let kind = match self.kinds & 3 {
            1 => Kind::Lines,
            2 => Kind::Login,
            3 => Kind::Tls,
            _ => Kind::Plain,
        };
        self.kinds >>= 2;
        self.count = self.count.saturating_sub(1);
        (kind, mail)
    }
}

impl Application for Pop3 {
    const NAME: &'static str = "pop3";
    const ABOUT: &'static str = "Post Office Protocol, version 3 (RFC 1939)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[110];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Command in upper case (RFC 1939, 3)"),
        FieldSpec::condition(
            "user",
            "User of the last USER, APOP or AUTH, whether or not the login succeeded; of replies only to a login",
        ),
        FieldSpec::number("message", "Message number that the command names"),
        FieldSpec::text("status", "`+OK` or `-ERR` (RFC 1939, 3)"),
        FieldSpec::text("text", "Text of the reply's first line"),
        FieldSpec::text("product", "Server software, where the greeting names it"),
        FieldSpec::text(
            "product_version",
            "Its version, where the greeting tells it",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Mail);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"UPCASQTLRNDXupcasqtlrndx"),
        to_client: ByteSet::of(b"+-"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match direction {
            _ if self.tls_agreed => Step::StartTls,
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => Step::Violation("pop3: a command line too long"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.greeted = true;
        self.unpaired = true;
        length == 0
    }
}

impl Pop3 {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (text, used) = match lines::command(input, NO_COMMAND) {
            Ok(command) => command,
            Err(step) => return step,
        };
        if let Client::Login { first } = self.client {
            self.answer(text, first, sink);
        } else if !text.is_empty() {
            self.command(text, sink);
        }
        Step::Consumed(used)
    }

    fn command(&mut self, text: &[u8], sink: &mut dyn EventSink) {
        let (word, rest) = lines::word(text);
        let command = lines::upper::<COMMAND_MAX>(word);
        let mut kind = Kind::Plain;
        let argument = rest.trim_ascii();
        match command.as_slice() {
            b"USER" => lines::keep(&mut self.user, argument),
            b"PASS" => kind = Kind::Login,
            b"APOP" => {
                lines::keep(&mut self.user, lines::word(rest).0);
                kind = Kind::Login;
            }
            // Without a mechanism it lists them (draft-myers-sasl-pop3).
            b"AUTH" if argument.is_empty() => kind = Kind::Lines,
            b"AUTH" => {
                let (mechanism, response) = lines::word(rest);
                self.mechanism = Mechanism::of(mechanism.trim_ascii());
                self.user = self.mechanism.user(response);
                self.client = Client::Login {
                    first: response.is_empty(),
                };
                kind = Kind::Login;
            }
            b"STLS" => kind = Kind::Tls,
            b"RETR" | b"TOP" | b"CAPA" => kind = Kind::Lines,
            b"LIST" | b"UIDL" if argument.is_empty() => kind = Kind::Lines,
            _ => {}
        }
        self.waiting
            .push(kind, matches!(command.as_slice(), b"RETR" | b"TOP"));
        let fields = self.request(&command);
        match (command.as_slice(), lines::number(rest)) {
            (b"RETR" | b"TOP" | b"DELE" | b"LIST" | b"UIDL", Some((number, _))) => {
                fields.number(MESSAGE, number)
            }
            _ => fields,
        }
        .send(EventKind::Request, sink);
    }

    fn request<'a>(&'a self, command: &'a [u8]) -> Told<'a> {
        Told::new().bytes(COMMAND, command).bytes(USER, &self.user)
    }

    /// An answer within a login.
    fn answer(&mut self, text: &[u8], first: bool, sink: &mut dyn EventSink) {
        self.client = Client::Login { first: false };
        if first {
            self.user = self.mechanism.user(text);
            if !self.user.is_empty() {
                self.request(b"AUTH").send(EventKind::Request, sink);
            }
        }
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(dot) = &mut self.lines {
            let mail = self.mail;
            let end = dot.hand_on(input, false, &mut |piece| {
                if mail {
                    content::piece(Buffer::Mail, false, piece, false, sink);
                }
            });
            let Some(used) = end else {
                return Step::Consumed(input.len());
            };
            if mail {
                content::piece(Buffer::Mail, false, &[], true, sink);
            }
            self.lines = None;
            return Step::Consumed(used);
        }
        let Line::Whole(text, used) = lines::first(input) else {
            return Step::Incomplete;
        };
        let (status, rest) = lines::word(text);
        let status = match status {
            b"+OK" => "+OK",
            b"-ERR" => "-ERR",
            // A challenge.
            b"+" => return Step::Consumed(used),
            _ if self.unpaired => return Step::Consumed(used),
            _ => return Step::Violation("pop3: a reply without its status"),
        };
        let fields = Told::new().name(STATUS, status).bytes(TEXT, rest);
        if !self.greeted {
            self.greeted = true;
            let (product, version) = lines::product(rest, PRODUCTS);
            fields
                .known_name(PRODUCT, product)
                .known(PRODUCT_VERSION, version)
                .send(EventKind::Session, sink);
            return Step::Consumed(used);
        }
        let good = status == "+OK";
        let (kind, mail) = self.waiting.pop();
        if kind == Kind::Login {
            self.client = Client::Command;
            fields
                .known(USER, &self.user)
                .send(EventKind::Response, sink);
        } else {
            fields.send(EventKind::Response, sink);
        }
        match kind {
            Kind::Lines if good => {
                self.lines = Some(LoneDot::Start);
                self.mail = mail && sink.wants(Buffer::Mail);
                if self.mail {
                    content::piece(Buffer::Mail, true, &[], false, sink);
                }
            }
            Kind::Tls if good => self.tls_agreed = true,
            _ => {}
        }
        Step::Consumed(used)
    }
}

const NO_COMMAND: Step = Step::Violation("pop3: bytes that are no command");
