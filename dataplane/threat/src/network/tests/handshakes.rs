//! How TCP connections begin, and windows.

use weir_wire::tcp_flags::{ACK, FIN, SYN};
use weir_wire::{DecodeOptions, Reason, decode};

use super::bench::{Bench, End, Fate, Segment, segment, tcp, udp};
use crate::Threat;

const CLIENT: End = ([10, 0, 0, 1], 40_000);
const SERVER: End = ([10, 0, 0, 2], 80);

#[test]
fn a_server_that_sends_a_syn_of_its_own_splits_the_handshake() {
    for answers_first in [false, true] {
        let mut bench = Bench::new();
        bench.send(&tcp(CLIENT, SERVER, segment(SYN)));
        if answers_first {
            assert_eq!(bench.send(&tcp(SERVER, CLIENT, segment(ACK))), Fate::Passed);
        }
        assert_eq!(
            bench.send(&tcp(SERVER, CLIENT, segment(SYN))),
            Fate::Dropped
        );
        assert_eq!(bench.told(Threat::SplitHandshake), 1);
    }
}

#[test]
fn an_ordinary_handshake_with_repetitions_is_none() {
    let mut bench = Bench::new();
    bench.send(&tcp(CLIENT, SERVER, segment(SYN)));
    bench.send(&tcp(CLIENT, SERVER, segment(SYN)));
    bench.send(&tcp(SERVER, CLIENT, segment(SYN | ACK)));
    bench.send(&tcp(SERVER, CLIENT, segment(SYN | ACK)));
    bench.send(&tcp(CLIENT, SERVER, segment(ACK)));
    bench.send(&tcp(SERVER, CLIENT, segment(FIN | ACK)));
    assert!(bench.findings.is_empty(), "{:?}", bench.findings);
}

fn syn_with(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let syn = Segment {
        options,
        payload,
        ..segment(SYN)
    };
    tcp(CLIENT, SERVER, syn)
}

#[test]
fn data_in_a_syn_needs_fast_open() {
    let told = |options: &[u8], payload: &[u8]| {
        let mut bench = Bench::new();
        bench.send(&syn_with(options, payload));
        bench.told(Threat::SynData)
    };
    assert_eq!(told(&[2, 4, 5, 0xb4], b"GET /"), 1);
    assert_eq!(told(&[2, 4, 5, 0xb4], b""), 0);
    assert_eq!(told(&[34, 6, 1, 2, 3, 4, 1, 1], b"GET /"), 0);
    assert_eq!(told(&[254, 8, 0xf9, 0x89, 1, 2, 3, 4], b"GET /"), 0);
    assert_eq!(told(&[254, 8, 0x11, 0x11, 1, 2, 3, 4], b"GET /"), 1);
}

#[test]
fn a_small_segment_size_is_found_in_either_end() {
    let told = |client: &[u8], server: &[u8]| {
        let mut bench = Bench::new();
        bench.config.actions[Threat::SmallMss as usize] = crate::Action::Alert;
        bench.send(&syn_with(client, b""));
        let answer = Segment {
            options: server,
            ..segment(SYN | ACK)
        };
        bench.send(&tcp(SERVER, CLIENT, answer));
        bench.told(Threat::SmallMss)
    };
    let (usual, small, least) = ([2, 4, 5, 0xb4], [2, 4, 0, 48], [2, 4, 1, 0]);
    assert_eq!(told(&usual, &usual), 0);
    assert_eq!(told(&least, &least), 0, "256 is honest");
    assert_eq!(told(&small, &usual), 1);
    assert_eq!(told(&usual, &small), 1);
    assert_eq!(
        told(&[1, 1, 2, 4, 0, 48, 1, 1], &usual),
        1,
        "behind fillers"
    );
    assert_eq!(told(&[3, 3, 7, 2, 4, 0, 48, 0], &usual), 1, "behind others");
}

#[test]
fn options_that_do_not_add_up_are_survived() {
    let mut bench = Bench::new();
    for options in [
        [2, 4, 0, 0],
        [2, 0, 0, 48],
        [2, 1, 0, 48],
        [2, 40, 0, 48],
        [2, 3, 48, 2],
        [9, 2, 2, 4],
    ] {
        bench.send(&syn_with(&options, b""));
    }
    // Every length of a header's options, each beginning like a size.
    for length in (0..=40).step_by(4) {
        let options: Vec<u8> = (0..length).map(|index| [2, 4, 0][index % 3]).collect();
        bench.send(&syn_with(&options, b"x"));
    }
}

#[test]
fn flags_that_nobody_uses_are_told_once() {
    let mut bench = Bench::new();
    for port in 1..100 {
        bench.send(&tcp(CLIENT, (SERVER.0, port), segment(0)));
    }
    assert_eq!(bench.told(Threat::BadFlags), 1);
}

#[test]
fn a_packet_that_comes_from_where_it_goes_is_dropped() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.send(&tcp(SERVER, SERVER, segment(SYN))),
        Fate::Dropped
    );
    assert_eq!(bench.send(&udp(SERVER, SERVER, b"x")), Fate::Dropped);
    assert_eq!(bench.told(Threat::Land), 1);
    let mut bench = Bench::new();
    bench.send(&udp((SERVER.0, 1), SERVER, b"x"));
    bench.send(&udp(([127, 0, 0, 1], 123), ([127, 0, 0, 1], 123), b"x"));
    assert_eq!(bench.told(Threat::Land), 0);
}

#[test]
fn objections_of_other_stages_have_their_names() {
    let frame = udp(CLIENT, SERVER, b"x");
    let packet = decode(&frame, &DecodeOptions::default()).unwrap();
    for (reason, threat) in [
        (Reason::FragmentOverlap, Some(Threat::Teardrop)),
        (Reason::FragmentMalformed, Some(Threat::Teardrop)),
        (Reason::FragmentRepeated, None),
        (Reason::FragmentTiny, Some(Threat::TinyFragment)),
        (Reason::FragmentLimit, Some(Threat::FragmentExhaustion)),
        (Reason::FragmentTooBig, Some(Threat::PingOfDeath)),
        (Reason::StreamMismatch, Some(Threat::Overlap)),
        (Reason::TcpWindow, None),
        (Reason::FragmentTimeout, None),
    ] {
        let mut bench = Bench::new();
        bench.object(reason, &packet);
        let found = bench.findings.first().map(|finding| finding.threat);
        assert_eq!(found, threat, "{}", reason.name());
    }
}

#[test]
fn datagrams_that_never_become_whole_are_counted() {
    let frame = udp(CLIENT, SERVER, b"x");
    let packet = decode(&frame, &DecodeOptions::default()).unwrap();
    let told = |per_s: u64| {
        let mut bench = Bench::new();
        for _ in 0..per_s * 3 {
            bench.object(Reason::FragmentTimeout, &packet);
            bench.now_us += 1_000_000 / per_s;
        }
        bench.told(Threat::FragmentExhaustion)
    };
    assert_eq!((told(80), told(200)), (0, 1));
}

/// A client's windows, one each 200 ms; the server goes on asking.
fn windows(first: u16, each: impl IntoIterator<Item = u16>) -> Bench {
    let mut bench = Bench::new();
    let scale = |flags| Segment {
        options: &[3, 3, 1, 0],
        ..segment(flags)
    };
    bench.send(&tcp(CLIENT, SERVER, scale(SYN)));
    bench.send(&tcp(SERVER, CLIENT, scale(SYN | ACK)));
    for window in std::iter::once(first).chain(each) {
        let offered = Segment {
            window,
            ..segment(ACK)
        };
        bench.send(&tcp(CLIENT, SERVER, offered));
        bench.send(&tcp(
            SERVER,
            CLIENT,
            Segment {
                payload: b"more",
                ..segment(ACK)
            },
        ));
        bench.wait_ms(200);
    }
    bench
}

#[test]
fn a_window_that_was_never_wide_and_is_shut_holds_memory() {
    let held = windows(0, [0; 30]);
    assert_eq!(held.sign(Threat::SmallWindow), Some("never wide and shut"));
    let slow = windows(
        500,
        (0..40).map(|index| if index % 4 == 3 { 250 } else { 0 }),
    );
    assert_eq!(slow.sign(Threat::SmallWindow), Some("never wide and shut"));
}

#[test]
fn a_window_open_by_a_few_bytes_holds_memory() {
    let cracked = windows(60_000, [7; 50]);
    assert_eq!(
        cracked.sign(Threat::SmallWindow),
        Some("open by a few bytes")
    );
    assert_eq!(
        windows(60_000, [7; 30]).told(Threat::SmallWindow),
        0,
        "for eight seconds"
    );
}

#[test]
fn a_reader_who_pauses_holds_nothing() {
    assert_eq!(windows(60_000, [0; 300]).told(Threat::SmallWindow), 0);
    assert_eq!(
        windows(700, [0; 10]).told(Threat::SmallWindow),
        0,
        "two seconds"
    );
    assert_eq!(
        windows(700, [600; 300]).told(Threat::SmallWindow),
        0,
        "small and open"
    );
    // Eight units of two bytes each.
    assert_eq!(
        windows(60_000, [8; 100]).told(Threat::SmallWindow),
        0,
        "scaled"
    );
}
