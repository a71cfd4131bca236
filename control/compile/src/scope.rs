//! What one node needs of the policy.
//!
//! A node judges the connections of the workloads that run on it. [`scope`] leaves out what makes no
//! difference to them: for any connection with an end on the node, what happens on the wire is the
//! same under the scoped policy as under the whole one.
//!
//! # Who is known on a node
//!
//! * The workloads that run there (those that run everywhere too), and all that are quarantined.
//! * Whom the rules name that bind them.
//! * Every workload that is in a more permissive mode than protect: of two ends the more permissive
//!   decides.
//! * Whoever would be taken for one of these if he were not known, because his network lies within
//!   theirs. Where a rule names `unknown`, or a domain name (anybody's address may be in an answer of
//!   DNS), these are all whose networks lie in no other one.
//! * Everybody, where a workload of the node is open to any peer: of the two ends the other one must
//!   agree too. And everybody where a workload of the node is in discover or monitor: nothing of it is
//!   stopped, so it meets everybody, and is to be told by name.
//!
//! Of the rules remains what concerns a pair with an end on the node, with the identities that are
//! known there; of sensors and threat policies, the targets that are. What holds for everything is
//! left as it is. Workloads known to run elsewhere are marked ([`IdentitySpec::elsewhere`]): a node
//! that traffic between two of them only crosses leaves them to the nodes where they run.

use std::borrow::Cow;
use std::collections::BTreeSet;

use weir_policy::spec::{
    Action, End, IdentitySpec, Mode, RuleSpec, SensorSpec, SnapshotSpec, ThreatPolicySpec,
    UNKNOWN_IDENTITY,
};

use crate::change::address_key;
use crate::nest::Nest;

/// What the node needs on which these identities run, made from nothing.
pub fn scope(whole: &SnapshotSpec, local: &BTreeSet<u32>) -> SnapshotSpec {
    let identities = whole.identities.iter().filter(|one| one.managed);
    let local: BTreeSet<u32> = identities
        .map(|one| one.id)
        .filter(|id| local.contains(id))
        .collect();
    let known = known(whole, &local);
    let is_known = |id: &u32| known.contains(id);
    SnapshotSpec {
        version: whole.version,
        identities: whole
            .identities
            .iter()
            .filter(|one| is_known(&one.id))
            .map(|one| seen_from(one, local.contains(&one.id)).into_owned())
            .collect(),
        addresses: whole
            .addresses
            .iter()
            .filter(|one| is_known(&one.identity))
            .cloned()
            .collect(),
        names: whole
            .names
            .iter()
            .filter(|one| is_known(&one.identity))
            .cloned()
            .collect(),
        rules: whole
            .rules
            .iter()
            .filter_map(|rule| restricted(rule, &local, |id| is_known(&id)))
            .map(Cow::into_owned)
            .collect(),
        unknown: whole.unknown.clone(),
        link: whole.link.clone(),
        deny_style: whole.deny_style,
        claims: whole.claims.clone(),
        sensors: whole
            .sensors
            .iter()
            .filter_map(|sensor| sensor_for(sensor, |id| is_known(&id)))
            .map(Cow::into_owned)
            .collect(),
        threat_policies: whole
            .threat_policies
            .iter()
            .filter_map(|policy| threat_policy_for(policy, |id| is_known(&id)))
            .map(Cow::into_owned)
            .collect(),
    }
}

/// The identities that are known where `local` run; `unknown` is among them.
fn known(whole: &SnapshotSpec, local: &BTreeSet<u32>) -> BTreeSet<u32> {
    let all = || whole.identities.iter();
    let quarantined = all().filter(|one| one.quarantined).map(|one| one.id);
    let mut core: BTreeSet<u32> = quarantined.chain([UNKNOWN_IDENTITY]).collect();
    if local.is_empty() {
        return core;
    }
    let lenient = all().any(|one| local.contains(&one.id) && one.mode != Mode::Protect);
    let mut named: BTreeSet<u32> = BTreeSet::new();
    let mut open = false;
    for rule in &whole.rules {
        let (subjects, peers) = ends(rule);
        if meets(subjects, local) {
            named.extend(peers.iter().copied());
            open |= peers.is_empty() && rule.action == Action::Allow;
        }
    }
    if lenient || open {
        core.extend(all().map(|one| one.id));
        return core;
    }
    let by_name = whole
        .names
        .iter()
        .any(|name| named.contains(&name.identity));
    let outside = by_name || named.contains(&UNKNOWN_IDENTITY);
    core.extend(local);
    core.extend(named);
    core.extend(all().filter(|one| is_lenient(one)).map(|one| one.id));
    let taken_for = |id: u32| match id {
        UNKNOWN_IDENTITY => outside,
        id => core.contains(&id),
    };
    let nest = Nest::of(&whole.addresses);
    let mut known = core.clone();
    for address in &whole.addresses {
        nest.parents(address_key(address), |parent| {
            if taken_for(parent) {
                known.insert(address.identity);
            }
        });
    }
    for name in &whole.names {
        let parent = whole
            .names
            .iter()
            .filter(|other| other.pattern != name.pattern && covers(&other.pattern, &name.pattern))
            .max_by_key(|other| other.pattern.len());
        if taken_for(parent.map_or(UNKNOWN_IDENTITY, |parent| parent.identity)) {
            known.insert(name.identity);
        }
    }
    known
}

/// Whether the wildcard stands for every name that the other pattern stands for.
pub(crate) fn covers(wildcard: &str, pattern: &str) -> bool {
    let pattern = pattern.strip_prefix('*').unwrap_or(pattern);
    (wildcard.strip_prefix('*')).is_some_and(|suffix| pattern.ends_with(suffix))
}

/// Whether of two ends this one would decide against a protected one.
pub(crate) fn is_lenient(identity: &IdentitySpec) -> bool {
    identity.managed && identity.mode != Mode::Protect
}

/// The identity as a node has it.
pub(crate) fn seen_from(identity: &IdentitySpec, here: bool) -> Cow<'_, IdentitySpec> {
    let elsewhere = identity.managed && !here;
    match identity.elsewhere == elsewhere {
        true => Cow::Borrowed(identity),
        false => Cow::Owned(IdentitySpec {
            elsewhere,
            ..identity.clone()
        }),
    }
}

/// Whom a rule binds and whom it names; empty means any.
pub(crate) fn ends(rule: &RuleSpec) -> (&[u32], &[u32]) {
    match rule.end {
        End::Server => (&rule.servers, &rule.clients),
        End::Client => (&rule.clients, &rule.servers),
    }
}

/// Whether the list names one of these, or anybody.
pub(crate) fn meets(list: &[u32], these: &BTreeSet<u32>) -> bool {
    list.is_empty()
        || match list.len() < these.len() {
            true => list.iter().any(|id| these.contains(id)),
            false => these.iter().any(|id| list.binary_search(id).is_ok()),
        }
}

/// What remains of a rule for the pairs that have an end in `local`.
pub(crate) fn restricted<'a>(
    rule: &'a RuleSpec,
    local: &BTreeSet<u32>,
    known: impl Fn(u32) -> bool,
) -> Option<Cow<'a, RuleSpec>> {
    if local.is_empty() {
        return None;
    }
    let (subjects, peers) = ends(rule);
    let here = |list: &[u32]| -> Vec<u32> {
        match list.len() < local.len() {
            true => (list.iter().copied().filter(|id| local.contains(id))).collect(),
            false => (local.iter().copied())
                .filter(|id| list.binary_search(id).is_ok())
                .collect(),
        }
    };
    let seen = |list: &[u32]| -> Vec<u32> {
        let ids = list.iter().copied();
        ids.filter(|&id| id == UNKNOWN_IDENTITY || known(id))
            .collect()
    };
    let (binds, names) = (meets(subjects, local), meets(peers, local));
    // An empty list means any, and must not come of one that named somebody.
    let (new_subjects, new_peers) = match (binds, names) {
        (true, true) => (seen(subjects), seen(peers)),
        (true, false) => (here(subjects), seen(peers)),
        (false, true) => (seen(subjects), here(peers)),
        (false, false) => return None,
    };
    let emptied = |old: &[u32], new: &[u32]| !old.is_empty() && new.is_empty();
    if emptied(subjects, &new_subjects) || emptied(peers, &new_peers) {
        return None;
    }
    if new_subjects == subjects && new_peers == peers {
        return Some(Cow::Borrowed(rule));
    }
    let (clients, servers) = match rule.end {
        End::Server => (new_peers, new_subjects),
        End::Client => (new_subjects, new_peers),
    };
    let rule = RuleSpec {
        clients,
        servers,
        ..rule.clone()
    };
    Some(Cow::Owned(rule))
}

/// What remains of a sensor.
pub(crate) fn sensor_for(
    sensor: &SensorSpec,
    known: impl Fn(u32) -> bool,
) -> Option<Cow<'_, SensorSpec>> {
    let targets = targets_among(&sensor.targets, known)?;
    if targets == sensor.targets {
        return Some(Cow::Borrowed(sensor));
    }
    let sensor = SensorSpec {
        targets,
        ..sensor.clone()
    };
    Some(Cow::Owned(sensor))
}

/// What remains of a threat policy.
pub(crate) fn threat_policy_for(
    policy: &ThreatPolicySpec,
    known: impl Fn(u32) -> bool,
) -> Option<Cow<'_, ThreatPolicySpec>> {
    let targets = targets_among(&policy.targets, known)?;
    if targets == policy.targets {
        return Some(Cow::Borrowed(policy));
    }
    let policy = ThreatPolicySpec {
        targets,
        ..policy.clone()
    };
    Some(Cow::Owned(policy))
}

/// None where nobody is left: an empty list means everybody.
fn targets_among(targets: &[u32], known: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
    let left: Vec<u32> = targets.iter().copied().filter(|&id| known(id)).collect();
    (targets.is_empty() || !left.is_empty()).then_some(left)
}
