//! Segments in any order, repeated, cut: the endpoint reads the bytes that were judged and no others.

use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames::ACK;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

fn api_only() -> Bench {
    let policy = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/");
    Bench::new(&policy.build())
}

fn opened(bench: &mut Bench, family: Family) -> Talk {
    let mut talk = Talk::new(AI_MODEL.port(family, 40_000), FRONTEND.port(family, 5000));
    assert!(talk.open(bench));
    talk
}

#[test]
fn a_retransmission_with_other_bytes_is_dropped() {
    for family in BOTH {
        let mut bench = api_only();
        let talk = opened(&mut bench, family);
        let first = talk.of_client(ACK, talk.client_next, b"GET /api/1 HTTP/1.1\r\nHost: ");
        let other = talk.of_client(ACK, talk.client_next, b"GET /admin HTTP/1.1\r\nHost: ");
        assert!(bench.send(CLIENTS, &first).is_passed(CLIENTS, &first));
        assert!(bench.send(CLIENTS, &other).0.is_empty());
        assert_eq!(bench.dropped(Reason::StreamMismatch), 1);
        // The honest repetition passes.
        assert!(bench.send(CLIENTS, &first).is_passed(CLIENTS, &first));
    }
}

#[test]
fn behind_a_body_that_nobody_reads_the_next_request_is_judged() {
    let mut bench = api_only();
    let mut talk = opened(&mut bench, Family::V4);
    let head = b"GET /api/1 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(talk.client_passes(&mut bench, head));
    for piece in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nhello "[..],
        b"my w",
        b"orld",
    ] {
        assert!(talk.server_passes(&mut bench, piece));
    }
    let body = b"POST /api/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n";
    assert!(talk.client_passes(&mut bench, body));
    // Within the body a request is none, behind it it is.
    let forbidden = b"GET /admin HTTP/1.1\r\nHost: abcdefg\r\n\r\n";
    assert_eq!(forbidden.len(), 38);
    assert!(talk.client_passes(&mut bench, forbidden));
    assert!(talk.client_passes(&mut bench, b"ab"));
    assert!(!talk.client_passes(&mut bench, forbidden));
}

#[test]
fn monitor_forwards_even_that() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    let talk = opened(&mut bench, Family::V4);
    let first = talk.of_client(ACK, talk.client_next, b"GET /api/1 HTTP/1.1\r\nHost: ");
    let other = talk.of_client(ACK, talk.client_next, b"GET /admin HTTP/1.1\r\nHost: ");
    for frame in [first, other] {
        assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
    }
    assert_eq!(bench.spared(Reason::StreamMismatch), 1);
}

/// Every order of three segments: the last one that makes the request whole does not pass, so that
/// the server never reads it.
#[test]
fn a_forbidden_request_in_any_order_never_becomes_whole() {
    let request = http_get("/admin");
    let (first, rest) = request.split_at(9);
    let (second, third) = rest.split_at(20);
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let mut bench = api_only();
        let talk = opened(&mut bench, Family::V4);
        let mut at = talk.client_next;
        let segments = [first, second, third].map(|piece| {
            let frame = talk.of_client(ACK, at, piece);
            at = at.wrapping_add(piece.len() as u32);
            frame
        });
        let passed = order
            .iter()
            .filter(|&&index| {
                bench
                    .send(CLIENTS, &segments[index])
                    .is_passed(CLIENTS, &segments[index])
            })
            .count();
        assert_eq!(passed, 2, "{order:?}");
        assert!(bench.dropped(Reason::PolicyDefault) == 1, "{order:?}");
    }
}

#[test]
fn an_allowed_request_in_any_order_passes() {
    let request = http_get("/api/1");
    let (first, rest) = request.split_at(9);
    let (second, third) = rest.split_at(20);
    for order in [[2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut bench = api_only();
        let mut talk = opened(&mut bench, Family::V6);
        let mut at = talk.client_next;
        let segments = [first, second, third].map(|piece| {
            let frame = talk.of_client(ACK, at, piece);
            at = at.wrapping_add(piece.len() as u32);
            frame
        });
        for index in order {
            let frame = &segments[index];
            assert!(bench.send(CLIENTS, frame).is_passed(CLIENTS, frame));
        }
        talk.client_next = at;
        assert!(talk.server_passes(&mut bench, &http_ok("yes")));
        let sent = talk.client_says(&mut bench, &http_get("/admin"));
        assert!(talk.is_reset_at_both_ends(&sent), "{sent:?}");
    }
}

#[test]
fn a_whole_burst_is_judged_in_its_order() {
    let mut bench = api_only();
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 5000),
    );
    let syn = talk.syn();
    talk.client_next = talk.client_next.wrapping_add(1);
    let answer = talk.of_server(2 | ACK, talk.server_next, b"");
    talk.server_next += 1;
    let good = http_get("/api/1");
    let request = talk.of_client(ACK, talk.client_next, &good);
    talk.client_next = talk.client_next.wrapping_add(good.len() as u32);
    let bad = talk.of_client(ACK, talk.client_next, &http_get("/admin"));
    let sent = bench.send_all(&[
        (CLIENTS, syn.clone()),
        (SERVERS, answer.clone()),
        (CLIENTS, request.clone()),
        (CLIENTS, bad),
    ]);
    let passed: Vec<_> = sent
        .0
        .iter()
        .filter(|(_, frame)| [&syn, &answer, &request].contains(&frame))
        .collect();
    assert_eq!(passed.len(), 3);
    assert_eq!(sent.resets().len(), 2);
}

#[test]
fn a_segment_far_outside_the_window_is_dropped_and_changes_nothing() {
    let mut bench = api_only();
    let mut talk = opened(&mut bench, Family::V4);
    let far = talk.of_client(ACK, talk.client_next.wrapping_add(1 << 24), b"GET /api/1");
    assert!(bench.send(CLIENTS, &far).0.is_empty());
    assert_eq!(bench.dropped(Reason::TcpWindow), 1);
    assert!(talk.client_passes(&mut bench, &http_get("/api/1")));
}

/// What a lossy tap or two ways of a flow bring: where nothing is blocked, nothing behind the hole
/// goes unread either.
#[test]
fn where_nothing_is_blocked_reading_goes_on_behind_a_hole() {
    let mut bench = Bench::new(&Shop::story(Mode::Monitor).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 5000),
    );
    assert!(talk.open(&mut bench));
    talk.client_next = talk.client_next.wrapping_add(100_000);
    assert!(talk.client_passes(&mut bench, &http_get("/api/1")));
    let identified = bench.events_of(weir_node::event::EventKind::Identified);
    assert_eq!(identified.len(), 1);
    assert!(bench.spared(Reason::TcpWindow) > 0);
}
