//! Snapshots as messages: nothing is lost on the way, and what breaks the contract is named. Version 1:
//! a delta leads exactly to the new snapshot.

mod common;

use common::snapshot;
use proptest::prelude::*;
use weir_api::first::{apply, delta};
use weir_api::{ApplyError, checksum, first, from_message, to_message, v1};
use weir_policy::spec::{
    Action, AddressSpec, Combination, ConditionSpec, End, IdentitySpec, Mode, Pattern, RuleSpec,
    SensorAction, SensorDirection, SensorPatternSpec, SensorSpec, SensorWhat, SnapshotSpec,
};

fn first_message(spec: &SnapshotSpec) -> v1::Snapshot {
    first::snapshot(to_message(spec))
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
        let (old, new) = (first_message(&old), first_message(&new));
        prop_assert_eq!(apply(&old, &delta(&old, &new)), Ok(new));
    }

    #[test]
    fn equal_policy_has_equal_checksums_and_an_empty_delta(spec in snapshot(), version in any::<u64>()) {
        let old = first_message(&spec);
        let new = first_message(&SnapshotSpec { version, ..spec });
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
        let (old, mut other, new) = (first_message(&old), first_message(&other), first_message(&new));
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
        ("claims.claims[0].address", |m| {
            m.claims = Some(v1::Claims {
                claims: vec![v1::Claim::default()],
            })
        }),
        ("claims.claims", |m| {
            m.claims = Some(v1::Claims {
                claims: vec![v1::Claim::default(); 1025],
            })
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
