//! What is written is read back equal; what is read never panics.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_model::{
    Action, AllowlistSpec, Condition, DenyStyle, Document, Entropy, EtherType, LinkSettings,
    Metadata, Mode, ModeSpec, Network, Peer, PortRange, Protocol, Reference, Resource, Rule,
    Selector, SensorAction, SensorDirection, SensorExamples, SensorMask, SensorMatch,
    SensorPattern, SensorSpec, SensorThreshold, ServiceSpec, SettingsSpec, SourceThreshold,
    UnknownSettings, WorkloadSpec, parse_documents, to_yaml, to_yaml_stream,
};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,8}[a-z0-9])?",
        "(null|true|no|1e3|0x1f|12)"
    ]
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(
        "([a-z]{1,4}/)?[A-Za-z0-9]{1,6}",
        "[A-Za-z0-9._-]{0,8}",
        0..3,
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let annotations = proptest::collection::btree_map("[a-z]{1,5}", any::<String>(), 0..3);
    (name(), name(), labels(), annotations).prop_map(|(namespace, name, labels, annotations)| {
        Metadata {
            labels,
            annotations,
            ..Metadata::new(&namespace, &name).unwrap()
        }
    })
}

fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        name().prop_map(|name| name.parse().unwrap()),
        (name(), name()).prop_map(|(namespace, name)| Reference::new(&namespace, &name).unwrap())
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(bits, prefix)| {
        Network::new(
            ipnet::Ipv4Net::new(bits.into(), prefix)
                .unwrap()
                .trunc()
                .into(),
        )
        .unwrap()
    });
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(bits, prefix)| {
        Network::new(
            ipnet::Ipv6Net::new(bits.into(), prefix)
                .unwrap()
                .trunc()
                .into(),
        )
        .unwrap()
    });
    prop_oneof![v4, v6]
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        reference().prop_map(Selector::Name),
        (labels(), proptest::option::of(name())).prop_map(|(match_labels, namespace)| {
            Selector::Labels {
                match_labels,
                namespace,
            }
        })
    ]
}

fn peer(egress: bool) -> impl Strategy<Value = Peer> {
    let domain =
        "(\\*\\.)?[a-z]{1,8}\\.[a-z]{2,3}".prop_map(|text| Peer::Domain(text.parse().unwrap()));
    let other = prop_oneof![
        selector().prop_map(Peer::Workload),
        (network(), 0..2usize).prop_map(|(cidr, count)| Peer::Network {
            cidr,
            except: vec![cidr; count]
        }),
        reference().prop_map(Peer::Service),
        Just(Peer::Unknown),
        Just(Peer::Any),
    ];
    if egress {
        prop_oneof![other, domain].boxed()
    } else {
        other.boxed()
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let patterns = || proptest::collection::vec(any::<String>(), 0..3);
    (
        any::<String>(),
        any::<String>(),
        patterns(),
        patterns(),
        patterns(),
    )
        .prop_map(|(field, one, prefix, suffix, glob)| Condition {
            field,
            exact: vec![one],
            prefix,
            suffix,
            glob,
        })
}

fn rule(egress: bool) -> impl Strategy<Value = Rule> {
    (
        proptest::collection::vec(peer(egress), 1..4),
        proptest::collection::vec("[a-z]{1,6}", 0..3),
        proptest::collection::vec((any::<u16>(), any::<u16>()), 0..3),
        proptest::collection::vec(any::<u8>(), 0..3),
        any::<bool>(),
        proptest::collection::vec(condition(), 0..2),
    )
        .prop_map(|(peers, applications, ports, mut protocols, deny, when)| {
            if !ports.is_empty() && !protocols.is_empty() {
                protocols.push(6);
            }
            Rule {
                peers,
                applications,
                ports: ports
                    .into_iter()
                    .map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap())
                    .collect(),
                protocols: protocols.into_iter().map(Protocol).collect(),
                action: if deny { Action::Deny } else { Action::Allow },
                when,
            }
        })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Discover),
        Just(Mode::Monitor),
        Just(Mode::Protect)
    ]
}

fn settings() -> impl Strategy<Value = SettingsSpec> {
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let unknown = (
        proptest::option::of(0..=10_000u32),
        proptest::option::of(mode()),
        proptest::option::of(action),
    )
        .prop_map(|(hold_ms, mode, action)| UnknownSettings {
            hold_ms,
            mode,
            action,
        });
    let ether_types = proptest::collection::vec((0x8800..=u16::MAX).prop_map(EtherType), 0..3);
    let link = (proptest::option::of(mode()), ether_types)
        .prop_map(|(mode, ether_types)| LinkSettings { mode, ether_types });
    let style = prop_oneof![Just(DenyStyle::Reset), Just(DenyStyle::Drop)];
    (
        proptest::option::of(unknown),
        proptest::option::of(link),
        proptest::option::of(style),
    )
        .prop_map(|(unknown, link, deny_style)| SettingsSpec {
            unknown,
            link,
            deny_style,
        })
}

fn sensor_pattern() -> impl Strategy<Value = SensorPattern> {
    let texts = || proptest::collection::vec("[^\\x00]{1,9}", 1..3);
    let what = prop_oneof![
        (any::<String>(), texts()).prop_map(|(regex, dataset)| SensorPattern {
            regex: Some(regex),
            dataset,
            ..SensorPattern::default()
        }),
        texts().prop_map(|literals| SensorPattern {
            literals,
            ..SensorPattern::default()
        }),
        texts().prop_map(|words| SensorPattern {
            words,
            ..SensorPattern::default()
        }),
    ];
    let mask = prop_oneof![
        Just(SensorMask::Secret),
        Just(SensorMask::Card),
        Just(SensorMask::None)
    ];
    (what, any::<bool>(), texts(), texts(), 0..8001u32, mask).prop_map(
        |(what, ignore_case, places, checks, millibits, mask)| SensorPattern {
            ignore_case,
            places,
            checks,
            entropy: Entropy::from_millibits(millibits),
            mask,
            ..what
        },
    )
}

/// About patterns a and b, and true only where one of them is found.
fn sensor_match() -> impl Strategy<Value = SensorMatch> {
    let name = || prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned);
    let leaf = name().prop_map(SensorMatch::Pattern);
    let nested = leaf.prop_recursive(3, 9, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(SensorMatch::All),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(SensorMatch::Any),
            inner.prop_map(|part| SensorMatch::Not(Box::new(part))),
        ]
    });
    (name(), nested)
        .prop_map(|(name, nested)| SensorMatch::All(vec![SensorMatch::Pattern(name), nested]))
}

fn sensor() -> impl Strategy<Value = SensorSpec> {
    let threshold =
        (1..1000u32, proptest::option::of((1..1000u32, 1..1000u32))).prop_map(|(flow, source)| {
            SensorThreshold {
                flow: Some(flow),
                source: source.map(|(matches, within_s)| SourceThreshold { matches, within_s }),
            }
        });
    let direction = prop_oneof![
        Just(SensorDirection::Both),
        Just(SensorDirection::To),
        Just(SensorDirection::From)
    ];
    (
        any::<String>(),
        proptest::option::of(selector()),
        direction,
        any::<bool>(),
        (sensor_pattern(), sensor_pattern()),
        proptest::option::of(sensor_match()),
        proptest::option::of(threshold),
        proptest::option::of(proptest::collection::vec(any::<String>(), 0..3)),
    )
        .prop_map(
            |(about, target, direction, drop, (a, b), combination, threshold, examples)| {
                let named = |name: &str, pattern| SensorPattern {
                    name: name.to_owned(),
                    ..pattern
                };
                SensorSpec {
                    about,
                    target,
                    direction,
                    action: if drop {
                        SensorAction::Drop
                    } else {
                        SensorAction::Alert
                    },
                    places: vec!["body".to_owned()],
                    patterns: vec![named("a", a), named("b", b)],
                    combination,
                    threshold,
                    examples: examples.map(|fires| SensorExamples {
                        fires,
                        passes: vec![],
                    }),
                }
            },
        )
}

fn document() -> impl Strategy<Value = Document> {
    let networks = || proptest::collection::vec(network(), 0..3);
    let zone = || proptest::option::of(any::<u32>());
    let workload = (networks(), zone(), proptest::option::of(name())).prop_map(
        |(addresses, zone, service_account)| WorkloadSpec {
            addresses,
            zone,
            service_account,
        },
    );
    let service =
        (reference(), networks(), zone()).prop_map(|(workload, addresses, zone)| ServiceSpec {
            workload,
            addresses,
            zone,
        });
    let allowlist = (
        selector(),
        proptest::collection::vec(rule(false), 0..3),
        proptest::collection::vec(rule(true), 0..3),
    )
        .prop_map(|(target, ingress, egress)| AllowlistSpec {
            target,
            ingress,
            egress,
        });
    let modes = (selector(), proptest::option::of(mode())).prop_map(|(target, mode)| ModeSpec {
        target,
        quarantine: mode.is_none(),
        mode,
    });
    prop_oneof![
        (metadata(), workload)
            .prop_map(|(metadata, spec)| Document::Workload(Resource { metadata, spec })),
        (metadata(), service)
            .prop_map(|(metadata, spec)| Document::Service(Resource { metadata, spec })),
        (metadata(), allowlist)
            .prop_map(|(metadata, spec)| Document::Allowlist(Resource { metadata, spec })),
        (metadata(), modes)
            .prop_map(|(metadata, spec)| Document::Mode(Resource { metadata, spec })),
        (metadata(), settings())
            .prop_map(|(metadata, spec)| Document::Settings(Resource { metadata, spec })),
        (metadata(), sensor())
            .prop_map(|(metadata, spec)| Document::Sensor(Resource { metadata, spec })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read_back(documents in proptest::collection::vec(document(), 1..4)) {
        let text = to_yaml_stream(&documents);
        let (read, problems) = parse_documents("x.yaml", &text);
        prop_assert_eq!(problems, vec![], "{}", text);
        let read: Vec<Document> = read.into_iter().map(|located| located.value).collect();
        prop_assert_eq!(&read, &documents, "{}", text);
        prop_assert_eq!(to_yaml(&read[0]), to_yaml(&documents[0]));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse_documents("x.yaml", &text);
    }

    #[test]
    fn no_change_of_a_good_file_panics(at in any::<prop::sample::Index>(), with in "[\\x00-\\x7f]{0,3}", remove in 0..6usize) {
        let good = include_str!("shop.yaml");
        let start = at.index(good.len());
        let end = (start + remove).min(good.len());
        let text = format!("{}{with}{}", &good[..start], &good[end..]);
        let (_, problems) = parse_documents("x.yaml", &text);
        for problem in problems {
            prop_assert!(problem.line > 0 || problem.message.contains("more mistakes"));
        }
    }
}
