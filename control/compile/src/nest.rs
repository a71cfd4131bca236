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

    /// Returns whose it was.
    pub(crate) fn remove(&mut self, (network, prefix_bits, zone): AddressKey) -> Option<u32> {
        let zones = self.networks.get_mut(&(network, prefix_bits))?;
        let identity = zones.remove(&zone);
        if zones.is_empty() {
            self.networks.remove(&(network, prefix_bits));
            if let Some(count) = self.lengths.get_mut(&prefix_bits) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix_bits);
                }
            }
        }
        identity
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

    /// Whose exactly this network is.
    pub(crate) fn owner(&self, (network, prefix_bits, zone): AddressKey) -> Option<u32> {
        self.networks
            .get(&(network, prefix_bits))?
            .get(&zone)
            .copied()
    }

    /// Whose exactly this network is in any zone.
    pub(crate) fn at(&self, network: u128, prefix_bits: u8) -> impl Iterator<Item = u32> + '_ {
        let zones = self.networks.get(&(network, prefix_bits));
        zones.into_iter().flat_map(|zones| zones.values().copied())
    }

    /// Whose networks within this one are, without itself.
    pub(crate) fn within(&self, network: u128, prefix_bits: u8) -> impl Iterator<Item = u32> + '_ {
        let last = network | !mask(prefix_bits);
        let range = self.networks.range((network, prefix_bits)..=(last, 128));
        let inner = range.filter(move |((_, bits), _)| *bits > prefix_bits);
        inner.flat_map(|(_, zones)| zones.values().copied())
    }
}

fn mask(prefix_bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix_bits))
        .unwrap_or(0)
}
