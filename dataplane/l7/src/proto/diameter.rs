//! Diameter (RFC 6733) over TCP.
//!
//! Trusts nothing. Known on any port by its version, reserved bits, a length of whole words, and a
//! first attribute that fits into it. Violations: headers that contradict that. Memory: a flag.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::cursor::Cursor;
use crate::read::sides::judge;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// RFC 6733, 3.
const HEADER: usize = 20;
/// An attribute without its vendor (RFC 6733, 4.1).
const ATTRIBUTE: usize = 8;
const MESSAGE_MAX: u32 = 1 << 20;

const COMMAND: u8 = 0;
const ORIGIN_HOST: u8 = 1;
const ORIGIN_REALM: u8 = 2;
const DESTINATION_HOST: u8 = 3;
const DESTINATION_REALM: u8 = 4;
const USER: u8 = 5;
const SESSION_ID: u8 = 6;
const APPLICATION_ID: u8 = 7;
const RESULT_CODE: u8 = 8;
const PRODUCT: u8 = 9;

/// The parser.
#[derive(Default)]
pub struct Diameter {
    /// Of a stream picked up: where messages begin was only seen on the sides that were judged.
    picked_up: bool,
}

struct Header {
    length: u32,
    flags: u8,
    command: u32,
    application: u32,
}

impl Application for Diameter {
    const NAME: &'static str = "diameter";
    const ABOUT: &'static str = "Diameter over TCP (RFC 6733)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[3868];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command: capabilities-exchange, device-watchdog, credit-control, ... (RFC 6733, 3.1)",
        ),
        FieldSpec::condition("origin_host", "Origin-Host (RFC 6733, 6.3)"),
        FieldSpec::condition("origin_realm", "Origin-Realm (RFC 6733, 6.4)"),
        FieldSpec::text("destination_host", "Destination-Host (RFC 6733, 6.5)"),
        FieldSpec::text("destination_realm", "Destination-Realm (RFC 6733, 6.6)"),
        FieldSpec::text("user", "User-Name (RFC 6733, 8.14)"),
        FieldSpec::text("session_id", "Session-Id (RFC 6733, 8.8)"),
        FieldSpec::number("application_id", "Application (RFC 6733, 2.4)"),
        FieldSpec::number("result_code", "Result-Code of an answer (RFC 6733, 7.1)"),
        FieldSpec::text("product", "Product-Name (RFC 6733, 5.3.7)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[1]),
        to_client: ByteSet::of(&[1]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        judge(input, look, look)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(bytes) = input.first_chunk::<HEADER>() else {
            return Step::Incomplete;
        };
        let Some(header) = Header::read(bytes) else {
            return match self.picked_up {
                true => Step::Done,
                false => Step::Violation("diameter: no header where one must be"),
            };
        };
        let length = header.length as usize;
        let Some(attributes) = input.get(HEADER..length) else {
            return Step::Incomplete;
        };
        tell(direction, &header, attributes, sink);
        Step::Consumed(length)
    }

    /// A large message: its front is told, its end is passed over.
    fn overflow(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match input.first_chunk::<HEADER>().and_then(Header::read) {
            Some(header) => {
                let attributes = input.get(HEADER..).unwrap_or_default();
                tell(direction, &header, attributes, sink);
                Step::Skip(header.length.into())
            }
            None => Step::Done,
        }
    }

    /// Only what was judged begins with a message for certain.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

impl Header {
    /// None: it cannot be one.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u8()?;
        let header = Self {
            length: cursor.u24()?,
            flags: cursor.u8()?,
            command: cursor.u24()?,
            application: cursor.u32()?,
        };
        // RFC 6733, 3: requests are not errors; the first attribute is there.
        let sound = version == 1
            && header.flags & 0x0f == 0
            && header.flags & 0xa0 != 0xa0
            && header.length.is_multiple_of(4)
            && (28..=MESSAGE_MAX).contains(&header.length)
            && header.command >= 256;
        sound.then_some(header)
    }
}

fn look(bytes: &[u8]) -> Probe {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let sound = matches!(bytes, [1] | [1, 0..=0x10, ..]);
        return if sound { Probe::Unsure } else { Probe::NotMine };
    };
    let Some(header) = Header::read(head) else {
        return Probe::NotMine;
    };
    let Some(attribute) = rest.first_chunk::<ATTRIBUTE>() else {
        return Probe::Unsure;
    };
    let [code @ .., flags, high, middle, low] = *attribute;
    let code = u32::from_be_bytes(code);
    let length = u32::from_be_bytes([0, high, middle, low]);
    let sound = code > 0
        && flags & 0x1f == 0
        && length >= ATTRIBUTE as u32 + if flags & 0x80 != 0 { 4 } else { 0 }
        && length.next_multiple_of(4) + HEADER as u32 <= header.length;
    if sound {
        Probe::Certain
    } else {
        Probe::NotMine
    }
}

/// The first attribute of that code and no vendor (RFC 6733, 4.1).
fn find(attributes: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut cursor = Cursor::new(attributes);
    loop {
        let code = cursor.u32()?;
        let flags = cursor.u8()?;
        let length = (cursor.u24()? as usize).checked_sub(ATTRIBUTE)?;
        let value = cursor.take(length)?;
        if code == wanted && flags & 0x80 == 0 {
            return Some(value);
        }
        cursor.take(length.wrapping_neg() % 4)?;
    }
}

fn tell(direction: Direction, header: &Header, attributes: &[u8], sink: &mut dyn EventSink) {
    let text = |code: u32| find(attributes, code).unwrap_or_default();
    let result = find(attributes, 268)
        .and_then(|value| value.try_into().ok())
        .map(u32::from_be_bytes);
    let mut fields = Fields::<10>::new();
    fields
        .name(COMMAND, command_name(header.command))
        .bytes(ORIGIN_HOST, text(264))
        .bytes(ORIGIN_REALM, text(296))
        .some_bytes(DESTINATION_HOST, text(293))
        .some_bytes(DESTINATION_REALM, text(283))
        .some_bytes(USER, text(1))
        .some_bytes(SESSION_ID, text(263))
        .number(APPLICATION_ID, header.application)
        .some_number(RESULT_CODE, result)
        .some_bytes(PRODUCT, text(269));
    // Either peer asks: what the server asks is judged by nobody's policy for its clients.
    let kind = match (header.flags & 0x80 != 0, direction) {
        (true, Direction::ToServer) => EventKind::Request,
        (true, Direction::ToClient) => EventKind::Session,
        (false, _) => EventKind::Response,
    };
    fields.tell(kind, sink);
}

fn command_name(command: u32) -> &'static str {
    match command {
        257 => "capabilities-exchange",
        258 => "re-auth",
        265 => "aa",
        268 => "diameter-eap",
        271 => "accounting",
        272 => "credit-control",
        274 => "abort-session",
        275 => "session-termination",
        280 => "device-watchdog",
        282 => "disconnect-peer",
        283 => "user-authorization",
        284 => "server-assignment",
        285 => "location-info",
        286 => "multimedia-auth",
        287 => "registration-termination",
        288 => "push-profile",
        300 => "user-authorization-cx",
        301 => "server-assignment-cx",
        302 => "location-info-cx",
        303 => "multimedia-auth-cx",
        306 => "user-data",
        308 => "subscribe-notifications",
        309 => "push-notification",
        316 => "update-location",
        317 => "cancel-location",
        318 => "authentication-information",
        319 => "insert-subscriber-data",
        321 => "purge-ue",
        322 => "reset",
        323 => "notify",
        324 => "me-identity-check",
        _ => "other",
    }
}
