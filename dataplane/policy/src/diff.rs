//! What a change of policy opens and closes, for people to read before it is applied.
//!
//! Identities are compared by name, since numbers may differ between two compilations. Whether a
//! change weakens is judged rule by rule: an allow that a rule before covered opens nothing. It errs
//! to the side of saying so: what only several rules together covered counts as opened.

use std::collections::{BTreeMap, HashSet};

use crate::Snapshot;
use crate::spec::{Action, ConditionSpec, IdentitySpec, Mode, RuleSpec, SensorAction, SensorSpec};

/// What happened to a rule or a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// A setting has another value.
    Altered,
}

/// One difference between two policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyChange {
    /// What happened.
    pub change: Change,
    /// The rule's name, or the setting with its old and new value.
    pub rule: String,
    /// Whether it lets something through that was stopped before.
    pub weakens: bool,
}

/// A rule with the names of its identities.
#[derive(PartialEq, Eq, Hash)]
struct Named<'a> {
    clients: Vec<&'a str>,
    servers: Vec<&'a str>,
    /// The rule as it stands, but for its numbers.
    rule: RuleSpec,
}

impl Snapshot {
    /// What changes from this policy to `next`: first what is removed, then what is added, then the
    /// settings that have another value.
    pub fn diff(&self, next: &Snapshot) -> Vec<PolicyChange> {
        let (before, after) = (self.named_rules(), next.named_rules());
        let mut changes = missing(&before, &after, Change::Removed, Action::Deny);
        changes.extend(missing(&after, &before, Change::Added, Action::Allow));
        changes.extend(self.altered_identities(next));
        changes.extend(self.altered_settings(next));
        changes.extend(self.altered_sensors(next));
        changes
    }

    /// Sensors, by name. One that drops weakens where it goes or only tells from now on; whatever else
    /// changes in it may too, since what its expressions no longer cover cannot be told.
    fn altered_sensors(&self, next: &Snapshot) -> Vec<PolicyChange> {
        let (before, after) = (self.named_sensors(), next.named_sensors());
        let mut changes = Vec::new();
        for (name, sensor) in &before {
            let drops = sensor.0.action == SensorAction::Drop;
            match after.get(name) {
                None => changes.push(PolicyChange {
                    change: Change::Removed,
                    rule: (*name).to_owned(),
                    weakens: drops,
                }),
                Some(same) if same == sensor => {}
                Some(_) => changes.push(altered((*name).to_owned(), drops)),
            }
        }
        let added = after.keys().filter(|name| !before.contains_key(*name));
        changes.extend(added.map(|name| PolicyChange {
            change: Change::Added,
            rule: (*name).to_owned(),
            weakens: false,
        }));
        changes
    }

    /// Each with the names of its targets in the place of their numbers.
    fn named_sensors(&self) -> BTreeMap<&str, (SensorSpec, Vec<&str>)> {
        let sensors = self.spec().sensors.iter();
        sensors
            .map(|sensor| {
                let targets = sensor.targets.iter().map(|&id| self.identity_name(id));
                let without_numbers = SensorSpec {
                    id: 0,
                    targets: vec![],
                    ..sensor.clone()
                };
                (sensor.name.as_str(), (without_numbers, targets.collect()))
            })
            .collect()
    }

    fn named_rules(&self) -> Vec<Named<'_>> {
        let names = |identities: &[u32]| {
            let mut names: Vec<&str> = identities
                .iter()
                .map(|&id| self.identity_name(id))
                .collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let without_numbers = |rule: &RuleSpec| RuleSpec {
            id: 0,
            clients: vec![],
            servers: vec![],
            ..rule.clone()
        };
        let rules = self.spec().rules.iter();
        rules
            .map(|rule| Named {
                clients: names(&rule.clients),
                servers: names(&rule.servers),
                rule: without_numbers(rule),
            })
            .collect()
    }

    fn altered_identities(&self, next: &Snapshot) -> Vec<PolicyChange> {
        let mut changes = Vec::new();
        let mut seen = HashSet::new();
        for after in next
            .spec()
            .identities
            .iter()
            .filter(|identity| seen.insert(&identity.name))
        {
            let before = self
                .identity_by_name(&after.name)
                .and_then(|id| self.identity(id));
            let Some(before) = before else { continue };
            let reach = |identity: &IdentitySpec| identity.managed.then_some(identity.mode);
            if reach(before) != reach(after) {
                let (old, new) = (mode_name(reach(before)), mode_name(reach(after)));
                changes.push(altered(
                    format!("mode of {}: {old} to {new}", after.name),
                    reach(after) < reach(before),
                ));
            }
            if before.quarantined != after.quarantined {
                let what = if after.quarantined { "begins" } else { "ends" };
                changes.push(altered(
                    format!("quarantine of {} {what}", after.name),
                    before.quarantined,
                ));
            }
        }
        changes
    }

    fn altered_settings(&self, next: &Snapshot) -> Vec<PolicyChange> {
        let mut changes = Vec::new();
        let (before, after) = (&self.spec().unknown, &next.spec().unknown);
        if (before.mode, before.action) != (after.mode, after.action) {
            let text = |mode, action| format!("{} {}", mode_name(mode), action_name(action));
            let (old, new) = (
                text(before.mode, before.action),
                text(after.mode, after.action),
            );
            let weakens = after.mode < before.mode || after.action < before.action;
            changes.push(altered(
                format!("unknown addresses: {old} to {new}"),
                weakens,
            ));
        }
        let (before, after) = (&self.spec().link, &next.spec().link);
        if before.mode != after.mode {
            let (old, new) = (mode_name(Some(before.mode)), mode_name(Some(after.mode)));
            changes.push(altered(
                format!("frames that are not IP: {old} to {new}"),
                after.mode < before.mode,
            ));
        }
        for (list, other, change) in [
            (&before.ether_types, &after.ether_types, Change::Removed),
            (&after.ether_types, &before.ether_types, Change::Added),
        ] {
            let gone = list.iter().filter(|kind| !other.contains(kind));
            changes.extend(gone.map(|kind| PolicyChange {
                change,
                rule: format!("EtherType 0x{kind:04x}"),
                weakens: change == Change::Added,
            }));
        }
        changes
    }
}

fn altered(rule: String, weakens: bool) -> PolicyChange {
    PolicyChange {
        change: Change::Altered,
        rule,
        weakens,
    }
}

/// The rules of `list` that `other` does not have. One whose action is `opening` weakens, unless
/// another rule does the same.
fn missing(
    list: &[Named<'_>],
    other: &[Named<'_>],
    change: Change,
    opening: Action,
) -> Vec<PolicyChange> {
    let others: HashSet<&Named<'_>> = other.iter().collect();
    let missing = list.iter().filter(|rule| !others.contains(rule));
    missing
        .map(|rule| PolicyChange {
            change,
            rule: rule.rule.name.clone(),
            weakens: rule.rule.action == opening && !other.iter().any(|wide| wide.covers(rule)),
        })
        .collect()
}

impl Named<'_> {
    /// Whether this rule applies wherever the narrow one does, and says the same.
    fn covers(&self, narrow: &Self) -> bool {
        let (wide, rule) = (&self.rule, &narrow.rule);
        wide.action == rule.action
            && wide.end == rule.end
            && includes_sorted(&self.clients, &narrow.clients)
            && includes_sorted(&self.servers, &narrow.servers)
            && includes(&wide.applications, &rule.applications)
            && includes(&wide.protocols, &rule.protocols)
            && includes_ports(&wide.ports, &rule.ports)
            && wide.conditions.iter().all(|condition| {
                rule.conditions
                    .iter()
                    .any(|other| implies(other, condition))
            })
    }
}

/// Lists where empty means any.
fn includes<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}

/// The same of sorted lists, which may be long.
fn includes_sorted(wide: &[&str], narrow: &[&str]) -> bool {
    let within = |item: &&str| wide.binary_search(item).is_ok();
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(within))
}

fn includes_ports(wide: &[(u16, u16)], narrow: &[(u16, u16)]) -> bool {
    let within =
        |&(first, last): &(u16, u16)| wide.iter().any(|&(from, to)| from <= first && last <= to);
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(within))
}

fn implies(narrow: &ConditionSpec, wide: &ConditionSpec) -> bool {
    narrow.field == wide.field
        && narrow
            .patterns
            .iter()
            .all(|pattern| wide.patterns.contains(pattern))
}

fn mode_name(mode: Option<Mode>) -> &'static str {
    match mode {
        None => "unmanaged",
        Some(Mode::Discover) => "discover",
        Some(Mode::Monitor) => "monitor",
        Some(Mode::Protect) => "protect",
    }
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{End, Pattern, SnapshotSpec};

    fn rule(id: u32, name: &str, action: Action, ports: &[(u16, u16)]) -> RuleSpec {
        RuleSpec {
            id,
            name: name.into(),
            action,
            end: End::Server,
            clients: vec![],
            servers: vec![1],
            applications: vec!["http".into()],
            protocols: vec![],
            ports: ports.into(),
            conditions: vec![],
        }
    }

    fn snapshot(mode: Mode, quarantined: bool, rules: Vec<RuleSpec>) -> Snapshot {
        let identity = IdentitySpec {
            id: 1,
            name: "shop/a".into(),
            labels: vec![],
            managed: true,
            mode,
            quarantined,
            ..IdentitySpec::default()
        };
        Snapshot::build(SnapshotSpec {
            identities: vec![identity],
            rules,
            ..Default::default()
        })
        .unwrap()
    }

    fn told(changes: &[PolicyChange]) -> Vec<(Change, &str, bool)> {
        changes
            .iter()
            .map(|change| (change.change, change.rule.as_str(), change.weakens))
            .collect()
    }

    #[test]
    fn equal_policies_do_not_differ_whatever_their_numbers() {
        let one = snapshot(Mode::Protect, false, vec![rule(1, "a", Action::Allow, &[])]);
        let two = snapshot(Mode::Protect, false, vec![rule(9, "a", Action::Allow, &[])]);
        assert_eq!(one.diff(&two), vec![]);
    }

    #[test]
    fn narrowing_does_not_weaken_and_widening_does() {
        let wide = snapshot(
            Mode::Protect,
            false,
            vec![rule(1, "a", Action::Allow, &[(80, 90)])],
        );
        let narrow = snapshot(
            Mode::Protect,
            false,
            vec![rule(1, "a", Action::Allow, &[(81, 82)])],
        );
        assert_eq!(
            told(&wide.diff(&narrow)),
            [(Change::Removed, "a", false), (Change::Added, "a", false)]
        );
        assert_eq!(
            told(&narrow.diff(&wide)),
            [(Change::Removed, "a", false), (Change::Added, "a", true)]
        );
        let mut conditional = rule(1, "a", Action::Allow, &[(80, 90)]);
        let patterns = vec![Pattern::Prefix("/api/".into())];
        conditional.conditions = vec![ConditionSpec {
            field: "http.path".into(),
            patterns,
        }];
        let conditional = snapshot(Mode::Protect, false, vec![conditional]);
        assert!(!wide.diff(&conditional)[1].weakens);
        assert!(conditional.diff(&wide)[1].weakens);
    }

    #[test]
    fn taking_a_denial_away_weakens() {
        let denied = snapshot(Mode::Protect, false, vec![rule(1, "d", Action::Deny, &[])]);
        let open = snapshot(Mode::Protect, false, vec![]);
        assert_eq!(told(&denied.diff(&open)), [(Change::Removed, "d", true)]);
        assert_eq!(told(&open.diff(&denied)), [(Change::Added, "d", false)]);
    }

    #[test]
    fn settings_are_told() {
        let strict = snapshot(Mode::Protect, true, vec![]);
        let loose = snapshot(Mode::Monitor, false, vec![]);
        assert_eq!(
            told(&strict.diff(&loose)),
            [
                (Change::Altered, "mode of shop/a: protect to monitor", true),
                (Change::Altered, "quarantine of shop/a ends", true)
            ]
        );
        assert!(loose.diff(&strict).iter().all(|change| !change.weakens));
    }
}
