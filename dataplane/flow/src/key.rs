//! What makes two packets part of one flow.
//!
//! Trusts: a decoded [`Packet`]. Distrusts: nothing else; every packet has a key. Gives no reasons,
//! keeps no memory.

use siphasher::sip::SipHasher13;
use weir_wire::Packet;
use weir_wire::protocol::{ICMP, ICMPV6};

/// The two endpoints, the protocol and the zone of a flow, ordered so that both directions are equal.
///
/// Addresses are 128 bits, IPv4 mapped into IPv6, kept as two words so that the key is 48 bytes and
/// fits into the flow's one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    low_address: [u64; 2],
    high_address: [u64; 2],
    low_port: u16,
    high_port: u16,
    zone: u32,
    protocol: u8,
}

/// A key, and which way round the packet had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oriented {
    /// The key, the same for both directions.
    pub key: FlowKey,
    /// True when the packet's source is the key's low endpoint.
    pub from_low: bool,
}

impl FlowKey {
    /// The key of a packet within a zone (what the node makes of port, VLAN or VNI).
    ///
    /// ICMP and ICMPv6 messages with an echo identifier carry it as both ports, so that request and
    /// reply meet; all others between two addresses share one flow whatever their type and code.
    /// A fragment (one that was not put together) has no ports.
    #[inline]
    pub fn of(packet: &Packet, zone: u32) -> Oriented {
        let (source_port, destination_port) = match packet.protocol {
            _ if packet.fragment.is_some() => (0, 0),
            ICMP | ICMPV6 => (packet.destination_port, packet.destination_port),
            _ => (packet.source_port, packet.destination_port),
        };
        let source = (packet.source, source_port);
        let destination = (packet.destination, destination_port);
        let from_low = source <= destination;
        let (low, high) = if from_low {
            (source, destination)
        } else {
            (destination, source)
        };
        let key = FlowKey {
            low_address: split(low.0),
            high_address: split(high.0),
            low_port: low.1,
            high_port: high.1,
            zone,
            protocol: packet.protocol,
        };
        Oriented { key, from_low }
    }

    /// Source address and port, destination address and port of a packet with that orientation.
    pub fn endpoints(&self, from_low: bool) -> (u128, u16, u128, u16) {
        let (low, high) = (join(self.low_address), join(self.high_address));
        if from_low {
            (low, self.low_port, high, self.high_port)
        } else {
            (high, self.high_port, low, self.low_port)
        }
    }

    /// IANA protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The zone the addresses belong to.
    #[inline]
    pub fn zone(&self) -> u32 {
        self.zone
    }

    /// The key's hash: every field, no padding. Two IPv4 addresses go in as the four bytes each
    /// that tell them apart, which halves the work; SipHash ends with the length, so that no short
    /// form meets a long one. 4 % of a settled packet.
    #[inline]
    pub(crate) fn hash(&self, hasher: &SipHasher13) -> u64 {
        let ports_and_zone =
            u64::from(self.low_port) | u64::from(self.high_port) << 16 | u64::from(self.zone) << 32;
        if let (Some(low), Some(high)) = (ipv4(self.low_address), ipv4(self.high_address)) {
            let addresses = u64::from(low) | u64::from(high) << 32;
            return hasher.hash(&bytes::<2, 17>([addresses, ports_and_zone], self.protocol));
        }
        let [[low0, low1], [high0, high1]] = [self.low_address, self.high_address];
        let words = [low0, low1, high0, high1, ports_and_zone];
        hasher.hash(&bytes::<5, 41>(words, self.protocol))
    }
}

/// The words and the byte behind them.
#[inline]
fn bytes<const WORDS: usize, const LENGTH: usize>(words: [u64; WORDS], last: u8) -> [u8; LENGTH] {
    let mut bytes = [last; LENGTH];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The IPv4 address that is mapped into IPv6 here.
#[inline]
fn ipv4(address: [u64; 2]) -> Option<u32> {
    (address[0] == 0 && address[1] >> 32 == 0xffff).then_some(address[1] as u32)
}

fn split(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

fn join(words: [u64; 2]) -> u128 {
    (u128::from(words[0]) << 64) | u128::from(words[1])
}
