//! Guardrails among documents (`kind: Guardrail`), and the workloads that documents tell of.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use weir_model::{Document, Kind, Located, Metadata, Problem, Selector};

use crate::guardrail::{Definition, Enforcement, Guardrail};
use crate::module::Module;
use crate::{Guardrails, Inventory, Target, input};

/// `spec` of a guardrail.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    rego: String,
    #[serde(default)]
    parameters: Value,
    #[serde(default, rename = "match")]
    matching: Matching,
    #[serde(default)]
    enforcement: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Matching {
    kinds: Vec<String>,
    namespaces: Vec<String>,
    excluded_namespaces: Vec<String>,
}

impl Guardrails {
    /// The guardrails among these documents, and what is wrong with the others among them.
    pub fn of_documents(documents: &[Located<Document>]) -> (Self, Vec<Problem>) {
        let mut guardrails = Vec::new();
        let mut problems = Vec::new();
        for located in documents.iter().filter(|it| is_guardrail(&it.value)) {
            match Guardrail::of_document(located) {
                Ok(guardrail) => guardrails.push(Arc::new(guardrail)),
                Err(more) => problems.extend(more),
            }
        }
        (Self::new(guardrails), problems)
    }
}

impl Guardrail {
    /// A document of kind Guardrail, compiled.
    pub fn of_document(located: &Located<Document>) -> Result<Self, Vec<Problem>> {
        let mut json = serde_json::to_value(&located.value).unwrap_or_default();
        let spec: Spec = serde_json::from_value(json["spec"].take())
            .map_err(|error| vec![located.problem("spec", error.to_string(), "write spec.rego")])?;
        let file = "spec.rego".to_owned();
        let definition = Definition {
            name: located.value.metadata().name.clone(),
            modules: vec![Module {
                path: file.clone(),
                text: spec.rego,
            }],
            parameters: spec.parameters,
            enforcement: match spec.enforcement.as_str() {
                "warn" => Enforcement::Warn,
                _ => Enforcement::Deny,
            },
            kinds: kinds(&spec.matching.kinds),
            namespaces: spec.matching.namespaces,
            excluded_namespaces: spec.matching.excluded_namespaces,
            ..Definition::default()
        };
        // Where the text begins in its file depends on how it is written, so that lines are counted
        // within it.
        let placed = |problem: Problem| {
            let message = match problem.line {
                0 => problem.message,
                line => format!(
                    "line {line}, column {}: {}",
                    problem.column, problem.message
                ),
            };
            located.problem("spec.rego", message, problem.next_step)
        };
        Self::compile(definition).map_err(|problems| problems.into_iter().map(placed).collect())
    }
}

impl Inventory for [Located<Document>] {
    fn selected(&self, namespace: &str, selector: &Selector) -> Option<Vec<Target>> {
        let workloads = self.iter().filter_map(|located| match &located.value {
            Document::Workload(workload) => Some(&workload.metadata),
            _ => None,
        });
        let written = serde_json::to_value(selector).unwrap_or_default();
        let selected = workloads.filter(|workload| selects(&written, namespace, workload));
        let target = |metadata: &Metadata| Target {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
        };
        Some(selected.take(input::TARGETS_MAX).map(target).collect())
    }
}

fn selects(selector: &Value, namespace: &str, workload: &Metadata) -> bool {
    if let Some(name) = selector["workload"].as_str() {
        return match name.split_once('/') {
            Some(_) => name == workload.full_name(),
            None => name == workload.name && namespace == workload.namespace,
        };
    }
    let labels = selector["matchLabels"].as_object();
    selector["namespace"].as_str().unwrap_or(namespace) == workload.namespace
        && labels
            .into_iter()
            .flatten()
            .all(|(key, value)| workload.labels.get(key).map(String::as_str) == value.as_str())
}

/// Whether a document is a guardrail.
pub fn is_guardrail(document: &Document) -> bool {
    document.kind().name() == "Guardrail"
}

/// Every name is one that the reader knows.
fn kinds(names: &[String]) -> Vec<Kind> {
    let known = |name: &String| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    names.iter().filter_map(known).collect()
}
