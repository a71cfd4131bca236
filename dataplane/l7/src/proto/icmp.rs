//! ICMP for IPv4: message types by name (RFC 792 and the IANA registry). That of IPv6 is read here
//! too, and is a row of its own.
//!
//! Trusts that its input is one whole message, from the type byte on. Violations: a message without
//! its header. Memory: none.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::sides::judge;
use crate::{Application, EventSink, FieldKind, FieldSpec, Probe, ProbeInput, Step, Transport};

/// Type, code, checksum and four bytes of message.
const HEADER: usize = 8;

const TYPE: u8 = 0;
const CODE: u8 = 1;
const ID: u8 = 2;
const SEQUENCE: u8 = 3;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Icmp;

impl Application for Icmp {
    const NAME: &'static str = "icmp";
    const ABOUT: &'static str = "Internet control messages of IPv4 (RFC 792)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Icmp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec {
            name: "type",
            kind: FieldKind::Text,
            condition: true,
            buffer: None,
            about: "Message type: echo-request, destination-unreachable, … (IANA ICMP and ICMPv6 parameters)",
        },
        FieldSpec {
            name: "code",
            kind: FieldKind::Number,
            condition: true,
            buffer: None,
            about: "Code (RFC 792, RFC 4443)",
        },
        FieldSpec::number("id", "Identifier of an echo or timestamp message (RFC 792)"),
        FieldSpec::number(
            "sequence",
            "Sequence number of an echo or timestamp message (RFC 792)",
        ),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe(input, kind)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        parse(direction, input, kind, sink)
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

/// Name of a type and its highest code.
type Kinds = fn(u8) -> Option<(&'static str, u8)>;

/// Whether both sides' messages are of known types, with codes that these have.
pub(super) fn probe(input: &ProbeInput<'_>, kinds: Kinds) -> Probe {
    let side = |message: &[u8]| match *message {
        [number, code, ..] if message.len() >= HEADER => match kinds(number) {
            Some((_, most)) if code <= most => Probe::Certain,
            _ => Probe::NotMine,
        },
        _ => Probe::NotMine,
    };
    judge(input, side, side)
}

/// Tells of one message.
pub(super) fn parse(
    direction: Direction,
    input: &[u8],
    kinds: Kinds,
    sink: &mut dyn EventSink,
) -> Step {
    let Some((
        &[
            number,
            code,
            _,
            _,
            id_high,
            id_low,
            sequence_high,
            sequence_low,
        ],
        _,
    )) = input.split_first_chunk::<HEADER>()
    else {
        return Step::Violation("icmp: message without its header");
    };
    let name = kinds(number).map_or("other", |(name, _)| name);
    let numbered = name.starts_with("echo")
        || name.starts_with("timestamp")
        || name.starts_with("extended-echo");
    let mut fields = Fields::<4>::new();
    fields.name(TYPE, name).number(CODE, code);
    if numbered {
        fields
            .number(ID, u16::from_be_bytes([id_high, id_low]))
            .number(SEQUENCE, u16::from_be_bytes([sequence_high, sequence_low]));
    }
    fields.tell(crate::read::sides::kind(direction), sink);
    Step::Consumed(input.len())
}

fn kind(number: u8) -> Option<(&'static str, u8)> {
    Some(match number {
        0 => ("echo-reply", 0),
        3 => ("destination-unreachable", 15),
        4 => ("source-quench", 0),
        5 => ("redirect", 3),
        6 => ("alternate-address", 0),
        8 => ("echo-request", 0),
        9 => ("router-advertisement", 16),
        10 => ("router-solicitation", 0),
        11 => ("time-exceeded", 1),
        12 => ("parameter-problem", 2),
        13 => ("timestamp-request", 0),
        14 => ("timestamp-reply", 0),
        15 => ("information-request", 0),
        16 => ("information-reply", 0),
        17 => ("address-mask-request", 0),
        18 => ("address-mask-reply", 0),
        30 => ("traceroute", 1),
        40 => ("photuris", 5),
        42 => ("extended-echo-request", 0),
        43 => ("extended-echo-reply", 4),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::sides;

    fn probe(to_server: &[u8]) -> Probe {
        Icmp::probe(&sides::input(Transport::Icmp, 0, to_server, &[]))
    }

    #[test]
    fn known_types_with_their_codes_are_certain() {
        assert_eq!(probe(&[8, 0, 0, 0, 0, 1, 0, 2]), Probe::Certain);
        assert_eq!(probe(&[128, 0, 0, 0, 0, 1, 0, 2, 9]), Probe::NotMine);
        assert_eq!(probe(&[8, 7, 0, 0, 0, 1, 0, 2]), Probe::NotMine);
        assert_eq!(probe(&[77, 0, 0, 0, 0, 1, 0, 2]), Probe::NotMine);
        assert_eq!(probe(&[8, 0, 0]), Probe::NotMine);
    }
}
