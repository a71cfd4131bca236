//! What honest conversations raise, with every detector as it is by default and Weir's own rules in
//! force, where the mode is protect: nothing but what is listed here with its reason.

use std::collections::BTreeSet;

use weir_node::event::EventKind;
use weir_node::inspection::scan_limits;
use weir_node::limits::Limits;
use weir_policy::spec::Mode;
use weir_sigs::Prepared;
use weir_wire::Reason;

use super::conditions::{play, samples};
use crate::common::bench::{compiled, small_limits};
use crate::common::hosts::*;
use crate::common::{Bench, Shop};

/// Sample, what is told of it, and why that is right.
const TOLD: &[(&str, &str, &str)] = &[
    ("dns/zone-transfer", "dns-zone-transfer", "it is one"),
    ("mysql/refused", "mysql-access-denied", "the server refuses"),
    ("ssh/version-1", "ssh-version-1", "it is offered"),
    ("ssh/version-3", "ssh-version-3", "it is claimed"),
    ("tls/heartbeats", "heartbleed", "the attack itself"),
    ("tls/old-hello", "sslv2-hello", "it is one"),
    ("tls/old-hello", "tls10-use", "it is chosen"),
];

/// Samples of which something is stopped, and why that is right.
const STOPPED: &[(&str, &str)] = &[
    (
        "http/coded-transfer",
        "its gzip ends after a byte: nothing of it can be read",
    ),
    ("tls/heartbeats", "the attack itself"),
];

/// One bench for all: what detectors count over connections adds up as it would on a node.
fn bench() -> Bench {
    let limits = Limits {
        flows: 8192,
        sessions: 1024,
        ..small_limits()
    };
    let policy = Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), FRONTEND.identity());
    let mut bench = Bench::watching(&policy.build(), limits);
    let own: Vec<u8> = weir_sigs::shipped_rules()
        .into_iter()
        .flat_map(|file| file.bytes)
        .collect();
    let rules = compiled(&String::from_utf8(own).unwrap());
    let prepared = Prepared::new(rules, &scan_limits(1024)).unwrap();
    assert!(bench.path.look_for(prepared).is_none());
    bench
}

fn stopped(bench: &Bench) -> u64 {
    [Reason::Threat, Reason::Signature, Reason::NotInspectable]
        .map(|reason| bench.dropped(reason))
        .iter()
        .sum()
}

#[test]
fn honest_conversations_raise_nothing_but_what_is_listed() {
    let mut bench = bench();
    let (mut told, mut halted) = (BTreeSet::new(), BTreeSet::new());
    for (sample, port) in samples().zip(20_000..) {
        let name = sample.path.with_extension("");
        let name: Vec<_> = name
            .iter()
            .rev()
            .take(2)
            .map(|part| part.to_string_lossy())
            .collect();
        let name = format!("{}/{}", name[1], name[0]);
        let before = stopped(&bench);
        play(&sample, port, &mut bench);
        bench.wait(200);
        if stopped(&bench) > before {
            halted.insert(name.clone());
        }
        for event in bench.events() {
            let what = match event.kind {
                EventKind::Threat => event
                    .finding
                    .map(|finding| finding.threat.name().to_owned()),
                EventKind::Alert => event
                    .alert
                    .map(|alert| alert.rules.describe(alert.hit.rule)),
                _ => None,
            };
            told.extend(what.map(|what| (name.clone(), what)));
        }
    }
    let listed: BTreeSet<_> = TOLD
        .iter()
        .map(|&(sample, what, _)| (sample.to_owned(), what.to_owned()))
        .collect();
    assert_eq!(told, listed, "told and listed differ");
    let listed: BTreeSet<_> = STOPPED
        .iter()
        .map(|&(sample, _)| sample.to_owned())
        .collect();
    assert_eq!(halted, listed, "stopped and listed differ");
}
