//! A whole set of documents in place of another: what changed is judged, what stayed is only audited.

use std::collections::BTreeMap;

use weir_model::{Document, Kind, Located, Problem};

use crate::{Findings, Guardrails, Inventory, evaluate};

/// What guardrails say of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Why it is refused; empty where it is not.
    pub refused: Vec<Problem>,
    /// What is only told.
    pub warnings: Vec<Problem>,
}

/// Judges every document that is new, differs from the state in force or is gone from it. What is the
/// same as before is in force and stays so: with `audit` (the guardrails are new, say) it is told where
/// they would refuse it today.
pub fn judge(
    guardrails: &Guardrails,
    inventory: &(impl Inventory + ?Sized),
    in_force: &[Located<Document>],
    documents: &[Located<Document>],
    audit: bool,
) -> Judged {
    let mut judged = Judged::default();
    if guardrails.is_empty() {
        return judged;
    }
    let mut before: BTreeMap<_, &Located<Document>> =
        in_force.iter().map(|it| (key(&it.value), it)).collect();
    for new in documents {
        let old = before.remove(&key(&new.value)).map(|old| &old.value);
        if old != Some(&new.value) {
            let findings = evaluate(guardrails, inventory, old, Some(&new.value));
            judged.add(&findings, new);
        } else if audit {
            judged.audit(evaluate(guardrails, inventory, None, old), new);
        }
    }
    for old in before.into_values() {
        let findings = evaluate(guardrails, inventory, Some(&old.value), None);
        for finding in &findings.refused {
            let title = old.value.title();
            let sentence = finding.sentence();
            let message = format!("{title} may not be removed: {sentence}");
            let problem = Problem::of_file(&old.file, message, &finding.next_step);
            judged.refused.push(problem);
        }
    }
    judged
}

impl Judged {
    /// Adds what is said of one document.
    pub fn add(&mut self, findings: &Findings, located: &Located<Document>) {
        let refused = findings.refused.iter();
        self.refused.extend(refused.map(|it| it.problem(located)));
        let warnings = findings.warnings.iter();
        self.warnings.extend(warnings.map(|it| it.problem(located)));
    }

    fn audit(&mut self, findings: Findings, located: &Located<Document>) {
        for finding in findings.refused {
            let mut problem = finding.problem(located);
            let title = located.value.title();
            problem.message = format!("{title} is in force, but {}", problem.message);
            self.warnings.push(problem);
        }
        let warnings = findings.warnings.iter();
        self.warnings.extend(warnings.map(|it| it.problem(located)));
    }
}

fn key(document: &Document) -> (Kind, &str, &str) {
    let metadata = document.metadata();
    (document.kind(), &metadata.namespace, &metadata.name)
}
