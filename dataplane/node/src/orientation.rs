//! Which end of a new flow is the client.

use weir_l7::{Transport, registry};
use weir_wire::{Packet, protocol, tcp_flags};

/// What the first packet that was seen tells of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// The packet's source opened the flow.
    pub source_is_client: bool,
    /// This packet is the first one: nothing went before.
    pub from_start: bool,
}

/// Judges a flow by the first packet that was seen: a SYN speaks for itself; where the beginning
/// was missed (after a restart, in a capture) the port that an application is known to serve, else
/// the lower port, is taken for the server's.
pub fn orient(packet: &Packet) -> Orientation {
    match packet.protocol {
        protocol::TCP => orient_tcp(packet),
        protocol::ICMP => echo_reply(packet, 0),
        protocol::ICMPV6 => echo_reply(packet, 129),
        protocol::UDP => Orientation { source_is_client: !is_server_side(packet, Transport::Udp), from_start: true },
        _ => Orientation { source_is_client: true, from_start: true },
    }
}

fn orient_tcp(packet: &Packet) -> Orientation {
    let flags = packet.tcp.flags;
    match (flags & tcp_flags::SYN != 0, flags & tcp_flags::ACK != 0) {
        (true, false) => Orientation { source_is_client: true, from_start: true },
        (true, true) => Orientation { source_is_client: false, from_start: true },
        (false, _) => {
            let known = |port| serves(port, Transport::Tcp);
            let source_is_client = match (known(packet.source_port), known(packet.destination_port)) {
                (true, false) => false,
                (false, true) => true,
                _ => packet.source_port > packet.destination_port,
            };
            Orientation { source_is_client, from_start: false }
        }
    }
}

/// A datagram that comes from a port some application serves, to one that none serves, is an answer.
fn is_server_side(packet: &Packet, transport: Transport) -> bool {
    serves(packet.source_port, transport) && !serves(packet.destination_port, transport)
}

fn echo_reply(packet: &Packet, reply_type: u16) -> Orientation {
    Orientation { source_is_client: packet.source_port >> 8 != reply_type, from_start: true }
}

/// Whether an application of the registry names the port.
fn serves(port: u16, transport: Transport) -> bool {
    registry::on_port(port).intersects(registry::carried_by(transport))
}
