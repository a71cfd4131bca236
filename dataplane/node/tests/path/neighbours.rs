//! What is neither TCP nor UDP: errors about flows, address resolution, rare protocols, other frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_policy::spec::{Action, Mode};
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

#[test]
fn an_error_about_an_allowed_connection_passes() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
        let mut talk = Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306));
        assert!(talk.open(&mut bench));
        assert!(talk.server_passes(&mut bench, &mysql_greeting()));
        let quoted = talk.of_client(frames::ACK, talk.client_next, &[7; 1000]);
        // From a router that nobody knows.
        let router = Host(254).address(family);
        let error = frames::too_big(router, AI_MODEL.address(family), &quoted);
        assert!(bench.send(SERVERS, &error).is_passed(SERVERS, &error));
        // Toward the wrong end, and about a connection that is not there.
        let wrong = frames::too_big(router, PHOTO_DB.address(family), &quoted);
        assert!(bench.send(CLIENTS, &wrong).0.is_empty());
        talk.client.set_port(9);
        let stray = talk.of_client(frames::ACK, talk.client_next, &[7; 1000]);
        let stray = frames::too_big(router, AI_MODEL.address(family), &stray);
        assert!(bench.send(SERVERS, &stray).0.is_empty());
        // Only the connection has an entry, and what was judged on its own.
        assert!(bench.gauge("flows") <= 3);
    }
}

#[test]
fn an_error_about_a_denied_connection_is_dropped() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::new(Mode::Protect).silent().build());
        let talk = Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306));
        assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
        let error = frames::too_big(
            Host(254).address(family),
            AI_MODEL.address(family),
            &talk.syn(),
        );
        assert!(bench.send(SERVERS, &error).0.is_empty());
        assert_eq!(bench.dropped(Reason::Terminated), 1);
    }
}

#[test]
fn addresses_can_be_resolved_without_a_rule() {
    let mut bench = Bench::new(&Shop::new(Mode::Protect).build());
    let solicitation =
        frames::neighbour_solicitation(AI_MODEL.address(Family::V6), PHOTO_DB.address(Family::V6));
    for frame in [frames::arp_request(), solicitation] {
        assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
    }
}

#[test]
fn frames_that_are_not_ip_follow_the_link_policy() {
    let discovery = frames::link(0x88cc, b"\x02\x07\x04\x02\0\0\0\0\x01");
    let mut bench = Bench::new(&Shop::new(Mode::Protect).build());
    assert!(bench.send(CLIENTS, &discovery).0.is_empty());
    assert_eq!(bench.dropped(Reason::LinkDenied), 1);
    let mut policy = Shop::new(Mode::Protect);
    policy.0.link.ether_types = vec![0x88cc];
    bench.install(&policy.build());
    assert!(
        bench
            .send(CLIENTS, &discovery)
            .is_passed(CLIENTS, &discovery)
    );
    bench.install(&Shop::new(Mode::Monitor).build());
    assert!(
        bench
            .send(CLIENTS, &discovery)
            .is_passed(CLIENTS, &discovery)
    );
    assert_eq!(bench.spared(Reason::LinkDenied), 1);
}

#[test]
fn every_ip_protocol_needs_a_rule() {
    // A GRE version that is no tunnel, ESP, OSPF, SCTP, and one kept for experiments.
    let packets: [(u8, &[u8]); 5] = [
        (47, b"\x20\x01\x88\x0b\0\0\0\0\0\0\0\0"),
        (50, b"\0\0\0\x01\0\0\0\x01secret"),
        (89, b"\x02\x01\0\x2c"),
        (132, b"\x0b\xb8\x0b\xb8\0\0\0\0\0\0\0\0\x01\0\0\x04"),
        (253, b"anything"),
    ];
    for family in BOTH {
        for (number, payload) in packets {
            let frame = frames::protocol(
                AI_MODEL.address(family),
                FRONTEND.address(family),
                number,
                payload,
            );
            let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
            assert!(
                bench.send(CLIENTS, &frame).0.is_empty(),
                "{number} {family:?}"
            );
            assert_eq!(bench.dropped(Reason::PolicyDefault), 1, "{number}");
            let mut allowed = Shop::story(Mode::Protect);
            allowed = allowed.allow_any(AI_MODEL.identity(), FRONTEND.identity());
            for rule in allowed.0.rules.iter_mut().rev().take(2) {
                rule.protocols = vec![number];
            }
            let mut bench = Bench::new(&allowed.build());
            for _ in 0..2 {
                assert!(
                    bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame),
                    "{number}"
                );
            }
        }
    }
}

#[test]
fn metadata_and_link_local_addresses_are_like_any_other() {
    let destinations: [(Family, IpAddr); 4] = [
        (Family::V4, Ipv4Addr::new(169, 254, 169, 254).into()),
        (Family::V4, Ipv4Addr::new(224, 0, 0, 251).into()),
        (
            Family::V6,
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        ),
        (
            Family::V6,
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb).into(),
        ),
    ];
    for (family, address) in destinations {
        let mut bench = Bench::new(&Shop::story(Mode::Protect).silent().build());
        let talk = Talk::new(AI_MODEL.port(family, 1), (address, 80).into());
        let query = frames::udp(AI_MODEL.port(family, 1), (address, 5353).into(), b"x");
        let ping = frames::echo_request(AI_MODEL.address(family), address, 1);
        for frame in [talk.syn(), query, ping] {
            assert!(bench.send(CLIENTS, &frame).0.is_empty(), "{address}");
        }
        let allowed = Shop::new(Mode::Protect).rule(
            Action::Allow,
            AI_MODEL.identity(),
            0,
            &["http"],
            Some(80),
        );
        bench.install(&allowed.build());
        let syn = Talk::new(AI_MODEL.port(family, 2), (address, 80).into()).syn();
        assert!(
            bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn),
            "{address}"
        );
    }
}

#[test]
fn ping_passes_where_icmp_is_allowed() {
    for family in BOTH {
        let ping = frames::echo_request(AI_MODEL.address(family), FRONTEND.address(family), 1);
        let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
        assert!(bench.send(CLIENTS, &ping).0.is_empty());
        let allowed = Shop::new(Mode::Protect).rule(
            Action::Allow,
            AI_MODEL.identity(),
            FRONTEND.identity(),
            &["icmp"],
            None,
        );
        bench.install(&allowed.build());
        assert!(
            bench.send(CLIENTS, &ping).is_passed(CLIENTS, &ping),
            "{family:?}"
        );
    }
}
