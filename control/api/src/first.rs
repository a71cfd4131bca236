//! Version 1 of the contract: whole snapshots, and deltas between them, with a checksum over the whole
//! encoding. Kept for nodes and controllers that speak no other.

use std::collections::BTreeMap;

use prost::Message;
use sha2::{Digest, Sha256};

use crate::ApplyError;
use crate::contents::{AddressKey, address_key};
use crate::v1;

/// Its number.
pub const PROTOCOL: u32 = 1;

/// A snapshot as version 1 has it: without the fields that came later, with its own checksum.
pub fn snapshot(mut snapshot: v1::Snapshot) -> v1::Snapshot {
    snapshot.bundle = None;
    snapshot.threat_policies.clear();
    snapshot.claims = None;
    for identity in &mut snapshot.identities {
        identity.services.clear();
        identity.service_account = None;
        identity.elsewhere = false;
        identity.namespace_labels.clear();
        identity.service_addresses.clear();
    }
    snapshot.checksum = checksum(&snapshot);
    snapshot
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
            .map(|key| key.message())
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
        ..v1::Delta::default()
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
        ..v1::Snapshot::default()
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
