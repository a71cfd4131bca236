//! The compiler against a slow, obvious judge that reads the documents themselves: for a client
//! workload, a server workload, an application and a port both must give the same answer.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_compile::compile;
use weir_l7::registry;
use weir_model::{
    Action, Allowlist, AllowlistSpec, Document, LabelSelector, Located, Metadata, Mode, ModeSpec,
    Namespaces, Peer, PortRange, Protocol, Reference, Resource, Rule, Selector, Service,
    ServiceSpec, Workload, WorkloadSpec,
};
use weir_policy::{Application, Question, Snapshot, WireAction};

const NAMESPACES: [&str; 2] = ["red", "blue"];
const NAMES: [&str; 3] = ["a", "b", "c"];
const APPLICATIONS: [&str; 3] = ["http", "mysql", "unknown"];
const PORTS: [u16; 3] = [80, 3306, 8080];

/// A question in the words of the documents.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    client: &'a Workload,
    server: &'a Workload,
    application: &'a str,
    protocol: u8,
    port: u16,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    allowed: bool,
    mode: Mode,
    passes: bool,
}

/// What the documents say, read one after the other.
fn judge(documents: &[Document], asked: &Asked<'_>) -> Answer {
    let mode = mode_of(documents, asked.client).min(mode_of(documents, asked.server));
    if quarantined(documents, asked.client) || quarantined(documents, asked.server) {
        return Answer {
            allowed: false,
            mode,
            passes: false,
        };
    }
    let mut denied = false;
    let (mut by_client, mut by_server) = (false, false);
    for document in documents {
        let Document::Allowlist(allowlist) = document else {
            continue;
        };
        let namespace = &allowlist.metadata.namespace;
        let ends = [
            (
                asked.server,
                asked.client,
                &allowlist.spec.ingress,
                &mut by_server,
            ),
            (
                asked.client,
                asked.server,
                &allowlist.spec.egress,
                &mut by_client,
            ),
        ];
        for (target, peer, rules, allowed) in ends {
            if !selects(&allowlist.spec.target, namespace, target) {
                continue;
            }
            for rule in rules.iter().filter(|rule| terms_hold(rule, asked)) {
                if meets(documents, rule, namespace, peer) {
                    match rule.action {
                        Action::Deny => denied = true,
                        Action::Allow => *allowed = true,
                    }
                }
            }
        }
    }
    let allowed = !denied && by_client && by_server;
    Answer {
        allowed,
        mode,
        passes: allowed || mode != Mode::Protect,
    }
}

fn mode_of(documents: &[Document], workload: &Workload) -> Mode {
    modes(documents, workload)
        .filter_map(|spec| spec.mode)
        .max()
        .unwrap_or(Mode::Discover)
}

fn quarantined(documents: &[Document], workload: &Workload) -> bool {
    modes(documents, workload).any(|spec| spec.quarantine)
}

fn modes<'a>(
    documents: &'a [Document],
    workload: &'a Workload,
) -> impl Iterator<Item = &'a ModeSpec> {
    documents.iter().filter_map(move |document| match document {
        Document::Mode(mode) if selects(&mode.spec.target, &mode.metadata.namespace, workload) => {
            Some(&mode.spec)
        }
        _ => None,
    })
}

fn selects(selector: &Selector, namespace: &str, workload: &Workload) -> bool {
    match selector {
        Selector::Name(name) => name.resolve(namespace) == workload.metadata.full_name(),
        Selector::Labels { labels, namespaces } => {
            let own = match namespaces {
                Namespaces::Own => namespace,
                Namespaces::Named(other) => other,
                Namespaces::Selected(_) => unreachable!("none are made here"),
            };
            workload.metadata.namespace == own
                && (labels.match_labels.iter())
                    .all(|(key, value)| workload.metadata.labels.get(key) == Some(value))
        }
    }
}

fn terms_hold(rule: &Rule, asked: &Asked<'_>) -> bool {
    (rule.applications.is_empty()
        || rule
            .applications
            .iter()
            .any(|name| name == asked.application))
        && (rule.protocols.is_empty() || rule.protocols.contains(&Protocol(asked.protocol)))
        && (rule.ports.is_empty()
            || rule
                .ports
                .iter()
                .any(|range| (range.first()..=range.last()).contains(&asked.port)))
}

fn meets(documents: &[Document], rule: &Rule, namespace: &str, peer: &Workload) -> bool {
    let named = rule.peers.iter().any(|one| match one {
        Peer::Any => true,
        Peer::Workload(selector) => selects(selector, namespace, peer),
        Peer::Service(service) => documents.iter().any(|document| match document {
            Document::Service(found) => {
                found.metadata.full_name() == service.resolve(namespace)
                    && found.spec.workloads[0].resolve(&found.metadata.namespace)
                        == peer.metadata.full_name()
            }
            _ => false,
        }),
        Peer::Unknown | Peer::Network { .. } | Peer::Domain(_) => false,
    });
    // Every workload of this test has single addresses: each lies within, or it does not.
    let within = |address: &weir_model::Network| {
        rule.peers.iter().any(|one| match one {
            Peer::Network { cidr, except } => {
                cidr.contains(address) && !except.iter().any(|except| except.contains(address))
            }
            _ => false,
        })
    };
    let addresses = &peer.spec.addresses;
    let networks = match rule.action {
        Action::Allow => !addresses.is_empty() && addresses.iter().all(within),
        Action::Deny => addresses.iter().any(within),
    };
    named || networks
}

fn reference() -> impl Strategy<Value = Reference> {
    (0..3usize, 0..3usize).prop_map(|(namespace, name)| match NAMESPACES.get(namespace) {
        Some(namespace) => Reference::new(namespace, NAMES[name]).unwrap(),
        None => NAMES[name].parse().unwrap(),
    })
}

fn selector() -> impl Strategy<Value = Selector> {
    let labels = (0..3usize, proptest::option::of(0..2usize)).prop_map(|(count, namespace)| {
        Selector::Labels {
            labels: LabelSelector {
                match_labels: [("x", "1"), ("y", "1")]
                    .iter()
                    .take(count)
                    .map(|(k, v)| (k.to_string(), v.to_string()))
                    .collect(),
                match_expressions: Vec::new(),
            },
            namespaces: namespace.map_or(Namespaces::Own, |index: usize| {
                Namespaces::Named(NAMESPACES[index].to_owned())
            }),
        }
    });
    prop_oneof![reference().prop_map(Selector::Name), labels]
}

fn peer() -> impl Strategy<Value = Peer> {
    let network = (0..4usize, 0..3usize).prop_map(|(wide, except)| {
        let cidrs = ["10.0.0.0/8", "10.0.0.0/30", "10.0.0.4/30", "fd00::/64"];
        let excepts = ["10.0.0.1", "10.0.0.2/31", "10.0.0.4/31"];
        let cidr: weir_model::Network = cidrs[wide].parse().unwrap();
        let except: weir_model::Network = excepts[except].parse().unwrap();
        Peer::Network {
            cidr,
            except: Some(except)
                .filter(|except| cidr.contains(except))
                .into_iter()
                .collect(),
        }
    });
    prop_oneof![
        4 => selector().prop_map(Peer::Workload),
        3 => network,
        1 => reference().prop_map(Peer::Service),
        1 => Just(Peer::Unknown),
        1 => Just(Peer::Any),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        proptest::collection::vec(peer(), 1..3),
        proptest::collection::vec(
            (0..3usize).prop_map(|index| APPLICATIONS[index].to_owned()),
            0..2,
        ),
        proptest::collection::vec((0..3usize, 0..3usize), 0..2),
        proptest::collection::vec(prop_oneof![Just(Protocol(6)), Just(Protocol(17))], 0..2),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(peers, applications, ports, protocols, deny)| Rule {
            peers,
            applications,
            ports: ports
                .into_iter()
                .map(|(a, b)| PortRange::new(PORTS[a.min(b)], PORTS[a.max(b)]).unwrap())
                .collect(),
            protocols,
            action: if deny { Action::Deny } else { Action::Allow },
            when: Vec::new(),
        })
}

/// Workloads have an IPv4 address and some an IPv6 address too; all namespaces and names occur.
fn documents() -> impl Strategy<Value = Vec<Document>> {
    let labels = proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 6);
    let lists = proptest::collection::vec(
        (
            0..2usize,
            selector(),
            proptest::collection::vec(rule(), 0..3),
            proptest::collection::vec(rule(), 0..3),
        ),
        0..5,
    );
    let mode = prop_oneof![
        Just(Mode::Discover),
        Just(Mode::Monitor),
        Just(Mode::Protect)
    ];
    let modes = proptest::collection::vec(
        (0..2usize, selector(), mode, proptest::bool::weighted(0.1)),
        0..4,
    );
    let services = proptest::collection::vec(reference(), 0..3);
    (labels, lists, modes, services).prop_map(|(labels, lists, modes, services)| {
        let mut documents: Vec<Document> = labels.into_iter().enumerate().map(workload).collect();
        for (index, (namespace, target, ingress, egress)) in lists.into_iter().enumerate() {
            let metadata = Metadata::new(NAMESPACES[namespace], &format!("list{index}")).unwrap();
            documents.push(Document::Allowlist(Allowlist {
                metadata,
                spec: AllowlistSpec {
                    target,
                    stage: None,
                    ingress,
                    egress,
                },
            }));
        }
        for (index, (namespace, target, mode, quarantine)) in modes.into_iter().enumerate() {
            let metadata = Metadata::new(NAMESPACES[namespace], &format!("mode{index}")).unwrap();
            documents.push(Document::Mode(Resource {
                metadata,
                spec: ModeSpec {
                    target,
                    mode: Some(mode),
                    quarantine,
                },
            }));
        }
        for (index, workload) in services.into_iter().enumerate() {
            let metadata = Metadata::new("red", NAMES[index]).unwrap();
            let spec = ServiceSpec::of(workload);
            documents.push(Document::Service(Service { metadata, spec }));
        }
        documents
    })
}

fn workload((index, (x, y, dual)): (usize, (bool, bool, bool))) -> Document {
    let mut metadata = Metadata::new(NAMESPACES[index / 3], NAMES[index % 3]).unwrap();
    let labels = [("x", x), ("y", y)].into_iter().filter(|(_, has)| *has);
    metadata.labels = labels
        .map(|(key, _)| (key.to_owned(), "1".to_owned()))
        .collect::<BTreeMap<_, _>>();
    let mut addresses = vec![format!("10.0.0.{index}").parse().unwrap()];
    if dual {
        addresses.push(format!("fd00::{index}").parse().unwrap());
    }
    Document::Workload(Workload {
        metadata,
        spec: WorkloadSpec {
            addresses,
            ..WorkloadSpec::default()
        },
    })
}

fn located(documents: &[Document]) -> Vec<Located<Document>> {
    documents
        .iter()
        .cloned()
        .map(|document| Located::unplaced(document, "test"))
        .collect()
}

fn policy_mode(mode: Mode) -> weir_policy::spec::Mode {
    match mode {
        Mode::Discover => weir_policy::spec::Mode::Discover,
        Mode::Monitor => weir_policy::spec::Mode::Monitor,
        Mode::Protect => weir_policy::spec::Mode::Protect,
    }
}

/// Services of two workloads or none, each with an address that is nobody's own.
fn shared_services() -> impl Strategy<Value = Vec<Document>> {
    let workloads = proptest::collection::vec(reference(), 0..3);
    proptest::collection::vec(workloads, 1..3).prop_map(|services| {
        let service = |(index, mut workloads): (usize, Vec<Reference>)| {
            // Of one alone the address would be that workload's.
            let full = |one: &Reference| one.resolve("red");
            if workloads.iter().all(|one| full(one) == full(&workloads[0])) {
                workloads.clear();
            }
            let metadata = Metadata::new("red", NAMES[index]).unwrap();
            let addresses = vec![format!("10.0.0.{}", 100 + index).parse().unwrap()];
            let spec = ServiceSpec {
                workloads,
                addresses,
                ..ServiceSpec::default()
            };
            Document::Service(Service { metadata, spec })
        };
        services.into_iter().enumerate().map(service).collect()
    })
}

/// What the documents say of a client that sends to a service's address, where nobody's end but the
/// client's judges.
fn may_send(
    documents: &[Document],
    client: &Workload,
    service: &Service,
    asked: &Asked<'_>,
) -> bool {
    let (mut allowed, mut denied) = (false, false);
    let address = &service.spec.addresses[0];
    for document in documents {
        let Document::Allowlist(allowlist) = document else {
            continue;
        };
        let own = &allowlist.metadata.namespace;
        if !selects(&allowlist.spec.target, own, client) {
            continue;
        }
        let within = |peer: &Peer| match peer {
            Peer::Network { cidr, except } => {
                cidr.contains(address) && !except.iter().any(|except| except.contains(address))
            }
            _ => false,
        };
        let mut rules = allowlist.spec.ingress.iter().chain(&allowlist.spec.egress);
        let known = rules.any(|rule| rule.peers.iter().any(within));
        for rule in &allowlist.spec.egress {
            let leads_to = |selector: &Selector| {
                let names = service.spec.workloads.iter().map(|one| one.resolve("red"));
                let names: Vec<String> = names.collect();
                documents.iter().any(|document| match document {
                    Document::Workload(workload) => {
                        names.contains(&workload.metadata.full_name())
                            && selects(selector, own, workload)
                    }
                    _ => false,
                })
            };
            let shares = |other: &str| {
                documents.iter().any(|document| match document {
                    Document::Service(one) => {
                        one.metadata.full_name() == other
                            && one.spec.workloads.iter().any(|workload| {
                                let exists = documents.iter().any(|document| match document {
                                    Document::Workload(it) => {
                                        it.metadata.full_name() == workload.resolve("red")
                                    }
                                    _ => false,
                                });
                                exists
                                    && service
                                        .spec
                                        .workloads
                                        .iter()
                                        .any(|it| it.resolve("red") == workload.resolve("red"))
                            })
                    }
                    _ => false,
                })
            };
            // Workloads whose addresses lie in the rule's networks are denied with them.
            let in_networks = |workload: &Workload| {
                let lies = |address: &weir_model::Network| {
                    rule.peers.iter().any(|peer| match peer {
                        Peer::Network { cidr, except } => {
                            cidr.contains(address) && !except.iter().any(|it| it.contains(address))
                        }
                        _ => false,
                    })
                };
                workload.spec.addresses.iter().any(lies)
            };
            let leads_into_networks = documents.iter().any(|document| match document {
                Document::Workload(workload) => {
                    service
                        .spec
                        .workloads
                        .iter()
                        .any(|it| it.resolve("red") == workload.metadata.full_name())
                        && in_networks(workload)
                }
                _ => false,
            });
            let meant = rule.peers.iter().any(|peer| match peer {
                Peer::Any => true,
                Peer::Service(name) if name.resolve(own) == service.metadata.full_name() => true,
                Peer::Service(name) => rule.action == Action::Deny && shares(&name.resolve(own)),
                Peer::Workload(selector) => rule.action == Action::Deny && leads_to(selector),
                Peer::Unknown => !known,
                Peer::Network { .. } => within(peer),
                Peer::Domain(_) => false,
            });
            let meant = meant || (rule.action == Action::Deny && leads_into_networks);
            if meant && terms_hold(rule, asked) {
                match rule.action {
                    Action::Allow => allowed = true,
                    Action::Deny => denied = true,
                }
            }
        }
    }
    allowed && !denied && !quarantined(documents, client)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_node_decides_what_the_documents_say(documents in documents()) {
        let compiled = compile(&located(&documents), None);
        prop_assert_eq!(&compiled.problems, &vec![]);
        let snapshot = Snapshot::build(compiled.spec).unwrap();
        let workloads: Vec<&Workload> = documents
            .iter()
            .filter_map(|document| match document {
                Document::Workload(workload) => Some(workload),
                _ => None,
            })
            .collect();
        for client in &workloads {
            for server in &workloads {
                for application in APPLICATIONS {
                    for port in PORTS {
                        for protocol in [6, 17] {
                            let asked = Asked { client, server, application, protocol, port };
                            let question = Question {
                                client: snapshot.identity_by_name(&client.metadata.full_name()).unwrap(),
                                server: snapshot.identity_by_name(&server.metadata.full_name()).unwrap(),
                                protocol,
                                server_port: port,
                                application: Application::Known(registry::by_name(application).unwrap()),
                                request: None,
                            };
                            let decision = snapshot.decide(&question);
                            let expected = judge(&documents, &asked);
                            let allowed = decision.rule_action == weir_policy::spec::Action::Allow;
                            prop_assert_eq!(allowed, expected.allowed, "{:?}", &asked);
                            prop_assert_eq!(decision.wire_action == WireAction::Forward, expected.passes, "{:?}", &asked);
                            prop_assert_eq!(decision.mode, policy_mode(expected.mode), "{:?}", &asked);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn order_of_files_and_documents_does_not_matter(documents in documents(), seed: u64) {
        let mut shuffled = documents.clone();
        let mut random = seed | 1;
        for index in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            shuffled.swap(index, (random >> 33) as usize % (index + 1));
        }
        let one = compile(&located(&documents), None);
        let two = compile(&located(&shuffled), None);
        prop_assert_eq!(&one.spec, &two.spec);
        prop_assert_eq!(&one.warnings, &two.warnings);
        prop_assert_eq!(&one.assignments, &two.assignments);
        let again = compile(&located(&shuffled), Some(&one.assignments));
        prop_assert_eq!(&again.spec, &one.spec);
        prop_assert_eq!(&again.assignments, &one.assignments);
    }

    /// What is sent to an address that several workloads share is allowed by who names the service, and
    /// not by who names one of them.
    #[test]
    fn a_shared_address_opens_to_those_who_name_the_service(documents in documents(), services in shared_services()) {
        let documents: Vec<Document> = documents
            .into_iter()
            .filter(|document| !matches!(document, Document::Service(_)))
            .chain(services)
            .collect();
        let compiled = compile(&located(&documents), None);
        prop_assert_eq!(&compiled.problems, &vec![]);
        let snapshot = Snapshot::build(compiled.spec).unwrap();
        for document in &documents {
            let Document::Service(service) = document else { continue };
            let address = weir_wire::from_ip_address(service.spec.addresses[0].net().addr());
            let server = snapshot.identity_of(0, address);
            let identity = snapshot.identity(server).expect("it has one of its own");
            prop_assert_eq!(&identity.services, &vec![service.metadata.full_name()]);
            for client in &documents {
                let Document::Workload(client) = client else { continue };
                for application in APPLICATIONS {
                    let asked = Asked { client, server: client, application, protocol: 6, port: 80 };
                    let question = Question {
                        client: snapshot.identity_by_name(&client.metadata.full_name()).unwrap(),
                        server,
                        protocol: 6,
                        server_port: 80,
                        application: Application::Known(registry::by_name(application).unwrap()),
                        request: None,
                    };
                    let allowed = snapshot.decide(&question).rule_action == weir_policy::spec::Action::Allow;
                    prop_assert_eq!(allowed, may_send(&documents, client, service, &asked), "{:?} to {:?}", &client.metadata, &service);
                }
            }
        }
    }
}
