//! Pods and the workloads that they belong to.

use std::net::IpAddr;
use std::sync::Arc;

use super::{
    Note, PodRecord, StepFacts, StepRecord, TemplateRecord, WorkloadKey, WorkloadRecord, World,
    owner_kind,
};
use crate::addresses::{Claimant, Order, Rank};
use crate::facts::{Labels, OwnerKind, Pod, Step, Template, Watched};
use crate::identity::{document_name, lasting_labels, second_name, workload_of};
use crate::names::Name;

/// Notes that wait to be read; what comes beyond is counted only.
const NOTES_MAX: usize = 1_000;

impl World {
    pub(super) fn upsert_pod(&mut self, pod: Pod, now_us: u64) {
        let key = self.key(&pod.meta.name);
        let mut known = self.pod_by_name.get(&key).copied();
        if let Some(number) = known
            && self
                .pods
                .get(number)
                .is_some_and(|it| it.uid != pod.meta.uid)
        {
            self.remove_pod(number, now_us);
            known = None;
        }
        let mut record = self.pod_record(key, pod);
        if let Some(old) = known.and_then(|number| self.pods.get_mut(number)) {
            let listed = record.listed;
            record.name.clone_from(&old.name);
            (record.listed, record.workload) = (old.listed, old.workload);
            if *old == record {
                old.listed = listed;
                return;
            }
            record.listed = listed;
        }
        let number = match known {
            Some(number) => {
                self.detach(number);
                self.give_up(number, &record.addresses, now_us);
                number
            }
            None => {
                let number = self.pods.insert(record.clone());
                self.pod_by_name.insert(record.name.clone(), number);
                number
            }
        };
        // An orphan may be adopted by another owner.
        let named_before = known.and_then(|number| step_of(self.pods.get(number)?));
        let names = step_of(&record);
        if known.is_none() || named_before != names {
            self.leave_step(number, named_before);
            if let Some(step) = names {
                self.steps.entry(step).or_default().pods.push(number);
            }
        }
        record.workload = self.workload_for(&record);
        if let Some(place) = self.pods.get_mut(number) {
            *place = record;
        }
        self.attach(number);
        self.claim_addresses(number, now_us);
    }

    pub(super) fn remove_pod(&mut self, number: u32, now_us: u64) {
        self.give_up(number, &[], now_us);
        self.detach(number);
        let Some(record) = self.pods.remove(number) else {
            return;
        };
        self.pod_by_name.remove(&record.name);
        self.leave_step(number, step_of(&record));
    }

    /// The pod names a ReplicaSet or Job no longer.
    fn leave_step(&mut self, number: u32, step: Option<(Watched, Name)>) {
        if let Some(step) = step
            && let Some(known) = self.steps.get_mut(&step)
        {
            known.pods.retain(|pod| *pod != number);
            if known.pods.is_empty() && (known.gone || known.facts.is_none()) {
                self.steps.remove(&step);
            }
        }
    }

    pub(super) fn upsert_step(&mut self, step: Step) {
        let kind = match step.kind {
            OwnerKind::Job => Watched::Job,
            _ => Watched::ReplicaSet,
        };
        let key = self.key(&step.meta.name);
        let owner = step.owner;
        let owner = owner.map(|owner| (owner.kind, self.shared.text(&owner.name)));
        let uid = step.meta.uid;
        let listed = self.list(kind).number;
        let record = self.steps.entry((kind, key)).or_default();
        record.listed = listed;
        record.gone = false;
        let facts = Some(StepFacts { uid, owner });
        if record.facts == facts {
            return;
        }
        record.facts = facts;
        for pod in record.pods.clone() {
            self.assign_anew(pod);
        }
    }

    pub(super) fn remove_step(&mut self, kind: Watched, key: Name) {
        let key = (kind, key);
        if let Some(record) = self.steps.get_mut(&key) {
            record.gone = true;
            if record.pods.is_empty() {
                self.steps.remove(&key);
            }
        }
    }

    pub(super) fn upsert_template(&mut self, template: Template) {
        let Template {
            meta,
            kind,
            labels,
            service_account,
            images,
        } = template;
        let key = self.key(&meta.name);
        let record = TemplateRecord {
            labels: self.shared.labels(lasting_labels(&labels)),
            account: service_account.map(|account| self.shared.text(&account)),
            images: self.shared.images(images),
            listed: 0,
        };
        let key = WorkloadKey {
            namespace: key.0,
            kind,
            name: key.1,
        };
        let watched = match key.kind {
            OwnerKind::StatefulSet => Watched::StatefulSet,
            OwnerKind::DaemonSet => Watched::DaemonSet,
            OwnerKind::CronJob => Watched::CronJob,
            _ => Watched::Deployment,
        };
        let listed = self.list(watched).number;
        let number = self.workload(key, meta.created_us);
        let Some(workload) = self.workloads.get_mut(number) else {
            return;
        };
        let older = workload.created_us != meta.created_us;
        workload.created_us = meta.created_us;
        workload.template = Some(TemplateRecord { listed, ..record });
        let place = (workload.key.namespace.clone(), workload.plain_name.clone());
        self.touch(number);
        if older {
            self.name_anew(place);
        }
    }

    pub(super) fn remove_template(&mut self, kind: Watched, key: Name) {
        let key = WorkloadKey {
            namespace: key.0,
            kind: owner_kind(kind),
            name: key.1,
        };
        if let Some(&number) = self.workload_by_key.get(&key) {
            if let Some(workload) = self.workloads.get_mut(number) {
                workload.template = None;
            }
            self.touch(number);
        }
    }

    /// The number of a workload, which is made if there is none.
    pub(super) fn workload(&mut self, key: WorkloadKey, created_us: u64) -> u32 {
        if let Some(&number) = self.workload_by_key.get(&key) {
            return number;
        }
        let plain_name = self.shared.text(&document_name(&key.name));
        let place = (key.namespace.clone(), plain_name.clone());
        let record = WorkloadRecord {
            key: key.clone(),
            plain_name,
            full_name: Arc::from(""),
            pods: 0,
            in_host_network: 0,
            label_sets: Vec::new(),
            last_labels: None,
            accounts: Vec::new(),
            last_account: None,
            image_sets: Vec::new(),
            last_images: None,
            nodes: Default::default(),
            addresses: Default::default(),
            template: None,
            created_us,
            told: None,
        };
        let namespace = key.namespace.clone();
        let number = self.workloads.insert(record);
        self.workload_by_key.insert(key, number);
        let record = self.namespaces.entry(namespace).or_default();
        record.workloads.insert(number);
        self.namesakes
            .entry(place.clone())
            .or_default()
            .push(number);
        self.name_anew(place);
        number
    }

    /// Of several workloads with one name in a namespace the host has it, or the oldest one: who
    /// comes later takes nobody's name away, and with it nobody's allowlist.
    pub(super) fn name_anew(&mut self, place: Name) {
        let Some(namesakes) = self.namesakes.get(&place) else {
            return;
        };
        let first = namesakes
            .iter()
            .filter_map(|number| Some((*number, self.workloads.get(*number)?)))
            .min_by_key(|(_, it)| {
                let host = it.key.kind == OwnerKind::Node;
                (!host, it.created_us, &it.key.kind, &it.key.name)
            });
        let first = first.map(|(number, _)| number);
        for number in namesakes.clone() {
            let Some(record) = self.workloads.get_mut(number) else {
                continue;
            };
            let name = if first == Some(number) {
                record.plain_name.to_string()
            } else {
                second_name(&record.key.kind, &record.key.name)
            };
            let full_name = format!("{}/{name}", record.key.namespace);
            if *record.full_name != *full_name {
                record.full_name = full_name.into();
                let backed = record.addresses.iter();
                let backed = backed.flat_map(|address| self.addresses.backs(*address));
                self.touched_services.extend(backed);
                self.touched_workloads.insert(number);
            }
        }
    }

    fn pod_record(&mut self, name: Name, pod: Pod) -> PodRecord {
        let (kind, guess) = workload_of(&pod, None);
        let without_addresses = pod.host_network || pod.finished;
        let mut addresses = pod.addresses;
        if without_addresses {
            addresses.clear();
        }
        let shared = &mut self.shared;
        PodRecord {
            guess: (kind, shared.text(&guess)),
            owner: pod
                .owner
                .map(|owner| (owner.kind, shared.text(&owner.name), owner.uid)),
            labels: shared.labels(lasting_labels(&pod.labels)),
            account: pod.service_account.map(|it| shared.text(&it)),
            images: shared.images(pod.images),
            node: pod.node.map(|it| shared.text(&it)),
            addresses: addresses.into(),
            name,
            uid: pod.meta.uid,
            host_network: pod.host_network,
            finished: pod.finished,
            lasting: !pod.terminating,
            created_us: pod.meta.created_us,
            bound_us: pod.bound_us,
            workload: u32::MAX,
            listed: self.list(Watched::Pod).number,
        }
    }

    fn workload_for(&mut self, record: &PodRecord) -> u32 {
        let known = step_of(record).and_then(|step| self.steps.get(&step));
        let above = known.and_then(|step| above(step, record));
        let (kind, name) = above.unwrap_or_else(|| record.guess.clone());
        let namespace = record.name.0.clone();
        let key = WorkloadKey {
            namespace,
            kind,
            name,
        };
        self.workload(key, record.created_us)
    }

    /// The pod's ReplicaSet or Job said something new.
    fn assign_anew(&mut self, number: u32) {
        let Some(record) = self.pods.get(number) else {
            return;
        };
        let record = record.clone();
        let workload = self.workload_for(&record);
        if workload == record.workload {
            return;
        }
        self.detach(number);
        if let Some(record) = self.pods.get_mut(number) {
            record.workload = workload;
        }
        self.attach(number);
    }

    /// Adds what the pod brings to its workload. Services that lead to its addresses may be answered by
    /// another workload now, although the addresses have not moved.
    fn attach(&mut self, number: u32) {
        let Some(record) = self.pods.get(number) else {
            return;
        };
        let Some(workload) = self.workloads.get_mut(record.workload) else {
            return;
        };
        workload.pods += 1;
        workload.in_host_network += u32::from(record.host_network);
        if !record.finished {
            count(&mut workload.label_sets, &record.labels);
            count(&mut workload.accounts, &record.account);
            count(&mut workload.image_sets, &record.images);
        }
        if !record.finished || workload.last_labels.is_none() {
            workload.last_labels = Some(record.labels.clone());
            workload.last_account.clone_from(&record.account);
            workload.last_images = Some(record.images.clone());
        }
        if let Some(node) = record.node.as_ref().filter(|_| !record.finished) {
            *workload.nodes.entry(node.clone()).or_default() += 1;
        }
        for address in &record.addresses {
            if self.addresses.holder(*address) == Some(Claimant::Pod(number)) {
                workload.addresses.insert(*address);
                let backed = self.addresses.backs(*address).iter().copied();
                self.touched_services.extend(backed);
            }
        }
        let workload = record.workload;
        self.touch(workload);
    }

    fn detach(&mut self, number: u32) {
        let Some(record) = self.pods.get(number) else {
            return;
        };
        let Some(workload) = self.workloads.get_mut(record.workload) else {
            return;
        };
        workload.pods = workload.pods.saturating_sub(1);
        workload.in_host_network -= u32::from(record.host_network).min(workload.in_host_network);
        if !record.finished {
            discount(&mut workload.label_sets, &record.labels);
            discount(&mut workload.accounts, &record.account);
            discount(&mut workload.image_sets, &record.images);
        }
        if let Some(node) = record.node.as_ref().filter(|_| !record.finished)
            && let Some(pods) = workload.nodes.get_mut(node)
        {
            *pods = pods.saturating_sub(1);
            if *pods == 0 {
                workload.nodes.remove(node);
            }
        }
        for address in &record.addresses {
            if self.addresses.holder(*address) == Some(Claimant::Pod(number)) {
                workload.addresses.remove(address);
            }
        }
        let workload = record.workload;
        self.touch(workload);
    }

    /// Gives up the addresses of the pod that are not among those that it keeps.
    fn give_up(&mut self, number: u32, kept: &[IpAddr], now_us: u64) {
        let Some(record) = self.pods.get(number) else {
            return;
        };
        let given_up: Vec<IpAddr> = record
            .addresses
            .iter()
            .filter(|address| !kept.contains(address))
            .copied()
            .collect();
        for address in given_up {
            let moved = self
                .addresses
                .release(address, Claimant::Pod(number), now_us);
            self.moved(address, moved);
        }
    }

    fn claim_addresses(&mut self, number: u32, now_us: u64) {
        let Some(record) = self.pods.get(number) else {
            return;
        };
        let order = Order {
            rank: Rank::Pod,
            sequence: self.sequence(Watched::Pod),
            lasting: record.lasting,
            bound_us: record.bound_us.max(record.created_us),
            uid: record.uid,
        };
        // A clock may be wrong: nobody gets an address in the future.
        let since_us = match record.bound_us {
            0 => now_us,
            bound_us => bound_us.min(now_us),
        };
        for address in record.addresses.clone() {
            let by = Claimant::Pod(number);
            let is_new = self.addresses.claimants(address).all(|it| it != by);
            let moved = self.addresses.claim(address, by, order, since_us);
            self.moved(address, moved);
            if is_new {
                self.note_overlap(address, by);
            }
        }
    }

    /// Tells of the others that claim an address which somebody has just come to claim.
    fn note_overlap(&mut self, address: IpAddr, by: Claimant) {
        let Some(holder) = self.addresses.holder(address) else {
            return;
        };
        let own = self.workload_of_claimant(by);
        let others = self.addresses.claimants(address);
        let other = others.into_iter().find(|other| {
            let workload = self.workload_of_claimant(*other);
            workload.is_some() && workload != own
        });
        let Some(other) = other else {
            return;
        };
        self.overlaps += 1;
        if self.notes.len() < NOTES_MAX {
            let other = if holder == by { other } else { by };
            self.notes.push(Note::Overlap {
                address,
                holder: self.name_of(holder),
                other: self.name_of(other),
            });
        }
    }
}

/// The ReplicaSet or Job that a pod names.
fn step_of(record: &PodRecord) -> Option<(Watched, Name)> {
    let (kind, name, _) = record.owner.as_ref()?;
    let kind = match kind {
        OwnerKind::ReplicaSet => Watched::ReplicaSet,
        OwnerKind::Job => Watched::Job,
        _ => return None,
    };
    Some((kind, (record.name.0.clone(), name.clone())))
}

/// What a step that is known says of a pod that names it.
fn above(step: &StepRecord, record: &PodRecord) -> Option<(OwnerKind, Arc<str>)> {
    let (kind, name, uid) = record.owner.as_ref()?;
    let facts = step.facts.as_ref().filter(|facts| facts.uid == *uid)?;
    let alone = || (kind.clone(), name.clone());
    Some(facts.owner.clone().unwrap_or_else(alone))
}

fn count<T: Clone + PartialEq>(counts: &mut Vec<(T, u32)>, value: &T) {
    match counts.iter_mut().find(|(known, _)| known == value) {
        Some((_, number)) => *number += 1,
        None => counts.push((value.clone(), 1)),
    }
}

fn discount<T: PartialEq>(counts: &mut Vec<(T, u32)>, value: &T) {
    if let Some(place) = counts.iter().position(|(known, _)| known == value)
        && let Some((_, number)) = counts.get_mut(place)
    {
        *number = number.saturating_sub(1);
        if *number == 0 {
            counts.swap_remove(place);
        }
    }
}

/// The labels that all sets have.
pub(super) fn common(sets: &[(Arc<Labels>, u32)]) -> Option<Labels> {
    let (first, rest) = sets.split_first()?;
    let mut labels = Labels::clone(&first.0);
    labels.retain(|key, value| rest.iter().all(|(set, _)| set.get(key) == Some(value)));
    Some(labels)
}
