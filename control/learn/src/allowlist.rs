//! What was accepted, as documents: one allowlist for each workload, with its ingress and egress.
//!
//! Both ends of a connection need a rule of their own, so a conversation between two workloads
//! appears in both documents. Rules are as narrow as what was seen: one application, one port, one
//! protocol, the peers that it was seen with.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::{
    Action, Allowlist, AllowlistSpec, DomainPattern, Metadata, Network, Peer, PortRange, Protocol,
    Reference, Rule, Selector,
};

use crate::{ConversationKey, End};

/// What a rule is about; its order is that of the rules in a document.
type Service<'a> = (&'a str, u16, u8);

/// The rules of one workload to be.
#[derive(Default)]
struct Draft<'a> {
    ingress: BTreeMap<Service<'a>, BTreeSet<Peer>>,
    egress: BTreeMap<Service<'a>, BTreeSet<Peer>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

/// Why no rule can be written for a conversation; none where one can.
pub fn obstacle(key: &ConversationKey) -> Option<String> {
    let (client, server) = (key.client_end(), key.server_end());
    if key.application.is_empty() {
        return Some("no data was exchanged, so there is no application to allow".to_owned());
    }
    if !client.is_workload() && !server.is_workload() {
        return Some("neither end is a workload".to_owned());
    }
    for (name, end) in [(&key.client, client), (&key.server, server)] {
        let End::Workload(namespace, workload) = end else {
            continue;
        };
        if let Err(error) = Reference::new(namespace, workload) {
            return Some(format!("{name} cannot be named in a document: {error}"));
        }
    }
    if server.is_workload() && peer(client, "", Side::Ingress).is_none() {
        return Some(format!(
            "the client {} cannot be written as a peer of an ingress rule",
            key.client
        ));
    }
    if client.is_workload() && peer(server, "", Side::Egress).is_none() {
        return Some(format!(
            "the server {} cannot be written as a peer of an egress rule",
            key.server
        ));
    }
    None
}

/// One allowlist for each workload that takes part, sorted by name; conversations with an
/// [`obstacle`] are left out. The same keys give the same documents, in whatever order they come.
pub fn allowlists(accepted: &[ConversationKey]) -> Vec<Allowlist> {
    let mut drafts: BTreeMap<(&str, &str), Draft<'_>> = BTreeMap::new();
    for key in accepted.iter().filter(|key| obstacle(key).is_none()) {
        let (client, server) = (key.client_end(), key.server_end());
        let service = (key.application.as_str(), key.port, key.protocol);
        if let End::Workload(namespace, name) = server {
            let peers = drafts
                .entry((namespace, name))
                .or_default()
                .ingress
                .entry(service)
                .or_default();
            peers.extend(peer(client, namespace, Side::Ingress));
        }
        if let End::Workload(namespace, name) = client {
            let peers = drafts
                .entry((namespace, name))
                .or_default()
                .egress
                .entry(service)
                .or_default();
            peers.extend(peer(server, namespace, Side::Egress));
        }
    }
    drafts
        .into_iter()
        .filter_map(|((namespace, name), draft)| document(namespace, name, draft))
        .collect()
}

fn document(namespace: &str, name: &str, draft: Draft<'_>) -> Option<Allowlist> {
    let rules =
        |services: BTreeMap<Service<'_>, BTreeSet<Peer>>| services.into_iter().map(rule).collect();
    Some(Allowlist {
        metadata: Metadata::new(namespace, name).ok()?,
        spec: AllowlistSpec {
            target: Selector::workload(name.parse().ok()?),
            stage: None,
            ingress: rules(draft.ingress),
            egress: rules(draft.egress),
        },
    })
}

fn rule(((application, port, protocol), peers): (Service<'_>, BTreeSet<Peer>)) -> Rule {
    let protocol = Protocol(protocol);
    Rule {
        peers: peers.into_iter().collect(),
        applications: vec![application.to_owned()],
        ports: if protocol.has_ports() {
            vec![PortRange::single(port)]
        } else {
            Vec::new()
        },
        protocols: vec![protocol],
        action: Action::Allow,
        when: Vec::new(),
    }
}

/// The other end as a document in `namespace` names it.
fn peer(end: End<'_>, namespace: &str, side: Side) -> Option<Peer> {
    match end {
        End::Workload(own, name) if own == namespace => Some(Peer::workload(name.parse().ok()?)),
        End::Workload(other, name) => Some(Peer::workload(Reference::new(other, name).ok()?)),
        End::Unknown => Some(Peer::Unknown),
        End::Named(text) => match text.parse::<Network>() {
            Ok(cidr) => Some(Peer::Network {
                cidr,
                except: Vec::new(),
            }),
            Err(_) if side == Side::Egress => {
                Some(Peer::Domain(text.parse::<DomainPattern>().ok()?))
            }
            Err(_) => None,
        },
    }
}
