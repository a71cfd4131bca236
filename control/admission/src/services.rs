//! Services: addresses that belong to others (CVE-2020-8554).

use weir_model::Enforcement;

use crate::review::Request;
use crate::verdict::{Cause, Verdict};
use crate::{Knowledge, is_exempt};

/// An address that a service claims although it is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where it is written: "spec.externalIPs[0]".
    pub field: String,
    /// What is claimed, and whose it is.
    pub message: String,
    /// What to do.
    pub next_step: String,
}

/// Judges a service. Its status counts too: who may write that may claim addresses by it.
pub(crate) fn validate(knowledge: &dyn Knowledge, request: &Request) -> Verdict {
    let settings = knowledge.settings();
    let exempt = is_exempt(knowledge, &settings, &request.namespace);
    let service = request.kind.group.is_empty() && request.kind.kind == "Service";
    let Some(enforcement) = settings.external_addresses else {
        return Verdict::allow();
    };
    if exempt || !service || request.object.is_null() || request.is_going() {
        return Verdict::allow();
    }
    // What it claimed before is not claimed now.
    let before = match request.old_object.is_null() {
        true => Vec::new(),
        false => knowledge.external_claims(&request.old_object),
    };
    let mut verdict = Verdict::allow();
    for claim in knowledge.external_claims(&request.object) {
        let known = before.iter().any(|old| old.message == claim.message);
        let cause = Cause {
            field: claim.field,
            message: format!("{}; {}", claim.message, claim.next_step),
            forbidden: true,
        };
        if enforcement == Enforcement::Deny && !known {
            verdict.causes.push(cause);
        } else {
            verdict.warn(&cause);
        }
    }
    verdict
}
