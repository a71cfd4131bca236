//! Sensors as data. Those that a node could not look for are refused in [`crate::check`].

use weir_model::{Document, Located, Sensor, SensorMatch, SensorPattern, SensorSpec as Written};
use weir_policy::spec::{
    Combination, SensorAction, SensorDirection, SensorMask, SensorPatternSpec, SensorSpec,
    SensorWhat, SourceThreshold,
};

/// The sensor as data, still without number and identities.
pub(crate) fn sensor_spec(located: &Located<Document>, sensor: &Sensor) -> SensorSpec {
    let written = &sensor.spec;
    let threshold = written.threshold;
    SensorSpec {
        id: 0,
        name: located.value.title(),
        action: match written.action {
            weir_model::SensorAction::Alert => SensorAction::Alert,
            weir_model::SensorAction::Drop => SensorAction::Drop,
        },
        direction: match written.direction {
            weir_model::SensorDirection::Both => SensorDirection::Both,
            weir_model::SensorDirection::To => SensorDirection::To,
            weir_model::SensorDirection::From => SensorDirection::From,
        },
        targets: Vec::new(),
        patterns: written
            .patterns
            .iter()
            .map(|one| pattern(one, written))
            .collect(),
        combination: match &written.combination {
            Some(combination) => self::combination(combination, written),
            None => {
                let places = (0..).take(written.patterns.len());
                Combination::Any(places.map(Combination::Pattern).collect())
            }
        },
        flow_matches: threshold.and_then(|threshold| threshold.flow),
        source: threshold
            .and_then(|threshold| threshold.source)
            .map(|source| SourceThreshold {
                matches: source.matches,
                window_s: source.within_s,
            }),
    }
}

fn pattern(pattern: &SensorPattern, sensor: &Written) -> SensorPatternSpec {
    let places = match pattern.places.as_slice() {
        [] => &sensor.places,
        own => own,
    };
    SensorPatternSpec {
        name: pattern.name.clone(),
        places: places.to_vec(),
        what: match &pattern.regex {
            Some(regex) => SensorWhat::Expression(regex.clone()),
            None if pattern.words.is_empty() => SensorWhat::Literals(pattern.literals.clone()),
            None => SensorWhat::Words(pattern.words.clone()),
        },
        ignore_case: pattern.ignore_case,
        dataset: pattern.dataset.clone(),
        checks: pattern.checks.clone(),
        entropy_millibits: pattern.entropy.map_or(0, |entropy| entropy.millibits()),
        mask: match pattern.mask {
            weir_model::SensorMask::Secret => SensorMask::Secret,
            weir_model::SensorMask::Card => SensorMask::Card,
            weir_model::SensorMask::None => SensorMask::None,
        },
    }
}

fn combination(written: &SensorMatch, sensor: &Written) -> Combination {
    let parts = |parts: &[SensorMatch]| {
        let parts = parts.iter().map(|part| combination(part, sensor));
        parts.collect()
    };
    match written {
        SensorMatch::Pattern(name) => {
            let mut patterns = sensor.patterns.iter();
            let place = patterns.position(|pattern| pattern.name == *name);
            // A name of no pattern was a mistake when the document was read.
            let place = place.and_then(|place| u16::try_from(place).ok());
            Combination::Pattern(place.unwrap_or(u16::MAX))
        }
        SensorMatch::All(all) => Combination::All(parts(all)),
        SensorMatch::Any(any) => Combination::Any(parts(any)),
        SensorMatch::Not(part) => Combination::Not(Box::new(combination(part, sensor))),
    }
}
