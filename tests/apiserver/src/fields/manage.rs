//! What an update or an apply does to the owners of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Set;
use super::walk::{Comparison, claimed, merged, remove};
use crate::clock;
use crate::failure::Failure;
use crate::kind::Kind;

/// Fields that nobody owns: they follow from where an object is kept.
const NOBODYS: [&str; 11] = [
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
];

/// Who writes, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) apply: bool,
    pub(crate) name: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

type Managers = BTreeMap<Manager, (Set, Value)>;

/// Takes note of what changed between two objects. `reset` is what the writer may not touch.
pub(crate) fn note_update(
    kind: &Kind,
    old: &Value,
    new: &mut Value,
    manager: &Manager,
    reset: &Set,
) {
    let given = new["metadata"]["managedFields"].take();
    // An empty list is how a client takes the owners away.
    if given.as_array().is_some_and(Vec::is_empty) && new["metadata"]["resourceVersion"].is_string()
    {
        strip(new);
        return;
    }
    let mut managers = read(&old["metadata"]["managedFields"]);
    let (bare_old, bare_new) = (bare(old), bare(new));
    let comparison = Comparison::between(&kind.shape, &bare_old, &bare_new).without(reset);
    let changed = comparison.modified.union(&comparison.added);
    for (other, (set, _)) in &mut managers {
        if other != manager {
            *set = set.difference(&changed).difference(&comparison.removed);
        }
    }
    let before = managers
        .get(manager)
        .map(|(set, _)| set.clone())
        .unwrap_or_default();
    let after = before
        .difference(&comparison.removed)
        .union(&changed)
        .difference(&Set::of(&NOBODYS))
        .without(reset);
    if after != before || !changed.difference(&Set::of(&NOBODYS)).is_empty() {
        managers.insert(manager.clone(), (after, Value::from(clock::now())));
    }
    write(new, managers);
}

/// Applies a configuration onto an object: the object that comes of it, with its owners.
pub(crate) fn apply(
    kind: &Kind,
    live: &Value,
    config: &Value,
    manager: &Manager,
    reset: &Set,
    force: bool,
) -> Result<Value, Failure> {
    let mut managers = read(&live["metadata"]["managedFields"]);
    let (bare_live, bare_config) = (bare(live), bare(config));
    let mine = claimed(&kind.shape, &bare_config)
        .without(reset)
        .difference(&Set::of(&NOBODYS));
    let last = managers
        .get(manager)
        .map(|(set, _)| set.clone())
        .unwrap_or_default();
    let mut result = merged(&kind.shape, &bare_live, &bare_config);
    for field in ["apiVersion", "kind"] {
        result[field] = config[field].clone();
    }
    let owned = managers
        .iter()
        .filter(|(other, _)| *other != manager)
        .fold(mine.clone(), |owned, (_, (set, _))| owned.union(set));
    let gone = last.difference(&owned);
    remove(&kind.shape, &mut result, &spared(&gone, &owned));
    let comparison = Comparison::between(&kind.shape, &bare_live, &result).without(reset);
    let changed = comparison.modified.union(&comparison.added);
    let mut conflicts = Vec::new();
    for (other, (set, _)) in &mut managers {
        if other == manager {
            continue;
        }
        let contested = set.intersection(&changed);
        if !contested.is_empty() {
            conflicts.push((other.clone(), contested));
        }
        *set = set.difference(&changed).difference(&comparison.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    let time = managers
        .get(manager)
        .filter(|_| last == mine)
        .map(|(_, time)| time.clone());
    managers.insert(
        manager.clone(),
        (mine, time.unwrap_or_else(|| Value::from(clock::now()))),
    );
    write(&mut result, managers);
    Ok(result)
}

/// A whole item may only go when nobody owns a part of it.
fn spared(gone: &Set, owned: &Set) -> Set {
    let children = gone.children.iter().map(|(name, inner)| {
        let spared = owned
            .children
            .get(name)
            .map_or_else(|| inner.clone(), |theirs| spared(inner, theirs));
        (name.clone(), spared)
    });
    Set {
        member: gone.member && owned.is_empty(),
        children: children.collect(),
    }
}

/// The object without its owners: they are no part of what is compared.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    strip(&mut object);
    object
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

fn read(entries: &Value) -> Managers {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = entries.as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let manager = Manager {
                apply: entry["operation"] == "Apply",
                name: text(entry, "manager"),
                api_version: text(entry, "apiVersion"),
                subresource: text(entry, "subresource"),
            };
            (
                manager,
                (Set::read(&entry["fieldsV1"]), entry["time"].clone()),
            )
        })
        .collect()
}

fn write(object: &mut Value, managers: Managers) {
    let mut entries: Vec<(bool, Value)> = Vec::new();
    for (manager, (set, time)) in managers {
        if set.is_empty() {
            continue;
        }
        let mut entry = json!({
            "manager": manager.name, "operation": if manager.apply { "Apply" } else { "Update" },
            "apiVersion": manager.api_version, "time": time, "fieldsType": "FieldsV1", "fieldsV1": set.write(),
        });
        if !manager.subresource.is_empty() {
            entry["subresource"] = Value::from(manager.subresource);
        }
        entries.push((manager.apply, entry));
    }
    // Those who apply come first, then the oldest.
    entries.sort_by_key(|(apply, entry)| {
        (
            !apply,
            entry["time"].as_str().unwrap_or_default().to_owned(),
        )
    });
    strip(object);
    if !entries.is_empty() {
        let metadata = object["metadata"].as_object_mut();
        if let Some(metadata) = metadata {
            metadata.insert(
                "managedFields".to_owned(),
                entries.into_iter().map(|(_, entry)| entry).collect(),
            );
        }
    }
}

/// What the one who applies is told of the others.
fn conflict(conflicts: &[(Manager, Set)]) -> Failure {
    let count: usize = conflicts.iter().map(|(_, set)| set.paths().len()).sum();
    let mut causes = Vec::new();
    let mut groups = Vec::new();
    for (manager, set) in conflicts {
        let with = if manager.subresource.is_empty() && manager.apply {
            format!("{:?}", manager.name)
        } else if manager.subresource.is_empty() {
            format!("{:?} using {}", manager.name, manager.api_version)
        } else if manager.apply {
            format!(
                "{:?} with subresource {:?}",
                manager.name, manager.subresource
            )
        } else {
            format!(
                "{:?} with subresource {:?} using {}",
                manager.name, manager.subresource, manager.api_version
            )
        };
        let paths = set.paths();
        for path in &paths {
            causes.push(json!({
                "reason": "FieldManagerConflict", "message": format!("conflict with {with}"), "field": path,
            }));
        }
        groups.push((with, paths));
    }
    let message = if count == 1 {
        format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            groups[0].0, groups[0].1[0]
        )
    } else {
        let groups: Vec<String> = groups
            .iter()
            .map(|(with, paths)| format!("conflicts with {with}:\n- {}", paths.join("\n- ")))
            .collect();
        format!("Apply failed with {count} conflicts: {}", groups.join("\n"))
    };
    let mut failure = Failure::new(409, "Conflict", message);
    failure.details = Some(Value::Object(Map::from_iter([(
        "causes".to_owned(),
        Value::Array(causes),
    )])));
    failure
}
