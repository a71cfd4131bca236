//! Services: the addresses that clients use, and the workloads that answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::{ServiceRecord, SliceRecord, World};
use crate::addresses::{Claimant, Order, Rank};
use crate::claims::{Claim, ClaimAction, Holder, external_claims};
use crate::facts::{Labels, Service, Slice, Watched};
use crate::names::Name;

impl World {
    pub(super) fn upsert_service(&mut self, service: Service, now_us: u64) {
        let key = self.key(&service.meta.name);
        let listed = self.list(Watched::Service).number;
        let number = self.service(key);
        let Some(record) = self.services.get_mut(number) else {
            return;
        };
        record.listed = listed;
        if record.service.as_ref() == Some(&service) {
            return;
        }
        let selector = service.selector.clone();
        record.service = Some(service);
        self.choose(number, &selector);
        self.claim_for_service(number, now_us);
        self.touched_services.insert(number);
    }

    pub(super) fn remove_service(&mut self, key: &Name, now_us: u64) {
        let Some(&number) = self.service_by_name.get(key) else {
            return;
        };
        if let Some(record) = self.services.get_mut(number) {
            record.service = None;
        }
        self.choose(number, &Labels::new());
        self.claim_for_service(number, now_us);
        self.touched_services.insert(number);
    }

    pub(super) fn upsert_slice(&mut self, slice: Slice) {
        let key = self.key(&slice.meta.name);
        let service = slice.service.map(|service| self.shared.text(&service));
        let listed = self.list(Watched::EndpointSlice).number;
        let record = SliceRecord {
            service,
            addresses: slice.addresses.into(),
            listed,
        };
        if let Some(known) = self.slices.get_mut(&key)
            && known.service == record.service
            && known.addresses == record.addresses
        {
            known.listed = listed;
            return;
        }
        let added = record.service.clone().map(|it| (key.0.clone(), it));
        let addresses = record.addresses.clone();
        let old = self.slices.insert(key.clone(), record);
        // First what comes: what stays is never without.
        if let Some(service) = added {
            let number = self.service(service);
            self.count_endpoints(number, &addresses, true);
        }
        if let Some(old) = old {
            self.drop_slice(&key, old);
        }
    }

    pub(super) fn remove_slice(&mut self, key: &Name) {
        if let Some(old) = self.slices.remove(key) {
            self.drop_slice(key, old);
        }
    }

    pub(super) fn remove_namespace(&mut self, name: &Arc<str>) {
        if let Some(record) = self.namespaces.get_mut(name) {
            record.labels = None;
            self.touched_namespaces.insert(name.clone());
        }
    }

    fn drop_slice(&mut self, key: &Name, slice: SliceRecord) {
        let service = slice.service.map(|service| (key.0.clone(), service));
        if let Some(&number) = service.and_then(|service| self.service_by_name.get(&service)) {
            self.count_endpoints(number, &slice.addresses, false);
        }
    }

    /// The number of a service, of which at first nothing but the name may be known.
    fn service(&mut self, name: Name) -> u32 {
        if let Some(&number) = self.service_by_name.get(&name) {
            return number;
        }
        let record = ServiceRecord {
            name: name.clone(),
            service: None,
            listed: 0,
            endpoints: BTreeMap::new(),
            claimed: BTreeSet::new(),
            held: BTreeSet::new(),
            selector_hash: None,
            chosen: BTreeSet::new(),
            told: None,
        };
        let number = self.services.insert(record);
        let namespace = self.namespaces.entry(name.0.clone()).or_default();
        namespace.services.insert(number);
        self.service_by_name.insert(name, number);
        number
    }

    fn count_endpoints(&mut self, number: u32, addresses: &[IpAddr], comes: bool) {
        let Some(record) = self.services.get_mut(number) else {
            return;
        };
        for address in addresses {
            let slices = record.endpoints.entry(*address).or_default();
            let before = *slices;
            *slices = if comes {
                before + 1
            } else {
                before.saturating_sub(1)
            };
            let after = *slices;
            if after == 0 {
                record.endpoints.remove(address);
            }
            if (before == 0) != (after == 0) {
                self.addresses.back(*address, number, after > 0);
            }
        }
        self.touched_services.insert(number);
    }

    /// Claims what the service may have, and gives up what it has no longer.
    pub(super) fn claim_for_service(&mut self, number: u32, now_us: u64) {
        let Some(record) = self.services.get(number) else {
            return;
        };
        let (mut wanted, mut order) = (BTreeSet::new(), None);
        let mut disputed = Vec::new();
        if let Some(service) = &record.service {
            disputed = external_claims(service, self);
            wanted.extend(service.cluster_addresses.iter().copied());
            let external = service.external_addresses.iter();
            wanted.extend(external.chain(&service.balancer_addresses).copied());
            // Of addresses that somebody has, that one stays the holder: the table knows the order.
            if self.external.action == ClaimAction::Refuse {
                let outside = disputed.iter().filter(|it| it.holder == Holder::Outside);
                outside.for_each(|claim| {
                    wanted.remove(&claim.address);
                });
            }
            order = Some(Order {
                rank: Rank::Service,
                sequence: 0,
                lasting: true,
                bound_us: u64::MAX - service.meta.created_us,
                uid: service.meta.uid,
            });
        }
        let given_up: Vec<IpAddr> = record.claimed.difference(&wanted).copied().collect();
        if let Some(record) = self.services.get_mut(number) {
            record.claimed.clone_from(&wanted);
        }
        if self.disputed.get(&number).unwrap_or(&Vec::new()) != &disputed {
            self.disputed_anew = true;
            match disputed.is_empty() {
                true => self.disputed.remove(&number),
                false => self.disputed.insert(number, disputed),
            };
        }
        let by = Claimant::Service(number);
        for address in given_up {
            let moved = self.addresses.release(address, by, now_us);
            self.moved(address, moved);
        }
        for address in wanted {
            let Some(order) = order else { continue };
            let moved = self.addresses.claim(address, by, order, now_us);
            self.moved(address, moved);
        }
    }

    /// The service's selector changed, or the service went: finds the workloads that it chooses, among
    /// those that have the rarest of its labels.
    fn choose(&mut self, number: u32, selector: &Labels) {
        let hash = |(key, value): (&String, &String)| self.hashing.hash_one((key, value));
        let Some(record) = self.services.get_mut(number) else {
            return;
        };
        let Some(namespace) = self.namespaces.get_mut(&record.name.0) else {
            return;
        };
        if let Some(old) = record.selector_hash.take() {
            unlist(&mut namespace.by_selector, old, number);
        }
        record.chosen.clear();
        let Some(first) = selector.iter().next().map(hash) else {
            return;
        };
        record.selector_hash = Some(first);
        namespace.by_selector.entry(first).or_default().push(number);
        let lists = selector.iter().map(hash).map(|hash| {
            let list = namespace.by_label.get(&hash);
            list.map_or(&[][..], |list| &list[..])
        });
        let rarest = lists.min_by_key(|list| list.len()).unwrap_or_default();
        let chosen = rarest.iter().filter(|workload| {
            let told = self
                .workloads
                .get(**workload)
                .and_then(|it| it.told.as_ref());
            told.is_some_and(|told| chooses(selector, &told.value.metadata().labels))
        });
        record.chosen = chosen.copied().collect();
    }

    /// A workload's labels or name changed, or it went: the services that choose it, or did, change too.
    pub(super) fn choose_anew(
        &mut self,
        workload: u32,
        namespace: &Arc<str>,
        old: Option<&Labels>,
        new: Option<&Labels>,
    ) {
        let hash = |(key, value): (&String, &String)| self.hashing.hash_one((key, value));
        let Some(namespace) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let mut services = BTreeSet::new();
        for (labels, comes) in [(old, false), (new, true)] {
            for hash in labels.into_iter().flatten().map(hash) {
                services.extend(namespace.by_selector.get(&hash).into_iter().flatten());
                match comes {
                    true => namespace.by_label.entry(hash).or_default().push(workload),
                    false => unlist(&mut namespace.by_label, hash, workload),
                }
            }
        }
        for number in services {
            let Some(record) = self.services.get_mut(number) else {
                continue;
            };
            let selector = record.service.as_ref().map(|service| &service.selector);
            let is = selector
                .zip(new)
                .is_some_and(|(selector, labels)| chooses(selector, labels));
            let was = match is {
                true => !record.chosen.insert(workload),
                false => record.chosen.remove(&workload),
            };
            if was || is {
                self.touched_services.insert(number);
            }
        }
    }

    /// The workloads that answer, the one with the most endpoints first. By endpoints, and by the
    /// selector as well: a workload whose pods are just restarting still answers for its service.
    pub(super) fn answering(&self, record: &ServiceRecord) -> Vec<u32> {
        let mut found: BTreeMap<u32, usize> = BTreeMap::new();
        for address in record.endpoints.keys() {
            // Whom the endpoint names does not count: it may name any pod. Its address does.
            let holder = self.addresses.holder(*address);
            if let Some(workload) = holder.and_then(|it| self.workload_of_claimant(it)) {
                *found.entry(workload).or_default() += 1;
            }
        }
        for number in &record.chosen {
            found.entry(*number).or_default();
        }
        let mut found: Vec<(u32, usize)> = found.into_iter().collect();
        found.sort_by_key(|(number, endpoints)| {
            let name = self.workloads.get(*number).map(|it| it.full_name.clone());
            (std::cmp::Reverse(*endpoints), name)
        });
        found.into_iter().map(|(number, _)| number).collect()
    }

    /// Every claim of a service that is not allowed, in order, if they changed since this was asked.
    pub fn claims(&mut self) -> Option<Vec<Claim>> {
        if !std::mem::take(&mut self.disputed_anew) {
            return None;
        }
        let mut claims: Vec<Claim> = self.disputed.values().flatten().cloned().collect();
        claims.sort();
        Some(claims)
    }
}

fn chooses(selector: &Labels, labels: &Labels) -> bool {
    let mut wanted = selector.iter();
    !selector.is_empty() && wanted.all(|(key, value)| labels.get(key) == Some(value))
}

/// Takes a number out of a list that is not kept when it is empty.
fn unlist(lists: &mut HashMap<u64, Vec<u32>>, hash: u64, number: u32) {
    if let Some(list) = lists.get_mut(&hash) {
        list.retain(|it| *it != number);
        if list.is_empty() {
            lists.remove(&hash);
        }
    }
}
