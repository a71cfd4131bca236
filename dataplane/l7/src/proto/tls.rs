//! TLS 1.0 to 1.3 (RFC 8446, RFC 5246): the hellos, and nothing behind them.
//!
//! Trusts: nothing. Distrusts: that a hello is one record, or that it comes only once: it may be
//! spread over many records, and follows again after a retry. What is behind the hellos is
//! encrypted and of no interest. Memory: a hello of up to what the engine keeps.

mod hello;
mod record;

use weir_wire::Direction;

use self::record::Handshake;
use crate::{
    Application, ByteSet, EventSink, FieldKind, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const SNI: u8 = 0;
const ALPN: u8 = 1;
const VERSION: u8 = 2;
const CIPHER: u8 = 3;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The parser of one connection.
#[derive(Default)]
pub struct Tls {
    /// Whether a hello of the client was read, or went before what is seen.
    client_spoke: bool,
    /// Whether the hellos may have gone before what is seen.
    midway: bool,
}

impl Application for Tls {
    const NAME: &'static str = "tls";
    const ABOUT: &'static str =
        "Transport Layer Security 1.0 to 1.3, its hellos (RFC 8446, RFC 5246)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[443, 465, 636, 853, 989, 990, 992, 993, 995, 8443];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec {
            name: "sni",
            kind: FieldKind::Text,
            condition: true,
            about: "Server name the client asks for, lower case (RFC 6066, 3); empty without one.",
        },
        FieldSpec {
            name: "alpn",
            kind: FieldKind::Text,
            condition: true,
            about: "Application protocols offered, joined by commas, or the one chosen (RFC 7301).",
        },
        FieldSpec {
            name: "version",
            kind: FieldKind::Text,
            condition: false,
            about: "Highest version offered, or the one chosen.",
        },
        FieldSpec {
            name: "cipher",
            kind: FieldKind::Number,
            condition: false,
            about: "Cipher suite chosen (IANA TLS Cipher Suites).",
        },
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[record::HANDSHAKE]).and_range(0x80, 0xff),
        to_client: ByteSet::of(&[record::HANDSHAKE, record::ALERT, record::CHANGE_CIPHER_SPEC]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let hello = probe_hello(input.to_server, input.to_client);
        if input.from_start || hello == Probe::Certain {
            return hello;
        }
        match [input.to_server, input.to_client].map(record::probe_midway) {
            [Probe::NotMine, _] | [_, Probe::NotMine] => Probe::NotMine,
            [Probe::Certain, _] | [_, Probe::Certain] => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient
                if self.midway && probe_front(input, SERVER_HELLO) == Probe::NotMine =>
            {
                Step::Done
            }
            Direction::ToClient => server(input, sink),
        }
    }

    /// Picked up in the middle, a hello may still come; what was lost may have held it.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.client_spoke = true;
        self.midway = true;
        length == 0
    }
}

impl Tls {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match input.first() {
            // After a retry the client says hello again, behind what middle boxes want to see.
            Some(&record::CHANGE_CIPHER_SPEC) if self.client_spoke => return record::skip(input),
            Some(&record::HANDSHAKE) => {}
            _ if self.client_spoke => return Step::Done,
            Some(0x80..) => {
                let step = hello::old_client(input, sink);
                self.client_spoke = step != Step::Incomplete;
                return step;
            }
            _ => {}
        }
        if self.client_spoke && probe_front(input, CLIENT_HELLO) == Probe::NotMine {
            return Step::Done;
        }
        let mut buffer = record::Buffer::new();
        match record::handshake(input, &mut buffer) {
            Handshake::Incomplete => Step::Incomplete,
            Handshake::Broken(what) => Step::Violation(what),
            Handshake::Whole {
                kind: CLIENT_HELLO,
                body,
                end,
            } => {
                self.client_spoke = true;
                match hello::client(body, sink) {
                    Ok(()) => Step::Skip(end),
                    Err(what) => Step::Violation(what),
                }
            }
            Handshake::Whole { .. } => {
                Step::Violation("a handshake that does not begin with hello")
            }
        }
    }
}

fn server(input: &[u8], sink: &mut dyn EventSink) -> Step {
    match input.first() {
        Some(&record::CHANGE_CIPHER_SPEC) => return record::skip(input),
        Some(&record::ALERT) => return Step::Done,
        _ => {}
    }
    let mut buffer = record::Buffer::new();
    match record::handshake(input, &mut buffer) {
        Handshake::Incomplete => Step::Incomplete,
        Handshake::Broken(what) => Step::Violation(what),
        Handshake::Whole {
            kind: SERVER_HELLO,
            body,
            end,
        } => match hello::server(body, sink) {
            Ok(hello::Answer::Retry) => Step::Skip(end),
            Ok(hello::Answer::Agreed) => Step::Done,
            Err(what) => Step::Violation(what),
        },
        Handshake::Whole { .. } => Step::Done,
    }
}

fn probe_hello(to_server: &[u8], to_client: &[u8]) -> Probe {
    match to_server.first() {
        None if to_client.is_empty() => Probe::Unsure,
        // One way only: the client's side is not seen.
        None => probe_front(to_client, SERVER_HELLO),
        Some(0x80..) => hello::probe_old_client(to_server),
        Some(_) => probe_front(to_server, CLIENT_HELLO),
    }
}

/// The record header, and behind it the handshake's: type, length and version of a hello.
fn probe_front(input: &[u8], kind: u8) -> Probe {
    let mut front = [0; 6];
    let Some(known) = record::peek(input, &mut front) else {
        return Probe::NotMine;
    };
    let plausible = front[..known]
        .iter()
        .enumerate()
        .all(|(index, &byte)| match index {
            0 => byte == kind,
            1 => byte == 0,
            4 => byte == 3,
            5 => byte <= 4,
            _ => true,
        });
    let length = usize::from(u16::from_be_bytes([front[2], front[3]]));
    match (plausible, known) {
        (false, _) => Probe::NotMine,
        (true, 6) if length < hello::HELLO_BYTES_MIN => Probe::NotMine,
        (true, 6) => Probe::Certain,
        (true, _) => Probe::Unsure,
    }
}
