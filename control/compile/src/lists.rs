//! Allowlists in force, as they are compiled: terms that stay, and ends that others change.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::{Action, Allowlist, Document, Located, Mode, Peer, Rule, Selector, Stage};
use weir_policy::spec::{End, RuleSpec, UNKNOWN_IDENTITY};

use crate::Key;
use crate::atoms::{AtomId, Atoms, Use, What};
use crate::networks::{clauses, everything};
use crate::report::Report;
use crate::rules;
use crate::slots::home;
use crate::world::{Spaces, World};

/// An allowlist.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) draft: bool,
    pub(crate) target: AtomId,
    pub(crate) rules: Vec<Entry>,
}

/// A rule of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// "spec.ingress[0].from".
    pub(crate) peers_field: String,
    /// The number that it would have for itself.
    pub(crate) home: u32,
    /// None: any.
    peers: Option<Vec<AtomId>>,
    /// Whether `unknown` is among the peers.
    unknown: bool,
    /// Everything but number, clients and servers.
    template: RuleSpec,
}

/// The document of either kind.
pub(crate) fn allowlist(document: &Document) -> Option<&Allowlist> {
    match document {
        Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => Some(allowlist),
        _ => None,
    }
}

/// The mode that its stage asks for.
pub(crate) fn vote(allowlist: &Allowlist) -> Option<Mode> {
    allowlist.spec.stage.and_then(Stage::mode)
}

/// Its rules in their order: end, direction, field of the peers, number within the direction.
pub(crate) fn written(
    allowlist: &Allowlist,
) -> impl Iterator<Item = (End, &'static str, &'static str, usize, &Rule)> {
    let ingress = allowlist.spec.ingress.iter().enumerate();
    let ingress = ingress.map(|(index, rule)| (End::Server, "ingress", "from", index, rule));
    let egress = allowlist.spec.egress.iter().enumerate();
    ingress.chain(egress.map(|(index, rule)| (End::Client, "egress", "to", index, rule)))
}

/// What a selector of a document in `own` selects.
pub(crate) fn selected(selector: &Selector, own: &str) -> What {
    match selector {
        Selector::Name(name) => What::Name(name.resolve(own)),
        Selector::Labels { labels, namespaces } => {
            What::Labels(Spaces::of(namespaces, own), labels.clone())
        }
    }
}

impl List {
    /// Takes up the atoms that the allowlist needs. The networks and names that it names are in the
    /// world already.
    pub(crate) fn new(
        key: &Arc<Key>,
        located: &Located<Document>,
        allowlist: &Allowlist,
        atoms: &mut Atoms,
        world: &World,
    ) -> Self {
        let own = &allowlist.metadata.namespace;
        let target = atoms.take(
            selected(&allowlist.spec.target, own),
            key,
            Use::Target,
            world,
        );
        let outsiders = || What::Outsiders(named(allowlist));
        let mut entries = Vec::new();
        for (number, (end, direction, peers, index, rule)) in (0..).zip(written(allowlist)) {
            let name = format!("{} {direction}[{index}]", located.value.title());
            let text = format!("{name}\n{:?}\n{rule:?}", allowlist.spec.target);
            let any = rule.peers.contains(&Peer::Any);
            let whats = peers_of(rule, own, &outsiders);
            let take = |what| atoms.take(what, key, Use::Peer(number), world);
            let field = format!("spec.{direction}[{index}]");
            let template = RuleSpec {
                name,
                end,
                ..rules::terms(
                    rule,
                    rules::implied(located, &field, rule, &mut Report::default()),
                )
            };
            entries.push(Entry {
                peers_field: format!("{field}.{peers}"),
                home: home(text.as_bytes()),
                peers: (!any).then(|| whats.into_iter().map(take).collect()),
                unknown: rule.peers.contains(&Peer::Unknown),
                template,
            });
        }
        Self {
            draft: allowlist.spec.stage == Some(Stage::Draft),
            target,
            rules: entries,
        }
    }

    /// Whom it is for.
    pub(crate) fn target(&self) -> AtomId {
        self.target
    }

    /// Gives the atoms back, but for those that the next state of the document uses at the same place.
    pub(crate) fn release(&self, key: &Arc<Key>, atoms: &mut Atoms, next: Option<&Self>) {
        if next.is_none_or(|next| next.target != self.target) {
            atoms.release(self.target, key, Use::Target);
        }
        for (number, entry) in (0..).zip(&self.rules) {
            let kept = next.and_then(|next| next.rules.get(number as usize)?.peers.as_ref());
            for atom in entry.peers.iter().flatten() {
                if kept.is_none_or(|kept| !kept.contains(atom)) {
                    atoms.release(*atom, key, Use::Peer(number));
                }
            }
        }
    }

    /// The rule with whom it binds and names at present, still without a number; none where it binds or
    /// names nobody.
    pub(crate) fn rule(&self, number: u32, atoms: &Atoms, world: &World) -> Option<RuleSpec> {
        let entry = self.rules.get(number as usize)?;
        let targets = atoms.get(self.target)?.members();
        if targets.is_empty() {
            return None;
        }
        let peers = match &entry.peers {
            None => Vec::new(),
            Some(these) => {
                let mut peers = entry.union(these, atoms);
                if entry.action() == Action::Deny && !world.shared.is_empty() {
                    with_ways(&mut peers, world);
                }
                // An empty list would mean any: a rule for nobody is left out instead.
                if peers.is_empty() {
                    return None;
                }
                peers
            }
        };
        let targets = targets.to_vec();
        let (clients, servers) = match entry.template.end {
            End::Server => (peers, targets),
            End::Client => (targets, peers),
        };
        Some(RuleSpec {
            clients,
            servers,
            ..entry.template.clone()
        })
    }
}

/// Adds the addresses of services that lead to one of these, and to others as well.
fn with_ways(peers: &mut Vec<u32>, world: &World) {
    let ways = peers.iter().flat_map(|id| world.leading_to(*id));
    let ways: Vec<u32> = ways.collect();
    peers.extend(ways);
    peers.sort_unstable();
    peers.dedup();
}

impl Entry {
    fn union(&self, these: &[AtomId], atoms: &Atoms) -> Vec<u32> {
        let lists = these.iter().filter_map(|atom| atoms.get(*atom));
        let mut peers: Vec<u32> = self
            .unknown
            .then_some(UNKNOWN_IDENTITY)
            .into_iter()
            .collect();
        for atom in lists {
            peers.extend(atom.members());
        }
        if these.len() > 1 {
            peers.sort_unstable();
            peers.dedup();
        }
        peers
    }

    /// Workloads that lie in the rule's networks with a part only, and are named by nothing else.
    pub(crate) fn partial(&self, atoms: &Atoms) -> Vec<u32> {
        let these = || {
            self.peers
                .iter()
                .flatten()
                .filter_map(|atom| atoms.get(*atom))
        };
        let partial = these().flat_map(|atom| atom.partial().iter().copied());
        let other = |id: &u32| {
            these().any(|atom| {
                atom.partial().binary_search(id).is_err()
                    && atom.members().binary_search(id).is_ok()
            })
        };
        partial.filter(|id| !other(id)).collect()
    }

    pub(crate) fn action(&self) -> Action {
        match self.template.action {
            weir_policy::spec::Action::Allow => Action::Allow,
            weir_policy::spec::Action::Deny => Action::Deny,
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.peers.is_none()
    }
}

/// What the peers of a rule select.
fn peers_of(rule: &Rule, own: &str, outsiders: &impl Fn() -> What) -> Vec<What> {
    let mut whats: BTreeMap<What, ()> = BTreeMap::new();
    for peer in &rule.peers {
        let what = match peer {
            Peer::Any | Peer::Network { .. } => continue,
            Peer::Workload(selector) => selected(selector, own),
            Peer::Service(service) => What::Service(service.resolve(own)),
            Peer::Domain(domain) => What::Domain(domain.clone()),
            Peer::Unknown => outsiders(),
        };
        whats.insert(what, ());
    }
    let networks = clauses(&rule.peers);
    if !networks.is_empty() {
        whats.insert(What::Networks(networks, rule.action), ());
    }
    whats.into_keys().collect()
}

/// The peers of all rules by which networks and names are not unknown to this allowlist.
fn named(allowlist: &Allowlist) -> Vec<Peer> {
    let mut named: Vec<Peer> = written(allowlist)
        .flat_map(|(.., rule)| rule.peers.iter())
        .filter(|peer| matches!(peer, Peer::Network { .. } | Peer::Domain(_)))
        .cloned()
        .collect();
    if written(allowlist).any(|(.., rule)| everything(&clauses(&rule.peers))) {
        named.push(Peer::Any);
    }
    named.sort();
    named.dedup();
    named
}
