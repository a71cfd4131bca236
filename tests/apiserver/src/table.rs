//! Rows for `kubectl get`.

use serde_json::{Value, json};

use crate::clock;
use crate::kind::Kind;

/// A column: its name, type, and where its value stands.
struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: u64,
    path: String,
}

/// Objects as a table.
pub(crate) fn table(
    kind: &Kind,
    objects: &[Value],
    metadata: Value,
    include: &str,
    heading: bool,
) -> Value {
    let columns = columns(kind);
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| cell(column, object)).collect();
            let mut row = json!({"cells": cells});
            match include {
                "None" => {}
                "Object" => row["object"] = object.clone(),
                _ => {
                    row["object"] = json!({
                        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                        "metadata": object["metadata"],
                    });
                }
            }
            row
        })
        .collect();
    let heads: Vec<Value> = columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    let heads = if heading {
        Value::Array(heads)
    } else {
        Value::Null
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": heads, "rows": rows,
    })
}

fn column(name: &str, kind: &str, path: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        path: path.to_owned(),
    }
}

fn columns(kind: &Kind) -> Vec<Column> {
    let mut name = column("Name", "string", ".metadata.name");
    name.format = "name".to_owned();
    name.description = NAME.to_owned();
    let mut columns = vec![name];
    if let Some(custom) = &kind.custom {
        for given in &custom.columns {
            let text = |field: &str| given[field].as_str().unwrap_or_default();
            let mut made = column(text("name"), text("type"), text("jsonPath"));
            made.format = text("format").to_owned();
            made.priority = given["priority"].as_u64().unwrap_or(0);
            made.description = match text("description") {
                "" => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text("jsonPath")
                ),
                given => given.to_owned(),
            };
            columns.push(made);
        }
        return columns;
    }
    let own: &[(&str, &str, &str)] = match kind.kind.as_str() {
        "Pod" => &[
            ("Status", "string", ".status.phase"),
            ("IP", "string", ".status.podIP"),
            ("Node", "string", ".spec.nodeName"),
        ],
        "Namespace" => &[("Status", "string", ".status.phase")],
        "Service" => &[
            ("Type", "string", ".spec.type"),
            ("Cluster-IP", "string", ".spec.clusterIP"),
        ],
        "Lease" => &[("Holder", "string", ".spec.holderIdentity")],
        "EndpointSlice" => &[("AddressType", "string", ".addressType")],
        "Deployment" | "ReplicaSet" | "StatefulSet" => &[("Replicas", "integer", ".spec.replicas")],
        _ => &[],
    };
    columns.extend(
        own.iter()
            .map(|(name, kind, path)| column(name, kind, path)),
    );
    if kind.kind == "CustomResourceDefinition" {
        columns.push(column("Created At", "date", ".metadata.creationTimestamp"));
    } else {
        columns.push(column("Age", "string", ".metadata.creationTimestamp"));
    }
    columns
}

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some \
                    resources may allow a client to request the generation of an appropriate name automatically. \
                    Name is primarily intended for creation idempotence and configuration definition. Cannot be \
                    updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// What the column says that a CRD without columns gets.
pub(crate) const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It \
                       is not guaranteed to be set in happens-before order across separate operations. Clients may \
                       not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the \
                       system. Read-only. Null for lists. More info: \
                       https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

fn cell(column: &Column, object: &Value) -> Value {
    let found = find(object, &column.path);
    let Some(value) = found.first().filter(|value| !value.is_null()) else {
        return if column.kind == "date" || column.name == "Age" {
            json!("<unknown>")
        } else {
            Value::Null
        };
    };
    if column.kind == "date" || column.name == "Age" {
        return Value::from(age(clock::seconds_since(
            value.as_str().unwrap_or_default(),
        )));
    }
    match (column.kind.as_str(), value) {
        ("string", Value::String(_))
        | ("integer" | "number", Value::Number(_))
        | ("boolean", Value::Bool(_)) => (*value).clone(),
        ("string", other) => Value::from(other.to_string()),
        _ => Value::Null,
    }
}

/// What a JSON path leads to: names, `[index]`, `[*]` and `[?(@.name=="value")]`.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((inside, after)) = inside.split_once(']') else {
                return Vec::new();
            };
            found = found
                .into_iter()
                .flat_map(|value| items(value, inside))
                .collect();
            rest = after;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut end = 0;
        let mut name = String::new();
        let mut letters = rest.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match letter {
                // A dot that is a part of the name.
                '\\' => {
                    if let Some((at, next)) = letters.next() {
                        name.push(next);
                        end = at + next.len_utf8();
                    }
                }
                '.' | '[' => break,
                _ => {
                    name.push(letter);
                    end = at + letter.len_utf8();
                }
            }
        }
        found = found
            .into_iter()
            .filter_map(|value| value.get(&name))
            .collect();
        rest = &rest[end..];
        if end == 0 && name.is_empty() && !rest.starts_with('[') && !rest.starts_with('.') {
            break;
        }
    }
    found
}

fn items<'a>(value: &'a Value, inside: &str) -> Vec<&'a Value> {
    let Some(list) = value.as_array() else {
        let name = inside.trim_matches(['\'', '"']);
        return value.get(name).into_iter().collect();
    };
    if inside == "*" {
        return list.iter().collect();
    }
    if let Ok(position) = inside.parse::<usize>() {
        return list.get(position).into_iter().collect();
    }
    let Some(condition) = inside
        .strip_prefix("?(@")
        .and_then(|rest| rest.strip_suffix(')'))
    else {
        return Vec::new();
    };
    let Some((path, wanted)) = condition.split_once("==") else {
        return Vec::new();
    };
    let wanted = wanted.trim().trim_matches(['\'', '"']);
    list.iter()
        .filter(|item| {
            find(item, path.trim())
                .first()
                .is_some_and(|value| *value == wanted)
        })
        .collect()
}

/// A time span as `kubectl get` shows it.
fn age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with = |whole: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 {
            format!("{whole}{unit}")
        } else {
            format!("{whole}{unit}{rest}{small}")
        }
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => with(minutes, "m", seconds % 60, "s"),
        600..10800 => format!("{minutes}m"),
        10800..28800 => with(hours, "h", minutes % 60, "m"),
        28800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ => with(days / 365, "y", days % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_a_condition_by_its_type_and_names_with_dots() {
        let object = json!({"status": {"conditions": [{"type": "A", "status": "No"}, {"type": "Ready", "status": "True"}]},
            "metadata": {"labels": {"a.b/c": "x"}}});
        assert_eq!(
            find(&object, ".status.conditions[?(@.type==\"Ready\")].status"),
            [&json!("True")]
        );
        assert_eq!(
            find(&object, ".status.conditions[?(@.type=='A')].status"),
            [&json!("No")]
        );
        assert_eq!(find(&object, ".metadata.labels['a.b/c']"), [&json!("x")]);
        assert_eq!(find(&object, r".metadata.labels.a\.b/c"), [&json!("x")]);
        assert!(find(&object, ".spec.none").is_empty());
    }

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let ages: Vec<String> = [5, 119, 130, 700, 10800, 90000, 800_000].map(age).to_vec();
        assert_eq!(ages, ["5s", "119s", "2m10s", "11m", "3h", "25h", "9d"]);
    }
}
