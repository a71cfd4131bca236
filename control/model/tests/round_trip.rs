//! What is written is read back equal; what is read never panics.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_model::{
    Action, AdmissionSettings, AllowlistSpec, Condition, DenyStyle, Document, Enforcement, Entropy,
    EtherType, Expression, ImageSettings, Kind, LabelSelector, LinkSettings, Metadata, Mode,
    ModeSpec, NamespaceSpec, Namespaces, Network, Operator, Peer, PortRange, Protocol, Reference,
    Resource, Rule, Selector, SensorAction, SensorClass, SensorDirection, SensorExamples,
    SensorMask, SensorMatch, SensorPattern, SensorSpec, SensorThreshold, ServiceSpec, SettingsSpec,
    SourceThreshold, Stage, UnknownSettings, VulnerabilitySettings, WorkloadSpec, from_object,
    parse_documents, to_yaml, to_yaml_stream,
};

#[path = "round_trip/more.rs"]
mod more;
#[path = "schema/mod.rs"]
mod schema;

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

fn expression() -> impl Strategy<Value = Expression> {
    let values = proptest::collection::vec("[A-Za-z0-9._-]{0,8}", 1..3);
    let operator = prop_oneof![
        Just(Operator::In),
        Just(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
    ];
    ("[a-z]{1,4}", operator, values).prop_map(|(key, operator, values)| Expression {
        key,
        operator,
        values: match operator {
            Operator::In | Operator::NotIn => values,
            Operator::Exists | Operator::DoesNotExist => vec![],
        },
    })
}

fn label_selector() -> impl Strategy<Value = LabelSelector> {
    let expressions = proptest::collection::vec(expression(), 0..3);
    (labels(), expressions).prop_map(|(match_labels, match_expressions)| LabelSelector {
        match_labels,
        match_expressions,
    })
}

fn namespaces() -> impl Strategy<Value = Namespaces> {
    prop_oneof![
        Just(Namespaces::Own),
        name().prop_map(Namespaces::Named),
        label_selector().prop_map(Namespaces::Selected),
    ]
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        reference().prop_map(Selector::Name),
        (label_selector(), namespaces())
            .prop_map(|(labels, namespaces)| Selector::Labels { labels, namespaces })
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
        proptest::option::of(admission()),
    )
        .prop_map(|(unknown, link, deny_style, admission)| SettingsSpec {
            unknown,
            link,
            deny_style,
            admission,
        })
}

fn admission() -> impl Strategy<Value = AdmissionSettings> {
    let enforcement = || prop_oneof![Just(Enforcement::Deny), Just(Enforcement::Warn)];
    let names = || proptest::collection::vec(name(), 0..3);
    let number = || proptest::option::of(any::<u32>());
    let vulnerabilities = (number(), number(), proptest::option::of(enforcement())).prop_map(
        |(max_critical, max_high, without_report)| VulnerabilitySettings {
            max_critical,
            max_high,
            without_report,
        },
    );
    let lists = (names(), names(), names(), any::<bool>());
    let annotation = proptest::option::of("[a-z]{1,9}");
    let vulnerabilities = proptest::option::of(vulnerabilities);
    let images = (enforcement(), lists, annotation, vulnerabilities).prop_map(
        |(enforcement, lists, signature_annotation, vulnerabilities)| ImageSettings {
            enforcement,
            registries: lists.0,
            refused_registries: lists.1,
            refused_tags: lists.2,
            require_digest: lists.3,
            signature_annotation,
            vulnerabilities,
        },
    );
    let actions = (
        proptest::option::of(enforcement()),
        proptest::option::of(enforcement()),
    );
    (names(), proptest::option::of(images), actions).prop_map(
        |(exempt_namespaces, images, (without_allowlist, external_addresses))| AdmissionSettings {
            exempt_namespaces,
            images,
            without_allowlist,
            external_addresses,
        },
    )
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
                    class: drop.then_some(SensorClass::Waf),
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

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![
        Just(Stage::Draft),
        Just(Stage::Monitor),
        Just(Stage::Protect)
    ]
}

fn workload() -> impl Strategy<Value = WorkloadSpec> {
    (
        proptest::collection::vec(network(), 0..3),
        proptest::option::of(any::<u32>()),
        proptest::option::of(name()),
        proptest::collection::vec(name(), 0..3),
        proptest::option::of(Just("DaemonSet".to_owned())),
        proptest::collection::vec("[a-z]{1,5}/[a-z]{1,5}:[a-z0-9.]{1,5}", 0..2),
    )
        .prop_map(
            |(addresses, zone, service_account, nodes, owner, images)| WorkloadSpec {
                addresses,
                zone,
                service_account,
                nodes,
                owner,
                images,
            },
        )
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    let networks = || proptest::collection::vec(network(), 0..3);
    (
        proptest::collection::vec(reference(), 0..3),
        networks(),
        networks(),
        proptest::collection::vec(any::<std::net::IpAddr>(), 0..3),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(
            |(workloads, addresses, external_addresses, disputed_addresses, zone)| ServiceSpec {
                external_name: workloads
                    .is_empty()
                    .then(|| "api.example.com".parse().unwrap()),
                workloads,
                addresses,
                external_addresses,
                disputed_addresses,
                zone,
            },
        )
}

fn allowlist() -> impl Strategy<Value = AllowlistSpec> {
    (
        selector(),
        proptest::option::of(stage()),
        proptest::collection::vec(rule(false), 0..3),
        proptest::collection::vec(rule(true), 0..3),
    )
        .prop_map(|(target, stage, ingress, egress)| AllowlistSpec {
            target,
            stage,
            ingress,
            egress,
        })
}

/// The same list with its names written in full, as a document without a namespace has to.
fn in_full(mut spec: AllowlistSpec) -> AllowlistSpec {
    let full = |reference: &mut Reference| {
        if reference.namespace().is_none() {
            *reference = Reference::new("far", reference.name()).unwrap();
        }
    };
    if let Selector::Name(name) = &mut spec.target {
        full(name);
    }
    for rule in spec.ingress.iter_mut().chain(&mut spec.egress) {
        for peer in &mut rule.peers {
            match peer {
                Peer::Workload(Selector::Name(name)) | Peer::Service(name) => full(name),
                _ => {}
            }
        }
    }
    spec
}

fn of_cluster() -> impl Strategy<Value = Metadata> {
    metadata().prop_map(|metadata| Metadata {
        namespace: String::new(),
        ..metadata
    })
}

fn document() -> impl Strategy<Value = Document> {
    let modes = (selector(), proptest::option::of(mode())).prop_map(|(target, mode)| ModeSpec {
        target,
        quarantine: mode.is_none(),
        mode,
    });
    macro_rules! documents {
        ($($kind:ident $metadata:expr, $spec:expr;)*) => {
            prop_oneof![$(
                ($metadata, $spec)
                    .prop_map(|(metadata, spec)| Document::$kind(Resource { metadata, spec })),
            )*]
        };
    }
    documents! {
        Namespace of_cluster(), Just(NamespaceSpec {});
        Workload metadata(), workload();
        Service metadata(), service();
        Allowlist metadata(), allowlist();
        ClusterAllowlist of_cluster(), allowlist().prop_map(in_full);
        Mode metadata(), modes;
        Settings of_cluster(), settings();
        Sensor metadata(), sensor();
        ThreatPolicy metadata(), more::threat_policy();
        ResponseRule metadata(), more::response_rule();
        Guardrail of_cluster(), more::guardrail();
        LearnedProfile metadata(), more::learned();
    }
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
    fn an_api_server_s_object_reads_as_the_document(document in document(), noise in more::value()) {
        let mut object: serde_json::Value = serde_yaml_ng::from_str(&to_yaml(&document)).unwrap();
        object["metadata"]["uid"] = "x".into();
        object["metadata"]["managedFields"] = noise.clone();
        object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "x".into();
        if document.kind() != Kind::LearnedProfile {
            object["status"] = noise;
        }
        match from_object(&object, "x") {
            Ok(located) => prop_assert_eq!(located.value, document),
            // Of what may stand in a file an object in a namespace may not do one thing.
            Err(problems) => {
                prop_assert_eq!(problems.len(), 1);
                prop_assert!(problems[0].message.contains("governs nothing beyond it"), "{}", problems[0]);
                prop_assert!(document.kind().is_namespaced());
            }
        }
    }

    #[test]
    fn an_api_server_takes_what_the_reader_takes(document in document()) {
        prop_assume!(document.kind() != Kind::Namespace);
        let mut object: serde_json::Value = serde_yaml_ng::from_str(&to_yaml(&document)).unwrap();
        if document.kind() == Kind::Settings {
            object["metadata"]["name"] = "settings".into();
        }
        let mut told = schema::validate(document.kind().name(), &object);
        // This the compiler refuses, not the reader.
        told.retain(|one| !one.contains("deny without a mode"));
        prop_assert_eq!(told, Vec::<String>::new(), "{}", to_yaml(&document));
    }

    #[test]
    fn no_object_panics(value in more::value(), kind in "(Allowlist|Guardrail|ResponseRule|LearnedProfile)") {
        let object = serde_json::json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": value, "spec": value, "status": value,
        });
        if let Err(problems) = from_object(&object, "x") {
            prop_assert!(!problems.is_empty());
        }
        let _ = from_object(&value, "x");
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
