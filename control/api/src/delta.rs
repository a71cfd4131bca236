//! The difference of two snapshots, and a snapshot with a difference applied.

use std::collections::BTreeMap;

use prost::Message;
use sha2::{Digest, Sha256};

use crate::v1;

/// Why a delta cannot be applied. The remedy for each is a full snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It changes another version than the one at hand.
    #[error(
        "the delta changes version {wanted}, but version {have} is at hand; a full snapshot is needed"
    )]
    Base {
        /// The version the delta changes.
        wanted: u64,
        /// The version at hand.
        have: u64,
    },
    /// The result is not what the sender meant.
    #[error(
        "version {version} has checksum {have:016x} instead of {wanted:016x} after the delta; a full snapshot is needed"
    )]
    Checksum {
        /// The version that the delta leads to.
        version: u64,
        /// The checksum in the delta.
        wanted: u64,
        /// The checksum of the result.
        have: u64,
    },
}

/// The checksum of a snapshot's content: equal policy has equal checksums, whatever the version.
pub fn checksum(snapshot: &v1::Snapshot) -> u64 {
    let mut content = snapshot.clone();
    content.checksum = 0;
    content.version = 0;
    let digest = Sha256::digest(content.encode_to_vec());
    digest
        .iter()
        .take(8)
        .rev()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// What changes from `old` to `new`.
pub fn delta(old: &v1::Snapshot, new: &v1::Snapshot) -> v1::Delta {
    let (removed_identities, identities) =
        changes(&old.identities, &new.identities, |identity| identity.id);
    let (removed_addresses, addresses) = changes(&old.addresses, &new.addresses, address_key);
    let (removed_names, names) = changes(&old.names, &new.names, |name| name.pattern.clone());
    let (removed_rules, rules) = changes(&old.rules, &new.rules, |rule| rule.id);
    let (removed_sensors, sensors) = changes(&old.sensors, &new.sensors, |sensor| sensor.id);
    v1::Delta {
        base_version: old.version,
        version: new.version,
        checksum: checksum(new),
        removed_identities,
        removed_addresses: removed_addresses
            .into_iter()
            .map(AddressKey::into_message)
            .collect(),
        removed_names,
        removed_rules,
        identities,
        addresses,
        names,
        rules,
        unknown: new.unknown,
        link: new.link.clone(),
        deny_style: new.deny_style,
        removed_sensors,
        sensors,
        bundle: (old.bundle != new.bundle).then(|| new.bundle.clone().unwrap_or_default()),
    }
}

/// `base` with the changes of `delta`: exactly the snapshot the sender has, or an error.
pub fn apply(base: &v1::Snapshot, delta: &v1::Delta) -> Result<v1::Snapshot, ApplyError> {
    if base.version != delta.base_version {
        return Err(ApplyError::Base {
            wanted: delta.base_version,
            have: base.version,
        });
    }
    let removed_addresses: Vec<AddressKey> =
        delta.removed_addresses.iter().map(address_key).collect();
    let mut result = v1::Snapshot {
        version: delta.version,
        checksum: 0,
        identities: changed(
            &base.identities,
            &delta.removed_identities,
            &delta.identities,
            |identity| identity.id,
        ),
        addresses: changed(
            &base.addresses,
            &removed_addresses,
            &delta.addresses,
            address_key,
        ),
        names: changed(&base.names, &delta.removed_names, &delta.names, |name| {
            name.pattern.clone()
        }),
        rules: changed(&base.rules, &delta.removed_rules, &delta.rules, |rule| {
            rule.id
        }),
        unknown: delta.unknown,
        link: delta.link.clone(),
        deny_style: delta.deny_style,
        sensors: changed(
            &base.sensors,
            &delta.removed_sensors,
            &delta.sensors,
            |sensor| sensor.id,
        ),
        bundle: match &delta.bundle {
            None => base.bundle.clone(),
            Some(bundle) => Some(bundle.clone()).filter(|bundle| !bundle.payload.is_empty()),
        },
    };
    result.checksum = checksum(&result);
    if result.checksum != delta.checksum {
        return Err(ApplyError::Checksum {
            version: delta.version,
            wanted: delta.checksum,
            have: result.checksum,
        });
    }
    Ok(result)
}

/// Orders addresses as [`weir_policy::spec::AddressSpec`] does: by network in its 128-bit form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AddressKey {
    mapped: u128,
    mapped_prefix_bits: u32,
    zone: Option<u32>,
    network: Vec<u8>,
}

impl AddressKey {
    fn into_message(self) -> v1::Address {
        let base_bits = if self.network.len() == 4 { 96 } else { 0 };
        let prefix_bits = self.mapped_prefix_bits.saturating_sub(base_bits);
        v1::Address {
            network: self.network,
            prefix_bits,
            identity: 0,
            zone: self.zone,
        }
    }
}

fn address_key(address: &v1::Address) -> AddressKey {
    let value = address
        .network
        .iter()
        .take(16)
        .fold(0, |sum, &byte| sum << 8 | u128::from(byte));
    let (mapped, base_bits) = match address.network.len() {
        4 => (0xffff << 32 | value, 96),
        _ => (value, 0),
    };
    AddressKey {
        mapped,
        mapped_prefix_bits: address.prefix_bits.saturating_add(base_bits),
        zone: address.zone,
        network: address.network.clone(),
    }
}

fn changes<T: Clone + PartialEq, K: Ord>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<K>, Vec<T>) {
    let mut gone: BTreeMap<K, &T> = old.iter().map(|item| (key(item), item)).collect();
    let upserted = new
        .iter()
        .filter(|item| gone.remove(&key(item)) != Some(*item))
        .cloned()
        .collect();
    (gone.into_keys().collect(), upserted)
}

fn changed<T: Clone, K: Ord>(
    base: &[T],
    removed: &[K],
    upserted: &[T],
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut items: BTreeMap<K, T> = base.iter().map(|item| (key(item), item.clone())).collect();
    for gone in removed {
        items.remove(gone);
    }
    items.extend(upserted.iter().map(|item| (key(item), item.clone())));
    items.into_values().collect()
}
