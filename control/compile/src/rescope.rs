//! Which nodes know whom now, and what that changes for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_policy::spec::{IdentitySpec, UNKNOWN_IDENTITY};

use crate::change::{AddressKey, SpecChange, address_key};
use crate::scope::{is_lenient, restricted, sensor_for, threat_policy_for};
use crate::scopes::{Entry, Node, Scopes, Stir, change};
use crate::settle::{address, name};

/// The prefix of a network of one address.
const HOST_BITS: u8 = 128;

/// Changes by node.
type Changes = BTreeMap<usize, SpecChange>;

impl Scopes {
    /// Whose the addresses and names are now.
    pub(crate) fn take_places(&mut self, spec: &SpecChange, stir: &mut Stir) {
        for &key in &spec.removed_addresses {
            let before = self.nest.remove(key);
            self.moved_address(key, before, None, stir);
        }
        for one in &spec.addresses {
            let before = self.nest.put(one);
            self.moved_address(address_key(one), before, Some(one.identity), stir);
        }
        let gone = spec.removed_names.iter().map(|pattern| (pattern, None));
        let put = spec
            .names
            .iter()
            .map(|one| (&one.pattern, Some(one.identity)));
        for (pattern, after) in gone.chain(put) {
            let before = match after {
                Some(id) => self.names.insert(pattern.clone(), id),
                None => self.names.remove(pattern),
            };
            stir.names.entry(pattern.clone()).or_insert(before);
            if let Some(before) = before {
                self.entry(before).names.remove(pattern);
                self.rebind(before, stir);
            }
            if let Some(after) = after {
                self.entry(after).names.insert(pattern.clone());
                self.rebind(after, stir);
            }
            stir.parents.extend(before.iter().chain(&after));
            stir.parents.extend(self.names.values());
        }
    }

    fn moved_address(
        &mut self,
        key: AddressKey,
        before: Option<u32>,
        after: Option<u32>,
        stir: &mut Stir,
    ) {
        stir.addresses.entry(key).or_insert(before);
        if let Some(before) = before {
            self.entry(before).addresses.remove(&key);
        }
        if let Some(after) = after {
            self.entry(after).addresses.insert(key);
        }
        stir.parents.extend(before.iter().chain(&after));
        let (network, prefix_bits, _) = key;
        if before != after {
            // Those that lie within it, and those that stand beside it in another zone.
            stir.parents.extend(self.nest.at(network, prefix_bits));
            if prefix_bits < HOST_BITS {
                stir.parents.extend(self.nest.within(network, prefix_bits));
            }
        }
    }

    /// Sensors, threat policies, and what holds for everything.
    pub(crate) fn take_rest(&mut self, spec: &SpecChange, stir: &mut Stir) {
        for id in &spec.removed_sensors {
            self.sensors.remove(id);
        }
        let sensors = spec.sensors.iter();
        self.sensors
            .extend(sensors.map(|one| (one.id, one.clone())));
        for id in &spec.removed_threat_policies {
            self.threat_policies.remove(id);
        }
        let policies = spec.threat_policies.iter();
        self.threat_policies
            .extend(policies.map(|one| (one.id, one.clone())));
        let lists = [spec.removed_sensors.len(), spec.sensors.len()];
        let policies = [
            spec.removed_threat_policies.len(),
            spec.threat_policies.len(),
        ];
        if lists.iter().chain(&policies).any(|len| *len > 0) {
            stir.attached.extend(0..self.nodes.len());
        }
        if let Some(global) = &spec.global
            && *global != self.global
        {
            self.global = global.clone();
            stir.global = true;
        }
    }

    /// Looks at everything that was stirred.
    pub(crate) fn settle(&mut self, mut stir: Stir) -> Vec<(Arc<str>, SpecChange)> {
        self.settle_known(&mut stir);
        let mut changes = Changes::new();
        self.settle_rules(&mut stir, &mut changes);
        self.settle_attached(&stir, &mut changes);
        self.tell_identities(&stir, &mut changes);
        self.tell_addresses(&stir, &mut changes);
        self.tell_names(&stir, &mut changes);
        if stir.global {
            for (place, node) in self.nodes.iter().enumerate() {
                if node.is_some() {
                    changes.entry(place).or_default().global = Some(self.global.clone());
                }
            }
        }
        let mut told = Vec::new();
        for (place, mut change) in changes {
            change.removed_addresses.sort_unstable();
            change.addresses.sort_unstable();
            change.removed_names.sort_unstable();
            change
                .names
                .sort_unstable_by(|a, b| a.pattern.cmp(&b.pattern));
            let node = self.nodes.get(place).and_then(Option::as_ref);
            if let Some(node) = node.filter(|_| !change.is_empty()) {
                told.push((node.name.clone(), change));
            }
        }
        told
    }

    /// First who is needed for himself, then who would be taken for one of these.
    fn settle_known(&mut self, stir: &mut Stir) {
        let mut pairs = std::mem::take(&mut stir.pairs);
        let kept = |place: &usize| matches!(self.nodes.get(*place), Some(Some(_)));
        let places: Vec<usize> = (0..self.nodes.len()).filter(kept).collect();
        for &id in &stir.identities {
            pairs.extend(places.iter().map(|place| (*place, id)));
        }
        for &place in stir.nodes.iter().filter(|place| kept(place)) {
            pairs.extend(self.identities.keys().map(|id| (place, *id)));
        }
        let mut again = pairs.clone();
        for (place, id) in pairs {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            let core = self.is_core(node, id, entry);
            let Some(entry) = self.identities.get_mut(&id) else {
                continue;
            };
            if !entry.core.set(place, core) {
                continue;
            }
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            for &(network, prefix_bits, _) in &entry.addresses {
                let beside = self.nest.at(network, prefix_bits);
                again.extend(beside.map(|child| (place, child)));
                if prefix_bits < HOST_BITS {
                    let within = self.nest.within(network, prefix_bits);
                    again.extend(within.map(|child| (place, child)));
                }
            }
            if !entry.names.is_empty() {
                again.extend(self.names.values().map(|child| (place, *child)));
            }
        }
        for id in std::mem::take(&mut stir.parents) {
            let parents = self.identities.get(&id).map(|entry| self.parents(entry));
            if let Some(parents) = parents
                && let Some(entry) = self.identities.get_mut(&id)
                && entry.parents != parents
            {
                let outermost = parents.contains(&UNKNOWN_IDENTITY);
                entry.parents = parents;
                change(&mut self.outermost, id, outermost);
                again.extend(places.iter().map(|place| (*place, id)));
            }
        }
        for (place, id) in again {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            let taken_for = |parent: &u32| match *parent {
                UNKNOWN_IDENTITY => node.meets_strangers(),
                parent => self
                    .identities
                    .get(&parent)
                    .is_some_and(|one| one.core.has(place)),
            };
            let nested = || !node.local.is_empty() && entry.parents.iter().any(taken_for);
            let known = entry.core.has(place) || (entry.spec.is_some() && nested());
            if let Some(entry) = self.identities.get_mut(&id)
                && entry.known.set(place, known)
            {
                stir.flips.insert((place, id));
            }
        }
    }

    /// Whether a node needs an identity for itself.
    fn is_core(&self, node: &Node, id: u32, entry: &Entry) -> bool {
        let Some(spec) = &entry.spec else {
            return false;
        };
        if spec.quarantined || node.local.is_empty() {
            return spec.quarantined;
        }
        if node.meets_everybody() || node.local.contains(&id) || is_lenient(spec) {
            return true;
        }
        match entry.named.len() <= node.bound.len() {
            true => entry.named.iter().any(|rule| node.bound.contains(rule)),
            false => node.bound.iter().any(|rule| entry.named.contains(rule)),
        }
    }

    /// For whom an identity would be taken if it were not known.
    fn parents(&self, entry: &Entry) -> BTreeSet<u32> {
        let mut parents = BTreeSet::new();
        for key in &entry.addresses {
            self.nest.parents(*key, |parent| {
                parents.insert(parent);
            });
        }
        for pattern in &entry.names {
            let text = pattern.strip_prefix('*').unwrap_or(pattern);
            let dots = text.match_indices('.').map(|(place, _)| place);
            let mut wider = dots.filter_map(|place| {
                let wider = format!("*{}", text.get(place..)?);
                let other = wider != *pattern;
                self.names.get(&wider).filter(|_| other)
            });
            parents.insert(wider.next().copied().unwrap_or(UNKNOWN_IDENTITY));
        }
        parents
    }

    fn settle_rules(&mut self, stir: &mut Stir, changes: &mut Changes) {
        for &(place, id) in &stir.flips {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            stir.rules
                .extend(entry.binds.iter().map(|rule| (place, *rule)));
            let (few, many): (Vec<u32>, bool) = match entry.named.len() <= node.bound.len() {
                true => (entry.named.iter().copied().collect(), true),
                false => (node.bound.iter().copied().collect(), false),
            };
            let both = few.into_iter().filter(|rule| match many {
                true => node.bound.contains(rule),
                false => entry.named.contains(rule),
            });
            stir.rules.extend(both.map(|rule| (place, rule)));
        }
        for &place in &stir.nodes {
            if let Some(Some(node)) = self.nodes.get(place) {
                let all = node.rules.keys().chain(&self.name_any);
                stir.rules.extend(all.map(|rule| (place, *rule)));
            }
        }
        for (place, id) in std::mem::take(&mut stir.rules) {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let known = |id: u32| {
                self.identities
                    .get(&id)
                    .is_some_and(|one| one.known.has(place))
            };
            let before = node.rules.get(&id);
            let now = self.rules.get(&id).and_then(|rule| {
                let now = restricted(rule, &node.local, known)?;
                // What is as it was stays the same piece of memory.
                Some(match (now, before) {
                    (now, Some(before)) if *now == **before => before.clone(),
                    (std::borrow::Cow::Borrowed(_), _) => rule.clone(),
                    (std::borrow::Cow::Owned(now), _) => Arc::new(now),
                })
            });
            let same = before == now.as_ref();
            let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) else {
                continue;
            };
            match now {
                _ if same => {}
                Some(now) => {
                    changes.entry(place).or_default().rules.push(now.clone());
                    node.rules.insert(id, now);
                }
                None => {
                    changes.entry(place).or_default().removed_rules.push(id);
                    node.rules.remove(&id);
                }
            }
        }
    }

    fn settle_attached(&mut self, stir: &Stir, changes: &mut Changes) {
        if self.sensors.is_empty() && self.threat_policies.is_empty() && stir.attached.is_empty() {
            return;
        }
        let flipped = stir.flips.iter().map(|(place, _)| *place);
        let places: BTreeSet<usize> = stir.attached.iter().copied().chain(flipped).collect();
        for place in places {
            let known = |id: u32| {
                self.identities
                    .get(&id)
                    .is_some_and(|one| one.known.has(place))
            };
            let sensors = self.sensors.values().filter_map(|sensor| {
                let now = sensor_for(sensor, known)?;
                Some((now.id, own_or(sensor, now)))
            });
            let sensors: BTreeMap<_, _> = sensors.collect();
            let policies = self.threat_policies.values().filter_map(|policy| {
                let now = threat_policy_for(policy, known)?;
                Some((now.id, own_or(policy, now)))
            });
            let policies: BTreeMap<_, _> = policies.collect();
            let Some(node) = self.nodes.get_mut(place).and_then(Option::as_mut) else {
                continue;
            };
            let change = changes.entry(place).or_default();
            (change.removed_sensors, change.sensors) = replace(&mut node.sensors, sensors);
            (change.removed_threat_policies, change.threat_policies) =
                replace(&mut node.threat_policies, policies);
        }
    }

    fn tell_identities(&self, stir: &Stir, changes: &mut Changes) {
        let mut touched: BTreeSet<(usize, u32)> = stir.flips.clone();
        touched.extend(stir.moved.keys());
        for id in stir.described.keys() {
            let known = self
                .identities
                .get(id)
                .into_iter()
                .flat_map(|one| one.known.iter());
            touched.extend(known.map(|place| (place, *id)));
        }
        for (place, id) in touched {
            let Some(node) = self.nodes.get(place).and_then(Option::as_ref) else {
                continue;
            };
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            let known = entry.known.has(place);
            let was_known = known != stir.flips.contains(&(place, id));
            let here = node.local.contains(&id);
            let was_here = stir.moved.get(&(place, id)).copied().unwrap_or(here);
            let now = entry.seen(here).filter(|_| known);
            let before: Option<&Arc<IdentitySpec>> = match stir.described.get(&id) {
                Some([spec, away]) => match was_here {
                    true => spec.as_ref(),
                    false => away.as_ref().or(spec.as_ref()),
                },
                None => entry.seen(was_here),
            };
            let before = before.filter(|_| was_known);
            match now {
                _ if now == before => {}
                Some(now) => changes
                    .entry(place)
                    .or_default()
                    .identities
                    .push(now.clone()),
                None => changes
                    .entry(place)
                    .or_default()
                    .removed_identities
                    .push(id),
            }
        }
    }

    /// Whether a node knows an identity now, and whether it did before.
    fn knows(&self, place: usize, id: Option<u32>, stir: &Stir) -> (bool, bool) {
        let Some(id) = id else { return (false, false) };
        let now = self
            .identities
            .get(&id)
            .is_some_and(|one| one.known.has(place));
        (now, now != stir.flips.contains(&(place, id)))
    }

    /// The nodes that know one of two identities, now or before.
    fn concerned(
        &self,
        ids: [Option<u32>; 2],
        flips: &BTreeMap<u32, BTreeSet<usize>>,
    ) -> BTreeSet<usize> {
        let ids = || ids.into_iter().flatten();
        let known = ids().filter_map(|id| self.identities.get(&id));
        let known = known.flat_map(|one| one.known.iter());
        let flipped = ids().filter_map(|id| flips.get(&id)).flatten().copied();
        known.chain(flipped).collect()
    }

    fn tell_addresses(&self, stir: &Stir, changes: &mut Changes) {
        let flips = by_identity(&stir.flips);
        for (key, before) in &stir.addresses {
            let after = self.nest.owner(*key);
            for place in self.concerned([*before, after], &flips) {
                let old = before.filter(|_| self.knows(place, *before, stir).1);
                let new = after.filter(|_| self.knows(place, after, stir).0);
                tell_address(*key, old, new, changes.entry(place).or_default());
            }
        }
        for &(place, id) in &stir.flips {
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            let (now, before) = self.knows(place, Some(id), stir);
            let same = entry
                .addresses
                .iter()
                .filter(|key| !stir.addresses.contains_key(key));
            for key in same {
                let change = changes.entry(place).or_default();
                tell_address(*key, before.then_some(id), now.then_some(id), change);
            }
        }
    }

    fn tell_names(&self, stir: &Stir, changes: &mut Changes) {
        let flips = by_identity(&stir.flips);
        for (pattern, before) in &stir.names {
            let after = self.names.get(pattern).copied();
            for place in self.concerned([*before, after], &flips) {
                let old = before.filter(|_| self.knows(place, *before, stir).1);
                let new = after.filter(|_| self.knows(place, after, stir).0);
                tell_name(pattern, old, new, changes.entry(place).or_default());
            }
        }
        for &(place, id) in &stir.flips {
            let Some(entry) = self.identities.get(&id) else {
                continue;
            };
            let (now, before) = self.knows(place, Some(id), stir);
            let same = entry
                .names
                .iter()
                .filter(|pattern| !stir.names.contains_key(*pattern));
            for pattern in same {
                let change = changes.entry(place).or_default();
                tell_name(pattern, before.then_some(id), now.then_some(id), change);
            }
        }
    }
}

fn by_identity(flips: &BTreeSet<(usize, u32)>) -> BTreeMap<u32, BTreeSet<usize>> {
    let mut places: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for (place, id) in flips {
        places.entry(*id).or_default().insert(*place);
    }
    places
}

fn tell_address(key: AddressKey, old: Option<u32>, new: Option<u32>, change: &mut SpecChange) {
    match new {
        _ if old == new => {}
        Some(id) => change.addresses.push(address((key, id))),
        None => change.removed_addresses.push(key),
    }
}

fn tell_name(pattern: &str, old: Option<u32>, new: Option<u32>, change: &mut SpecChange) {
    match new {
        _ if old == new => {}
        Some(id) => change.names.push(name((pattern.to_owned(), id))),
        None => change.removed_names.push(pattern.to_owned()),
    }
}

/// The shared item where it is whole.
fn own_or<T: Clone>(whole: &Arc<T>, now: std::borrow::Cow<'_, T>) -> Arc<T> {
    match now {
        std::borrow::Cow::Borrowed(_) => whole.clone(),
        std::borrow::Cow::Owned(now) => Arc::new(now),
    }
}

/// Puts new items in place of old ones; returns what is gone, and what is new or different.
fn replace<T: PartialEq>(
    list: &mut BTreeMap<u32, Arc<T>>,
    mut new: BTreeMap<u32, Arc<T>>,
) -> (Vec<u32>, Vec<Arc<T>>) {
    let gone: Vec<u32> = list
        .keys()
        .filter(|id| !new.contains_key(id))
        .copied()
        .collect();
    let mut put = Vec::new();
    for (id, item) in &mut new {
        match list.get(id) {
            Some(old) if old == item => item.clone_from(old),
            _ => put.push(item.clone()),
        }
    }
    *list = new;
    (gone, put)
}
