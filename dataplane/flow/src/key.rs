//! What makes two packets part of one flow.
//!
//! Trusts: a decoded [`Packet`]. Distrusts: nothing else; every packet has a key. Gives no reasons,
//! keeps no memory.

use siphasher::sip::SipHasher13;
use weir_wire::protocol::{ICMP, ICMPV6};
use weir_wire::{Ends, Glance, Packet};

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

    /// The key of a plain packet within a zone: what [`Self::of`] makes of it decoded.
    #[inline(always)]
    pub fn of_glance(seen: &Glance, zone: u32) -> Oriented {
        let ports = (seen.source_port, seen.destination_port);
        let (from_low, low, high) = match seen.ends {
            Ends::V4(source, destination) => {
                let end = |address, port| u64::from(address) << 16 | u64::from(port);
                let ends = [end(source, ports.0), end(destination, ports.1)];
                let from_low = ends[0] <= ends[1];
                let [low, high] = in_order(ends, from_low).map(|end| (end >> 16) as u32);
                (from_low, mapped(low), mapped(high))
            }
            Ends::V6(source, destination) => {
                let from_low = (source, ports.0) <= (destination, ports.1);
                let [low, high] = in_order([source, destination], from_low).map(split);
                (from_low, low, high)
            }
        };
        let [low_port, high_port] = in_order([ports.0, ports.1], from_low);
        let key = FlowKey {
            low_address: low,
            high_address: high,
            low_port,
            high_port,
            zone,
            protocol: seen.protocol,
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
}

/// The keyed hash of flows.
///
/// The words of a key go through NH of UMAC (RFC 4418, 5.2; Black et al., 1999) over 64-bit words: sums of
/// products of pairs, each word added to a word of the secret. For any two different keys of one family and
/// protocol, chosen without knowing the secret, the 128-bit results are equal with a probability of 2⁻⁶⁴. That
/// result is folded to 64 bits by another secret multiplication, so that keys which share a bucket tell
/// nothing of which others would: sums alone stay equal when equal numbers are added. Nobody sees hashes;
/// a bucket is bounded whatever falls into it. SipHash-1-3 in its place costs a settled packet 35 % more.
pub(crate) struct KeyHasher {
    words: [u64; 8],
}

impl KeyHasher {
    /// Stretches the secret to the words that are needed.
    pub(crate) fn new(secret: [u64; 2]) -> Self {
        let siphash = SipHasher13::new_with_keys(secret[0], secret[1]);
        Self {
            words: std::array::from_fn(|place| siphash.hash(&[place as u8])),
        }
    }

    /// The hash of every field. Two IPv4 addresses go in as the four bytes each that tell them apart.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        let protocol = u64::from(key.protocol);
        let ports_and_zone =
            u64::from(key.low_port) | u64::from(key.high_port) << 16 | u64::from(key.zone) << 32;
        if let (Some(low), Some(high)) = (ipv4(key.low_address), ipv4(key.high_address)) {
            let addresses = u64::from(low) | u64::from(high) << 32;
            let sum = self.pair(0, addresses, ports_and_zone);
            return self.fold(sum, protocol);
        }
        let [[low0, low1], [high0, high1]] = [key.low_address, key.high_address];
        let sum = self
            .pair(0, low0, low1)
            .wrapping_add(self.pair(2, high0, high1))
            .wrapping_add(self.pair(4, ports_and_zone, 1));
        self.fold(sum, protocol)
    }

    /// A pair of words, with the secret's words at `place`.
    #[inline(always)]
    fn pair(&self, place: usize, one: u64, other: u64) -> u128 {
        let one = one.wrapping_add(self.words[place]);
        let other = other.wrapping_add(self.words[place + 1]);
        u128::from(one) * u128::from(other)
    }

    /// The last step. The protocol is told apart here, where it costs nothing.
    #[inline(always)]
    fn fold(&self, sum: u128, protocol: u64) -> u64 {
        let low = sum as u64 ^ self.words[6];
        let high = ((sum >> 64) as u64 ^ self.words[7]).wrapping_add(protocol);
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    }
}

/// Both, the low end's first.
#[inline(always)]
fn in_order<T: Copy>([source, destination]: [T; 2], from_low: bool) -> [T; 2] {
    match from_low {
        true => [source, destination],
        false => [destination, source],
    }
}

/// The words of an IPv4 address mapped into IPv6.
#[inline(always)]
fn mapped(address: u32) -> [u64; 2] {
    [0, 0xffff_0000_0000 | u64::from(address)]
}

/// The IPv4 address that is mapped into IPv6 here.
#[inline(always)]
fn ipv4(address: [u64; 2]) -> Option<u32> {
    (address[0] == 0 && address[1] >> 32 == 0xffff).then_some(address[1] as u32)
}

#[inline(always)]
fn split(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

fn join(words: [u64; 2]) -> u128 {
    (u128::from(words[0]) << 64) | u128::from(words[1])
}
