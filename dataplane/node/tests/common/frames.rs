//! Frames, written by etherparse; VLAN tags, tunnels and fragments by hand.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep, TcpHeader};

pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ETHERNET: usize = 14;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub payload: &'a [u8],
}

/// What is around the frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    None,
    Vlan,
    QinQ,
    Vxlan,
}

pub const WRAPS: [Wrap; 4] = [Wrap::None, Wrap::Vlan, Wrap::QinQ, Wrap::Vxlan];

pub fn ip(source: IpAddr, destination: IpAddr) -> PacketBuilderStep<IpHeaders> {
    let builder = PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            builder.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            builder.ipv6(source.octets(), destination.octets(), 64)
        }
        _ => panic!("{source} and {destination} are of two families"),
    }
}

pub fn tcp(source: SocketAddr, destination: SocketAddr, segment: &Segment<'_>) -> Vec<u8> {
    let mut header = TcpHeader::new(source.port(), destination.port(), segment.sequence, 60_000);
    header.acknowledgment_number = segment.acknowledgement;
    header.fin = segment.flags & FIN != 0;
    header.syn = segment.flags & SYN != 0;
    header.rst = segment.flags & RST != 0;
    header.ack = segment.flags & ACK != 0;
    let mut frame = Vec::new();
    ip(source.ip(), destination.ip())
        .tcp_header(header)
        .write(&mut frame, segment.payload)
        .unwrap();
    frame
}

pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(source.ip(), destination.ip())
        .udp(source.port(), destination.port())
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// A packet of any other IP protocol.
pub fn protocol(source: IpAddr, destination: IpAddr, number: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(source, destination)
        .write(&mut frame, IpNumber(number), payload)
        .unwrap();
    frame
}

pub fn echo_request(source: IpAddr, destination: IpAddr, sequence: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = ip(source, destination);
    match source {
        IpAddr::V4(_) => builder
            .icmpv4_echo_request(7, sequence)
            .write(&mut frame, b"ping"),
        IpAddr::V6(_) => builder
            .icmpv6_echo_request(7, sequence)
            .write(&mut frame, b"ping"),
    }
    .unwrap();
    frame
}

/// "Fragmentation needed" or "packet too big", quoting a frame's IP packet.
pub fn too_big(source: IpAddr, destination: IpAddr, quoted: &[u8]) -> Vec<u8> {
    let quoted = &quoted[ETHERNET..quoted.len().min(ETHERNET + 80)];
    let mut frame = Vec::new();
    let builder = ip(source, destination);
    match source {
        IpAddr::V4(_) => builder
            .icmpv4_raw(3, 4, [0, 0, 5, 0])
            .write(&mut frame, quoted),
        IpAddr::V6(_) => builder
            .icmpv6_raw(2, 0, [0, 0, 5, 0])
            .write(&mut frame, quoted),
    }
    .unwrap();
    frame
}

/// "Port unreachable", quoting a frame's IPv4 packet.
pub fn unreachable(source: IpAddr, destination: IpAddr, quoted: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ip(source, destination)
        .icmpv4_raw(3, 3, [0; 4])
        .write(&mut frame, &quoted[ETHERNET..])
        .unwrap();
    frame
}

/// A frame that is not IP.
pub fn link(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [SERVER_MAC, CLIENT_MAC].concat();
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn arp_request() -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, 1];
    message.extend(CLIENT_MAC);
    message.extend([10, 91, 0, 2]);
    message.extend([0; 6]);
    message.extend([10, 91, 0, 3]);
    link(0x0806, &message)
}

pub fn neighbour_solicitation(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else {
        panic!("neighbour discovery is IPv6");
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, SERVER_MAC)
        .ipv6(from.octets(), to.octets(), 255)
        .icmpv6_raw(135, 0, [0; 4])
        .write(&mut frame, &to.octets())
        .unwrap();
    frame
}

/// The same frame with tags or in a tunnel.
pub fn wrapped(frame: &[u8], wrap: Wrap) -> Vec<u8> {
    let tagged = |tags: &[[u8; 4]]| [&frame[..12], &tags.concat(), &frame[12..]].concat();
    match wrap {
        Wrap::None => frame.to_vec(),
        Wrap::Vlan => tagged(&[[0x81, 0, 0, 42]]),
        Wrap::QinQ => tagged(&[[0x88, 0xa8, 0, 7], [0x81, 0, 0, 42]]),
        Wrap::Vxlan => {
            let outer = |last| SocketAddr::from(([172, 16, 0, last], 4789));
            let header = [8, 0, 0, 0, 0, 0, 99, 0];
            udp(outer(1), outer(2), &[&header[..], frame].concat())
        }
    }
}

/// The packet in fragments: cut before each of these bytes of its IP payload, multiples of eight.
pub fn fragments(frame: &[u8], cuts: &[usize], identification: u16) -> Vec<Vec<u8>> {
    let is_ipv4 = frame[ETHERNET] >> 4 == 4;
    let header = if is_ipv4 { 20 } else { 40 };
    let payload = &frame[ETHERNET + header..];
    let mut edges = vec![0];
    edges.extend(cuts.iter().copied().filter(|&cut| cut < payload.len()));
    edges.push(payload.len());
    edges
        .windows(2)
        .map(|edge| {
            let more = edge[1] < payload.len();
            fragment(
                frame,
                identification,
                edge[0],
                more,
                &payload[edge[0]..edge[1]],
            )
        })
        .collect()
}

/// A fragment of the frame's packet, with any place and content.
pub fn fragment(
    frame: &[u8],
    identification: u16,
    offset: usize,
    more: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut piece = frame[..ETHERNET].to_vec();
    let place = (offset as u16) | u16::from(more);
    if frame[ETHERNET] >> 4 == 4 {
        let mut header = frame[ETHERNET..ETHERNET + 20].to_vec();
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        let place = (offset / 8) as u16 | u16::from(more) << 13;
        header[6..8].copy_from_slice(&place.to_be_bytes());
        header[10..12].fill(0);
        let sum: u32 = header
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        piece.extend(header);
    } else {
        let mut header = frame[ETHERNET..ETHERNET + 40].to_vec();
        let upper = std::mem::replace(&mut header[6], 44);
        header[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
        piece.extend(header);
        piece.extend([upper, 0]);
        piece.extend(place.to_be_bytes());
        piece.extend(u32::from(identification).to_be_bytes());
    }
    piece.extend(payload);
    piece
}
