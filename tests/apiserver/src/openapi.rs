//! OpenAPI v3, as far as `kubectl apply`, `explain` and its validation read it: for every group and
//! version its kinds with their schemas, and the operations with the parameters that clients look for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::shape::{Merge, Scalar, Shape};
use crate::state::State;

/// `/openapi/v3`
pub(crate) fn index(state: &State) -> Value {
    let mut paths = Map::new();
    for kind in state.kinds() {
        let path = root(&kind.group, &kind.version);
        let link = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={}", state.store().revision())});
        paths.insert(path, link);
    }
    json!({"paths": paths})
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3/apis/GROUP/VERSION`
pub(crate) fn document(state: &State, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<Arc<Kind>> = state
        .kinds()
        .into_iter()
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    if kinds.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    schemas.insert(
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta".to_owned(),
        metadata(),
    );
    for kind in &kinds {
        let name = schema_name(kind);
        schemas.insert(name.clone(), schema(kind));
        add_paths(kind, &name, &mut paths);
    }
    let custom = kinds.iter().any(|kind| kind.custom.is_some());
    let (title, version) = if custom {
        ("Kubernetes CRD Swagger", "v0.1.0")
    } else {
        ("Kubernetes", "1.36")
    };
    Some(json!({
        "openapi": "3.0.0", "info": {"title": title, "version": version},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

fn schema_name(kind: &Kind) -> String {
    if kind.custom.is_some() {
        let mut parts: Vec<&str> = kind.group.split('.').collect();
        parts.reverse();
        return format!("{}.{}.{}", parts.join("."), kind.version, kind.kind);
    }
    let package = kind
        .group
        .split('.')
        .next()
        .filter(|group| !group.is_empty())
        .unwrap_or("core");
    format!("io.k8s.api.{package}.{}.{}", kind.version, kind.kind)
}

fn group_version_kind(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn schema(kind: &Kind) -> Value {
    let mut schema = match &kind.custom {
        Some(custom) => custom.schema.clone(),
        None => described(&kind.shape),
    };
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let text = |description: &str| json!({"type": "string", "description": description});
    schema["properties"]["apiVersion"] =
        text("APIVersion defines the versioned schema of this object.");
    schema["properties"]["kind"] = text("Kind is the REST resource that this object represents.");
    schema["properties"]["metadata"] = json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]});
    schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(kind)]);
    schema
}

fn metadata() -> Value {
    described(&crate::types::shape_of("ObjectMeta"))
}

fn described(shape: &Shape) -> Value {
    match shape {
        Shape::Scalar(Scalar::String) => json!({"type": "string"}),
        Shape::Scalar(Scalar::Integer) => json!({"type": "integer", "format": "int64"}),
        Shape::Scalar(Scalar::Number) => json!({"type": "number"}),
        Shape::Scalar(Scalar::Boolean) => json!({"type": "boolean"}),
        Shape::Scalar(Scalar::IntegerOrString) => json!({"x-kubernetes-int-or-string": true}),
        Shape::Scalar(Scalar::Time | Scalar::MicroTime) => {
            json!({"type": "string", "format": "date-time"})
        }
        Shape::Object { fields, open, .. } => {
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, field)| (name.clone(), described(&field.shape)))
                .collect();
            let mut object = json!({"type": "object", "properties": properties});
            if *open {
                object["x-kubernetes-preserve-unknown-fields"] = json!(true);
            }
            object
        }
        Shape::Map { value, .. } => {
            json!({"type": "object", "additionalProperties": described(value)})
        }
        Shape::List { item, merge } => {
            let mut list = json!({"type": "array", "items": described(item)});
            match merge {
                Merge::Atomic => list["x-kubernetes-list-type"] = json!("atomic"),
                Merge::Set => list["x-kubernetes-list-type"] = json!("set"),
                Merge::Keys(keys) => {
                    list["x-kubernetes-list-type"] = json!("map");
                    list["x-kubernetes-list-map-keys"] = json!(keys);
                    list["x-kubernetes-patch-strategy"] = json!("merge");
                    list["x-kubernetes-patch-merge-key"] = json!(keys[0]);
                }
            }
            list
        }
        Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
    }
}

fn add_paths(kind: &Kind, schema: &str, paths: &mut Map<String, Value>) {
    let root = root(&kind.group, &kind.version);
    let place = if kind.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("/{root}{place}/{}", kind.plural);
    let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
    paths.insert(collection.clone(), json!({"get": operation(kind, "list", &reference), "post": operation(kind, "post", &reference)}));
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation(kind, "get", &reference), "put": operation(kind, "put", &reference),
            "patch": operation(kind, "patch", &reference), "delete": operation(kind, "delete", &reference),
        }),
    );
}

fn operation(kind: &Kind, action: &str, reference: &Value) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let mut operation = json!({
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": group_version_kind(kind),
    });
    if matches!(action, "post" | "put" | "patch") {
        operation["parameters"] = ["dryRun", "fieldManager", "fieldValidation"]
            .map(parameter)
            .into_iter()
            .collect();
    }
    operation
}
