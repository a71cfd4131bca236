//! A policy that was sent, held against what the signed documents come to.

use std::collections::{BTreeMap, BTreeSet};

use weir_bundle::{Bundle, is_policy};
use weir_compile::{compile, scope};
use weir_model::{Document, Located};
use weir_policy::Snapshot;
use weir_policy::spec::{
    AddressSpec, IdentitySpec, NameSpec, RuleSpec, SensorSpec, SnapshotSpec, ThreatPolicySpec,
    UNKNOWN_IDENTITY,
};

use super::{facts, listed};

/// What the documents come to. Sensors are kept as long as bundle and labels are the same: to compile
/// them takes longer than all the rest.
#[derive(Debug, Default)]
pub(super) struct Expected {
    sensors: Option<(SensorsOf, Vec<SensorSpec>)>,
}

/// What sensors depend on: the documents, and of each workload its name and the labels that select it.
type SensorsOf = (String, Vec<(u32, String, Labels, Labels)>);
type Labels = Vec<(String, String)>;

impl Expected {
    /// What differs between the policy and what the bundle's documents come to over the same identities.
    pub(super) fn compare(&mut self, bundle: &Bundle, sent: &SnapshotSpec) -> Result<(), String> {
        let differs = |why: String| {
            let (name, sequence) = (&bundle.name, bundle.sequence);
            format!("the policy is not what bundle {name} {sequence} says: {why}")
        };
        let ids = identities_by_name(sent).map_err(differs)?;
        let expected = self.expected(bundle, sent, &ids).map_err(differs)?;
        equal(bundle, expected, sent).map_err(differs)
    }

    /// The policy as this node would have compiled it, with the numbers that were sent.
    fn expected(
        &mut self,
        bundle: &Bundle,
        sent: &SnapshotSpec,
        ids: &BTreeMap<&str, u32>,
    ) -> Result<SnapshotSpec, String> {
        let facts = facts::documents(sent, &bundle.pinned())?;
        let signed = bundle.located();
        let (sensors, others): (Vec<_>, Vec<_>) = signed
            .into_iter()
            .partition(|located| matches!(located.value, Document::Sensor(_)));
        // Whom sensors select may be signed too.
        let pinned = others
            .iter()
            .filter(|located| !is_policy(located.value.kind()));
        let who = facts.iter().chain(pinned).cloned().collect();
        let mut whole = compiled(facts.into_iter().chain(others).collect(), ids)?;
        whole.sensors = self.sensors(bundle, sent, who, sensors, ids)?;
        let local = sent.identities.iter();
        let local = local.filter(|identity| identity.managed && !identity.elsewhere);
        let local: BTreeSet<u32> = local.map(|identity| identity.id).collect();
        // What is sent whole, to a node that knows everybody, is not scoped.
        if canonical(&stricter(bundle, whole.clone(), sent)) == canonical(sent) {
            return Ok(whole);
        }
        Ok(scope(&whole, &local))
    }

    fn sensors(
        &mut self,
        bundle: &Bundle,
        sent: &SnapshotSpec,
        who: Vec<Located<Document>>,
        sensors: Vec<Located<Document>>,
        ids: &BTreeMap<&str, u32>,
    ) -> Result<Vec<SensorSpec>, String> {
        if sensors.is_empty() {
            return Ok(Vec::new());
        }
        let managed = sent.identities.iter().filter(|identity| identity.managed);
        let of = managed.map(|one| {
            let (labels, of_namespace) = (one.labels.clone(), one.namespace_labels.clone());
            (one.id, one.name.clone(), labels, of_namespace)
        });
        let of = (bundle.documents_digest().to_owned(), of.collect());
        if let Some((same, sensors)) = &self.sensors
            && *same == of
        {
            return Ok(sensors.clone());
        }
        let compiled = compiled(who.into_iter().chain(sensors).collect(), ids)?;
        self.sensors = Some((of, compiled.sensors.clone()));
        Ok(compiled.sensors)
    }
}

/// The number of each name; a name that stands for two would hide one of them.
fn identities_by_name(sent: &SnapshotSpec) -> Result<BTreeMap<&str, u32>, String> {
    let mut ids = BTreeMap::new();
    for identity in &sent.identities {
        if ids.insert(identity.name.as_str(), identity.id).is_some() {
            return Err(format!("{:?} is there twice", identity.name));
        }
    }
    Ok(ids)
}

/// What documents come to, with these numbers for names; names without one get those that are free.
fn compiled(
    documents: Vec<Located<Document>>,
    ids: &BTreeMap<&str, u32>,
) -> Result<SnapshotSpec, String> {
    let compiled = compile(&documents, None);
    if let Some(problem) = compiled.problems.first() {
        return Err(format!("the documents do not compile here: {problem}"));
    }
    Ok(renumbered(compiled.spec, ids))
}

fn renumbered(mut spec: SnapshotSpec, ids: &BTreeMap<&str, u32>) -> SnapshotSpec {
    let taken: BTreeSet<u32> = ids.values().copied().collect();
    let mut free = (1..u32::MAX).filter(|id| !taken.contains(id));
    let mut numbers = BTreeMap::from([(UNKNOWN_IDENTITY, UNKNOWN_IDENTITY)]);
    for identity in &mut spec.identities {
        let number = ids.get(identity.name.as_str()).copied();
        let number = number.or_else(|| free.next()).unwrap_or(u32::MAX);
        numbers.insert(identity.id, number);
        identity.id = number;
    }
    let number = |id: &mut u32| *id = numbers.get(id).copied().unwrap_or(u32::MAX);
    let list = |list: &mut Vec<u32>| {
        list.iter_mut().for_each(number);
        list.sort_unstable();
    };
    spec.identities.sort_by_key(|identity| identity.id);
    spec.addresses
        .iter_mut()
        .for_each(|address| number(&mut address.identity));
    spec.names
        .iter_mut()
        .for_each(|name| number(&mut name.identity));
    for rule in &mut spec.rules {
        list(&mut rule.clients);
        list(&mut rule.servers);
    }
    spec.sensors
        .iter_mut()
        .for_each(|sensor| list(&mut sensor.targets));
    spec.threat_policies
        .iter_mut()
        .for_each(|policy| list(&mut policy.targets));
    spec
}

fn equal(bundle: &Bundle, expected: SnapshotSpec, sent: &SnapshotSpec) -> Result<(), String> {
    let expected = stricter(bundle, expected, sent);
    if canonical(&expected) == canonical(sent) {
        return Ok(());
    }
    Err(difference(&expected, sent))
}

/// What is expected, with what was sent where that may be stricter: quarantines, and the mode of frames
/// that are not IP where it follows from workloads that this node does not know.
fn stricter(bundle: &Bundle, mut expected: SnapshotSpec, sent: &SnapshotSpec) -> SnapshotSpec {
    let explicit = bundle.documents().iter().any(|document| match document {
        Document::Settings(settings) => settings
            .spec
            .link
            .as_ref()
            .is_some_and(|link| link.mode.is_some()),
        _ => false,
    });
    if !explicit && sent.link.mode > expected.link.mode {
        expected.link.mode = sent.link.mode;
    }
    let quarantined = sent.identities.iter().filter(|one| one.quarantined);
    let quarantined: BTreeSet<u32> = quarantined.map(|one| one.id).collect();
    for identity in &mut expected.identities {
        identity.quarantined |= quarantined.contains(&identity.id);
    }
    expected
}

/// Everything that decides, without the numbers of rules, which say nothing.
#[derive(PartialEq)]
struct Canonical {
    identities: Vec<IdentitySpec>,
    addresses: Vec<AddressSpec>,
    names: Vec<NameSpec>,
    rules: Vec<RuleSpec>,
    sensors: Vec<SensorSpec>,
    threat_policies: Vec<ThreatPolicySpec>,
    rest: SnapshotSpec,
}

fn canonical(spec: &SnapshotSpec) -> Canonical {
    let identity = |one: &IdentitySpec| IdentitySpec {
        id: one.id,
        name: one.name.clone(),
        labels: one.labels.clone(),
        managed: one.managed,
        mode: one.mode,
        quarantined: one.quarantined,
        ..IdentitySpec::default()
    };
    let mut canonical = Canonical {
        identities: spec.identities.iter().map(identity).collect(),
        addresses: spec.addresses.clone(),
        names: spec.names.clone(),
        rules: spec.rules.clone(),
        sensors: spec.sensors.clone(),
        threat_policies: spec.threat_policies.clone(),
        rest: SnapshotSpec {
            unknown: spec.unknown.clone(),
            link: spec.link.clone(),
            deny_style: spec.deny_style,
            ..SnapshotSpec::default()
        },
    };
    canonical.addresses.sort();
    canonical.names.sort_by(|a, b| a.pattern.cmp(&b.pattern));
    canonical.rules.iter_mut().for_each(|rule| rule.id = 0);
    canonical.rules.sort_by(|a, b| a.name.cmp(&b.name));
    canonical
        .sensors
        .iter_mut()
        .for_each(|sensor| sensor.id = 0);
    canonical.sensors.sort_by(|a, b| a.name.cmp(&b.name));
    canonical
        .threat_policies
        .iter_mut()
        .for_each(|policy| policy.id = 0);
    canonical
        .threat_policies
        .sort_by(|a, b| a.name.cmp(&b.name));
    canonical
}

/// The difference in words.
fn difference(expected: &SnapshotSpec, sent: &SnapshotSpec) -> String {
    let mut told = Vec::new();
    if let (Ok(signed), Ok(other)) = (
        Snapshot::build(expected.clone()),
        Snapshot::build(sent.clone()),
    ) {
        let mut changes = signed.diff(&other);
        // What opens comes first: only a few are told.
        changes.sort_by_key(|change| !change.weakens);
        told = changes
            .iter()
            .map(|change| {
                let what = match change.change {
                    weir_policy::Change::Added => "is not signed",
                    weir_policy::Change::Removed => "is missing",
                    weir_policy::Change::Altered => "is altered",
                };
                let opens = if change.weakens { " (opens)" } else { "" };
                format!("{} {what}{opens}", change.rule)
            })
            .collect();
    }
    let names = |spec: &SnapshotSpec| -> BTreeSet<String> {
        spec.identities.iter().map(|one| one.name.clone()).collect()
    };
    let (signed, other) = (names(expected), names(sent));
    told.extend(
        other
            .difference(&signed)
            .map(|name| format!("identity {name} is not signed")),
    );
    told.extend(
        signed
            .difference(&other)
            .map(|name| format!("identity {name} is missing")),
    );
    let (signed, other) = (canonical(expected), canonical(sent));
    for (what, same) in [
        (
            "the labels or modes of identities differ",
            signed.identities == other.identities,
        ),
        (
            "the addresses of identities differ",
            signed.addresses == other.addresses,
        ),
        (
            "the domain names of identities differ",
            signed.names == other.names,
        ),
        ("rules differ", signed.rules == other.rules),
        ("sensors differ", signed.sensors == other.sensors),
        (
            "threat policies differ",
            signed.threat_policies == other.threat_policies,
        ),
        ("settings differ", signed.rest == other.rest),
    ] {
        if !same && told.is_empty() {
            told.push(what.to_owned());
        }
    }
    listed(told)
}
