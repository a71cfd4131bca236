//! BGP version 4 (RFC 4271): sessions, routes counted, reasons to end.
//!
//! Trusts nothing. Every message begins with sixteen bytes of ones, its length and its type; that
//! is proof on any port, and where to go on after a gap. Both peers send alike. Violations: bytes
//! without the marker. Memory: a flag.

use std::net::{IpAddr, Ipv4Addr};

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::cursor::Cursor;
use crate::read::sides::{judge, kind};
use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

const MARKER: [u8; 16] = [0xff; 16];
/// Marker, length, type (RFC 4271, 4.1).
const HEADER: usize = 19;
/// Capability of four-octet AS numbers (RFC 6793, 3).
const CAPABILITY_AS4: u8 = 65;

const TYPE: u8 = 0;
const AUTONOMOUS_SYSTEM: u8 = 1;
const ROUTER_ID: u8 = 2;
const HOLD_TIME: u8 = 3;
const ANNOUNCED: u8 = 4;
const WITHDRAWN: u8 = 5;
const ERROR: u8 = 6;
const ERROR_CODE: u8 = 7;
const ERROR_SUBCODE: u8 = 8;
const MESSAGE: u8 = 9;

/// Message types (RFC 4271, 4.1; RFC 2918).
mod message {
    pub(super) const OPEN: u8 = 1;
    pub(super) const UPDATE: u8 = 2;
    pub(super) const NOTIFICATION: u8 = 3;
    pub(super) const KEEPALIVE: u8 = 4;
    pub(super) const ROUTE_REFRESH: u8 = 5;
}

/// The parser.
#[derive(Default)]
pub struct Bgp {
    /// Per direction: bytes were lost, the next marker must be found.
    lost: [bool; 2],
}

impl Application for Bgp {
    const NAME: &'static str = "bgp";
    const ABOUT: &'static str = "Border Gateway Protocol version 4 (RFC 4271)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[179];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "type",
            "Kind of message: open, update, notification, keepalive, route-refresh (RFC 4271, 4.1)",
        ),
        FieldSpec::number(
            "as",
            "Autonomous system of who opens (RFC 4271, 4.2; RFC 6793)",
        ),
        FieldSpec::address("router_id", "BGP identifier (RFC 4271, 4.2)"),
        FieldSpec::number("hold_time", "Hold time offered, in seconds (RFC 4271, 4.2)"),
        FieldSpec::number(
            "announced",
            "IPv4 prefixes that an update announces (RFC 4271, 4.3)",
        ),
        FieldSpec::number(
            "withdrawn",
            "IPv4 prefixes that an update withdraws (RFC 4271, 4.3)",
        ),
        FieldSpec::text("error", "Error of a notification by name (RFC 4271, 4.5)"),
        FieldSpec::number("error_code", "Error of a notification (RFC 4271, 4.5)"),
        FieldSpec::number("error_subcode", "Its subcode (RFC 4271, 4.5)"),
        FieldSpec::text("message", "What a shutdown says of itself (RFC 9003)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0xff]),
        to_client: ByteSet::of(&[0xff]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let side = |bytes: &[u8]| match input.from_start {
            true => probe_front(bytes),
            // Picked up, the first bytes may be the end of a message.
            false => match find(bytes) {
                Some(at) => probe_front(bytes.get(at..).unwrap_or_default()),
                None => Probe::Unsure,
            },
        };
        judge(input, side, side)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let lost = self.lost.get_mut(direction as usize);
        if let Some(lost) = lost.filter(|lost| **lost) {
            match find(input) {
                Some(0) => *lost = false,
                Some(at) => return Step::Consumed(at),
                None => {
                    // A header may have begun at the very end.
                    return match input.len().saturating_sub(HEADER - 1) {
                        0 => Step::Incomplete,
                        passed => Step::Consumed(passed),
                    };
                }
            }
        }
        let Some((&header, rest)) = input.split_first_chunk::<HEADER>() else {
            return match input.iter().take(16).all(|&byte| byte == 0xff) {
                true => Step::Incomplete,
                false => Step::Violation("bgp: message without its marker"),
            };
        };
        let Some((length, what)) = read_header(&header) else {
            return Step::Violation("bgp: message without its marker");
        };
        let Some(body) = rest.get(..length - HEADER) else {
            return Step::Incomplete;
        };
        match tell(what, body, direction, sink) {
            Some(()) => Step::Consumed(length),
            None => Step::Violation("bgp: message shorter than its parts"),
        }
    }

    /// An extended message (RFC 8654): counted, not read.
    fn overflow(&mut self, _direction: Direction, input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match input.first_chunk::<HEADER>().and_then(read_header) {
            Some((length, _)) => Step::Skip(length as u64),
            None => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, _length: u64) -> bool {
        if let Some(lost) = self.lost.get_mut(direction as usize) {
            *lost = true;
        }
        true
    }
}

/// Length and type, when they fit.
fn read_header(header: &[u8; HEADER]) -> Option<(usize, u8)> {
    let (&marker, rest) = header.split_first_chunk::<16>()?;
    let &[high, low, what] = rest else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // RFC 4271, 4.2 to 4.5; RFC 2918, 3.
    let fits = match what {
        message::OPEN => (29..=4_096).contains(&length),
        message::UPDATE => length >= 23,
        message::NOTIFICATION => length >= 21,
        message::KEEPALIVE => length == HEADER,
        message::ROUTE_REFRESH => length >= 23,
        _ => false,
    };
    (marker == MARKER && fits).then_some((length, what))
}

fn probe_front(bytes: &[u8]) -> Probe {
    match bytes.first_chunk::<HEADER>() {
        Some(header) if read_header(header).is_some() => Probe::Certain,
        Some(_) => Probe::NotMine,
        None if bytes.iter().take(16).all(|&byte| byte == 0xff) => Probe::Unsure,
        None => Probe::NotMine,
    }
}

/// Where the next message begins.
fn find(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(HEADER)
        .position(|window| window.first_chunk().and_then(read_header).is_some())
}

fn tell(what: u8, body: &[u8], direction: Direction, sink: &mut dyn EventSink) -> Option<()> {
    let mut cursor = Cursor::new(body);
    let mut fields = Fields::<5>::new();
    match what {
        message::OPEN => {
            let _version = cursor.u8()?;
            let short = cursor.u16()?;
            let hold_s = cursor.u16()?;
            let id: [u8; 4] = cursor.array()?;
            let system = long_system(cursor).unwrap_or(short.into());
            fields
                .name(TYPE, "open")
                .number(AUTONOMOUS_SYSTEM, system)
                .address(ROUTER_ID, IpAddr::V4(Ipv4Addr::from(id)))
                .number(HOLD_TIME, hold_s);
        }
        message::UPDATE => {
            let withdrawn = prefixes(cursor.vector16()?);
            cursor.vector16()?;
            fields
                .name(TYPE, "update")
                .number(ANNOUNCED, prefixes(cursor))
                .number(WITHDRAWN, withdrawn);
        }
        message::NOTIFICATION => {
            let (code, subcode) = (cursor.u8()?, cursor.u8()?);
            // RFC 9003, 2: a shutdown or reset may say why.
            let said = match (code, subcode) {
                (6, 2 | 4) => cursor.vector8().map(|text| text.rest()),
                _ => None,
            };
            fields
                .name(TYPE, "notification")
                .name(ERROR, error_name(code))
                .number(ERROR_CODE, code)
                .number(ERROR_SUBCODE, subcode)
                .some_bytes(MESSAGE, said.unwrap_or_default());
        }
        message::KEEPALIVE => {
            fields.name(TYPE, "keepalive");
        }
        _ => {
            fields.name(TYPE, "route-refresh");
        }
    }
    fields.tell(kind(direction), sink);
    Some(())
}

/// Four-octet AS number among the capabilities (RFC 5492, 4; RFC 6793, 3; RFC 9072).
fn long_system(mut cursor: Cursor<'_>) -> Option<u32> {
    let mut length = usize::from(cursor.u8()?);
    let mut extended = false;
    if cursor.rest().first() == Some(&255) {
        cursor.u8()?;
        length = cursor.u16()?.into();
        extended = true;
    }
    let mut parameters = Cursor::new(cursor.take(length)?);
    while let Some(kind) = parameters.u8() {
        let mut value = match extended {
            true => parameters.vector16()?,
            false => parameters.vector8()?,
        };
        if kind != 2 {
            continue;
        }
        while let Some(capability) = value.u8() {
            let mut content = value.vector8()?;
            if capability == CAPABILITY_AS4 {
                return content.u32();
            }
        }
    }
    None
}

/// How many prefixes there are; those that cannot be (paths with an id) are not counted.
fn prefixes(mut cursor: Cursor<'_>) -> u64 {
    let mut count = 0;
    while let Some(bits @ 0..=32) = cursor.u8() {
        if cursor.take(usize::from(bits).div_ceil(8)).is_none() {
            break;
        }
        count += 1;
    }
    count
}

fn error_name(code: u8) -> &'static str {
    match code {
        1 => "message-header",
        2 => "open-message",
        3 => "update-message",
        4 => "hold-timer-expired",
        5 => "state-machine",
        6 => "cease",
        7 => "route-refresh",
        _ => "other",
    }
}
