//! Connections that have ended: what they were read with goes back at once, and nothing passes for that.

use weir_node::event::EventKind;
use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS, small_limits};
use crate::common::frames::{ACK, FIN, RST};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*};

fn talk(port: u16) -> Talk {
    Talk::new(
        AI_MODEL.port(Family::V4, port),
        FRONTEND.port(Family::V4, 5000),
    )
}

/// A request to the shop's frontend and its answer, whole.
fn converses(bench: &mut Bench, talk: &mut Talk) -> bool {
    talk.open(bench)
        && talk.client_passes(bench, &http_get("/api/1"))
        && talk.server_passes(bench, &http_ok("yes"))
}

fn reset(bench: &mut Bench, talk: &Talk) {
    let frame = talk.of_client(RST | ACK, talk.client_next, b"");
    assert!(bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame));
}

/// Sessions that flows have.
fn in_use(bench: &Bench) -> usize {
    small_limits().sessions - bench.path.free_readings()
}

fn api_only(mode: Mode) -> Bench {
    let policy = Shop::new(mode)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/");
    Bench::watching(&policy.build(), small_limits())
}

/// Five times as many connections as there are sessions, none of them forgotten meanwhile but those that the table
/// has no room for.
#[test]
fn what_has_ended_holds_no_session() {
    for by_reset in [false, true] {
        let mut bench = api_only(Mode::Protect);
        let sessions = small_limits().sessions as u16;
        for number in 0..5 * sessions {
            let mut talk = talk(10_000 + number);
            assert!(converses(&mut bench, &mut talk), "connection {number}");
            match by_reset {
                true => reset(&mut bench, &talk),
                false => assert!(talk.close(&mut bench)),
            }
            bench.events();
        }
        assert!(bench.gauge("flows") > u64::from(2 * sessions));
        assert_eq!(in_use(&bench), 0);
        assert_eq!(bench.gauge("reassembly_bytes"), 0);
    }
}

#[test]
fn a_connection_that_one_end_has_finished_is_read_on() {
    let mut bench = api_only(Mode::Protect);
    let mut talk = talk(40_000);
    assert!(converses(&mut bench, &mut talk));
    let finish = talk.of_server(FIN | ACK, talk.server_next, b"");
    talk.server_next = talk.server_next.wrapping_add(1);
    assert!(bench.send(SERVERS, &finish).is_passed(SERVERS, &finish));
    assert!(talk.client_passes(&mut bench, &http_get("/api/2")));
    assert!(!talk.client_passes(&mut bench, &http_get("/admin")));
}

#[test]
fn nothing_new_passes_behind_an_end() {
    for by_reset in [false, true] {
        let mut bench = api_only(Mode::Protect);
        let mut talk = talk(40_000);
        assert!(converses(&mut bench, &mut talk));
        let before = talk.clone();
        match by_reset {
            true => reset(&mut bench, &talk),
            false => assert!(talk.close(&mut bench)),
        }
        bench.events();
        let more = talk.of_client(ACK, talk.client_next, &http_get("/admin"));
        assert!(bench.send(CLIENTS, &more).0.is_empty());
        assert_eq!(bench.dropped(Reason::TcpState), 1);
        // In place of the FIN, which took a number.
        let instead = before.of_client(ACK, before.client_next, &http_get("/admin"));
        assert!(bench.send(CLIENTS, &instead).0.is_empty());
        assert_eq!(in_use(&bench), 0);
    }
}

/// The last acknowledgement was lost behind Weir: what comes once more passes, and is nothing new to anybody.
#[test]
fn what_comes_once_more_behind_the_end_passes_and_tells_nothing() {
    let mut bench = api_only(Mode::Protect);
    let mut talk = talk(40_000);
    assert!(converses(&mut bench, &mut talk));
    let answer = http_ok("yes");
    let again = talk.server_next.wrapping_sub(answer.len() as u32);
    assert!(talk.close(&mut bench));
    bench.events();
    let repeated = talk.of_server(ACK, again, &answer);
    assert!(bench.send(SERVERS, &repeated).is_passed(SERVERS, &repeated));
    let finish = talk.of_server(FIN | ACK, talk.server_next.wrapping_sub(1), b"");
    assert!(bench.send(SERVERS, &finish).is_passed(SERVERS, &finish));
    assert!(bench.events().is_empty());
    assert_eq!(in_use(&bench), 0);
    // Forgotten in its time, with the name that its content gave it, and once.
    for _ in 0..20 {
        bench.wait(1000);
    }
    let ended = bench.events_of(EventKind::End);
    let names: Vec<_> = ended
        .iter()
        .map(|event| event.flow.application.map(|application| application.name()))
        .collect();
    assert_eq!(names, [Some("http")]);
    assert_eq!(bench.gauge("flows"), 0);
}

#[test]
fn the_same_ports_again_are_read_anew() {
    for by_reset in [false, true] {
        let mut bench = api_only(Mode::Protect);
        let mut first = talk(40_000);
        assert!(converses(&mut bench, &mut first));
        match by_reset {
            true => reset(&mut bench, &first),
            false => assert!(first.close(&mut bench)),
        }
        let mut second = Talk {
            client_next: first.client_next.wrapping_add(90_000),
            server_next: first.server_next.wrapping_add(90_000),
            ..first
        };
        assert!(converses(&mut bench, &mut second));
        let sent = second.client_says(&mut bench, &http_get("/admin"));
        assert!(second.is_reset_at_both_ends(&sent), "{sent:?}");
    }
}

/// A reset that dies on the way to the server must not end what Weir sees of the connection, where nothing stops what
/// comes behind it.
#[test]
fn a_reset_ends_no_reading_where_the_mode_does_not_block() {
    let mut bench = api_only(Mode::Monitor);
    let mut talk = talk(40_000);
    assert!(converses(&mut bench, &mut talk));
    reset(&mut bench, &talk);
    assert_eq!(in_use(&bench), 1);
    bench.events();
    assert!(talk.client_passes(&mut bench, &http_get("/admin")));
    assert_eq!(bench.events_of(EventKind::Verdict).len(), 1);
}
