//! ICMP for IPv4 and IPv6: message types by name (RFC 792, RFC 4443 and the IANA registries).
//!
//! Trusts that its input is one whole message, from the type byte on. The two families are told
//! apart by the type, and where both use a number (1 to 4) by the packet that an error quotes.
//! Violations: a message without its header. Memory: none.

use weir_wire::Direction;

use crate::{
    Application, Event, EventKind, EventSink, Field, FieldKind, FieldSpec, Probe, ProbeInput, Step,
    Transport, Value,
};

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
    const ABOUT: &'static str = "Internet control messages of IPv4 and IPv6 (RFC 792, RFC 4443)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Icmp, Transport::Icmpv6];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec {
            name: "type",
            kind: FieldKind::Text,
            condition: true,
            about: "Message type: echo-request, destination-unreachable, … (IANA ICMP and ICMPv6 parameters)",
        },
        FieldSpec {
            name: "code",
            kind: FieldKind::Number,
            condition: true,
            about: "Code (RFC 792, RFC 4443)",
        },
        FieldSpec {
            name: "id",
            kind: FieldKind::Number,
            condition: false,
            about: "Identifier of an echo or timestamp message (RFC 792)",
        },
        FieldSpec {
            name: "sequence",
            kind: FieldKind::Number,
            condition: false,
            about: "Sequence number of an echo or timestamp message (RFC 792)",
        },
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let plausible = |message: &[u8]| {
            message.is_empty()
                || message.len() >= HEADER
                    && matches!(kind(message), Some((_, most)) if code(message) <= most)
        };
        if input.to_server.is_empty() && input.to_client.is_empty() {
            return Probe::Unsure;
        }
        if plausible(input.to_server) && plausible(input.to_client) {
            Probe::Certain
        } else {
            Probe::NotMine
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((&[_, code, _, _, id_high, id_low, sequence_high, sequence_low], _)) =
            input.split_first_chunk::<HEADER>()
        else {
            return Step::Violation("icmp: message without its header");
        };
        let name = kind(input).map_or("other", |(name, _)| name);
        let numbered = name.starts_with("echo")
            || name.starts_with("timestamp")
            || name.starts_with("extended-echo");
        let fields = [
            Field {
                index: TYPE,
                value: Value::Name(name),
            },
            Field {
                index: CODE,
                value: Value::Number(code.into()),
            },
            Field {
                index: ID,
                value: Value::Number(u16::from_be_bytes([id_high, id_low]).into()),
            },
            Field {
                index: SEQUENCE,
                value: Value::Number(u16::from_be_bytes([sequence_high, sequence_low]).into()),
            },
        ];
        let count = if numbered { 4 } else { 2 };
        let kind = match direction {
            Direction::ToServer => EventKind::Request,
            Direction::ToClient => EventKind::Response,
        };
        sink.event(&Event {
            kind,
            fields: fields.get(..count).unwrap_or_default(),
        });
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn code(message: &[u8]) -> u8 {
    message.get(1).copied().unwrap_or_default()
}

/// Name of the type and its highest code.
fn kind(message: &[u8]) -> Option<(&'static str, u8)> {
    let quotes_ipv6 = message.get(HEADER).is_some_and(|byte| byte >> 4 == 6);
    Some(match (*message.first()?, quotes_ipv6) {
        (0, _) => ("echo-reply", 0),
        (1, _) => ("destination-unreachable", 8),
        (2, _) => ("packet-too-big", 0),
        (3, true) => ("time-exceeded", 1),
        (3, false) => ("destination-unreachable", 15),
        (4, true) => ("parameter-problem", 11),
        (4, false) => ("source-quench", 0),
        (5, _) => ("redirect", 3),
        (8, _) => ("echo-request", 0),
        (9, _) => ("router-advertisement", 16),
        (10, _) => ("router-solicitation", 0),
        (11, _) => ("time-exceeded", 1),
        (12, _) => ("parameter-problem", 2),
        (13, _) => ("timestamp-request", 0),
        (14, _) => ("timestamp-reply", 0),
        (15, _) => ("information-request", 0),
        (16, _) => ("information-reply", 0),
        (17, _) => ("address-mask-request", 0),
        (18, _) => ("address-mask-reply", 0),
        (30, _) => ("traceroute", 1),
        (40, _) => ("photuris", 5),
        (42 | 160, _) => ("extended-echo-request", 0),
        (43 | 161, _) => ("extended-echo-reply", 4),
        (128, _) => ("echo-request", 0),
        (129, _) => ("echo-reply", 0),
        (130, _) => ("multicast-listener-query", 0),
        (131 | 143, _) => ("multicast-listener-report", 0),
        (132, _) => ("multicast-listener-done", 0),
        (133, _) => ("router-solicitation", 0),
        (134, _) => ("router-advertisement", 0),
        (135, _) => ("neighbour-solicitation", 0),
        (136, _) => ("neighbour-advertisement", 0),
        (137, _) => ("redirect", 0),
        (138, _) => ("router-renumbering", 255),
        (139, _) => ("node-information-query", 2),
        (140, _) => ("node-information-reply", 2),
        (141, _) => ("inverse-neighbour-solicitation", 0),
        (142, _) => ("inverse-neighbour-advertisement", 0),
        (144, _) => ("home-agent-discovery-request", 0),
        (145, _) => ("home-agent-discovery-reply", 0),
        (146, _) => ("mobile-prefix-solicitation", 0),
        (147, _) => ("mobile-prefix-advertisement", 0),
        (148, _) => ("certification-path-solicitation", 0),
        (149, _) => ("certification-path-advertisement", 0),
        (151, _) => ("multicast-router-advertisement", 0),
        (152, _) => ("multicast-router-solicitation", 0),
        (153, _) => ("multicast-router-termination", 0),
        (155, _) => ("rpl-control", 255),
        (157, _) => ("duplicate-address-request", 255),
        (158, _) => ("duplicate-address-confirmation", 255),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Vec<String>);

    impl EventSink for Told {
        fn event(&mut self, event: &Event<'_>) {
            let values = event
                .fields
                .iter()
                .map(|field| format!("{:?}", field.value))
                .collect::<Vec<_>>()
                .join(" ");
            self.0.push(format!("{:?} {values}", event.kind));
        }
    }

    fn probe(to_server: &[u8]) -> Probe {
        let transport = Transport::Icmp;
        Icmp::probe(&ProbeInput {
            to_server,
            to_client: &[],
            previous: &[],
            from_start: true,
            server_port: 0,
            transport,
        })
    }

    #[test]
    fn known_types_with_their_codes_are_certain() {
        assert_eq!(probe(&[8, 0, 0, 0, 0, 1, 0, 2]), Probe::Certain);
        assert_eq!(probe(&[128, 0, 0, 0, 0, 1, 0, 2, 9]), Probe::Certain);
        assert_eq!(probe(&[8, 7, 0, 0, 0, 1, 0, 2]), Probe::NotMine);
        assert_eq!(probe(&[77, 0, 0, 0, 0, 1, 0, 2]), Probe::NotMine);
        assert_eq!(probe(&[8, 0, 0]), Probe::NotMine);
    }

    #[test]
    fn families_are_told_apart_by_the_quoted_packet() {
        let mut told = Told(Vec::new());
        for message in [
            [3, 1, 0, 0, 0, 0, 0, 0, 0x45],
            [3, 1, 0, 0, 0, 0, 0, 0, 0x60],
            [8, 0, 0, 0, 1, 2, 0, 5, 0],
        ] {
            assert_eq!(
                Icmp.parse(Direction::ToServer, &message, &mut told),
                Step::Consumed(9)
            );
        }
        assert_eq!(
            told.0,
            [
                "Request Name(\"destination-unreachable\") Number(1)",
                "Request Name(\"time-exceeded\") Number(1)",
                "Request Name(\"echo-request\") Number(0) Number(258) Number(5)",
            ]
        );
        assert!(matches!(
            Icmp.parse(Direction::ToServer, &[8], &mut told),
            Step::Violation(_)
        ));
    }
}
