//! An object that is read key by key, so that what nobody read is told.

use serde_json::{Map, Value};

use crate::loss::Report;

/// A map, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    path: String,
    map: Map<String, Value>,
}

impl Object {
    pub(crate) fn new(path: String, map: Map<String, Value>) -> Self {
        Self { path, map }
    }

    /// One that says nothing, at this place.
    pub(crate) fn empty(path: &str) -> Self {
        Self::new(path.to_owned(), Map::new())
    }

    pub(crate) fn put(&mut self, key: &str, value: Value) {
        self.map.insert(key.to_owned(), value);
    }

    /// "spec.ingress[0]"
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a key.
    pub(crate) fn at(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Whether the key is there and says something.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Reads nothing of it, on purpose.
    pub(crate) fn skip(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.remove(*key);
        }
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    pub(crate) fn truth(&mut self, key: &str) -> Option<bool> {
        self.take(key)?.as_bool()
    }

    pub(crate) fn object(&mut self, key: &str) -> Option<Object> {
        let path = self.at(key);
        match self.take(key)? {
            Value::Object(map) => Some(Object::new(path, map)),
            _ => None,
        }
    }

    /// The objects of a list; anything else in it is an empty object, which every reader refuses.
    pub(crate) fn objects(&mut self, key: &str) -> Option<Vec<Object>> {
        let path = self.at(key);
        let Value::Array(items) = self.take(key)? else {
            return None;
        };
        let object = |(index, item)| {
            let map = match item {
                Value::Object(map) => map,
                other => Map::from_iter([("value".to_owned(), other)]),
            };
            Object::new(format!("{path}[{index}]"), map)
        };
        Some(items.into_iter().enumerate().map(object).collect())
    }

    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.take(key)? else {
            return None;
        };
        let text = |item| match item {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        Some(items.into_iter().filter_map(text).collect())
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    /// All entries that are text.
    pub(crate) fn labels(self) -> Vec<(String, String)> {
        let entry = |(key, value): (String, Value)| Some((key, value.as_str()?.to_owned()));
        self.map.into_iter().filter_map(entry).collect()
    }

    /// What nobody has read.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.map.keys().map(|key| self.at(key)).collect()
    }

    /// Whether to go on: nothing is left unread, or what is left narrows a denial, which then denies
    /// more. What is left is told.
    pub(crate) fn all_read(&self, report: &mut Report, what: &str) -> bool {
        for field in self.rest() {
            match report.is_denying() {
                true => report.wider(&field, "this cannot be said, so more is denied"),
                false => {
                    let message = format!("this cannot be said, so {what} is left out");
                    report.narrower(&field, message);
                }
            }
        }
        self.map.is_empty() || report.is_denying()
    }
}
