//! What a document says by itself: refused where no node could enforce it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{Document, Located, Problem, Settings, ThreatPolicy, did_you_mean};
use weir_sigs::sensor::SensorSet;
use weir_threat::Threat;

use crate::Key;
use crate::lists::{allowlist, written};
use crate::report::Report;
use crate::rules;
use crate::sensors::sensor_spec;

/// What is probably not meant, or why it cannot be used whatever else there is.
pub(crate) fn document(located: &Located<Document>) -> Result<Vec<Problem>, Vec<Problem>> {
    let mut report = Report::default();
    if let Some(allowlist) = allowlist(&located.value) {
        for (_, direction, _, index, rule) in written(allowlist) {
            let field = format!("spec.{direction}[{index}]");
            rules::implied(located, &field, rule, &mut report);
        }
    }
    match &located.value {
        Document::Settings(document) => settings(located, document, &mut report),
        Document::ThreatPolicy(document) => threats(located, document, &mut report),
        _ => {}
    }
    match report.problems.is_empty() {
        true => Ok(report.warnings),
        false => Err(report.problems),
    }
}

fn settings(located: &Located<Document>, settings: &Settings, report: &mut Report) {
    let unknown = settings.spec.unknown.clone().unwrap_or_default();
    if unknown.mode.is_none() && unknown.action == Some(weir_model::Action::Deny) {
        report.problems.push(located.problem(
            "spec.unknown.action",
            "deny without a mode would never take effect",
            "give a mode: protect to block, monitor to report",
        ));
    }
}

fn threats(located: &Located<Document>, policy: &ThreatPolicy, report: &mut Report) {
    for (index, rule) in policy.spec.rules.iter().enumerate() {
        for (place, name) in rule.threats.iter().enumerate() {
            if name.is_all() || threat(name).is_some() {
                continue;
            }
            let names = Threat::ALL.iter().map(|threat| threat.name());
            let next_step = match did_you_mean(name.as_str(), names) {
                Some(near) => format!("did you mean {near}?"),
                None => "`weir threats` lists them".to_owned(),
            };
            report.problems.push(located.problem(
                &format!("spec.rules[{index}].threats[{place}]"),
                format!("unknown threat {:?}", name.as_str()),
                next_step,
            ));
        }
    }
}

/// The threat of a name or number.
pub(crate) fn threat(name: &weir_model::ThreatName) -> Option<Threat> {
    match name.id() {
        Some(id) => Threat::ALL.iter().copied().find(|threat| threat.id() == id),
        None => Threat::by_name(name.as_str()),
    }
}

/// Of all sensors, those that a node could not look for, each with its problems.
pub(crate) fn sensors(
    all: &BTreeMap<&Arc<Key>, &Arc<Located<Document>>>,
) -> BTreeMap<Arc<Key>, Vec<Problem>> {
    let written: Vec<_> = all
        .iter()
        .filter_map(|(key, located)| match &located.value {
            Document::Sensor(sensor) => Some((*key, *located, sensor_spec(located, sensor))),
            _ => None,
        })
        .collect();
    let specs: Vec<_> = written.iter().map(|(.., spec)| spec.clone()).collect();
    let mut refused: BTreeMap<Arc<Key>, Vec<Problem>> = BTreeMap::new();
    if specs.is_empty() {
        return refused;
    }
    let refusals = SensorSet::compile(&specs).err().unwrap_or_default();
    for refusal in refusals {
        let Some((key, located, _)) = written.get(refusal.sensor) else {
            continue;
        };
        let field = match refusal.field.as_str() {
            "" => "spec".to_owned(),
            field => format!("spec.{field}"),
        };
        let problem = located.problem(&field, refusal.why, refusal.next_step);
        refused.entry((*key).clone()).or_default().push(problem);
    }
    refused
}
