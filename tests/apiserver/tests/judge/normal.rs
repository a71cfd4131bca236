//! What varies from run to run, made the same; as the recordings' own replay does it.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use crate::replay::Found;

/// Fields whose value says nothing.
const VOLATILE: [&str; 20] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "time",
    "resourceVersion",
    "continue",
    "etag",
    "x-kubernetes-pf-flowschema-uid",
    "clusterIP",
    "clusterIPs",
    "content-length",
    "credential-id",
    "hash",
    "expirationTimestamp",
    "serverRelativeURL",
    "token",
    "startTime",
    "lastTransitionTime",
    "remainingItemCount",
    // An authority of the recorder.
    "caBundle",
];

/// Lists whose order says nothing.
const UNORDERED: [&str; 4] = [
    "causes",
    "managedFields",
    "resourceRules",
    "nonResourceRules",
];

static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uid>",
        ),
        (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
        (r"\b10\.96\.\d+\.\d+", "<ip>"),
        (
            r"((?:version|current)[^0-9]{0,12})\d+( \(\d+\))?",
            "${1}<rv>",
        ),
        (r"(web|g|x)-[a-z0-9]{5}\b", "${1}-<gen>"),
        (r#"resourceVersion\\*":\\*"\d+"#, "resourceVersion:<rv>"),
        (r"\(\d{2,}\)", "(<n>)"),
        (r"^\d+s$", "<age>"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
        (r"\d+\.\d{3}µs|\d+(\.\d+)?ms", "<dur>"),
        (
            r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
            "<jwt>",
        ),
    ]
    .into_iter()
    .map(|(pattern, word)| (Regex::new(pattern).expect("a pattern"), word))
    .collect()
});

static INVALID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s) is invalid: \[(.*)\]$").expect("a pattern"));

/// A value without what varies.
pub fn normal(value: &Value) -> Value {
    normal_in(value, "")
}

fn normal_in(value: &Value, field: &str) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().map(|(name, inner)| {
                let empty = inner.is_null() || inner == "" || inner == "0";
                let volatile = VOLATILE.contains(&name.as_str()) && !empty;
                (
                    name.clone(),
                    if volatile {
                        Value::from("<v>")
                    } else {
                        normal_in(inner, name)
                    },
                )
            });
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(normal).collect();
            if UNORDERED.contains(&field) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        Value::String(text) => Value::from(normal_text(text)),
        other => other.clone(),
    }
}

fn normal_text(text: &str) -> String {
    // What varies has a number or a generated name in it.
    if !text
        .bytes()
        .any(|byte| byte.is_ascii_digit() || byte == b'-')
        && !text.contains(" is invalid: [")
    {
        return text.to_owned();
    }
    let mut text = text.to_owned();
    for (pattern, word) in WORDS.iter() {
        text = pattern.replace_all(&text, *word).into_owned();
    }
    let sorted = |found: &Captures| {
        let mut parts: Vec<&str> = found[1].split(", ").collect();
        parts.sort_unstable();
        format!(" is invalid: [{}]", parts.join(", "))
    };
    INVALID.replace(&text, sorted).into_owned()
}

/// What differs between two values, by path.
pub fn compare(recorded: &Value, now: &Value, path: &str, step: &str, found: &mut Vec<Found>) {
    let mut note = |path: String, what: String| {
        found.push(Found {
            step: step.to_owned(),
            path,
            what,
        })
    };
    match (recorded, now) {
        (Value::Object(recorded), Value::Object(now)) => {
            for (name, value) in recorded {
                match now.get(name) {
                    Some(other) => compare(value, other, &format!("{path}/{name}"), step, found),
                    None => {
                        found.push(Found {
                            step: step.to_owned(),
                            path: format!("{path}/{name}"),
                            what: format!("only recorded: {}", short(value)),
                        });
                    }
                }
            }
            for (name, value) in now.iter().filter(|(name, _)| !recorded.contains_key(*name)) {
                found.push(Found {
                    step: step.to_owned(),
                    path: format!("{path}/{name}"),
                    what: format!("only now: {}", short(value)),
                });
            }
        }
        (Value::Array(recorded), Value::Array(now))
            if named(recorded).is_some() && named(now).is_some() =>
        {
            // Lists of named things are compared by name: what is missing is one difference.
            let by_name = |list: &[Value]| -> Value { named(list).into_iter().flatten().collect() };
            compare(&by_name(recorded), &by_name(now), path, step, found);
        }
        (Value::Array(recorded), Value::Array(now)) => {
            if recorded.len() != now.len() {
                note(
                    path.to_owned(),
                    format!("{} items recorded, {} now", recorded.len(), now.len()),
                );
            }
            for (position, (value, other)) in recorded.iter().zip(now).enumerate() {
                compare(value, other, &format!("{path}/{position}"), step, found);
            }
        }
        _ if recorded == now => {}
        _ => note(
            path.to_owned(),
            format!("recorded {}, now {}", short(recorded), short(now)),
        ),
    }
}

/// The items of a list of discovery by their names; nothing when the list is of something else.
fn named(list: &[Value]) -> Option<Vec<(String, Value)>> {
    let name = |item: &Value| {
        let resource = item
            .get("singularName")
            .and(item.get("name"))
            .or(item.get("resource"));
        let part = item.get("responseKind").and(item.get("subresource"));
        let group = item
            .get("versions")
            .and(item.get("name").or(item.pointer("/metadata/name")));
        resource
            .or(part)
            .or(group)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    list.iter()
        .map(|item| Some((name(item)?, item.clone())))
        .collect()
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 300 {
        format!("{}…", text.chars().take(300).collect::<String>())
    } else {
        text
    }
}
