//! Several workers over one device queue: whatever worker receives it, a flow has one owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_node::handover::Ownership;
use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS, Sent, inline, small_limits};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, content::*};

fn workers(count: usize, fail_open: bool, policy: &Shop) -> (Vec<Bench>, Arc<Vec<AtomicBool>>) {
    let alive: Arc<Vec<_>> = Arc::new((0..count).map(|_| AtomicBool::new(true)).collect());
    let benches = Ownership::shared(&alive, &[false, false])
        .into_iter()
        .map(|ownership| {
            let mut bench = Bench::with(inline(fail_open), small_limits(), ownership);
            bench.install(&policy.build());
            bench
        })
        .collect();
    (benches, alive)
}

/// One worker receives; all take what is handed to them until nothing moves.
fn send(benches: &mut [Bench], receiver: usize, port: u8, frame: &[u8]) -> Sent {
    let mut sent = benches[receiver].send(port, frame);
    for _ in 0..3 {
        for bench in &mut *benches {
            sent.0.extend(bench.take_handed_over().0);
        }
    }
    sent
}

fn flows(benches: &[Bench]) -> Vec<u64> {
    benches.iter().map(|bench| bench.gauge("flows")).collect()
}

#[test]
fn both_directions_and_fragments_of_a_flow_meet() {
    for family in BOTH {
        for port in 1000..1040 {
            let (mut benches, _) = workers(3, false, &Shop::story(Mode::Protect));
            let (client, server) = (AI_MODEL.port(family, port), RESOLVER.port(family, 53));
            let query = frames::udp(client, server, &dns_query("a.example.com"));
            let answer = dns_answer("a.example.com", STRANGER.address(family), 60);
            let answer = frames::udp(server, client, &answer);
            assert!(send(&mut benches, 0, CLIENTS, &query).is_passed(CLIENTS, &query));
            assert!(send(&mut benches, 1, SERVERS, &answer).is_passed(SERVERS, &answer));
            // The answer again, in fragments that different workers receive.
            let pieces = frames::fragments(&answer, &[16, 32], 99);
            let mut left = Vec::new();
            for (receiver, piece) in pieces.iter().enumerate() {
                left.extend(send(&mut benches, receiver, SERVERS, piece).0);
            }
            let expected: Vec<_> = pieces.into_iter().map(|piece| (CLIENTS, piece)).collect();
            assert_eq!(left, expected);
            assert_eq!(flows(&benches).iter().sum::<u64>(), 1, "{family:?} {port}");
            assert!(benches.iter().all(|bench| bench.path.held() == 0));
        }
    }
}

#[test]
fn flows_spread_over_the_workers() {
    let (mut benches, _) = workers(2, false, &Shop::story(Mode::Monitor));
    for port in 0..100 {
        let syn = crate::common::Talk::new(
            AI_MODEL.port(Family::V6, 10_000 + port),
            PHOTO_DB.port(Family::V6, 3306),
        )
        .syn();
        send(&mut benches, 0, CLIENTS, &syn);
    }
    assert!(
        flows(&benches).iter().all(|&count| count > 20),
        "{:?}",
        flows(&benches)
    );
}

#[test]
fn what_a_lost_worker_owns_follows_the_fail_mode() {
    for fail_open in [false, true] {
        let (mut benches, alive) = workers(2, fail_open, &Shop::story(Mode::Protect));
        alive[1].store(false, Ordering::Release);
        let mut failed = 0;
        for port in 0..100 {
            // Denied by policy wherever a worker looks.
            let syn = crate::common::Talk::new(
                FRONTEND.port(Family::V4, 10_000 + port),
                PHOTO_DB.port(Family::V4, 3306),
            )
            .syn();
            let sent = benches[0].send(CLIENTS, &syn);
            if sent.is_passed(CLIENTS, &syn) || sent.0.is_empty() {
                assert_eq!(sent.is_passed(CLIENTS, &syn), fail_open);
                failed += 1;
            } else {
                assert_eq!(sent.resets().len(), 1);
            }
        }
        assert!((20..80).contains(&failed), "{failed}");
        let dropped = if fail_open { 0 } else { failed };
        assert_eq!(benches[0].dropped(Reason::FailClosed), dropped);
    }
}

#[test]
fn a_full_ring_drops_and_counts() {
    let (mut benches, _) = workers(2, false, &Shop::story(Mode::Monitor));
    let syn = |port| {
        crate::common::Talk::new(
            AI_MODEL.port(Family::V4, port),
            PHOTO_DB.port(Family::V4, 3306),
        )
        .syn()
    };
    // A port whose flow the other worker owns.
    let foreign = (1..).find(|&port| benches[0].send(CLIENTS, &syn(port)).0.is_empty());
    let frame = syn(foreign.unwrap());
    for _ in 0..3000 {
        assert!(benches[0].send(CLIENTS, &frame).0.is_empty());
    }
    let counts = benches[0].path.counts();
    assert_eq!(
        counts.handed_over as usize,
        weir_node::handover::RING_FRAMES
    );
    assert_eq!(
        benches[0].dropped(Reason::HandoverFull),
        3001 - counts.handed_over
    );
}
