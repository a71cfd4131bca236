//! The law of a node's scope: with an end on the node, what happens on the wire is the same under the
//! scoped policy as under the whole one.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_compile::scope;
use weir_l7::registry;
use weir_policy::spec::*;
use weir_policy::{Application, Question, Snapshot};

const IDENTITIES: u32 = 9;
/// From this one on identities are networks and names that nobody manages.
const UNMANAGED: u32 = 6;
const PATTERNS: [&str; 4] = ["*.com", "*.a.com", "b.a.com", "c.org"];

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        6 => Just(Mode::Protect),
        1 => Just(Mode::Monitor),
        1 => Just(Mode::Discover),
    ]
}

fn any_identity(id: u32) -> impl Strategy<Value = IdentitySpec> {
    (any_mode(), prop::bool::weighted(0.07)).prop_map(move |(mode, quarantined)| IdentitySpec {
        id,
        name: format!("shop/w{id}"),
        managed: id < UNMANAGED,
        mode,
        quarantined: quarantined && id < UNMANAGED,
        ..IdentitySpec::default()
    })
}

/// Networks that lie within one another often, of both families and with zones.
fn any_address() -> impl Strategy<Value = AddressSpec> {
    let prefix = prop_oneof![Just(0u8), Just(96), 120u8..=128];
    let identity = 1..=IDENTITIES;
    (
        0u128..16,
        any::<bool>(),
        prefix,
        prop::option::of(0u32..2),
        identity,
    )
        .prop_map(|(low, ipv4, prefix_bits, zone, identity)| AddressSpec {
            network: wire(low, ipv4)
                & u128::MAX
                    .checked_shl(128 - u32::from(prefix_bits))
                    .unwrap_or(0),
            prefix_bits,
            zone,
            identity,
        })
}

fn wire(low: u128, ipv4: bool) -> u128 {
    if ipv4 { 0xffff_0000_0000 | low } else { low }
}

fn some_of(values: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        1 => Just(Vec::new()),
        5 => prop::collection::btree_set(values, 1..3).prop_map(|all| all.into_iter().collect()),
    ]
}

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let action = prop_oneof![4 => Just(Action::Allow), 1 => Just(Action::Deny)];
    let applications = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["http".to_owned()])];
    let ends = (some_of(1..=IDENTITIES), some_of(0..=IDENTITIES));
    (action, any::<bool>(), ends, applications).prop_map(
        |(action, server, (subjects, peers), applications)| {
            let (end, clients, servers) = match server {
                true => (End::Server, peers, subjects),
                false => (End::Client, subjects, peers),
            };
            RuleSpec {
                id: 0,
                name: "rule".into(),
                action,
                end,
                clients,
                servers,
                applications,
                protocols: vec![],
                ports: vec![],
                conditions: vec![],
            }
        },
    )
}

fn any_sensor() -> impl Strategy<Value = Vec<u32>> {
    some_of(1..=IDENTITIES)
}

fn any_spec() -> impl Strategy<Value = SnapshotSpec> {
    let identities = (1..=IDENTITIES).map(any_identity).collect::<Vec<_>>();
    let names = prop::collection::btree_map(
        prop::sample::select(&PATTERNS[..]),
        UNMANAGED..=IDENTITIES,
        0..4,
    );
    let unknown = (prop::option::of(any_mode()), any::<bool>(), any::<bool>());
    (
        identities,
        prop::collection::vec(any_address(), 0..16),
        names,
        prop::collection::vec(any_rule(), 0..6),
        prop::collection::vec(any_sensor(), 0..3),
        unknown,
    )
        .prop_map(
            |(identities, mut addresses, names, mut rules, sensors, (mode, deny, drop))| {
                addresses.sort();
                addresses.dedup_by_key(|one| (one.network, one.prefix_bits, one.zone));
                for (id, rule) in (1..).zip(&mut rules) {
                    rule.id = id;
                }
                let action = if deny && mode.is_some() {
                    Action::Deny
                } else {
                    Action::Allow
                };
                let policies = (1..).zip(&sensors).map(|(id, targets)| ThreatPolicySpec {
                    id,
                    name: format!("threatpolicy shop/{id}"),
                    targets: targets.clone(),
                    actions: vec![("heartbleed".into(), ThreatAction::Drop)],
                    others: None,
                    thresholds: vec![],
                });
                SnapshotSpec {
                    version: 3,
                    identities,
                    addresses,
                    names: names
                        .into_iter()
                        .map(|(pattern, identity)| NameSpec {
                            pattern: pattern.into(),
                            identity,
                        })
                        .collect(),
                    rules,
                    unknown: UnknownSpec {
                        hold_ms: 0,
                        mode,
                        action,
                    },
                    link: LinkSpec {
                        mode: Mode::Protect,
                        ether_types: vec![0x88cc],
                    },
                    deny_style: if drop {
                        DenyStyle::Drop
                    } else {
                        DenyStyle::Reset
                    },
                    threat_policies: policies.collect(),
                    ..SnapshotSpec::default()
                }
            },
        )
}

/// What an end of a connection is on the wire.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Address(u32, u128),
    /// An address that an answer of DNS told for this name.
    Resolved(u32, u128, &'static str),
}

impl Seen {
    /// As a node finds out.
    fn identity(self, snapshot: &Snapshot) -> u32 {
        match self {
            Self::Address(zone, address) => snapshot.identity_of(zone, address),
            Self::Resolved(zone, address, name) => match snapshot.identity_of(zone, address) {
                UNKNOWN_IDENTITY => snapshot
                    .name_identity(name.as_bytes())
                    .unwrap_or(UNKNOWN_IDENTITY),
                identity => identity,
            },
        }
    }

    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for zone in 0..2 {
            for low in 0..18 {
                for ipv4 in [true, false] {
                    all.push(Self::Address(zone, wire(low, ipv4)));
                    for name in ["x.com", "x.a.com", "b.a.com", "c.org"] {
                        all.push(Self::Resolved(zone, wire(low, ipv4), name));
                    }
                }
            }
        }
        all
    }
}

/// Which of the policies with targets look at a connection.
fn attached<'a>(targets: impl Iterator<Item = (u32, &'a [u32])>, ends: [u32; 2]) -> Vec<u32> {
    let meant = targets
        .filter(|(_, targets)| targets.is_empty() || ends.iter().any(|end| targets.contains(end)));
    meant.map(|(id, _)| id).collect()
}

fn check(whole: &SnapshotSpec, local: &BTreeSet<u32>) -> Result<(), TestCaseError> {
    let scoped = scope(whole, local);
    let (before, after) = (
        Snapshot::build(whole.clone()).unwrap(),
        Snapshot::build(scoped).expect("a scoped policy is a policy"),
    );
    // Ends that are the same in both are asked about once.
    let ends: BTreeSet<(u32, u32)> = Seen::all()
        .into_iter()
        .map(|seen| (seen.identity(&before), seen.identity(&after)))
        .collect();
    for &(here, here_scoped) in &ends {
        if !local.contains(&here) || here >= UNMANAGED {
            continue;
        }
        prop_assert_eq!(here, here_scoped);
        for &(peer, peer_scoped) in &ends {
            let pairs = [
                ((here, peer), (here_scoped, peer_scoped)),
                ((peer, here), (peer_scoped, here_scoped)),
            ];
            for (whole_pair, scoped_pair) in pairs {
                for application in ["http", "mysql"] {
                    let ask = |(client, server): (u32, u32), snapshot: &Snapshot| {
                        snapshot.decide(&Question {
                            client,
                            server,
                            protocol: 6,
                            server_port: 80,
                            application: Application::Known(
                                registry::by_name(application).unwrap(),
                            ),
                            request: None,
                        })
                    };
                    let (one, two) = (ask(whole_pair, &before), ask(scoped_pair, &after));
                    prop_assert_eq!(
                        one.wire_action,
                        two.wire_action,
                        "{:?} as {:?} of {:?} in {:#?}",
                        whole_pair,
                        scoped_pair,
                        local,
                        whole
                    );
                    // What passes is looked into by the same policies with targets.
                    if one.wire_action == weir_policy::WireAction::Forward {
                        let of = |snapshot: &Snapshot, pair: (u32, u32)| {
                            let policies = snapshot.spec().threat_policies.iter();
                            let targets = policies
                                .map(|one| (one.id, one.targets.as_slice()))
                                .collect::<Vec<_>>();
                            attached(targets.into_iter(), [pair.0, pair.1])
                        };
                        prop_assert_eq!(of(&before, whole_pair), of(&after, scoped_pair));
                    }
                }
            }
        }
    }
    prop_assert_eq!(before.spec().link.clone(), after.spec().link.clone());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_node_does_on_the_wire_what_the_whole_policy_says(
        whole in any_spec(),
        local in prop::collection::btree_set(1..=IDENTITIES, 0..4),
    ) {
        check(&whole, &local)?;
    }

    /// Nothing but what concerns the node's workloads is in it.
    #[test]
    fn what_no_workload_of_the_node_can_meet_is_not_there(
        whole in any_spec(),
        local in prop::collection::btree_set(1..UNMANAGED, 0..3),
    ) {
        let scoped = scope(&whole, &local);
        let known: BTreeSet<u32> = scoped.identities.iter().map(|one| one.id).collect();
        for rule in &scoped.rules {
            let ends = [&rule.clients, &rule.servers];
            let here = |list: &&Vec<u32>| list.is_empty() || list.iter().any(|id| local.contains(id));
            prop_assert!(ends.iter().any(here), "{:?}", rule);
            for id in ends.into_iter().flatten().filter(|&&id| id != UNKNOWN_IDENTITY) {
                prop_assert!(known.contains(id));
            }
        }
        // A protected node with closed lists knows those whom it names, and no protected stranger.
        let protected = |id: &u32| whole.identities[*id as usize - 1].mode == Mode::Protect;
        let binding = |rule: &&RuleSpec| {
            let subjects = match rule.end { End::Server => &rule.servers, End::Client => &rule.clients };
            subjects.is_empty() || subjects.iter().any(|id| local.contains(id))
        };
        let named: BTreeSet<u32> = whole.rules.iter().filter(binding).flat_map(|rule| {
            let peers = match rule.end { End::Server => &rule.clients, End::Client => &rule.servers };
            if peers.is_empty() { vec![UNKNOWN_IDENTITY] } else { peers.clone() }
        }).collect();
        let closed = local.iter().all(protected) && named.iter().all(|&id| id != UNKNOWN_IDENTITY && id < UNMANAGED);
        if closed && whole.addresses.iter().all(|one| one.prefix_bits == 128 && one.zone.is_none()) {
            for identity in &scoped.identities {
                let needed = local.contains(&identity.id) || named.contains(&identity.id) || identity.quarantined
                    || (identity.managed && identity.mode != Mode::Protect);
                prop_assert!(needed, "{:?} of {:#?}", identity, whole);
            }
        }
    }
}

#[test]
fn a_policy_where_everything_runs_everywhere_stays_as_it_is_but_for_others_rules() {
    let identity = |id: u32, managed| IdentitySpec {
        id,
        name: format!("shop/w{id}"),
        managed,
        mode: Mode::Protect,
        ..IdentitySpec::default()
    };
    let rule = |id, clients: &[u32]| RuleSpec {
        id,
        name: format!("rule {id}"),
        action: Action::Allow,
        end: End::Server,
        clients: clients.into(),
        servers: vec![1],
        applications: vec![],
        protocols: vec![],
        ports: vec![],
        conditions: vec![],
    };
    let whole = SnapshotSpec {
        identities: vec![identity(1, true), identity(2, true), identity(3, true)],
        rules: vec![rule(1, &[2]), rule(2, &[2, 3]), rule(3, &[3])],
        ..SnapshotSpec::default()
    };
    assert_eq!(scope(&whole, &BTreeSet::from([1, 2, 3])), whole);
    let scoped = scope(&whole, &BTreeSet::from([2]));
    let ids: Vec<u32> = scoped.identities.iter().map(|one| one.id).collect();
    assert_eq!(
        ids,
        [2],
        "1 is not named by a rule of 2, so it is denied as a stranger is"
    );
    assert_eq!(scoped.rules, []);
    let scoped = scope(&whole, &BTreeSet::from([1]));
    assert_eq!(scoped.rules, whole.rules);
    assert!(scoped.identities[1].elsewhere && !scoped.identities[0].elsewhere);
}
