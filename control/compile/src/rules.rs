//! The rules of the allowlists, checked against what a node can enforce.

use std::collections::BTreeSet;

use weir_l7::{FieldKind, registry};
use weir_model::{Condition, Document, Located, Problem, Rule, did_you_mean};
use weir_policy::spec::{ConditionSpec, End, Pattern, RuleSpec};

use crate::modes::policy_action;
use crate::report::Report;

/// Bounds what a comparison costs for each byte of a request; a node refuses more.
const PATTERN_BYTES_MAX: usize = 1024;

/// Checks what a rule asks for against what a node can enforce; returns the application that its
/// conditions imply. `field` is the path of the rule.
pub(crate) fn implied(
    located: &Located<Document>,
    field: &str,
    rule: &Rule,
    report: &mut Report,
) -> Option<String> {
    Terms {
        located,
        field,
        rule,
    }
    .check(report)
}

/// Everything but the rule's place and ends.
pub(crate) fn terms(rule: &Rule, application: Option<String>) -> RuleSpec {
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
