//! An object of an API server as a tree of nodes without places.
//!
//! Trusts: nothing. Bound: [`NODES_MAX`] and [`DEPTH_MAX`], as for files.

use serde_json::Value as Json;

use super::tree::{Entry, Node, Value};
use super::{DEPTH_MAX, NODES_MAX};

/// What the reader knows of metadata; API servers add much more.
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// A copy of the whole object, which nobody reads here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is wrong, and what to do.
type Mistake = (String, &'static str);

/// The tree of an object: what it says of itself beyond what documents have is left out, and so is
/// a field that is null, since API servers write that for one that is not there.
pub(crate) fn from_json(object: &Json) -> Result<Node, Mistake> {
    let Json::Object(fields) = object else {
        return Err((
            "this is no object".to_owned(),
            "an object has apiVersion, kind, metadata and spec",
        ));
    };
    let body = match fields.get("kind").and_then(Json::as_str) {
        Some("LearnedProfile") => "status",
        _ => "spec",
    };
    let mut nodes = 0;
    let mut entries = Vec::new();
    for (key, value) in fields {
        let other_half = ["spec", "status"].contains(&key.as_str()) && key != body;
        if other_half || value.is_null() {
            continue;
        }
        let node = match (key.as_str(), value) {
            ("metadata", Json::Object(metadata)) => known_metadata(metadata, &mut nodes)?,
            _ => node(value, 2, &mut nodes)?,
        };
        entries.push(entry(key, node));
    }
    Ok(unplaced(Value::Mapping(entries)))
}

fn known_metadata(
    metadata: &serde_json::Map<String, Json>,
    nodes: &mut usize,
) -> Result<Node, Mistake> {
    let mut entries = Vec::new();
    for (key, value) in metadata {
        if !METADATA.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        let mut node = node(value, 3, nodes)?;
        if let ("annotations", Value::Mapping(annotations)) = (key.as_str(), &mut node.value) {
            annotations.retain(|annotation| annotation.key != LAST_APPLIED);
        }
        entries.push(entry(key, node));
    }
    Ok(unplaced(Value::Mapping(entries)))
}

fn node(value: &Json, depth: usize, nodes: &mut usize) -> Result<Node, Mistake> {
    *nodes += 1;
    if *nodes > NODES_MAX {
        let message = format!("the object holds more than {NODES_MAX} values");
        return Err((message, "split it into several"));
    }
    if depth > DEPTH_MAX {
        let message = format!("values are nested deeper than {DEPTH_MAX} levels");
        return Err((message, "write it flatter"));
    }
    let scalar = |text: String, plain: bool| Value::Scalar { text, plain };
    Ok(unplaced(match value {
        Json::Null => scalar(String::new(), true),
        Json::Bool(value) => scalar(value.to_string(), true),
        Json::Number(number) => scalar(number.to_string(), true),
        Json::String(text) => scalar(text.clone(), false),
        Json::Array(items) => {
            let items = items.iter().map(|item| node(item, depth + 1, nodes));
            Value::Sequence(items.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let mut entries = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                // Within parameters of a guardrail nothing is a value like any other.
                entries.push(entry(key, node(value, depth + 1, nodes)?));
            }
            Value::Mapping(entries)
        }
    }))
}

fn entry(key: &str, node: Node) -> Entry {
    Entry {
        key: key.to_owned(),
        line: 0,
        column: 0,
        node,
    }
}

fn unplaced(value: Value) -> Node {
    Node {
        line: 0,
        column: 0,
        value,
    }
}
