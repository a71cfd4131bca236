//! Snapshots as messages: nothing is lost on the way, a delta leads exactly to the new snapshot, and
//! what breaks the contract is named.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_api::{ApplyError, apply, checksum, delta, from_message, to_message, v1};
use weir_policy::spec::{
    Action, AddressSpec, Combination, ConditionSpec, DenyStyle, End, IdentitySpec, LinkSpec, Mode,
    NameSpec, Pattern, RuleSpec, SensorAction, SensorDirection, SensorMask, SensorPatternSpec,
    SensorSpec, SensorWhat, SnapshotSpec, SourceThreshold, UnknownSpec,
};

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Discover),
        Just(Mode::Monitor),
        Just(Mode::Protect)
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Deny)]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let text = || "[a-z/*]{0,4}";
    prop_oneof![
        text().prop_map(Pattern::Exact),
        text().prop_map(Pattern::Prefix),
        text().prop_map(Pattern::Suffix),
        text().prop_map(Pattern::Glob),
    ]
}

fn identities() -> impl Strategy<Value = Vec<IdentitySpec>> {
    let labels = prop::collection::btree_map("[a-c]", "[a-c]{0,2}", 0..3);
    let identity = (
        "[a-c]{1,2}/[a-c]",
        labels,
        any::<bool>(),
        mode(),
        any::<bool>(),
    );
    prop::collection::btree_map(1u32..12, identity, 1..8).prop_map(|all| {
        let spec = |(id, (name, labels, managed, mode, quarantined))| IdentitySpec {
            id,
            name,
            labels: BTreeMap::into_iter(labels).collect(),
            managed,
            mode,
            quarantined,
            ..IdentitySpec::default()
        };
        all.into_iter().map(spec).collect()
    })
}

/// Few networks, so that the same ones meet in both snapshots, with different prefixes and zones.
fn address() -> impl Strategy<Value = (u128, u8, Option<u32>)> {
    let network = prop_oneof![
        Just(0u128),
        Just(0xffff << 32),
        0u128..4,
        (0u128..4).prop_map(|n| 0xffff << 32 | n << 8)
    ];
    let prefix = prop_oneof![Just(0u8), Just(96), Just(120), Just(128)];
    (network, prefix, prop::option::of(0u32..2)).prop_map(|(network, prefix, zone)| {
        (
            network & !u128::MAX.checked_shr(prefix.into()).unwrap_or(0),
            prefix,
            zone,
        )
    })
}

fn rule(ids: Vec<u32>) -> impl Strategy<Value = RuleSpec> {
    let peers = || prop::sample::subsequence(ids.clone(), 0..=ids.len());
    let condition = (
        "[a-z]{1,3}[.][a-z]{1,3}",
        prop::collection::vec(pattern(), 1..3),
    )
        .prop_map(|(field, patterns)| ConditionSpec { field, patterns });
    (
        "[a-z]{0,5}",
        (action(), prop_oneof![Just(End::Client), Just(End::Server)]),
        (peers(), peers()),
        prop::sample::subsequence(vec!["http", "mysql", "redis"], 0..3),
        prop::collection::btree_set(any::<u8>(), 0..3),
        prop::collection::btree_set((0u16..100, 100u16..), 0..3),
        prop::collection::vec(condition, 0..3),
    )
        .prop_map(
            |(
                name,
                (action, end),
                (clients, servers),
                applications,
                protocols,
                ports,
                conditions,
            )| RuleSpec {
                id: 0,
                name,
                action,
                end,
                clients,
                servers,
                applications: applications.into_iter().map(str::to_owned).collect(),
                protocols: protocols.into_iter().collect(),
                ports: ports.into_iter().collect(),
                conditions,
            },
        )
}

fn combination() -> impl Strategy<Value = Combination> {
    let leaf = (0..3u16).prop_map(Combination::Pattern);
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Combination::All),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Combination::Any),
            inner.prop_map(|part| Combination::Not(Box::new(part))),
        ]
    })
}

fn sensor_pattern() -> impl Strategy<Value = SensorPatternSpec> {
    let texts = || prop::collection::vec("[a-z ]{1,5}", 1..3);
    let what = prop_oneof![
        "[a-z]{1,6}".prop_map(SensorWhat::Expression),
        texts().prop_map(SensorWhat::Literals),
        texts().prop_map(SensorWhat::Words),
    ];
    let mask = prop_oneof![
        Just(SensorMask::Secret),
        Just(SensorMask::Card),
        Just(SensorMask::None)
    ];
    (
        "[a-z]{1,6}",
        texts(),
        what,
        any::<bool>(),
        texts(),
        texts(),
        0..5000u32,
        mask,
    )
        .prop_map(
            |(name, places, what, ignore_case, dataset, checks, entropy_millibits, mask)| {
                SensorPatternSpec {
                    name,
                    places,
                    what,
                    ignore_case,
                    dataset,
                    checks,
                    entropy_millibits,
                    mask,
                }
            },
        )
}

/// With its number still to be given.
fn sensor(ids: Vec<u32>) -> impl Strategy<Value = SensorSpec> {
    let action = prop_oneof![Just(SensorAction::Alert), Just(SensorAction::Drop)];
    let direction = prop_oneof![
        Just(SensorDirection::Both),
        Just(SensorDirection::To),
        Just(SensorDirection::From)
    ];
    (
        "[a-z]{1,9}",
        action,
        direction,
        prop::sample::subsequence(ids.clone(), 0..=ids.len()),
        prop::collection::vec(sensor_pattern(), 1..4),
        combination(),
        prop::option::of(1..100u32),
        prop::option::of((1..100u32, 1..100u32)),
    )
        .prop_map(
            |(name, action, direction, targets, patterns, combination, flow_matches, source)| {
                SensorSpec {
                    id: 0,
                    name,
                    action,
                    direction,
                    targets,
                    patterns,
                    combination,
                    flow_matches,
                    source: source.map(|(matches, window_s)| SourceThreshold { matches, window_s }),
                }
            },
        )
}

fn snapshot() -> impl Strategy<Value = SnapshotSpec> {
    identities().prop_flat_map(|identities| {
        let ids: Vec<u32> = identities.iter().map(|identity| identity.id).collect();
        let some_id = || prop::sample::select(ids.clone());
        let settings = (
            0u32..9,
            prop::option::of(mode()),
            action(),
            mode(),
            any::<bool>(),
        );
        (
            Just(identities),
            prop::collection::btree_map(address(), some_id(), 0..8),
            prop::collection::btree_map("([*][.])?[a-b]{1,2}[.]c", some_id(), 0..4),
            prop::collection::btree_map(0u32..10, rule(ids.clone()), 0..6),
            settings,
            prop::collection::btree_set(any::<u16>(), 0..3),
            any::<u32>(),
            prop::collection::btree_map(0u32..10, sensor(ids), 0..4),
        )
            .prop_map(
                |(identities, addresses, names, rules, settings, ether_types, version, sensors)| {
                    let (hold_ms, unknown_mode, action, link_mode, drop) = settings;
                    SnapshotSpec {
                        version: version.into(),
                        identities,
                        addresses: addresses
                            .into_iter()
                            .map(|((network, prefix_bits, zone), identity)| AddressSpec {
                                network,
                                prefix_bits,
                                zone,
                                identity,
                            })
                            .collect(),
                        names: names
                            .into_iter()
                            .map(|(pattern, identity)| NameSpec { pattern, identity })
                            .collect(),
                        rules: rules
                            .into_iter()
                            .map(|(id, rule)| RuleSpec { id, ..rule })
                            .collect(),
                        unknown: UnknownSpec {
                            hold_ms,
                            mode: unknown_mode,
                            action,
                        },
                        link: LinkSpec {
                            mode: link_mode,
                            ether_types: ether_types.into_iter().collect(),
                        },
                        deny_style: if drop {
                            DenyStyle::Drop
                        } else {
                            DenyStyle::Reset
                        },
                        threat_policies: Vec::new(),
                        sensors: sensors
                            .into_iter()
                            .map(|(id, sensor)| SensorSpec { id, ..sensor })
                            .collect(),
                    }
                },
            )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_snapshot_survives_the_way_there_and_back(spec in snapshot()) {
        let message = to_message(&spec);
        prop_assert_eq!(message.checksum, checksum(&message));
        prop_assert_eq!(from_message(&message), Ok(spec));
    }

    #[test]
    fn a_delta_leads_exactly_to_the_new_snapshot(old in snapshot(), new in snapshot()) {
        let (old, new) = (to_message(&old), to_message(&new));
        prop_assert_eq!(apply(&old, &delta(&old, &new)), Ok(new));
    }

    #[test]
    fn equal_policy_has_equal_checksums_and_an_empty_delta(spec in snapshot(), version in any::<u64>()) {
        let old = to_message(&spec);
        let new = to_message(&SnapshotSpec { version, ..spec });
        prop_assert_eq!(old.checksum, new.checksum);
        let delta = delta(&old, &new);
        prop_assert!(delta.identities.is_empty() && delta.removed_identities.is_empty());
        prop_assert!(delta.addresses.is_empty() && delta.removed_addresses.is_empty());
        prop_assert!(delta.rules.is_empty() && delta.removed_rules.is_empty());
        prop_assert!(delta.sensors.is_empty() && delta.removed_sensors.is_empty());
        prop_assert!(delta.names.is_empty() && delta.removed_names.is_empty());
    }

    #[test]
    fn a_delta_upon_another_base_is_refused(old in snapshot(), other in snapshot(), new in snapshot()) {
        let (old, mut other, new) = (to_message(&old), to_message(&other), to_message(&new));
        let change = delta(&old, &new);
        if other.version != old.version {
            let wrong_base = matches!(apply(&other, &change), Err(ApplyError::Base { .. }));
            prop_assert!(wrong_base);
        }
        // The same version with other content: the result is right or refused, never wrong.
        other.version = old.version;
        match apply(&other, &change) {
            Ok(result) => prop_assert_eq!(result, new),
            Err(error) => {
                let told = matches!(error, ApplyError::Checksum { .. });
                prop_assert!(told);
            }
        }
    }
}

fn example() -> v1::Snapshot {
    let identity = |id| IdentitySpec {
        id,
        name: format!("shop/{id}"),
        labels: Vec::new(),
        managed: true,
        mode: Mode::Protect,
        quarantined: false,
        ..IdentitySpec::default()
    };
    let rule = RuleSpec {
        id: 7,
        name: "rule".into(),
        action: Action::Allow,
        end: End::Server,
        clients: vec![1],
        servers: vec![2],
        applications: vec!["mysql".into()],
        protocols: vec![6],
        ports: vec![(3306, 3306)],
        conditions: vec![ConditionSpec {
            field: "mysql.statement".into(),
            patterns: vec![Pattern::Exact("SELECT".into())],
        }],
    };
    let sensor = SensorSpec {
        id: 5,
        name: "sensor shop/cards".into(),
        action: SensorAction::Drop,
        direction: SensorDirection::From,
        targets: vec![1, 2],
        patterns: vec![SensorPatternSpec {
            name: "number".into(),
            places: vec!["body".into()],
            what: SensorWhat::Expression("x".into()),
            ..SensorPatternSpec::default()
        }],
        combination: Combination::Pattern(0),
        flow_matches: None,
        source: None,
    };
    let address = AddressSpec {
        network: 0xffff_0a00_0000,
        prefix_bits: 120,
        zone: None,
        identity: 1,
    };
    to_message(&SnapshotSpec {
        version: 3,
        identities: vec![identity(1), identity(2)],
        addresses: vec![address],
        rules: vec![rule],
        sensors: vec![sensor],
        ..SnapshotSpec::default()
    })
}

#[test]
fn ipv4_networks_are_four_bytes_with_their_own_prefix() {
    let message = example();
    assert_eq!(
        (
            message.addresses[0].network.as_slice(),
            message.addresses[0].prefix_bits
        ),
        (&[10, 0, 0, 0][..], 24)
    );
}

#[test]
fn what_breaks_the_contract_is_named() {
    type Spoil = fn(&mut v1::Snapshot);
    let cases: &[(&str, Spoil)] = &[
        ("unknown", |m| m.unknown = None),
        ("link", |m| m.link = None),
        ("link.mode", |m| m.link.as_mut().unwrap().mode = 0),
        ("link.ether_types[0]", |m| {
            m.link.as_mut().unwrap().ether_types = vec![0x10000]
        }),
        ("deny_style", |m| m.deny_style = 99),
        ("unknown.action", |m| m.unknown.as_mut().unwrap().action = 0),
        ("identities[0].id", |m| m.identities[0].id = 0),
        ("identities[1]", |m| m.identities.swap(0, 1)),
        ("identities[1].mode", |m| m.identities[1].mode = 4),
        ("addresses[0].network", |m| {
            m.addresses[0].network = vec![1; 5]
        }),
        ("addresses[0].network", |m| {
            m.addresses[0].network = vec![10, 0, 0, 1]
        }),
        ("addresses[0].prefix_bits", |m| {
            m.addresses[0].prefix_bits = 33
        }),
        ("addresses[0].identity", |m| m.addresses[0].identity = 9),
        ("rules[0].action", |m| m.rules[0].action = 0),
        ("rules[0].end", |m| m.rules[0].end = 0),
        ("rules[0].protocols[0]", |m| {
            m.rules[0].protocols = vec![256]
        }),
        ("rules[0].ports[0]", |m| m.rules[0].ports[0].last = 70_000),
        ("rules[0].ports[0]", |m| m.rules[0].ports[0].first = 4000),
        ("rules[0].clients[1]", |m| m.rules[0].clients = vec![2, 1]),
        ("rules[0]", |m| m.rules[0].servers = vec![9]),
        ("rules[0].conditions[0].patterns", |m| {
            m.rules[0].conditions[0].patterns.clear()
        }),
        ("rules[0].conditions[0].patterns[0]", |m| {
            m.rules[0].conditions[0].patterns[0].pattern = None
        }),
        ("rules[0].conditions[0].field", |m| {
            m.rules[0].conditions[0].field.clear()
        }),
        ("sensors[0].action", |m| m.sensors[0].action = 0),
        ("sensors[0].direction", |m| m.sensors[0].direction = 4),
        ("sensors[0].combination", |m| {
            m.sensors[0].combination = None
        }),
        ("sensors[0].targets[1]", |m| {
            m.sensors[0].targets = vec![2, 1]
        }),
        ("sensors[0].targets", |m| m.sensors[0].targets = vec![9]),
        ("sensors[0].source_matches", |m| {
            m.sensors[0].source_window_s = 5
        }),
        ("sensors[0].patterns[0]", |m| {
            m.sensors[0].patterns[0].literals = vec!["y".into()]
        }),
        ("sensors[0].patterns[0].mask", |m| {
            m.sensors[0].patterns[0].mask = 0
        }),
    ];
    assert!(from_message(&example()).is_ok());
    for (field, spoil) in cases {
        let mut message = example();
        spoil(&mut message);
        let error = from_message(&message).expect_err(field);
        assert_eq!(&error.field, field, "{error}");
    }
}

#[test]
fn a_bundle_comes_stays_and_goes() {
    let without = to_message(&SnapshotSpec::default());
    let with = |payload: &[u8], version| {
        let mut message = without.clone();
        message.version = version;
        message.bundle = Some(v1::SignedBundle {
            payload: payload.into(),
            signatures: vec![v1::Signature {
                key_id: "sha256:00".into(),
                signature: vec![1, 2],
            }],
        });
        message.checksum = checksum(&message);
        message
    };
    let (first, same, other) = (with(b"{}", 1), with(b"{}", 2), with(b"[]", 3));
    for (old, new, told) in [
        (&without, &first, true),
        (&first, &same, false),
        (&same, &other, true),
        (&other, &without, true),
    ] {
        let change = delta(old, new);
        assert_eq!(change.bundle.is_some(), told);
        assert_eq!(&apply(old, &change).unwrap(), new);
    }
}
