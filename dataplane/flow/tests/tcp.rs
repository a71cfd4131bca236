//! TCP connections, story by story.

mod common;

use common::packet;
use common::story::*;
use weir_flow::{
    Life, TcpConnection, TcpLimits, TcpVerdict, check_flags, payload_sequence, sender_is_client,
};
use weir_wire::Direction::{ToClient, ToServer};
use weir_wire::tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
use weir_wire::{Packet, Reason, TcpFields};

#[test]
fn only_honest_flags_pass() {
    let honest = [
        SYN,
        SYN | ACK,
        ACK,
        ACK | PSH,
        ACK | URG,
        ACK | PSH | URG,
        FIN | ACK,
        FIN | ACK | PSH,
        RST,
        RST | ACK,
        SYN | 64 | 128,
        ACK | 64,
    ];
    for flags in 0..=255u8 {
        let ignoring = flags & !(64 | 128 | PSH | URG);
        let expected = honest.contains(&flags) || honest.contains(&ignoring);
        assert_eq!(check_flags(flags).is_none(), expected, "{flags:#b}");
    }
    for flags in [
        0,
        FIN,
        PSH,
        URG,
        FIN | PSH | URG,
        SYN | FIN,
        SYN | RST,
        SYN | FIN | ACK,
        RST | FIN,
        255,
    ] {
        let mut story = Story::established(1_000, 1_000);
        assert_eq!(
            story.tells(ToServer, flags, 1_000, 5_000, 0),
            TcpVerdict::Drop(Reason::TcpFlags)
        );
    }
}

#[test]
fn a_life_from_handshake_to_close() {
    let mut story = Story::established(1_000, 1_000);
    assert_eq!(story.tells(ToServer, ACK | PSH, 1_000, 5_000, 100), ACCEPT);
    assert_eq!(story.tells(ToClient, ACK, 5_000, 1_100, 200), ACCEPT);
    assert_eq!(story.0.next_sequence(ToServer), 1_100);
    assert_eq!(story.0.next_sequence(ToClient), 5_000);
    assert_eq!(
        story.tells(ToServer, FIN | ACK, 1_100, 5_200, 10),
        TcpVerdict::AcceptLife(Life::Closing)
    );
    // Half closed: the server goes on. The FIN counts behind its data.
    assert_eq!(story.tells(ToClient, ACK, 5_200, 1_111, 500), ACCEPT);
    assert_eq!(story.tells(ToServer, ACK, 1_111, 5_700, 0), ACCEPT);
    assert_eq!(
        story.tells(ToServer, ACK, 1_111, 5_700, 1),
        STATE,
        "nothing follows a FIN"
    );
    assert_eq!(
        story.tells(ToServer, FIN | ACK, 1_100, 5_700, 10),
        ACCEPT,
        "the FIN again"
    );
    assert_eq!(story.tells(ToClient, FIN | ACK, 5_700, 1_111, 0), ACCEPT);
    assert!(story.0.is_established());
    assert_eq!(
        story.tells(ToServer, ACK, 1_111, 5_701, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
    assert!(!story.0.is_established());
    assert_eq!(
        story.tells(ToClient, FIN | ACK, 5_700, 1_111, 0),
        ACCEPT,
        "the last ACK was lost"
    );
    assert_eq!(story.tells(ToServer, ACK, 1_111, 5_701, 0), ACCEPT);
}

#[test]
fn windows_bind_both_ends() {
    let mut story = Story::established(500, 1_000);
    assert_eq!(story.tells(ToServer, ACK, 1_000, 5_000, 1_000), ACCEPT);
    assert_eq!(
        story.tells(ToServer, ACK, 2_000, 5_000, 1),
        WINDOW,
        "one beyond the window"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_500, 5_000, 501),
        WINDOW,
        "reaching beyond the window"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_000, 5_001, 0),
        WINDOW,
        "acknowledges what was not sent"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_000u32.wrapping_sub(1_200), 5_000, 10),
        WINDOW,
        "long past"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 2_000, 5_000u32.wrapping_sub(70_000), 0),
        WINDOW,
        "an acknowledgement long past"
    );
    assert_eq!(
        story.says(ToClient, fields(ACK, 5_000, 2_000, 0), 0),
        ACCEPT
    );
    assert_eq!(
        story.tells(ToServer, ACK, 2_000, 5_000, 1),
        ACCEPT,
        "a zero window is probed with a byte"
    );
    assert_eq!(story.tells(ToServer, ACK, 2_001, 5_000, 1), WINDOW);
    assert_eq!(
        story.tells(ToServer, FIN | ACK, 2_001, 5_000, 0),
        TcpVerdict::AcceptLife(Life::Closing)
    );
    assert_eq!(
        story.tells(ToServer, ACK, 2_002, 5_000, 0),
        ACCEPT,
        "and what acknowledges from behind it"
    );
}

#[test]
fn keepalives_and_retransmissions_pass() {
    let mut story = Story::established(1_000, 1_000);
    assert_eq!(story.tells(ToServer, ACK, 999, 5_000, 0), ACCEPT);
    assert_eq!(story.tells(ToServer, ACK, 999, 5_000, 1), ACCEPT);
    assert_eq!(story.tells(ToClient, ACK, 5_000, 1_000, 0), ACCEPT);
    assert_eq!(story.tells(ToServer, ACK, 1_000, 5_000, 700), ACCEPT);
    assert_eq!(story.tells(ToServer, ACK, 1_000, 5_000, 700), ACCEPT);
    let again = TcpFields {
        window: 1_000,
        ..fields(SYN | ACK, 4_999, 1_000, 0)
    };
    assert_eq!(story.says(ToClient, again, 0), ACCEPT, "the SYN+ACK again");
    assert_eq!(
        story.tells(ToServer, SYN, 999, 0, 0),
        ACCEPT,
        "the SYN again"
    );
}

#[test]
fn scaling_counts_when_both_offer_it() {
    for (client, server, shift) in [
        (Some(3), Some(5), 3),
        (Some(3), None, 0),
        (None, Some(5), 0),
        (Some(40), Some(0), 14),
    ] {
        let mut story = Story(TcpConnection::open(
            &TcpFields {
                window_scale: client,
                ..fields(SYN, 999, 0, 100)
            },
            0,
        ));
        let answer = TcpFields {
            window_scale: server,
            ..fields(SYN | ACK, 4_999, 1_000, 100)
        };
        assert_eq!(story.says(ToClient, answer, 0), ACCEPT);
        // Before the handshake's third segment the window of the SYN counts, never scaled.
        assert_eq!(story.tells(ToClient, ACK, 5_100, 1_000, 1), WINDOW);
        assert_eq!(
            story.says(ToServer, fields(ACK, 1_000, 5_000, 100), 0),
            TcpVerdict::AcceptLife(Life::Established)
        );
        let edge = 5_000 + (100 << shift);
        assert_eq!(
            story.tells(ToClient, ACK, edge, 1_000, 1),
            WINDOW,
            "{client:?} {server:?}"
        );
        assert_eq!(
            story.tells(ToClient, ACK, edge - 1, 1_000, 1),
            ACCEPT,
            "{client:?} {server:?}"
        );
    }
}

#[test]
fn a_handshake_goes_step_by_step() {
    let open = || Story(TcpConnection::open(&fields(SYN, 999, 0, 1_000), 0));
    assert_eq!(open().0.life(), Life::Opening);
    assert_eq!(
        open().tells(ToClient, SYN | ACK, 4_999, 1_001, 0),
        WINDOW,
        "answers another SYN"
    );
    assert_eq!(open().tells(ToClient, SYN | ACK, 4_999, 999, 0), WINDOW);
    assert_eq!(
        open().tells(ToServer, ACK, 999, 5_000, 10),
        STATE,
        "not from this SYN"
    );
    assert_eq!(
        open().tells(ToClient, ACK, 5_000, 999, 10),
        STATE,
        "answers another SYN"
    );
    assert_eq!(
        open().tells(ToClient, ACK, 7_777, 8_888_888, 0),
        ACCEPT,
        "a challenge ACK"
    );
    assert_eq!(
        open().tells(ToServer, RST, 8_888_888, 0, 0),
        ACCEPT,
        "the answer to it"
    );
    assert_eq!(
        open().tells(ToClient, RST | ACK, 0, 1_000, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
    assert_eq!(open().tells(ToClient, RST | ACK, 0, 1_001, 0), WINDOW);
    assert_eq!(open().tells(ToClient, RST, 0, 0, 0), WINDOW);
    assert_eq!(open().tells(ToServer, SYN, 999, 0, 0), ACCEPT);
    assert_eq!(
        open().tells(ToServer, SYN, 4_242, 0, 0),
        TcpVerdict::Reopen,
        "a new attempt"
    );
}

#[test]
fn a_syn_that_came_late_is_followed_by_what_goes_on_from_it() {
    for (direction, sequence, acknowledgement) in
        [(ToServer, 1_300, 5_700), (ToClient, 5_700, 1_300)]
    {
        let mut story = Story(TcpConnection::open(&fields(SYN, 999, 0, 1_000), 0));
        assert_eq!(
            story.tells(direction, ACK, sequence, acknowledgement, 10),
            ACCEPT
        );
        assert!(story.0.picked_up());
        let answer = TcpVerdict::AcceptLife(Life::Established);
        assert_eq!(
            story.tells(direction.reverse(), ACK, acknowledgement, sequence + 10, 10),
            answer
        );
    }
}

#[test]
fn a_late_syn_of_its_own_does_not_open_a_closed_connection() {
    let mut story = Story::established(1_000, 1_000);
    story.tells(ToServer, FIN | ACK, 1_000, 5_000, 0);
    story.tells(ToClient, FIN | ACK, 5_000, 1_001, 0);
    assert_eq!(
        story.tells(ToServer, ACK, 1_001, 5_001, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
    assert_eq!(story.tells(ToServer, SYN, 999, 0, 0), ACCEPT);
    assert_eq!(story.tells(ToServer, SYN, 999, 0, 9), STATE);
    assert_eq!(
        story.tells(ToServer, SYN, 998, 0, 0),
        TcpVerdict::Reopen,
        "any other does"
    );
}

#[test]
fn both_may_open_at_once() {
    let mut story = Story(TcpConnection::open(&fields(SYN, 999, 0, 1_000), 0));
    assert_eq!(story.tells(ToClient, SYN, 4_999, 0, 0), ACCEPT);
    assert_eq!(story.tells(ToServer, SYN | ACK, 999, 5_000, 0), ACCEPT);
    assert_eq!(
        story.tells(ToClient, SYN | ACK, 4_999, 1_000, 0),
        TcpVerdict::AcceptLife(Life::Established)
    );
    assert_eq!(story.tells(ToServer, ACK, 1_000, 5_000, 1_000), ACCEPT);
}

#[test]
fn data_on_a_syn_counts() {
    let mut story = Story(TcpConnection::open(&fields(SYN, 999, 0, 1_000), 10));
    assert_eq!(payload_sequence(&fields(SYN, 999, 0, 0)), 1_000);
    assert_eq!(story.tells(ToClient, SYN | ACK, 4_999, 1_010, 20), ACCEPT);
    assert_eq!(
        story.tells(ToServer, ACK, 1_010, 5_020, 5),
        TcpVerdict::AcceptLife(Life::Established)
    );
    // The server may as well acknowledge the SYN alone.
    let mut story = Story(TcpConnection::open(&fields(SYN, 999, 0, 1_000), 10));
    assert_eq!(story.tells(ToClient, SYN | ACK, 4_999, 1_000, 0), ACCEPT);
    assert_eq!(
        story.tells(ToServer, ACK, 1_000, 5_000, 10),
        TcpVerdict::AcceptLife(Life::Established)
    );
}

#[test]
fn a_reset_counts_only_where_it_is_exact() {
    let mut story = Story::established(1_000, 1_000);
    story.tells(ToServer, ACK, 1_000, 5_000, 100);
    assert_eq!(
        story.tells(ToServer, RST, 1_500, 0, 0),
        ACCEPT,
        "in the window: for the challenge"
    );
    assert_eq!(story.0.life(), Life::Established);
    assert_eq!(story.tells(ToServer, RST, 2_001, 0, 0), WINDOW);
    assert_eq!(story.tells(ToServer, RST, 0, 0, 0), WINDOW);
    let mut other = Story(story.0.clone());
    assert_eq!(
        other.tells(ToServer, RST, 1_000, 0, 0),
        TcpVerdict::AcceptLife(Life::Closed),
        "where the receiver is"
    );
    assert_eq!(
        story.tells(ToServer, RST | ACK, 1_100, 0, 0),
        TcpVerdict::AcceptLife(Life::Closed),
        "where the sender is"
    );
    // The receiver may not have got there; its challenge and the answer must pass, data must not.
    assert_eq!(story.tells(ToClient, ACK, 5_000, 1_000, 0), ACCEPT);
    assert_eq!(story.tells(ToServer, RST, 1_000, 0, 0), ACCEPT);
    assert_eq!(story.tells(ToClient, ACK, 5_000, 1_000, 1), STATE);
    assert_eq!(story.tells(ToServer, SYN, 77, 0, 0), TcpVerdict::Reopen);
}

#[test]
fn a_syn_on_a_living_connection_changes_nothing_by_itself() {
    let mut story = Story::established(1_000, 1_000);
    assert_eq!(story.tells(ToServer, SYN, 70_000, 0, 0), ACCEPT);
    assert_eq!(
        story.tells(ToServer, SYN, 70_000, 0, 5),
        STATE,
        "its data must not be read uninspected"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_000, 5_000, 100),
        ACCEPT,
        "the connection lives"
    );
    assert_eq!(
        story.tells(ToClient, SYN | ACK, 90_000, 70_002, 0),
        STATE,
        "answers something else"
    );
    assert_eq!(story.0.life(), Life::Established);
    // The server has lost the connection and takes the new one: the next SYN begins it.
    assert_eq!(story.tells(ToClient, SYN | ACK, 90_000, 70_001, 0), STATE);
    assert_eq!(story.tells(ToServer, SYN, 70_000, 0, 0), TcpVerdict::Reopen);
}

#[test]
fn a_rebooted_client_gets_through_by_challenge_and_reset() {
    let mut story = Story::established(1_000, 1_000);
    assert_eq!(story.tells(ToServer, SYN, 70_000, 0, 0), ACCEPT);
    assert_eq!(story.tells(ToClient, ACK, 5_000, 1_000, 0), ACCEPT);
    assert_eq!(
        story.tells(ToServer, RST, 1_000, 0, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
    assert_eq!(story.tells(ToServer, SYN, 70_000, 0, 0), TcpVerdict::Reopen);
}

#[test]
fn a_connection_is_picked_up_in_its_middle() {
    let mut story = Story(TcpConnection::open(&fields(ACK, 1_000, 5_000, 10), 100));
    assert!(story.0.picked_up() && !story.0.is_established());
    // Bytes that went by before the pick-up are acknowledged, both ways.
    assert_eq!(story.tells(ToServer, ACK, 1_100, 5_400, 100), ACCEPT);
    assert_eq!(
        story.tells(ToClient, ACK, 5_300, 1_250, 500),
        TcpVerdict::AcceptLife(Life::Established)
    );
    assert_eq!(story.tells(ToServer, ACK, 1_250, 5_900, 100), ACCEPT);
    assert_eq!(story.tells(ToClient, ACK, 5_800, 1_350, 0), ACCEPT);
    assert_eq!(
        story.tells(ToServer, ACK, 1_350, 5_800 + (1_000 << 14), 0),
        ACCEPT,
        "under way before"
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_350 + (1 << 30), 5_800, 10),
        WINDOW
    );
    assert_eq!(
        story.tells(ToServer, ACK, 1_350u32.wrapping_sub(1 << 30), 5_800, 10),
        WINDOW
    );
}

#[test]
fn a_picked_up_connection_takes_a_reset_from_the_end_not_heard() {
    let mut story = Story(TcpConnection::open(&fields(ACK, 1_000, 5_000, 10), 100));
    assert_eq!(story.tells(ToClient, RST, 5_001, 0, 0), ACCEPT);
    assert_eq!(
        story.tells(ToClient, RST, 5_000, 0, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
    let reset = TcpConnection::open(&fields(RST, 1, 0, 0), 0);
    assert_eq!(reset.life(), Life::Closed);
    // A SYN+ACK nobody asked for, and the reset in answer to it.
    let mut story = Story(TcpConnection::open_from(
        ToClient,
        &fields(SYN | ACK, 4_999, 1_000, 10),
        0,
    ));
    assert_eq!(
        story.tells(ToServer, RST, 1_000, 0, 0),
        TcpVerdict::AcceptLife(Life::Closed)
    );
}

/// Someone who plays the answering end to be taken for the server is the client as soon as a SYN
/// tries to open a connection.
#[test]
fn a_guessed_client_cannot_be_abused() {
    let stray = Packet {
        source_port: 443,
        destination_port: 3306,
        tcp: fields(ACK, 1, 1, 1),
        ..packet()
    };
    assert!(!sender_is_client(&stray));
    let mut story = Story(TcpConnection::open_from(ToClient, &stray.tcp, 0));
    assert_eq!(story.tells(ToClient, SYN, 70, 0, 0), TcpVerdict::Reopen);
    assert!(sender_is_client(&Packet {
        tcp: fields(SYN, 1, 0, 1),
        ..stray
    }));
    assert!(!sender_is_client(&Packet {
        tcp: fields(SYN | ACK, 1, 0, 1),
        source_port: 9,
        destination_port: 1,
        ..stray
    }));
    assert!(sender_is_client(&Packet {
        protocol: 17,
        source_port: 53,
        ..stray
    }));
}

#[test]
fn a_connection_seen_by_nobody_begins_with_its_first_segment() {
    let mut story = Story(TcpConnection::default());
    assert_eq!(story.0.life(), Life::Opening);
    assert_eq!(
        story.tells(ToServer, SYN, 999, 0, 0),
        TcpVerdict::AcceptLife(Life::Opening)
    );
    assert!(!story.0.picked_up());
    assert!(
        size_of::<TcpConnection>() <= 72,
        "{}",
        size_of::<TcpConnection>()
    );
}

#[test]
fn a_tap_learns_from_what_it_missed() {
    let lenient = TcpLimits {
        strict: false,
        ..TcpLimits::default()
    };
    let mut connection = Story::established(1_000, 1_000).0;
    for (direction, sequence, acknowledgement) in
        [(ToServer, 90_000, 80_000), (ToClient, 80_000, 90_010)]
    {
        let verdict = connection.segment(
            direction,
            &fields(ACK, sequence, acknowledgement, 10),
            10,
            &lenient,
        );
        assert_eq!(verdict, ACCEPT);
    }
    assert_eq!(connection.next_sequence(ToServer), 90_010);
    let verdict = connection.segment(ToServer, &fields(SYN | FIN, 0, 0, 0), 0, &lenient);
    assert_eq!(verdict, TcpVerdict::Drop(Reason::TcpFlags));
}
