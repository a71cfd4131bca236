//! From documents to YAML.

use serde::Serialize;

use crate::document::{API_VERSION, Document, Metadata, Resource};

/// Writes a document. The order is that of the types, so equal documents have equal text, and
/// [`crate::parse_documents`] reads the same document back.
pub fn to_yaml(document: &Document) -> String {
    match document {
        Document::Workload(resource) => write(document, resource),
        Document::Allowlist(resource) => write(document, resource),
        Document::Mode(resource) => write(document, resource),
        Document::Settings(resource) => write(document, resource),
        Document::Service(resource) => write(document, resource),
    }
}

/// Writes several documents into one text, separated by `---`.
pub fn to_yaml_stream<'a>(documents: impl IntoIterator<Item = &'a Document>) -> String {
    documents
        .into_iter()
        .map(to_yaml)
        .collect::<Vec<_>>()
        .join("---\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, S> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a Metadata,
    spec: &'a S,
}

fn write<S: Serialize>(document: &Document, resource: &Resource<S>) -> String {
    let written = Written {
        api_version: API_VERSION,
        kind: document.kind().name(),
        metadata: &resource.metadata,
        spec: &resource.spec,
    };
    serde_yaml_ng::to_string(&written)
        .expect("text, numbers, lists and maps with text keys can always be written")
}
