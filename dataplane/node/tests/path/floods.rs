//! Threats that show in packets: what is dropped where the mode blocks, and what goes on.

use std::net::IpAddr;

use weir_node::event::EventKind;
use weir_node::limits::Limits;
use weir_policy::spec::{Mode, ThreatAction, ThreatPolicySpec};
use weir_threat::Threat;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS, small_limits};
use crate::common::content::{http_get, http_ok};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk};

fn limits() -> Limits {
    Limits {
        flows: 8192,
        ..small_limits()
    }
}

fn told(bench: &mut Bench, threat: Threat) -> usize {
    let findings = bench.events_of(EventKind::Threat);
    findings
        .iter()
        .filter(|event| {
            event
                .finding
                .as_ref()
                .is_some_and(|finding| finding.threat == threat)
        })
        .count()
}

/// SYNs of strangers to the database, who never go on: how many left, and how often that was told.
fn flood(bench: &mut Bench, family: Family) -> (usize, usize) {
    let (mut left, mut findings) = (0, 0);
    for number in 0..4000_u16 {
        let [a, b] = number.to_be_bytes();
        let stranger = match family {
            Family::V4 => IpAddr::from([203, 0, a, b]),
            Family::V6 => IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]),
        };
        let talk = Talk::new((stranger, 40_000).into(), PHOTO_DB.port(family, 3306));
        left += bench.send(CLIENTS, &talk.syn()).0.len();
        bench.now_us += 400;
        findings += told(bench, Threat::SynFlood);
    }
    (left, findings)
}

#[test]
fn a_flood_takes_few_flows_and_leaves_known_clients_alone() {
    for family in BOTH {
        let mut bench = Bench::watching(&Shop::story(Mode::Protect).build(), limits());
        let known = |port| Talk::new(AI_MODEL.port(family, port), PHOTO_DB.port(family, 3306));
        assert!(known(40_000).open(&mut bench));
        assert_eq!(flood(&mut bench, family).1, 1);
        let turned_away = bench.dropped(Reason::Threat);
        assert!(turned_away > 1800, "{turned_away}");
        assert!(bench.gauge("flows") <= 4001 - turned_away);
        assert!(known(40_001).open(&mut bench));
    }
}

#[test]
fn a_flood_is_told_and_passes_where_the_mode_does_not_block() {
    for mode in [Mode::Monitor, Mode::Discover] {
        let mut bench = Bench::watching(&Shop::story(mode).build(), limits());
        assert_eq!(flood(&mut bench, Family::V4), (4000, 1));
        assert_eq!(bench.dropped(Reason::Threat), 0);
        assert!(bench.spared(Reason::Threat) > 1800);
    }
}

/// Errors about a client's own datagrams say which of the ports it tried are closed.
#[test]
fn ports_that_cannot_be_reached_are_a_scan() {
    let mut bench = Bench::watching(&Shop::story(Mode::Discover).build(), limits());
    let [client, server] = [AI_MODEL, PHOTO_DB].map(|host| host.address(Family::V4));
    for port in 1..=12 {
        let probe = frames::udp((client, 50_000).into(), (server, port).into(), b"");
        assert!(bench.send(CLIENTS, &probe).is_passed(CLIENTS, &probe));
        let closed = frames::unreachable(server, client, &probe);
        assert!(bench.send(SERVERS, &closed).is_passed(SERVERS, &closed));
    }
    assert_eq!(told(&mut bench, Threat::PortScan), 1);
}

/// It cannot be decoded, but who sent it is told.
#[test]
fn a_first_fragment_that_hides_its_ports_is_told() {
    let mut bench = Bench::watching(&Shop::story(Mode::Discover).build(), limits());
    let talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    let tiny = frames::fragment(&talk.syn(), 7, 0, true, &[0; 8]);
    bench.send(CLIENTS, &tiny);
    let findings = bench.events_of(EventKind::Threat);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        findings[0].finding.as_ref().unwrap().threat,
        Threat::TinyFragment
    );
    let sender = weir_wire::to_ip_address(findings[0].flow.client_address);
    assert_eq!(sender, AI_MODEL.address(Family::V4));
}

fn policy(targets: &[u32], threat: &str, action: ThreatAction) -> ThreatPolicySpec {
    ThreatPolicySpec {
        id: 1,
        name: "threatpolicy shop/floods".to_owned(),
        targets: targets.to_vec(),
        actions: vec![(threat.to_owned(), action)],
        others: None,
        thresholds: Vec::new(),
    }
}

/// What policy says of a flood holds for its targets alone: the same flood at somebody else is dropped.
#[test]
fn policy_decides_for_its_targets_what_a_flood_does() {
    for (action, findings) in [(ThreatAction::Alert, 1), (ThreatAction::Ignore, 0)] {
        let shop = Shop::story(Mode::Protect).allow_any(0, PHOTO_DB.identity());
        let own = shop
            .clone()
            .threats(policy(&[PHOTO_DB.identity()], "syn-flood", action));
        let others = shop.threats(policy(&[FRONTEND.identity()], "syn-flood", action));
        let mut bench = Bench::watching(&own.build(), limits());
        assert_eq!(flood(&mut bench, Family::V4).1, findings);
        assert_eq!(bench.dropped(Reason::Threat), 0);
        let mut bench = Bench::watching(&others.build(), limits());
        assert_eq!(flood(&mut bench, Family::V4).1, 1);
        assert!(bench.dropped(Reason::Threat) > 1800);
    }
}

/// A policy that comes while a connection lasts holds from its next packet on, and one that goes too.
#[test]
fn policy_that_changes_holds_for_connections_that_last() {
    let shop = Shop::story(Mode::Protect).allow_any(AI_MODEL.identity(), FRONTEND.identity());
    let with = |action| {
        let targets = [FRONTEND.identity()];
        shop.clone()
            .threats(policy(&targets, "path-traversal", action))
    };
    let mut bench = Bench::watching(&with(ThreatAction::Ignore).build(), limits());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 80),
    );
    assert!(talk.open(&mut bench));
    let climbing = http_get("/files/../../../../etc/passwd");
    let mut climb = |bench: &mut Bench| {
        let passes = talk.client_passes(bench, &climbing);
        if passes {
            assert!(talk.server_passes(bench, &http_ok("no")));
        }
        (passes, told(bench, Threat::PathTraversal))
    };
    assert_eq!(climb(&mut bench), (true, 0));
    bench.install(&with(ThreatAction::Alert).build());
    assert_eq!(climb(&mut bench), (true, 1));
    bench.install(&shop.build());
    assert_eq!(climb(&mut bench), (false, 1));
}
