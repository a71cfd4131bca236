//! To Cilium.

use serde_json::{Map, Value, json};
use weir_model::{Action, Allowlist, Document, Peer, PortRange, Protocol, Rule};

use super::{API_VERSION, CLUSTER_KIND, KIND, endpoint, layer7};
use crate::condition::exact;
use crate::loss::{Loss, Report};
use crate::ports::{self, Ports};
use crate::workloads::{Within, Workloads};
use crate::{Exported, stream};

/// Where the rules of one side go.
struct Side<'a> {
    allow: &'static str,
    deny: &'static str,
    /// The beginning of the keys of peers.
    peers: &'static str,
    rules: &'a [Rule],
}

/// What a rule is written in.
struct Context<'a> {
    workloads: &'a Workloads<'a>,
    /// The namespace of the document; empty for the whole cluster.
    own: &'a str,
}

/// Writes allowlists, by namespace and name.
pub(crate) fn write(documents: &[Document]) -> Exported {
    let workloads = Workloads::of(documents);
    let mut objects = Vec::new();
    let mut losses: Vec<Loss> = Vec::new();
    for document in documents {
        let mut report = Report::of(document.title());
        match document {
            Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
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
    let own = allowlist.metadata.namespace.as_str();
    let target = workloads.select(&allowlist.spec.target, own, "spec.target", report)?;
    let mut metadata = Map::from_iter([("name".to_owned(), json!(allowlist.metadata.name))]);
    // Only a policy of the cluster may look beyond one namespace.
    let (kind, own) = match &target.namespaces {
        Within::One(namespace) => {
            metadata.insert("namespace".to_owned(), json!(namespace));
            (KIND, namespace.as_str())
        }
        Within::Labelled(_) => (CLUSTER_KIND, ""),
    };
    // Both sides are closed, as a workload in protect is.
    let mut spec = json!({
        "endpointSelector": endpoint::write(&target, own),
        "enableDefaultDeny": {"ingress": true, "egress": true},
    });
    let context = Context {
        workloads,
        own: &allowlist.metadata.namespace,
    };
    for side in [
        Side {
            allow: "ingress",
            deny: "ingressDeny",
            peers: "from",
            rules: &allowlist.spec.ingress,
        },
        Side {
            allow: "egress",
            deny: "egressDeny",
            peers: "to",
            rules: &allowlist.spec.egress,
        },
    ] {
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        for (index, rule) in side.rules.iter().enumerate() {
            let field = format!("spec.{}[{index}]", side.allow);
            report.about(rule.action);
            let written = context.rule(rule, side.peers, own, &field, report);
            match rule.action {
                Action::Allow => allow.extend(written),
                Action::Deny => deny.extend(written),
            }
        }
        // An empty list closes the side; no list would leave it to others.
        spec[side.allow] = Value::Array(allow);
        if !deny.is_empty() {
            spec[side.deny] = Value::Array(deny);
        }
    }
    Some(json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}))
}

impl Context<'_> {
    fn rule(
        &self,
        rule: &Rule,
        peers_key: &str,
        own: &str,
        field: &str,
        report: &mut Report,
    ) -> Option<Value> {
        let deny = rule.action == Action::Deny;
        if deny && !(rule.applications.is_empty() && rule.when.is_empty()) {
            report.narrower(
                field,
                "Cilium denies by peers and ports only; this denial is left out",
            );
            return None;
        }
        let mut written = self.peers(rule, peers_key, own, field, report)?;
        if icmp(rule) {
            written.insert("icmps".to_owned(), icmps(rule, field, report)?);
            return Some(Value::Object(written));
        }
        let ports = ports::of_rule(rule, field, report)?;
        let mut to_ports = Map::new();
        if let Some(names) = server_names(rule) {
            to_ports.insert("serverNames".to_owned(), json!(names));
        } else if let Some((key, entries)) = layer7::write(rule, field, report) {
            to_ports.insert("rules".to_owned(), json!({key: entries}));
        }
        if !ports.is_empty() || !to_ports.is_empty() {
            to_ports.insert("ports".to_owned(), port_entries(&ports));
            written.insert("toPorts".to_owned(), json!([to_ports]));
        }
        Some(Value::Object(written))
    }

    /// The peers by key; nothing for anybody.
    fn peers(
        &self,
        rule: &Rule,
        prefix: &str,
        own: &str,
        field: &str,
        report: &mut Report,
    ) -> Option<Map<String, Value>> {
        let mut keys: Map<String, Value> = Map::new();
        for (index, peer) in rule.peers.iter().enumerate() {
            let field = format!("{field}.peers[{index}]");
            let entries: Vec<(&str, Value)> = match peer {
                Peer::Any => return Some(Map::new()),
                Peer::Workload(selector) => {
                    let selected = self.workloads.select(selector, self.own, &field, report);
                    let selected = selected.iter();
                    selected
                        .map(|selected| ("Endpoints", endpoint::write(selected, own)))
                        .collect()
                }
                Peer::Service(service) => {
                    let selected = self.workloads.serving(service, self.own, &field, report);
                    selected
                        .iter()
                        .map(|selected| ("Endpoints", endpoint::write(selected, own)))
                        .collect()
                }
                Peer::Network { cidr, except } => {
                    let mut entry = json!({"cidr": cidr.net().to_string()});
                    if !except.is_empty() {
                        let except: Vec<String> = except
                            .iter()
                            .map(|network| network.net().to_string())
                            .collect();
                        entry["except"] = json!(except);
                    }
                    vec![("CIDRSet", entry)]
                }
                Peer::Domain(domain) => {
                    let name = domain.as_str();
                    let entry = match name.contains('*') {
                        true => json!({"matchPattern": name.replacen("*.", "**.", 1)}),
                        false => json!({"matchName": name}),
                    };
                    vec![("FQDNs", entry)]
                }
                Peer::Unknown => vec![("Entities", json!("world"))],
            };
            for (key, entry) in entries {
                let list = keys
                    .entry(format!("{prefix}{key}"))
                    .or_insert_with(|| json!([]));
                list.as_array_mut()?.push(entry);
            }
        }
        (!keys.is_empty()).then_some(keys)
    }
}

/// Names that a TLS client asks for, where the rule says nothing else.
fn server_names(rule: &Rule) -> Option<&[String]> {
    let [condition] = rule.when.as_slice() else {
        return None;
    };
    (rule.applications == ["tls"] && condition.field == "tls.sni").then(|| exact(condition))?
}

fn icmp(rule: &Rule) -> bool {
    let is = |name: &String| name == "icmp" || name == "icmpv6";
    !rule.applications.is_empty() && rule.applications.iter().all(is)
}

fn icmps(rule: &Rule, field: &str, report: &mut Report) -> Option<Value> {
    let mut fields = Vec::new();
    let echo = ["echo-request".to_owned(), "echo-reply".to_owned()];
    let types = rule
        .when
        .iter()
        .find(|condition| condition.field.ends_with(".type"));
    let types = match types.map(exact) {
        Some(Some(types)) => types,
        _ => {
            report.narrower(
                &format!("{field}.when"),
                "of ICMP only echoes are let through",
            );
            &echo
        }
    };
    for application in &rule.applications {
        let (family, request, reply) = match application.as_str() {
            "icmpv6" => ("IPv6", 128, 129),
            _ => ("IPv4", 8, 0),
        };
        for name in types {
            match name.as_str() {
                "echo-request" => fields.push(json!({"family": family, "type": request})),
                "echo-reply" => fields.push(json!({"family": family, "type": reply})),
                other => report.narrower(
                    &format!("{field}.when"),
                    format!("{other} has no number here; it is left out"),
                ),
            }
        }
    }
    (!fields.is_empty()).then(|| json!([{"fields": fields}]))
}

fn port_entries(ports: &Ports) -> Value {
    let entry = |(protocol, range): (Protocol, Option<PortRange>)| {
        let port = range.map_or(0, |range| range.first());
        let mut entry = json!({
            "port": port.to_string(),
            "protocol": protocol.to_string().to_ascii_uppercase(),
        });
        if let Some(range) = range.filter(|range| range.last() > range.first()) {
            entry["endPort"] = json!(range.last());
        }
        entry
    };
    let pairs = ports.pairs();
    if pairs.is_empty() {
        return json!([{"port": "0", "protocol": "ANY"}]);
    }
    Value::Array(pairs.into_iter().map(entry).collect())
}
