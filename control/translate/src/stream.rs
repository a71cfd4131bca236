//! A text as objects: YAML documents, JSON, and lists of objects as `kubectl get -o yaml` prints.

use serde::Deserialize;
use serde_json::Value;
use weir_model::{Allowlist, Document, FILE_BYTES_MAX, Problem, Stage};

use crate::Exported;
use crate::loss::{Effect, Loss, Report};
use crate::object::Object;

/// More objects than this are not read from one text.
pub const OBJECTS_MAX: usize = 10_000;

/// One object of another system.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `default` where none is written.
    pub(crate) namespace: String,
    pub(crate) body: Object,
}

impl Foreign {
    /// "NetworkPolicy shop/photo-db"; the name alone where the kind belongs to no namespace.
    pub(crate) fn title(&self) -> String {
        match self.kind.contains("Cluster") {
            true => format!("{} {}", self.kind, self.name),
            false => format!("{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// Reads the objects of a text.
pub(crate) fn read(origin: &str, text: &str) -> Result<Vec<Foreign>, Problem> {
    let wrong = |message: String, next_step: &str| Problem::of_file(origin, message, next_step);
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than the {FILE_BYTES_MAX} bytes that are read");
        return Err(wrong(message, "split it into several files"));
    }
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document)
            .map_err(|error| wrong(format!("this is no YAML: {error}"), "correct the text"))?;
        gather(value, &mut objects, 0);
        if objects.len() > OBJECTS_MAX {
            let message = format!("there are more than {OBJECTS_MAX} objects");
            return Err(wrong(message, "split the file"));
        }
    }
    if objects.is_empty() {
        return Err(wrong(
            "there is no object in it".to_owned(),
            "give what `kubectl get -o yaml` prints, or the manifests",
        ));
    }
    Ok(objects)
}

/// Lists are opened; what is no object is left for the reader of the kind to miss.
fn gather(value: Value, objects: &mut Vec<Foreign>, depth: usize) {
    let Value::Object(mut map) = value else {
        return;
    };
    let mut text = |key: &str| match map.remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.ends_with("List") && depth == 0 {
        if let Some(Value::Array(items)) = map.remove("items") {
            for item in items {
                gather(item, objects, depth + 1);
            }
        }
        return;
    }
    let metadata = map.remove("metadata").unwrap_or_default();
    let of = |key: &str| {
        metadata
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let namespace = match of("namespace") {
        "" => "default",
        namespace => namespace,
    };
    // What the server adds says nothing of policy.
    map.remove("status");
    objects.push(Foreign {
        api_version,
        kind,
        name: of("name").to_owned(),
        namespace: namespace.to_owned(),
        body: Object::new(String::new(), map),
    });
}

/// The text of objects, and what is lost.
pub(crate) fn exported(objects: Vec<Value>, mut losses: Vec<Loss>) -> Exported {
    let texts: Vec<String> = objects
        .iter()
        .filter_map(|object| serde_yaml_ng::to_string(object).ok())
        .collect();
    losses.sort();
    Exported {
        text: texts.join("---\n"),
        losses,
    }
}

/// Whether an allowlist has no effect, so that there is nothing to write.
pub(crate) fn is_draft(allowlist: &Allowlist, report: &mut Report) -> bool {
    let draft = allowlist.spec.stage == Some(Stage::Draft);
    if draft {
        report.same("spec.stage", "a draft has no effect, so it is left out");
    }
    draft
}

/// A document that the other format has nothing for. Workloads, services and namespaces are facts,
/// not policy.
pub(crate) fn lose_kind(document: &Document, format: &str, report: &mut Report) {
    let effect = match document {
        Document::Workload(_) | Document::Service(_) | Document::Namespace(_) => return,
        Document::ResponseRule(_) | Document::Guardrail(_) => Effect::Same,
        _ => Effect::Wider,
    };
    let message = format!(
        "{format} says nothing of the kind {}; it is left out",
        document.kind()
    );
    report.lose(effect, "kind", message);
}
