//! Sensors, as messages and as plain data.

use weir_policy::spec::{
    Combination, SensorAction, SensorDirection, SensorMask, SensorPatternSpec, SensorSpec,
    SensorWhat, SourceThreshold,
};

use super::{FieldError, each, unset};
use crate::v1;

pub(super) fn to_message(sensor: &SensorSpec) -> v1::Sensor {
    v1::Sensor {
        id: sensor.id,
        name: sensor.name.clone(),
        action: match sensor.action {
            SensorAction::Alert => v1::SensorAction::Alert,
            SensorAction::Drop => v1::SensorAction::Drop,
        }
        .into(),
        direction: match sensor.direction {
            SensorDirection::Both => v1::SensorDirection::Both,
            SensorDirection::To => v1::SensorDirection::To,
            SensorDirection::From => v1::SensorDirection::From,
        }
        .into(),
        targets: sensor.targets.clone(),
        patterns: sensor.patterns.iter().map(pattern_message).collect(),
        combination: Some(combination_message(&sensor.combination)),
        flow_matches: sensor.flow_matches.unwrap_or(0),
        source_matches: sensor.source.map_or(0, |source| source.matches),
        source_window_s: sensor.source.map_or(0, |source| source.window_s),
    }
}

fn pattern_message(pattern: &SensorPatternSpec) -> v1::SensorPattern {
    let mut message = v1::SensorPattern {
        name: pattern.name.clone(),
        places: pattern.places.clone(),
        ignore_case: pattern.ignore_case,
        dataset: pattern.dataset.clone(),
        checks: pattern.checks.clone(),
        entropy_millibits: pattern.entropy_millibits,
        mask: match pattern.mask {
            SensorMask::Secret => v1::SensorMask::Secret,
            SensorMask::Card => v1::SensorMask::Card,
            SensorMask::None => v1::SensorMask::None,
        }
        .into(),
        ..v1::SensorPattern::default()
    };
    match pattern.what.clone() {
        SensorWhat::Expression(expression) => message.expression = expression,
        SensorWhat::Literals(literals) => message.literals = literals,
        SensorWhat::Words(words) => message.words = words,
    }
    message
}

fn combination_message(combination: &Combination) -> v1::SensorCombination {
    use v1::sensor_combination::Combination as Message;
    let parts = |parts: &[Combination]| v1::SensorCombinations {
        parts: parts.iter().map(combination_message).collect(),
    };
    v1::SensorCombination {
        combination: Some(match combination {
            Combination::Pattern(index) => Message::Pattern((*index).into()),
            Combination::All(all) => Message::All(parts(all)),
            Combination::Any(any) => Message::Any(parts(any)),
            Combination::Not(not) => Message::Not(Box::new(combination_message(not))),
        }),
    }
}

pub(super) fn from_message(message: &v1::Sensor, path: &str) -> Result<SensorSpec, FieldError> {
    let combination = message
        .combination
        .as_ref()
        .ok_or_else(|| FieldError::new(format!("{path}.combination"), "is missing"))?;
    Ok(SensorSpec {
        id: message.id,
        name: message.name.clone(),
        action: match v1::SensorAction::try_from(message.action) {
            Ok(v1::SensorAction::Alert) => SensorAction::Alert,
            Ok(v1::SensorAction::Drop) => SensorAction::Drop,
            _ => {
                let field = format!("{path}.action");
                return Err(FieldError::new(field, unset(message.action)));
            }
        },
        direction: match v1::SensorDirection::try_from(message.direction) {
            Ok(v1::SensorDirection::Both) => SensorDirection::Both,
            Ok(v1::SensorDirection::To) => SensorDirection::To,
            Ok(v1::SensorDirection::From) => SensorDirection::From,
            _ => {
                let field = format!("{path}.direction");
                return Err(FieldError::new(field, unset(message.direction)));
            }
        },
        targets: message.targets.clone(),
        patterns: each(&message.patterns, &format!("{path}.patterns"), pattern)?,
        combination: self::combination(
            combination,
            &format!("{path}.combination"),
            Combination::DEPTH_MAX,
        )?,
        flow_matches: (message.flow_matches > 0).then_some(message.flow_matches),
        source: source(message, path)?,
    })
}

fn source(message: &v1::Sensor, path: &str) -> Result<Option<SourceThreshold>, FieldError> {
    match (message.source_matches, message.source_window_s) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => Err(FieldError::new(
            format!("{path}.source_matches"),
            "goes with source_window_s, and neither is 0 then",
        )),
        (matches, window_s) => Ok(Some(SourceThreshold { matches, window_s })),
    }
}

fn pattern(message: &v1::SensorPattern, path: &str) -> Result<SensorPatternSpec, FieldError> {
    let given = (
        message.expression.as_str(),
        message.literals.as_slice(),
        message.words.as_slice(),
    );
    let what = match given {
        (expression, [], []) if !expression.is_empty() => {
            SensorWhat::Expression(expression.to_owned())
        }
        ("", literals, []) if !literals.is_empty() => SensorWhat::Literals(literals.to_vec()),
        ("", [], words) if !words.is_empty() => SensorWhat::Words(words.to_vec()),
        _ => {
            return Err(FieldError::new(
                path,
                "has not exactly one of expression, literals and words",
            ));
        }
    };
    Ok(SensorPatternSpec {
        name: message.name.clone(),
        places: message.places.clone(),
        what,
        ignore_case: message.ignore_case,
        dataset: message.dataset.clone(),
        checks: message.checks.clone(),
        entropy_millibits: message.entropy_millibits,
        mask: match v1::SensorMask::try_from(message.mask) {
            Ok(v1::SensorMask::Secret) => SensorMask::Secret,
            Ok(v1::SensorMask::Card) => SensorMask::Card,
            Ok(v1::SensorMask::None) => SensorMask::None,
            _ => {
                return Err(FieldError::new(format!("{path}.mask"), unset(message.mask)));
            }
        },
    })
}

/// No deeper than `depth`.
fn combination(
    message: &v1::SensorCombination,
    path: &str,
    depth: usize,
) -> Result<Combination, FieldError> {
    use v1::sensor_combination::Combination as Message;
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| FieldError::new(path, "nests too deep"))?;
    let parts = |parts: &v1::SensorCombinations, path: &str| {
        let path = format!("{path}.parts");
        each(&parts.parts, &path, |part, path| {
            combination(part, path, depth)
        })
    };
    match &message.combination {
        Some(Message::Pattern(index)) => u16::try_from(*index)
            .map(Combination::Pattern)
            .map_err(|_| FieldError::new(path, format!("{index} is out of range"))),
        Some(Message::All(all)) => Ok(Combination::All(parts(all, &format!("{path}.all"))?)),
        Some(Message::Any(any)) => Ok(Combination::Any(parts(any, &format!("{path}.any"))?)),
        Some(Message::Not(not)) => {
            let part = combination(not, &format!("{path}.not"), depth)?;
            Ok(Combination::Not(Box::new(part)))
        }
        None => Err(FieldError::new(
            path,
            "is of a kind this version does not know",
        )),
    }
}
