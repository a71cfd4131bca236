//! From Cilium.

use weir_model::{
    Action, Allowlist, AllowlistSpec, Document, DomainPattern, LabelSelector, Metadata, Namespaces,
    Network, Peer, PortRange, Protocol, Reference, Rule, Selector,
};

use super::layer7::{self, Requests};
use super::{API_VERSION, CLUSTER_KIND, KIND, endpoint};
use crate::condition::one_of;
use crate::loss::Report;
use crate::object::Object;
use crate::ports::{Ports, WITH_PORTS};
use crate::stream::Foreign;
use crate::{ImportOptions, Imported, labels};

/// Which way rules look, and what they say.
#[derive(Clone, Copy)]
struct Section {
    key: &'static str,
    /// The beginning of the keys of peers.
    peers: &'static str,
    action: Action,
}

const SECTIONS: [Section; 4] = [
    Section {
        key: "ingress",
        peers: "from",
        action: Action::Allow,
    },
    Section {
        key: "ingressDeny",
        peers: "from",
        action: Action::Deny,
    },
    Section {
        key: "egress",
        peers: "to",
        action: Action::Allow,
    },
    Section {
        key: "egressDeny",
        peers: "to",
        action: Action::Deny,
    },
];

/// Reads policies.
pub(crate) fn read(objects: Vec<Foreign>, options: ImportOptions) -> Imported {
    let mut imported = Imported::default();
    for mut object in objects {
        let mut report = Report::of(object.title());
        let cluster = object.kind == CLUSTER_KIND;
        if object.api_version != API_VERSION || !(cluster || object.kind == KIND) {
            let message = format!("this is no {KIND} of {API_VERSION}; it is left out");
            report.narrower("kind", message);
        } else {
            let namespace = if cluster {
                ""
            } else {
                object.namespace.as_str()
            };
            let specs: Vec<Object> = object.body.object("spec").into_iter().collect();
            let more = object.body.objects("specs").unwrap_or_default();
            let specs: Vec<Object> = specs.into_iter().chain(more).collect();
            let several = specs.len() > 1;
            for (index, spec) in specs.into_iter().enumerate() {
                let name = match several {
                    true => format!("{}-{index}", object.name),
                    false => object.name.clone(),
                };
                let document = policy(spec, namespace, &name, options, &mut report);
                imported.documents.extend(document);
            }
        }
        imported.losses.extend(report.into_losses());
    }
    imported
}

fn policy(
    mut spec: Object,
    namespace: &str,
    name: &str,
    options: ImportOptions,
    report: &mut Report,
) -> Option<Document> {
    spec.skip(&["description", "labels"]);
    let target = match spec.object("endpointSelector") {
        Some(selector) => endpoint::read(selector, report)?,
        None => {
            let message = "selects no endpoints (a policy of nodes cannot be said); it is left out";
            report.narrower(spec.path(), message);
            return None;
        }
    };
    let open = spec.object("enableDefaultDeny");
    let mut rules = [Vec::new(), Vec::new()];
    let mut governed = [false, false];
    for section in SECTIONS {
        let side = usize::from(section.peers == "to");
        let Some(entries) = spec.objects(section.key) else {
            continue;
        };
        governed[side] = true;
        report.about(section.action);
        for entry in entries {
            rules[side].extend(read_rule(entry, section, report));
        }
    }
    report.about(Action::Allow);
    defaults(open, governed, &mut rules, report);
    spec.all_read(report, "it");
    let [ingress, egress] = rules;
    let name = labels::name(name, report);
    let spec = AllowlistSpec {
        target,
        stage: options.stage,
        ingress,
        egress,
    };
    match namespace {
        "" => {
            let metadata = Metadata::of_cluster(&name).ok()?;
            Some(Document::ClusterAllowlist(Allowlist { metadata, spec }))
        }
        namespace => {
            let metadata = Metadata::new(namespace, &name).ok()?;
            Some(Document::Allowlist(Allowlist { metadata, spec }))
        }
    }
}

/// Sides that the policy leaves open: here a workload is governed in both.
fn defaults(
    open: Option<Object>,
    governed: [bool; 2],
    rules: &mut [Vec<Rule>; 2],
    report: &mut Report,
) {
    let mut open = open.unwrap_or_else(|| Object::empty("enableDefaultDeny"));
    for (side, key) in ["ingress", "egress"].into_iter().enumerate() {
        let closes = open.truth(key).unwrap_or(governed[side]);
        if closes {
            continue;
        }
        report.same(
            key,
            format!("{key} stays open unless another policy closes it, so a rule allows anybody; remove it to close"),
        );
        rules[side].push(Rule {
            peers: vec![Peer::Any],
            ..Rule::default()
        });
    }
}

fn read_rule(mut entry: Object, section: Section, report: &mut Report) -> Vec<Rule> {
    entry.skip(&["authentication"]);
    let Some(peers) = peers(&mut entry, section, report) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    let restricted = entry.has("toPorts") || entry.has("icmps");
    for ports in entry.objects("toPorts").unwrap_or_default() {
        parts.extend(ports_and_requests(ports, report));
    }
    for icmp in entry.objects("icmps").unwrap_or_default() {
        parts.extend(icmp_types(icmp, report));
    }
    if !entry.all_read(report, "the rule") {
        return Vec::new();
    }
    if !restricted {
        parts.push(Rule::default());
    }
    let rules = parts.into_iter();
    rules
        .map(|part| Rule {
            peers: peers.clone(),
            action: section.action,
            ..part
        })
        .collect()
}

/// Rules without peers: one for each group of ports and each request.
fn ports_and_requests(mut object: Object, report: &mut Report) -> Vec<Rule> {
    let mut ports = Ports::default();
    let had_ports = object.has("ports");
    for entry in object.objects("ports").unwrap_or_default() {
        port(entry, &mut ports, report);
    }
    if had_ports && ports.is_empty() {
        return Vec::new();
    }
    let names = object.texts("serverNames");
    let rules = object.object("rules");
    if !object.all_read(report, "the rule") {
        return Vec::new();
    }
    let requests: Vec<Requests> = match (rules.and_then(|rules| layer7::read(rules, report)), names)
    {
        (Some(requests), _) => requests,
        (None, Some(names)) => vec![(vec!["tls".to_owned()], vec![one_of("tls.sni", names)])],
        (None, None) => vec![Requests::default()],
    };
    let groups = ports.groups();
    let each = requests.iter().flat_map(|request| {
        groups.iter().map(move |group| Rule {
            applications: request.0.clone(),
            when: request.1.clone(),
            ports: group.ports.clone(),
            protocols: group.protocols.clone(),
            ..Rule::default()
        })
    });
    each.collect()
}

fn port(mut entry: Object, ports: &mut Ports, report: &mut Report) {
    let field = entry.path().to_owned();
    let number = entry.text("port").unwrap_or_else(|| "0".to_owned());
    let last = entry
        .text("endPort")
        .and_then(|last| last.parse::<u16>().ok());
    let protocol = entry.text("protocol").unwrap_or_else(|| "ANY".to_owned());
    let Ok(first) = number.parse::<u16>() else {
        return report.narrower(
            &field,
            format!("ports are numbers here, {number:?} is left out"),
        );
    };
    let last = last.filter(|last| *last > 0).unwrap_or(first);
    // Port 0 stands for every port.
    let range = match (first, PortRange::new(first, last)) {
        (0, _) => None,
        (_, Ok(range)) => Some(range),
        (_, Err(error)) => return report.narrower(&field, format!("{error}; it is left out")),
    };
    match protocol.parse::<Protocol>() {
        Ok(protocol) => ports.add(protocol, range),
        Err(_) if protocol.eq_ignore_ascii_case("any") => {
            WITH_PORTS
                .into_iter()
                .for_each(|protocol| ports.add(protocol, range));
        }
        Err(error) => report.narrower(&field, format!("{error}; it is left out")),
    }
}

/// ICMP by type: the protocol can be said, the type only by the name that messages have here.
fn icmp_types(mut object: Object, report: &mut Report) -> Vec<Rule> {
    let mut rules = Vec::new();
    for mut field in object.objects("fields").unwrap_or_default() {
        let at = field.path().to_owned();
        let ipv6 = field.text("family").is_some_and(|family| family == "IPv6");
        let kind = field.text("type").unwrap_or_default();
        let name = match kind.as_str() {
            "8" | "128" | "EchoRequest" => "echo-request",
            "0" | "129" | "EchoReply" => "echo-reply",
            _ => {
                report.narrower(
                    &at,
                    format!("ICMP type {kind} has no name here; it is left out"),
                );
                continue;
            }
        };
        let application = if ipv6 { "icmpv6" } else { "icmp" };
        rules.push(Rule {
            applications: vec![application.to_owned()],
            when: vec![one_of(&format!("{application}.type"), [name])],
            ..Rule::default()
        });
    }
    rules
}

/// Whom a rule means; none where nobody is left.
fn peers(entry: &mut Object, section: Section, report: &mut Report) -> Option<Vec<Peer>> {
    let key = |rest: &str| format!("{}{rest}", section.peers);
    let mut peers = Vec::new();
    let mut named = false;
    for (rest, reader) in [
        (
            "Endpoints",
            endpoints as fn(Object, &mut Report) -> Vec<Peer>,
        ),
        ("CIDRSet", cidr_set),
        ("Services", service),
        ("FQDNs", domain),
    ] {
        if let Some(list) = entry.objects(&key(rest)) {
            named = true;
            peers.extend(list.into_iter().flat_map(|item| reader(item, report)));
        }
    }
    let at = entry.at(&key("CIDR"));
    if let Some(list) = entry.texts(&key("CIDR")) {
        named = true;
        for cidr in list {
            peers.extend(network(&cidr, Vec::new(), &at, report));
        }
    }
    let at = entry.at(&key("Entities"));
    if let Some(list) = entry.texts(&key("Entities")) {
        named = true;
        for name in list {
            peers.extend(entity(&name, &at, report));
        }
    }
    for rest in ["Requires", "Groups", "Nodes"] {
        let at = entry.at(&key(rest));
        if entry.take(&key(rest)).is_some() {
            named = true;
            if rest == "Requires" {
                report.narrower(&at, "this cannot be said; the rule is left out");
                return None;
            }
            report.narrower(&at, "this cannot be said; these peers are left out");
        }
    }
    match (named, peers.is_empty()) {
        (false, _) => Some(vec![Peer::Any]),
        (true, true) => None,
        (true, false) => Some(peers),
    }
}

fn endpoints(object: Object, report: &mut Report) -> Vec<Peer> {
    endpoint::read(object, report)
        .map(Peer::Workload)
        .into_iter()
        .collect()
}

fn cidr_set(mut object: Object, report: &mut Report) -> Vec<Peer> {
    let at = object.path().to_owned();
    let cidr = object.text("cidr");
    let except = object.texts("except").unwrap_or_default();
    if !object.all_read(report, "the peer") {
        return Vec::new();
    }
    let cidr = cidr.unwrap_or_default();
    network(&cidr, except, &at, report).into_iter().collect()
}

fn network(cidr: &str, except: Vec<String>, at: &str, report: &mut Report) -> Option<Peer> {
    let mut parse = |text: &str| match text.parse::<Network>() {
        Ok(network) => Some(network),
        Err(error) => {
            report.narrower(at, format!("{error}; the peer is left out"));
            None
        }
    };
    Some(Peer::Network {
        cidr: parse(cidr)?,
        except: except
            .iter()
            .map(|text| parse(text))
            .collect::<Option<_>>()?,
    })
}

fn service(mut object: Object, report: &mut Report) -> Vec<Peer> {
    let at = object.path().to_owned();
    let named = object.object("k8sService").and_then(|mut service| {
        let namespace = service
            .text("namespace")
            .unwrap_or_else(|| "default".to_owned());
        Reference::new(&namespace, &service.text("serviceName")?).ok()
    });
    match named {
        Some(service) => vec![Peer::Service(service)],
        None => {
            report.narrower(&at, "only k8sService can be said; the peer is left out");
            Vec::new()
        }
    }
}

fn domain(mut object: Object, report: &mut Report) -> Vec<Peer> {
    let at = object.path().to_owned();
    let (name, pattern) = (object.text("matchName"), object.text("matchPattern"));
    if pattern.as_deref() == Some("*") {
        return vec![Peer::Unknown];
    }
    let wide = pattern
        .as_ref()
        .is_some_and(|pattern| pattern.contains('*'));
    let text = name.or(pattern).unwrap_or_default();
    let text = text.trim_end_matches('.').replacen("**.", "*.", 1);
    match text.parse::<DomainPattern>() {
        Ok(domain) => {
            if wide {
                report.wider(&at, "a * also stands for several labels here");
            }
            vec![Peer::Domain(domain)]
        }
        Err(error) => {
            report.narrower(&at, format!("{error}; the peer is left out"));
            Vec::new()
        }
    }
}

fn entity(name: &str, at: &str, report: &mut Report) -> Option<Peer> {
    match name {
        "all" => Some(Peer::Any),
        "world" => Some(Peer::Unknown),
        "cluster" => Some(Peer::Workload(Selector::Labels {
            labels: LabelSelector::default(),
            namespaces: Namespaces::Selected(LabelSelector::default()),
        })),
        "kube-apiserver" => Reference::new("default", "kubernetes")
            .ok()
            .map(Peer::Service),
        other => {
            report.narrower(at, format!("{other} cannot be said; the peer is left out"));
            None
        }
    }
}
