//! A set of fields of an object, as a tree; written as `FieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Fields of an object. Names in the tree are those of `FieldsV1`: `f:spec`, `k:{"name":"c"}`, `v:"x"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// The path to here is in the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, Set>,
}

impl Set {
    /// Reads `FieldsV1`.
    pub(crate) fn read(fields: &Value) -> Set {
        let mut set = Set::read_node(fields);
        set.member = false;
        set
    }

    fn read_node(fields: &Value) -> Set {
        let Some(map) = fields.as_object() else {
            return Set::default();
        };
        let mut set = Set {
            member: map.is_empty(),
            children: BTreeMap::new(),
        };
        for (name, inner) in map {
            if name == "." {
                set.member = true;
            } else {
                set.children.insert(name.clone(), Set::read_node(inner));
            }
        }
        set
    }

    /// Writes `FieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (name, inner) in &self.children {
            map.insert(name.clone(), inner.write());
        }
        Value::Object(map)
    }

    /// A set of whole fields, given as `spec.replicas`.
    pub(crate) fn of(paths: &[&str]) -> Set {
        let mut set = Set::default();
        for path in paths {
            let mut node = &mut set;
            for name in path.split('.') {
                node = node.child(format!("f:{name}"));
            }
            node.member = true;
        }
        set
    }

    pub(crate) fn child(&mut self, name: String) -> &mut Set {
        self.children.entry(name).or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Set::is_empty)
    }

    pub(crate) fn union(&self, other: &Set) -> Set {
        let mut set = self.clone();
        set.member |= other.member;
        for (name, theirs) in &other.children {
            let ours = set.children.entry(name.clone()).or_default();
            *ours = ours.union(theirs);
        }
        set
    }

    pub(crate) fn intersection(&self, other: &Set) -> Set {
        let children = self.children.iter().filter_map(|(name, ours)| {
            Some((name.clone(), ours.intersection(other.children.get(name)?)))
        });
        Set {
            member: self.member && other.member,
            children: children.collect(),
        }
        .tidy()
    }

    /// Members of this set that are not members of the other.
    pub(crate) fn difference(&self, other: &Set) -> Set {
        let children = self.children.iter().map(|(name, ours)| {
            let left = other
                .children
                .get(name)
                .map_or_else(|| ours.clone(), |theirs| ours.difference(theirs));
            (name.clone(), left)
        });
        Set {
            member: self.member && !other.member,
            children: children.collect(),
        }
        .tidy()
    }

    /// As difference, and everything below a member of the other goes too.
    pub(crate) fn without(&self, other: &Set) -> Set {
        if other.member {
            return Set::default();
        }
        let children = self.children.iter().map(|(name, ours)| {
            let left = other
                .children
                .get(name)
                .map_or_else(|| ours.clone(), |theirs| ours.without(theirs));
            (name.clone(), left)
        });
        Set {
            member: self.member,
            children: children.collect(),
        }
        .tidy()
    }

    /// Every member, as a person reads it: `.spec.containers[name="c"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (name, inner) in &self.children {
            inner.collect(format!("{path}{}", readable(name)), paths);
        }
    }

    fn tidy(mut self) -> Set {
        self.children.retain(|_, inner| !inner.is_empty());
        self
    }
}

fn readable(name: &str) -> String {
    if let Some(field) = name.strip_prefix("f:") {
        return format!(".{field}");
    }
    if let Some(value) = name.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys: Map<String, Value> = name
        .strip_prefix("k:")
        .and_then(|keys| serde_json::from_str(keys).ok())
        .unwrap_or_default();
    let keys: Vec<String> = keys
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("[{}]", keys.join(","))
}
