//! Segments of someone who does not know the numbers, and plain rubbish.

mod common;

use common::story::*;
use proptest::prelude::*;
use weir_flow::{Life, TcpConnection, TcpLimits, TcpVerdict, check_flags};
use weir_wire::Direction::{ToClient, ToServer};
use weir_wire::tcp_flags::{ACK, SYN};
use weir_wire::{Reason, TcpFields};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// An attacker who does not know the numbers: every data segment outside the window is dropped,
    /// and the connection goes on as if nothing had happened.
    #[test]
    fn segments_outside_the_window_are_dropped(
        sequence: u32,
        acknowledgement: u32,
        length in 1u32..1_460,
        window in 1u16..,
        forge_server: bool,
    ) {
        let mut story = Story::established(window, window);
        let (direction, at, other) = if forge_server { (ToClient, 5_000, 1_000) } else { (ToServer, 1_000, 5_000) };
        let within = |number: u32, from: u32, below: u32| number.wrapping_sub(from) < below;
        let window = u32::from(window);
        let in_window = within(sequence.wrapping_add(length), u32::wrapping_sub(at, window), 2 * window + 1);
        let fits = within(acknowledgement, u32::wrapping_sub(other, 66_000), 66_001);
        prop_assume!(!(in_window && fits));
        let forged = fields(ACK, sequence, acknowledgement, 60_000);
        prop_assert_eq!(story.says(direction, forged, length), WINDOW);
        prop_assert_eq!(story.says(direction, fields(ACK, at, other, 100), window.min(500)), ACCEPT);
        prop_assert_eq!(story.says(direction, fields(ACK, at + window, other, 100), 1), WINDOW);
    }

    /// Any segments in any order: no panic, no life but those there are, and a closed
    /// connection never comes to life but by `Reopen`.
    #[test]
    fn rubbish_does_no_harm(segments in prop::collection::vec((any::<bool>(), any::<u8>(), 0u32..40, 0u32..40, 0u32..20, any::<u16>(), any::<Option<u8>>()), 1..60)) {
        let mut connection = TcpConnection::default();
        for (to_server, flags, sequence, acknowledgement, length, window, window_scale) in segments {
            let direction = if to_server { ToServer } else { ToClient };
            let tcp = TcpFields { sequence, acknowledgement, flags, window, window_scale };
            let closed = connection.life() == Life::Closed;
            let verdict = connection.segment(direction, &tcp, length, &TcpLimits::default());
            if let TcpVerdict::AcceptLife(life) = verdict {
                prop_assert_eq!(life, connection.life());
                prop_assert!(!closed);
            }
            prop_assert_eq!(check_flags(flags).is_some(), verdict == TcpVerdict::Drop(Reason::TcpFlags));
            if verdict == TcpVerdict::Reopen {
                prop_assert_eq!(flags & (SYN | ACK), SYN);
                connection = TcpConnection::open(&tcp, length);
            }
        }
    }
}
