//! GTP: the tunnels of mobile networks, as far as they reach here as datagrams (3GPP TS 29.060,
//! 29.274, 29.281).
//!
//! Trusts nothing. Known by version, reserved bits, an exact length and a message type that
//! exists, on its ports; elsewhere a packet within must be as long as its own header says, or the
//! elements of version 2 must walk to the end. Subscribers' numbers are not told. Violations:
//! messages without that form. Memory: none.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::cursor::Cursor;
use crate::read::sides::{judge, kind};
use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

const PORT_CONTROL: u16 = 2123;
const PORT_USER: u16 = 2152;
/// Flags, type, length (TS 29.060, 6).
const HEADER: usize = 8;
const PACKET: u8 = 255;

const PLANE: u8 = 0;
const MESSAGE: u8 = 1;
const VERSION: u8 = 2;
const TUNNEL: u8 = 3;

/// Versions 1 and 2.
const FIRST: ByteSet = ByteSet::NONE.and_range(0x30, 0x37).and_range(0x40, 0x5f);

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Gtp;

impl Application for Gtp {
    const NAME: &'static str = "gtp";
    const ABOUT: &'static str =
        "GPRS tunnelling, control and user plane (3GPP TS 29.060, 29.274, 29.281)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[PORT_USER, PORT_CONTROL];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("plane", "user or control"),
        FieldSpec::condition(
            "message",
            "Kind of message: packet, echo-request, create-session-request, ... (TS 29.060, 7.1; TS 29.274, 6.1)",
        ),
        FieldSpec::number("version", "Version: 1 or 2"),
        FieldSpec::number("tunnel", "Tunnel endpoint identifier"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: FIRST,
        to_client: FIRST,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let at_home = Self::PORTS.contains(&input.server_port);
        let side = |bytes: &[u8]| match is_exact(bytes) {
            true if at_home || is_proven(bytes) => Probe::Certain,
            _ => Probe::NotMine,
        };
        judge(input, side, side)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if !is_exact(input) {
            return Step::Violation("gtp: message of another length than it says");
        }
        tell(direction, input, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn is_exact(bytes: &[u8]) -> bool {
    let Some((&[flags, what, high, low], rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    match flags >> 5 {
        // Version 1 counts from behind the tunnel; of messages that are too long padding is left.
        1 => {
            let optional = if flags & 7 != 0 { 4 } else { 0 };
            flags & 0x18 == 0x10
                && rest.len() == length + 4
                && length >= optional
                && name_v1(what).is_some()
        }
        2 => {
            let tunnel = if flags & 8 != 0 { 4 } else { 0 };
            flags & 3 == 0
                && (rest.len() == length || flags & 0x10 != 0 && rest.len() > length)
                && length >= tunnel + 4
                && name_v2(what).is_some()
        }
        _ => false,
    }
}

/// Whether the content proves it, without the port.
fn is_proven(bytes: &[u8]) -> bool {
    match bytes {
        [0x30..=0x37, PACKET, ..] => packet(bytes).is_some_and(|packet| match packet {
            [0x45..=0x4f, _, high, low, rest @ ..] => {
                rest.len() + 4 == usize::from(u16::from_be_bytes([*high, *low]))
            }
            [0x60..=0x6f, _, _, _, high, low, rest @ ..] => {
                rest.len() == usize::from(u16::from_be_bytes([*high, *low])) + 34
            }
            _ => false,
        }),
        [0x40..=0x5f, ..] => walks(bytes).is_some_and(|elements| elements >= 2),
        _ => false,
    }
}

/// What a user's message carries, behind sequence number and extensions (TS 29.281, 5).
fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(bytes);
    let flags = cursor.u8()?;
    cursor.take(HEADER - 1)?;
    if flags & 7 == 0 {
        return Some(cursor.rest());
    }
    let [_, _, _, mut next] = cursor.array()?;
    while flags & 4 != 0 && next != 0 {
        let words = usize::from(cursor.u8()?);
        let extension = cursor.take((words * 4).checked_sub(1)?)?;
        next = *extension.last()?;
    }
    Some(cursor.rest())
}

/// The elements of version 2 (TS 29.274, 8.2.1), counted.
fn walks(bytes: &[u8]) -> Option<u32> {
    let mut cursor = Cursor::new(bytes);
    let flags = cursor.u8()?;
    cursor.u8()?;
    let length = cursor.u16()?;
    let mut elements = Cursor::new(cursor.take(length.into())?);
    elements.take(if flags & 8 != 0 { 8 } else { 4 })?;
    let mut count = 0;
    while !elements.is_empty() {
        let what = elements.u8()?;
        let length = elements.u16()?;
        let instance = elements.u8()?;
        (what > 0 && instance & 0xf0 == 0).then_some(())?;
        elements.take(length.into())?;
        count += 1;
    }
    Some(count)
}

fn tell(direction: Direction, bytes: &[u8], sink: &mut dyn EventSink) {
    let &[flags, what, ..] = bytes else { return };
    let version = flags >> 5;
    let name = match version {
        1 => name_v1(what),
        _ => name_v2(what),
    };
    let user = version == 1 && matches!(what, 26 | 31 | 254 | PACKET);
    let has_tunnel = version == 1 || flags & 8 != 0;
    let tunnel = Cursor::new(bytes.get(4..).unwrap_or_default()).u32();
    let mut fields = Fields::<4>::new();
    fields
        .name(PLANE, if user { "user" } else { "control" })
        .name(MESSAGE, name.unwrap_or("other"))
        .number(VERSION, version)
        .some_number(TUNNEL, tunnel.filter(|_| has_tunnel));
    fields.tell(kind(direction), sink);
}

/// TS 29.060, 7.1; TS 29.281, 6.1.
fn name_v1(what: u8) -> Option<&'static str> {
    Some(match what {
        1 => "echo-request",
        2 => "echo-response",
        3 => "version-not-supported",
        4..=7 => "node-alive",
        16 => "create-pdp-context-request",
        17 => "create-pdp-context-response",
        18 => "update-pdp-context-request",
        19 => "update-pdp-context-response",
        20 => "delete-pdp-context-request",
        21 => "delete-pdp-context-response",
        22 | 23 => "initiate-pdp-context-activation",
        26 => "error-indication",
        27..=30 => "pdu-notification",
        31 => "supported-extensions",
        32..=37 => "location",
        48..=62 => "mobility",
        70 => "ran-information",
        96..=121 => "multicast",
        128 | 129 => "information-change",
        240 | 241 => "data-record-transfer",
        254 => "end-marker",
        PACKET => "packet",
        _ => return None,
    })
}

/// TS 29.274, 6.1.
fn name_v2(what: u8) -> Option<&'static str> {
    Some(match what {
        1 => "echo-request",
        2 => "echo-response",
        3 => "version-not-supported",
        25..=31 => "srvcc",
        32 => "create-session-request",
        33 => "create-session-response",
        34 => "modify-bearer-request",
        35 => "modify-bearer-response",
        36 => "delete-session-request",
        37 => "delete-session-response",
        38 | 39 => "change-notification",
        40..=43 => "remote-report",
        64..=73 => "bearer-command",
        95 => "create-bearer-request",
        96 => "create-bearer-response",
        97 => "update-bearer-request",
        98 => "update-bearer-response",
        99 => "delete-bearer-request",
        100 => "delete-bearer-response",
        101..=103 => "delete-connection-set",
        128..=141 | 149..=157 => "mobility",
        160..=171 => "forwarding",
        176 => "downlink-data-notification",
        177 => "downlink-data-acknowledgement",
        179..=180 | 200..=201 | 211..=212 | 231..=236 => "other",
        _ => return None,
    })
}
