//! Fragments: the whole datagram is judged, its fragments share its fate.

use weir_policy::spec::Mode;
use weir_wire::Reason;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames::{self, WRAPS, wrapped};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, content::*};

/// A DNS answer too long for one packet, in three fragments.
fn long_answer(family: Family) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (client, server) = (AI_MODEL.port(family, 5353), RESOLVER.port(family, 53));
    let query = frames::udp(client, server, &dns_query("api.example.com"));
    let mut answer = dns_answer("api.example.com", STRANGER.address(family), 60);
    // A thousand more records would do as well as bytes behind the message: an OPT record's padding.
    answer[11] = 1;
    answer.extend([0, 0, 41, 16, 0, 0, 0, 0, 0]);
    answer.extend(1204_u16.to_be_bytes());
    answer.extend([0, 12]);
    answer.extend(1200_u16.to_be_bytes());
    answer.extend([0; 1200]);
    let whole = frames::udp(server, client, &answer);
    (query, frames::fragments(&whole, &[512, 1024], 77))
}

#[test]
fn a_whole_datagram_leaves_in_its_fragments_as_they_came() {
    for family in BOTH {
        for wrap in WRAPS {
            for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
                let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
                let (query, fragments) = long_answer(family);
                bench.send(CLIENTS, &wrapped(&query, wrap));
                let came = order.map(|index| wrapped(&fragments[index], wrap));
                assert!(bench.send(SERVERS, &came[0]).0.is_empty());
                assert!(bench.send(SERVERS, &came[1]).0.is_empty());
                assert_eq!(bench.path.held(), 2);
                let sent = bench.send(SERVERS, &came[2]);
                let expected: Vec<_> = came.into_iter().map(|frame| (CLIENTS, frame)).collect();
                assert_eq!(sent.0, expected, "{family:?} {wrap:?} {order:?}");
                assert_eq!(bench.gauge("flows"), 1);
            }
        }
    }
}

#[test]
fn a_denied_datagram_leaves_in_no_fragment() {
    for family in BOTH {
        let mut bench = Bench::new(&Shop::new(Mode::Protect).build());
        let (query, fragments) = long_answer(family);
        assert!(bench.send(CLIENTS, &query).0.is_empty());
        for fragment in &fragments {
            assert!(bench.send(SERVERS, fragment).0.is_empty());
        }
        assert_eq!(bench.path.held(), 0);
        assert_eq!(bench.path.counts().dropped_total(), 4);
    }
}

#[test]
fn fragments_that_overlap_are_dropped_in_protect_only() {
    for family in BOTH {
        for (mode, passes) in [
            (Mode::Protect, false),
            (Mode::Monitor, true),
            (Mode::Discover, true),
        ] {
            let mut bench = Bench::new(&Shop::story(mode).build());
            let (_, fragments) = long_answer(family);
            let mut left = bench.send(SERVERS, &fragments[0]).0;
            let whole = frames::udp(
                RESOLVER.port(family, 53),
                AI_MODEL.port(family, 5353),
                &[0; 1000],
            );
            let overlapping = frames::fragment(&whole, 77, 504, true, &[0xee; 64]);
            left.extend(bench.send(SERVERS, &overlapping).0);
            let expected = [fragments[0].clone(), overlapping].map(|frame| (CLIENTS, frame));
            assert_eq!(left, if passes { &expected[..] } else { &[] });
            let counts = bench.path.counts();
            let overlap = Reason::FragmentOverlap as usize;
            assert!(counts.dropped[overlap] + counts.spared[overlap] > 0);
        }
    }
}

/// Also where other workloads of the node are in protect: these are not.
#[test]
fn fragments_that_never_become_whole_follow_the_mode_between_their_addresses() {
    for family in BOTH {
        for (mode, passes) in [(Mode::Protect, false), (Mode::Discover, true)] {
            let mut policy = Shop::story(mode);
            policy.0.link.mode = Mode::Protect;
            let mut bench = Bench::new(&policy.build());
            let (_, fragments) = long_answer(family);
            assert!(bench.send(SERVERS, &fragments[1]).0.is_empty());
            assert!(bench.wait(9_000).0.is_empty());
            let left = bench.wait(2_000).0;
            let expected = [(CLIENTS, fragments[1].clone())];
            assert_eq!(left, if passes { &expected[..] } else { &[] });
            assert_eq!(bench.path.held(), 0);
            let counts = bench.path.counts();
            let timeout = Reason::FragmentTimeout as usize;
            assert_eq!(counts.dropped[timeout] + counts.spared[timeout], 1);
        }
    }
}

#[test]
fn more_datagrams_than_there_is_room_for_give_way_and_are_counted() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let whole = frames::udp(
        AI_MODEL.port(Family::V4, 1000),
        RESOLVER.port(Family::V4, 53),
        &[7; 600],
    );
    for identification in 0..100 {
        bench.send(
            CLIENTS,
            &frames::fragments(&whole, &[512], identification)[0],
        );
        assert!(bench.path.held() <= 16);
    }
    assert_eq!(
        bench.dropped(Reason::FragmentLimit),
        100 - bench.path.held()
    );
}

/// Content that arrives in fragments of IP is read like any other.
#[test]
fn a_forbidden_request_hidden_in_fragments_is_dropped() {
    use crate::common::{Talk, frames::ACK};
    for family in BOTH {
        let policy = Shop::new(Mode::Protect)
            .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
            .when("http.path", "/api/");
        let mut bench = Bench::new(&policy.build());
        let mut talk = Talk::new(AI_MODEL.port(family, 40_000), FRONTEND.port(family, 5000));
        assert!(talk.open(&mut bench));
        let whole = talk.of_client(ACK, talk.client_next, &http_get("/admin"));
        for fragment in frames::fragments(&whole, &[32, 48], 5) {
            assert!(bench.send(CLIENTS, &fragment).0.is_empty());
        }
        assert_eq!(bench.path.held(), 0);
        assert_eq!(bench.dropped(Reason::PolicyDefault), 3);
    }
}
