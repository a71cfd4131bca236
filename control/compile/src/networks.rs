//! What networks and domain names of a rule mean: other networks and names that rules name, and the
//! workloads that lie within.

use std::collections::BTreeSet;

use weir_model::{Action, DomainPattern, Network, Peer};

use crate::world::World;

/// A network without some parts of it.
pub(crate) type Clause = (Network, Vec<Network>);

/// How much of a workload lies within networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    Nothing,
    Part,
    All,
}

/// The networks among peers, in one order for all who write the same.
pub(crate) fn clauses(peers: &[Peer]) -> Vec<Clause> {
    let clauses = peers.iter().filter_map(|peer| match peer {
        Peer::Network { cidr, except } => Some((*cidr, except.clone())),
        _ => None,
    });
    let clauses: BTreeSet<Clause> = clauses.collect();
    clauses.into_iter().collect()
}

/// Whether a network that rules name is meant. What an exception cuts out has an identity of its own.
pub(crate) fn means(clauses: &[Clause], network: &Network) -> bool {
    clauses.iter().any(|(cidr, except)| {
        cidr.contains(network) && !except.iter().any(|except| except.contains(network))
    })
}

/// Whether the clauses are all addresses, so that every domain name is meant too.
pub(crate) fn everything(clauses: &[Clause]) -> bool {
    let whole = |ipv4: bool| {
        clauses.iter().any(|(cidr, except)| {
            let net = cidr.net();
            net.prefix_len() == 0 && net.addr().is_ipv4() == ipv4 && except.is_empty()
        })
    };
    whole(true) && whole(false)
}

/// Whether the peers mean a network. Peers of several rules can stand together here.
pub(crate) fn named(peers: &[Peer], network: &Network) -> bool {
    peers.iter().any(|peer| match peer {
        Peer::Network { cidr, except } => {
            cidr.contains(network) && !except.iter().any(|except| except.contains(network))
        }
        _ => false,
    })
}

/// Whether the peers mean a domain name. [`Peer::Any`] stands for a rule that means all of them.
pub(crate) fn named_domain(peers: &[Peer], domain: &DomainPattern) -> bool {
    peers.iter().any(|peer| match peer {
        Peer::Domain(pattern) => pattern.contains(domain),
        Peer::Any => true,
        _ => false,
    })
}

/// This pattern, and all that stand for whatever it stands for.
pub(crate) fn wider(domain: &DomainPattern) -> impl Iterator<Item = DomainPattern> {
    let text = domain.as_str();
    let name = text.strip_prefix('*').unwrap_or(text);
    let dots = name.match_indices('.').map(|(place, _)| place);
    let parents = dots.filter_map(|place| format!("*{}", name.get(place..)?).parse().ok());
    let parents: BTreeSet<DomainPattern> = parents.chain([domain.clone()]).collect();
    parents.into_iter()
}

/// How much of a workload's addresses lies within the clauses.
pub(crate) fn within(addresses: &[Network], clauses: &[Clause]) -> Within {
    let mut all = !addresses.is_empty();
    let mut part = false;
    for address in addresses {
        let (mut whole, mut some) = (false, false);
        for (cidr, except) in clauses {
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

/// Whom the clauses mean, and which workloads lie within with a part: from nothing.
pub(crate) fn find(clauses: &[Clause], action: Action, world: &World) -> (Vec<u32>, Vec<u32>) {
    let mut members = BTreeSet::new();
    let mut partial = BTreeSet::new();
    for (cidr, except) in clauses {
        for (network, outsider) in world.networks.range(cidr.within()) {
            if !except.iter().any(|except| except.contains(network)) {
                members.insert(outsider.id);
            }
        }
    }
    if everything(clauses) {
        members.extend(world.domains.values().map(|outsider| outsider.id));
    }
    let touched = clauses.iter().flat_map(|(cidr, _)| world.touching(cidr));
    for id in touched.collect::<BTreeSet<u32>>() {
        let addresses = world
            .members
            .get(&id)
            .map_or(&[][..], |one| one.addresses());
        match (within(addresses, clauses), action) {
            (Within::All, _) => {
                members.insert(id);
            }
            (Within::Part, action) => {
                partial.insert(id);
                if action == Action::Deny {
                    members.insert(id);
                }
            }
            (Within::Nothing, _) => {}
        }
    }
    let sorted = |set: BTreeSet<u32>| set.into_iter().collect();
    (sorted(members), sorted(partial))
}
