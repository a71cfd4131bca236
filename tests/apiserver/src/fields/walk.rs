//! Walks over objects by their shape: which fields there are, what differs, and how two become one.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Set;
use crate::shape::{Merge, Shape};

/// What a change did, by field.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) added: Set,
    pub(crate) removed: Set,
    pub(crate) modified: Set,
}

impl Comparison {
    pub(crate) fn between(shape: &Shape, old: &Value, new: &Value) -> Comparison {
        let mut comparison = Comparison::default();
        let mut walk = Walk {
            path: Vec::new(),
            comparison: &mut comparison,
        };
        walk.compare(shape, Some(old), Some(new));
        comparison
    }

    /// What a caller may not touch does not count.
    pub(crate) fn without(self, reset: &Set) -> Comparison {
        Comparison {
            added: self.added.without(reset),
            removed: self.removed.without(reset),
            modified: self.modified.without(reset),
        }
    }
}

struct Walk<'a> {
    path: Vec<String>,
    comparison: &'a mut Comparison,
}

enum Outcome {
    Added,
    Removed,
    Modified,
}

impl Walk<'_> {
    fn insert(&mut self, outcome: Outcome) {
        let mut node = match outcome {
            Outcome::Added => &mut self.comparison.added,
            Outcome::Removed => &mut self.comparison.removed,
            Outcome::Modified => &mut self.comparison.modified,
        };
        for name in &self.path {
            node = node.child(name.clone());
        }
        node.member = true;
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.insert(Outcome::Added),
            (_, None) => self.insert(Outcome::Removed),
            (Some(old), Some(new)) if old != new => self.insert(Outcome::Modified),
            _ => {}
        }
    }

    fn compare(&mut self, shape: &Shape, old: Option<&Value>, new: Option<&Value>) {
        let maps = is_map(old) || is_map(new);
        let granular = match shape {
            Shape::Object { .. } | Shape::Map { .. } | Shape::Any => {
                maps && !shape.is_atomic() && fits(old, new)
            }
            Shape::List { .. } => !shape.is_atomic() && (is_list(old) || is_list(new)),
            Shape::Scalar(_) => false,
        };
        if !granular || (is_hollow(old) && is_hollow(new)) {
            return self.leaf(old, new);
        }
        if let Shape::List { item, merge } = shape {
            self.compare_items(item, merge, old, new);
        } else {
            self.compare_fields(shape, old, new);
        }
        match (old, new) {
            (None, _) => self.insert(Outcome::Added),
            (_, None) => self.insert(Outcome::Removed),
            _ => {}
        }
    }

    fn compare_fields(&mut self, shape: &Shape, old: Option<&Value>, new: Option<&Value>) {
        let empty = Map::new();
        let map = |value: Option<&Value>| {
            value
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_else(|| empty.clone())
        };
        let (old, new) = (map(old), map(new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            self.path.push(format!("f:{name}"));
            self.compare(&shape.child(name), old.get(name), new.get(name));
            self.path.pop();
        }
    }

    fn compare_items(
        &mut self,
        item: &Shape,
        merge: &Merge,
        old: Option<&Value>,
        new: Option<&Value>,
    ) {
        let (old, new) = (keyed(item, merge, old), keyed(item, merge, new));
        let find = |list: &[(String, Value)], name: &str| {
            list.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
        for name in names {
            self.path.push(name.clone());
            self.compare(item, find(&old, name).as_ref(), find(&new, name).as_ref());
            self.path.pop();
        }
    }
}

fn is_map(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_object)
}

fn is_list(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_array)
}

/// Both are maps, or one of them is nothing.
fn fits(old: Option<&Value>, new: Option<&Value>) -> bool {
    let fit =
        |value: Option<&Value>| value.is_none_or(|value| value.is_object() || value.is_null());
    fit(old) && fit(new)
}

fn is_hollow(value: Option<&Value>) -> bool {
    value.is_none_or(|value| match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    })
}

/// Items of a list with the names by which they are told apart.
fn keyed(item: &Shape, merge: &Merge, list: Option<&Value>) -> Vec<(String, Value)> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .map(|value| (element(item, merge, value), value.clone()))
        .collect()
}

fn element(item: &Shape, merge: &Merge, value: &Value) -> String {
    let Merge::Keys(keys) = merge else {
        return format!("v:{value}");
    };
    let mut names = Map::new();
    for key in keys {
        let given = value.get(key).filter(|given| !given.is_null()).cloned();
        let default = || match item {
            Shape::Object { fields, .. } => fields.get(key).and_then(|field| field.default.clone()),
            _ => None,
        };
        if let Some(given) = given.or_else(default) {
            names.insert(key.clone(), given);
        }
    }
    format!("k:{}", Value::Object(names))
}

/// The fields that an object as applied claims.
pub(crate) fn claimed(shape: &Shape, value: &Value) -> Set {
    let mut set = Set::default();
    claim(shape, value, &mut set);
    set.member = false;
    set
}

fn claim(shape: &Shape, value: &Value, set: &mut Set) {
    match (shape, value) {
        (Shape::Object { .. } | Shape::Map { .. } | Shape::Any, Value::Object(map))
            if !shape.is_atomic() =>
        {
            for (name, inner) in map {
                let node = set.child(format!("f:{name}"));
                claim(&shape.child(name), inner, node);
                let empty = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                node.member |= empty || !shape.names(name);
            }
        }
        (Shape::List { item, merge }, Value::Array(items)) if *merge != Merge::Atomic => {
            for inner in items {
                let node = set.child(element(item, merge, inner));
                claim(item, inner, node);
                node.member = true;
            }
        }
        (Shape::List { .. } | Shape::Object { .. } | Shape::Map { .. }, Value::Null) => {}
        _ => set.member = true,
    }
}

/// What an object becomes when another is applied onto it.
pub(crate) fn merged(shape: &Shape, live: &Value, applied: &Value) -> Value {
    match (shape, live, applied) {
        (
            Shape::Object { .. } | Shape::Map { .. } | Shape::Any,
            Value::Object(live),
            Value::Object(applied),
        ) if !shape.is_atomic() => {
            let mut result = live.clone();
            for (name, theirs) in applied {
                let value = match live.get(name) {
                    Some(ours) => merged(&shape.child(name), ours, theirs),
                    None => theirs.clone(),
                };
                result.insert(name.clone(), value);
            }
            Value::Object(result)
        }
        (Shape::List { item, merge }, Value::Array(_), Value::Array(_))
            if *merge != Merge::Atomic =>
        {
            merged_list(item, merge, live, applied)
        }
        _ => applied.clone(),
    }
}

/// Items of both, those of the applied list in its order.
fn merged_list(item: &Shape, merge: &Merge, live: &Value, applied: &Value) -> Value {
    let (ours, theirs) = (
        keyed(item, merge, Some(live)),
        keyed(item, merge, Some(applied)),
    );
    let find = |list: &[(String, Value)], name: &str| list.iter().position(|(key, _)| key == name);
    let mut result: Vec<Value> = Vec::new();
    let mut taken = vec![false; theirs.len()];
    let (mut left, mut right) = (0, 0);
    while left < ours.len() || right < theirs.len() {
        if left < ours.len() {
            match find(&theirs, &ours[left].0) {
                None => {
                    result.push(ours[left].1.clone());
                    left += 1;
                    continue;
                }
                Some(position) if taken[position] => {
                    left += 1;
                    continue;
                }
                Some(_) => {}
            }
        }
        if right < theirs.len() {
            let (name, value) = &theirs[right];
            let value = match find(&ours, name) {
                Some(position) => merged(item, &ours[position].1, value),
                None => value.clone(),
            };
            result.push(value);
            taken[right] = true;
            right += 1;
        }
    }
    Value::Array(result)
}

/// Takes fields away. Lists and maps that end up empty go too.
pub(crate) fn remove(shape: &Shape, value: &mut Value, gone: &Set) {
    match (shape, value) {
        (Shape::Object { .. } | Shape::Map { .. } | Shape::Any, Value::Object(map))
            if !shape.is_atomic() =>
        {
            for (name, inner) in &gone.children {
                let Some(name) = name.strip_prefix("f:") else {
                    continue;
                };
                let Some(field) = map.get_mut(name) else {
                    continue;
                };
                if inner.member {
                    map.remove(name);
                    continue;
                }
                let before = is_hollow(Some(field));
                remove(&shape.child(name), field, inner);
                if !before && is_hollow(Some(field)) {
                    map.remove(name);
                }
            }
        }
        (Shape::List { item, merge }, Value::Array(items)) if *merge != Merge::Atomic => {
            items.retain_mut(|value| {
                let Some(inner) = gone.children.get(&element(item, merge, value)) else {
                    return true;
                };
                if !inner.member {
                    remove(item, value, inner);
                }
                !inner.member
            });
        }
        _ => {}
    }
}
