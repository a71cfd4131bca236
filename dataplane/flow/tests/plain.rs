//! The short way of plain segments: where it says yes, the long way says the same and does the same.

mod common;

use common::Random;
use proptest::prelude::*;
use weir_flow::{Life, TcpConnection, TcpLimits, TcpVerdict};
use weir_wire::tcp_flags::{ACK, FIN, PSH, RST, SYN};
use weir_wire::{Direction, TcpFields};

/// A segment whose numbers are near those of a conversation that began at `starts`.
fn segment(random: &mut Random, starts: [u32; 2]) -> (Direction, TcpFields, u32) {
    let from_client = random.chance(50);
    let [own, other] = match from_client {
        true => starts,
        false => [starts[1], starts[0]],
    };
    let near = |random: &mut Random, start: u32| match random.below(4) {
        0 => start,
        1 => start.wrapping_add(random.below(2_000) as u32),
        2 => start.wrapping_add(random.below(200_000) as u32),
        _ => start.wrapping_sub(random.below(200_000) as u32),
    };
    let flags = match random.below(40) {
        0 => SYN,
        1 => SYN | ACK,
        2 => FIN | ACK,
        3 => RST,
        4..20 => ACK | PSH,
        _ => ACK,
    };
    let tcp = TcpFields {
        sequence: near(random, own),
        acknowledgement: near(random, other),
        flags,
        window: random.below(65_536) as u16,
        window_scale: random.chance(50).then(|| random.below(15) as u8),
    };
    let direction = match from_client {
        true => Direction::ToServer,
        false => Direction::ToClient,
    };
    (direction, tcp, random.below(1_500) as u32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_long_way_does(seed: u64, starts: [u32; 2], strict: bool) {
        let random = &mut Random::new(seed);
        let limits = TcpLimits { strict, ..TcpLimits::default() };
        let mut tracked = TcpConnection::default();
        for _ in 0..60 {
            let (direction, tcp, payload_len) = segment(random, starts);
            let mut short = tracked.clone();
            let is_plain = tcp.flags & (SYN | FIN | RST | ACK) == ACK
                && short.plain_segment(direction, &tcp, payload_len, &limits);
            let before = tracked.clone();
            let verdict = tracked.segment(direction, &tcp, payload_len, &limits);
            if is_plain {
                prop_assert_eq!(verdict, TcpVerdict::Accept);
                prop_assert_eq!(format!("{short:?}"), format!("{tracked:?}"));
                prop_assert_eq!(tracked.life(), Life::Established);
            } else {
                prop_assert_eq!(format!("{short:?}"), format!("{before:?}"), "nothing was changed");
            }
        }
    }

    /// An honest exchange takes it, segment by segment.
    #[test]
    fn it_is_taken(starts: [u32; 2], lengths in proptest::collection::vec(0u32..1_500, 1..50)) {
        let field = |next: [u32; 2], from: usize, flags| TcpFields {
            sequence: next[from],
            acknowledgement: if flags == SYN { 0 } else { next[1 - from] },
            flags,
            window: 60_000,
            window_scale: None,
        };
        let limits = TcpLimits::default();
        let mut next = starts;
        let mut tracked = TcpConnection::open(&field(next, 0, SYN), 0);
        next[0] = next[0].wrapping_add(1);
        tracked.segment(Direction::ToClient, &field(next, 1, SYN | ACK), 0, &limits);
        next[1] = next[1].wrapping_add(1);
        tracked.segment(Direction::ToServer, &field(next, 0, ACK), 0, &limits);
        for (number, length) in lengths.into_iter().enumerate() {
            let (from, direction) = [(0, Direction::ToServer), (1, Direction::ToClient)][number % 2];
            prop_assert!(tracked.plain_segment(direction, &field(next, from, ACK), length, &limits));
            next[from] = next[from].wrapping_add(length);
        }
    }
}
