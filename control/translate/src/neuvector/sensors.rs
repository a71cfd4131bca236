//! Sensors for DLP and WAF.

use serde_json::{Value, json};
use weir_model::{
    Metadata, Selector, Sensor, SensorAction, SensorClass, SensorDirection, SensorMatch,
    SensorPattern, SensorSpec,
};

use super::{API_VERSION, DLP_KIND, WAF_KIND};
use crate::labels;
use crate::loss::Report;
use crate::object::Object;

/// More patterns than this, or longer ones, are refused there.
const PATTERNS_MAX: usize = 16;
const PATTERN_BYTES_MAX: usize = 512;

/// Their name of a place, ours.
const PLACES: [(&str, &str); 4] = [
    ("url", "url"),
    ("header", "header"),
    ("body", "body"),
    ("packet", "stream"),
];

/// What a resource defines, without a target.
pub(crate) struct Definition {
    /// As rules name it.
    pub(crate) name: String,
    pub(crate) spec: SensorSpec,
}

/// Reads a definition.
pub(crate) fn read(mut body: Object, waf: bool, report: &mut Report) -> Option<Definition> {
    let mut spec = body.object("spec")?;
    let mut sensor = spec.object("sensor")?;
    let name = sensor.text("name")?;
    let about = sensor.text("comment").unwrap_or_default();
    let (mut patterns, mut any) = (Vec::new(), Vec::new());
    for (index, mut rule) in sensor
        .objects("rules")
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let rule_name = rule.text("name").unwrap_or_else(|| format!("rule-{index}"));
        let rule_name = labels::name(&rule_name, report);
        let mut all = Vec::new();
        for (place, entry) in rule
            .objects("patterns")
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            let name: String = format!("{rule_name}-{place}").chars().take(63).collect();
            let (pattern, not) = pattern(entry, name, report)?;
            let found = SensorMatch::Pattern(pattern.name.clone());
            all.push(if not {
                SensorMatch::Not(Box::new(found))
            } else {
                found
            });
            patterns.push(pattern);
        }
        any.push(SensorMatch::All(all));
        rule.all_read(report, "a part of the sensor");
    }
    if patterns.is_empty() {
        report.wider(sensor.path(), "has no patterns; it is left out");
        return None;
    }
    Some(Definition {
        name,
        spec: SensorSpec {
            about,
            class: Some(if waf {
                SensorClass::Waf
            } else {
                SensorClass::Dlp
            }),
            target: None,
            // There DLP looks both ways, WAF only at what comes in.
            direction: if waf {
                SensorDirection::To
            } else {
                SensorDirection::Both
            },
            action: SensorAction::Alert,
            places: Vec::new(),
            combination: (patterns.len() > 1).then_some(SensorMatch::Any(any)),
            patterns,
            threshold: None,
            examples: None,
        },
    })
}

/// A sensor for a group.
pub(crate) fn attach(
    definition: &Definition,
    namespace: &str,
    group: Option<(&str, Selector)>,
    drop: bool,
    report: &mut Report,
) -> Option<Sensor> {
    // One that was written for a group has its name already.
    let name = match &group {
        Some((group, _)) if !definition.name.ends_with(&format!("-{group}")) => {
            format!("{}-{group}", definition.name)
        }
        _ => definition.name.clone(),
    };
    let metadata = Metadata::new(namespace, &labels::name(&name, report)).ok()?;
    let mut spec = definition.spec.clone();
    spec.target = group.map(|(_, selector)| selector);
    spec.action = if drop {
        SensorAction::Drop
    } else {
        SensorAction::Alert
    };
    Some(Sensor { metadata, spec })
}

fn pattern(mut entry: Object, name: String, report: &mut Report) -> Option<(SensorPattern, bool)> {
    let at = entry.path().to_owned();
    let sign = entry.text("op").unwrap_or_else(|| "regex".to_owned());
    let value = entry.text("value").unwrap_or_default();
    let context = entry.text("context").unwrap_or_else(|| "packet".to_owned());
    entry.skip(&["key"]);
    let place = PLACES.iter().find(|(theirs, _)| *theirs == context);
    let not = match sign.as_str() {
        "regex" => false,
        "!regex" => true,
        other => {
            report.wider(
                &at,
                format!("{other} cannot be said; the sensor is left out"),
            );
            return None;
        }
    };
    let pattern = SensorPattern {
        name,
        regex: Some(value),
        places: place
            .map(|(_, ours)| (*ours).to_owned())
            .into_iter()
            .collect(),
        ..SensorPattern::default()
    };
    Some((pattern, not))
}

/// A sensor as NeuVector has it: one resource.
pub(crate) fn write(sensor: &Sensor, report: &mut Report) -> Option<Value> {
    let spec = &sensor.spec;
    let waf = spec.class() == SensorClass::Waf;
    if spec.threshold.is_some() {
        report.narrower(
            "spec.threshold",
            "there is no threshold there; it fires at the first match",
        );
    }
    let rules = match &spec.combination {
        None => spec
            .patterns
            .iter()
            .map(|pattern| vec![(pattern, false)])
            .collect(),
        Some(combination) => match rules(combination, &spec.patterns) {
            Some(rules) => rules,
            None => {
                report.wider(
                    "spec.match",
                    "this combination cannot be said; the sensor is left out",
                );
                return None;
            }
        },
    };
    if rules.iter().map(Vec::len).sum::<usize>() > PATTERNS_MAX {
        report.wider(
            "spec.patterns",
            format!("NeuVector takes {PATTERNS_MAX} patterns; the sensor is left out"),
        );
        return None;
    }
    let mut written = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut patterns = Vec::new();
        for (pattern, not) in rule {
            patterns.extend(entries(pattern, *not, &spec.places, report)?);
        }
        written.push(json!({"name": format!("rule-{index}"), "patterns": patterns}));
    }
    let name = resource_name(sensor);
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": if waf { WAF_KIND } else { DLP_KIND },
        "metadata": {"name": name},
        "spec": {"sensor": {"name": name, "comment": spec.about, "rules": written}},
    }))
}

/// "sensor.shop.payment-cards": sensors there belong to the cluster, and their names begin so.
pub(crate) fn resource_name(sensor: &Sensor) -> String {
    let metadata = &sensor.metadata;
    match metadata.name.starts_with("sensor.") {
        true => metadata.name.clone(),
        false => format!("sensor.{}.{}", metadata.namespace, metadata.name),
    }
}

type Rules<'a> = Vec<Vec<(&'a SensorPattern, bool)>>;

/// Any of all of patterns or their absence.
fn rules<'a>(combination: &SensorMatch, patterns: &'a [SensorPattern]) -> Option<Rules<'a>> {
    let single = |part: &SensorMatch| -> Option<(&'a SensorPattern, bool)> {
        let (name, not) = match part {
            SensorMatch::Pattern(name) => (name, false),
            SensorMatch::Not(inner) => match inner.as_ref() {
                SensorMatch::Pattern(name) => (name, true),
                _ => return None,
            },
            _ => return None,
        };
        Some((patterns.iter().find(|pattern| pattern.name == *name)?, not))
    };
    let all = |part: &SensorMatch| match part {
        SensorMatch::All(parts) => parts.iter().map(single).collect::<Option<Vec<_>>>(),
        part => Some(vec![single(part)?]),
    };
    match combination {
        SensorMatch::Any(parts) => parts.iter().map(all).collect(),
        part => Some(vec![all(part)?]),
    }
}

/// One entry for each place; several places of a pattern that must match cannot be said in one rule.
fn entries(
    pattern: &SensorPattern,
    not: bool,
    places: &[String],
    report: &mut Report,
) -> Option<Vec<Value>> {
    let at = format!("spec.patterns[{}]", pattern.name);
    let mut value = match &pattern.regex {
        Some(regex) => regex.clone(),
        None => {
            let texts = pattern.literals.iter().chain(&pattern.words);
            let texts: Vec<String> = texts.map(|text| regex_syntax::escape(text)).collect();
            match pattern.words.is_empty() {
                true => texts.join("|"),
                false => format!(r"\b({})\b", texts.join("|")),
            }
        }
    };
    if pattern.ignore_case {
        value = format!("(?i){value}");
    }
    if !pattern.checks.is_empty() || pattern.entropy.is_some() || !pattern.dataset.is_empty() {
        report.narrower(
            &at,
            "there is no check of what matched there; it fires more often",
        );
    }
    if value.len() > PATTERN_BYTES_MAX {
        report.wider(
            &at,
            format!("NeuVector takes {PATTERN_BYTES_MAX} bytes a pattern; the sensor is left out"),
        );
        return None;
    }
    let places = if pattern.places.is_empty() {
        places
    } else {
        &pattern.places
    };
    let theirs: Vec<&str> = places
        .iter()
        .filter_map(|place| PLACES.iter().find(|(_, ours)| ours == place))
        .map(|(theirs, _)| *theirs)
        .collect();
    let context = match theirs.as_slice() {
        [one] => one,
        _ => "packet",
    };
    let sign = if not { "!regex" } else { "regex" };
    Some(vec![
        json!({"key": "pattern", "op": sign, "value": value, "context": context}),
    ])
}
