//! Keys of the tables: hashed with the node's secret, so that nobody outside knows which share a place.

use siphasher::sip::SipHasher13;

/// What a key stands for; equal addresses of different kinds never meet.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A sender.
    Source = 1,
    /// A receiver.
    Target,
    /// Sender and receiver.
    Pair,
    /// ICMP from one to the other.
    PairIcmp,
    /// DNS questions from one to the other.
    PairDns,
    /// DHCP in a network.
    Dhcp,
    /// A connection's beginning, number included.
    Opening,
    /// Client, server and port.
    Service,
    /// A port of a host.
    Place,
    /// A threat that was told, and of whom.
    Told,
}

/// Makes keys.
///
/// Three pairs of words go through NH of UMAC (RFC 4418, 5.2), each word added to a word of the secret, and
/// what comes of it through one more secret multiplication, as flows' keys do in `weir_flow`: without knowing
/// the secret nobody can name two keys that are more likely to meet than any two. SipHash-1-3 took 4 % of the
/// instructions of new flows more.
#[derive(Clone, Copy, Debug)]
pub struct Keys([u64; 8]);

impl Keys {
    /// With the node's secret, which is the same for all its workers.
    pub fn new(secret: [u64; 2]) -> Self {
        let siphash = SipHasher13::new_with_keys(secret[0], secret[1]);
        Self(std::array::from_fn(|place| siphash.hash(&[place as u8])))
    }

    /// The key of two addresses and a number in a zone; zero for what there is not.
    #[inline]
    pub fn of(&self, kind: Kind, zone: u32, one: u128, other: u128, number: u64) -> u64 {
        let halves = |address: u128| [address as u64, (address >> 64) as u64];
        let [pair0, pair1] = [halves(one), halves(other)];
        let pair2 = [number, u64::from(zone) << 8 | kind as u64];
        let product = |[one, other]: [u64; 2], place: usize| {
            u128::from(one.wrapping_add(self.0[place]))
                * u128::from(other.wrapping_add(self.0[place + 1]))
        };
        let sum = product(pair0, 0)
            .wrapping_add(product(pair1, 2))
            .wrapping_add(product(pair2, 4));
        let [low, high] = halves(sum);
        let [low, high] = halves(u128::from(low ^ self.0[6]) * u128::from(high ^ self.0[7]));
        low ^ high
    }
}

/// Who an address is: IPv4 addresses, unique local and link-local ones each for itself; of global IPv6
/// addresses the network, since whoever has one has 2^64 of them.
pub fn sender(address: u128) -> u128 {
    let is_global_v6 = address >> 125 == 1;
    if is_global_v6 {
        address >> 64 << 64
    } else {
        address
    }
}

/// Whether the address stands for many hosts: multicast, limited broadcast, or nobody.
pub fn is_group(address: u128) -> bool {
    match v4(address) {
        Some(v4) => v4 == u32::MAX || v4 >> 28 == 0xe || v4 == 0,
        None => address >> 120 == 0xff || address == 0,
    }
}

/// Whether the address is one of the host's own (127.0.0.0/8, ::1).
pub fn is_loopback(address: u128) -> bool {
    v4(address).map_or(address == 1, |v4| v4 >> 24 == 127)
}

/// Whether the address lies outside of every private network, so that anybody may have it.
pub fn is_public(address: u128) -> bool {
    let Some(v4) = v4(address) else {
        return address >> 125 == 1;
    };
    let [a, b, ..] = v4.to_be_bytes();
    let private = matches!((a, b), (0 | 10 | 127, _) | (192, 168) | (169, 254))
        || a == 172 && b >> 4 == 1
        || a == 100 && b >> 6 == 1;
    !private && a < 224
}

/// The IPv4 address that is mapped into IPv6.
pub fn v4(address: u128) -> Option<u32> {
    (address >> 32 == 0xffff).then_some(address as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> u128 {
        weir_wire::from_ip_address(text.parse().unwrap())
    }

    #[test]
    fn keys_differ_by_each_part_and_by_the_secret() {
        let keys = Keys::new([1, 2]);
        let mut seen = std::collections::HashSet::new();
        for bit in 0..128 {
            assert!(seen.insert(keys.of(Kind::Pair, 0, 1 << bit, 0, 0)));
            assert!(seen.insert(keys.of(Kind::Pair, 0, 0, 1 << bit, 0)));
        }
        for bit in 0..64 {
            assert!(seen.insert(keys.of(Kind::Pair, 0, 0, 0, 1 << bit)));
        }
        for bit in 0..32 {
            assert!(seen.insert(keys.of(Kind::Pair, 1 << bit, 0, 0, 0)));
        }
        for kind in [Kind::Source, Kind::Target, Kind::Pair] {
            assert!(seen.insert(keys.of(kind, 0, 0, 0, 0)));
        }
        assert!(seen.insert(Keys::new([1, 3]).of(Kind::Pair, 0, 0, 0, 0)));
        assert_eq!(
            keys.of(Kind::Pair, 7, 8, 9, 1),
            keys.of(Kind::Pair, 7, 8, 9, 1)
        );
    }

    /// Each set of a table gets its share of consecutive addresses, as scans and floods have them.
    #[test]
    fn consecutive_addresses_spread_evenly() {
        let keys = Keys::new([3, 4]);
        let mut sets = [0u32; 256];
        for address in 0..256 * 64 {
            let key = keys.of(Kind::Source, 0, 0xffff_0a00_0000 + address, 0, 0);
            sets[key as usize % sets.len()] += 1;
        }
        assert!(
            sets.iter().all(|count| (20..120).contains(count)),
            "{sets:?}"
        );
    }

    #[test]
    fn addresses_are_told_apart() {
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(address(public)), "{public}");
        }
        for private in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "fd00::1",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert!(!is_public(address(private)), "{private}");
        }
        assert!(is_group(address("239.1.1.1")) && is_group(address("ff02::1")));
        assert!(!is_group(address("10.0.0.255")));
        assert_eq!(
            sender(address("2001:db8::1")),
            sender(address("2001:db8::2"))
        );
        assert_ne!(sender(address("fd00::1")), sender(address("fd00::2")));
        assert_ne!(sender(address("10.0.0.1")), sender(address("10.0.0.2")));
    }
}
