//! Guardrails in the controller: what they refuse is not taken, and its last good state stays.
//!
//! One verdict everywhere: [`Gate::judge`] is what the webhook answers, what a change at the API
//! server meets, and what files meet as a set. What is in force when a guardrail comes stays in force and
//! is told of; so does, after a restart, what was in force before. The store remembers what that was, so
//! that a restart lets nothing past: what changed meanwhile is judged against the state taken last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_admission::Judgement;
use weir_guardrail::{
    Findings, Guardrail, Guardrails, Inventory, Judged, Target, evaluate, governs, input, judge,
};
use weir_model::{Document, Kind, Located, Namespaces, Problem, Selector};
use weir_sources::DocumentKey;

/// The guardrails that were compiled last.
#[derive(Debug, Default)]
pub struct Gate {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    documents: Vec<Located<Document>>,
    guardrails: Guardrails,
    problems: Vec<Problem>,
}

/// Documents by their keys, so that what selectors mean is found without going through all.
#[derive(Clone, Copy, Debug)]
pub struct ByKey<'a>(pub &'a BTreeMap<DocumentKey, Arc<Located<Document>>>);

impl Inventory for ByKey<'_> {
    fn selected(&self, namespace: &str, selector: &Selector) -> Option<Vec<Target>> {
        let key = |namespace: &str, name: &str| DocumentKey {
            kind: Kind::Workload,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let from = match selector {
            Selector::Name(name) => key(name.namespace().unwrap_or(namespace), name.name()),
            Selector::Labels { namespaces, .. } => match namespaces {
                Namespaces::Own => key(namespace, ""),
                Namespaces::Named(name) => key(name, ""),
                Namespaces::Selected(_) => key("", ""),
            },
        };
        // Where one namespace is meant, what follows it is of no interest.
        let one = (!from.namespace.is_empty()).then(|| from.namespace.clone());
        let within = |(key, _): &(&DocumentKey, &Arc<Located<Document>>)| {
            key.kind == Kind::Workload && one.as_ref().is_none_or(|one| key.namespace == *one)
        };
        let candidates = self.0.range(from..).take_while(within);
        let metadata = candidates.map(|(_, located)| located.value.metadata());
        let selected = metadata
            .filter(|it| selector.selects(namespace, it, |name| self.namespace_labels(name)));
        let target = |metadata: &weir_model::Metadata| Target {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
        };
        Some(selected.take(input::TARGETS_MAX).map(target).collect())
    }

    fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        let key = DocumentKey {
            kind: Kind::Namespace,
            namespace: String::new(),
            name: name.to_owned(),
        };
        self.0.get(&key).map(|it| &it.value.metadata().labels)
    }
}

impl Gate {
    /// The guardrails among these documents, and what is wrong with others among them. Compiled only
    /// where they are others than the last time.
    pub fn guardrails<'a>(
        &self,
        documents: impl Iterator<Item = &'a Located<Document>>,
    ) -> (Guardrails, Vec<Problem>) {
        let own: Vec<Located<Document>> = documents
            .filter(|it| it.value.kind() == Kind::Guardrail)
            .cloned()
            .collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.documents != own {
            let (guardrails, problems) = Guardrails::of_documents(&own);
            *last = Last {
                documents: own,
                guardrails,
                problems,
            };
        }
        (last.guardrails.clone(), last.problems.clone())
    }

    /// Judges one change of one document by these guardrails: mistakes of a guardrail's own Rego, and
    /// what guardrails refuse or warn of.
    pub fn judge(
        guardrails: &Guardrails,
        inventory: &(impl Inventory + ?Sized),
        old: Option<&Located<Document>>,
        new: Option<&Located<Document>>,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let kind = new.or(old).map(|it| it.value.kind());
        if !kind.is_some_and(governs) {
            return judgement;
        }
        let unchanged = match (old, new) {
            (Some(old), Some(new)) => old.value == new.value,
            (old, new) => old.is_none() && new.is_none(),
        };
        if unchanged {
            return judgement;
        }
        if let Some(new) = new.filter(|new| new.value.kind() == Kind::Guardrail)
            && let Err(problems) = Guardrail::of_document(new)
        {
            judgement.invalid = problems;
            return judgement;
        }
        let value = |located: &&Located<Document>| located.value.clone();
        let (old_value, new_value) = (old.as_ref().map(value), new.as_ref().map(value));
        let findings = evaluate(
            guardrails,
            inventory,
            old_value.as_ref(),
            new_value.as_ref(),
        );
        let Some(about) = new.or(old) else {
            return judgement;
        };
        let Findings { refused, warnings } = findings;
        judgement.forbidden = refused.iter().map(|it| it.problem(about)).collect();
        judgement.warnings = warnings.iter().map(|it| it.problem(about)).collect();
        judgement
    }

    /// Judges a set of documents in place of another; returns what is only told. `known` says whether
    /// the set before is known: where it is not, what is there is taken for what was in force.
    pub fn judge_set(
        &self,
        in_force: &[Arc<Located<Document>>],
        documents: &[Located<Document>],
        known: bool,
    ) -> Result<Vec<Problem>, Vec<Problem>> {
        let (guardrails, problems) = self.guardrails(documents.iter());
        if !problems.is_empty() {
            return Err(problems);
        }
        let governed = in_force.iter().filter(|it| governs(it.value.kind()));
        let in_force: Vec<Located<Document>> = match known {
            true => governed.map(|it| (**it).clone()).collect(),
            false => documents.to_vec(),
        };
        let Judged { refused, warnings } =
            judge(&guardrails, documents, &in_force, documents, true);
        if refused.is_empty() {
            Ok(warnings)
        } else {
            Err(refused)
        }
    }

    /// Documents in force that the guardrails would refuse today.
    pub fn audit<'a>(
        guardrails: &Guardrails,
        inventory: &(impl Inventory + ?Sized),
        documents: impl Iterator<Item = &'a Located<Document>>,
    ) -> Vec<Problem> {
        if guardrails.is_empty() {
            return Vec::new();
        }
        let governed = documents.filter(|it| governs(it.value.kind()));
        governed
            .flat_map(|located| {
                let one = std::slice::from_ref(located);
                judge(guardrails, inventory, one, one, true).warnings
            })
            .collect()
    }
}
