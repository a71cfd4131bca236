//! Makes the frames of a story and writes them as a capture.

use std::net::IpAddr;

use anyhow::{Result, bail};
use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Type, IpFragOffset, IpHeaders, IpNumber, Ipv4Header,
    Ipv6FlowLabel, Ipv6Header, PacketBuilder, PacketBuilderStep,
};
use serde::Deserialize;

/// Between two frames, on the capture's clock.
const PACE_US: u64 = 1_000;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The tunnel's ends, where the story goes through one.
const TUNNEL_ENDS: [[u8; 4]; 2] = [[172, 16, 0, 1], [172, 16, 0, 2]];

/// What carries the packets.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    vlan: Option<u16>,
    qinq: Option<[u16; 2]>,
    vxlan: Option<u32>,
}

/// What a conversation runs over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Two ends, and the next sequence number of each: the client's first.
pub struct Conversation {
    transport: Transport,
    ends: [(IpAddr, u16); 2],
    sequences: [u32; 2],
}

impl Conversation {
    pub fn new(transport: Transport, client: (IpAddr, u16), server: (IpAddr, u16)) -> Self {
        Self {
            transport,
            ends: [client, server],
            sequences: [1_000, 900_000],
        }
    }
}

/// The flags of a segment.
#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    ack: bool,
    fin: bool,
}

/// The frames so far.
pub struct Wire<'a> {
    link: &'a Link,
    segment_bytes: usize,
    fragment_bytes: Option<usize>,
    frames: Vec<Vec<u8>>,
}

impl<'a> Wire<'a> {
    pub fn new(
        link: &'a Link,
        segment_bytes: Option<usize>,
        fragment_bytes: Option<usize>,
    ) -> Self {
        Self {
            link,
            segment_bytes: segment_bytes.unwrap_or(1_400).max(1),
            fragment_bytes,
            frames: Vec::new(),
        }
    }

    /// Begins a conversation: over TCP with the handshake.
    pub fn open(&mut self, mut conversation: Conversation) -> Result<Conversation> {
        if conversation.transport == Transport::Tcp {
            self.segment(
                &mut conversation,
                true,
                Flags {
                    syn: true,
                    ..Flags::default()
                },
                &[],
            )?;
            self.segment(
                &mut conversation,
                false,
                Flags {
                    syn: true,
                    ack: true,
                    ..Flags::default()
                },
                &[],
            )?;
            self.segment(
                &mut conversation,
                true,
                Flags {
                    ack: true,
                    ..Flags::default()
                },
                &[],
            )?;
        }
        Ok(conversation)
    }

    /// Content from one end.
    pub fn say(
        &mut self,
        conversation: &mut Conversation,
        from_client: bool,
        content: &[u8],
    ) -> Result<()> {
        if conversation.transport == Transport::Udp {
            let [from, to] = oriented(conversation.ends, from_client);
            let packet = ip_builder(from.0, to.0)?;
            let mut bytes = Vec::new();
            packet.udp(from.1, to.1).write(&mut bytes, content)?;
            return self.send(from_client, from.0, bytes);
        }
        for part in content.chunks(self.segment_bytes) {
            self.segment(
                conversation,
                from_client,
                Flags {
                    ack: true,
                    ..Flags::default()
                },
                part,
            )?;
        }
        self.segment(
            conversation,
            !from_client,
            Flags {
                ack: true,
                ..Flags::default()
            },
            &[],
        )
    }

    /// Both ends finish.
    pub fn close(&mut self, conversation: &mut Conversation) -> Result<()> {
        let finish = Flags {
            fin: true,
            ack: true,
            ..Flags::default()
        };
        self.segment(conversation, true, finish, &[])?;
        self.segment(conversation, false, finish, &[])?;
        self.segment(
            conversation,
            true,
            Flags {
                ack: true,
                ..Flags::default()
            },
            &[],
        )
    }

    /// An echo request and its reply.
    pub fn ping(&mut self, client: IpAddr, server: IpAddr) -> Result<()> {
        for from_client in [true, false] {
            let [from, to] = oriented([client, server], from_client);
            let echo = IcmpEchoHeader { id: 7, seq: 1 };
            let mut bytes = Vec::new();
            match (from, to) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    let kind = if from_client {
                        Icmpv4Type::EchoRequest(echo)
                    } else {
                        Icmpv4Type::EchoReply(echo)
                    };
                    PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
                        .icmpv4(kind)
                        .write(&mut bytes, b"hello")?;
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => {
                    let kind = if from_client {
                        Icmpv6Type::EchoRequest(echo)
                    } else {
                        Icmpv6Type::EchoReply(echo)
                    };
                    PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
                        .icmpv6(kind)
                        .write(&mut bytes, b"hello")?;
                }
                _ => bail!("both ends must be of one family"),
            }
            self.send(from_client, from, bytes)?;
        }
        Ok(())
    }

    /// A packet of an IP protocol without ports.
    pub fn ip(&mut self, protocol: u8, client: IpAddr, server: IpAddr) -> Result<()> {
        let content = [0; 24];
        let mut bytes = Vec::new();
        match (client, server) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header::new(
                    content.len() as u16,
                    64,
                    IpNumber(protocol),
                    source.octets(),
                    destination.octets(),
                )?;
                header.write(&mut bytes)?;
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: content.len() as u16,
                    next_header: IpNumber(protocol),
                    hop_limit: 64,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                header.write(&mut bytes)?;
            }
            _ => bail!("both ends must be of one family"),
        }
        bytes.extend(content);
        self.send(true, client, bytes)
    }

    /// A frame that is not IP.
    pub fn frame(&mut self, ether_type: u16, content: &[u8]) {
        let frame = self.ethernet(true, ether_type, content);
        self.frames.push(frame);
    }

    fn segment(
        &mut self,
        conversation: &mut Conversation,
        from_client: bool,
        flags: Flags,
        content: &[u8],
    ) -> Result<()> {
        let (own, other) = if from_client { (0, 1) } else { (1, 0) };
        let [from, to] = oriented(conversation.ends, from_client);
        let packet = ip_builder(from.0, to.0)?;
        let mut packet = packet.tcp(from.1, to.1, conversation.sequences[own], 64_000);
        if flags.syn {
            packet = packet.syn();
        }
        if flags.fin {
            packet = packet.fin();
        }
        if flags.ack {
            packet = packet.ack(conversation.sequences[other]);
        }
        let mut bytes = Vec::new();
        packet.write(&mut bytes, content)?;
        let numbers = content.len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        conversation.sequences[own] = conversation.sequences[own].wrapping_add(numbers);
        self.send(from_client, from.0, bytes)
    }

    /// Puts an IP packet on the wire, in fragments where the story wants them.
    fn send(&mut self, from_client: bool, source: IpAddr, packet: Vec<u8>) -> Result<()> {
        let ether_type = if source.is_ipv4() { 0x0800 } else { 0x86dd };
        let parts = match self.fragment_bytes {
            Some(bytes) if source.is_ipv4() => fragments(&packet, bytes, self.frames.len() as u16)?,
            _ => vec![packet],
        };
        for part in parts {
            let frame = self.carried(from_client, ether_type, &part)?;
            self.frames.push(frame);
        }
        Ok(())
    }

    /// The frame, in a tunnel where the story goes through one.
    fn carried(&self, from_client: bool, ether_type: u16, packet: &[u8]) -> Result<Vec<u8>> {
        let Some(vni) = self.link.vxlan else {
            return Ok(self.ethernet(from_client, ether_type, packet));
        };
        let [from, to] = oriented(TUNNEL_ENDS, from_client);
        let mut content = vec![0x08, 0, 0, 0];
        content.extend((vni << 8).to_be_bytes());
        content.extend(plain_ethernet(from_client, ether_type, packet));
        let mut outer = Vec::new();
        PacketBuilder::ipv4(from, to, 64)
            .udp(49_152, 4789)
            .write(&mut outer, &content)?;
        Ok(self.ethernet(from_client, 0x0800, &outer))
    }

    fn ethernet(&self, from_client: bool, ether_type: u16, content: &[u8]) -> Vec<u8> {
        let mut tagged = Vec::new();
        let tags: Vec<(u16, u16)> = match (self.link.vlan, self.link.qinq) {
            (Some(id), _) => vec![(0x8100, id)],
            (None, Some([outer, inner])) => vec![(0x88a8, outer), (0x8100, inner)],
            (None, None) => Vec::new(),
        };
        let outermost = tags.first().map_or(ether_type, |(kind, _)| *kind);
        for (index, (_, id)) in tags.iter().enumerate() {
            tagged.extend(id.to_be_bytes());
            tagged.extend(
                tags.get(index + 1)
                    .map_or(ether_type, |(kind, _)| *kind)
                    .to_be_bytes(),
            );
        }
        tagged.extend(content);
        plain_ethernet(from_client, outermost, &tagged)
    }

    /// A pcap file with microseconds (the libpcap file format, version 2.4).
    pub fn into_capture(self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(65_535_u32.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        for (index, frame) in (1_u64..).zip(&self.frames) {
            let time_us = 1_700_000_000_000_000 + index * PACE_US;
            file.extend(((time_us / 1_000_000) as u32).to_le_bytes());
            file.extend(((time_us % 1_000_000) as u32).to_le_bytes());
            file.extend([(frame.len() as u32).to_le_bytes(); 2].concat());
            file.extend(frame);
        }
        file
    }
}

/// Begins a packet of the family of both ends.
fn ip_builder(source: IpAddr, destination: IpAddr) -> Result<PacketBuilderStep<IpHeaders>> {
    Ok(match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
        }
        _ => bail!("both ends must be of one family"),
    })
}

fn oriented<T: Copy>(ends: [T; 2], from_client: bool) -> [T; 2] {
    if from_client {
        ends
    } else {
        [ends[1], ends[0]]
    }
}

fn plain_ethernet(from_client: bool, ether_type: u16, content: &[u8]) -> Vec<u8> {
    let [from, to] = oriented([CLIENT_MAC, SERVER_MAC], from_client);
    [&to[..], &from, &ether_type.to_be_bytes(), content].concat()
}

/// An IPv4 packet in fragments.
fn fragments(packet: &[u8], bytes: usize, identification: u16) -> Result<Vec<Vec<u8>>> {
    let (header, content) = Ipv4Header::from_slice(packet)?;
    let bytes = (bytes / 8 * 8).max(8);
    let count = content.len().div_ceil(bytes);
    let fragment = |(index, part): (usize, &[u8])| -> Result<Vec<u8>> {
        let mut header = header.clone();
        header.dont_fragment = false;
        header.identification = identification;
        header.more_fragments = index + 1 < count;
        header.fragment_offset = IpFragOffset::try_new((index * bytes / 8) as u16)?;
        header.set_payload_len(part.len())?;
        let mut fragment = Vec::new();
        header.write(&mut fragment)?;
        fragment.extend(part);
        Ok(fragment)
    };
    content.chunks(bytes).enumerate().map(fragment).collect()
}
