//! Label and field selectors, read as the real server reads them.

use serde_json::Value;

use crate::failure::Failure;
use crate::kind::Kind;

/// What a list or watch is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

impl Selector {
    /// Reads what a request asks for. Empty text selects everything.
    pub(crate) fn read(kind: &Kind, labels: &str, fields: &str) -> Result<Selector, Failure> {
        let labels = read_labels(labels)
            .map_err(|why| Failure::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = read_fields(kind, fields)?;
        Ok(Selector { labels, fields })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|requirement| requirement.matches(labels))
            && self
                .fields
                .iter()
                .all(|(path, equal, wanted)| (field(object, path) == *wanted) == *equal)
    }
}

/// Whether a LabelSelector of an object (`matchLabels`, `matchExpressions`) selects these labels.
pub(crate) fn label_selector_matches(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(name, value)| labels[name] == *value);
    exact
        && selector["matchExpressions"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|expression| {
                let value = labels[expression["key"].as_str().unwrap_or_default()].as_str();
                let listed = || {
                    value.is_some_and(|value| {
                        expression["values"]
                            .as_array()
                            .is_some_and(|values| values.iter().any(|one| one == value))
                    })
                };
                match expression["operator"].as_str() {
                    Some("In") => listed(),
                    Some("NotIn") => !listed(),
                    Some("Exists") => value.is_some(),
                    Some("DoesNotExist") => value.is_none(),
                    _ => false,
                }
            })
}

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let value = |name: &String| labels[name.as_str()].as_str();
        let number = |name: &String| value(name).and_then(|text| text.parse::<i64>().ok());
        match self {
            Requirement::In(name, values) => {
                value(name).is_some_and(|value| values.iter().any(|one| one == value))
            }
            Requirement::NotIn(name, values) => {
                value(name).is_none_or(|value| values.iter().all(|one| one != value))
            }
            Requirement::Exists(name) => value(name).is_some(),
            Requirement::Absent(name) => value(name).is_none(),
            Requirement::Greater(name, bound) => number(name).is_some_and(|value| value > *bound),
            Requirement::Less(name, bound) => number(name).is_some_and(|value| value < *bound),
        }
    }
}

fn field(object: &Value, path: &str) -> String {
    let value = path.split('.').fold(object, |value, name| &value[name]);
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fields that may be asked for besides name and namespace.
fn selectable(kind: &Kind) -> Vec<String> {
    if let Some(custom) = &kind.custom {
        return custom
            .selectable
            .iter()
            .map(|path| path.trim_start_matches('.').to_owned())
            .collect();
    }
    let paths: &[&str] = match kind.kind.as_str() {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Node" => &["spec.unschedulable"],
        "Namespace" => &["status.phase"],
        "Service" => &["spec.clusterIP", "spec.type"],
        "Secret" => &["type"],
        "Job" => &["status.successful"],
        "ReplicaSet" => &["status.replicas"],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "type",
            "reportingComponent",
            "source",
        ],
        _ => &[],
    };
    paths.iter().map(|&path| path.to_owned()).collect()
}

fn read_fields(kind: &Kind, text: &str) -> Result<Vec<(String, bool, String)>, Failure> {
    let known = selectable(kind);
    let mut fields = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (path, true, value)
        } else {
            return Err(Failure::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        let metadata = path == "metadata.name" || (path == "metadata.namespace" && kind.namespaced);
        if !metadata && !known.iter().any(|one| one == path) {
            return Err(Failure::bad_request(format!(
                "field label not supported: {path}"
            )));
        }
        fields.push((path.to_owned(), equal, value.to_owned()));
    }
    Ok(fields)
}

/// Words and signs of a label selector.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(two) = ["==", "!="].iter().find(|two| rest.starts_with(**two)) {
            two.len()
        } else if "(),=!<>".contains(first) {
            1
        } else {
            rest.find(|one: char| one.is_whitespace() || "(),=!<>".contains(one))
                .unwrap_or(rest.len())
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

fn read_labels(text: &str) -> Result<Vec<Requirement>, String> {
    let tokens = tokens(text);
    let mut position = 0;
    let mut requirements = Vec::new();
    while position < tokens.len() {
        requirements.push(read_requirement(&tokens, &mut position)?);
        match tokens.get(position).map(String::as_str) {
            None => break,
            Some(",") => position += 1,
            Some(other) => {
                return Err(format!("found '{other}', expected: ',' or 'end of string'"));
            }
        }
    }
    Ok(requirements)
}

fn read_requirement(tokens: &[String], position: &mut usize) -> Result<Requirement, String> {
    let mut next = || {
        let token = tokens.get(*position).cloned().unwrap_or_default();
        *position += 1;
        token
    };
    let first = next();
    if first == "!" {
        return Ok(Requirement::Absent(next()));
    }
    if first.is_empty() || "(),=<>".contains(first.as_str()) {
        return Err(format!("found '{first}', expected: identifier"));
    }
    let operator = next();
    match operator.as_str() {
        "" | "," => {
            *position -= 1;
            Ok(Requirement::Exists(first))
        }
        "=" | "==" => Ok(Requirement::In(first, vec![value_or_end(tokens, position)])),
        "!=" => Ok(Requirement::NotIn(
            first,
            vec![value_or_end(tokens, position)],
        )),
        ">" | "<" => {
            let bound = next()
                .parse()
                .map_err(|_| "for 'Gt', 'Lt' operators, the value must be an integer".to_owned())?;
            Ok(if operator == ">" {
                Requirement::Greater(first, bound)
            } else {
                Requirement::Less(first, bound)
            })
        }
        "in" | "notin" => {
            let open = next();
            if open != "(" {
                return Err(format!("found '{open}' expected: '('"));
            }
            let mut values = Vec::new();
            loop {
                match next().as_str() {
                    ")" => break,
                    "," => {}
                    "" => return Err("found '', expected: ',', or ')'".to_owned()),
                    value => values.push(value.to_owned()),
                }
            }
            Ok(if operator == "in" {
                Requirement::In(first, values)
            } else {
                Requirement::NotIn(first, values)
            })
        }
        other => Err(format!(
            "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
        )),
    }
}

/// `app=` selects an empty value.
fn value_or_end(tokens: &[String], position: &mut usize) -> String {
    match tokens.get(*position).map(String::as_str) {
        None | Some(",") => String::new(),
        Some(value) => {
            *position += 1;
            value.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(text: &str, labels: &Value) -> bool {
        read_labels(text)
            .unwrap()
            .iter()
            .all(|requirement| requirement.matches(labels))
    }

    #[test]
    fn every_form_of_a_label_selector_selects_what_it_says() {
        let web = json!({"app": "web", "tier": "1", "empty": ""});
        for text in [
            "",
            "app",
            "app=web",
            "app==web",
            "app in (db, web)",
            "!nope",
            "app!=db",
            "nope notin (a)",
            "tier>0",
            "empty=",
        ] {
            assert!(selects(text, &web), "{text}");
        }
        for text in [
            "nope",
            "app=db",
            "app notin (web)",
            "!app",
            "tier<1",
            "app in ()",
            "app=web,nope",
        ] {
            assert!(!selects(text, &web), "{text}");
        }
    }

    #[test]
    fn a_broken_label_selector_is_named_as_the_real_server_names_it() {
        assert_eq!(
            read_labels("a in b").unwrap_err(),
            "found 'b' expected: '('"
        );
    }
}
