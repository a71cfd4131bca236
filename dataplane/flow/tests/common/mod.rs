//! What several tests need: packets made by hand.
#![allow(dead_code)] // each test binary uses its own part

pub mod story;

use weir_flow::{FlowKey, Oriented};
use weir_wire::{Kind, Packet, Segment, TcpFields};

/// An IPv4 TCP packet with nothing in it.
pub fn packet() -> Packet {
    Packet {
        kind: Kind::Ip,
        ether_type: 0x0800,
        segment: Segment::None,
        tunnels: 0,
        source: 0xffff_0a00_0001,
        destination: 0xffff_0a00_0002,
        is_ipv4: true,
        protocol: 6,
        hop_limit: 64,
        fragment: None,
        source_port: 0,
        destination_port: 0,
        tcp: TcpFields::default(),
        network_offset: 14,
        transport_offset: 34,
        payload_offset: 54,
        payload_end: 54,
    }
}

/// The key of a flow between two numbered ends.
pub fn key(source: u32, source_port: u16, destination: u32, destination_port: u16) -> Oriented {
    let packet = Packet {
        source: u128::from(source),
        destination: u128::from(destination),
        source_port,
        destination_port,
        ..packet()
    };
    FlowKey::of(&packet, 0)
}

/// A small generator for stories that a seed repeats.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
