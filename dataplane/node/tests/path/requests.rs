//! Conditions: every request is judged, and what cannot be read meets none.

use weir_node::event::EventKind;
use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

fn api_only(mode: Mode) -> Shop {
    Shop::new(mode)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/")
}

fn selects_only() -> Shop {
    Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), PHOTO_DB.identity(), "mysql", 3306)
        .when("mysql.statement", "SELECT")
}

fn http_talk(family: Family) -> Talk {
    Talk::new(AI_MODEL.port(family, 40_000), FRONTEND.port(family, 5000))
}

fn mysql_talk() -> Talk {
    Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        PHOTO_DB.port(Family::V4, 3306),
    )
}

#[test]
fn each_request_of_a_kept_connection_is_judged() {
    for family in BOTH {
        let mut bench = Bench::new(&api_only(Mode::Protect).build());
        let mut talk = http_talk(family);
        assert!(talk.open(&mut bench));
        for photo in 0..3 {
            assert!(talk.client_passes(&mut bench, &http_get(&format!("/api/{photo}"))));
            assert!(talk.server_passes(&mut bench, &http_ok("a photo")));
        }
        let sent = talk.client_says(&mut bench, &http_get("/admin"));
        assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
        let told = bench.events_of(EventKind::Verdict);
        assert_eq!(told.len(), 1);
        let path = told[0].detail.fields().find(|(name, _)| *name == "path");
        assert_eq!(path, Some(("path", "/admin")));
    }
}

#[test]
fn a_pipelined_request_is_judged_with_the_one_before() {
    let mut bench = Bench::new(&api_only(Mode::Protect).build());
    let mut talk = http_talk(Family::V4);
    assert!(talk.open(&mut bench));
    let both = [http_get("/api/1"), http_get("/admin")].concat();
    let sent = talk.client_says(&mut bench, &both);
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
}

#[test]
fn a_request_in_single_bytes_is_judged_at_its_end() {
    let mut bench = Bench::new(&api_only(Mode::Protect).build());
    let mut talk = http_talk(Family::V6);
    assert!(talk.open(&mut bench));
    let request = http_get("/admin");
    let passed = request
        .chunks(1)
        .take_while(|byte| talk.client_passes(&mut bench, byte))
        .count();
    assert!(passed < request.len(), "the request arrived whole");
}

#[test]
fn monitor_tells_each_denied_request() {
    let mut bench = Bench::new(&api_only(Mode::Monitor).build());
    let mut talk = http_talk(Family::V4);
    assert!(talk.open(&mut bench));
    for path in ["/admin", "/api/1", "/etc"] {
        assert!(talk.client_passes(&mut bench, &http_get(path)));
        assert!(talk.server_passes(&mut bench, &http_ok("")));
    }
    let told = bench.events_of(EventKind::Verdict);
    let paths: Vec<_> = told
        .iter()
        .filter_map(|event| event.detail.fields().find(|(name, _)| *name == "path"))
        .map(|(_, path)| path.to_owned())
        .collect();
    assert_eq!(paths, ["/admin", "/etc"]);
}

#[test]
fn statements_are_judged_by_their_kind() {
    let mut bench = Bench::new(&selects_only().build());
    let mut talk = mysql_talk();
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
    assert!(talk.client_passes(&mut bench, &mysql_login(false)));
    assert!(talk.server_passes(&mut bench, &mysql_ok(2)));
    assert!(talk.client_passes(&mut bench, &mysql_query("SELECT 1")));
    assert!(talk.server_passes(&mut bench, &mysql_ok(1)));
    let sent = talk.client_says(&mut bench, &mysql_query("DROP TABLE photos"));
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
}

#[test]
fn requests_that_compression_hides_are_denied() {
    let mut bench = Bench::new(&selects_only().build());
    let mut talk = mysql_talk();
    assert!(talk.open(&mut bench));
    assert!(talk.server_passes(&mut bench, &mysql_greeting()));
    assert!(talk.client_passes(&mut bench, &mysql_login(true)));
    assert!(talk.server_passes(&mut bench, &mysql_ok(2)));
    let compressed = [&[20, 0, 0, 0, 0, 0, 0][..], &[7; 20]].concat();
    let sent = talk.client_says(&mut bench, &compressed);
    assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
}

/// A connection that is older than the node: the parser names it and reads no request of it.
#[test]
fn encryption_picked_up_midway_meets_no_condition() {
    let policy = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "tls", 443)
        .when("tls.sni", "frontend");
    let mut bench = Bench::new(&policy.build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 443),
    );
    let passed = (0..10)
        .take_while(|_| {
            talk.client_passes(&mut bench, &tls_data(200))
                && talk.server_passes(&mut bench, &tls_data(200))
        })
        .count();
    assert!(passed < 10, "unread requests passed for good");
    assert!(bench.dropped(Reason::PolicyDefault) > 0);
}

/// Where the parser can find the next request itself, it is judged.
#[test]
fn http_picked_up_midway_is_judged_at_its_next_request() {
    for (path, passes) in [("/api/1", true), ("/admin", false)] {
        let mut bench = Bench::new(&api_only(Mode::Protect).build());
        let mut talk = http_talk(Family::V4);
        // The end of an answer that began before.
        assert!(talk.server_passes(&mut bench, b"...the rest of a photo"));
        assert_eq!(talk.client_passes(&mut bench, &http_get(path)), passes);
    }
}

#[test]
fn a_dns_condition_drops_the_one_datagram() {
    let policy = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), RESOLVER.identity(), "dns", 53)
        .when("dns.name", "api.");
    for family in BOTH {
        let mut bench = Bench::new(&policy.build());
        let ask = |name: &str| {
            frames::udp(
                AI_MODEL.port(family, 5353),
                RESOLVER.port(family, 53),
                &dns_query(name),
            )
        };
        let (good, bad) = (ask("api.example.com"), ask("tunnel.evil.org"));
        for _ in 0..2 {
            assert!(bench.send(CLIENTS, &good).is_passed(CLIENTS, &good));
            assert!(bench.send(CLIENTS, &bad).0.is_empty());
        }
        let answer = frames::udp(
            RESOLVER.port(family, 53),
            AI_MODEL.port(family, 5353),
            &dns_answer("api.example.com", STRANGER.address(family), 60),
        );
        assert!(bench.send(SERVERS, &answer).is_passed(SERVERS, &answer));
        assert_eq!(bench.path.counts().dropped_total(), 2);
    }
}

#[test]
fn a_datagram_that_is_none_of_the_application_falls_alone() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let send = |payload: &[u8]| {
        frames::udp(
            AI_MODEL.port(Family::V4, 5353),
            RESOLVER.port(Family::V4, 53),
            payload,
        )
    };
    let (good, bad) = (
        send(&dns_query("a.example.com")),
        send(b"out with the photos"),
    );
    assert!(bench.send(CLIENTS, &good).is_passed(CLIENTS, &good));
    assert!(bench.send(CLIENTS, &bad).0.is_empty());
    assert!(bench.send(CLIENTS, &good).is_passed(CLIENTS, &good));
}
