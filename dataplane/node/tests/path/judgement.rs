//! Who may speak what with whom: the reference story, over both families and in every wrapping.

use weir_node::event::EventKind;
use weir_policy::spec::{Action, Mode};
use weir_wire::{Reason, tcp_flags};

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames::{self, WRAPS};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

#[test]
fn an_allowed_connection_passes_bit_for_bit() {
    for family in BOTH {
        for wrap in WRAPS {
            let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
            let mut talk =
                Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306)).wrapped(wrap);
            assert!(talk.open(&mut bench), "{family:?} {wrap:?}");
            assert!(talk.server_passes(&mut bench, &mysql_greeting()));
            assert!(talk.client_passes(&mut bench, &mysql_login(false)));
            assert!(talk.server_passes(&mut bench, &mysql_ok(2)));
            assert!(talk.client_passes(&mut bench, &mysql_query("SELECT * FROM photos")));
            assert!(talk.server_passes(&mut bench, &mysql_ok(1)));
            assert!(talk.close(&mut bench));
            assert_eq!(bench.path.counts().dropped_total(), 0);
            let told = bench.events();
            let identified = told
                .iter()
                .find(|event| event.kind == EventKind::Identified);
            let application = identified.unwrap().flow.application.unwrap();
            assert_eq!(weir_l7::registry::name(application), "mysql");
            assert!(told.iter().all(|event| event.kind != EventKind::Verdict));
        }
    }
}

#[test]
fn a_syn_that_no_rule_allows_is_answered_by_a_reset() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
        let talk = Talk::new(FRONTEND.port(family, 40_000), PHOTO_DB.port(family, 3306));
        let sent = bench.send(CLIENTS, &talk.syn());
        // The server never saw the connection: only the client is told.
        let [(CLIENTS, reset)] = sent.resets()[..] else {
            panic!("{sent:?}");
        };
        let expected = talk.client_next.wrapping_add(1);
        assert_eq!(reset.tcp.flags, tcp_flags::RST | tcp_flags::ACK);
        assert_eq!(reset.tcp.acknowledgement, expected);
        assert_eq!(bench.dropped(Reason::PolicyDefault), 1);
        let told = bench.events_of(EventKind::Verdict);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].reason, Some(Reason::PolicyDefault));
        // Who tries on is told again, and told of once.
        assert_eq!(bench.send(CLIENTS, &talk.syn()).resets().len(), 1);
        assert_eq!(bench.dropped(Reason::Terminated), 1);
        assert!(bench.events_of(EventKind::Verdict).is_empty());
    }
}

#[test]
fn silence_where_the_policy_says_so() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).silent().build());
    for family in BOTH {
        let talk = Talk::new(FRONTEND.port(family, 40_000), PHOTO_DB.port(family, 3306));
        assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
        assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
    }
    assert_eq!(bench.path.counts().injected, 0);
}

#[test]
fn another_application_on_an_allowed_port_ends_at_the_first_byte_that_shows_it() {
    for family in BOTH {
        for wrap in WRAPS {
            let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
            let mut talk =
                Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306)).wrapped(wrap);
            assert!(talk.open(&mut bench));
            let sent = talk.client_says(&mut bench, REDIS);
            assert!(talk.is_reset_at_both_ends(&sent), "{wrap:?}: {sent:?}");
            // Nothing of it passes any more, in either direction; only who sends on is told.
            let again = talk.client_says(&mut bench, REDIS);
            assert_eq!(again.resets().len(), 1);
            let back = talk.server_says(&mut bench, b"+OK\r\n");
            assert_eq!(back.resets()[0].0, SERVERS);
            assert_eq!(back.0.len(), 1);
            let verdicts = bench.events_of(EventKind::Verdict);
            assert_eq!(verdicts.len(), 1);
            let flow = &verdicts[0].flow;
            assert_eq!(flow.decision.rule_action, Action::Deny);
        }
    }
}

#[test]
fn bytes_that_turn_to_another_application_end_the_connection() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
    assert!(talk.client_passes(&mut bench, &mysql_login(false)));
    assert!(talk.server_passes(&mut bench, &mysql_ok(2)));
    let sent = talk.client_says(&mut bench, REDIS);
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
    assert_eq!(bench.dropped(Reason::ApplicationChanged), 1);
}

#[test]
fn after_a_denial_the_same_ports_may_begin_anew() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    assert!(talk.open(&mut bench));
    let sent = talk.client_says(&mut bench, REDIS);
    assert!(talk.is_reset_at_both_ends(&sent));
    talk.client_next = talk.client_next.wrapping_add(100_000);
    talk.server_next = 77;
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
}

#[test]
fn what_was_denied_holds_no_session() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    // Many more than there are sessions.
    for port in 0..200 {
        let mut talk = Talk::new(
            AI_MODEL.port(Family::V4, 20_000 + port),
            PHOTO_DB.port(Family::V4, 3306),
        );
        assert!(talk.open(&mut bench));
        talk.client_says(&mut bench, REDIS);
    }
    assert_eq!(bench.gauge("reassembly_bytes"), 0);
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
}

#[test]
fn monitor_tells_what_it_would_deny_and_lets_it_pass() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    let mut talk = Talk::new(
        FRONTEND.port(Family::V6, 40_000),
        PHOTO_DB.port(Family::V6, 3306),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, REDIS));
    let told = bench.events_of(EventKind::Verdict);
    assert!(!told.is_empty());
    assert!(told.iter().all(|event| event.flow.decision.would_deny()));
}

#[test]
fn discover_tells_no_denial() {
    let mut bench = Bench::new(&Shop::story(Mode::Discover).build());
    let mut talk = Talk::new(
        FRONTEND.port(Family::V6, 40_000),
        PHOTO_DB.port(Family::V6, 3306),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, REDIS));
    let told = bench.events();
    assert!(told.iter().all(|event| event.kind != EventKind::Verdict));
    assert!(told.iter().any(|event| event.kind == EventKind::Identified));
}

#[test]
fn a_wrong_checksum_opens_nothing_and_changes_nothing() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    );
    let mut spoiled = talk.syn();
    // The sequence number; the checksum no longer fits.
    spoiled[14 + 20 + 5] ^= 1;
    assert!(bench.send(CLIENTS, &spoiled).0.is_empty());
    assert_eq!(bench.gauge("flows"), 0);
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
    let mut reset = talk.of_client(frames::RST | frames::ACK, talk.client_next, b"");
    reset[14 + 20 + 16] ^= 1;
    bench.send(CLIENTS, &reset);
    assert!(talk.client_passes(&mut bench, &mysql_login(false)));
    assert_eq!(bench.dropped(Reason::TransportChecksum), 2);
}

#[test]
fn nothing_passes_a_closed_pair_before_the_first_policy() {
    use crate::common::bench::{inline, small_limits};
    use weir_node::handover::Ownership;
    for fail_open in [false, true] {
        let mut bench = Bench::with(inline(fail_open), small_limits(), Ownership::alone());
        let talk = Talk::new(
            AI_MODEL.port(Family::V4, 1),
            PHOTO_DB.port(Family::V4, 3306),
        );
        for frame in [talk.syn(), frames::arp_request()] {
            assert_eq!(
                bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame),
                fail_open
            );
        }
        assert_eq!(
            bench.dropped(Reason::NoPolicy),
            if fail_open { 0 } else { 2 }
        );
    }
}
