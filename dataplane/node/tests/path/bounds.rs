//! What is bounded: flows, their time, sessions.

use weir_node::event::EventKind;
use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS, inline, small_limits, tap};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};
use weir_node::handover::Ownership;

#[test]
fn a_full_table_evicts_and_counts() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    for port in 0..2_000_u16 {
        let talk = Talk::new(
            AI_MODEL.port(Family::V4, 10_000 + port),
            PHOTO_DB.port(Family::V4, 3306),
        );
        assert_eq!(bench.send(CLIENTS, &talk.syn()).0.len(), 1);
        bench.events();
        assert!(bench.gauge("flows") <= bench.gauge("flow_capacity"));
    }
    let evicted = bench.gauge("flows_evicted");
    assert_eq!(evicted, 2_000 - bench.gauge("flows"));
    assert_eq!(bench.gauge("flow_capacity"), 256);
}

#[test]
fn silent_flows_end_with_an_event() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V6, 40_000),
        PHOTO_DB.port(Family::V6, 3306),
    );
    assert!(talk.open(&mut bench));
    let ping = frames::echo_request(
        AI_MODEL.address(Family::V6),
        FRONTEND.address(Family::V6),
        1,
    );
    bench.send(CLIENTS, &ping);
    let query = frames::udp(
        AI_MODEL.port(Family::V6, 5353),
        RESOLVER.port(Family::V6, 53),
        &dns_query("a.example.com"),
    );
    bench.send(CLIENTS, &query);
    assert_eq!(bench.gauge("flows"), 3);
    let ended = |bench: &mut Bench, seconds: u64| {
        for _ in 0..seconds {
            bench.wait(1000);
        }
        let ended = bench.events_of(EventKind::End);
        ended
            .iter()
            .map(|event| event.flow.protocol)
            .collect::<Vec<_>>()
    };
    assert_eq!(ended(&mut bench, 4), [0_u8; 0]);
    assert_eq!(ended(&mut bench, 3), [58]);
    assert_eq!(ended(&mut bench, 24), [17]);
    assert_eq!(ended(&mut bench, 1100), [0_u8; 0]);
    assert_eq!(ended(&mut bench, 80), [6]);
    assert_eq!(bench.gauge("flows"), 0);
    assert_eq!(bench.gauge("reassembly_bytes"), 0);
}

#[test]
fn a_udp_conversation_both_ways_lives_longer() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    let (client, server) = (
        AI_MODEL.port(Family::V4, 5353),
        RESOLVER.port(Family::V4, 53),
    );
    bench.send(CLIENTS, &frames::udp(client, server, &dns_query("a.b")));
    let answer = dns_answer("a.b", STRANGER.address(Family::V4), 5);
    bench.send(SERVERS, &frames::udp(server, client, &answer));
    for _ in 0..60 {
        bench.wait(1000);
    }
    assert_eq!(bench.gauge("flows"), 1);
    for _ in 0..70 {
        bench.wait(1000);
    }
    assert_eq!(bench.gauge("flows"), 0);
}

/// Where no session is free the application stays unknown, and unknown is not allowed.
#[test]
fn without_a_free_session_nothing_is_taken_for_what_it_may_not_be() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let mut talks: Vec<_> = (0..70)
        .map(|port| {
            Talk::new(
                AI_MODEL.port(Family::V4, 20_000 + port),
                PHOTO_DB.port(Family::V4, 3306),
            )
        })
        .collect();
    let mut passed = 0;
    for talk in &mut talks {
        assert!(talk.open(&mut bench));
        passed += usize::from(talk.server_passes(&mut bench, &mysql_greeting()));
    }
    assert_eq!(passed, 64);
    assert_eq!(bench.dropped(Reason::PolicyDefault), 6);
}

#[test]
fn a_tap_sends_nothing_and_stops_nothing() {
    let mut bench = Bench::with(tap(), small_limits(), Ownership::alone());
    bench.install(&Shop::new(Mode::Protect).quarantine(PHOTO_DB).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    talk.open(&mut bench);
    talk.client_says(&mut bench, REDIS);
    let garbage = vec![0xff; 20];
    assert!(bench.send(CLIENTS, &garbage).0.is_empty());
    let counts = bench.path.counts();
    assert_eq!((counts.transmitted, counts.injected), (0, 0));
    assert_eq!(counts.dropped_total(), 0);
    assert_eq!(counts.tapped, counts.received);
    assert!(!bench.events_of(EventKind::Verdict).is_empty());
}

#[test]
fn the_end_gives_everything_back() {
    let mut bench = Bench::with(inline(false), small_limits(), Ownership::alone());
    bench.install(&Shop::story(Mode::Protect).hold(1000).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    assert!(talk.open(&mut bench));
    bench.send(
        CLIENTS,
        &Talk::new(STRANGER.port(Family::V4, 1), talk.server).syn(),
    );
    let whole = frames::udp(talk.client, talk.server, &[7; 600]);
    bench.send(CLIENTS, &frames::fragments(&whole, &[512], 3)[0]);
    assert_eq!(bench.path.held(), 2);
    bench.path.shut_down(bench.now_us, &mut bench.out);
    assert_eq!(bench.path.held(), 0);
    assert!(bench.path.counts().balances(0));
    assert_eq!(bench.gauge("flows"), 0);
    assert_eq!(bench.events_of(EventKind::End).len(), 1);
}
