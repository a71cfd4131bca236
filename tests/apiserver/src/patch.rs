//! The four kinds of patches.

use serde_json::{Value, json};

use crate::decode::unsupported_media_type;
use crate::failure::{Cause, Failure};
use crate::kind::Kind;
use crate::request::Request;
use crate::shape::{Merge, Shape};

/// A patch, as its content type says.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by their keys.
    Strategic(Value),
    /// Server-side apply.
    Apply {
        /// What is applied.
        config: Value,
        /// Takes fields from other owners.
        force: bool,
    },
}

impl Patch {
    pub(crate) fn read(kind: &Kind, request: &Request) -> Result<Patch, Failure> {
        let merge = || {
            let value: Value = serde_json::from_slice(&request.body)
                .map_err(|error| Failure::bad_request(error.to_string()))?;
            if value.is_object() {
                Ok(value)
            } else {
                Err(Failure::bad_request("a merge patch is an object"))
            }
        };
        match request.content_type() {
            "application/json-patch+json" => serde_json::from_slice(&request.body)
                .map(Patch::Json)
                .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}"))),
            "application/merge-patch+json" => merge().map(Patch::Merge),
            "application/strategic-merge-patch+json" if kind.custom.is_some() => {
                Err(no_strategic_merge())
            }
            "application/strategic-merge-patch+json" => merge().map(Patch::Strategic),
            "application/apply-patch+yaml" => {
                let config: Value = serde_yaml_ng::from_slice(&request.body).map_err(|error| {
                    Failure::bad_request(format!("error decoding YAML: {error}"))
                })?;
                check_applied(kind, &config)?;
                Ok(Patch::Apply {
                    config,
                    force: request.query.is_true("force"),
                })
            }
            _ => Err(unsupported_media_type()),
        }
    }
}

fn check_applied(kind: &Kind, config: &Value) -> Result<(), Failure> {
    let version = config["apiVersion"].as_str().unwrap_or_default();
    let named = config["kind"].as_str().unwrap_or_default();
    if named.is_empty() || version.is_empty() {
        return Err(Failure::bad_request(
            "error decoding YAML: Object 'Kind' or 'apiVersion' is missing in what is applied",
        ));
    }
    if version != kind.api_version() || named != kind.kind {
        return Err(Failure::bad_request(format!(
            "incorrect version specified in apply patch. Specified patch version: {version} {named}, expected: {} {}",
            kind.api_version(),
            kind.kind
        )));
    }
    Ok(())
}

fn no_strategic_merge() -> Failure {
    let offered =
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    let mut failure = Failure::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {offered}"
        ),
    );
    failure.details = None;
    failure
}

/// What an object becomes.
pub(crate) fn patched(kind: &Kind, current: &Value, patch: &Patch) -> Result<Value, Failure> {
    let mut object = current.clone();
    match patch {
        Patch::Json(patch) => json_patch::patch(&mut object, patch).map_err(|_| {
            let mut failure = Failure::new(
                422,
                "Invalid",
                "the server rejected our request due to an error in our request",
            );
            failure.details = Some(json!({}));
            failure
        })?,
        Patch::Merge(patch) => json_patch::merge(&mut object, patch),
        Patch::Strategic(patch) => merge_strategically(&kind.shape, &mut object, patch),
        Patch::Apply { config, .. } => object = config.clone(),
    }
    Ok(object)
}

/// Times that their type cannot hold make a patched object unreadable: the real server says so of the patch.
pub(crate) fn check_times(kind: &Kind, object: &Value) -> Result<(), Failure> {
    if kind.custom.is_some() {
        return Ok(());
    }
    kind.shape.check(object, "", &kind.kind).map_err(|why| {
        let cause = Cause::invalid("patch", &Value::from(object.to_string()), why);
        Failure::invalid_as("", json!({}), "", &[cause])
    })
}

/// Lists are merged by the first of their keys; `$patch: delete` and `replace`, `$deleteFromPrimitiveList`
/// and `null` take away. `$setElementOrder` and `$retainKeys` say nothing that the merge does not do.
fn merge_strategically(shape: &Shape, object: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    if changes
        .get("$patch")
        .is_some_and(|directive| directive == "replace")
    {
        let mut new = patch.clone();
        if let Some(map) = new.as_object_mut() {
            map.remove("$patch");
        }
        *object = new;
        return;
    }
    if let Some(Value::Array(kept)) = changes.get("$retainKeys")
        && let Some(map) = object.as_object_mut()
    {
        map.retain(|name, _| kept.iter().any(|one| one == name.as_str()));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(items), Some(gone)) = (object[list].as_array_mut(), change.as_array()) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !name.starts_with('$') {
            merge_field(&shape.child(name), object, name, change);
        }
    }
}

fn merge_field(shape: &Shape, object: &mut Value, name: &str, change: &Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match change {
        Value::Null => {
            map.remove(name);
        }
        Value::Object(_) => merge_strategically(
            shape,
            map.entry(name.to_owned()).or_insert(Value::Null),
            change,
        ),
        Value::Array(changes) => match shape {
            Shape::List {
                item,
                merge: Merge::Keys(keys),
            } => {
                let list = map.entry(name.to_owned()).or_insert(Value::Null);
                merge_items(item, list, changes, &keys[0]);
            }
            Shape::List {
                merge: Merge::Set, ..
            } => {
                let list = map.entry(name.to_owned()).or_insert(Value::Null);
                if !list.is_array() {
                    *list = json!([]);
                }
                if let Some(items) = list.as_array_mut() {
                    let new: Vec<Value> = changes
                        .iter()
                        .filter(|change| !items.contains(change))
                        .cloned()
                        .collect();
                    items.extend(new);
                }
            }
            _ => {
                map.insert(name.to_owned(), change.clone());
            }
        },
        _ => {
            map.insert(name.to_owned(), change.clone());
        }
    }
}

fn merge_items(item: &Shape, list: &mut Value, changes: &[Value], key: &str) {
    if !list.is_array() || changes.iter().any(|change| change["$patch"] == "replace") {
        *list = json!([]);
    }
    let Some(items) = list.as_array_mut() else {
        return;
    };
    for change in changes
        .iter()
        .filter(|change| change["$patch"] != "replace")
    {
        let position = items.iter().position(|one| one[key] == change[key]);
        match position {
            Some(position) if change["$patch"] == "delete" => {
                items.remove(position);
            }
            Some(position) => merge_strategically(item, &mut items[position], change),
            None if change["$patch"] == "delete" => {}
            None => items.push(change.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::shape_of;

    #[test]
    fn containers_are_merged_by_name_and_taken_away_by_directive() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
        let patch = json!({"spec": {"containers": [
            {"name": "b", "image": "2"}, {"name": "a", "$patch": "delete"}, {"name": "c"}]}});
        merge_strategically(&shape_of("Pod"), &mut pod, &patch);
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}})
        );
    }
}
