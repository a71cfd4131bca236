//! Patterns that are looked for in content: data that must not leave, attacks that must not arrive.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Located, Problem, Resource, Selector, SensorClass, did_you_mean, name};

/// A named set of patterns, attached to targets (`kind: Sensor`).
pub type Sensor = Resource<SensorSpec>;

/// What is looked for, where, and what follows.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SensorSpec {
    /// For readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What it protects from. Without one, a sensor that looks only at what comes to its target
    /// protects from attacks, any other keeps data from leaving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<SensorClass>,
    /// The workloads whose connections are looked into; without it, all of the sensor's namespace. A
    /// file may mean those of all namespaces: `{matchLabels: {}, namespaceSelector: {}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
    /// Which way the content travels, seen from the target; default both.
    #[serde(default, skip_serializing_if = "SensorDirection::is_both")]
    pub direction: SensorDirection,
    /// What it does when it fires; default alert.
    #[serde(default, skip_serializing_if = "SensorAction::is_alert")]
    pub action: SensorAction,
    /// Where its patterns look that do not say: `url`, `header`, `body`, `statement`, `file`,
    /// `stream`, or names of buffers.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// At least one.
    pub patterns: Vec<SensorPattern>,
    /// Which patterns have to be found in one message; without it, any.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub combination: Option<SensorMatch>,
    /// From how many distinct matches it fires; without it, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<SensorThreshold>,
    /// Texts to try it with (`weir sensor test`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<SensorExamples>,
}

/// What a sensor does when it fires.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorAction {
    /// Tells.
    #[default]
    Alert,
    /// Tells, and stops the connection where the mode is protect.
    Drop,
}

/// Which way the content travels, seen from the target.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorDirection {
    /// Both ways.
    #[default]
    Both,
    /// To the target.
    To,
    /// From the target.
    From,
}

/// How a match is shown.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorMask {
    /// Its beginning, never more than a quarter of it.
    #[default]
    Secret,
    /// The first six and the last four digits.
    Card,
    /// As it is.
    None,
}

/// One pattern: an expression, or a list of texts.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SensorPattern {
    /// Unique within the sensor.
    #[serde(deserialize_with = "name::deserialize_name")]
    pub name: String,
    /// A regular expression, without look-around and back references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Any of these, anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub literals: Vec<String>,
    /// Any of these, as whole words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// A match of the expression counts only where it is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dataset: Vec<String>,
    /// Upper and lower case are equal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Where it looks; without it, where the sensor says.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// Checks that a match must pass: `luhn`, `mod97` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// The least entropy of a match, in bits a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Entropy>,
    /// How a match is shown; default secret.
    #[serde(default, skip_serializing_if = "SensorMask::is_secret")]
    pub mask: SensorMask,
}

/// Bits a character, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy(u32);

/// Which patterns have to be found: a name, or `all:`, `any:`, `not:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SensorMatch {
    /// The pattern of this name.
    Pattern(String),
    /// Each of these.
    All(Vec<SensorMatch>),
    /// One of these.
    Any(Vec<SensorMatch>),
    /// Not this, by the end of the message.
    Not(Box<SensorMatch>),
}

/// From how many distinct matches a sensor fires.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SensorThreshold {
    /// In one flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<u32>,
    /// Of one sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceThreshold>,
}

/// So many distinct matches of one sender within so many seconds.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SourceThreshold {
    /// Distinct matches.
    pub matches: u32,
    /// Seconds.
    pub within_s: u32,
}

/// Texts to try a sensor with.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SensorExamples {
    /// It fires on each of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fires: Vec<String>,
    /// It fires on none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<String>,
}

impl SensorSpec {
    /// The most patterns of one sensor.
    pub const PATTERNS_MAX: usize = 64;
    /// The most texts of one list.
    pub const TEXTS_MAX: usize = 10_000;
    /// The longest text in a list, and the longest expression is four times as long.
    pub const TEXT_BYTES_MAX: usize = 256;
    /// The highest threshold.
    pub const THRESHOLD_MAX: u32 = 1_000_000;
    /// The longest window of a threshold.
    pub const WINDOW_S_MAX: u32 = 86_400;
    /// Combinations nest no deeper.
    pub const DEPTH_MAX: usize = 8;

    /// What it protects from.
    pub fn class(&self) -> SensorClass {
        match (self.class, self.direction) {
            (Some(class), _) => class,
            (None, SensorDirection::To) => SensorClass::Waf,
            (None, SensorDirection::Both | SensorDirection::From) => SensorClass::Dlp,
        }
    }
}

impl SensorDirection {
    fn is_both(&self) -> bool {
        *self == Self::Both
    }
}

impl SensorAction {
    fn is_alert(&self) -> bool {
        *self == Self::Alert
    }
}

impl SensorMask {
    fn is_secret(&self) -> bool {
        *self == Self::Secret
    }
}

impl Entropy {
    /// A byte has no more than eight bits.
    pub const MILLIBITS_MAX: u32 = 8000;

    /// So many thousandths of a bit; None for more than a byte can have, and for none.
    pub fn from_millibits(millibits: u32) -> Option<Self> {
        (1..=Self::MILLIBITS_MAX)
            .contains(&millibits)
            .then_some(Self(millibits))
    }

    /// In thousandths of a bit.
    pub const fn millibits(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Entropy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = f64::deserialize(deserializer)?;
        let millibits = (bits * 1000.0).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what does not fit becomes a bound, which is refused"
        )]
        Self::from_millibits(millibits as u32).ok_or_else(|| {
            D::Error::custom("entropy is 0.001 to 8 bits a character; random hexadecimal has 4")
        })
    }
}

impl Serialize for Entropy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for SensorMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MatchVisitor)
    }
}

struct MatchVisitor;

impl<'de> Visitor<'de> for MatchVisitor {
    type Value = SensorMatch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a pattern, or one of all:, any:, not:")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SensorMatch, E> {
        Ok(SensorMatch::Pattern(text.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<SensorMatch, E> {
        Ok(SensorMatch::Pattern(number.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SensorMatch, A::Error> {
        let word: Option<String> = map.next_key()?;
        let found = match word.as_deref() {
            Some("all") => SensorMatch::All(map.next_value()?),
            Some("any") => SensorMatch::Any(map.next_value()?),
            Some("not") => SensorMatch::Not(map.next_value()?),
            Some(other) => {
                return Err(A::Error::unknown_field(other, &["all", "any", "not"]));
            }
            None => return Err(A::Error::custom("write one of all:, any:, not:")),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom(
                "is exactly one of all, any, not; put one into the other",
            ));
        }
        Ok(found)
    }
}

impl Serialize for SensorMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Pattern(name) = self {
            return serializer.serialize_str(name);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Pattern(_) => {}
            Self::All(parts) => map.serialize_entry("all", parts)?,
            Self::Any(parts) => map.serialize_entry("any", parts)?,
            Self::Not(part) => map.serialize_entry("not", part)?,
        }
        map.end()
    }
}

impl SensorMatch {
    /// Whether it holds where only these patterns were found.
    fn holds(&self, found: &BTreeSet<&str>) -> bool {
        match self {
            Self::Pattern(name) => found.contains(name.as_str()),
            Self::All(parts) => parts.iter().all(|part| part.holds(found)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(found)),
            Self::Not(part) => !part.holds(found),
        }
    }
}

/// What no single field of a sensor can say of itself.
pub(crate) fn check<T>(located: &Located<T>, sensor: &Sensor, problems: &mut Vec<Problem>) {
    let spec = &sensor.spec;
    let mut tell = |field: &str, message: String, next_step: &str| {
        problems.push(located.problem(field, message, next_step));
    };
    let count = spec.patterns.len();
    if !(1..=SensorSpec::PATTERNS_MAX).contains(&count) {
        let message = format!(
            "has {count} patterns, where 1 to {} are possible",
            SensorSpec::PATTERNS_MAX
        );
        tell("spec.patterns", message, "make several sensors of it");
    }
    let mut names = BTreeSet::new();
    for (index, pattern) in spec.patterns.iter().enumerate() {
        let field = format!("spec.patterns[{index}]");
        if !names.insert(pattern.name.as_str()) {
            let message = format!("{} is the name of another pattern too", pattern.name);
            tell(&format!("{field}.name"), message, "rename one of the two");
        }
        if pattern.places.is_empty() && spec.places.is_empty() {
            let next_step = "write where: [body] or another place, here or for the whole sensor";
            tell(&field, "looks nowhere".to_owned(), next_step);
        }
        check_pattern(pattern, &field, &mut tell);
    }
    if let Some(combination) = &spec.combination {
        check_match(combination, "spec.match", &names, 1, &mut tell);
        if combination.holds(&BTreeSet::new()) {
            let message = "holds where nothing is found, so the sensor would always fire";
            let next_step = "name a pattern that has to be found beside what must not be";
            tell("spec.match", message.to_owned(), next_step);
        }
    }
    if let Some(threshold) = &spec.threshold {
        check_threshold(threshold, &mut tell);
    }
}

fn check_pattern(pattern: &SensorPattern, field: &str, tell: &mut impl FnMut(&str, String, &str)) {
    let given = [
        pattern.regex.is_some(),
        !pattern.literals.is_empty(),
        !pattern.words.is_empty(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let message = "is exactly one of regex, literals, words".to_owned();
        tell(field, message, "write one of them, and what they list");
    }
    if pattern.regex.is_none() && !pattern.dataset.is_empty() {
        let next_step = "list the texts under words, or write the regex that finds candidates";
        tell(
            &format!("{field}.dataset"),
            "goes with regex only".to_owned(),
            next_step,
        );
    }
    let expression_max = 4 * SensorSpec::TEXT_BYTES_MAX;
    if let Some(regex) = pattern
        .regex
        .as_ref()
        .filter(|regex| regex.len() > expression_max)
    {
        let message = format!("has {} bytes, more than {expression_max}", regex.len());
        let next_step = "make several patterns of it";
        tell(&format!("{field}.regex"), message, next_step);
    }
    let lists = [
        ("literals", &pattern.literals),
        ("words", &pattern.words),
        ("dataset", &pattern.dataset),
    ];
    for (name, list) in lists {
        let field = format!("{field}.{name}");
        if list.len() > SensorSpec::TEXTS_MAX {
            let message = format!(
                "has {} texts, more than {}",
                list.len(),
                SensorSpec::TEXTS_MAX
            );
            tell(&field, message, "divide it among several patterns");
        }
        let unfit = |text: &String| text.is_empty() || text.len() > SensorSpec::TEXT_BYTES_MAX;
        if let Some(index) = list.iter().position(unfit) {
            let message = format!("a text has 1 to {} bytes", SensorSpec::TEXT_BYTES_MAX);
            tell(
                &format!("{field}[{index}]"),
                message,
                "shorten it or leave it out",
            );
        }
    }
}

fn check_match(
    combination: &SensorMatch,
    field: &str,
    names: &BTreeSet<&str>,
    depth: usize,
    tell: &mut impl FnMut(&str, String, &str),
) {
    if depth > SensorSpec::DEPTH_MAX {
        let message = format!("nests more than {} deep", SensorSpec::DEPTH_MAX);
        tell(field, message, "make several sensors of it");
        return;
    }
    let (word, parts) = match combination {
        SensorMatch::Pattern(name) => {
            if !names.contains(name.as_str()) {
                let next_step = match did_you_mean(name, names.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "name one of the sensor's patterns".to_owned(),
                };
                let message = format!("there is no pattern {:?}", name::Shortened(name));
                tell(field, message, &next_step);
            }
            return;
        }
        SensorMatch::Not(part) => {
            check_match(part, &format!("{field}.not"), names, depth + 1, tell);
            return;
        }
        SensorMatch::All(parts) => ("all", parts),
        SensorMatch::Any(parts) => ("any", parts),
    };
    if parts.is_empty() {
        let message = "an empty list says nothing".to_owned();
        tell(&format!("{field}.{word}"), message, "name patterns in it");
    }
    for (index, part) in parts.iter().enumerate() {
        check_match(
            part,
            &format!("{field}.{word}[{index}]"),
            names,
            depth + 1,
            tell,
        );
    }
}

fn check_threshold(threshold: &SensorThreshold, tell: &mut impl FnMut(&str, String, &str)) {
    if threshold.flow.is_none() && threshold.source.is_none() {
        let next_step = "write flow: or source:, or leave threshold out";
        tell("spec.threshold", "sets nothing".to_owned(), next_step);
    }
    let counts = [
        (
            "spec.threshold.flow",
            threshold.flow,
            SensorSpec::THRESHOLD_MAX,
        ),
        (
            "spec.threshold.source.matches",
            threshold.source.map(|source| source.matches),
            SensorSpec::THRESHOLD_MAX,
        ),
        (
            "spec.threshold.source.withinS",
            threshold.source.map(|source| source.within_s),
            SensorSpec::WINDOW_S_MAX,
        ),
    ];
    for (field, count, max) in counts {
        if count.is_some_and(|count| !(1..=max).contains(&count)) {
            let message = format!("is a number from 1 to {max}");
            tell(field, message, "write one of these");
        }
    }
}
