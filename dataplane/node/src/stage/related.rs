//! ICMP errors about a flow belong to that flow: path MTU discovery and "unreachable" work wherever
//! the flow itself is let through (RFC 5508, 4.2; RFC 4890, 4.3.1).
//!
//! Trusts: decode. Distrusts: the packet quoted in the error, which anyone can make up: it must name
//! a flow that exists, the error must come toward the end that sent the quoted packet, and neither
//! end of the error itself may be quarantined. Gives:
//! `terminated` where that flow is denied. Memory: none.

use weir_flow::FlowKey;
use weir_wire::{Packet, Reason, protocol};

use crate::connection::{Standing, has_ports};
use crate::io::FrameSource;
use crate::path::{Fate, Path};

/// Bytes of the ICMP header in front of the quoted packet.
const ICMP_ERROR_BYTES: usize = 8;

impl<S: FrameSource> Path<S> {
    /// The fate of an ICMP error by the flow that it quotes; None for anything else, which is
    /// judged as a flow of its own.
    pub(crate) fn related(
        &mut self,
        bytes: &[u8],
        packet: &Packet,
        zone: u32,
        now_us: u64,
    ) -> Option<Fate> {
        if !is_error(packet) {
            return None;
        }
        let message = bytes.get(packet.transport_offset as usize..packet.payload_end as usize)?;
        let quoted = quoted_packet(message.get(ICMP_ERROR_BYTES..)?, packet)?;
        let quarantined = [packet.source, packet.destination]
            .into_iter()
            .any(|address| self.is_quarantined(zone, address, now_us));
        if quoted.source != packet.destination || quarantined {
            return None;
        }
        let oriented = FlowKey::of(&quoted, zone);
        let id = self
            .flows
            .table
            .find(&oriented.key, self.flows.table.hash(&oriented.key))?;
        let of_client = oriented.from_low == self.flows.table.hot(id).initiator_is_low;
        if of_client && is_unreachable(packet) {
            self.detect_unreachable(id, now_us);
        }
        Some(match Standing::of(self.flows.table.hot(id)) {
            Standing::Drop => Fate::Drop(Reason::Terminated),
            Standing::Inspect | Standing::Forward => Fate::Forward,
        })
    }

    fn is_quarantined(&self, zone: u32, address: u128, now_us: u64) -> bool {
        let identity = self.policy.identity_of(zone, address, now_us);
        self.policy
            .snapshot()
            .identity(identity)
            .is_some_and(|identity| identity.quarantined)
    }
}

/// Whether there is nothing at the host or port: scanners look for what is not told of so.
fn is_unreachable(packet: &Packet) -> bool {
    match packet.protocol {
        // All of type 3 but "fragmentation needed" (RFC 792, RFC 1812).
        protocol::ICMP => packet.source_port >> 8 == 3 && packet.source_port & 0xff != 4,
        protocol::ICMPV6 => packet.source_port >> 8 == 1,
        _ => false,
    }
}

fn is_error(packet: &Packet) -> bool {
    let message_type = packet.source_port >> 8;
    match packet.protocol {
        // Destination unreachable, time exceeded, parameter problem (RFC 792).
        protocol::ICMP => matches!(message_type, 3 | 11 | 12),
        // Unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
        protocol::ICMPV6 => matches!(message_type, 1..=4),
        _ => false,
    }
}

/// Addresses, protocol and ports of the quoted packet, of which only the first bytes are there.
fn quoted_packet(quoted: &[u8], error: &Packet) -> Option<Packet> {
    let (source, destination, number, transport) = match quoted.first()? >> 4 {
        4 => {
            let header = quoted.get(..20)?;
            let address = |at: usize| {
                let bytes: [u8; 4] = header[at..at + 4].try_into().ok()?;
                Some(weir_wire::from_ip_address(bytes.into()))
            };
            (
                address(12)?,
                address(16)?,
                header[9],
                usize::from(header[0] & 0x0f) * 4,
            )
        }
        6 => {
            let header = quoted.get(..40)?;
            let address =
                |at: usize| Some(u128::from_be_bytes(header[at..at + 16].try_into().ok()?));
            (address(8)?, address(24)?, header[6], 40)
        }
        _ => return None,
    };
    let word = |at: usize| Some(u16::from_be_bytes(quoted.get(at..at + 2)?.try_into().ok()?));
    let mut packet = Packet {
        source,
        destination,
        protocol: number,
        fragment: None,
        ..*error
    };
    if has_ports(number) {
        packet.source_port = word(transport)?;
        packet.destination_port = word(transport + 2)?;
    } else if matches!(number, protocol::ICMP | protocol::ICMPV6) {
        packet.source_port = word(transport)?;
        packet.destination_port = word(transport + 4)?;
    }
    Some(packet)
}
