//! Which identity an address would be taken for if its own were not known: the one whose network lies
//! next around it.

use std::collections::BTreeMap;

use weir_policy::spec::{AddressSpec, UNKNOWN_IDENTITY};

use crate::change::AddressKey;

/// Networks in the order in which those within another one follow it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nest {
    networks: BTreeMap<(u128, u8), Zones>,
    /// How many networks have this prefix length: lengths that nobody has are not looked for.
    lengths: BTreeMap<u8, usize>,
}

/// Whose a network is, by zone; `None` (every zone) sorts first.
type Zones = BTreeMap<Option<u32>, u32>;

/// The least prefix of IPv4 networks in the 128-bit form.
const IPV4_PREFIX_BITS: u8 = 96;

impl Nest {
    pub(crate) fn of(addresses: &[AddressSpec]) -> Self {
        let mut nest = Self::default();
        for address in addresses {
            nest.put(address);
        }
        nest
    }

    /// Returns whose it was.
    pub(crate) fn put(&mut self, address: &AddressSpec) -> Option<u32> {
        let key = (address.network, address.prefix_bits);
        let zones = self.networks.entry(key).or_insert_with(|| {
            *self.lengths.entry(address.prefix_bits).or_default() += 1;
            Zones::default()
        });
        zones.insert(address.zone, address.identity)
    }

    /// The identities that addresses of this network would be taken for, by zone, if it were not
    /// there: each is given to `found`, some of them several times.
    pub(crate) fn parents(
        &self,
        (network, prefix_bits, zone): AddressKey,
        mut found: impl FnMut(u32),
    ) {
        if zone.is_some()
            && let Some(&identity) =
                (self.networks.get(&(network, prefix_bits))).and_then(|zones| zones.get(&None))
        {
            found(identity);
            return;
        }
        let ipv4 = network >> 32 == 0xffff && prefix_bits >= IPV4_PREFIX_BITS;
        let least_bits = if ipv4 { IPV4_PREFIX_BITS } else { 0 };
        for (&bits, _) in self.lengths.range(least_bits..prefix_bits).rev() {
            let Some(zones) = self.networks.get(&(network & mask(bits), bits)) else {
                continue;
            };
            match zone {
                Some(_) => {
                    if let Some(&identity) = zones.get(&zone).or_else(|| zones.get(&None)) {
                        found(identity);
                        return;
                    }
                }
                None => {
                    // What holds in one zone only leaves the others to wider networks.
                    for &identity in zones.values() {
                        found(identity);
                    }
                    if zones.contains_key(&None) {
                        return;
                    }
                }
            }
        }
        found(UNKNOWN_IDENTITY);
    }
}

fn mask(prefix_bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix_bits))
        .unwrap_or(0)
}
