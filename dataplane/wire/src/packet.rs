//! What decode found in a frame.

use std::net::{IpAddr, Ipv6Addr};

/// The way of a packet within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client (who opened the connection) to the server.
    ToServer = 0,
    /// From the server to the client.
    ToClient = 1,
}

impl Direction {
    /// The opposite way.
    pub fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// What a frame carries, as far as policy tells frames apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 or IPv6: every other field of [`Packet`] holds.
    Ip,
    /// ARP, or IPv6 neighbour discovery and multicast listener reports between neighbours: let
    /// through by a stated rule, since without them no address can be reached.
    Neighbour,
    /// Any other EtherType (or an 802.3 length): subject to the link policy.
    Other,
}

/// The network that the addresses of a packet belong to, innermost encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Untagged.
    None,
    /// 802.1Q: the VLAN id.
    Vlan(u16),
    /// 802.1ad: outer and inner VLAN id.
    QinQ(u16, u16),
    /// VXLAN, Geneve: the virtual network identifier, 24 bits.
    Vni(u32),
}

/// Where a fragment belongs in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification: 16 bits for IPv4, 32 bits for IPv6.
    pub id: u32,
    /// Offset of the first byte in the datagram's payload, in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// The TCP header's fields (RFC 9293, 3.1), zero for every other protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFields {
    /// Sequence number of the first payload byte (of SYN, where set).
    pub sequence: u32,
    /// Acknowledgement number; holds where the ACK flag is set.
    pub acknowledgement: u32,
    /// The eight flag bits as on the wire: CWR ECE URG ACK PSH RST SYN FIN.
    pub flags: u8,
    /// Window as on the wire, unscaled.
    pub window: u16,
    /// Window scale option; only looked for in segments with SYN.
    pub window_scale: Option<u8>,
}

/// A decoded frame. Offsets count bytes from the start of the frame; all are within it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// What the frame carries. For [`Kind::Other`] and ARP only `ether_type`, `segment` and
    /// `tunnels` hold; for the rest of [`Kind::Neighbour`] (ICMPv6) everything does.
    pub kind: Kind,
    /// IP: the EtherType behind all VLAN tags of the outermost Ethernet header. Otherwise that of
    /// the innermost one (an unknown frame within VXLAN is judged by its own EtherType); values
    /// below 0x600 are an 802.3 length.
    pub ether_type: u16,
    /// Innermost virtual network. A VNI stands whatever tags are found inside of its tunnel, since
    /// these are the sender's free choice; a priority tag (VLAN 0) counts as untagged.
    pub segment: Segment,
    /// How many tunnels (VXLAN, Geneve, GRE, IP-in-IP) were opened to reach these headers.
    pub tunnels: u8,
    /// Source and destination address of the innermost IP header, IPv4 mapped into IPv6
    /// (`::ffff:a.b.c.d`). An IPv6 header that carries a mapped address is malformed.
    pub source: u128,
    /// See `source`.
    pub destination: u128,
    /// True for IPv4.
    pub is_ipv4: bool,
    /// Upper-layer protocol behind all extension headers (IANA protocol number); on an IPv6
    /// fragment what its Fragment header names, so that it is the same on all of a datagram.
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Set on a fragment; then ports and `tcp` hold nothing, and the payload is the fragment's.
    pub fragment: Option<Fragment>,
    /// TCP, UDP, SCTP: the ports. ICMP and ICMPv6: type and code in the source port (type << 8 |
    /// code) and the identifier of a query or its reply (echo, extended echo, timestamp, information,
    /// address mask) in the destination port. Zero otherwise.
    pub source_port: u16,
    /// See `source_port`.
    pub destination_port: u16,
    /// The TCP header's fields.
    pub tcp: TcpFields,
    /// Start of the innermost IP header.
    pub network_offset: u32,
    /// Start of the upper-layer header (of the fragment's payload, for a fragment).
    pub transport_offset: u32,
    /// Start of the payload behind the upper-layer header.
    pub payload_offset: u32,
    /// End of the payload; bytes of the frame behind it are padding.
    pub payload_end: u32,
}

impl Packet {
    /// The payload behind the upper-layer header. `frame` is the frame that was decoded.
    pub fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.payload_offset as usize..self.payload_end as usize]
    }

    /// The address as people write it.
    pub fn source_address(&self) -> IpAddr {
        to_ip_address(self.source)
    }

    /// The address as people write it.
    pub fn destination_address(&self) -> IpAddr {
        to_ip_address(self.destination)
    }
}

/// An address in this crate's form (IPv4 mapped into IPv6) as people write it.
pub fn to_ip_address(address: u128) -> IpAddr {
    let v6 = Ipv6Addr::from(address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// An address in this crate's form: IPv4 mapped into IPv6.
pub fn from_ip_address(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}
