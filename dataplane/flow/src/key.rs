//! What makes two packets part of one flow.
//!
//! Trusts: a decoded [`Packet`]. Distrusts: nothing else; every packet has a key. Gives no reasons,
//! keeps no memory.

use std::hint::select_unpredictable;

use siphasher::sip::SipHasher13;
use weir_wire::protocol::{ICMP, ICMPV6};
use weir_wire::{Ends, Glance, Packet};

/// The two endpoints, the protocol and the zone of a flow, ordered so that both directions are equal.
///
/// Six words, which are compared in one go: two of each address (128 bits, IPv4 mapped into IPv6), low port,
/// high port and zone from the lowest bit on, protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey([u64; 6]);

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
        let ports_and_zone = ports_and_zone(low.1, high.1, zone);
        let key = FlowKey::new(split(low.0), split(high.0), ports_and_zone, packet.protocol);
        Oriented { key, from_low }
    }

    #[inline(always)]
    fn new(low: [u64; 2], high: [u64; 2], ports_and_zone: u64, protocol: u8) -> Self {
        let protocol = u64::from(protocol);
        Self([low[0], low[1], high[0], high[1], ports_and_zone, protocol])
    }

    /// Source address and port, destination address and port of a packet with that orientation.
    pub fn endpoints(&self, from_low: bool) -> (u128, u16, u128, u16) {
        let [low0, low1, high0, high1, ports, _] = self.0;
        let (low, high) = (join([low0, low1]), join([high0, high1]));
        let (low_port, high_port) = (ports as u16, (ports >> 16) as u16);
        if from_low {
            (low, low_port, high, high_port)
        } else {
            (high, high_port, low, low_port)
        }
    }

    /// Whether both are equal, by words: the derived comparison is a call of memcmp, which runs 17 instructions of the
    /// 393 of a settled datagram, beside the call itself.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        let words = self.0.iter().zip(&other.0);
        words.fold(0, |different, (one, two)| different | (one ^ two)) == 0
    }

    /// Its six words, from which [`Self::from_words`] makes it again.
    pub fn words(&self) -> [u64; 6] {
        self.0
    }

    /// The key of these words. None: no packet has such a key.
    pub fn from_words(words: [u64; 6]) -> Option<Self> {
        let [low0, low1, high0, high1, ports, protocol] = words;
        let low = (join([low0, low1]), ports as u16);
        let high = (join([high0, high1]), (ports >> 16) as u16);
        (low <= high && protocol <= u64::from(u8::MAX)).then_some(Self(words))
    }

    /// IANA protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0[5] as u8
    }

    /// The zone the addresses belong to.
    #[inline]
    pub fn zone(&self) -> u32 {
        (self.0[4] >> 32) as u32
    }
}

/// The keyed hash of flows.
///
/// The words of a key go through NH of UMAC (RFC 4418, 5.2; Black et al., 1999) over 64-bit words: sums of
/// products of pairs, each word added to a word of the secret. For any two different keys of one family and
/// protocol, chosen without knowing the secret, the 128-bit results are equal with a probability of 2⁻⁶⁴. That
/// result is folded to 64 bits by another secret multiplication, so that keys which share a bucket tell
/// nothing of which others would: sums alone stay equal when equal numbers are added. Nobody sees hashes;
/// a bucket is bounded whatever falls into it. SipHash-1-3
/// takes some hundred instructions more, a quarter of what a settled packet costs.
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
        let [low0, low1, high0, high1, ports_and_zone, protocol] = key.0;
        if let (Some(low), Some(high)) = (ipv4([low0, low1]), ipv4([high0, high1])) {
            return self.hash_ipv4(low, high, ports_and_zone, protocol);
        }
        let sum = self
            .pair(0, low0, low1)
            .wrapping_add(self.pair(2, high0, high1))
            .wrapping_add(self.pair(4, ports_and_zone, 1));
        self.fold(sum, protocol)
    }

    #[inline(always)]
    fn hash_ipv4(&self, low: u32, high: u32, ports_and_zone: u64, protocol: u64) -> u64 {
        let addresses = u64::from(low) | u64::from(high) << 32;
        self.fold(self.pair(0, addresses, ports_and_zone), protocol)
    }

    /// The key of a plain packet within a zone and its hash: what [`FlowKey::of`] and [`Self::hash`] make
    /// of it decoded.
    #[inline(always)]
    pub(crate) fn key(&self, seen: &Glance, zone: u32) -> (Oriented, u64) {
        let (source_port, destination_port) = (seen.source_port, seen.destination_port);
        let (source, destination) = match seen.ends {
            Ends::V4(source, destination) => {
                let end = |address, port| u64::from(address) << 16 | u64::from(port);
                let from_low = end(source, source_port) <= end(destination, destination_port);
                let (low, high) = in_order(source, destination, from_low);
                let (low_port, high_port) = in_order(source_port, destination_port, from_low);
                let ports = ports_and_zone(low_port, high_port, zone);
                let hash = self.hash_ipv4(low, high, ports, u64::from(seen.protocol));
                let key = FlowKey::new(mapped(low), mapped(high), ports, seen.protocol);
                return (Oriented { key, from_low }, hash);
            }
            Ends::V6(source, destination) => (source, destination),
        };
        let from_low = (source, source_port) <= (destination, destination_port);
        let (low, high) = in_order(source, destination, from_low);
        let (low_port, high_port) = in_order(source_port, destination_port, from_low);
        let ports = ports_and_zone(low_port, high_port, zone);
        let key = FlowKey::new(split(low), split(high), ports, seen.protocol);
        (Oriented { key, from_low }, self.hash(&key))
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

/// One word of the key.
#[inline(always)]
fn ports_and_zone(low_port: u16, high_port: u16, zone: u32) -> u64 {
    u64::from(low_port) | u64::from(high_port) << 16 | u64::from(zone) << 32
}

/// Both, the low end's first, without a branch: which end is the low one nobody can predict.
#[inline(always)]
fn in_order<T: Copy>(source: T, destination: T, from_low: bool) -> (T, T) {
    (
        select_unpredictable(from_low, source, destination),
        select_unpredictable(from_low, destination, source),
    )
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
