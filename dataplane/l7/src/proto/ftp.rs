//! FTP's control connection: commands, replies, login, and the data connections it announces
//! (RFC 959; AUTH TLS RFC 4217; EPRT and EPSV RFC 2428; MLSD RFC 3659).
//!
//! Trusts nothing. Passwords are never told. Telnet's negotiation (RFC 854), which clients send
//! around ABOR, is passed over. Violations: control characters where a command must stand, a command
//! line beyond what is kept. After a loss of the client's bytes nothing is told of requests until
//! the user is known again. Memory: the user's name and a few flags.

mod announce;
mod probe;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::content;
use crate::read::lines::{self, Line, Reply};
use crate::told::Told;
use crate::{
    Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// Longest command that is told.
const COMMAND_MAX: usize = 16;
/// How much of a path is told.
const FILE_MAX: usize = 512;
/// Names that do not fit are left out.
const USER_MAX: usize = 64;

const COMMAND: u8 = 0;
const FILE: u8 = 1;
const USER: u8 = 2;
const ARGUMENT: u8 = 3;
const STATUS: u8 = 4;
const TEXT: u8 = 5;
const PRODUCT: u8 = 6;
const PRODUCT_VERSION: u8 = 7;

const PRODUCTS: &[&str] = &[
    "vsFTPd",
    "ProFTPD",
    "Pure-FTPd",
    "FileZilla Server",
    "Microsoft FTP Service",
    "Serv-U",
    "wu-",
    "pyftpdlib",
    "GridFTP Server",
    "Gene6",
    "glFTPd",
    "CrushFTP",
    "bftpd",
];

/// The parser.
#[derive(Default)]
pub struct Ftp {
    user: ArrayVec<u8, USER_MAX>,
    /// Bytes of the client were lost: somebody else may have logged in.
    user_unknown: bool,
    client_lost: bool,
    server_lost: bool,
    /// Bytes of the server were lost: what follows may stand within a reply until the client goes on.
    quiet: bool,
    /// Picked up, or replies were lost.
    unpaired: bool,
    greeted: bool,
    /// The first line of a reply of several was seen; its last has this code.
    within: u16,
    tls_asked: bool,
    tls_agreed: bool,
}

impl Application for Ftp {
    const NAME: &'static str = "ftp";
    const ABOUT: &'static str = "File Transfer Protocol, control connection (RFC 959, 2428, 4217)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[21, 2121];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "Command in upper case (RFC 959, 4.1)")
            .looked_into_as(Buffer::FtpCommand),
        FieldSpec::condition(
            "file",
            "Path that the command names: of RETR, STOR, DELE, CWD, LIST and their kin, at most 512 bytes",
        ),
        FieldSpec::condition(
            "user",
            "User of the last USER, whether or not the login succeeded; of replies only to a login",
        ),
        FieldSpec::text(
            "argument",
            "What follows any other command; never of PASS and ACCT",
        ),
        FieldSpec::number("status", "Reply code (RFC 959, 4.2)"),
        FieldSpec::text(
            "text",
            "Text of the reply's last line, or of the greeting's first",
        )
        .looked_into_as(Buffer::FtpReply),
        FieldSpec::text("product", "Server software, where the greeting names it"),
        FieldSpec::text(
            "product_version",
            "Its version, where the greeting tells it",
        ),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY
        .with(Buffer::FtpCommandData)
        .with(Buffer::FtpCompletionCode)
        .with(Buffer::FileName);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0xff, b'\r', b'\n'])
            .and_range(b'A', b'Z')
            .and_range(b'a', b'z'),
        to_client: ByteSet::of(b"1245"),
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
            Direction::ToServer => Step::Violation("ftp: a command line too long"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        self.unpaired = true;
        self.within = 0;
        match direction {
            Direction::ToServer => {
                self.client_lost = length > 0;
                self.user_unknown |= length > 0;
            }
            Direction::ToClient => {
                self.server_lost = length > 0;
                self.quiet |= length > 0;
                self.greeted |= length > 0;
            }
        }
        true
    }
}

impl Ftp {
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

    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(step) = negotiation(input) {
            return step;
        }
        let Line::Whole(text, used) = lines::first(input) else {
            return match input.first() {
                Some(&byte) if byte != b'\r' && !lines::is_text(&[byte]) => NO_COMMAND,
                _ => Step::Incomplete,
            };
        };
        if std::mem::take(&mut self.client_lost) || text.is_empty() {
            return Step::Consumed(used);
        }
        if !text.first().is_some_and(u8::is_ascii_graphic) || text.contains(&0) {
            return NO_COMMAND;
        }
        self.quiet = false;
        let (word, rest) = lines::word(text);
        self.command(&lines::upper::<COMMAND_MAX>(word), rest, sink);
        Step::Consumed(used)
    }

    fn command(&mut self, command: &[u8], rest: &[u8], sink: &mut dyn EventSink) {
        let (mut file, mut argument) = (&b""[..], &b""[..]);
        match command {
            b"USER" => {
                lines::keep(&mut self.user, rest);
                self.user_unknown = false;
            }
            b"REIN" => self.user.clear(),
            b"PASS" | b"ACCT" | b"ADAT" | b"MIC" | b"ENC" | b"CONF" => {}
            b"PORT" | b"EPRT" => {
                announce::active(command, rest, sink);
                argument = rest;
            }
            b"AUTH" => {
                let (mechanism, _) = lines::word(rest);
                let known = [&b"TLS"[..], b"TLS-C", b"TLS-P", b"SSL"];
                self.tls_asked = known.iter().any(|tls| tls.eq_ignore_ascii_case(mechanism));
                argument = rest;
            }
            b"LIST" | b"NLST" | b"STAT" => file = behind_options(rest),
            _ if probe::NAMES_FILE.contains(&command) => file = rest,
            _ => argument = rest,
        }
        if self.user_unknown {
            return;
        }
        Told::new()
            .bytes(COMMAND, command)
            .bytes(FILE, file.get(..FILE_MAX).unwrap_or(file))
            .bytes(USER, &self.user)
            .known(ARGUMENT, argument.get(..FILE_MAX).unwrap_or(argument))
            .send(EventKind::Request, sink);
        let told = match command {
            b"PASS" | b"ACCT" | b"ADAT" | b"MIC" | b"ENC" | b"CONF" => b"",
            _ => rest,
        };
        if !told.is_empty() {
            content::whole(Buffer::FtpCommandData, told, sink);
        }
        if matches!(command, b"RETR" | b"STOR" | b"STOU" | b"APPE") {
            content::whole(Buffer::FileName, file, sink);
        }
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Line::Whole(text, used) = lines::first(input) else {
            return Step::Incomplete;
        };
        if std::mem::take(&mut self.server_lost) {
            return Step::Consumed(used);
        }
        let reply = match Reply::read(text) {
            Some(reply) if self.within == 0 || self.within == reply.code => reply,
            // Lines within a reply are free (RFC 959, 4.2).
            _ if self.within > 0 || self.unpaired => return Step::Consumed(used),
            _ => return Step::Violation("ftp: a reply without its code"),
        };
        let first = self.within == 0;
        self.within = if reply.more { reply.code } else { 0 };
        // Picked up behind the greeting.
        self.greeted |= self.unpaired && !matches!(reply.code, 120 | 220);
        // A server that is not ready greets twice.
        if !self.greeted && first {
            self.greeted = reply.code != 120;
            greet(reply, sink);
            if reply.more {
                return Step::Consumed(used);
            }
        } else if reply.more {
            return Step::Consumed(used);
        } else {
            self.reply(reply, sink);
        }
        self.tls_agreed |= self.tls_asked && reply.code == 234;
        Step::Consumed(used)
    }

    fn reply(&mut self, reply: Reply<'_>, sink: &mut dyn EventSink) {
        announce::passive(reply, sink);
        let login = matches!(reply.code, 230 | 232 | 530);
        if self.quiet || login && self.user_unknown {
            return;
        }
        let user = if login { &self.user[..] } else { &[] };
        Told::new()
            .number(STATUS, reply.code.into())
            .bytes(TEXT, reply.text)
            .known(USER, user)
            .send(EventKind::Response, sink);
        tell_code(reply, sink);
    }
}

const NO_COMMAND: Step = Step::Violation("ftp: bytes that are no command");

fn greet(reply: Reply<'_>, sink: &mut dyn EventSink) {
    let (product, version) = lines::product(reply.text, PRODUCTS);
    Told::new()
        .number(STATUS, reply.code.into())
        .bytes(TEXT, reply.text)
        .known_name(PRODUCT, product)
        .known(PRODUCT_VERSION, version)
        .send(EventKind::Session, sink);
    tell_code(reply, sink);
}

fn tell_code(reply: Reply<'_>, sink: &mut dyn EventSink) {
    let digits = [100, 10, 1].map(|scale| b'0' + (reply.code / scale % 10) as u8);
    content::whole(Buffer::FtpCompletionCode, &digits, sink);
}

/// Telnet's commands before ABOR and STAT: interrupt, synch (RFC 959, 4.1.3), or a negotiation.
fn negotiation(input: &[u8]) -> Option<Step> {
    match input {
        [0xff] | [0xff, 251..=254] => Some(Step::Incomplete),
        [0xff, 251..=254, _, ..] => Some(Step::Consumed(3)),
        [0xff, 240..=249, ..] => Some(Step::Consumed(2)),
        // What is left of the synch where urgent data is taken out of the stream.
        [242, ..] => Some(Step::Consumed(1)),
        _ => None,
    }
}

/// Clients put the options of `ls` before the path.
fn behind_options(rest: &[u8]) -> &[u8] {
    let mut rest = rest;
    while rest.first() == Some(&b'-') {
        rest = lines::word(rest).1;
    }
    rest
}
