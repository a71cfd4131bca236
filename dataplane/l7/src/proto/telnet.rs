//! Telnet: negotiation, the terminal and who logs in (RFC 854, RFC 855; terminal type RFC 1091).
//!
//! Trusts nothing. It is known by its negotiation: two well-formed commands with options that exist.
//! A name is what the client types behind a prompt; what it types behind a prompt for a password is
//! never kept. After a loss it gives up. Memory: the end of what the server wrote, and a name.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
const TERMINAL_TYPE: u8 = 24;
const USER_MAX: usize = 64;
const TAIL_MAX: usize = 16;
/// A subnegotiation beyond this is nobody's.
const SUB_MAX: usize = 512;

const USER: u8 = 0;
const TERMINAL: u8 = 1;
const LOGIN: u8 = 2;

/// The parser.
#[derive(Default)]
pub struct Telnet {
    typed: ArrayVec<u8, USER_MAX>,
    tail: ArrayVec<u8, TAIL_MAX>,
    asked: Asked,
}

/// What the server waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    User,
    Password,
    /// The password was given.
    Verdict,
}

impl Application for Telnet {
    const NAME: &'static str = "telnet";
    const ABOUT: &'static str = "Telnet: remote terminals in the clear (RFC 854)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[23];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text("user", "What was typed behind a prompt for a name"),
        FieldSpec::text("terminal", "Terminal type of the client (RFC 1091)"),
        FieldSpec::text(
            "login",
            "`failed`, where the server says so behind a password",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[IAC]),
        to_client: ByteSet::ANY,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let (one, other) = (commands(input.to_server), commands(input.to_client));
        match (one, other) {
            (None, _) if input.from_start => Probe::NotMine,
            (Some(2..), _) | (_, Some(2..)) | (Some(1), Some(1)) => Probe::Certain,
            // The server may write before, on its own port.
            (None, _) | (_, None) if input.server_port != 23 => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if input.first() == Some(&IAC) {
            return command(input, sink);
        }
        let end = memchr::memchr(IAC, input).unwrap_or(input.len());
        for &byte in input.get(..end).unwrap_or_default() {
            match direction {
                Direction::ToServer => self.typed(byte, sink),
                Direction::ToClient => self.written(byte, sink),
            }
        }
        Step::Consumed(end.max(1))
    }
}

impl Telnet {
    fn typed(&mut self, byte: u8, sink: &mut dyn EventSink) {
        match (self.asked, byte) {
            (Asked::User, b'\r' | b'\n') if self.typed.is_empty() => {}
            (Asked::User, b'\r' | b'\n') => {
                self.asked = Asked::Nothing;
                Told::new()
                    .bytes(USER, &self.typed)
                    .send(EventKind::Session, sink);
            }
            (Asked::User, 8 | 127) => drop(self.typed.pop()),
            (Asked::User, b' '..) => drop(self.typed.try_push(byte)),
            (Asked::Password, b'\r' | b'\n') => self.asked = Asked::Verdict,
            _ => {}
        }
    }

    fn written(&mut self, byte: u8, sink: &mut dyn EventSink) {
        if self.tail.is_full() {
            self.tail.remove(0);
        }
        self.tail.push(byte.to_ascii_lowercase());
        let ends = |words: &[u8]| self.tail.ends_with(words);
        if byte == b':' {
            let user = ends(b"login:") && !ends(b"last login:") || ends(b"username:");
            if user || ends(b"user name:") {
                self.asked = Asked::User;
                self.typed.clear();
            } else if ends(b"password:") {
                self.asked = Asked::Password;
            }
        } else if self.asked == Asked::Verdict
            && [&b"incorrect"[..], b"failed", b"denied", b"invalid"]
                .into_iter()
                .any(ends)
        {
            self.asked = Asked::Nothing;
            Told::new()
                .known(USER, &self.typed)
                .name(LOGIN, "failed")
                .send(EventKind::Response, sink);
        }
    }
}

fn command(input: &[u8], sink: &mut dyn EventSink) -> Step {
    match input {
        [_] | [_, 251..=254] => Step::Incomplete,
        [_, 251..=254, ..] => Step::Consumed(3),
        [_, SB, rest @ ..] => match sub(rest) {
            Some(inner) => {
                if let [TERMINAL_TYPE, 0, name @ ..] = inner {
                    Told::new()
                        .bytes(TERMINAL, name)
                        .send(EventKind::Session, sink);
                }
                Step::Consumed(inner.len() + 4)
            }
            None if rest.len() > SUB_MAX => Step::Violation("telnet: a negotiation without end"),
            None => Step::Incomplete,
        },
        // An escaped byte, or a command alone.
        _ => Step::Consumed(2),
    }
}

/// What stands before the end of a subnegotiation.
fn sub(rest: &[u8]) -> Option<&[u8]> {
    let end = rest
        .windows(2)
        .take(SUB_MAX)
        .position(|pair| pair == [IAC, SE])?;
    rest.get(..end)
}

/// How many well-formed commands are in front; none: something else is.
fn commands(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let mut count = 0;
    while count < 2 {
        match rest {
            [] | [IAC] | [IAC, 250..=254] => break,
            [IAC, 251..=254, option, after @ ..] if is_option(*option) => rest = after,
            [IAC, SB, option, ..] if is_option(*option) => {
                let Some(inner) = sub(rest.get(2..).unwrap_or_default()) else {
                    break;
                };
                rest = rest.get(inner.len() + 4..).unwrap_or_default();
            }
            // Text behind a command.
            _ if count > 0 => break,
            _ => return None,
        }
        count += 1;
    }
    Some(count)
}

/// IANA's telnet options.
fn is_option(option: u8) -> bool {
    matches!(option, 0..=49 | 138..=141)
}
