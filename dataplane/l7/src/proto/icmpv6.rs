//! ICMP for IPv6: message types by name (RFC 4443 and the IANA registry).
//!
//! Trusts that its input is one whole message, from the type byte on. Violations: a message without
//! its header. Memory: none.

use weir_wire::Direction;

use super::icmp::{self, Icmp};
use crate::{Application, EventSink, FieldSpec, Probe, ProbeInput, Step, Transport};

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Icmpv6;

impl Application for Icmpv6 {
    const NAME: &'static str = "icmpv6";
    const ABOUT: &'static str = "Internet control messages of IPv6 (RFC 4443)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Icmpv6];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = Icmp::FIELDS;
    const REFINES: Option<&'static str> = Some(Icmp::NAME);

    fn probe(input: &ProbeInput<'_>) -> Probe {
        icmp::probe(input, kind)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        icmp::parse(direction, input, kind, sink)
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn kind(number: u8) -> Option<(&'static str, u8)> {
    Some(match number {
        1 => ("destination-unreachable", 8),
        2 => ("packet-too-big", 0),
        3 => ("time-exceeded", 1),
        4 => ("parameter-problem", 11),
        128 => ("echo-request", 0),
        129 => ("echo-reply", 0),
        130 => ("multicast-listener-query", 0),
        131 | 143 => ("multicast-listener-report", 0),
        132 => ("multicast-listener-done", 0),
        133 => ("router-solicitation", 0),
        134 => ("router-advertisement", 0),
        135 => ("neighbour-solicitation", 0),
        136 => ("neighbour-advertisement", 0),
        137 => ("redirect", 0),
        138 => ("router-renumbering", 255),
        139 => ("node-information-query", 2),
        140 => ("node-information-reply", 2),
        141 => ("inverse-neighbour-solicitation", 0),
        142 => ("inverse-neighbour-advertisement", 0),
        144 => ("home-agent-discovery-request", 0),
        145 => ("home-agent-discovery-reply", 0),
        146 => ("mobile-prefix-solicitation", 0),
        147 => ("mobile-prefix-advertisement", 0),
        148 => ("certification-path-solicitation", 0),
        149 => ("certification-path-advertisement", 0),
        151 => ("multicast-router-advertisement", 0),
        152 => ("multicast-router-solicitation", 0),
        153 => ("multicast-router-termination", 0),
        155 => ("rpl-control", 255),
        157 => ("duplicate-address-request", 255),
        158 => ("duplicate-address-confirmation", 255),
        160 => ("extended-echo-request", 0),
        161 => ("extended-echo-reply", 4),
        _ => return None,
    })
}
