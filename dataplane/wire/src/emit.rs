//! Writing: TCP resets made out of a packet that is refused, and checksums after a change.
//!
//! Trusts that `packet` was decoded from `frame` (or put together from fragments of which `frame`
//! is one); where that is not so the answer is `None` or an unchanged frame, never a panic.

use crate::bytes::{at, be16};
use crate::checksum::Sum;
use crate::trace::{IpLayer, Layer, Layers};
use crate::tunnel::Inside;
use crate::{Packet, TcpFields, ipv4, ipv6, pppoe, protocol, tcp, tcp_flags};

/// An end of the packet that provoked the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// Its sender; the reset seems to come from its destination.
    Source,
    /// Its destination; the reset seems to come from its sender.
    Destination,
}

/// Hop limit of what is written here.
const HOP_LIMIT: u8 = 64;

/// Writes a TCP reset into `out` and returns its length; 512 bytes always suffice for untunnelled
/// frames and for the tunnels that CNIs use. VLAN tags and tunnels stay as they are in `frame`, with
/// all addresses swapped toward the source. The sequence numbers are those of RFC 9293, 3.10.7:
/// toward the source as its peer would answer, toward the destination as its peer would go on.
///
/// For a packet put together from fragments, `frame` is any of its fragments. `None` if the packet
/// is not TCP, if it would answer a reset, if an outer header carries extensions that cannot be
/// turned round, if the tunnel itself was fragmented or is a foreign one, or if `out` is too short.
pub fn tcp_reset(frame: &[u8], packet: &Packet, toward: Toward, out: &mut [u8]) -> Option<usize> {
    if packet.protocol != protocol::TCP || packet.fragment.is_some() {
        return None;
    }
    let reset = reset_fields(packet, toward)?;
    let (mut layers, found) = Layers::of(frame, Inside::Ethernet(0, None), packet)?;
    if found.tunnels != packet.tunnels {
        return None;
    }
    let network = found.network_offset as usize;
    let upper = network
        + if packet.is_ipv4 {
            ipv4::HEADER_LENGTH
        } else {
            ipv6::HEADER_LENGTH
        };
    let length = upper + tcp::HEADER_LENGTH;
    let out = out.get_mut(..length)?;
    out[..network].copy_from_slice(&frame[..network]);

    let [outer @ .., Layer::Ip(inner)] = layers.as_mut_slice() else {
        return None;
    };
    let (source, destination) = match toward {
        Toward::Source => (packet.destination, packet.source),
        Toward::Destination => (packet.source, packet.destination),
    };
    *inner = IpLayer {
        is_ipv4: packet.is_ipv4,
        source,
        destination,
        start: network,
        upper,
        plain: true,
    };
    write_ip(out, inner);
    let (source_port, destination_port) = match toward {
        Toward::Source => (packet.destination_port, packet.source_port),
        Toward::Destination => (packet.source_port, packet.destination_port),
    };
    write_tcp(&mut out[upper..], source_port, destination_port, &reset);
    for layer in outer {
        wrap(out, layer, toward)?;
    }
    seal(out, layers.as_slice(), Some(protocol::TCP), length);
    Some(length)
}

/// Recomputes, in place, the IPv4 header checksum and the TCP checksum of a TCP packet (also of
/// UDP with a checksum, ICMP and ICMPv6), and those of the tunnels around it. Changes nothing else.
pub fn refresh_checksums(frame: &mut [u8], packet: &Packet) {
    let Some((layers, found)) = Layers::of(frame, Inside::Ethernet(0, None), packet) else {
        return;
    };
    if found.network_offset != packet.network_offset {
        return;
    }
    let upper_protocol = packet.fragment.is_none().then_some(packet.protocol);
    seal(
        frame,
        layers.as_slice(),
        upper_protocol,
        packet.payload_end as usize,
    );
}

/// The header fields of the reset.
fn reset_fields(packet: &Packet, toward: Toward) -> Option<TcpFields> {
    let tcp = &packet.tcp;
    let acknowledges = tcp.flags & tcp_flags::ACK;
    let mut reset = TcpFields {
        flags: tcp_flags::RST,
        ..TcpFields::default()
    };
    match toward {
        // A reset is never answered by a reset.
        Toward::Source if tcp.flags & tcp_flags::RST != 0 => return None,
        Toward::Source if acknowledges != 0 => reset.sequence = tcp.acknowledgement,
        Toward::Source => {
            let payload = packet.payload_end.saturating_sub(packet.payload_offset);
            let flags = u32::from(tcp.flags & tcp_flags::SYN != 0)
                + u32::from(tcp.flags & tcp_flags::FIN != 0);
            reset.acknowledgement = tcp.sequence.wrapping_add(payload).wrapping_add(flags);
            reset.flags |= tcp_flags::ACK;
        }
        // What was refused never arrived, so its first byte is the one that is expected next.
        Toward::Destination => {
            reset.sequence = tcp.sequence;
            reset.acknowledgement = if acknowledges != 0 {
                tcp.acknowledgement
            } else {
                0
            };
            reset.flags |= acknowledges;
        }
    }
    Some(reset)
}

/// Writes an IP header for TCP that follows it up to the end of `out`; checksum left zero.
fn write_ip(out: &mut [u8], ip: &IpLayer) {
    let length = out.len() - ip.start;
    let header = &mut out[ip.start..ip.upper];
    header.fill(0);
    if ip.is_ipv4 {
        header[0] = 0x45;
        header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        header[6] = 0x40; // Do not fragment: then the zero identification is right (RFC 6864).
        header[8] = HOP_LIMIT;
        header[9] = protocol::TCP;
        header[12..16].copy_from_slice(&(ip.source as u32).to_be_bytes());
        header[16..20].copy_from_slice(&(ip.destination as u32).to_be_bytes());
    } else {
        header[0] = 0x60;
        header[4..6].copy_from_slice(&(tcp::HEADER_LENGTH as u16).to_be_bytes());
        header[6] = protocol::TCP;
        header[7] = HOP_LIMIT;
        header[8..24].copy_from_slice(&ip.source.to_be_bytes());
        header[24..40].copy_from_slice(&ip.destination.to_be_bytes());
    }
}

/// Writes a TCP header without options; checksum left zero.
fn write_tcp(header: &mut [u8], source_port: u16, destination_port: u16, fields: &TcpFields) {
    header.fill(0);
    header[0..2].copy_from_slice(&source_port.to_be_bytes());
    header[2..4].copy_from_slice(&destination_port.to_be_bytes());
    header[4..8].copy_from_slice(&fields.sequence.to_be_bytes());
    header[8..12].copy_from_slice(&fields.acknowledgement.to_be_bytes());
    header[12] = (tcp::HEADER_LENGTH as u8 / 4) << 4;
    header[13] = fields.flags;
}

/// Fits an outer layer, copied, to the length of `out` and to the way it goes.
fn wrap(out: &mut [u8], layer: &mut Layer, toward: Toward) -> Option<()> {
    let length = out.len();
    match layer {
        Layer::Ethernet { start } if toward == Toward::Source => {
            let addresses: [u8; 12] = *at(out, *start)?;
            out[*start..*start + 6].copy_from_slice(&addresses[6..]);
            out[*start + 6..*start + 12].copy_from_slice(&addresses[..6]);
        }
        Layer::Pppoe { start } => {
            let place = *start + pppoe::LENGTH_AT;
            let counted = (length - *start - pppoe::LENGTH_FROM) as u16;
            out[place..place + 2].copy_from_slice(&counted.to_be_bytes());
        }
        Layer::Ip(ip) => wrap_ip(out, ip, toward)?,
        // The ports stay: the source port of a tunnel only spreads load, the destination's names it.
        Layer::Udp { start, end } => {
            *end = length;
            out[*start + 4..*start + 6].copy_from_slice(&((length - *start) as u16).to_be_bytes());
        }
        Layer::Gre { end, .. } => *end = length,
        Layer::Ethernet { .. } => {}
    }
    Some(())
}

fn wrap_ip(out: &mut [u8], ip: &mut IpLayer, toward: Toward) -> Option<()> {
    let swap = toward == Toward::Source;
    // A source route, or an authenticated header, cannot be turned round.
    if swap && !ip.plain {
        return None;
    }
    let (start, length) = (ip.start, out.len());
    if ip.is_ipv4 {
        out[start + 2..start + 4].copy_from_slice(&((length - start) as u16).to_be_bytes());
        out[start + 8] = HOP_LIMIT;
    } else {
        let payload = (length - start - ipv6::HEADER_LENGTH) as u16;
        out[start + 4..start + 6].copy_from_slice(&payload.to_be_bytes());
        out[start + 7] = HOP_LIMIT;
    }
    if swap {
        (ip.source, ip.destination) = (ip.destination, ip.source);
        let (addresses, width) = if ip.is_ipv4 {
            (start + 12, 4)
        } else {
            (start + 8, 16)
        };
        let (source, destination) = out[addresses..addresses + 2 * width].split_at_mut(width);
        source.swap_with_slice(destination);
    }
    Some(())
}

/// Computes all checksums, innermost first since outer ones cover them. `upper` is the innermost
/// upper-layer protocol, which ends at `end`; `None` leaves it alone.
fn seal(frame: &mut [u8], layers: &[Layer], upper: Option<u8>, end: usize) {
    for (index, layer) in layers.iter().enumerate().rev() {
        match *layer {
            Layer::Ethernet { .. } | Layer::Pppoe { .. } => {}
            Layer::Ip(ref ip) => {
                if index + 1 == layers.len()
                    && let Some(protocol) = upper
                {
                    seal_upper(frame, ip, protocol, end);
                }
                seal_ip(frame, ip);
            }
            Layer::Udp { start, end } => {
                let outer = layers[..index].iter().rev().find_map(|layer| match layer {
                    Layer::Ip(ip) => Some(ip),
                    _ => None,
                });
                if let Some(ip) = outer {
                    seal_upper(
                        frame,
                        &IpLayer {
                            upper: start,
                            ..*ip
                        },
                        protocol::UDP,
                        end,
                    );
                }
            }
            Layer::Gre { start, end } => seal_gre(frame, start, end),
        }
    }
}

fn seal_ip(frame: &mut [u8], ip: &IpLayer) {
    if !ip.is_ipv4 {
        return;
    }
    let Some(header) = frame.get_mut(ip.start..) else {
        return;
    };
    let length = usize::from(header.first().copied().unwrap_or(0) & 15) * 4;
    let Some(header) = header.get_mut(..length.max(ipv4::HEADER_LENGTH)) else {
        return;
    };
    header[10..12].fill(0);
    let checksum = Sum::default().with(header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// The checksum of the upper layer of `ip`, from there to `end`.
fn seal_upper(frame: &mut [u8], ip: &IpLayer, protocol: u8, end: usize) {
    let Some(upper) = frame.get_mut(ip.upper..end) else {
        return;
    };
    let place = match protocol {
        protocol::TCP => 16,
        protocol::UDP => 6,
        protocol::ICMP | protocol::ICMPV6 => 2,
        _ => return,
    };
    // UDP without a checksum stays without.
    let Some(field) = at::<2>(upper, place) else {
        return;
    };
    if protocol == protocol::UDP && be16(field, 0) == 0 {
        return;
    }
    upper[place..place + 2].fill(0);
    let mut sum = Sum::default();
    if protocol != protocol::ICMP {
        sum = sum.with_pseudo_header(ip.source, ip.destination, ip.is_ipv4, protocol, upper.len());
    }
    let checksum = match sum.with(upper).checksum() {
        0 if protocol == protocol::UDP => 0xffff,
        checksum => checksum,
    };
    upper[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn seal_gre(frame: &mut [u8], start: usize, end: usize) {
    let Some(packet) = frame.get_mut(start..end) else {
        return;
    };
    if crate::gre::has_checksum(packet) && packet.len() >= 8 {
        packet[4..6].fill(0);
        let checksum = Sum::default().with(packet).checksum();
        packet[4..6].copy_from_slice(&checksum.to_be_bytes());
    }
}
