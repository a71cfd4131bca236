//! Custom resources: what a CRD makes the server serve, and how their objects are filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kind::{Custom, Kind};
use crate::shape::{Field, Merge, Presence, Scalar, Shape};
use crate::table;
use crate::types::shape_of;

/// The kinds of an established CRD, one for each version that is served.
pub(crate) fn kinds_of(definition: &Value) -> Vec<Kind> {
    let established = definition["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    if !established {
        return Vec::new();
    }
    let spec = &definition["spec"];
    let versions: Vec<&Value> = spec["versions"].as_array().into_iter().flatten().collect();
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map_or("", |version| text(version, "name"));
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| kind_of(spec, version, storage))
        .collect()
}

fn kind_of(spec: &Value, version: &Value, storage: &str) -> Kind {
    let names = &spec["names"];
    let kind = text(names, "kind").to_owned();
    let or = |name: &str, other: String| {
        names[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map_or(other, str::to_owned)
    };
    let schema = version["schema"]["openAPIV3Schema"].clone();
    let subresources = version["subresources"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone());
    Kind {
        group: text(spec, "group").to_owned(),
        version: text(version, "name").to_owned(),
        list_kind: or("listKind", format!("{kind}List")),
        plural: text(names, "plural").to_owned(),
        singular: or("singular", kind.to_lowercase()),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        subresources: subresources.collect(),
        is_question: false,
        shape: Arc::new(shape_of_root(&schema)),
        custom: Some(Custom {
            columns: version["additionalPrinterColumns"]
                .as_array()
                .cloned()
                .unwrap_or_else(age_column),
            selectable: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| text(field, "jsonPath").to_owned())
                .collect(),
            storage_version: storage.to_owned(),
            schema,
        }),
        kind,
    }
}

fn age_column() -> Vec<Value> {
    let path = ".metadata.creationTimestamp";
    vec![
        serde_json::json!({"name": "Age", "type": "date", "jsonPath": path, "description": table::CREATED}),
    ]
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

/// The shape of a whole object: what the schema says, and what every object carries.
fn shape_of_root(schema: &Value) -> Shape {
    let (mut fields, open) = match shape_of_schema(schema) {
        Shape::Object { fields, open, .. } => (fields, open),
        _ => (BTreeMap::new(), true),
    };
    let own = |shape: Arc<Shape>, presence| Field {
        shape,
        presence,
        default: None,
    };
    for name in ["apiVersion", "kind"] {
        fields.insert(
            name.to_owned(),
            own(Arc::new(Shape::Scalar(Scalar::String)), Presence::WhenGiven),
        );
    }
    fields.insert(
        "metadata".to_owned(),
        own(shape_of("ObjectMeta"), Presence::Always),
    );
    Shape::Object {
        fields,
        open,
        atomic: false,
    }
}

fn shape_of_schema(schema: &Value) -> Shape {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["x-kubernetes-int-or-string"] == true {
        return Shape::Scalar(Scalar::IntegerOrString);
    }
    match text(schema, "type") {
        "object" => shape_of_object(schema, open),
        "array" => {
            let merge = match text(schema, "x-kubernetes-list-type") {
                "set" => Merge::Set,
                "map" => Merge::Keys(texts(&schema["x-kubernetes-list-map-keys"])),
                _ => Merge::Atomic,
            };
            Shape::List {
                item: Arc::new(shape_of_schema(&schema["items"])),
                merge,
            }
        }
        // What these hold is checked by the schema, with its own words.
        _ => Shape::Any,
    }
}

fn shape_of_object(schema: &Value, open: bool) -> Shape {
    let atomic = schema["x-kubernetes-map-type"] == "atomic";
    if schema["additionalProperties"].is_object() {
        return Shape::Map {
            value: Arc::new(shape_of_schema(&schema["additionalProperties"])),
            atomic,
        };
    }
    if schema["additionalProperties"] == true {
        return Shape::Map {
            value: Arc::new(Shape::Any),
            atomic,
        };
    }
    let mut fields: BTreeMap<String, Field> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, inner)| {
            let shape = Arc::new(shape_of_schema(inner));
            (
                name.clone(),
                Field {
                    shape,
                    presence: Presence::Kept,
                    default: inner.get("default").cloned(),
                },
            )
        })
        .collect();
    if schema["x-kubernetes-embedded-resource"] == true {
        for name in ["apiVersion", "kind", "metadata"] {
            let shape = Arc::new(Shape::Any);
            fields.entry(name.to_owned()).or_insert(Field {
                shape,
                presence: Presence::Kept,
                default: None,
            });
        }
    }
    Shape::Object {
        fields,
        open,
        atomic,
    }
}

/// Writes the defaults of a schema where nothing was written.
pub(crate) fn fill(schema: &Value, object: &mut Value) {
    match object {
        Value::Object(map) => {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = inner.get("default") {
                    let absent = match map.get(name) {
                        None => true,
                        Some(value) => value.is_null() && inner["nullable"] != true,
                    };
                    if absent {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(value) = map.get_mut(name) {
                    fill(inner, value);
                }
            }
            let values = &schema["additionalProperties"];
            if values.is_object() {
                map.values_mut().for_each(|value| fill(values, value));
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}
