//! What a guardrail is asked about: the document `input`.
//!
//! | field | is |
//! |---|---|
//! | `input.operation` | `CREATE`, `UPDATE` or `DELETE` |
//! | `input.kind`, `input.namespace`, `input.name` | of the document |
//! | `input.object` | the document: `apiVersion`, `kind`, `metadata`, `spec` as one writes it; null when it is removed |
//! | `input.old` | the state in force; null for a new document |
//! | `input.parameters` | the guardrail's parameters, also `data.parameters` |
//! | `input.facts` | what is tedious to find out in Rego, see below |
//! | `input.review` | the same in Gatekeeper's words: `object`, `oldObject`, `operation`, `kind`, `namespace`, `name` |
//!
//! `input.facts.rules` lists the rules of an allowlist, of both directions:
//!
//! | field | is |
//! |---|---|
//! | `direction` | `ingress` or `egress` |
//! | `field` | "spec.ingress[0]", to be given back in a finding |
//! | `action` | `allow` or `deny`, also where none is written |
//! | `applications`, `ports`, `protocols` | as written; empty stands for any |
//! | `any_application`, `any_port` | whether they are left out |
//! | `conditions` | how many |
//! | `any`, `unknown`, `external`, `metadata_address` | whether this holds of any of its peers |
//! | `peers` | of each: `field`, `kind` (`any`, `unknown`, `cidr`, `domain`, `service`, `workload`), `text`, and: |
//! | … `external` | whether it can be an address outside private networks |
//! | … `metadata_address` | whether it can be that of a cloud's metadata service |
//! | … `wildcard` | whether it is a domain with `*`, or a network of every address |
//!
//! `input.facts.old_rules` lists those of the state in force, `input.facts.target` tells what the
//! document's target selects: `text`, `labels` (those of its selector), `workloads` (`namespace`,
//! `name`, `labels`; at most [`TARGETS_MAX`]), and `known`, whether workloads are known at all.
//! `input.facts.mode` and `.old_mode` are the mode that the document asks for (`protect`, …; the stage of
//! an allowlist), null where it asks for none, and `.loosened` tells that it asked for more before.

use regorus::Value;
use serde_json::json;
use weir_model::{Document, Selector};

use crate::guardrail::value;
use crate::{Inventory, Target, facts};

/// More workloads that a target selects are not told.
pub const TARGETS_MAX: usize = 100;

/// A change of a document, as guardrails see it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    json: serde_json::Value,
}

impl Change {
    pub(crate) fn new(
        inventory: &(impl Inventory + ?Sized),
        old: Option<&Document>,
        new: Option<&Document>,
    ) -> Self {
        let operation = match (old, new) {
            (None, _) => "CREATE",
            (Some(_), Some(_)) => "UPDATE",
            (Some(_), None) => "DELETE",
        };
        let about = new.or(old);
        let kind = about.map_or("", |document| document.kind().name());
        let metadata = about.map(Document::metadata);
        let namespace = metadata.map_or("", |it| it.namespace.as_str());
        let name = metadata.map_or("", |it| it.name.as_str());
        let (object, old) = (document(new), document(old));
        let target = target(
            inventory,
            namespace,
            if object.is_null() { &old } else { &object },
        );
        let facts = facts::facts(&object, &old, target);
        let (group, version) = weir_model::API_VERSION.split_once('/').unwrap_or_default();
        Self {
            json: json!({
                "operation": operation,
                "kind": kind,
                "namespace": namespace,
                "name": name,
                "object": object,
                "old": old,
                "facts": facts,
                "review": {
                    "operation": operation,
                    "kind": { "group": group, "version": version, "kind": kind },
                    "namespace": namespace,
                    "name": name,
                    "object": object,
                    "oldObject": old,
                },
            }),
        }
    }

    pub(crate) fn input(&self, parameters: &Value) -> Value {
        let mut input = value(&self.json);
        if let Ok(fields) = input.as_object_mut() {
            fields.insert(Value::from("parameters"), parameters.clone());
        }
        input
    }

    /// As JSON, for those who write guardrails and want to see it.
    pub(crate) fn json(&self) -> &serde_json::Value {
        &self.json
    }
}

/// The document `input` of one change, as JSON; without parameters.
pub fn show(
    inventory: &(impl Inventory + ?Sized),
    old: Option<&Document>,
    new: Option<&Document>,
) -> serde_json::Value {
    Change::new(inventory, old, new).json().clone()
}

/// The document as one writes it.
fn document(document: Option<&Document>) -> serde_json::Value {
    // Text, numbers, lists and maps with text keys can always be written.
    serde_json::to_value(document).unwrap_or_default()
}

fn target(
    inventory: &(impl Inventory + ?Sized),
    namespace: &str,
    document: &serde_json::Value,
) -> serde_json::Value {
    let written = &document["spec"]["target"];
    let selector: Option<Selector> = serde_json::from_value(written.clone()).ok();
    let Some(selector) = selector else {
        return serde_json::Value::Null;
    };
    let workloads: Option<Vec<Target>> = inventory.selected(namespace, &selector);
    let text = match &selector {
        Selector::Name(name) => name.resolve(namespace),
        Selector::Labels { .. } => written["matchLabels"].to_string(),
    };
    let empty = json!({});
    json!({
        "text": text,
        "labels": written.get("matchLabels").unwrap_or(&empty),
        "known": workloads.is_some(),
        "workloads": workloads.unwrap_or_default(),
    })
}
