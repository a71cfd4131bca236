//! Conditions from and to regular expressions.

use weir_model::Condition;

use crate::regex::{self, Pattern};

/// The condition that holds where the expression matches the whole field; none where it cannot be
/// said.
pub(crate) fn from_expression(field: &str, expression: &str) -> Option<Condition> {
    let mut condition = Condition {
        field: field.to_owned(),
        ..Condition::default()
    };
    for pattern in regex::patterns(expression)? {
        match pattern {
            Pattern::Exact(text) => condition.exact.push(text),
            Pattern::Prefix(text) => condition.prefix.push(text),
            Pattern::Suffix(text) => condition.suffix.push(text),
            Pattern::Glob(text) => condition.glob.push(text),
        }
    }
    Some(condition)
}

/// The condition that the field is one of these.
pub(crate) fn one_of(field: &str, texts: impl IntoIterator<Item = impl Into<String>>) -> Condition {
    Condition {
        field: field.to_owned(),
        exact: texts.into_iter().map(Into::into).collect(),
        ..Condition::default()
    }
}

/// The expression that matches where the condition holds.
pub(crate) fn expression(condition: &Condition) -> String {
    let patterns = condition.exact.iter().cloned().map(Pattern::Exact);
    let patterns = patterns
        .chain(condition.prefix.iter().cloned().map(Pattern::Prefix))
        .chain(condition.suffix.iter().cloned().map(Pattern::Suffix))
        .chain(condition.glob.iter().cloned().map(Pattern::Glob));
    let alternatives: Vec<String> = patterns
        .map(|pattern| regex::expression(&pattern))
        .collect();
    alternatives.join("|")
}

/// The texts of a condition that names nothing but whole texts.
pub(crate) fn exact(condition: &Condition) -> Option<&[String]> {
    let only =
        condition.prefix.is_empty() && condition.suffix.is_empty() && condition.glob.is_empty();
    only.then_some(condition.exact.as_slice())
}
