//! Threat policies, response rules, guardrails, learned profiles and values of any form.

use std::net::IpAddr;

use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::Value;
use weir_model::{
    Capture, CaptureOf, Enforcement, EventSource, GuardrailMatch, GuardrailSpec, Kind,
    LearnedActivity, LearnedConfidence, LearnedConversation, LearnedDays, LearnedDecision,
    LearnedPoint, LearnedReplica, LearnedStatus, LearnedVerdict, OnEvent, OnSensor, OnThreat,
    OnViolation, Parameters, Quarantine, ResponseAction, ResponseRuleSpec, SensorClass, Severity,
    Side, Span, Suppress, SuppressKey, Syslog, SyslogProtocol, ThreatAction, ThreatPolicySpec,
    ThreatRule, ThreatThresholds, Timestamp, Trigger, ViolationResult, Webhook, WebhookFormat,
    WebhookHeader,
};

use super::{label_selector, name, selector};

/// Anything that JSON can say.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e15f64..1e15).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "(true|null|~|1e3|0x1f|-7|1.5|nan|inf|\\.5)".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((any::<String>(), inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub(crate) fn threat_policy() -> impl Strategy<Value = ThreatPolicySpec> {
    let action = || {
        prop_oneof![
            Just(ThreatAction::Ignore),
            Just(ThreatAction::Alert),
            Just(ThreatAction::Drop)
        ]
    };
    let names = btree_set("([a-z]{1,9}(-[a-z]{1,5})?|[1-9][0-9]{3}|007)", 1..6);
    let rules = (names, action(), action(), any::<bool>()).prop_map(|(names, one, other, all)| {
        let rule = |names: &[String], action| ThreatRule {
            threats: names.iter().map(|name| name.parse().unwrap()).collect(),
            action,
        };
        let mut rules = vec![rule(&names.into_iter().collect::<Vec<_>>(), one)];
        if all {
            rules.push(rule(&["*".to_owned()], other));
        }
        rules
    });
    let thresholds = (of(600..1000u32), of(1..600u32), of(3..100u32)).prop_map(
        |(syn_on_per_s, syn_off_per_s, beacon_connections)| ThreatThresholds {
            syn_on_per_s,
            syn_off_per_s,
            beacon_connections,
            ..ThreatThresholds::default()
        },
    );
    (any::<String>(), selector(), rules, thresholds).prop_map(
        |(about, target, rules, thresholds)| ThreatPolicySpec {
            about,
            target,
            rules,
            thresholds,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    (1..=Span::SECONDS_MAX).prop_map(|seconds| Span::from_seconds(seconds).unwrap())
}

fn severity() -> impl Strategy<Value = Severity> {
    prop_oneof![
        Just(Severity::Low),
        Just(Severity::Medium),
        Just(Severity::High)
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let names = || vec("[a-z*/ ]{1,9}", 0..3);
    let threat = (names(), of(severity()))
        .prop_map(|(names, severity)| Trigger::Threat(OnThreat { names, severity }));
    let results = prop_oneof![
        Just(vec![]),
        Just(vec![ViolationResult::Denied, ViolationResult::WouldDeny]),
    ];
    let violation = (results, names()).prop_map(|(results, applications)| {
        Trigger::Violation(OnViolation {
            results,
            applications,
        })
    });
    let class = prop_oneof![Just(SensorClass::Dlp), Just(SensorClass::Waf)];
    let sensor = (of(class), names(), of(severity())).prop_map(|(class, names, severity)| {
        Trigger::Sensor(OnSensor {
            class,
            names,
            severity,
        })
    });
    let sources = prop_oneof![
        Just(vec![]),
        Just(vec![EventSource::Falco, EventSource::Tetragon]),
    ];
    let event = (sources, names(), of(severity())).prop_map(|(sources, names, severity)| {
        Trigger::Event(OnEvent {
            sources,
            names,
            severity,
        })
    });
    prop_oneof![threat, violation, sensor, event]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Either), Just(Side::Client), Just(Side::Server)]
}

fn action() -> impl Strategy<Value = ResponseAction> {
    let header = ("[A-Za-z-]{1,9}", of("[ -~]{0,9}")).prop_map(|(name, value)| WebhookHeader {
        name,
        secret_file: value.is_none().then(|| "slack-token".to_owned()),
        value,
    });
    let url = "https?://[a-z]{1,9}(:8080|)(/[a-z]{0,9}|)(\\?x=[a-z]{1,3}|)";
    let webhook = (url, any::<bool>(), vec(header, 0..3)).prop_map(|(url, slack, headers)| {
        ResponseAction::Webhook(Webhook {
            url: url.parse().unwrap(),
            format: match slack {
                true => WebhookFormat::Slack,
                false => WebhookFormat::Generic,
            },
            headers,
        })
    });
    let protocol = prop_oneof![
        Just(SyslogProtocol::Udp),
        Just(SyslogProtocol::Tcp),
        Just(SyslogProtocol::Tls)
    ];
    let syslog = (
        "([a-z]{1,9}\\.[a-z]{2}|10\\.0\\.0\\.1|\\[fd00::1\\]):514",
        protocol,
    )
        .prop_map(|(address, protocol)| {
            ResponseAction::Syslog(Syslog {
                address: address.parse().unwrap(),
                protocol,
            })
        });
    let quarantine = (of(span()), of(side()))
        .prop_map(|(duration, side)| ResponseAction::Quarantine(Quarantine { duration, side }));
    let whose = prop_oneof![Just(CaptureOf::Flow), Just(CaptureOf::Workload)];
    let packets = of(1..=Capture::PACKETS_MAX);
    let bytes = of(Capture::BYTES_MIN..=Capture::BYTES_MAX);
    let seconds = of(1..=Capture::SECONDS_MAX);
    let capture = (whose, packets, bytes, seconds).prop_map(|(of, packets, bytes, seconds)| {
        ResponseAction::Capture(Capture {
            of,
            packets,
            bytes,
            duration: seconds.and_then(Span::from_seconds),
        })
    });
    prop_oneof![webhook, syslog, quarantine, capture]
}

pub(crate) fn response_rule() -> impl Strategy<Value = ResponseRuleSpec> {
    let keys = prop_oneof![
        Just(vec![]),
        Just(vec![
            SuppressKey::Name,
            SuppressKey::Client,
            SuppressKey::Server
        ]),
        Just(vec![SuppressKey::Application, SuppressKey::Node]),
    ];
    let suppress = (span(), keys).prop_map(|(span, key)| Suppress {
        duration: Some(span),
        key,
    });
    let expires =
        (0..=Timestamp::UNIX_S_MAX).prop_map(|seconds| Timestamp::from_unix_s(seconds).unwrap());
    (
        any::<String>(),
        trigger(),
        of(selector()),
        side(),
        vec(action(), 1..4),
        of(suppress),
        of(expires),
    )
        .prop_map(
            |(about, on, target, side, actions, suppress, expires)| ResponseRuleSpec {
                about,
                when: on,
                target,
                side,
                actions,
                suppress,
                expires,
            },
        )
}

pub(crate) fn guardrail() -> impl Strategy<Value = GuardrailSpec> {
    let matching =
        (vec(name(), 0..3), of(label_selector())).prop_map(|(namespaces, namespace_selector)| {
            GuardrailMatch {
                kinds: vec![Kind::Allowlist, Kind::Settings],
                excluded_namespaces: namespaces.clone(),
                namespaces,
                namespace_selector,
            }
        });
    (
        any::<String>(),
        "package weir.guardrail\n[ -~\n\t]{0,80}",
        of(value().prop_map(Parameters)),
        of(matching),
        any::<bool>(),
    )
        .prop_map(|(about, rego, parameters, matching, warn)| GuardrailSpec {
            about,
            rego,
            parameters,
            matching,
            enforcement: match warn {
                true => Enforcement::Warn,
                false => Enforcement::Deny,
            },
        })
}

fn days() -> impl Strategy<Value = LearnedDays> {
    (0..30_000u32, any::<u128>(), any::<u32>()).prop_map(|(last, recent, older)| LearnedDays {
        last,
        recent,
        older,
    })
}

fn count() -> impl Strategy<Value = u64> {
    0..=(u64::MAX >> 1)
}

/// The first counts of a list, a conversation's or a point's.
fn counts() -> impl Strategy<Value = [u64; 6]> {
    proptest::array::uniform6(count())
}

fn points() -> impl Strategy<Value = Vec<LearnedPoint>> {
    let point = (name(), any::<u32>(), counts()).prop_map(|(node, zone, counts)| LearnedPoint {
        node,
        zone,
        connections: counts[0],
        bytes: counts[1],
        bytes_sent: counts[2],
        denied: counts[3],
        would_deny: counts[4],
    });
    vec(point, 0..4)
}

fn activity() -> impl Strategy<Value = Vec<LearnedActivity>> {
    let day = (any::<(u32, u32)>(), counts()).prop_map(|((day, hours), counts)| LearnedActivity {
        day,
        hours,
        connections: counts[0],
        denied: counts[1],
        would_deny: counts[2],
    });
    vec(day, 0..3)
}

fn replicas() -> impl Strategy<Value = Vec<LearnedReplica>> {
    let replica = any::<(IpAddr, u32, u32)>().prop_map(|(address, first, last)| LearnedReplica {
        address,
        first,
        last,
    });
    vec(replica, 0..3)
}

fn ends() -> impl Strategy<Value = (String, String, String, u16, u8)> {
    (
        "[a-z]{1,5}/[a-z]{1,5}",
        "\\[10\\.0\\.0\\.0/8\\]",
        "[a-z]{0,5}",
        any::<u16>(),
        any::<u8>(),
    )
}

fn conversation() -> impl Strategy<Value = LearnedConversation> {
    let confidence = prop_oneof![
        Just(LearnedConfidence::None),
        Just(LearnedConfidence::Port),
        Just(LearnedConfidence::Content)
    ];
    let names = btree_set("[a-z.]{1,9}", 0..3);
    (
        (ends(), counts(), counts(), days(), activity()),
        (replicas(), points(), names, confidence, any::<bool>()),
    )
        .prop_map(|((ends, counts, times, days, activity), more)| {
            let (client_replicas, points, names, confidence, from_start) = more;
            let (client, server, application, port, protocol) = ends;
            LearnedConversation {
                client,
                server,
                application,
                port,
                protocol,
                first_seen_us: times[0],
                last_seen_us: times[1],
                connections: counts[0],
                unanswered: counts[1],
                bytes: counts[2],
                bytes_sent: counts[3],
                denied: counts[4],
                would_deny: counts[5],
                alerts: times[2],
                alert_names: names.iter().map(|name| (name.clone(), times[3])).collect(),
                first_alert_us: times[4],
                last_alert_us: times[5],
                days,
                activity,
                client_replicas,
                points,
                resolved: times[2],
                names,
                confidence,
                from_start,
            }
        })
}

fn decision() -> impl Strategy<Value = LearnedDecision> {
    let basis = btree_set("[a-z ]{1,9}", 0..3);
    (ends(), count(), any::<bool>(), ".{0,9}", basis).prop_map(
        |(ends, at_us, yes, reason, basis)| {
            let (client, server, application, port, protocol) = ends;
            LearnedDecision {
                client,
                server,
                application,
                port,
                protocol,
                at_us,
                verdict: match yes {
                    true => LearnedVerdict::Accepted,
                    false => LearnedVerdict::Rejected,
                },
                reason,
                basis,
            }
        },
    )
}

pub(crate) fn learned() -> impl Strategy<Value = LearnedStatus> {
    let owner = of(Just("Deployment".to_owned()));
    let last_seen = of(Just("2026-01-01T00:00:00Z".to_owned()));
    let formerly = proptest::collection::btree_map("[a-z]{1,5}/[a-z]{1,5}", count(), 0..3);
    let lists = (vec(conversation(), 0..3), vec(decision(), 0..3), formerly);
    let summary = (
        any::<bool>(),
        "[0-9]{0,2}%",
        vec("[a-z ]{1,9}", 0..3),
        last_seen,
    );
    (owner, summary, lists, counts()).prop_map(|(owner, summary, lists, counts)| {
        let (ready, coverage, missing, last_seen) = summary;
        let (conversations, decisions, formerly) = lists;
        LearnedStatus {
            workload: "shop/web".to_owned(),
            owner,
            known: counts[0],
            coverage,
            ready,
            missing,
            last_seen,
            conversations,
            left_out: counts[1],
            decisions,
            decisions_left_out: counts[2],
            formerly,
        }
    })
}
