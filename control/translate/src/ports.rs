//! Ports and protocols: Weir's rule has a list of each, others have pairs.

use std::collections::BTreeMap;

use weir_l7::{Transport, registry};
use weir_model::{PortRange, Protocol, Rule};

use crate::loss::Report;

const TCP: Protocol = Protocol(6);
const UDP: Protocol = Protocol(17);
const SCTP: Protocol = Protocol(132);

/// The protocols that others know ports of.
pub(crate) const WITH_PORTS: [Protocol; 3] = [TCP, UDP, SCTP];

/// Ports by protocol; an empty list stands for every port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    by_protocol: BTreeMap<u8, Vec<PortRange>>,
}

/// What one rule can say: protocols that have the same ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) ports: Vec<PortRange>,
}

impl Ports {
    /// Adds ports of a protocol; none stands for every port of it.
    pub(crate) fn add(&mut self, protocol: Protocol, ports: Option<PortRange>) {
        let known = self.by_protocol.get_mut(&protocol.0);
        match (known, ports) {
            (Some(list), Some(ports)) if !list.is_empty() => list.push(ports),
            // Every port already, and that is the most.
            (Some(_), Some(_)) => {}
            (Some(list), None) => list.clear(),
            (None, ports) => {
                self.by_protocol
                    .insert(protocol.0, ports.into_iter().collect());
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_protocol.is_empty()
    }

    /// As few groups as say the same; one that says nothing where no ports were given.
    pub(crate) fn groups(&self) -> Vec<Group> {
        if self.by_protocol.is_empty() {
            return vec![Group::default()];
        }
        let mut groups: Vec<Group> = Vec::new();
        for (protocol, ports) in &self.by_protocol {
            let mut ports = ports.clone();
            ports.sort();
            ports.dedup();
            match groups.iter_mut().find(|group| group.ports == ports) {
                Some(group) => group.protocols.push(Protocol(*protocol)),
                None => groups.push(Group {
                    protocols: vec![Protocol(*protocol)],
                    ports,
                }),
            }
        }
        groups
    }

    /// Each pair once; none stands for every port.
    pub(crate) fn pairs(&self) -> Vec<(Protocol, Option<PortRange>)> {
        let mut pairs = Vec::new();
        for (protocol, ports) in &self.by_protocol {
            let protocol = Protocol(*protocol);
            match ports.is_empty() {
                true => pairs.push((protocol, None)),
                false => pairs.extend(ports.iter().map(|ports| (protocol, Some(*ports)))),
            }
        }
        pairs
    }
}

/// What a rule comes to for one who knows ports only: the customary ones of its applications where
/// it names none. `None`: nothing that has ports.
pub(crate) fn of_rule(rule: &Rule, field: &str, report: &mut Report) -> Option<Ports> {
    let mut ports = Ports::default();
    let named: Vec<Protocol> = rule.protocols.clone();
    for protocol in named.iter().filter(|protocol| !protocol.has_ports()) {
        report.narrower(
            &format!("{field}.protocols"),
            format!("{protocol} has no ports and cannot be said"),
        );
    }
    let allowed = |protocol: Protocol| named.is_empty() || named.contains(&protocol);
    let applications = rule.applications.iter().filter_map(|name| {
        let application = registry::by_name(name)?;
        registry::info(application)
    });
    let mut any_application = false;
    for application in applications {
        any_application = true;
        for transport in application.transports {
            let Some(protocol) = protocol_of(*transport).filter(|protocol| allowed(*protocol))
            else {
                continue;
            };
            let customary = application.ports;
            match (rule.ports.is_empty(), customary.is_empty()) {
                (false, _) => rule
                    .ports
                    .iter()
                    .for_each(|range| ports.add(protocol, Some(*range))),
                (true, false) => customary
                    .iter()
                    .for_each(|port| ports.add(protocol, Some(PortRange::single(*port)))),
                (true, true) => ports.add(protocol, None),
            }
        }
    }
    if any_application {
        if rule.ports.is_empty() {
            report.narrower(
                &format!("{field}.ports"),
                "the rule holds on any port; here only the applications' customary ports are open",
            );
        }
        return (!ports.is_empty()).then_some(ports);
    }
    let protocols = WITH_PORTS.into_iter().filter(|protocol| allowed(*protocol));
    if named.is_empty() && rule.ports.is_empty() {
        return Some(ports);
    }
    for protocol in protocols {
        match rule.ports.is_empty() {
            true => ports.add(protocol, None),
            false => rule
                .ports
                .iter()
                .for_each(|range| ports.add(protocol, Some(*range))),
        }
    }
    (!ports.is_empty()).then_some(ports)
}

fn protocol_of(transport: Transport) -> Option<Protocol> {
    match transport {
        Transport::Tcp => Some(TCP),
        Transport::Udp => Some(UDP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_groups_of_protocols_with_the_same_ports() {
        let mut ports = Ports::default();
        assert_eq!(ports.groups(), [Group::default()]);
        ports.add(TCP, Some(PortRange::single(53)));
        ports.add(UDP, Some(PortRange::single(53)));
        ports.add(SCTP, None);
        ports.add(SCTP, Some(PortRange::single(9)));
        let dns = Group {
            protocols: vec![TCP, UDP],
            ports: vec![PortRange::single(53)],
        };
        let sctp = Group {
            protocols: vec![SCTP],
            ports: Vec::new(),
        };
        assert_eq!(ports.groups(), [dns, sctp]);
    }
}
