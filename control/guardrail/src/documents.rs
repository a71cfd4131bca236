//! Guardrails among documents (`kind: Guardrail`), and the workloads that documents tell of.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use weir_model::{Document, Kind, Located, Metadata, Problem, Selector};

use crate::guardrail::{Definition, Guardrail};
use crate::module::Module;
use crate::{Guardrails, Inventory, Target, input};

impl Guardrails {
    /// The guardrails among these documents, and what is wrong with the others among them.
    pub fn of_documents(documents: &[Located<Document>]) -> (Self, Vec<Problem>) {
        let mut guardrails = Vec::new();
        let mut problems = Vec::new();
        for located in documents
            .iter()
            .filter(|it| it.value.kind() == Kind::Guardrail)
        {
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
        let Document::Guardrail(document) = &located.value else {
            let message = format!("{} is no guardrail", located.value.title());
            return Err(vec![located.problem(
                "kind",
                message,
                "write kind: Guardrail",
            )]);
        };
        let spec = document.spec.clone();
        let matching = spec.matching.unwrap_or_default();
        let definition = Definition {
            name: document.metadata.name.clone(),
            modules: vec![Module {
                path: "spec.rego".to_owned(),
                text: spec.rego,
            }],
            parameters: spec.parameters.map_or(Value::Null, |it| it.0),
            enforcement: spec.enforcement,
            matching,
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

impl<T: Borrow<Located<Document>>> Inventory for [T] {
    fn selected(&self, namespace: &str, selector: &Selector) -> Option<Vec<Target>> {
        let workloads = self.iter().filter_map(|one| match &one.borrow().value {
            Document::Workload(workload) => Some(&workload.metadata),
            _ => None,
        });
        let selected = workloads.filter(|workload| {
            selector.selects(namespace, workload, |name| self.namespace_labels(name))
        });
        let target = |metadata: &Metadata| Target {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
        };
        Some(selected.take(input::TARGETS_MAX).map(target).collect())
    }

    fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.iter().find_map(|one| match &one.borrow().value {
            Document::Namespace(namespace) if namespace.metadata.name == name => {
                Some(&namespace.metadata.labels)
            }
            _ => None,
        })
    }
}
