//! Which identity an address belongs to: longest prefix, a zone before none.
//!
//! One exact-match table for each prefix length that occurs, longest first: a lookup asks at most
//! 129 of them, in practice two or three, and never allocates. The keys come from the policy, so
//! nobody on the wire can grow or unbalance a table.
//!
//! IPv4 is mapped into IPv6. An IPv4 address is only ever looked for in networks of 96 bits and
//! more: `::/0` means all of IPv6, not IPv4 as well.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::spec::AddressSpec;

/// Bits before the IPv4 address in its mapped form.
const IPV4_PREFIX_BITS: u8 = 96;

#[derive(Debug, Default)]
pub(crate) struct AddressTable {
    /// Longest prefix first.
    lengths: Vec<Length>,
}

#[derive(Debug)]
struct Length {
    prefix_bits: u8,
    zoned: HashMap<(u128, u32), u32, FixedState>,
    anywhere: HashMap<u128, u32, FixedState>,
}

impl AddressTable {
    pub(crate) fn new(addresses: &[AddressSpec]) -> Self {
        let mut lengths: Vec<u8> = addresses
            .iter()
            .map(|address| address.prefix_bits)
            .collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        let mut lengths: Vec<Length> = lengths.into_iter().map(Length::new).collect();
        for address in addresses {
            if let Some(length) = lengths
                .iter_mut()
                .find(|length| length.prefix_bits == address.prefix_bits)
            {
                length.insert(address);
            }
        }
        Self { lengths }
    }

    pub(crate) fn find(&self, zone: u32, address: u128) -> Option<u32> {
        let least_bits = if is_ipv4(address) {
            IPV4_PREFIX_BITS
        } else {
            0
        };
        self.lengths
            .iter()
            .take_while(|length| length.prefix_bits >= least_bits)
            .find_map(|length| length.find(zone, address))
    }
}

impl Length {
    fn new(prefix_bits: u8) -> Self {
        Self {
            prefix_bits,
            zoned: HashMap::default(),
            anywhere: HashMap::default(),
        }
    }

    fn insert(&mut self, address: &AddressSpec) {
        match address.zone {
            Some(zone) => self.zoned.insert((address.network, zone), address.identity),
            None => self.anywhere.insert(address.network, address.identity),
        };
    }

    fn find(&self, zone: u32, address: u128) -> Option<u32> {
        let network = address & mask(self.prefix_bits);
        // Most policies bind nothing to a zone; an empty table answers without hashing.
        self.zoned
            .get(&(network, zone))
            .or_else(|| self.anywhere.get(&network))
            .copied()
    }
}

/// The network bits of a prefix over the 128-bit form.
pub(crate) fn mask(prefix_bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix_bits.min(128)))
        .unwrap_or(0)
}

fn is_ipv4(address: u128) -> bool {
    address >> 32 == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(network: u128, prefix_bits: u8, zone: Option<u32>, identity: u32) -> AddressSpec {
        AddressSpec {
            network: network & mask(prefix_bits),
            prefix_bits,
            zone,
            identity,
        }
    }

    fn address(text: &str) -> u128 {
        weir_wire::from_ip_address(text.parse().unwrap())
    }

    /// Slow and obvious: the best of all entries that contain the address.
    fn oracle(addresses: &[AddressSpec], zone: u32, wanted: u128) -> Option<u32> {
        addresses
            .iter()
            .filter(|entry| wanted & mask(entry.prefix_bits) == entry.network)
            .filter(|entry| entry.zone.is_none_or(|bound| bound == zone))
            .filter(|entry| !is_ipv4(wanted) || entry.prefix_bits >= 96)
            .max_by_key(|entry| (entry.prefix_bits, entry.zone.is_some()))
            .map(|entry| entry.identity)
    }

    #[test]
    fn longest_prefix_then_zone() {
        let table = AddressTable::new(&[
            entry(address("10.0.0.0"), 104, None, 1),
            entry(address("10.1.0.0"), 112, None, 2),
            entry(address("10.1.0.0"), 112, Some(7), 3),
            entry(address("10.1.0.9"), 128, None, 4),
            entry(0, 0, None, 5),
        ]);
        assert_eq!(table.find(0, address("10.9.9.9")), Some(1));
        assert_eq!(table.find(0, address("10.1.2.3")), Some(2));
        assert_eq!(table.find(7, address("10.1.2.3")), Some(3));
        assert_eq!(
            table.find(7, address("10.1.0.9")),
            Some(4),
            "a longer prefix wins over a zone"
        );
        assert_eq!(table.find(0, address("2001:db8::1")), Some(5));
        assert_eq!(
            table.find(0, address("192.0.2.1")),
            None,
            "::/0 is not IPv4"
        );
    }

    fn any_entries() -> impl Strategy<Value = Vec<AddressSpec>> {
        let one = (
            0u128..32,
            any::<bool>(),
            88u8..=128,
            proptest::option::of(0u32..2),
            1u32..9,
        )
            .prop_map(|(low, ipv4, prefix_bits, zone, identity)| {
                let base = if ipv4 {
                    0xffff_0000_0000
                } else {
                    0xfffe_0000_0000
                };
                entry(base | low << (low % 30), prefix_bits, zone, identity)
            });
        proptest::collection::vec(one, 0..24).prop_map(|mut entries| {
            entries.sort();
            entries.dedup_by_key(|entry| (entry.network, entry.prefix_bits, entry.zone));
            entries
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(entries in any_entries(), low in 0u128..32, ipv4: bool, zone in 0u32..3) {
            let base = if ipv4 { 0xffff_0000_0000 } else { 0xfffe_0000_0000 };
            let wanted = base | low << (low % 30);
            prop_assert_eq!(AddressTable::new(&entries).find(zone, wanted), oracle(&entries, zone, wanted));
        }
    }
}
