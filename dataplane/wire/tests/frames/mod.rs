//! Frames for the tests, written by the etherparse crate or by hand, never by the code under test.
#![allow(dead_code, reason = "each test file uses some of them")]

use etherparse::PacketBuilder;
use proptest::prelude::*;

/// An upper-layer header to build.
#[derive(Clone, Debug)]
pub enum Upper {
    Tcp {
        ports: (u16, u16),
        sequence: u32,
        acknowledgement: Option<u32>,
        window: u16,
        flags: u8,
        scale: Option<u8>,
    },
    Udp(u16, u16),
    Echo {
        identifier: u16,
        sequence: u16,
        reply: bool,
    },
}

/// A frame to build.
#[derive(Clone, Debug)]
pub struct Story {
    pub tags: Vec<u16>,
    pub source: [u8; 16],
    pub destination: [u8; 16],
    pub is_ipv4: bool,
    pub hop_limit: u8,
    pub upper: Upper,
    pub payload: Vec<u8>,
}

pub const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Any frame without a tunnel.
pub fn story() -> impl Strategy<Value = Story> {
    let ports = || {
        (
            1u16..,
            any::<u16>().prop_filter("opens a tunnel", |port| !matches!(port, 4789 | 8472 | 6081)),
        )
    };
    let tcp = (
        ports(),
        any::<u32>(),
        any::<Option<u32>>(),
        any::<u16>(),
        0u8..16,
        proptest::option::of(0u8..15),
    )
        .prop_map(
            |(ports, sequence, acknowledgement, window, flags, scale)| Upper::Tcp {
                ports,
                sequence,
                acknowledgement,
                window,
                flags,
                scale,
            },
        );
    let udp = ports().prop_map(|(source, destination)| Upper::Udp(source, destination));
    let echo = any::<(u16, u16, bool)>().prop_map(|(identifier, sequence, reply)| Upper::Echo {
        identifier,
        sequence,
        reply,
    });
    (
        proptest::collection::vec(0u16..4096, 0..3),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<bool>(),
        1u8..,
        prop_oneof![3 => tcp, 1 => udp, 1 => echo],
        proptest::collection::vec(any::<u8>(), 0..300),
    )
        .prop_map(
            |(tags, source, destination, is_ipv4, hop_limit, upper, payload)| Story {
                tags,
                source,
                destination,
                is_ipv4,
                hop_limit,
                upper,
                payload,
            },
        )
}

impl Story {
    /// The frame's bytes.
    pub fn frame(&self) -> Vec<u8> {
        let ip = if self.is_ipv4 {
            PacketBuilder::ipv4(
                first4(self.source),
                first4(self.destination),
                self.hop_limit,
            )
        } else {
            PacketBuilder::ipv6(self.source, self.destination, self.hop_limit)
        };
        let mut packet = Vec::new();
        match &self.upper {
            Upper::Tcp {
                ports,
                sequence,
                acknowledgement,
                window,
                flags,
                scale,
            } => {
                let mut tcp = ip.tcp(ports.0, ports.1, *sequence, *window);
                if let Some(number) = acknowledgement {
                    tcp = tcp.ack(*number);
                }
                for (bit, set) in [
                    (
                        1,
                        etherparse::PacketBuilderStep::<etherparse::TcpHeader>::fin as fn(_) -> _,
                    ),
                    (2, etherparse::PacketBuilderStep::syn),
                    (4, etherparse::PacketBuilderStep::rst),
                    (8, etherparse::PacketBuilderStep::psh),
                ] {
                    if flags & bit != 0 {
                        tcp = set(tcp);
                    }
                }
                if let Some(shift) = scale {
                    let options = [
                        etherparse::TcpOptionElement::MaximumSegmentSize(1460),
                        etherparse::TcpOptionElement::Noop,
                        etherparse::TcpOptionElement::WindowScale(*shift),
                    ];
                    tcp = tcp.options(&options).unwrap();
                }
                tcp.write(&mut packet, &self.payload).unwrap();
            }
            Upper::Udp(source, destination) => {
                ip.udp(*source, *destination)
                    .write(&mut packet, &self.payload)
                    .unwrap();
            }
            Upper::Echo {
                identifier,
                sequence,
                reply,
            } => {
                let echo = match (self.is_ipv4, reply) {
                    (true, false) => {
                        return self.finish(ip.icmpv4_echo_request(*identifier, *sequence));
                    }
                    (true, true) => {
                        return self.finish(ip.icmpv4_echo_reply(*identifier, *sequence));
                    }
                    (false, false) => ip.icmpv6_echo_request(*identifier, *sequence),
                    (false, true) => ip.icmpv6_echo_reply(*identifier, *sequence),
                };
                echo.write(&mut packet, &self.payload).unwrap();
            }
        }
        self.link(&packet)
    }

    fn finish(&self, step: etherparse::PacketBuilderStep<etherparse::Icmpv4Header>) -> Vec<u8> {
        let mut packet = Vec::new();
        step.write(&mut packet, &self.payload).unwrap();
        self.link(&packet)
    }

    fn link(&self, packet: &[u8]) -> Vec<u8> {
        ethernet(
            &self.tags,
            if self.is_ipv4 { 0x0800 } else { 0x86dd },
            packet,
        )
    }
}

pub fn first4(bytes: [u8; 16]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// An Ethernet frame around `payload`.
pub fn ethernet(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [DESTINATION_MAC, SOURCE_MAC].concat();
    for (index, tag) in tags.iter().enumerate() {
        let tpid: u16 = if tags.len() == 2 && index == 0 {
            0x88a8
        } else {
            0x8100
        };
        frame.extend(tpid.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet of any protocol.
pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = etherparse::Ipv4Header::new(
        payload.len() as u16,
        60,
        etherparse::IpNumber(protocol),
        [10, 0, 0, 1],
        [10, 0, 0, 2],
    )
    .unwrap();
    let mut packet = Vec::new();
    header.write(&mut packet).unwrap();
    packet.extend(payload);
    packet
}

pub const SOURCE_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub const DESTINATION_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// An IPv6 packet whose first next header is `next`.
pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_between(SOURCE_V6, DESTINATION_V6, 60, next, payload)
}

pub fn ipv6_between(
    source: [u8; 16],
    destination: [u8; 16],
    hop_limit: u8,
    next: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

/// A UDP datagram without a checksum.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A TCP segment without options; the checksum is not computed.
pub fn tcp(
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.to_be_bytes());
    segment.extend(destination.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgement.to_be_bytes());
    segment.extend([0x50, flags, 0x20, 0x00, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// The ways to wrap a frame (or its packet, for those that carry IP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    Vxlan(u16),
    Geneve {
        words: u8,
    },
    GreEthernet,
    GreIp {
        checksum: bool,
        key: bool,
        sequence: bool,
    },
    IpInIp,
}

pub fn wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![
        prop_oneof![Just(4789u16), Just(8472)].prop_map(Wrap::Vxlan),
        (0u8..5).prop_map(|words| Wrap::Geneve { words }),
        Just(Wrap::GreEthernet),
        any::<(bool, bool, bool)>().prop_map(|(checksum, key, sequence)| Wrap::GreIp {
            checksum,
            key,
            sequence
        }),
        Just(Wrap::IpInIp),
    ]
}

pub const VNI: u32 = 0x00ab_cdef;

impl Wrap {
    /// The tunnel around a frame. `checksums`: outer UDP checksums are filled in.
    pub fn around(
        self,
        frame: &[u8],
        tags: &[u16],
        outer_is_ipv4: bool,
        checksums: bool,
    ) -> Vec<u8> {
        let inner = 14 + 4 * tags_of(frame);
        let inner_is_ipv4 = frame[inner - 2..inner] == [0x08, 0];
        let vni = [&[0x08, 0, 0, 0][..], &(VNI << 8).to_be_bytes()].concat();
        let (protocol, payload) = match self {
            Self::Vxlan(port) => (17, udp(40000, port, &[&vni[..], frame].concat())),
            Self::Geneve { words } => {
                let mut head = vec![words, 0, 0x65, 0x58];
                head.extend((VNI << 8).to_be_bytes());
                head.extend(vec![0; usize::from(words) * 4]);
                (17, udp(40000, 6081, &[&head[..], frame].concat()))
            }
            Self::GreEthernet => (47, [&[0, 0, 0x65, 0x58][..], frame].concat()),
            Self::GreIp {
                checksum,
                key,
                sequence,
            } => {
                let mut head = vec![
                    u8::from(checksum) << 7 | u8::from(key) << 5 | u8::from(sequence) << 4,
                    0,
                ];
                head.extend(if inner_is_ipv4 {
                    [0x08, 0]
                } else {
                    [0x86, 0xdd]
                });
                for word in [checksum, key, sequence] {
                    head.extend(vec![0; if word { 4 } else { 0 }]);
                }
                let mut packet = [&head[..], &frame[inner..]].concat();
                if checksum {
                    let sum = slow_checksum(&packet);
                    packet[4..6].copy_from_slice(&sum.to_be_bytes());
                }
                (47, packet)
            }
            Self::IpInIp => (if inner_is_ipv4 { 4 } else { 41 }, frame[inner..].to_vec()),
        };
        let mut payload = payload;
        if protocol == 17 && checksums {
            let addresses = match outer_is_ipv4 {
                true => vec![10, 0, 0, 1, 10, 0, 0, 2],
                false => [SOURCE_V6, DESTINATION_V6].concat(),
            };
            let pseudo = [
                &addresses[..],
                &[0, 17],
                &(payload.len() as u16).to_be_bytes(),
                &payload,
            ]
            .concat();
            let sum = match slow_checksum(&pseudo) {
                0 => 0xffff,
                sum => sum,
            };
            payload[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        match outer_is_ipv4 {
            true => ethernet(tags, 0x0800, &ipv4(protocol, &payload)),
            false => ethernet(tags, 0x86dd, &ipv6(protocol, &payload)),
        }
    }
}

fn tags_of(frame: &[u8]) -> usize {
    (0..2)
        .take_while(|index| {
            matches!(
                frame[12 + 4 * index..14 + 4 * index],
                [0x81, 0] | [0x88, 0xa8]
            )
        })
        .count()
}

/// RFC 1071 as it is written down.
pub fn slow_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
