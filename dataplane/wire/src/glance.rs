//! The headers of a plain packet at a glance: what a settled flow's packets nearly always are.
//!
//! Plain is Ethernet with at most one 802.1Q tag, IPv4 without options or IPv6 without extension headers,
//! TCP or UDP, no fragment, no tunnel's port, everything well-formed. Of those it says what
//! [`crate::decode()`] says, in a fifth of the instructions; of all others nothing, and decode has to
//! look. Trusts nothing but the length of the slice.

use crate::bytes::{at, be16, be32, be128};
use crate::{
    Kind, Packet, Segment, TcpFields, ether_type, ethernet, ipv4, ipv6, protocol, tcp, tunnel, udp,
};

/// The ends of a plain packet: source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// IPv4.
    V4(u32, u32),
    /// IPv6; never an IPv4 address mapped into it.
    V6(u128, u128),
}

/// A plain packet. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Its virtual network.
    pub segment: Segment,
    /// Its addresses.
    pub ends: Ends,
    /// TCP or UDP.
    pub protocol: u8,
    /// Of its sender.
    pub source_port: u16,
    /// Of its receiver.
    pub destination_port: u16,
    /// Where the TCP or UDP header starts.
    pub transport_offset: u32,
    /// Bytes behind that header.
    pub payload_bytes: u32,
}

/// An IP header without anything behind it.
struct Network {
    ends: Ends,
    protocol: u8,
    /// Where the upper layer starts and ends.
    upper: usize,
    end: usize,
}

/// Looks at a frame; None where it is not plain.
#[inline(always)]
pub fn glance(frame: &[u8], verify_ipv4_checksum: bool) -> Option<Glance> {
    match glance_ipv4(frame, verify_ipv4_checksum) {
        None => glance_other(frame, verify_ipv4_checksum),
        seen => seen,
    }
}

/// Looks at a frame; None where it is not plain IPv4 without a tag.
#[inline(always)]
pub fn glance_ipv4(frame: &[u8], verify_checksum: bool) -> Option<Glance> {
    let link: &[u8; ethernet::HEADER_LENGTH] = frame.first_chunk()?;
    if be16(link, 12) != ether_type::IPV4 {
        return None;
    }
    let network = read_ipv4(frame, ethernet::HEADER_LENGTH, verify_checksum)?;
    read_upper(frame, network, Segment::None)
}

/// Looks at a frame; None where it is not plain, or plain IPv4 without a tag. Apart from the commonest
/// kind, whose values then stay in registers.
#[inline(never)]
pub fn glance_other(frame: &[u8], verify_ipv4_checksum: bool) -> Option<Glance> {
    let link: &[u8; ethernet::HEADER_LENGTH] = frame.first_chunk()?;
    let (carried, start, segment) = match be16(link, 12) {
        ether_type::VLAN => tagged(frame)?,
        carried => (carried, ethernet::HEADER_LENGTH, Segment::None),
    };
    let network = match carried {
        ether_type::IPV4 if start > ethernet::HEADER_LENGTH => {
            read_ipv4(frame, start, verify_ipv4_checksum)?
        }
        ether_type::IPV6 => read_ipv6(frame, start)?,
        _ => return None,
    };
    read_upper(frame, network, segment)
}

/// TCP or UDP.
#[inline(always)]
fn read_upper(frame: &[u8], network: Network, segment: Segment) -> Option<Glance> {
    let ports: &[u8; 4] = at(frame, network.upper)?;
    let payload_bytes = match network.protocol {
        protocol::TCP => tcp_payload(frame, &network)?,
        protocol::UDP if !tunnel::is_tunnel_port(be16(ports, 2)) => udp_payload(frame, &network)?,
        _ => return None,
    };
    Some(Glance {
        segment,
        ends: network.ends,
        protocol: network.protocol,
        source_port: be16(ports, 0),
        destination_port: be16(ports, 2),
        transport_offset: network.upper as u32,
        payload_bytes: payload_bytes as u32,
    })
}

impl Glance {
    /// What decode makes of the frame that was looked at.
    #[inline(always)]
    pub(crate) fn packet(&self, frame: &[u8]) -> Option<Packet> {
        let (is_ipv4, source, destination, header_bytes, hop_limit) = match self.ends {
            Ends::V4(source, destination) => {
                let mapped = |address| ipv4::MAPPED | u128::from(address);
                let bytes = ipv4::HEADER_LENGTH as u32;
                (true, mapped(source), mapped(destination), bytes, 8)
            }
            Ends::V6(source, destination) => {
                (false, source, destination, ipv6::HEADER_LENGTH as u32, 7)
            }
        };
        let network_offset = self.transport_offset - header_bytes;
        let upper = match self.protocol {
            protocol::TCP => tcp::read(frame, self.transport_offset as usize),
            _ => udp::read(frame, self.transport_offset as usize),
        };
        let upper = upper.ok()?;
        Some(Packet {
            kind: Kind::Ip,
            ether_type: if is_ipv4 {
                ether_type::IPV4
            } else {
                ether_type::IPV6
            },
            segment: self.segment,
            tunnels: 0,
            source,
            destination,
            is_ipv4,
            protocol: self.protocol,
            hop_limit: *frame.get(network_offset as usize + hop_limit)?,
            fragment: None,
            source_port: self.source_port,
            destination_port: self.destination_port,
            tcp: upper.tcp,
            network_offset,
            transport_offset: self.transport_offset,
            payload_offset: upper.payload as u32,
            payload_end: upper.payload as u32 + self.payload_bytes,
        })
    }
}

/// The fields of the TCP header at an offset that [`glance`] gave, where none of SYN, FIN, RST and URG is set and
/// ACK is.
#[inline(always)]
pub fn glance_at_tcp(frame: &[u8], transport_offset: u32) -> Option<TcpFields> {
    use crate::tcp_flags::{ACK, FIN, RST, SYN, URG};
    let header: &[u8; tcp::HEADER_LENGTH] = at(frame, transport_offset as usize)?;
    let flags = header[13];
    (flags & (SYN | FIN | RST | URG | ACK) == ACK).then(|| TcpFields {
        sequence: be32(header, 4),
        acknowledgement: be32(header, 8),
        flags,
        window: be16(header, 14),
        window_scale: None,
    })
}

/// What stands behind an 802.1Q tag.
#[inline(always)]
fn tagged(frame: &[u8]) -> Option<(u16, usize, Segment)> {
    let tag: &[u8; 4] = at(frame, ethernet::HEADER_LENGTH)?;
    let segment = match be16(tag, 0) & 0xfff {
        0 => Segment::None,
        id => Segment::Vlan(id),
    };
    Some((be16(tag, 2), ethernet::HEADER_LENGTH + 4, segment))
}

#[inline(always)]
fn read_ipv4(frame: &[u8], start: usize, verify_checksum: bool) -> Option<Network> {
    let header: &[u8; ipv4::HEADER_LENGTH] = at(frame, start)?;
    let end = start + usize::from(be16(header, 2));
    let is_whole = be16(header, 6) & 0x3fff == 0;
    if header[0] != 0x45 || !is_whole || end > frame.len() {
        return None;
    }
    // The sum of all words is a multiple of 2¹⁶ - 1, and never zero; so are sums of longer words, in
    // either byte order. Dividing by a constant is one multiplication.
    let (words, _) = header.as_chunks();
    let sum: u64 = words
        .iter()
        .map(|&word| u64::from(u32::from_ne_bytes(word)))
        .sum();
    if verify_checksum && !sum.is_multiple_of(0xffff) {
        return None;
    }
    Some(Network {
        ends: Ends::V4(be32(header, 12), be32(header, 16)),
        protocol: header[9],
        upper: start + ipv4::HEADER_LENGTH,
        end,
    })
}

#[inline(always)]
fn read_ipv6(frame: &[u8], start: usize) -> Option<Network> {
    let header: &[u8; ipv6::HEADER_LENGTH] = at(frame, start)?;
    let upper = start + ipv6::HEADER_LENGTH;
    let end = upper + usize::from(be16(header, 4));
    let (source, destination) = (be128(header, 8), be128(header, 24));
    let mapped = ipv6::is_mapped(source) || ipv6::is_mapped(destination);
    if header[0] >> 4 != 6 || end > frame.len() || mapped {
        return None;
    }
    Some(Network {
        ends: Ends::V6(source, destination),
        protocol: header[6],
        upper,
        end,
    })
}

#[inline(always)]
fn tcp_payload(frame: &[u8], network: &Network) -> Option<usize> {
    let header: &[u8; tcp::HEADER_LENGTH] = at(frame, network.upper)?;
    let length = usize::from(header[12] >> 4) * 4;
    let room = network.end.checked_sub(network.upper + length)?;
    (length >= tcp::HEADER_LENGTH).then_some(room)
}

#[inline(always)]
fn udp_payload(frame: &[u8], network: &Network) -> Option<usize> {
    let header: &[u8; udp::HEADER_LENGTH] = at(frame, network.upper)?;
    let length = usize::from(be16(header, 4));
    let fits = network.upper + length <= network.end;
    length.checked_sub(udp::HEADER_LENGTH).filter(|_| fits)
}
