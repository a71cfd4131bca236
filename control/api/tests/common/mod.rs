//! Any policy, for the tests of messages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_policy::spec::{
    Action, AddressSpec, ClaimSpec, Combination, ConditionSpec, DenyStyle, End, IdentitySpec,
    LinkSpec, Mode, NameSpec, Pattern, RuleSpec, SensorAction, SensorDirection, SensorMask,
    SensorPatternSpec, SensorSpec, SensorWhat, SnapshotSpec, SourceThreshold, ThreatAction,
    ThreatPolicySpec, UnknownSpec,
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
        (
            prop::collection::btree_set("[a-c]/[a-c]", 0..2),
            prop::option::of("[a-c]{0,2}"),
        ),
        any::<bool>(),
    );
    prop::collection::btree_map(1u32..12, identity, 1..8).prop_map(|all| {
        let spec =
            |(id, (name, labels, managed, mode, quarantined, (services, account), elsewhere))| {
                IdentitySpec {
                    id,
                    name,
                    labels: BTreeMap::into_iter(labels).collect(),
                    managed,
                    mode,
                    quarantined,
                    services: std::collections::BTreeSet::into_iter(services).collect(),
                    service_account: account,
                    elsewhere,
                    namespace_labels: vec![("env".to_owned(), id.to_string())],
                    service_addresses: vec![
                        (u128::from(id) << 64, 64, Some(id)),
                        ((0xffff << 32) | u128::from(id), 128, None),
                    ],
                }
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

/// With its number still to be given.
fn threat_policy(ids: Vec<u32>) -> impl Strategy<Value = ThreatPolicySpec> {
    let action = prop_oneof![
        Just(ThreatAction::Ignore),
        Just(ThreatAction::Alert),
        Just(ThreatAction::Drop)
    ];
    (
        "[a-z]{1,9}",
        prop::sample::subsequence(ids.clone(), 0..=ids.len()),
        prop::collection::btree_map("[a-z]{1,5}", action.clone(), 1..4),
        prop::option::of(action),
        prop::collection::btree_map("[a-z]{1,5}", any::<u32>(), 0..3),
    )
        .prop_map(
            |(name, targets, actions, others, thresholds)| ThreatPolicySpec {
                id: 0,
                name,
                targets,
                actions: actions.into_iter().collect(),
                others,
                thresholds: thresholds.into_iter().collect(),
            },
        )
}

/// Addresses of both families.
fn claimed() -> impl Strategy<Value = u128> {
    prop_oneof![
        any::<u128>(),
        any::<u32>().prop_map(|v4| 0xffff_0000_0000 | u128::from(v4))
    ]
}

/// Any snapshot.
pub fn snapshot() -> impl Strategy<Value = SnapshotSpec> {
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
            (
                prop::collection::btree_map(0u32..10, sensor(ids.clone()), 0..4),
                prop::collection::btree_map(0u32..9, threat_policy(ids), 0..3),
                prop::collection::btree_set((claimed(), "[a-z]{1,5}/[a-z]{1,5}"), 0..3),
            ),
        )
            .prop_map(
                |(
                    identities,
                    addresses,
                    names,
                    rules,
                    settings,
                    ether_types,
                    version,
                    (sensors, threats, claims),
                )| {
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
                        threat_policies: threats
                            .into_iter()
                            .map(|(id, policy)| ThreatPolicySpec { id, ..policy })
                            .collect(),
                        claims: claims
                            .into_iter()
                            .map(|(address, service)| ClaimSpec { address, service })
                            .collect(),
                        sensors: sensors
                            .into_iter()
                            .map(|(id, sensor)| SensorSpec { id, ..sensor })
                            .collect(),
                    }
                },
            )
    })
}
