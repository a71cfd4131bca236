//! Label selectors and names.

use serde_json::{Map, Value};
use weir_model::{LabelSelector, check_name};

use crate::loss::Report;
use crate::object::Object;

/// Reads a selector as Kubernetes writes it; what is wrong with it is told.
pub(crate) fn read(object: Object, report: &mut Report) -> Option<LabelSelector> {
    let path = object.path().to_owned();
    match serde_json::from_value(Value::Object(object.into_map())) {
        Ok(selector) => Some(selector),
        Err(error) => {
            report.narrower(&path, format!("this selector cannot be read: {error}"));
            None
        }
    }
}

/// As Kubernetes writes it.
pub(crate) fn write(selector: &LabelSelector) -> Value {
    serde_json::to_value(selector).unwrap_or_else(|_| Value::Object(Map::new()))
}

/// Whether no labels can match both: some key is asked for with different values.
pub(crate) fn disjoint(one: &LabelSelector, other: &LabelSelector) -> bool {
    one.match_labels.iter().any(|(key, value)| {
        other
            .match_labels
            .get(key)
            .is_some_and(|theirs| theirs != value)
    })
}

/// A name that documents may have, made of one that others may have: dots and the like become
/// dashes.
pub(crate) fn name(foreign: &str, report: &mut Report) -> String {
    if check_name(foreign).is_ok() {
        return foreign.to_owned();
    }
    let lower = foreign.to_ascii_lowercase();
    let dashed: String = lower
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    let name = match dashed.trim_matches('-') {
        "" => "imported".to_owned(),
        name => name.to_owned(),
    };
    report.same(
        "metadata.name",
        format!("{foreign:?} is called {name} here"),
    );
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_such_as_documents_have() {
        let mut report = Report::of("x");
        assert_eq!(name("photo-db", &mut report), "photo-db");
        assert_eq!(name("nv.Photo_DB.shop", &mut report), "nv-photo-db-shop");
        assert_eq!(name("...", &mut report), "imported");
        assert_eq!(report.into_losses().len(), 2);
    }
}
