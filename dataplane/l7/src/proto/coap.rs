//! CoAP (RFC 7252), with observing (RFC 7641) and blocks (RFC 7959).
//!
//! Trusts nothing. Four bytes of header say little: the code must be one that exists, and the
//! options must walk to the end or the payload, each known one with the length it may have. On its
//! port that is enough; elsewhere an answer must carry the token of its question as well.
//! Violations: options that run over the end. Memory: none.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::sides::{both, judge};
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const PORT: u16 = 5683;
const HEADER: usize = 4;
const PAYLOAD: u8 = 0xff;
const PATH_MAX: usize = 256;

/// Options (RFC 7252, 12.2).
mod option {
    pub(super) const URI_HOST: u16 = 3;
    pub(super) const URI_PATH: u16 = 11;
    pub(super) const CONTENT_FORMAT: u16 = 12;
}

const METHOD: u8 = 0;
const PATH: u8 = 1;
const HOST: u8 = 2;
const CODE: u8 = 3;
const KIND: u8 = 4;
const CONTENT_FORMAT: u8 = 5;

/// Version 1, any type, tokens of up to eight bytes.
const FIRST: ByteSet = ByteSet::NONE
    .and_range(0x40, 0x48)
    .and_range(0x50, 0x58)
    .and_range(0x60, 0x68)
    .and_range(0x70, 0x78);

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Coap;

struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl Application for Coap {
    const NAME: &'static str = "coap";
    const ABOUT: &'static str = "Constrained Application Protocol over UDP (RFC 7252)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "method",
            "GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH (RFC 7252, RFC 8132)",
        ),
        FieldSpec::condition(
            "path",
            "Path asked for, with slashes between and before its parts",
        ),
        FieldSpec::condition("host", "Host asked for (RFC 7252, 5.10.1)"),
        FieldSpec::number(
            "code",
            "Code of a response, as 205 for 2.05 (RFC 7252, 12.1.2)",
        ),
        FieldSpec::text(
            "type",
            "confirmable, non-confirmable, acknowledgement, reset (RFC 7252, 3)",
        ),
        FieldSpec::number(
            "content_format",
            "Number of the content format (RFC 7252, 12.3)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let at_home = input.server_port == PORT;
        let side = |request: bool| {
            move |bytes: &[u8]| match is_sound(bytes, request) {
                true if at_home => Probe::Certain,
                true => Probe::Unsure,
                false => Probe::NotMine,
            }
        };
        let (asked, told) = (input.to_server, input.to_client);
        let answered = match (token(asked), token(told)) {
            // The message's id or four bytes of token: no chance meeting.
            (Some(asked), Some(told)) if asked == told && asked.len() >= 2 => Probe::Certain,
            _ => Probe::Unsure,
        };
        both(judge(input, side(true), side(false)), answered)
    }

    fn parse(&mut self, _direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match tell(input, sink) {
            Some(()) => Step::Consumed(input.len()),
            None => Step::Violation("coap: options that run over the end"),
        }
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

impl<'a> Options<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let length = usize::from(message.first()? & 15);
        Some(Self {
            rest: message.get(HEADER + length..)?,
            number: 0,
        })
    }

    /// A half byte, or what it says follows (RFC 7252, 3.1).
    fn extended(&mut self, half: u8) -> Option<u16> {
        match half {
            13 => {
                let (&byte, rest) = self.rest.split_first()?;
                self.rest = rest;
                Some(u16::from(byte) + 13)
            }
            14 => {
                let (&bytes, rest) = self.rest.split_first_chunk::<2>()?;
                self.rest = rest;
                u16::from_be_bytes(bytes).checked_add(269)
            }
            15 => None,
            half => Some(half.into()),
        }
    }
}

impl<'a> Iterator for Options<'a> {
    /// None: an option is cut off, or the payload is empty.
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if first == PAYLOAD {
            let empty = rest.is_empty();
            self.rest = &[];
            return empty.then_some(None);
        }
        let mut read = || {
            let delta = self.extended(first >> 4)?;
            let length = usize::from(self.extended(first & 15)?);
            let (value, rest) = self.rest.split_at_checked(length)?;
            self.number = self.number.checked_add(delta)?;
            self.rest = rest;
            Some((self.number, value))
        };
        let option = read();
        if option.is_none() {
            self.rest = &[];
        }
        Some(option)
    }
}

fn token(message: &[u8]) -> Option<&[u8]> {
    let length = usize::from(message.first()? & 15);
    message.get(HEADER..HEADER + length)
}

fn is_sound(message: &[u8], request: bool) -> bool {
    let &[first, code, ..] = message else {
        return false;
    };
    // RFC 7252, 4.3: an empty message has no token, no options and no payload.
    if code == 0 {
        return message.len() == HEADER && first & 15 == 0;
    }
    // A server that is observed sends confirmable answers; a client answers only with nothing.
    let known = match request {
        true => is_method(code) && first & 0x20 == 0,
        false => is_response(code),
    };
    let options = Options::of(message);
    FIRST.contains(first)
        && known
        && options.is_some_and(|mut options| {
            options.all(|option| option.is_some_and(|(number, value)| fits(number, value)))
        })
}

fn is_method(code: u8) -> bool {
    matches!(code, 1..=7)
}

/// IANA, CoAP response codes.
fn is_response(code: u8) -> bool {
    matches!(
        (code >> 5, code & 31),
        (2, 1..=5 | 31) | (4, 0..=6 | 8 | 9 | 12 | 13 | 15 | 22 | 29) | (5, 0..=5 | 8)
    )
}

/// Whether an option may be as long as that (RFC 7252, 5.10; RFC 7641; RFC 7959; RFC 8613).
fn fits(number: u16, value: &[u8]) -> bool {
    let length = value.len();
    match number {
        0 => false,
        1 => length <= 8,
        option::URI_HOST => (1..=255).contains(&length),
        4 => (1..=8).contains(&length),
        5 => length == 0,
        6 => length <= 3,
        7 | 12 | 17 => length <= 2,
        14 => length <= 4,
        8 | option::URI_PATH | 15 | 20 => length <= 255 && value.iter().all(|&byte| byte >= b' '),
        19 | 23 | 27 | 31 => length <= 3,
        28 | 60 => length <= 4,
        // Other numbers are used, but seldom by those who have no long deltas.
        _ => length <= 1_034,
    }
}

fn tell(message: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let &[first, code, ..] = message else {
        return None;
    };
    if message.len() < HEADER || first >> 6 != 1 {
        return None;
    }
    let mut path = ArrayVec::<u8, PATH_MAX>::new();
    let mut host: &[u8] = &[];
    let mut format = None;
    for option in Options::of(message)? {
        match option? {
            (option::URI_HOST, value) => host = value,
            (option::URI_PATH, value) => {
                let part = [b"/", value];
                for bytes in part {
                    let _ = path.try_extend_from_slice(bytes);
                }
            }
            (option::CONTENT_FORMAT, value) => {
                let number = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
                format = Some(value.iter().fold(0, number));
            }
            _ => {}
        }
    }
    let kind = match first >> 4 & 3 {
        0 => "confirmable",
        1 => "non-confirmable",
        2 => "acknowledgement",
        _ => "reset",
    };
    let mut fields = Fields::<6>::new();
    let event = match is_method(code) {
        true => {
            const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"];
            let method = METHODS.get(usize::from(code) - 1).copied();
            fields
                .name(METHOD, method.unwrap_or_default())
                .bytes(PATH, &path)
                .bytes(HOST, host);
            EventKind::Request
        }
        // Acknowledged, nothing said.
        false if code == 0 => return Some(()),
        false => {
            fields.number(CODE, u64::from(code >> 5) * 100 + u64::from(code & 31));
            EventKind::Response
        }
    };
    fields
        .name(KIND, kind)
        .some_number(CONTENT_FORMAT, format)
        .tell(event, sink);
    Some(())
}
