//! Threat policies, resolved to the names of the catalogue.

use std::collections::BTreeMap;

use weir_model::{Document, Located, ThreatAction as Written, ThreatPolicy};
use weir_policy::spec::{ThreatAction, ThreatPolicySpec};

use crate::check::threat;

/// The policy as data, still without number.
pub(crate) fn threat_policy_spec(
    located: &Located<Document>,
    policy: &ThreatPolicy,
    targets: Vec<u32>,
) -> ThreatPolicySpec {
    let mut actions: BTreeMap<String, ThreatAction> = BTreeMap::new();
    let mut others = None;
    for rule in &policy.spec.rules {
        let action = match rule.action {
            Written::Ignore => ThreatAction::Ignore,
            Written::Alert => ThreatAction::Alert,
            Written::Drop => ThreatAction::Drop,
        };
        for name in &rule.threats {
            if name.is_all() {
                others.get_or_insert(action);
            } else if let Some(threat) = threat(name) {
                actions.entry(threat.name().to_owned()).or_insert(action);
            }
        }
    }
    let thresholds = policy.spec.thresholds.given();
    let thresholds: BTreeMap<String, u32> = thresholds
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    ThreatPolicySpec {
        id: 0,
        name: located.value.title(),
        targets,
        actions: actions.into_iter().collect(),
        others,
        thresholds: thresholds.into_iter().collect(),
    }
}
