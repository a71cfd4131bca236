//! Whom the peers of a rule match.

use std::collections::BTreeSet;

use weir_model::{Action, Allowlist, Document, Located, Network, Peer, Rule};
use weir_policy::spec::UNKNOWN_IDENTITY;

use crate::Report;
use crate::inventory::Inventory;

/// Whom a rule matches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    Any,
    /// Possibly none: then nobody, which is not the same as any.
    These(BTreeSet<u32>),
}

/// One allowlist's way of looking at peers.
pub(crate) struct Matcher<'a> {
    inventory: &'a Inventory<'a>,
    located: &'a Located<Document>,
    namespace: &'a str,
    /// Identities of what this allowlist names as network or domain: not unknown to it.
    named: BTreeSet<u32>,
}

/// How much of a workload lies within the networks of a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Part,
    All,
}

impl<'a> Matcher<'a> {
    pub(crate) fn new(
        inventory: &'a Inventory<'a>,
        located: &'a Located<Document>,
        allowlist: &'a Allowlist,
    ) -> Self {
        let mut named = BTreeSet::new();
        for rule in allowlist.spec.ingress.iter().chain(&allowlist.spec.egress) {
            named.extend(named_by(inventory, rule));
        }
        Self {
            inventory,
            located,
            namespace: &allowlist.metadata.namespace,
            named,
        }
    }

    /// Whom the rule matches; `field` is the path of its list of peers.
    pub(crate) fn peers(&self, rule: &Rule, field: &str, report: &mut Report) -> Peers {
        let mut these = BTreeSet::new();
        for (index, peer) in rule.peers.iter().enumerate() {
            let field = format!("{field}[{index}]");
            match peer {
                Peer::Any => return Peers::Any,
                Peer::Unknown => {
                    these.insert(UNKNOWN_IDENTITY);
                    let others = self
                        .inventory
                        .networks
                        .values()
                        .chain(self.inventory.domains.values());
                    these.extend(others.filter(|id| !self.named.contains(id)));
                }
                Peer::Workload(selector) => {
                    let selected = self.inventory.select(selector, self.namespace);
                    if selected.is_empty() {
                        let advice = self.inventory.advice(selector, self.namespace);
                        self.matches_nobody(&field, "selects no workload", advice, report);
                    }
                    these.extend(selected);
                }
                Peer::Service(service) => {
                    let serving = self.inventory.serving(service, self.namespace);
                    if serving.is_empty() {
                        let advice = self.inventory.service_advice(service, self.namespace);
                        self.matches_nobody(
                            &field,
                            "names no service that has a workload",
                            advice,
                            report,
                        );
                    }
                    these.extend(serving);
                }
                Peer::Network { .. } | Peer::Domain(_) => {}
            }
        }
        these.extend(named_by(self.inventory, rule));
        self.workloads_within(rule, field, &mut these, report);
        Peers::These(these)
    }

    fn matches_nobody(&self, field: &str, what: &str, advice: String, report: &mut Report) {
        let message = format!("{what}, so this peer matches nobody");
        report
            .warnings
            .push(self.located.problem(field, message, advice));
    }

    /// Workloads that the rule's networks mean. What is open stays as narrow as written, what is
    /// denied as wide.
    fn workloads_within(
        &self,
        rule: &Rule,
        field: &str,
        these: &mut BTreeSet<u32>,
        report: &mut Report,
    ) {
        let Some(first) = rule
            .peers
            .iter()
            .position(|peer| matches!(peer, Peer::Network { .. }))
        else {
            return;
        };
        let networks = rule.peers.iter().filter_map(|peer| match peer {
            Peer::Network { cidr, .. } => Some(cidr),
            _ => None,
        });
        let touched: BTreeSet<&str> = networks
            .flat_map(|cidr| self.inventory.touching(cidr))
            .collect();
        for name in touched {
            let Some(member) = self.inventory.workloads.get(name) else {
                continue;
            };
            if these.contains(&member.id) {
                continue;
            }
            let within = within(&member.workload.spec.addresses, rule);
            let matched = match rule.action {
                Action::Allow => within == Within::All,
                Action::Deny => within != Within::Nothing,
            };
            if matched {
                these.insert(member.id);
            }
            if within == Within::Part {
                let effect = match rule.action {
                    Action::Allow => "it is not allowed by this rule",
                    Action::Deny => "all of it is denied by this rule",
                };
                report.warnings.push(self.located.problem(
                    &format!("{field}[{first}].cidr"),
                    format!("the rule's networks hold only some of the addresses of workload {name}: {effect}"),
                    "name the workload, or networks that hold all or none of its addresses",
                ));
            }
        }
    }
}

/// The identities of networks and domains that the rule means.
fn named_by(inventory: &Inventory<'_>, rule: &Rule) -> BTreeSet<u32> {
    let mut named = BTreeSet::new();
    for peer in &rule.peers {
        // What an exception cuts out of a network that is meant has an identity of its own.
        let Peer::Network { cidr, except } = peer else {
            continue;
        };
        let within = inventory.networks.range(cidr.within());
        let meant =
            within.filter(|(network, _)| !except.iter().any(|except| except.contains(network)));
        named.extend(meant.map(|(_, id)| *id));
    }
    let everything = whole_family(rule, true) && whole_family(rule, false);
    for (domain, id) in &inventory.domains {
        let meant = |peer: &Peer| matches!(peer, Peer::Domain(pattern) if pattern.contains(domain));
        if everything || rule.peers.iter().any(meant) {
            named.insert(*id);
        }
    }
    named
}

fn whole_family(rule: &Rule, ipv4: bool) -> bool {
    rule.peers.iter().any(|peer| match peer {
        Peer::Network { cidr, except } => {
            let net = cidr.net();
            net.prefix_len() == 0 && net.addr().is_ipv4() == ipv4 && except.is_empty()
        }
        _ => false,
    })
}

fn within(addresses: &[Network], rule: &Rule) -> Within {
    let mut all = !addresses.is_empty();
    let mut part = false;
    for address in addresses {
        let (mut whole, mut some) = (false, false);
        for peer in &rule.peers {
            let Peer::Network { cidr, except } = peer else {
                continue;
            };
            whole |=
                cidr.contains(address) && !except.iter().any(|except| except.overlaps(address));
            some |= cidr.overlaps(address) && !except.iter().any(|except| except.contains(address));
        }
        all &= whole;
        part |= some;
    }
    match (all, part) {
        (true, _) => Within::All,
        (false, true) => Within::Part,
        (false, false) => Within::Nothing,
    }
}
