//! Changes of a policy as changes of items. An item that several nodes get is encoded once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use weir_api::{Item, ItemKey};
use weir_compile::SpecChange;
use weir_policy::spec::{AddressSpec, IdentitySpec, RuleSpec, SensorSpec, ThreatPolicySpec};

/// Entries of which nobody knows whether a node still has them go when there are more than this.
const KEPT_MAX: usize = 1 << 20;

/// Items that were made, to be shared. Bounded by [`KEPT_MAX`] for each list.
#[derive(Debug, Default)]
pub struct Items {
    /// As it is where it runs, and elsewhere.
    identities: HashMap<(u32, bool), Made<IdentitySpec>>,
    rules: HashMap<u32, Made<RuleSpec>>,
    sensors: HashMap<u32, Made<SensorSpec>>,
    threat_policies: HashMap<u32, Made<ThreatPolicySpec>>,
    addresses: HashMap<weir_compile::AddressKey, (u32, ItemKey, Item)>,
}

#[derive(Debug)]
struct Made<T> {
    of: Arc<T>,
    key: ItemKey,
    item: Item,
}

/// What becomes of one item; `None`: it goes.
pub type ItemChange = (ItemKey, Option<Item>);

impl Items {
    /// The items of a change, removals first.
    pub fn of(&mut self, change: &SpecChange) -> Vec<ItemChange> {
        let mut changes = removals(change);
        for one in &change.identities {
            let place = (one.id, one.elsewhere);
            changes.push(made(&mut self.identities, place, one, Item::of_identity));
        }
        for one in &change.addresses {
            changes.push(self.address(one));
        }
        for one in &change.names {
            let (key, item) = Item::of_name(one);
            changes.push((key, Some(item)));
        }
        for one in &change.rules {
            changes.push(made(&mut self.rules, one.id, one, Item::of_rule));
        }
        for one in &change.sensors {
            changes.push(made(&mut self.sensors, one.id, one, Item::of_sensor));
        }
        for one in &change.threat_policies {
            let policies = &mut self.threat_policies;
            changes.push(made(policies, one.id, one, Item::of_threat_policy));
        }
        if let Some(global) = &change.global {
            let settings = Item::of_settings(&global.unknown, &global.link, global.deny_style);
            changes.extend(settings.map(|(key, item)| (key, Some(item))));
            changes.push(Item::of_claims(&global.claims));
        }
        changes
    }

    fn address(&mut self, address: &AddressSpec) -> ItemChange {
        let place = weir_compile::address_key(address);
        if let Some((identity, key, item)) = self.addresses.get(&place)
            && *identity == address.identity
        {
            return (key.clone(), Some(item.clone()));
        }
        if self.addresses.len() >= KEPT_MAX {
            self.addresses.clear();
        }
        let (key, item) = Item::of_address(address);
        let entry = (address.identity, key.clone(), item.clone());
        self.addresses.insert(place, entry);
        (key, Some(item))
    }
}

fn removals(change: &SpecChange) -> Vec<ItemChange> {
    let identities = change
        .removed_identities
        .iter()
        .copied()
        .map(ItemKey::Identity);
    let rules = change.removed_rules.iter().copied().map(ItemKey::Rule);
    let sensors = change.removed_sensors.iter().copied().map(ItemKey::Sensor);
    let threats = change.removed_threat_policies.iter().copied();
    let names = (change.removed_names.iter()).map(|name| ItemKey::Name(name.as_str().into()));
    let address = |&(network, prefix_bits, zone): &weir_compile::AddressKey| {
        let gone = AddressSpec {
            network,
            prefix_bits,
            zone,
            identity: 0,
        };
        Item::of_address(&gone).0
    };
    let addresses = change.removed_addresses.iter().map(address);
    let keys = identities.chain(addresses).chain(names).chain(rules);
    let keys = keys
        .chain(sensors)
        .chain(threats.map(ItemKey::ThreatPolicy));
    keys.map(|key| (key, None)).collect()
}

fn made<K: Hash + Eq, T: PartialEq>(
    kept: &mut HashMap<K, Made<T>>,
    place: K,
    spec: &Arc<T>,
    make: impl Fn(&T) -> (ItemKey, Item),
) -> ItemChange {
    if let Some(made) = kept.get(&place)
        && (Arc::ptr_eq(&made.of, spec) || made.of == *spec)
    {
        return (made.key.clone(), Some(made.item.clone()));
    }
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    let (key, item) = make(spec);
    let entry = Made {
        of: spec.clone(),
        key: key.clone(),
        item: item.clone(),
    };
    kept.insert(place, entry);
    (key, Some(item))
}
