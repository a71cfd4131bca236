//! What no single field of a document can say of itself.

use crate::{
    Allowlist, Document, GuardrailSpec, Kind, LearnedConversation, LearnedProfile, LearnedStatus,
    Located, ModeDocument, Namespaces, Peer, Problem, Reference, Selector, response, sensor,
    threat,
};

/// Adds what is wrong.
pub(crate) fn document(located: &Located<Document>, problems: &mut Vec<Problem>) {
    match &located.value {
        Document::Mode(document) => mode(located, document, problems),
        Document::Allowlist(document) => allowlist(located, document, problems),
        Document::ClusterAllowlist(document) => {
            allowlist(located, document, problems);
            full_names(located, document, problems);
        }
        Document::Sensor(document) => sensor::check(located, document, problems),
        Document::ThreatPolicy(document) => threat::check(located, document, problems),
        Document::ResponseRule(document) => response::check(located, document, problems),
        Document::Guardrail(document) => guardrail(located, &document.spec, problems),
        Document::LearnedProfile(document) => learned(located, document, problems),
        Document::Workload(_)
        | Document::Settings(_)
        | Document::Service(_)
        | Document::Namespace(_) => {}
    }
}

fn mode(located: &Located<Document>, document: &ModeDocument, problems: &mut Vec<Problem>) {
    if document.spec.mode.is_none() && !document.spec.quarantine {
        problems.push(located.problem(
            "spec.mode",
            "the document sets nothing",
            "write mode: discover, monitor or protect, or quarantine: true",
        ));
    }
}

fn allowlist(located: &Located<Document>, document: &Allowlist, problems: &mut Vec<Problem>) {
    for (index, rule) in document.spec.ingress.iter().enumerate() {
        for (peer, _) in rule
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| matches!(peer, Peer::Domain(_)))
        {
            problems.push(located.problem(
                &format!("spec.ingress[{index}].from[{peer}].domain"),
                "a domain cannot be told from the addresses of those who connect",
                "use domain in egress, and cidr or workload here",
            ));
        }
    }
    let directions = [
        ("ingress", &document.spec.ingress),
        ("egress", &document.spec.egress),
    ];
    for (direction, rules) in directions {
        for (index, rule) in rules.iter().enumerate() {
            let portless = !rule.protocols.is_empty()
                && !rule.protocols.iter().any(|protocol| protocol.has_ports());
            if portless && !rule.ports.is_empty() {
                problems.push(located.problem(
                    &format!("spec.{direction}[{index}].ports"),
                    "none of the rule's protocols has ports",
                    "leave ports out, or name tcp, udp or sctp",
                ));
            }
        }
    }
}

/// A document that belongs to no namespace has none to look names up in.
fn full_names(located: &Located<Document>, document: &Allowlist, problems: &mut Vec<Problem>) {
    let mut full = |field: &str, reference: &Reference| {
        if reference.namespace().is_none() {
            problems.push(located.problem(
                field,
                format!("{reference} has no namespace, and neither has the document"),
                format!("write namespace/{}", reference.name()),
            ));
        }
    };
    if let Selector::Name(name) = &document.spec.target {
        full("spec.target.workload", name);
    }
    let directions = [
        ("ingress", "from", &document.spec.ingress),
        ("egress", "to", &document.spec.egress),
    ];
    for (direction, word, rules) in directions {
        for (index, rule) in rules.iter().enumerate() {
            for (place, peer) in rule.peers.iter().enumerate() {
                let field = format!("spec.{direction}[{index}].{word}[{place}]");
                match peer {
                    Peer::Workload(Selector::Name(name)) => {
                        full(&format!("{field}.workload"), name)
                    }
                    Peer::Service(name) => full(&format!("{field}.service"), name),
                    _ => {}
                }
            }
        }
    }
}

/// What an object in one namespace may govern: what is in that namespace.
pub(crate) fn own_namespace(located: &Located<Document>, problems: &mut Vec<Problem>) {
    let target = match &located.value {
        Document::Allowlist(document) => Some(&document.spec.target),
        Document::Mode(document) => Some(&document.spec.target),
        Document::ThreatPolicy(document) => Some(&document.spec.target),
        Document::Sensor(document) => document.spec.target.as_ref(),
        Document::ResponseRule(document) => document.spec.target.as_ref(),
        _ => None,
    };
    let own = &located.value.metadata().namespace;
    let (field, beyond) = match target {
        Some(Selector::Name(name)) => ("workload", name.namespace().is_some_and(|it| it != own)),
        Some(Selector::Labels { namespaces, .. }) => match namespaces {
            Namespaces::Own => ("namespace", false),
            Namespaces::Named(name) => ("namespace", name != own),
            Namespaces::Selected(_) => ("namespaceSelector", true),
        },
        None => return,
    };
    if beyond {
        problems.push(located.problem(
            &format!("spec.target.{field}"),
            format!("the object belongs to namespace {own} and governs nothing beyond it"),
            match located.value.kind() {
                Kind::Allowlist => "write it in that namespace, or a ClusterAllowlist",
                _ => "write it in that namespace",
            },
        ));
    }
}

fn guardrail(located: &Located<Document>, spec: &GuardrailSpec, problems: &mut Vec<Problem>) {
    if spec.rego.trim().is_empty() {
        problems.push(located.problem(
            "spec.rego",
            "the module is empty",
            "begin it with package weir.guardrail, and add texts to its set deny",
        ));
    }
    if spec.rego.len() > GuardrailSpec::REGO_BYTES_MAX {
        problems.push(located.problem(
            "spec.rego",
            format!(
                "has {} bytes, more than {}",
                spec.rego.len(),
                GuardrailSpec::REGO_BYTES_MAX
            ),
            "make several guardrails of it",
        ));
    }
    let matching = spec.matching.as_ref();
    let unseen = |kind: &Kind| matches!(kind, Kind::LearnedProfile | Kind::Namespace);
    if let Some(index) = matching.and_then(|matching| matching.kinds.iter().position(unseen)) {
        problems.push(located.problem(
            &format!("spec.match.kinds[{index}]"),
            "nobody writes documents of this kind as policy, so there is nothing to refuse",
            "leave it out",
        ));
    }
    for (word, namespaces) in matching
        .map(|matching| {
            [
                ("namespaces", &matching.namespaces),
                ("excludedNamespaces", &matching.excluded_namespaces),
            ]
        })
        .into_iter()
        .flatten()
    {
        for (index, namespace) in namespaces.iter().enumerate() {
            if let Err(error) = crate::check_namespace(namespace) {
                let field = format!("spec.match.{word}[{index}]");
                problems.push(located.problem(&field, error.to_string(), ""));
            }
        }
    }
}

fn learned(located: &Located<Document>, document: &LearnedProfile, problems: &mut Vec<Problem>) {
    let status = &document.spec;
    let next_step = "delete the object: Weir writes it anew";
    for (field, number, most) in [
        (
            "status.conversations",
            status.conversations.len(),
            LearnedStatus::CONVERSATIONS_MAX,
        ),
        (
            "status.decisions",
            status.decisions.len(),
            LearnedStatus::DECISIONS_MAX,
        ),
        (
            "status.formerly",
            status.formerly.len(),
            LearnedStatus::FORMERLY_MAX,
        ),
    ] {
        if number > most {
            let message = format!("has {number} entries, more than {most}");
            problems.push(located.problem(field, message, next_step));
        }
    }
    for (index, conversation) in status.conversations.iter().enumerate() {
        if conversation.points.len() > LearnedConversation::POINTS_MAX
            || conversation.client_replicas.len() > LearnedConversation::REPLICAS_MAX
            || conversation.activity.len() > LearnedConversation::ACTIVITY_MAX
            || conversation.names.len() > LearnedConversation::NAMES_MAX
            || conversation.alert_names.len() > LearnedConversation::NAMES_MAX
        {
            problems.push(located.problem(
                &format!("status.conversations[{index}]"),
                "has more points, replicas, days or names than are kept",
                next_step,
            ));
        }
    }
}
