//! From NetworkPolicy.

use weir_model::{
    Action, Allowlist, AllowlistSpec, Document, LabelSelector, Metadata, NAMESPACE_NAME_LABEL,
    Namespaces, Network, Peer, PortRange, Protocol, Rule, Selector,
};

use super::{API_VERSION, KIND};
use crate::loss::Report;
use crate::object::Object;
use crate::ports::Ports;
use crate::stream::Foreign;
use crate::{ImportOptions, Imported, labels};

/// Which way the rules of a policy look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

/// A policy whose rules have been read.
struct Policy {
    namespace: String,
    target: LabelSelector,
    /// For each side the rules; none where the policy leaves the side open.
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
    name: String,
    report: Report,
}

/// Reads policies; all of one text are looked at together, since what one leaves open another may
/// close.
pub(crate) fn read(objects: Vec<Foreign>, options: ImportOptions) -> Imported {
    let mut imported = Imported::default();
    let mut policies = Vec::new();
    for object in objects {
        let mut report = Report::of(object.title());
        if object.kind != KIND || object.api_version != API_VERSION {
            report.narrower(
                "kind",
                format!("this is no {KIND} of {API_VERSION}; it is left out"),
            );
            imported.losses.extend(report.into_losses());
            continue;
        }
        policies.push(policy(object, report));
    }
    let open: Vec<[bool; 2]> = policies
        .iter()
        .map(|policy| {
            [Side::Ingress, Side::Egress].map(|side| closed_by(&policies, policy, side).is_none())
        })
        .collect();
    for (mut policy, [ingress_open, egress_open]) in policies.into_iter().zip(open) {
        let ingress = rules(
            policy.ingress.take(),
            Side::Ingress,
            ingress_open,
            &mut policy.report,
        );
        let egress = rules(
            policy.egress.take(),
            Side::Egress,
            egress_open,
            &mut policy.report,
        );
        let name = labels::name(&policy.name, &mut policy.report);
        match Metadata::new(&policy.namespace, &name) {
            Ok(metadata) => imported.documents.push(Document::Allowlist(Allowlist {
                metadata,
                spec: AllowlistSpec {
                    target: Selector::Labels {
                        labels: policy.target,
                        namespaces: Namespaces::Own,
                    },
                    stage: options.stage,
                    ingress,
                    egress,
                },
            })),
            Err(error) => policy
                .report
                .narrower("metadata", format!("{error}; the policy is left out")),
        }
        imported.losses.extend(policy.report.into_losses());
    }
    imported
}

/// What a side comes to: its rules, or, where nobody closes it, anybody.
fn rules(rules: Option<Vec<Rule>>, side: Side, open: bool, report: &mut Report) -> Vec<Rule> {
    match (rules, open) {
        (Some(rules), _) => rules,
        (None, true) => {
            report.same(
                "spec.policyTypes",
                format!(
                    "{} stays open, so a rule allows anybody; remove it to close",
                    side.name()
                ),
            );
            vec![Rule {
                peers: vec![Peer::Any],
                ..Rule::default()
            }]
        }
        (None, false) => {
            report.narrower(
                "spec.policyTypes",
                format!(
                    "another policy closes {} for some of the same pods; it is closed for all that \
                     this one selects",
                    side.name()
                ),
            );
            Vec::new()
        }
    }
}

/// A policy that closes this side for pods which this one may select too.
fn closed_by<'a>(policies: &'a [Policy], policy: &Policy, side: Side) -> Option<&'a Policy> {
    policies.iter().find(|other| {
        other.namespace == policy.namespace
            && other.side(side).is_some()
            && !labels::disjoint(&other.target, &policy.target)
    })
}

impl Policy {
    fn side(&self, side: Side) -> Option<&Vec<Rule>> {
        match side {
            Side::Ingress => self.ingress.as_ref(),
            Side::Egress => self.egress.as_ref(),
        }
    }
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    const fn peers(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }
}

fn policy(mut object: Foreign, mut report: Report) -> Policy {
    let mut spec = object
        .body
        .object("spec")
        .unwrap_or_else(|| Object::new("spec".to_owned(), Default::default()));
    let target = spec.object("podSelector");
    let target = target.and_then(|target| labels::read(target, &mut report));
    let types = spec.texts("policyTypes");
    let closes = |side: Side, has_rules: bool| match &types {
        Some(types) => types
            .iter()
            .any(|text| text.eq_ignore_ascii_case(side.name())),
        // As the server fills it in.
        None => side == Side::Ingress || has_rules,
    };
    let mut sides = [Side::Ingress, Side::Egress].map(|side| {
        let has_rules = spec.has(side.name());
        let rules = spec.objects(side.name()).unwrap_or_default();
        closes(side, has_rules).then(|| {
            rules
                .into_iter()
                .flat_map(|rule| read_rule(rule, side, &mut report))
                .collect::<Vec<Rule>>()
        })
    });
    spec.all_read(&mut report, "it");
    Policy {
        namespace: object.namespace,
        name: object.name,
        target: target.unwrap_or_default(),
        ingress: sides[0].take(),
        egress: sides[1].take(),
        report,
    }
}

/// One rule becomes one for each group of protocols with the same ports.
fn read_rule(mut object: Object, side: Side, report: &mut Report) -> Vec<Rule> {
    let peers = match object.objects(side.peers()) {
        Some(list) if !list.is_empty() => {
            let peers: Vec<Peer> = list
                .into_iter()
                .filter_map(|entry| peer(entry, report))
                .collect();
            if peers.is_empty() {
                return Vec::new();
            }
            peers
        }
        _ => vec![Peer::Any],
    };
    let mut ports = Ports::default();
    if let Some(list) = object.objects("ports")
        && !list.is_empty()
    {
        for entry in list {
            port(entry, &mut ports, report);
        }
        if ports.is_empty() {
            return Vec::new();
        }
    }
    if !object.all_read(report, "the rule") {
        return Vec::new();
    }
    let groups = ports.groups().into_iter();
    groups
        .map(|group| Rule {
            peers: peers.clone(),
            protocols: group.protocols,
            ports: group.ports,
            action: Action::Allow,
            ..Rule::default()
        })
        .collect()
}

fn peer(mut object: Object, report: &mut Report) -> Option<Peer> {
    let block = object.object("ipBlock");
    let pods = object.object("podSelector");
    let namespaces = object.object("namespaceSelector");
    if !object.all_read(report, "the peer") {
        return None;
    }
    if let Some(block) = block {
        return network(block, report);
    }
    if pods.is_none() && namespaces.is_none() {
        report.narrower(object.path(), "names nobody; the peer is left out");
        return None;
    }
    let pods = match pods {
        Some(pods) => labels::read(pods, report)?,
        None => LabelSelector::default(),
    };
    let namespaces = match namespaces {
        Some(namespaces) => self::namespaces(labels::read(namespaces, report)?),
        None => Namespaces::Own,
    };
    Some(Peer::Workload(Selector::Labels {
        labels: pods,
        namespaces,
    }))
}

/// A namespace that is selected by its name's label alone is written by its name.
pub(crate) fn namespaces(selector: LabelSelector) -> Namespaces {
    let by_name = selector.match_expressions.is_empty() && selector.match_labels.len() == 1;
    match selector.match_labels.get(NAMESPACE_NAME_LABEL) {
        Some(name) if by_name => Namespaces::Named(name.clone()),
        _ => Namespaces::Selected(selector),
    }
}

fn network(mut block: Object, report: &mut Report) -> Option<Peer> {
    let field = block.path().to_owned();
    let cidr = block.text("cidr").unwrap_or_default();
    let except = block.texts("except").unwrap_or_default();
    let mut parse = |text: &String| match text.parse::<Network>() {
        Ok(network) => Some(network),
        Err(error) => {
            report.narrower(&field, format!("{error}; the peer is left out"));
            None
        }
    };
    Some(Peer::Network {
        cidr: parse(&cidr)?,
        except: except.iter().map(&mut parse).collect::<Option<_>>()?,
    })
}

fn port(mut object: Object, ports: &mut Ports, report: &mut Report) {
    let field = object.path().to_owned();
    let protocol = object.text("protocol").unwrap_or_else(|| "TCP".to_owned());
    let first = object.text("port");
    let last = object.text("endPort");
    let protocol: Protocol = match protocol.parse() {
        Ok(protocol) => protocol,
        Err(error) => return report.narrower(&field, format!("{error}; the port is left out")),
    };
    let Some(first) = first else {
        return ports.add(protocol, None);
    };
    let Ok(first) = first.parse::<u16>() else {
        return report.narrower(
            &field,
            format!("ports are numbers here, {first:?} is a name that each pod may define otherwise; it is left out"),
        );
    };
    let last = match last.map(|last| last.parse::<u16>()) {
        Some(Ok(last)) => last,
        _ => first,
    };
    match PortRange::new(first, last) {
        Ok(range) => ports.add(protocol, Some(range)),
        Err(error) => report.narrower(&field, format!("{error}; the port is left out")),
    }
}
