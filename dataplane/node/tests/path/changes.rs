//! Changes under way: policy, quarantine, addresses that become known.

use weir_node::event::EventKind;
use weir_policy::spec::{Action, Mode};
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*, frames};

fn mysql_talk(family: Family) -> Talk {
    Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306))
}

/// Logged in, one statement done.
fn log_in(bench: &mut Bench, talk: &mut Talk) {
    assert!(talk.open(bench));
    assert!(talk.server_passes(bench, &mysql_greeting()));
    assert!(talk.client_passes(bench, &mysql_login(false)));
    assert!(talk.server_passes(bench, &mysql_ok(2)));
}

#[test]
fn what_was_allowed_is_asked_again() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
        let mut talk = mysql_talk(family);
        log_in(&mut bench, &mut talk);
        bench.install(&Shop::new(Mode::Protect).build());
        let sent = talk.client_says(&mut bench, &mysql_query("SELECT 1"));
        assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
    }
}

#[test]
fn what_was_denied_is_asked_again() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::new(Mode::Protect).silent().build());
        let mut talk = mysql_talk(family);
        assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
        bench.install(&Shop::story(Mode::Protect).silent().build());
        // The client repeats its SYN, and all goes on as if it had been the first.
        log_in(&mut bench, &mut talk);
        let identified = bench.events_of(EventKind::Identified);
        assert!(identified[0].flow.from_start);
    }
}

#[test]
fn a_connection_that_the_policy_goes_on_allowing_loses_nothing() {
    let policies = [
        Shop::story(Mode::Protect).build(),
        Shop::story(Mode::Monitor).build(),
        Shop::story(Mode::Protect).renumbered(50).build(),
        Shop::new(Mode::Protect)
            .allow_any(AI_MODEL.identity(), PHOTO_DB.identity())
            .build(),
        Shop::new(Mode::Protect)
            .allow(AI_MODEL.identity(), PHOTO_DB.identity(), "mysql", 3306)
            .when("mysql.statement", "SELECT")
            .build(),
        Shop::new(Mode::Discover).build(),
    ];
    let mut bench = Bench::new(&policies[0]);
    let mut talk = mysql_talk(Family::V4);
    log_in(&mut bench, &mut talk);
    for round in 0..60 {
        bench.install(&policies[round * 7 % policies.len()]);
        assert!(
            talk.client_passes(&mut bench, &mysql_query("SELECT 1")),
            "round {round}"
        );
        bench.install(&policies[round * 5 % policies.len()]);
        assert!(
            talk.server_passes(&mut bench, &mysql_ok(1)),
            "round {round}"
        );
    }
}

fn tls_with_condition() -> Shop {
    Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "tls", 443)
        .when("tls.sni", "shop.")
}

fn tls_talk() -> Talk {
    Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 443),
    )
}

/// Whether encrypted data goes on passing in both directions.
fn goes_on(bench: &mut Bench, talk: &mut Talk) -> bool {
    (0..20).all(|_| {
        talk.client_passes(bench, &tls_data(200)) && talk.server_passes(bench, &tls_data(200))
    })
}

/// The request was read when the connection began: its answer stands as long as its rule does.
#[test]
fn an_encrypted_connection_keeps_what_its_request_was_granted() {
    for (name, passes) in [("shop.example.com", true), ("evil.example.com", false)] {
        let mut bench = Bench::new(&tls_with_condition().build());
        let mut talk = tls_talk();
        assert!(talk.open(&mut bench));
        assert_eq!(
            talk.client_passes(&mut bench, &tls_client_hello(name)),
            passes
        );
        if !passes {
            continue;
        }
        assert!(talk.server_passes(&mut bench, &tls_server_hello()));
        assert!(goes_on(&mut bench, &mut talk));
        let more = tls_with_condition().allow_any(FRONTEND.identity(), PHOTO_DB.identity());
        bench.install(&more.build());
        assert!(goes_on(&mut bench, &mut talk));
        // The rule's text has changed: what it would say to that request cannot be known.
        bench.install(&tls_with_condition().renumbered(10).build());
        assert!(!goes_on(&mut bench, &mut talk));
    }
}

/// Nothing of a settled connection was read; a policy that asks about requests has it read again.
#[test]
fn a_settled_connection_is_read_anew_where_requests_count() {
    let any = Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), FRONTEND.identity());
    let mut bench = Bench::new(&any.build());
    let mut talk = tls_talk();
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &tls_client_hello("shop.example.com")));
    assert!(talk.server_passes(&mut bench, &tls_server_hello()));
    assert!(goes_on(&mut bench, &mut talk));
    bench.install(&tls_with_condition().renumbered(10).build());
    assert!(!goes_on(&mut bench, &mut talk));
}

#[test]
fn a_connection_under_way_meets_the_conditions_of_a_new_policy() {
    let any = Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), FRONTEND.identity());
    let strict = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/")
        .renumbered(10);
    let mut bench = Bench::new(&any.build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 5000),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/admin")));
    assert!(talk.server_passes(&mut bench, &http_ok("yes")));
    bench.install(&strict.build());
    assert!(talk.client_passes(&mut bench, &http_get("/api/1")));
    assert!(talk.server_passes(&mut bench, &http_ok("yes")));
    let sent = talk.client_says(&mut bench, &http_get("/admin"));
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
}

#[test]
fn a_known_udp_conversation_keeps_its_name_over_policy_changes() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let query = frames::udp(
        AI_MODEL.port(Family::V4, 5353),
        RESOLVER.port(Family::V4, 53),
        &dns_query("a.example.com"),
    );
    for first in 0..5 {
        assert!(bench.send(CLIENTS, &query).is_passed(CLIENTS, &query));
        bench.install(&Shop::story(Mode::Protect).renumbered(first).build());
    }
}

#[test]
fn quarantine_lets_nothing_through_in_any_mode() {
    for mode in [Mode::Discover, Mode::Monitor, Mode::Protect] {
        let mut bench = Bench::new(&Shop::story(mode).build());
        let mut talk = mysql_talk(Family::V4);
        log_in(&mut bench, &mut talk);
        bench.install(&Shop::story(mode).quarantine(AI_MODEL).build());
        assert!(
            talk.client_says(&mut bench, &mysql_query("SELECT 1"))
                .0
                .is_empty()
        );
        assert!(talk.server_says(&mut bench, &mysql_ok(1)).0.is_empty());
        let address = |host: Host| host.address(Family::V4);
        let whole = frames::udp(
            AI_MODEL.port(Family::V4, 1000),
            PHOTO_DB.port(Family::V4, 2000),
            &[7; 64],
        );
        let quoted = talk.of_server(frames::ACK, talk.server_next, b"");
        let attempts = [
            frames::echo_request(address(AI_MODEL), address(FRONTEND), 1),
            frames::protocol(address(AI_MODEL), address(FRONTEND), 47, b"\x20\0\x88\x0b"),
            // Fragments that never become whole, and such as contradict each other.
            frames::fragment(&whole, 9, 0, true, &[7; 32]),
            frames::fragment(&whole, 9, 8, true, &[9; 32]),
            frames::fragment(&whole, 10, 0, true, &[7; 32]),
            // An error about a connection of the other end's.
            frames::too_big(address(AI_MODEL), address(PHOTO_DB), &quoted),
            // Flags that nobody sends.
            talk.of_client(frames::SYN | frames::FIN, 1, b""),
        ];
        for frame in attempts {
            assert!(
                bench.send(CLIENTS, &frame).0.is_empty(),
                "{mode:?} {frame:x?}"
            );
        }
        assert!(bench.wait(60_000).0.is_empty());
        assert_eq!(bench.path.held(), 0);
    }
}

#[test]
fn a_quarantined_host_says_nothing_about_other_hosts_connections() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::story(Mode::Discover).quarantine(FRONTEND).build());
        let mut talk = mysql_talk(family);
        log_in(&mut bench, &mut talk);
        let quoted = talk.of_client(frames::ACK, talk.client_next, b"x");
        for (host, passes) in [(FRONTEND, false), (PHOTO_DB, true)] {
            let source = host.address(family);
            let error = frames::too_big(source, AI_MODEL.address(family), &quoted);
            assert_eq!(
                bench.send(SERVERS, &error).is_passed(SERVERS, &error),
                passes
            );
        }
    }
}

fn with_unknown(hold_ms: u32) -> Shop {
    Shop::story(Mode::Protect).hold(hold_ms)
}

#[test]
fn packets_of_an_unknown_address_wait_and_are_judged_when_their_time_is_over() {
    for family in BOTH {
        let mut bench = Bench::new(&with_unknown(100).silent().build());
        let talk = Talk::new(STRANGER.port(family, 40_000), FRONTEND.port(family, 80));
        assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
        assert_eq!(bench.path.held(), 1);
        assert!(bench.wait(99).0.is_empty());
        assert_eq!(bench.path.held(), 1);
        assert!(bench.wait(2).0.is_empty());
        assert_eq!(bench.path.held(), 0);
        assert_eq!(bench.path.counts().dropped_total(), 1);
    }
}

#[test]
fn packets_of_an_unknown_address_pass_as_soon_as_policy_names_it() {
    for family in BOTH {
        let mut bench = Bench::new(&with_unknown(1000).build());
        let talk = Talk::new(STRANGER.port(family, 40_000), FRONTEND.port(family, 80));
        let syn = talk.syn();
        let query = frames::udp(
            STRANGER.port(family, 40_000),
            FRONTEND.port(family, 80),
            b"which one comes first?",
        );
        assert!(
            bench
                .send_all(&[(CLIENTS, syn.clone()), (CLIENTS, query.clone())])
                .0
                .is_empty()
        );
        let known = with_unknown(1000)
            .know_stranger(RESOLVER.identity())
            .allow_any(RESOLVER.identity(), FRONTEND.identity());
        bench.install(&known.build());
        // In the order they came.
        assert_eq!(bench.wait(1).0, [(SERVERS, syn), (SERVERS, query)]);
    }
}

#[test]
fn a_policy_that_still_does_not_know_the_address_leaves_it_waiting() {
    let mut bench = Bench::new(&with_unknown(1000).build());
    let talk = Talk::new(STRANGER.port(Family::V4, 1), FRONTEND.port(Family::V4, 80));
    bench.send(CLIENTS, &talk.syn());
    bench.install(&with_unknown(1000).build());
    assert!(bench.wait(1).0.is_empty());
    assert_eq!(bench.path.held(), 1);
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let mut bench = Bench::new(&with_unknown(1000).silent().build());
    for port in 1..=20 {
        let talk = Talk::new(
            STRANGER.port(Family::V4, port),
            FRONTEND.port(Family::V4, 80),
        );
        bench.send(CLIENTS, &talk.syn());
    }
    assert_eq!(bench.path.held(), 8);
    // The others were judged at once.
    assert_eq!(bench.path.counts().dropped_total(), 12);
    let mut out = weir_node::io::Outbox::new(2);
    bench.path.shut_down(bench.now_us, &mut out);
    assert_eq!(bench.path.held(), 0);
    assert_eq!(bench.dropped(Reason::Shutdown), 8);
}

#[test]
fn a_name_learned_from_an_answer_becomes_the_address_until_it_expires() {
    for family in BOTH {
        let policy = Shop::story(Mode::Protect)
            .allow_any(AI_MODEL.identity(), API)
            .silent();
        let mut bench = Bench::new(&policy.build());
        let stranger = STRANGER.port(family, 443);
        let attempt = |bench: &mut Bench, port| {
            let syn = Talk::new(AI_MODEL.port(family, port), stranger).syn();
            bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn)
        };
        let resolve = |bench: &mut Bench, name: &str| {
            let (client, server) = (AI_MODEL.port(family, 5353), RESOLVER.port(family, 53));
            bench.send(CLIENTS, &frames::udp(client, server, &dns_query(name)));
            let answer = frames::udp(server, client, &dns_answer(name, stranger.ip(), 60));
            assert!(bench.send(SERVERS, &answer).is_passed(SERVERS, &answer));
        };
        assert!(!attempt(&mut bench, 1000));
        resolve(&mut bench, "other.example.com");
        assert!(!attempt(&mut bench, 1001));
        resolve(&mut bench, "api.example.com");
        assert!(attempt(&mut bench, 1002));
        bench.wait(59_000);
        assert!(attempt(&mut bench, 1003));
        bench.wait(2_000);
        assert!(!attempt(&mut bench, 1004));
    }
}

#[test]
fn nobody_gives_itself_a_name() {
    let policy = Shop::story(Mode::Protect)
        .allow_any(AI_MODEL.identity(), API)
        .rule(Action::Allow, AI_MODEL.identity(), 0, &["dns"], Some(53))
        .silent();
    let answer = dns_answer("api.example.com", STRANGER.address(Family::V4), 60);
    let (client, server) = (
        AI_MODEL.port(Family::V4, 5353),
        RESOLVER.port(Family::V4, 53),
    );
    let forged = [
        // The client sends the answer itself, alone or behind a question.
        vec![(CLIENTS, frames::udp(client, server, &answer))],
        vec![
            (
                CLIENTS,
                frames::udp(client, server, &dns_query("api.example.com")),
            ),
            (CLIENTS, frames::udp(client, server, &answer)),
        ],
        // A server that nobody knows answers, though it may be asked.
        vec![
            (
                CLIENTS,
                frames::udp(
                    client,
                    Host(201).port(Family::V4, 53),
                    &dns_query("api.example.com"),
                ),
            ),
            (
                SERVERS,
                frames::udp(Host(201).port(Family::V4, 53), client, &answer),
            ),
        ],
    ];
    for attack in forged {
        let mut bench = Bench::new(&policy.build());
        for (port, frame) in &attack {
            bench.send(*port, frame);
        }
        let syn = Talk::new(client, STRANGER.port(Family::V4, 443)).syn();
        assert!(bench.send(CLIENTS, &syn).0.is_empty(), "{attack:x?}");
    }
}
