//! RADIUS: authentication, accounting and dynamic authorization (RFC 2865, 2866, 5176).
//!
//! Trusts nothing. Known by its length and an exact walk over the attributes, each known one with
//! the length it must have; away from its ports two of them must be such that only RADIUS has
//! them, on its ports a malformed one is told. Passwords, hidden or not, and authenticators are never told. Violations: attributes that
//! run over the end. Memory: none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::sides::{both, judge};
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const PORTS: [u16; 5] = [1812, 1813, 1645, 1646, 3799];
/// Code, identifier, length, authenticator (RFC 2865, 3).
const HEADER: usize = 20;
const LENGTH_MAX: usize = 4_096;
/// Attributes that must be just so before content alone is proof.
const SOUND_MIN: u32 = 2;

const CODE: u8 = 0;
const USER: u8 = 1;
const NAS_ADDRESS: u8 = 2;
const NAS_ID: u8 = 3;
const NAS_PORT: u8 = 4;
const CALLING_STATION: u8 = 5;
const CALLED_STATION: u8 = 6;
const FRAMED_ADDRESS: u8 = 7;
const ACCOUNTING: u8 = 8;
const SESSION_ID: u8 = 9;
const REPLY_MESSAGE: u8 = 10;
const ERROR_CAUSE: u8 = 11;
const METHOD: u8 = 12;

/// The parser: every packet stands alone.
#[derive(Default)]
pub struct Radius;

struct Attributes<'a>(&'a [u8]);

impl Application for Radius {
    const NAME: &'static str = "radius";
    const ABOUT: &'static str = "Remote Authentication Dial In User Service (RFC 2865, 2866, 5176)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &PORTS;
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "code",
            "Kind of packet: Access-Request, Access-Reject, CoA-Request, ... (RFC 2865, 3; RFC 5176, 2.3)",
        ),
        FieldSpec::condition("user", "User-Name (RFC 2865, 5.1)"),
        FieldSpec::address(
            "nas_address",
            "NAS-IP-Address or NAS-IPv6-Address (RFC 2865, 5.4)",
        ),
        FieldSpec::condition("nas_id", "NAS-Identifier (RFC 2865, 5.32)"),
        FieldSpec::number("nas_port", "NAS-Port (RFC 2865, 5.5)"),
        FieldSpec::text("calling_station", "Calling-Station-Id (RFC 2865, 5.31)"),
        FieldSpec::text("called_station", "Called-Station-Id (RFC 2865, 5.30)"),
        FieldSpec::address("framed_address", "Framed-IP-Address (RFC 2865, 5.8)"),
        FieldSpec::text(
            "accounting",
            "Acct-Status-Type: start, stop, interim-update, on, off (RFC 2866, 5.1)",
        ),
        FieldSpec::text("session_id", "Acct-Session-Id (RFC 2866, 5.5)"),
        FieldSpec::text("reply_message", "Reply-Message (RFC 2865, 5.18)"),
        FieldSpec::number("error_cause", "Error-Cause (RFC 5176, 3.5)"),
        FieldSpec::text(
            "method",
            "How the user proves itself: pap, chap, eap (RFC 2865, RFC 3579)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[1, 4, 12, 40, 43]),
        to_client: ByteSet::of(&[2, 3, 5, 11, 2, 41, 42, 44, 45]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let at_home = PORTS.contains(&input.server_port);
        let weigh = |packet: &[u8]| match at_home && is_begun(packet) {
            true => Some(SOUND_MIN),
            false => weigh(packet),
        };
        let side = |openings: ByteSet| {
            move |packet: &[u8]| match weigh(packet) {
                Some(_) if packet.first().is_none_or(|&code| !openings.contains(code)) => {
                    Probe::NotMine
                }
                Some(sound) if sound >= SOUND_MIN => Probe::Certain,
                Some(_) => Probe::Unsure,
                None => Probe::NotMine,
            }
        };
        let sides = judge(
            input,
            side(Self::OPENINGS.to_server),
            side(Self::OPENINGS.to_client),
        );
        // An answer names the question.
        let answered = match (input.to_server, input.to_client) {
            ([asked, id, ..], [told, for_id, ..]) => match id == for_id && fits(*asked, *told) {
                true => Probe::Certain,
                false => Probe::Unsure,
            },
            _ => Probe::Unsure,
        };
        both(sides, answered)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if weigh(input).is_none() {
            return Step::Violation("radius: header or attributes that are cut off");
        }
        tell(direction, input, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

impl<'a> Iterator for Attributes<'a> {
    /// None: the attribute is cut off, or has no type.
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let &[kind, length, ..] = self.0 else {
            let cut_off = !self.0.is_empty();
            self.0 = &[];
            return cut_off.then_some(None);
        };
        let length = usize::from(length);
        let (value, rest) = (self.0.get(2..length), self.0.get(length..));
        self.0 = rest.unwrap_or_default();
        Some(value.filter(|_| kind != 0).map(|value| (kind, value)))
    }
}

/// Whether `told` answers `asked`.
fn fits(asked: u8, told: u8) -> bool {
    matches!(
        (asked, told),
        (1, 2 | 3 | 11) | (4, 5) | (12, 2 | 5) | (40, 41 | 42) | (43, 44 | 45)
    )
}

/// The attributes of a packet; what follows its length is padding (RFC 2865, 3).
fn attributes(packet: &[u8]) -> Option<&[u8]> {
    let &[_, _, high, low, ..] = packet else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (length <= LENGTH_MAX).then_some(())?;
    packet.get(HEADER..length)
}

/// Whether the header is sound, and the first attribute where there is one.
fn is_begun(packet: &[u8]) -> bool {
    let first = attributes(packet).map(|attributes| Attributes(attributes).next());
    let sound = matches!(first, Some(None | Some(Some(_))));
    sound && is_code(packet)
}

fn is_code(packet: &[u8]) -> bool {
    matches!(packet.first(), Some(1..=5 | 11 | 12 | 40..=45))
}

/// How many attributes are as only RADIUS has them; none: this is no RADIUS.
fn weigh(packet: &[u8]) -> Option<u32> {
    is_code(packet).then_some(())?;
    let mut sound = 0;
    for attribute in Attributes(attributes(packet)?) {
        let (kind, value) = attribute?;
        sound += u32::from(is_sound(kind, value)?);
    }
    Some(sound)
}

/// Whether an attribute proves something; none: it cannot be (RFC 2865, 5; RFC 2866, 5).
fn is_sound(kind: u8, value: &[u8]) -> Option<bool> {
    let length = value.len();
    let (possible, telling) = match kind {
        // User-Password: blocks of 16 bytes.
        2 => (length <= 128, length > 0 && length.is_multiple_of(16)),
        // CHAP-Password, and addresses and numbers of four bytes.
        3 => (length == 17, true),
        4..=10
        | 12
        | 14
        | 15
        | 23
        | 27..=29
        | 37
        | 38
        | 41..=43
        | 45..=49
        | 51..=53
        | 55
        | 61
        | 62
        | 72
        | 76
        | 101 => (length == 4, true),
        40 => (length == 4, matches!(value, [0, 0, 0, 1..=15])),
        // Vendor-Specific: vendors have numbers below 2^24.
        26 => (length >= 5, value.first() == Some(&0) && length > 6),
        80 => (length == 16, true),
        95 => (length == 16, true),
        _ => (true, false),
    };
    possible.then_some(telling)
}

fn tell(direction: Direction, packet: &[u8], sink: &mut dyn EventSink) {
    let code = packet.first().copied().unwrap_or_default();
    let find = |wanted: u8| {
        Attributes(attributes(packet).unwrap_or_default())
            .flatten()
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let text = |wanted: u8| find(wanted).unwrap_or_default();
    let four = |wanted: u8| find(wanted).and_then(|value| value.try_into().ok());
    let number = |wanted: u8| four(wanted).map(u32::from_be_bytes);
    let address = |wanted: u8| four(wanted).map(|bytes: [u8; 4]| Ipv4Addr::from(bytes).into());
    let nas6 = find(95)
        .and_then(|value| <[u8; 16]>::try_from(value).ok())
        .map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    let accounting = number(40).map(|number| match number {
        1 => "start",
        2 => "stop",
        3 => "interim-update",
        7 => "on",
        8 => "off",
        _ => "other",
    });
    let method = [(2, "pap"), (3, "chap"), (79, "eap")]
        .into_iter()
        .find(|&(kind, _)| find(kind).is_some())
        .map(|(_, name)| name);

    let mut fields = Fields::<13>::new();
    fields
        .name(CODE, code_name(code))
        .bytes(USER, text(1))
        .some_address(NAS_ADDRESS, address(4).or(nas6))
        .bytes(NAS_ID, text(32))
        .some_number(NAS_PORT, number(5))
        .some_bytes(CALLING_STATION, text(31))
        .some_bytes(CALLED_STATION, text(30))
        .some_address(FRAMED_ADDRESS, address(8));
    if let Some(accounting) = accounting {
        fields.name(ACCOUNTING, accounting);
    }
    fields
        .some_bytes(SESSION_ID, text(44))
        .some_bytes(REPLY_MESSAGE, text(18))
        .some_number(ERROR_CAUSE, number(101));
    if let Some(method) = method {
        fields.name(METHOD, method);
    }
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    fields.tell(kind, sink);
}

fn code_name(code: u8) -> &'static str {
    match code {
        1 => "Access-Request",
        2 => "Access-Accept",
        3 => "Access-Reject",
        4 => "Accounting-Request",
        5 => "Accounting-Response",
        11 => "Access-Challenge",
        12 => "Status-Server",
        40 => "Disconnect-Request",
        41 => "Disconnect-ACK",
        42 => "Disconnect-NAK",
        43 => "CoA-Request",
        44 => "CoA-ACK",
        45 => "CoA-NAK",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::sides;

    fn packet(code: u8, attributes: &[u8]) -> Vec<u8> {
        let mut packet = vec![code, 7, 0, (HEADER + attributes.len()) as u8];
        packet.extend([9; 16]);
        packet.extend(attributes);
        packet
    }

    fn probe(port: u16, to_server: &[u8], to_client: &[u8]) -> Probe {
        Radius::probe(&sides::input(Transport::Udp, port, to_server, to_client))
    }

    #[test]
    fn elsewhere_attributes_or_the_answer_must_agree() {
        let request = packet(1, b"\x01\x05bob\x04\x06\x0a\x00\x00\x01");
        assert_eq!(probe(1812, &request, &[]), Probe::Certain);
        assert_eq!(probe(9812, &request, &[]), Probe::Unsure);
        assert_eq!(probe(9812, &request, &packet(3, &[])), Probe::Certain);
        assert_eq!(probe(9812, &request, &packet(5, &[])), Probe::Unsure);
        let request = packet(4, b"\x28\x06\x00\x00\x00\x01\x04\x06\x0a\x00\x00\x01");
        assert_eq!(probe(9812, &request, &[]), Probe::Certain);
    }

    #[test]
    fn attributes_must_walk() {
        for attributes in [
            &b"\x01\x09bob"[..],
            b"\x01\x01",
            b"\x04\x05abc",
            b"\x00\x03a",
            b"\x01",
        ] {
            assert_eq!(probe(9812, &packet(1, attributes), &[]), Probe::NotMine);
        }
        assert_eq!(probe(1812, &packet(1, b"\x04\x05abc"), &[]), Probe::Certain);
        assert_eq!(probe(1812, &packet(2, &[]), &[]), Probe::NotMine);
    }
}
