//! Checksums of the upper layer. An endpoint does not read a packet whose checksum is wrong; who
//! follows its stream must not either.

use crate::bytes::{at, be16};
use crate::checksum::Sum;
use crate::decode::datagram_inside;
use crate::gre;
use crate::trace::{IpLayer, Layer, Layers};
use crate::tunnel::{Inside, is_tunnel_port};
use crate::{Packet, protocol};

/// The checksum of TCP, UDP, ICMP or ICMPv6, and those of the UDP and GRE headers of the tunnels
/// around it. True where it is right or does not apply: fragments, UDP over IPv4 without one, other
/// protocols. `frame` is the frame, or the datagram, that was decoded.
pub fn transport_checksum_ok(frame: &[u8], packet: &Packet) -> bool {
    if packet.tunnels > 0 && !tunnels_ok(frame, packet) {
        return false;
    }
    if packet.fragment.is_some() {
        return true;
    }
    let Some(upper) = frame.get(packet.transport_offset as usize..packet.payload_end as usize)
    else {
        return false;
    };
    match packet.protocol {
        protocol::TCP | protocol::ICMPV6 => {}
        protocol::ICMP => return Sum::default().with(upper).fold() == 0xffff,
        protocol::UDP => {
            let Some(header) = at::<8>(upper, 0) else {
                return false;
            };
            if be16(header, 6) == 0 {
                // Over IPv6 only tunnels may leave it out (RFC 6935).
                return packet.is_ipv4 || is_tunnel_port(packet.destination_port);
            }
        }
        _ => return true,
    }
    Sum::default()
        .with_pseudo_header(
            packet.source,
            packet.destination,
            packet.is_ipv4,
            packet.protocol,
            upper.len(),
        )
        .with(upper)
        .fold()
        == 0xffff
}

/// The checksums of the tunnels around the packet.
#[cold]
fn tunnels_ok(frame: &[u8], packet: &Packet) -> bool {
    // Whether it is a frame or a datagram is seen from which of them leads to this packet. A
    // datagram's tunnels outside of the fragmentation were checked with its fragments.
    let firsts = [Inside::Ethernet(0, None), datagram_inside(frame)];
    for first in firsts {
        if let Some((layers, found)) = Layers::of(frame, first, packet)
            && found.network_offset == packet.network_offset
        {
            return layers_ok(frame, layers.as_slice());
        }
    }
    true
}

fn layers_ok(frame: &[u8], layers: &[Layer]) -> bool {
    let mut ip: Option<&IpLayer> = None;
    layers.iter().all(|layer| match *layer {
        Layer::Ethernet { .. } | Layer::Pppoe { .. } => true,
        Layer::Ip(ref layer) => {
            ip = Some(layer);
            true
        }
        Layer::Udp { start, end } => {
            let (Some(ip), Some(upper)) = (ip, frame.get(start..end)) else {
                return false;
            };
            upper[6..8] == [0, 0]
                || Sum::default()
                    .with_pseudo_header(
                        ip.source,
                        ip.destination,
                        ip.is_ipv4,
                        protocol::UDP,
                        upper.len(),
                    )
                    .with(upper)
                    .fold()
                    == 0xffff
        }
        Layer::Gre { start, end } => {
            let Some(upper) = frame.get(start..end) else {
                return false;
            };
            !gre::has_checksum(upper) || Sum::default().with(upper).fold() == 0xffff
        }
    })
}
