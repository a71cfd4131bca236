//! ESP: what an IPsec tunnel carries, encrypted (RFC 4303; through NAT over UDP RFC 3948).
//!
//! Trusts nothing, and reads only the index of the tunnel. By itself its protocol number names it;
//! over UDP there is nothing to know it by but the port and numbers that grow: both are demanded.
//! Violations: none. Memory: none.

use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Event, EventKind, EventSink, Field, FieldSpec, Probe, ProbeInput, Step, Transport,
};

const PORT: u16 = 4500;
/// Indexes below this one are reserved (RFC 4303, 2.1).
const INDEX_MIN: u32 = 256;
/// Index, number, one block and what proves it.
const PACKET_BYTES_MIN: usize = 24;
/// How far a number may be from that of the datagram before.
const DISTANCE_MAX: u32 = 1_024;

const INDEX: u8 = 0;

/// The parser.
#[derive(Default)]
pub struct Esp {
    told: [bool; 2],
}

/// Index and number of a packet.
fn front(packet: &[u8]) -> Option<(u32, u32)> {
    let mut cursor = Cursor::new(packet);
    let index = cursor.u32()?;
    let number = cursor.u32()?;
    let sound = index >= INDEX_MIN && number > 0 && packet.len() >= PACKET_BYTES_MIN;
    sound.then_some((index, number))
}

impl Application for Esp {
    const NAME: &'static str = "esp";
    const ABOUT: &'static str =
        "Encapsulating Security Payload of IPsec, also over UDP (RFC 4303, RFC 3948)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Esp, Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[FieldSpec::number(
        "index",
        "Index of the tunnel that the receiver chose (RFC 4303, 2.1)",
    )];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        let sound = sides
            .iter()
            .all(|side| side.is_empty() || front(side).is_some());
        if input.transport == Transport::Esp {
            return match sound {
                true => Probe::Certain,
                false => Probe::NotMine,
            };
        }
        if !sound || input.server_port != PORT {
            return Probe::NotMine;
        }
        let follows = |side: &[u8]| match (front(input.previous), front(side)) {
            (Some(before), Some(now)) => {
                before.0 == now.0 && now.1.wrapping_sub(before.1) <= DISTANCE_MAX
            }
            _ => false,
        };
        match sides.into_iter().any(follows) {
            true => Probe::Certain,
            false => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let told = self.told.get_mut(direction as usize);
        if let (Some(told), Some((index, _))) = (told, front(input))
            && !*told
        {
            *told = true;
            sink.event(&Event {
                kind: EventKind::Session,
                fields: &[Field::number(INDEX, index.into())],
            });
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(index: u32, number: u32) -> Vec<u8> {
        let mut packet = [index, number].map(u32::to_be_bytes).concat();
        packet.extend([0x5a; 40]);
        packet
    }

    fn probe(previous: &[u8], to_server: &[u8], server_port: u16) -> Probe {
        Esp::probe(&ProbeInput {
            to_server,
            to_client: &[],
            previous,
            from_start: true,
            server_port,
            transport: Transport::Udp,
        })
    }

    #[test]
    fn over_udp_the_port_and_growing_numbers_are_needed() {
        let (one, two) = (packet(0xc0ff_ee01, 7), packet(0xc0ff_ee01, 8));
        assert_eq!(probe(&[], &one, PORT), Probe::Unsure);
        assert_eq!(probe(&one, &two, PORT), Probe::Certain);
        assert_eq!(probe(&one, &two, 4_501), Probe::NotMine);
        assert_eq!(probe(&two, &one, PORT), Probe::Unsure);
        assert_eq!(probe(&one, &packet(0xc0ff_ee02, 8), PORT), Probe::Unsure);
        // The marker of IKE, and an index that nobody may have.
        assert_eq!(probe(&[], &packet(0, 1), PORT), Probe::NotMine);
        assert_eq!(probe(&[], &packet(255, 1), PORT), Probe::NotMine);
        assert_eq!(probe(&[], &one[..20], PORT), Probe::NotMine);
    }
}
