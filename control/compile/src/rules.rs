//! The rules of the allowlists, checked against what a node can enforce.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_l7::{FieldKind, registry};
use weir_model::{
    Allowlist, Condition, Document, Located, Problem, Rule, Selector, Stage, did_you_mean,
};
use weir_policy::spec::{ConditionSpec, End, Pattern, RuleSpec};

use crate::inventory::Inventory;
use crate::modes::policy_action;
use crate::peers::{Matcher, Peers};
use crate::{Documents, Report};

/// Bounds what a comparison costs for each byte of a request; a node refuses more.
const PATTERN_BYTES_MAX: usize = 1024;

/// All rules, sorted by id.
pub(crate) fn compile(
    documents: &Documents<'_>,
    inventory: &Inventory<'_>,
    report: &mut Report,
) -> Vec<RuleSpec> {
    let mut rules = BTreeMap::new();
    for located in &documents.sorted {
        let (Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist)) =
            &located.value
        else {
            continue;
        };
        // A draft has no effect.
        if allowlist.spec.stage == Some(Stage::Draft) {
            continue;
        }
        allowlist_rules(located, allowlist, inventory, &mut rules, report);
    }
    rules.into_values().collect()
}

fn allowlist_rules(
    located: &Located<Document>,
    allowlist: &Allowlist,
    inventory: &Inventory<'_>,
    rules: &mut BTreeMap<u32, RuleSpec>,
    report: &mut Report,
) {
    let namespace = &allowlist.metadata.namespace;
    let targets: Vec<u32> = inventory
        .select(&allowlist.spec.target, namespace)
        .into_iter()
        .collect();
    if targets.is_empty() {
        report.warnings.push(located.problem(
            "spec.target",
            "selects no workload, so the allowlist governs nobody",
            inventory.advice(&allowlist.spec.target, namespace),
        ));
    }
    let matcher = Matcher::new(inventory, located, allowlist);
    let directions = [
        (End::Server, "ingress", "from", &allowlist.spec.ingress),
        (End::Client, "egress", "to", &allowlist.spec.egress),
    ];
    for (end, direction, peers_field, written) in directions {
        for (index, rule) in written.iter().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            let application = Terms {
                located,
                field: &field,
                rule,
            }
            .check(report);
            let peers = matcher.peers(rule, &format!("{field}.{peers_field}"), report);
            let peers = match peers {
                Peers::Any => Vec::new(),
                // An empty list would mean any: a rule for nobody is left out instead.
                Peers::These(these) if these.is_empty() => continue,
                Peers::These(these) => these.into_iter().collect(),
            };
            // So would an empty list of targets.
            if targets.is_empty() {
                continue;
            }
            let (clients, servers) = match end {
                End::Server => (peers, targets.clone()),
                End::Client => (targets.clone(), peers),
            };
            let name = format!("{} {direction}[{index}]", located.value.title());
            let id = free_id(rules, &name, &allowlist.spec.target, rule);
            let spec = RuleSpec {
                id,
                name,
                end,
                clients,
                servers,
                ..terms(rule, application)
            };
            rules.insert(id, spec);
        }
    }
}

/// From the rule's place and text, so that it stays while they stay. The rules come in the order of
/// their names: if two ever met, the same one would step aside each time.
fn free_id(rules: &BTreeMap<u32, RuleSpec>, name: &str, target: &Selector, rule: &Rule) -> u32 {
    let text = format!("{name}\n{target:?}\n{rule:?}");
    stable_id(text.as_bytes(), |id| rules.contains_key(&id))
}

/// A number that equal text always has, unless it is taken.
pub(crate) fn stable_id(text: &[u8], taken: impl Fn(u32) -> bool) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(text);
    let hash = hasher.finish();
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let mut id = (hash ^ (hash >> 32)) as u32;
    while id == 0 || taken(id) {
        id = id.wrapping_add(1);
    }
    id
}

/// Everything but the rule's place and ends.
fn terms(rule: &Rule, application: Option<String>) -> RuleSpec {
    let applications: BTreeSet<String> = rule
        .applications
        .iter()
        .cloned()
        .chain(application)
        .collect();
    let protocols: BTreeSet<u8> = rule.protocols.iter().map(|protocol| protocol.0).collect();
    let ports: BTreeSet<(u16, u16)> = rule
        .ports
        .iter()
        .map(|range| (range.first(), range.last()))
        .collect();
    RuleSpec {
        id: 0,
        name: String::new(),
        action: policy_action(rule.action),
        end: End::Server,
        clients: Vec::new(),
        servers: Vec::new(),
        applications: applications.into_iter().collect(),
        protocols: protocols.into_iter().collect(),
        ports: ports.into_iter().collect(),
        conditions: rule.when.iter().map(condition).collect(),
    }
}

fn condition(condition: &Condition) -> ConditionSpec {
    let exact = condition.exact.iter().cloned().map(Pattern::Exact);
    let prefix = condition.prefix.iter().cloned().map(Pattern::Prefix);
    let suffix = condition.suffix.iter().cloned().map(Pattern::Suffix);
    let glob = condition.glob.iter().cloned().map(Pattern::Glob);
    ConditionSpec {
        field: condition.field.clone(),
        patterns: exact.chain(prefix).chain(suffix).chain(glob).collect(),
    }
}

/// Applications, protocols and conditions of one rule.
struct Terms<'a> {
    located: &'a Located<Document>,
    field: &'a str,
    rule: &'a Rule,
}

impl Terms<'_> {
    /// Returns the application that the conditions imply.
    fn check(&self, report: &mut Report) -> Option<String> {
        for (index, name) in self.rule.applications.iter().enumerate() {
            self.application(index, name, report);
        }
        let mut implied: Option<&'static str> = None;
        for (index, condition) in self.rule.when.iter().enumerate() {
            if let Err(problem) = self.condition(index, condition, &mut implied) {
                report.problems.push(problem);
            }
        }
        implied.map(str::to_owned)
    }

    fn at(&self, field: &str, message: String, next_step: impl Into<String>) -> Problem {
        self.located
            .problem(&format!("{}.{field}", self.field), message, next_step)
    }

    fn application(&self, index: usize, name: &str, report: &mut Report) {
        let field = format!("applications[{index}]");
        let Some(app) = registry::by_name(name) else {
            let names = || registry::applications().iter().map(|row| row.name);
            let next_step = match did_you_mean(name, names()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!(
                    "known are {} and unknown",
                    names().collect::<Vec<_>>().join(", ")
                ),
            };
            report.problems.push(self.at(
                &field,
                format!("unknown application {name:?}"),
                next_step,
            ));
            return;
        };
        let Some(row) = registry::info(app) else {
            return;
        };
        let carried = |protocol: u8| {
            row.transports
                .iter()
                .any(|transport| transport.protocol() == protocol)
        };
        let protocols = &self.rule.protocols;
        if !protocols.is_empty() && !protocols.iter().any(|protocol| carried(protocol.0)) {
            let message =
                format!("none of the rule's protocols carries {name}, so this matches nothing");
            report
                .warnings
                .push(self.at(&field, message, "correct protocols or leave them out"));
        }
    }

    fn condition(
        &self,
        index: usize,
        condition: &Condition,
        implied: &mut Option<&'static str>,
    ) -> Result<(), Problem> {
        let field = format!("when[{index}].field");
        let name = &condition.field;
        let Some(found) = registry::field(name) else {
            return Err(self.at(
                &field,
                format!("unknown field {name:?}"),
                nearest_field(name),
            ));
        };
        let application = registry::name(found.app);
        let Some(spec) = found.spec().filter(|spec| spec.condition) else {
            let message =
                format!("a condition on {name} cannot be enforced: not every request carries it");
            return Err(self.at(&field, message, usable_fields(application)));
        };
        let has_it = |other: &str| {
            registry::by_name(other).is_some_and(|other| registry::refines(other, found.app))
        };
        if let Some(other) = self.rule.applications.iter().find(|other| !has_it(other)) {
            let message =
                format!("{other} has no {name}, so the condition would never hold for it");
            let next_step =
                format!("give {application} a rule of its own, with applications: [{application}]");
            return Err(self.at(&field, message, next_step));
        }
        // Of two the special case is meant: a request of it has the fields of both.
        *implied = match *implied {
            Some(other) if has_it(other) => Some(other),
            Some(other)
                if !registry::by_name(other)
                    .is_some_and(|other| registry::refines(found.app, other)) =>
            {
                let message = format!("no request has both {name} and a field of {other}");
                return Err(self.at(&field, message, "make two rules of it"));
            }
            _ => Some(application),
        };
        self.patterns(index, condition, spec.kind)
    }

    fn patterns(
        &self,
        index: usize,
        condition: &Condition,
        kind: FieldKind,
    ) -> Result<(), Problem> {
        let lists = [
            ("in", &condition.exact),
            ("prefix", &condition.prefix),
            ("suffix", &condition.suffix),
            ("glob", &condition.glob),
        ];
        for (word, patterns) in lists {
            for (place, pattern) in patterns.iter().enumerate() {
                let field = format!("when[{index}].{word}[{place}]");
                if pattern.len() > PATTERN_BYTES_MAX {
                    let message = format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes");
                    return Err(self.at(&field, message, "shorten it: a prefix serves as well"));
                }
                let wrong = match kind {
                    FieldKind::Number if word != "in" || !is_number(pattern) => "a number",
                    FieldKind::Address if word != "in" || !is_address(pattern) => "an address",
                    FieldKind::Text | FieldKind::Number | FieldKind::Address => continue,
                };
                let message = format!("{} is {wrong}, which this can never equal", condition.field);
                return Err(self.at(
                    &field,
                    message,
                    format!("write in: with {wrong} in its usual form"),
                ));
            }
        }
        Ok(())
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>()
        .is_ok_and(|number| number.to_string() == text)
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.to_string() == text)
}

fn nearest_field(name: &str) -> String {
    let fields: Vec<String> = registry::applications()
        .iter()
        .flat_map(|row| {
            row.fields
                .iter()
                .filter(|spec| spec.condition)
                .map(|spec| format!("{}.{}", row.name, spec.name))
        })
        .collect();
    match did_you_mean(name, fields.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => match name
            .split_once('.')
            .filter(|(application, _)| registry::by_name(application).is_some())
        {
            Some((application, _)) => usable_fields(application),
            None => format!(
                "write it as application.field; known are {}",
                fields.join(", ")
            ),
        },
    }
}

/// The conditions that can be put on an application.
fn usable_fields(application: &str) -> String {
    let fields: Vec<String> = registry::applications()
        .iter()
        .filter(|row| row.name == application)
        .flat_map(|row| {
            row.fields
                .iter()
                .filter(|spec| spec.condition)
                .map(|spec| format!("{}.{}", row.name, spec.name))
        })
        .collect();
    match fields.is_empty() {
        true => format!("{application} has no conditions; remove it"),
        false => format!("conditions of {application} are {}", fields.join(", ")),
    }
}
