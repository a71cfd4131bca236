//! A process takes over from another: what was permitted goes on, what was denied stays denied, wherever in a
//! conversation it happens; and no request hides across the change.

use weir_l7::{Transport, registry};
use weir_node::event::EventKind;
use weir_node::takeover::{Estate, Left, Midway, Moment, Taken, bytes};
use weir_policy::spec::{Action, Mode};
use weir_samples::Sample;
use weir_wire::Direction;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, content::*, frames};
use crate::conditions::{samples, values_of};

/// What fits into a frame.
const SEGMENT_BYTES: usize = 1_400;

/// Everything goes through bytes, as between two processes.
fn left_by(bench: &mut Bench) -> Left {
    let left = bench.path.leave(0, bench.now_us);
    assert_eq!(bench.gauge("flows"), 0);
    let estate = Estate {
        version: "1".into(),
        ports: vec!["a".into(), "b".into()],
        workers: vec![left],
    };
    let moment = Moment {
        run: "this".into(),
        uptime_ms: 17,
    };
    let (read, at) = bytes::read(&bytes::write(&estate, &moment)).unwrap();
    assert_eq!((&read, &at), (&estate, &moment));
    let mut workers = read.share_out(1, false).workers;
    workers.remove(0)
}

/// Another process takes over, with this policy in force.
fn taken_over_under(bench: &mut Bench, policy: &Shop, midway: Midway) -> (Bench, Taken) {
    let left = left_by(bench);
    let mut next = Bench::new(&policy.build());
    next.now_us = 3_000;
    let taken = next.path.take_over(&left, midway, next.now_us);
    (next, taken)
}

fn taken_over(bench: &mut Bench, policy: &Shop) -> Bench {
    taken_over_under(bench, policy, Midway::End).0
}

fn story() -> Shop {
    Shop::story(Mode::Protect)
}

fn mysql_talk(family: Family) -> Talk {
    Talk::new(AI_MODEL.port(family, 40_000), PHOTO_DB.port(family, 3306))
}

fn logged_in(bench: &mut Bench, family: Family) -> Talk {
    let mut talk = mysql_talk(family);
    assert!(talk.open(bench));
    assert!(talk.server_passes(bench, &mysql_greeting()));
    assert!(talk.client_passes(bench, &mysql_login(false)));
    assert!(talk.server_passes(bench, &mysql_ok(2)));
    talk
}

/// Nothing in the middle of such a connection tells what it speaks.
#[test]
fn a_named_connection_goes_on_which_nobody_could_name_in_its_middle() {
    for family in BOTH {
        let mut bench = Bench::new(&story().build());
        let mut talk = logged_in(&mut bench, family);
        for _ in 0..3 {
            bench = taken_over(&mut bench, &story());
            assert!(talk.client_passes(&mut bench, &mysql_query("SELECT 1")));
            assert!(talk.server_passes(&mut bench, &mysql_ok(1)));
        }
        // Within a message, where a mere pick-up finds nothing that it knows.
        let query = mysql_query(&"SELECT 1 ".repeat(100));
        let (first, rest) = query.split_at(100);
        assert!(talk.client_passes(&mut bench, first));
        let mut fresh = (Bench::new(&story().build()), talk.clone());
        bench = taken_over(&mut bench, &story());
        for part in rest.chunks(50) {
            assert!(talk.client_passes(&mut bench, part));
        }
        let (fresh, talk) = (&mut fresh.0, &mut fresh.1);
        let all = rest.chunks(50).all(|part| talk.client_passes(fresh, part));
        assert!(!all, "it can be named in the middle after all");
    }
}

#[test]
fn windows_hold_across_the_change() {
    let mut bench = Bench::new(&story().build());
    let talk = logged_in(&mut bench, Family::V4);
    let mut bench = taken_over(&mut bench, &story());
    let far = talk.client_next.wrapping_add(1 << 30);
    let frame = talk.of_client(frames::ACK, far, &mysql_query("SELECT 1"));
    assert!(bench.send(CLIENTS, &frame).0.is_empty());
}

#[test]
fn what_was_denied_stays_denied() {
    for (policy, content) in [
        (story(), http_get("/").to_vec()),
        (
            story()
                .rule(
                    Action::Deny,
                    AI_MODEL.identity(),
                    PHOTO_DB.identity(),
                    &["mysql"],
                    None,
                )
                .when("mysql.command", "QUERY"),
            mysql_query("SELECT 1"),
        ),
    ] {
        let mut bench = Bench::new(&policy.build());
        let mut talk = logged_in(&mut bench, Family::V4);
        talk.client_says(&mut bench, &content);
        let (mut bench, taken) = taken_over_under(&mut bench, &policy, Midway::End);
        assert_eq!((taken.allowed, taken.denied), (0, 1));
        for content in [&b"\0"[..], &mysql_query("SELECT 1"), &http_get("/")] {
            assert!(!talk.client_passes(&mut bench, content));
            assert!(!talk.server_passes(&mut bench, content));
        }
        // It is not told once more.
        assert!(bench.events_of(EventKind::Verdict).is_empty());
    }
}

#[test]
fn the_policy_in_force_decides_not_the_one_before() {
    let mut bench = Bench::new(&story().build());
    let mut talk = logged_in(&mut bench, Family::V4);
    let mut bench = taken_over(&mut bench, &Shop::new(Mode::Protect));
    assert!(!talk.client_passes(&mut bench, &mysql_query("SELECT 1")));
    // A connection that was denied goes on where another policy allows all of it.
    let open = Shop::new(Mode::Protect).allow_any(AI_MODEL.identity(), PHOTO_DB.identity());
    let mut bench = taken_over(&mut bench, &open);
    assert!(talk.client_passes(&mut bench, &mysql_query("SELECT 1")));
    let quarantined = story().quarantine(AI_MODEL);
    let mut bench = taken_over(&mut bench, &quarantined);
    assert!(bench.send(CLIENTS, &talk.syn()).0.is_empty());
}

#[test]
fn a_request_is_judged_where_it_is_whole_and_its_connection_ends_where_it_is_not() {
    let api = || {
        Shop::new(Mode::Protect)
            .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
            .when("http.path", "/api/")
    };
    let between = |bench: &mut Bench| {
        let mut talk = Talk::new(
            AI_MODEL.port(Family::V4, 40_000),
            FRONTEND.port(Family::V4, 5000),
        );
        assert!(talk.open(bench));
        assert!(talk.client_passes(bench, &http_get("/api/1")));
        assert!(talk.server_passes(bench, &http_ok("yes")));
        talk
    };
    let mut bench = Bench::new(&api().build());
    let mut talk = between(&mut bench);
    let (mut bench, taken) = taken_over_under(&mut bench, &api(), Midway::End);
    assert_eq!((taken.allowed, taken.ended_midway), (1, 0));
    assert!(talk.client_passes(&mut bench, &http_get("/api/2")));
    // Its answer has not come when the next change comes.
    let mut bench = taken_over(&mut bench, &api());
    assert!(talk.server_passes(&mut bench, &http_ok("yes")));
    assert!(!talk.client_passes(&mut bench, &http_get("/admin")));

    let request = http_get("/admin");
    let (first, rest) = request.split_at(3);
    for (midway, passes) in [(Midway::End, false), (Midway::Resume, true)] {
        let mut bench = Bench::new(&api().build());
        let mut talk = between(&mut bench);
        assert!(talk.client_passes(&mut bench, first));
        let (mut bench, taken) = taken_over_under(&mut bench, &api(), midway);
        assert_eq!(taken.ended_midway, usize::from(!passes));
        assert_eq!(talk.client_passes(&mut bench, rest), passes, "{midway:?}");
        // Also then the next request is judged.
        assert!(!talk.client_passes(&mut bench, &http_get("/admin")));
    }
}

/// A segment that lies beyond a gap was let on; what fills the gap comes after the change.
#[test]
fn no_request_hides_behind_a_gap() {
    let api = Shop::new(Mode::Protect)
        .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
        .when("http.path", "/api/");
    let mut bench = Bench::new(&api.build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 5000),
    );
    assert!(talk.open(&mut bench));
    assert!(talk.client_passes(&mut bench, &http_get("/api/1")));
    assert!(talk.server_passes(&mut bench, &http_ok("yes")));
    let request = http_get("/admin");
    let behind = talk.of_client(frames::ACK, talk.client_next.wrapping_add(4), &request[4..]);
    assert!(bench.send(CLIENTS, &behind).is_passed(CLIENTS, &behind));
    let (mut bench, taken) = taken_over_under(&mut bench, &api, Midway::End);
    assert_eq!(taken.ended_midway, 1);
    assert!(!talk.client_passes(&mut bench, &request[..4]));
}

#[test]
fn addresses_of_names_are_known_across_the_change() {
    let left = {
        let mut bench = Bench::new(&story().build());
        bench.path.learn_name(weir_node::event::LearnedName {
            address: 7,
            identity: FRONTEND.identity(),
            expires_us: bench.now_us + 5,
        });
        left_by(&mut bench)
    };
    assert_eq!(left.names.len(), 1);
    assert_eq!((left.names[0].address, left.names[0].left_us), (7, 5));
}

/// The conversation in frames: who sends, and what.
fn pieces(sample: &Sample) -> Vec<(Direction, &[u8])> {
    (sample.pieces.iter())
        .flat_map(|(direction, piece)| {
            let bytes = match sample.transport {
                Transport::Tcp => SEGMENT_BYTES,
                _ => piece.len().max(1),
            };
            piece.chunks(bytes).map(move |chunk| (*direction, chunk))
        })
        .collect()
}

/// What came of a conversation during which another process takes over, after so many frames.
struct Outcome {
    passed: bool,
    /// It had its name before the change.
    named: bool,
    taken: Taken,
}

fn play(sample: &Sample, policy: &Shop, change_after: usize) -> Outcome {
    let mut bench = Bench::new(&policy.build());
    let client = AI_MODEL.port(Family::V4, 40_000);
    let server = FRONTEND.port(Family::V4, sample.port);
    let mut talk = Talk::new(client, server);
    let mut outcome = Outcome {
        passed: sample.transport != Transport::Tcp || talk.open(&mut bench),
        named: false,
        taken: Taken::default(),
    };
    for (number, (direction, piece)) in pieces(sample).into_iter().enumerate() {
        if number == change_after {
            outcome.named = !bench.events_of(EventKind::Identified).is_empty();
            (bench, outcome.taken) = taken_over_under(&mut bench, policy, Midway::End);
        }
        let to_server = direction == Direction::ToServer;
        outcome.passed &= match (sample.transport, to_server) {
            (Transport::Udp, true) => {
                let frame = frames::udp(client, server, piece);
                bench.send(CLIENTS, &frame).is_passed(CLIENTS, &frame)
            }
            (Transport::Udp, false) => {
                let frame = frames::udp(server, client, piece);
                bench.send(SERVERS, &frame).is_passed(SERVERS, &frame)
            }
            (_, true) => talk.client_passes(&mut bench, piece),
            (_, false) => talk.server_passes(&mut bench, piece),
        };
    }
    outcome
}

/// Where a change is tried: after each of the first frames.
fn changes(sample: &Sample) -> std::ops::Range<usize> {
    1..pieces(sample).len().min(12)
}

#[test]
fn every_application_goes_on_once_it_has_its_name() {
    let (mut tried, mut ended, mut failed) = (0, 0, Vec::new());
    for sample in samples() {
        let (client, server) = (AI_MODEL.identity(), FRONTEND.identity());
        let mut names: Vec<&str> = registry::applications()
            .iter()
            .map(|row| row.name)
            .collect();
        names.sort_unstable();
        // Any of those that are known, so that what nobody can name is denied.
        let known = Shop::new(Mode::Protect).rule(Action::Allow, client, server, &names, None);
        if !play(&sample, &known, usize::MAX).passed {
            continue;
        }
        for change_after in changes(&sample) {
            let outcome = play(&sample, &known, change_after);
            if outcome.named {
                tried += 1;
                ended += outcome.taken.ended_midway;
                if !outcome.passed && outcome.taken.ended_midway == 0 {
                    failed.push(format!("{} after {change_after}", sample.path.display()));
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {tried}: {failed:#?}",
        failed.len()
    );
    // What may turn into anything else ends within a request.
    assert!(
        tried > 500 && 0 < ended && ended < tried / 30,
        "{ended} of {tried} ended"
    );
}

#[test]
fn no_request_is_missed_by_a_condition_across_the_change() {
    let (mut tried, mut went_on) = (0, 0);
    for sample in samples() {
        for ((app, index), value) in values_of(&sample).0 {
            let row = registry::info(app).unwrap();
            let field = format!("{}.{}", row.name, row.fields[usize::from(index)].name);
            let (client, server) = (AI_MODEL.identity(), FRONTEND.identity());
            let unmet = Shop::new(Mode::Protect)
                .rule(Action::Allow, client, server, &[row.name], None)
                .when(&field, "\u{1}nothing like it");
            let denied = Shop::new(Mode::Protect)
                .allow_any(client, server)
                .rule(Action::Deny, client, server, &[row.name], None)
                .when(&field, &value);
            for policy in [&unmet, &denied] {
                for change_after in changes(&sample) {
                    let outcome = play(&sample, policy, change_after);
                    tried += 1;
                    went_on += outcome.taken.allowed;
                    let what = format!("{field} in {} after {change_after}", sample.path.display());
                    // A datagram that passed before anybody could name it is gone.
                    let gone = sample.transport == Transport::Udp && !outcome.named;
                    assert!(!outcome.passed || gone, "{what}");
                }
            }
        }
    }
    assert!(tried > 1_000, "only {tried} changes were tried");
    assert!(
        went_on > 100,
        "only {went_on} of {tried} connections went on"
    );
}
