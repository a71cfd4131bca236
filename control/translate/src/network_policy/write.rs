//! To NetworkPolicy.

use serde_json::{Map, Value, json};
use weir_model::{Action, Allowlist, Document, LabelSelector, NAMESPACE_NAME_LABEL, Peer, Rule};

use super::{API_VERSION, KIND};
use crate::loss::{Loss, Report};
use crate::ports::{self, Ports};
use crate::workloads::{Selected, Within, Workloads};
use crate::{Exported, stream};

/// Writes allowlists, by namespace and name.
pub(crate) fn write(documents: &[Document]) -> Exported {
    let workloads = Workloads::of(documents);
    let mut objects = Vec::new();
    let mut losses: Vec<Loss> = Vec::new();
    for document in documents {
        let mut report = Report::of(document.title());
        match document {
            Document::Allowlist(allowlist) => {
                objects.extend(policy(allowlist, &workloads, &mut report));
            }
            other => stream::lose_kind(other, KIND, &mut report),
        }
        losses.extend(report.into_losses());
    }
    stream::exported(objects, losses)
}

fn policy(allowlist: &Allowlist, workloads: &Workloads<'_>, report: &mut Report) -> Option<Value> {
    if stream::is_draft(allowlist, report) {
        return None;
    }
    let own = &allowlist.metadata.namespace;
    let target = workloads.select(&allowlist.spec.target, own, "spec.target", report)?;
    let Within::One(namespace) = target.namespaces else {
        report.narrower(
            "spec.target.namespaceSelector",
            "a NetworkPolicy governs one namespace; write one allowlist for each",
        );
        return None;
    };
    let mut side = |rules: &[Rule], side: &str, peers: &str| -> Vec<Value> {
        let rules = rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| {
                let field = format!("spec.{side}[{index}]");
                self::rule(rule, peers, own, &field, workloads, report)
            })
            .collect()
    };
    let ingress = side(&allowlist.spec.ingress, "ingress", "from");
    let egress = side(&allowlist.spec.egress, "egress", "to");
    Some(json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": allowlist.metadata.name, "namespace": namespace},
        "spec": {
            "podSelector": crate::labels::write(&target.labels),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }))
}

fn rule(
    rule: &Rule,
    peers_key: &str,
    own: &str,
    field: &str,
    workloads: &Workloads<'_>,
    report: &mut Report,
) -> Option<Value> {
    if rule.action == Action::Deny {
        report.wider(field, "a NetworkPolicy cannot deny; the rule is left out");
        return None;
    }
    let peers = peers(rule, own, field, workloads, report)?;
    let ports = ports::of_rule(rule, field, report)?;
    unchecked(rule, field, report);
    let mut written = Map::new();
    if let Some(peers) = peers {
        written.insert(peers_key.to_owned(), Value::Array(peers));
    }
    if !ports.is_empty() {
        written.insert("ports".to_owned(), port_entries(&ports));
    }
    Some(Value::Object(written))
}

/// What the other system does not look at.
fn unchecked(rule: &Rule, field: &str, report: &mut Report) {
    if !rule.applications.is_empty() {
        report.wider(
            &format!("{field}.applications"),
            format!(
                "a NetworkPolicy does not look whether it is {}; whatever is spoken on the ports passes",
                rule.applications.join(" or ")
            ),
        );
    }
    if !rule.when.is_empty() {
        report.wider(
            &format!("{field}.when"),
            "a NetworkPolicy does not look into requests; every one passes",
        );
    }
}

/// None inside stands for anybody.
fn peers(
    rule: &Rule,
    own: &str,
    field: &str,
    workloads: &Workloads<'_>,
    report: &mut Report,
) -> Option<Option<Vec<Value>>> {
    let mut written = Vec::new();
    for (index, peer) in rule.peers.iter().enumerate() {
        let field = format!("{field}.peers[{index}]");
        match peer {
            Peer::Any => return Some(None),
            Peer::Workload(selector) => {
                let selected = workloads.select(selector, own, &field, report);
                written.extend(selected.map(|selected| pods(&selected)));
            }
            Peer::Service(service) => {
                let selected = workloads.serving(service, own, &field, report);
                written.extend(selected.iter().map(pods));
            }
            Peer::Network { cidr, except } => {
                let mut block = json!({"cidr": cidr.net().to_string()});
                if !except.is_empty() {
                    let except: Vec<String> =
                        except.iter().map(|network| network.net().to_string()).collect();
                    block["except"] = json!(except);
                }
                written.push(json!({"ipBlock": block}));
            }
            Peer::Domain(domain) => report.narrower(
                &field,
                format!("a NetworkPolicy knows no names such as {}; the peer is left out", domain.as_str()),
            ),
            Peer::Unknown => report.narrower(
                &field,
                "a NetworkPolicy cannot say that an address belongs to nobody; the peer is left out",
            ),
        }
    }
    // No peers at all would let everybody in.
    (!written.is_empty()).then_some(Some(written))
}

fn pods(selected: &Selected) -> Value {
    let namespaces = match &selected.namespaces {
        Within::One(name) => LabelSelector {
            match_labels: [(NAMESPACE_NAME_LABEL.to_owned(), name.clone())].into(),
            match_expressions: Vec::new(),
        },
        Within::Labelled(labels) => labels.clone(),
    };
    json!({
        "namespaceSelector": crate::labels::write(&namespaces),
        "podSelector": crate::labels::write(&selected.labels),
    })
}

fn port_entries(ports: &Ports) -> Value {
    let entry = |(protocol, range): (weir_model::Protocol, Option<weir_model::PortRange>)| {
        let mut entry = json!({"protocol": protocol.to_string().to_ascii_uppercase()});
        if let Some(range) = range {
            entry["port"] = json!(range.first());
            if range.last() > range.first() {
                entry["endPort"] = json!(range.last());
            }
        }
        entry
    };
    Value::Array(ports.pairs().into_iter().map(entry).collect())
}
