//! In which form a client wants objects.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kind::Kind;
use crate::table;

/// In which form a client wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// As they are.
    Whole,
    /// Only their metadata.
    Metadata,
    /// As rows for `kubectl get`; with the whole object, its metadata or nothing beside each row.
    Table,
}

impl View {
    /// The first form of an `Accept` header that the server has.
    pub(crate) fn negotiate(accept: &str) -> Result<View, Failure> {
        if accept.is_empty() {
            return Ok(View::Whole);
        }
        for media in accept.split(',') {
            let mut parts = media.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            if !matches!(
                kind,
                "application/json" | "*/*" | "application/*" | "application/yaml"
            ) {
                continue;
            }
            let parameters: Vec<&str> = parts.collect();
            match parameters.iter().find_map(|one| one.strip_prefix("as=")) {
                None => return Ok(View::Whole),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    return Ok(View::Metadata);
                }
                Some("Table") if parameters.contains(&"v=v1") => return Ok(View::Table),
                Some(_) => {}
            }
        }
        let offered = "application/json, application/yaml, application/vnd.kubernetes.protobuf, \
                       application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let mut failure = Failure::new(
            406,
            "NotAcceptable",
            format!("406: Not Acceptable\n\nAvailable representations: {offered}"),
        );
        failure.details = Some(json!({}));
        Err(failure)
    }

    /// One object in this form.
    pub(crate) fn object(self, kind: &Kind, object: &Value, include: &str) -> Value {
        match self {
            View::Whole => object.clone(),
            View::Metadata => metadata_of(object),
            View::Table => {
                let version = object["metadata"]["resourceVersion"].clone();
                table::table(
                    kind,
                    std::slice::from_ref(object),
                    json!({"resourceVersion": version}),
                    include,
                    true,
                )
            }
        }
    }

    /// A list in this form.
    pub(crate) fn list(
        self,
        kind: &Kind,
        objects: Vec<Value>,
        mut metadata: Map<String, Value>,
        include: &str,
    ) -> Value {
        match self {
            View::Table => table::table(kind, &objects, Value::Object(metadata), include, true),
            View::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": objects.iter().map(metadata_of).collect::<Vec<_>>(),
            }),
            View::Whole => {
                let mut items = objects;
                if kind.custom.is_none() {
                    // The API's own types tell their kind once, in the list.
                    for map in items.iter_mut().filter_map(Value::as_object_mut) {
                        map.remove("kind");
                        map.remove("apiVersion");
                    }
                } else {
                    metadata
                        .entry("continue")
                        .or_insert_with(|| Value::from(""));
                }
                json!({
                    "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata, "items": items,
                })
            }
        }
    }
}

fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
