//! IMAP: commands, login, mailboxes and completions (RFC 9051, RFC 3501; STARTTLS and LOGIN in
//! both; literals without waiting RFC 7888; COMPRESS RFC 4978).
//!
//! Trusts nothing. Literals are passed over by their lengths, but for a name that is to be told.
//! Passwords and tokens are never told. Violations: control characters where a command must stand, a
//! command line beyond what is kept. A loss within a literal costs nothing; after any other it
//! gives up. Memory: the user's name and the tag of a command that changes the stream.

mod probe;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content::Run;
use crate::read::lines::{self, Line};
use crate::read::sasl::{Mechanism, User};
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const COMMAND_MAX: usize = 24;
const MAILBOX_MAX: usize = 512;
/// Names in longer literals are left out.
const LITERAL_MAX: u64 = 1_024;
/// Longer tags are nobody's.
const TAG_MAX: usize = 32;

const COMMAND: u8 = 0;
const USER: u8 = 1;
const MAILBOX: u8 = 2;
const STATUS: u8 = 3;
const TEXT: u8 = 4;
const PRODUCT: u8 = 5;
const PRODUCT_VERSION: u8 = 6;

const PRODUCTS: &[&str] = &[
    "Dovecot",
    "Courier-IMAP",
    "Cyrus IMAP",
    "Microsoft Exchange",
    "Gimap",
    "Zimbra",
    "UW IMAP",
    "hMailServer",
    "MDaemon",
    "GreenMail",
];

/// The parser.
#[derive(Default)]
pub struct Imap {
    user: User,
    /// Tag of the command at hand whose completion changes the stream or ends a login.
    tag: ArrayVec<u8, TAG_MAX>,
    pending: Pending,
    mechanism: Mechanism,
    /// The next line belongs to the command before it.
    client_within: bool,
    /// The next line belongs to the response before it.
    server_within: bool,
    /// That response brings mails.
    fetched: bool,
    /// The mail at hand, where somebody looks into it.
    mail: Run,
    greeted: bool,
    /// Answers to the server's challenges follow; the first may name the user.
    answers: Option<bool>,
    after: After,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Login,
    Tls,
    Compress,
}

/// What follows the completion.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum After {
    #[default]
    Plain,
    Tls,
    Compressed,
}

/// A word of a command: as it stands or in quotes, or as a literal behind the line.
enum Word<'a> {
    Here(&'a [u8]),
    Literal,
}

impl Application for Imap {
    const NAME: &'static str = "imap";
    const ABOUT: &'static str = "Internet Message Access Protocol (RFC 9051, RFC 3501)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[143];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command in upper case; `UID FETCH` is one (RFC 9051, 6)",
        ),
        FieldSpec::condition(
            "user",
            "User of the last LOGIN or AUTHENTICATE, whether or not it succeeded; of responses only to a login",
        ),
        FieldSpec::condition(
            "mailbox",
            "Mailbox that the command names, at most 512 bytes",
        ),
        FieldSpec::text(
            "status",
            "`OK`, `NO`, `BAD`, `PREAUTH` or `BYE` (RFC 9051, 7.1)",
        ),
        FieldSpec::text("text", "Text behind it"),
        FieldSpec::text("product", "Server software, where the greeting names it"),
        FieldSpec::text(
            "product_version",
            "Its version, where the greeting tells it",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::Mail);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b".#-_")
            .and_range(b'0', b'9')
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
        to_client: ByteSet::of(b"*"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match (self.after, direction) {
            (After::Tls, _) => Step::StartTls,
            (After::Compressed, _) => Step::Done,
            (_, Direction::ToServer) => self.client(input, sink),
            (_, Direction::ToClient) => self.server(input, sink),
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => Step::Violation("imap: a command line too long"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if direction == Direction::ToClient && self.mail.covers(length) {
            return true;
        }
        self.greeted = true;
        if direction == Direction::ToClient {
            self.server_within = true;
        }
        length == 0
    }
}

impl Imap {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (text, used) = match lines::command(input, NO_COMMAND) {
            Ok(command) => command,
            Err(step) => return step,
        };
        if let Some(first) = self.answers {
            self.answer(text, first, sink);
            return Step::Consumed(used);
        }
        let literal = literal(text);
        if self.client_within || text.is_empty() {
            self.client_within = literal.is_some();
            return skip(used, literal);
        }
        let (name, rest) = lines::word(text);
        if rest.is_empty() {
            // The end of IDLE (RFC 2177), or nothing that a server takes.
            return Step::Consumed(used);
        }
        let behind = input.get(used..).unwrap_or_default();
        if self.command(name, rest, behind, sink).is_none() {
            return Step::Incomplete;
        }
        self.client_within = literal.is_some();
        skip(used, literal)
    }

    /// Tells a command; None: the literal that it needs is not there yet.
    fn command(
        &mut self,
        tag: &[u8],
        rest: &[u8],
        behind: &[u8],
        sink: &mut dyn EventSink,
    ) -> Option<()> {
        let (word, mut rest) = lines::word(rest);
        let mut command = lines::upper::<COMMAND_MAX>(word);
        if command.as_slice() == b"UID" {
            let (word, after) = lines::word(rest);
            let _ = command.try_push(b' ');
            command.extend(lines::upper::<16>(word));
            rest = after;
        }
        let names = probe::NAMES_MAILBOX.contains(&command.as_slice());
        let logs_in = command.as_slice() == b"LOGIN";
        let argument = match (first_word(rest), literal(rest)) {
            (Word::Here(argument), _) => argument,
            (Word::Literal, Some(size @ 0..LITERAL_MAX)) if names || logs_in => {
                behind.get(..size as usize)?
            }
            (Word::Literal, _) => b"",
        };
        match command.as_slice() {
            b"LOGIN" => {
                lines::keep(&mut self.user, argument);
                self.expect(Pending::Login, tag);
            }
            b"AUTHENTICATE" => {
                let (mechanism, response) = lines::word(rest);
                self.mechanism = Mechanism::of(mechanism);
                self.user = self.mechanism.user(response);
                self.answers = Some(response.is_empty());
                self.expect(Pending::Login, tag);
            }
            b"STARTTLS" => self.expect(Pending::Tls, tag),
            b"COMPRESS" => self.expect(Pending::Compress, tag),
            _ => {}
        }
        self.request(&command, if names { argument } else { b"" }, sink);
        Some(())
    }

    fn request(&self, command: &[u8], mailbox: &[u8], sink: &mut dyn EventSink) {
        Told::new()
            .bytes(COMMAND, command)
            .bytes(USER, &self.user)
            .bytes(MAILBOX, mailbox.get(..MAILBOX_MAX).unwrap_or(mailbox))
            .send(EventKind::Request, sink);
    }

    fn expect(&mut self, pending: Pending, tag: &[u8]) {
        self.pending = pending;
        lines::keep(&mut self.tag, tag);
    }

    /// An answer within a login.
    fn answer(&mut self, text: &[u8], first: bool, sink: &mut dyn EventSink) {
        self.answers = Some(false);
        if first {
            self.user = self.mechanism.user(text);
            if !self.user.is_empty() {
                self.request(b"AUTHENTICATE", b"", sink);
            }
        }
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.mail.goes_on() {
            return self.mail.hand_on(Buffer::Mail, input, sink);
        }
        let Line::Whole(text, used) = lines::first(input) else {
            return Step::Incomplete;
        };
        let literal = literal(text);
        let within = std::mem::replace(&mut self.server_within, literal.is_some());
        if !within {
            self.response(text, sink);
            let mut words = lines::words(text).skip(2);
            self.fetched = words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"));
        }
        match literal {
            Some(size) if self.fetched && sink.wants(Buffer::Mail) => {
                self.mail = Run::new(Buffer::Mail, size, (true, true), sink);
                Step::Consumed(used)
            }
            _ => skip(used, literal),
        }
    }

    fn response(&mut self, text: &[u8], sink: &mut dyn EventSink) {
        let (tag, rest) = lines::word(text);
        let (word, rest) = lines::word(rest);
        let Some(status) = probe::status(word).filter(|_| tag != b"+") else {
            return;
        };
        let fields = Told::new().name(STATUS, status).bytes(TEXT, rest);
        if tag == b"*" {
            if !std::mem::replace(&mut self.greeted, true) {
                let (product, version) = lines::product(rest, PRODUCTS);
                fields
                    .known_name(PRODUCT, product)
                    .known(PRODUCT_VERSION, version)
                    .send(EventKind::Session, sink);
            } else if status == "BYE" {
                fields.send(EventKind::Response, sink);
            }
            return;
        }
        if self.pending == Pending::Nothing || tag != self.tag.as_slice() {
            fields.send(EventKind::Response, sink);
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        if pending == Pending::Login {
            self.answers = None;
            fields
                .known(USER, &self.user)
                .send(EventKind::Response, sink);
        } else {
            fields.send(EventKind::Response, sink);
        }
        self.after = match pending {
            Pending::Tls if status == "OK" => After::Tls,
            Pending::Compress if status == "OK" => After::Compressed,
            _ => self.after,
        };
    }
}

const NO_COMMAND: Step = Step::Violation("imap: bytes that are no command");

/// The length at the end of a line, `{5}`, `{5+}` or `~{5}`: so many bytes follow it.
fn literal(text: &[u8]) -> Option<u64> {
    let text = text.strip_suffix(b"}")?;
    let text = text.strip_suffix(b"+").unwrap_or(text);
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let at = text.len() - digits.count();
    let (size, b"") = lines::number(text.get(at..)?)? else {
        return None;
    };
    text.get(..at)?.ends_with(b"{").then_some(size)
}

fn skip(used: usize, literal: Option<u64>) -> Step {
    match literal {
        Some(size) => Step::Skip(size.saturating_add(used as u64)),
        None => Step::Consumed(used),
    }
}

/// The first word of arguments.
fn first_word(rest: &[u8]) -> Word<'_> {
    match rest.split_first() {
        Some((b'{', _)) => Word::Literal,
        Some((b'"', inner)) => {
            Word::Here(inner.split(|&byte| byte == b'"').next().unwrap_or_default())
        }
        _ => Word::Here(lines::word(rest).0),
    }
}
