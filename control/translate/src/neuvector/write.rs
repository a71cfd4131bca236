//! To NeuVector.

use serde_json::{Value, json};
use weir_model::{
    Action, Allowlist, Document, Mode, Peer, Rule, Selector, SensorAction, SensorClass, Stage,
};

use super::{API_VERSION, CLUSTER_KIND, KIND, applications, group, sensors};
use crate::loss::{Loss, Report};
use crate::workloads::{Selected, Within, Workloads};
use crate::{Exported, stream};

/// What documents are written with.
struct Context<'a> {
    documents: &'a [Document],
    workloads: Workloads<'a>,
}

/// Writes allowlists with the modes and sensors of their targets.
pub(crate) fn write(documents: &[Document]) -> Exported {
    let context = Context {
        documents,
        workloads: Workloads::of(documents),
    };
    let mut objects = Vec::new();
    let mut losses: Vec<Loss> = Vec::new();
    for document in documents {
        let mut report = Report::of(document.title());
        match document {
            Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                objects.extend(context.security_rule(allowlist, &mut report));
            }
            Document::Sensor(sensor) => {
                objects.extend(sensors::write(sensor, &mut report));
                context.told_if_unattached(sensor.spec.target.as_ref(), &mut report);
            }
            Document::Mode(mode) => {
                context.told_if_unattached(Some(&mode.spec.target), &mut report);
            }
            other => stream::lose_kind(other, KIND, &mut report),
        }
        losses.extend(report.into_losses());
    }
    stream::exported(objects, losses)
}

impl Context<'_> {
    fn security_rule(&self, allowlist: &Allowlist, report: &mut Report) -> Option<Value> {
        if stream::is_draft(allowlist, report) {
            return None;
        }
        let own = allowlist.metadata.namespace.as_str();
        let target = self.group(&allowlist.spec.target, own, "spec.target", report)?;
        let side = |side: &str, rules: &[Rule], report: &mut Report| -> Vec<Value> {
            // Denials first: rules are tried in their order there.
            let (deny, allow): (Vec<_>, Vec<_>) = rules
                .iter()
                .enumerate()
                .partition(|(_, rule)| rule.action == Action::Deny);
            let ordered = deny.into_iter().chain(allow);
            ordered
                .flat_map(|(index, rule)| {
                    self.rules(rule, own, &format!("spec.{side}[{index}]"), report)
                })
                .collect()
        };
        let ingress = side("ingress", &allowlist.spec.ingress, report);
        let egress = side("egress", &allowlist.spec.egress, report);
        let (kind, metadata) = match own {
            "" => (CLUSTER_KIND, json!({"name": allowlist.metadata.name})),
            own => (
                KIND,
                json!({"name": allowlist.metadata.name, "namespace": own}),
            ),
        };
        let (dlp, waf) = self.settings(&allowlist.spec.target);
        Some(json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": metadata,
            "spec": {
                "target": {"policymode": self.mode(allowlist), "selector": target},
                "ingress": ingress,
                "egress": egress,
                "dlp": {"status": true, "settings": dlp},
                "waf": {"status": true, "settings": waf},
                "file": [],
                "process": [],
            },
        }))
    }

    /// The mode of the target: of the stage, or of a document that has the same target.
    fn mode(&self, allowlist: &Allowlist) -> &'static str {
        let modes = self.documents.iter().filter_map(|document| match document {
            Document::Mode(mode) if mode.spec.target == allowlist.spec.target => mode.spec.mode,
            _ => None,
        });
        let stage = allowlist.spec.stage.and_then(Stage::mode);
        match modes.chain(stage).max() {
            Some(Mode::Protect) => "Protect",
            Some(Mode::Monitor) => "Monitor",
            Some(Mode::Discover) => "Discover",
            None => "N/A",
        }
    }

    /// The sensors of a target, for DLP and for WAF.
    fn settings(&self, target: &Selector) -> (Vec<Value>, Vec<Value>) {
        let (mut dlp, mut waf) = (Vec::new(), Vec::new());
        for document in self.documents {
            let Document::Sensor(sensor) = document else {
                continue;
            };
            if sensor.spec.target.as_ref().is_none_or(|of| of != target) {
                continue;
            }
            let action = match sensor.spec.action {
                SensorAction::Alert => "allow",
                SensorAction::Drop => "deny",
            };
            let list = match sensor.spec.class() {
                SensorClass::Waf => &mut waf,
                SensorClass::Dlp => &mut dlp,
            };
            list.push(json!({"name": sensors::resource_name(sensor), "action": action}));
        }
        (dlp, waf)
    }

    /// What is for a target that no allowlist has is attached to nothing there.
    fn told_if_unattached(&self, target: Option<&Selector>, report: &mut Report) {
        let attached = self.documents.iter().any(|document| match document {
            Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                Some(&allowlist.spec.target) == target
            }
            _ => false,
        });
        if !attached {
            report.wider(
                "spec.target",
                "no allowlist has this target, so no group has it there",
            );
        }
    }

    /// One rule for each group: a rule there names one.
    fn rules(&self, rule: &Rule, own: &str, field: &str, report: &mut Report) -> Vec<Value> {
        report.about(rule.action);
        if !rule.when.is_empty() {
            let at = format!("{field}.when");
            if rule.action == Action::Deny {
                report.narrower(
                    &at,
                    "NeuVector does not look into requests; the denial is left out",
                );
                return Vec::new();
            }
            report.wider(
                &at,
                "NeuVector does not look into requests; every one passes",
            );
        }
        let Some(applications) = application_names(rule, field, report) else {
            return Vec::new();
        };
        let ports = ports(rule, field, report);
        let action = rule.action.name();
        let groups = self.groups(rule, own, field, report).into_iter();
        groups
            .map(|group| {
                json!({
                    "action": action,
                    "applications": applications,
                    "name": format!("{field}"),
                    "ports": ports,
                    "priority": 0,
                    "selector": group,
                })
            })
            .collect()
    }

    fn groups(&self, rule: &Rule, own: &str, field: &str, report: &mut Report) -> Vec<Value> {
        let mut groups = Vec::new();
        for (index, peer) in rule.peers.iter().enumerate() {
            let field = format!("{field}.peers[{index}]");
            match peer {
                Peer::Any => return vec![group::any()],
                Peer::Unknown => groups.push(group::external()),
                Peer::Workload(selector) => {
                    groups.extend(self.group(selector, own, &field, report))
                }
                Peer::Service(service) => {
                    let selected = self.workloads.serving(service, own, &field, report);
                    groups.extend(
                        selected
                            .iter()
                            .filter_map(|it| labelled(it, &field, report)),
                    );
                }
                Peer::Domain(domain) => groups.push(group::of_address(
                    &format!("weir.{}", domain.as_str().replace('*', "any")),
                    domain.as_str(),
                )),
                Peer::Network { cidr, except } if except.is_empty() => {
                    let text = cidr.net().to_string();
                    let name = format!("weir.{}", text.replace([':', '/'], "-"));
                    groups.push(group::of_address(&name, &text));
                }
                Peer::Network { .. } => {
                    report.narrower(
                        &field,
                        "exceptions of a network cannot be said; the peer is left out",
                    );
                }
            }
        }
        groups
    }

    fn group(
        &self,
        selector: &Selector,
        own: &str,
        field: &str,
        report: &mut Report,
    ) -> Option<Value> {
        match selector {
            Selector::Name(name) => Some(group::of_workload(&name.resolve(own))),
            selector => {
                let selected = self.workloads.select(selector, own, field, report)?;
                labelled(&selected, field, report)
            }
        }
    }
}

/// A group of labels, named by them: equal groups have equal names.
fn labelled(selected: &Selected, field: &str, report: &mut Report) -> Option<Value> {
    let labels = selected.labels.match_labels.iter();
    let words = labels.map(|(key, value)| format!("{key}-{value}"));
    let namespace = match &selected.namespaces {
        Within::One(namespace) => namespace.as_str(),
        Within::Labelled(_) => "cluster",
    };
    let words: Vec<String> = [namespace.to_owned()].into_iter().chain(words).collect();
    let name: String = words
        .join(".")
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || letter == '.' {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let group = group::of_labels(&format!("weir.{name}"), selected);
    if group.is_none() {
        report.narrower(field, "these labels cannot be asked for; it is left out");
    }
    group
}

/// None where none is left.
fn application_names(rule: &Rule, field: &str, report: &mut Report) -> Option<Vec<&'static str>> {
    let at = format!("{field}.applications");
    if rule.applications.is_empty() {
        return Some(vec!["any"]);
    }
    let mut names = Vec::new();
    for application in &rule.applications {
        match applications::write(application) {
            Some(name) => names.push(name),
            None => report.narrower(
                &at,
                format!("{application} is not recognised there; it is left out"),
            ),
        }
    }
    (!names.is_empty()).then_some(names)
}

fn ports(rule: &Rule, field: &str, report: &mut Report) -> String {
    let mut entries = Vec::new();
    for protocol in &rule.protocols {
        let name = protocol.to_string();
        if !matches!(name.as_str(), "tcp" | "udp" | "icmp") {
            report.narrower(
                &format!("{field}.protocols"),
                format!("{name} cannot be said; it is left out"),
            );
            continue;
        }
        match rule.ports.is_empty() || !protocol.has_ports() {
            true if name == "icmp" => entries.push(name),
            true => entries.push(format!("{name}/any")),
            false => entries.extend(rule.ports.iter().map(|range| format!("{name}/{range}"))),
        }
    }
    if rule.protocols.is_empty() {
        for name in ["tcp", "udp"] {
            entries.extend(rule.ports.iter().map(|range| format!("{name}/{range}")));
        }
    }
    match entries.is_empty() {
        true => "any".to_owned(),
        false => entries.join(","),
    }
}
