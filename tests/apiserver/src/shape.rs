//! What an object of a kind looks like: which fields there are, how they are written when empty, what
//! they are when absent, and how lists and maps are merged. One form for both worlds: the types that
//! every cluster has are read from `types/*.txt`, custom resources from their structural schema.
//!
//! Trusts the files of this crate (a mistake there fails the first test) and nothing of a schema that
//! a test sends. Memory: one tree per kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::clock;

/// How a value of a field is read and merged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A value without parts.
    Scalar(Scalar),
    /// Named fields.
    Object {
        /// The fields by name.
        fields: BTreeMap<String, Field>,
        /// Fields without a name here are kept.
        open: bool,
        /// Merged as one value.
        atomic: bool,
    },
    /// Any names, values of one shape.
    Map {
        /// What every value looks like.
        value: Arc<Shape>,
        /// Merged as one value.
        atomic: bool,
    },
    /// Values in an order.
    List {
        /// What every item looks like.
        item: Arc<Shape>,
        /// How two lists become one.
        merge: Merge,
    },
    /// Anything at all.
    Any,
}

/// What a scalar may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A number or text.
    IntegerOrString,
    /// A time with whole seconds.
    Time,
    /// A time with exactly six digits of a second.
    MicroTime,
}

/// How two lists become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The new one replaces the old one.
    Atomic,
    /// Items are values, each held once.
    Set,
    /// Items are told apart by these fields.
    Keys(Vec<String>),
}

/// A field and what stands there when nothing was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// What it holds.
    pub(crate) shape: Arc<Shape>,
    /// What happens to an empty value.
    pub(crate) presence: Presence,
    /// Written when absent.
    pub(crate) default: Option<Value>,
}

/// What the API's own encoding does with an empty value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Left out when empty.
    WhenFilled,
    /// Written whenever it was given.
    WhenGiven,
    /// Always written.
    Always,
    /// Written as it was given, even null.
    Kept,
}

impl Shape {
    /// The shape of a field or of a map's value.
    pub(crate) fn child(&self, name: &str) -> Arc<Shape> {
        match self {
            Shape::Object { fields, .. } => fields
                .get(name)
                .map_or_else(|| Arc::new(Shape::Any), |field| Arc::clone(&field.shape)),
            Shape::Map { value, .. } => Arc::clone(value),
            _ => Arc::new(Shape::Any),
        }
    }

    /// Whether a field of this name belongs to the shape, as against being a key of a map.
    pub(crate) fn names(&self, name: &str) -> bool {
        matches!(self, Shape::Object { fields, .. } if fields.contains_key(name))
    }

    /// Whether maps of this shape are one value.
    pub(crate) fn is_atomic(&self) -> bool {
        match self {
            Shape::Object { atomic, .. } | Shape::Map { atomic, .. } => *atomic,
            Shape::List { merge, .. } => *merge == Merge::Atomic,
            Shape::Scalar(_) => true,
            Shape::Any => false,
        }
    }

    /// What an object looks like to the API when nothing was ever written in it.
    pub(crate) fn zero(&self) -> Value {
        match self {
            Shape::Scalar(Scalar::String) => Value::from(""),
            Shape::Scalar(Scalar::Integer | Scalar::Number | Scalar::IntegerOrString) => {
                Value::from(0)
            }
            Shape::Scalar(Scalar::Boolean) => Value::from(false),
            Shape::Object { fields, .. } => Value::Object(
                fields
                    .iter()
                    .filter(|(_, field)| field.presence == Presence::Always)
                    .map(|(name, field)| (name.clone(), field.shape.zero()))
                    .collect(),
            ),
            _ => Value::Null,
        }
    }

    /// Brings a value into the form that the API's own types would write: empty fields left out or
    /// written, nothing without a name. Names of what was dropped go to `unknown`.
    pub(crate) fn normalise(&self, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        match (self, value) {
            (Shape::Object { fields, open, .. }, Value::Object(map)) => {
                normalise_object(fields, *open, map, path, unknown);
            }
            (Shape::Map { value: shape, .. }, Value::Object(map)) => {
                for (name, item) in map {
                    shape.normalise(item, &join(path, name), unknown);
                }
            }
            (Shape::List { item, .. }, Value::Array(items)) => {
                for (position, value) in items.iter_mut().enumerate() {
                    item.normalise(value, &format!("{path}[{position}]"), unknown);
                }
            }
            (Shape::Scalar(scalar), value) => normalise_scalar(*scalar, value),
            _ => {}
        }
    }

    /// Writes what is to stand where nothing was written.
    pub(crate) fn fill(&self, value: &mut Value) {
        match (self, value) {
            (Shape::Object { fields, .. }, Value::Object(map)) => {
                for (name, field) in fields {
                    if let Some(default) = &field.default
                        && map.get(name).is_none_or(Value::is_null)
                    {
                        map.insert(name.clone(), default.clone());
                    }
                    if let Some(inner) = map.get_mut(name) {
                        field.shape.fill(inner);
                    }
                }
            }
            (Shape::Map { value: shape, .. }, Value::Object(map)) => {
                map.values_mut().for_each(|item| shape.fill(item))
            }
            (Shape::List { item, .. }, Value::Array(items)) => {
                items.iter_mut().for_each(|value| item.fill(value))
            }
            _ => {}
        }
    }
}

fn normalise_object(
    fields: &BTreeMap<String, Field>,
    open: bool,
    map: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) {
    let names: Vec<String> = map.keys().cloned().collect();
    for name in names {
        let Some(field) = fields.get(&name) else {
            if !open {
                unknown.push(join(path, &name));
                map.remove(&name);
            }
            continue;
        };
        let value = map.get_mut(&name).expect("a name of this map");
        field.shape.normalise(value, &join(path, &name), unknown);
        let dropped = match field.presence {
            Presence::WhenFilled => is_empty(value),
            Presence::WhenGiven => value.is_null(),
            Presence::Always | Presence::Kept => false,
        };
        if dropped {
            map.remove(&name);
        }
    }
    for (name, field) in fields {
        if field.presence == Presence::Always && map.get(name).is_none_or(Value::is_null) {
            map.insert(name.clone(), field.shape.zero());
        }
    }
}

/// Times are written in UTC.
fn normalise_scalar(scalar: Scalar, value: &mut Value) {
    if !matches!(scalar, Scalar::Time | Scalar::MicroTime) {
        return;
    }
    if let Some(text) = value.as_str()
        && !text.ends_with('Z')
        && let Ok(time) = text.parse::<jiff::Timestamp>()
    {
        let format = if scalar == Scalar::Time {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S.%6fZ"
        };
        *value = Value::from(time.strftime(format).to_string());
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// A path with one more name.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl Shape {
    /// Whether the values are of their types, as far as the API's own types care; what is not is said as
    /// the real server says it.
    pub(crate) fn check(&self, value: &Value, path: &str, kind: &str) -> Result<(), String> {
        match (self, value) {
            (_, Value::Null) | (Shape::Any, _) => Ok(()),
            (Shape::Object { fields, .. }, Value::Object(map)) => {
                map.iter().try_for_each(|(name, inner)| {
                    fields.get(name).map_or(Ok(()), |field| {
                        field.shape.check(inner, &join(path, name), kind)
                    })
                })
            }
            (Shape::Map { value: shape, .. }, Value::Object(map)) => map
                .values()
                .try_for_each(|inner| shape.check(inner, path, kind)),
            (Shape::List { item, .. }, Value::Array(items)) => items
                .iter()
                .try_for_each(|inner| item.check(inner, path, kind)),
            (Shape::Scalar(scalar), value) => scalar.check(value, path, kind),
            (shape, value) => Err(mismatch(value, path, kind, shape.go_type())),
        }
    }

    fn go_type(&self) -> &'static str {
        match self {
            Shape::Scalar(
                Scalar::String | Scalar::IntegerOrString | Scalar::Time | Scalar::MicroTime,
            ) => "string",
            Shape::Scalar(Scalar::Integer) => "int32",
            Shape::Scalar(Scalar::Number) => "float64",
            Shape::Scalar(Scalar::Boolean) => "bool",
            Shape::Map { .. } => "map[string]string",
            Shape::List { .. } => "[]interface {}",
            Shape::Object { .. } | Shape::Any => "struct",
        }
    }
}

impl Scalar {
    fn check(self, value: &Value, path: &str, kind: &str) -> Result<(), String> {
        let fits = match self {
            Scalar::String => value.is_string(),
            Scalar::Integer => value.as_i64().is_some(),
            Scalar::Number => value.is_number(),
            Scalar::Boolean => value.is_boolean(),
            Scalar::IntegerOrString => value.is_string() || value.is_number(),
            Scalar::Time | Scalar::MicroTime => {
                let Some(text) = value.as_str() else {
                    return Err(mismatch(value, path, kind, "string"));
                };
                return clock::check(text, self == Scalar::MicroTime);
            }
        };
        if fits {
            Ok(())
        } else {
            Err(mismatch(value, path, kind, Shape::Scalar(self).go_type()))
        }
    }
}

fn mismatch(value: &Value, path: &str, kind: &str, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go struct field {kind}.{path} of type {wanted}")
}

impl Shape {
    /// As normalise, but empty values stay: what somebody applies is claimed even when it says nothing.
    pub(crate) fn normalise_applied(&self, value: &mut Value) {
        match (self, value) {
            (Shape::Object { fields, open, .. }, Value::Object(map)) => {
                map.retain(|name, inner| match fields.get(name) {
                    Some(field) => {
                        field.shape.normalise_applied(inner);
                        !inner.is_null()
                    }
                    None => *open,
                });
            }
            (Shape::Map { value: shape, .. }, Value::Object(map)) => {
                map.values_mut()
                    .for_each(|inner| shape.normalise_applied(inner));
            }
            (Shape::List { item, .. }, Value::Array(items)) => {
                items
                    .iter_mut()
                    .for_each(|inner| item.normalise_applied(inner));
            }
            (Shape::Scalar(scalar), value) => normalise_scalar(*scalar, value),
            _ => {}
        }
    }
}
