//! Frames, and a follower of flows that does what track does for the detectors.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use etherparse::{PacketBuilder, TcpHeader};
use weir_wire::tcp_flags::{ACK, FIN, RST, SYN};
use weir_wire::{DecodeOptions, Direction, Packet, Reason, decode, protocol};

use crate::network::{Network, Settings, Shared, Watch};
use crate::{Config, Connection, Ending, Finding, Found, Threat};

pub type End = ([u8; 4], u16);

pub const PSH_URG: u8 = 8 | 32;

/// A TCP segment; the rest is usual.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    pub flags: u8,
    pub sequence: u32,
    pub window: u16,
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

pub fn segment(flags: u8) -> Segment<'static> {
    Segment {
        flags,
        sequence: 1,
        window: 60_000,
        options: &[],
        payload: &[],
    }
}

pub fn tcp(source: End, destination: End, segment: Segment<'_>) -> Vec<u8> {
    let mut header = TcpHeader::new(source.1, destination.1, segment.sequence, segment.window);
    let flag = |bit: u8| segment.flags & bit != 0;
    (header.fin, header.syn, header.rst) = (flag(FIN), flag(SYN), flag(RST));
    (header.psh, header.ack, header.urg) = (flag(8), flag(ACK), flag(32));
    header.set_options_raw(segment.options).unwrap();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source.0, destination.0, 64)
        .tcp_header(header)
        .write(&mut frame, segment.payload)
        .unwrap();
    frame
}

pub fn udp(source: End, destination: End, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source.0, destination.0, 64)
        .udp(source.1, destination.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

pub fn icmp(
    source: [u8; 4],
    destination: [u8; 4],
    kind: u8,
    id: u16,
    sequence: u16,
    content: &[u8],
) -> Vec<u8> {
    let [a, b] = id.to_be_bytes();
    let [c, d] = sequence.to_be_bytes();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source, destination, 64)
        .icmpv4_raw(kind, 0, [a, b, c, d])
        .write(&mut frame, content)
        .unwrap();
    frame
}

pub fn address(address: [u8; 4]) -> u128 {
    weir_wire::from_ip_address(Ipv4Addr::from(address).into())
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passed,
    Dropped,
}

type FlowKey = (u8, u128, u16, u128, u16);

pub struct Bench {
    pub network: Network,
    pub config: Config,
    pub now_us: u64,
    pub findings: Vec<Finding>,
    flows: HashMap<FlowKey, (Connection, Watch)>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(&settings, [3, 4]));
        Self {
            network: Network::new(shared),
            config: Config {
                network: settings,
                ..Config::default()
            },
            now_us: 5_000_000,
            findings: Vec::new(),
            flows: HashMap::new(),
        }
    }

    /// Lets time go by.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now_us += ms * 1000;
    }

    pub fn told(&self, threat: Threat) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.threat == threat)
            .count()
    }

    pub fn sign(&self, threat: Threat) -> Option<&'static str> {
        let finding = self
            .findings
            .iter()
            .find(|finding| finding.threat == threat)?;
        Some(finding.evidence.sign)
    }

    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    fn note(&mut self, mut found: Found) -> Fate {
        let drops = found.drops() || found.sheds();
        self.findings.extend(found.drain());
        if drops { Fate::Dropped } else { Fate::Passed }
    }

    /// Takes a frame along: as arriving where it begins a flow, then as a packet of its flow.
    pub fn send(&mut self, frame: &[u8]) -> Fate {
        let packet = decode(frame, &DecodeOptions::default()).unwrap();
        let (key, direction) = self.orient(&packet);
        let opens = !self.flows.contains_key(&key);
        if opens {
            if packet.protocol == protocol::TCP && packet.tcp.flags & (SYN | RST | ACK) == 0 {
                return self.object(Reason::TcpFlags, &packet);
            }
            let mut found = Found::new();
            self.network
                .arriving(&self.config, 0, &packet, frame, self.now_us, &mut found);
            if self.note(found) == Fate::Dropped {
                return Fate::Dropped;
            }
        }
        let (mut connection, mut watch) = match self.flows.get(&key) {
            Some(flow) => *flow,
            None => (begin(key, &packet, self.now_us), Watch::default()),
        };
        connection.packets[direction as usize] += 1;
        let mut found = Found::new();
        self.network.packet(
            &self.config,
            &mut watch,
            &connection,
            direction,
            &packet,
            frame,
            self.now_us,
            &mut found,
        );
        self.flows.insert(key, (connection, watch));
        self.note(found)
    }

    pub fn object(&mut self, reason: Reason, packet: &Packet) -> Fate {
        let mut found = Found::new();
        self.network
            .objection(&self.config, reason, 0, packet, self.now_us, &mut found);
        self.note(found)
    }

    /// An ICMP error quotes this frame.
    pub fn unreachable(&mut self, frame: &[u8]) {
        let packet = decode(frame, &DecodeOptions::default()).unwrap();
        let (key, _) = self.orient(&packet);
        let (connection, watch) = self.flows.get_mut(&key).unwrap();
        let mut found = Found::new();
        self.network
            .unreachable(&self.config, watch, connection, self.now_us, &mut found);
        self.note(found);
    }

    /// Every flow is over.
    pub fn end(&mut self) {
        for (_, (connection, mut watch)) in std::mem::take(&mut self.flows) {
            let ending = Ending {
                was_established: false,
                bytes: [0; 2],
            };
            let mut found = Found::new();
            self.network.closed(
                &self.config,
                &mut watch,
                &connection,
                &ending,
                self.now_us,
                &mut found,
            );
            self.note(found);
        }
    }

    fn orient(&self, packet: &Packet) -> (FlowKey, Direction) {
        let ports = match packet.protocol {
            protocol::ICMP => (packet.destination_port, packet.destination_port),
            _ => (packet.source_port, packet.destination_port),
        };
        let forth = (
            packet.protocol,
            packet.source,
            ports.0,
            packet.destination,
            ports.1,
        );
        let back = (
            packet.protocol,
            packet.destination,
            ports.1,
            packet.source,
            ports.0,
        );
        match self.flows.contains_key(&back) {
            true => (back, Direction::ToClient),
            false => (forth, Direction::ToServer),
        }
    }

    /// A whole handshake; where `answers` is a reset or nothing, what there is of it.
    pub fn connect(&mut self, client: End, server: End) -> Fate {
        if self.send(&tcp(client, server, segment(SYN))) == Fate::Dropped {
            return Fate::Dropped;
        }
        self.send(&tcp(server, client, segment(SYN | ACK)));
        self.send(&tcp(client, server, segment(ACK)))
    }

    pub fn refuse(&mut self, client: End, server: End) {
        self.send(&tcp(client, server, segment(SYN)));
        self.send(&tcp(server, client, segment(RST | ACK)));
    }
}

fn begin(key: FlowKey, packet: &Packet, now_us: u64) -> Connection {
    let (protocol, client, client_port, server, server_port) = key;
    Connection {
        number: 1,
        zone: 0,
        client,
        server,
        client_port,
        server_port,
        protocol,
        application: None,
        from_start: protocol != weir_wire::protocol::TCP || packet.tcp.flags & SYN != 0,
        first_seen_us: now_us,
        packets: [0; 2],
    }
}
