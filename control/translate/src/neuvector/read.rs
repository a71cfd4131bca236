//! From NeuVector.

use std::collections::BTreeMap;

use weir_model::{
    Action, Allowlist, AllowlistSpec, Document, Metadata, Mode, ModeDocument, ModeSpec, Peer,
    PortRange, Protocol, Rule, Selector, Stage,
};

use super::sensors::{self, Definition};
use super::{API_VERSION, CLUSTER_KIND, DLP_KIND, KIND, WAF_KIND, applications, group};
use crate::loss::Report;
use crate::object::Object;
use crate::ports::{Ports, WITH_PORTS};
use crate::stream::Foreign;
use crate::{ImportOptions, Imported, labels};

/// The sensors of a text by name, and whether a group uses them.
type Definitions = BTreeMap<String, (Definition, bool)>;

/// Reads rules and the sensors that they name.
pub(crate) fn read(objects: Vec<Foreign>, options: ImportOptions) -> Imported {
    let mut imported = Imported::default();
    let (mut rules, mut definitions) = (Vec::new(), Definitions::new());
    for object in objects {
        let mut report = Report::of(object.title());
        match object.kind.as_str() {
            _ if object.api_version != API_VERSION => {
                report.narrower(
                    "apiVersion",
                    format!("this is not of {API_VERSION}; it is left out"),
                );
            }
            KIND | CLUSTER_KIND => {
                rules.push(object);
                continue;
            }
            kind @ (DLP_KIND | WAF_KIND) => {
                let definition = sensors::read(object.body, kind == WAF_KIND, &mut report);
                definitions.extend(definition.map(|it| (it.name.clone(), (it, false))));
            }
            kind => report.narrower("kind", format!("{kind} is not read; it is left out")),
        }
        imported.losses.extend(report.into_losses());
    }
    for object in rules {
        let mut report = Report::of(object.title());
        let documents = security_rule(object, options, &mut definitions, &mut report);
        imported.documents.extend(documents.unwrap_or_default());
        imported.losses.extend(report.into_losses());
    }
    for (definition, used) in definitions.into_values() {
        if !used {
            let mut report = Report::of(format!("sensor {}", definition.name));
            let note = "no group here uses it; it looks into namespace default and alerts";
            report.same("spec.sensor", note);
            let sensor = sensors::attach(&definition, "default", None, false, &mut report);
            imported.documents.extend(sensor.map(Document::Sensor));
            imported.losses.extend(report.into_losses());
        }
    }
    imported
}

fn security_rule(
    mut object: Foreign,
    options: ImportOptions,
    definitions: &mut Definitions,
    report: &mut Report,
) -> Option<Vec<Document>> {
    let mut spec = object.body.object("spec")?;
    let mut target = spec.object("target")?;
    let mode = target.text("policymode");
    let selector = target.object("selector")?;
    let targets = group::read(selector, report);
    let [Peer::Workload(target)] = targets.as_slice() else {
        report.narrower(
            "spec.target",
            "a target is a set of workloads here; the rules are left out",
        );
        return None;
    };
    spec.skip(&["file", "process", "process_profile"]);
    let ingress = rules(&mut spec, "ingress", report);
    let egress = rules(&mut spec, "egress", report);
    let cluster = object.kind == CLUSTER_KIND;
    let name = labels::name(&object.name, report);
    // Weir's own namespace of a cluster-wide rule's documents that cannot be cluster-wide.
    let namespace = match (cluster, target) {
        (true, Selector::Name(reference)) => reference.namespace().unwrap_or("default"),
        (true, Selector::Labels { .. }) => "default",
        (false, _) => object.namespace.as_str(),
    };
    let (stage, discover) = stage(mode.as_deref(), options);
    let mut documents = sensors_of(&mut spec, namespace, &name, target, definitions, report);
    spec.all_read(report, "it");
    if discover {
        let metadata = Metadata::new(namespace, &name).ok()?;
        let spec = ModeSpec {
            target: target.clone(),
            mode: Some(Mode::Discover),
            quarantine: false,
        };
        documents.insert(0, Document::Mode(ModeDocument { metadata, spec }));
    }
    if ingress.is_empty() && egress.is_empty() {
        return Some(documents);
    }
    let spec = AllowlistSpec {
        target: target.clone(),
        stage,
        ingress,
        egress,
    };
    let allowlist = match cluster {
        true => {
            let metadata = Metadata::of_cluster(&name).ok()?;
            Document::ClusterAllowlist(Allowlist { metadata, spec })
        }
        false => {
            let metadata = Metadata::new(namespace, &name).ok()?;
            Document::Allowlist(Allowlist { metadata, spec })
        }
    };
    documents.insert(0, allowlist);
    Some(documents)
}

/// The stage that a mode comes to, and whether the mode is discover.
fn stage(mode: Option<&str>, options: ImportOptions) -> (Option<Stage>, bool) {
    match (options.stage, mode.map(str::to_ascii_lowercase).as_deref()) {
        (Some(stage), _) => (Some(stage), false),
        (None, Some("protect")) => (Some(Stage::Protect), false),
        (None, Some("monitor")) => (Some(Stage::Monitor), false),
        (None, Some("discover")) => (None, true),
        (None, _) => (None, false),
    }
}

fn rules(spec: &mut Object, side: &str, report: &mut Report) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut denies_after_allow = false;
    for entry in spec.objects(side).unwrap_or_default() {
        for rule in read_rule(entry, side, report) {
            let allowed = rules
                .iter()
                .any(|earlier: &Rule| earlier.action == Action::Allow);
            denies_after_allow |= rule.action == Action::Deny && allowed;
            rules.push(rule);
        }
    }
    report.about(Action::Allow);
    if denies_after_allow {
        let note = "rules are tried in order there; here a denial wins over permissions before it";
        report.narrower(&format!("spec.{side}"), note);
    }
    rules
}

fn read_rule(mut entry: Object, side: &str, report: &mut Report) -> Vec<Rule> {
    let at = entry.path().to_owned();
    let action = match entry.text("action").unwrap_or_default().as_str() {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        other => {
            report.narrower(&at, format!("{other:?} is no action; the rule is left out"));
            return Vec::new();
        }
    };
    report.about(action);
    let mut peers = entry
        .object("selector")
        .map(|selector| group::read(selector, report));
    if side == "ingress"
        && let Some(peers) = &mut peers
    {
        let before = peers.len();
        peers.retain(|peer| !matches!(peer, Peer::Domain(_)));
        if peers.len() < before {
            report.narrower(
                &at,
                "names of clients cannot be said; these peers are left out",
            );
        }
    }
    let peers = peers.unwrap_or_default();
    let applications = entry.texts("applications").unwrap_or_default();
    let ports = entry.text("ports").unwrap_or_else(|| "any".to_owned());
    entry.skip(&["name", "priority"]);
    if !entry.all_read(report, "the rule") || peers.is_empty() {
        return Vec::new();
    }
    let Some(applications) = application_names(&applications, action, &at, report) else {
        return Vec::new();
    };
    let Some(ports) = ports_of(&ports, &at, report) else {
        return Vec::new();
    };
    let groups = ports.groups().into_iter();
    groups
        .map(|group| Rule {
            peers: peers.clone(),
            applications: applications.clone(),
            ports: group.ports,
            protocols: group.protocols,
            action,
            when: Vec::new(),
        })
        .collect()
}

/// None where no application is left.
fn application_names(
    theirs: &[String],
    action: Action,
    at: &str,
    report: &mut Report,
) -> Option<Vec<String>> {
    let any = |name: &String| name.eq_ignore_ascii_case("any");
    if theirs.is_empty() || theirs.iter().any(any) {
        return Some(Vec::new());
    }
    let mut ours = Vec::new();
    for name in theirs {
        match applications::read(name) {
            Some((application, covers_more)) => {
                if covers_more && action == Action::Allow {
                    report.wider(
                        at,
                        format!("{name} is read as {application}, which is more"),
                    );
                }
                ours.push(application.to_owned());
            }
            None => report.narrower(at, format!("{name} is not recognised here; it is left out")),
        }
    }
    ours.sort();
    ours.dedup();
    match (ours.is_empty(), action) {
        (false, _) => Some(ours),
        (true, Action::Allow) => None,
        (true, Action::Deny) => Some(Vec::new()),
    }
}

/// "any", "tcp/80,udp/53,8000-8100"
fn ports_of(text: &str, at: &str, report: &mut Report) -> Option<Ports> {
    let mut ports = Ports::default();
    if text.is_empty() || text.eq_ignore_ascii_case("any") {
        return Some(ports);
    }
    for entry in text.split(',').map(str::trim) {
        let (protocol, range) = match entry.split_once('/') {
            Some((protocol, range)) => (Some(protocol), range),
            None if entry.parse::<Protocol>().is_ok() && entry.parse::<u16>().is_err() => {
                (Some(entry), "any")
            }
            None => (None, entry),
        };
        let range = match range {
            "any" => None,
            range => match range.parse::<PortRange>() {
                Ok(range) => Some(range),
                Err(error) => {
                    report.narrower(at, format!("{error}; it is left out"));
                    continue;
                }
            },
        };
        match protocol.map(str::parse::<Protocol>) {
            Some(Ok(protocol)) => ports.add(protocol, range),
            Some(Err(error)) => report.narrower(at, format!("{error}; it is left out")),
            None => WITH_PORTS
                .into_iter()
                .for_each(|protocol| ports.add(protocol, range)),
        }
    }
    (!ports.is_empty()).then_some(ports)
}

/// The sensors that a group uses, as documents for it.
fn sensors_of(
    spec: &mut Object,
    namespace: &str,
    group: &str,
    target: &Selector,
    definitions: &mut Definitions,
    report: &mut Report,
) -> Vec<Document> {
    let mut documents = Vec::new();
    for key in ["dlp", "waf"] {
        let Some(mut section) = spec.object(key) else {
            continue;
        };
        let on = section.truth("status").unwrap_or(true);
        for mut setting in section.objects("settings").unwrap_or_default() {
            let at = setting.path().to_owned();
            let name = setting.text("name").unwrap_or_default();
            let drop = setting
                .text("action")
                .is_some_and(|action| action == "deny");
            let Some((definition, used)) = definitions.get_mut(&name) else {
                report.wider(
                    &at,
                    format!("sensor {name} is not defined here; give its {DLP_KIND} or {WAF_KIND}"),
                );
                continue;
            };
            *used = true;
            if !on {
                report.same(&at, "it is switched off there, so it is left out");
                continue;
            }
            let group = Some((group, target.clone()));
            let sensor = sensors::attach(definition, namespace, group, drop, report);
            documents.extend(sensor.map(Document::Sensor));
        }
    }
    documents
}
