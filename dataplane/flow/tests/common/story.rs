//! A TCP connection told segment by segment.
#![allow(dead_code)] // each test binary uses its own part

use weir_flow::{Life, TcpConnection, TcpLimits, TcpVerdict};
use weir_wire::Direction::{self, ToClient, ToServer};
use weir_wire::tcp_flags::{ACK, SYN};
use weir_wire::{Reason, TcpFields};

pub const STATE: TcpVerdict = TcpVerdict::Drop(Reason::TcpState);
pub const WINDOW: TcpVerdict = TcpVerdict::Drop(Reason::TcpWindow);
pub const ACCEPT: TcpVerdict = TcpVerdict::Accept;

pub fn fields(flags: u8, sequence: u32, acknowledgement: u32, window: u16) -> TcpFields {
    TcpFields {
        sequence,
        acknowledgement,
        flags,
        window,
        window_scale: None,
    }
}

/// A connection and the way to speak in it: client sequence from 1,000, server's from 5,000.
pub struct Story(pub TcpConnection);

impl Story {
    pub fn established(client_window: u16, server_window: u16) -> Self {
        let mut story = Self(TcpConnection::open(&fields(SYN, 999, 0, client_window), 0));
        assert_eq!(
            story.says(ToClient, fields(SYN | ACK, 4_999, 1_000, server_window), 0),
            ACCEPT
        );
        assert_eq!(
            story.says(ToServer, fields(ACK, 1_000, 5_000, client_window), 0),
            TcpVerdict::AcceptLife(Life::Established)
        );
        assert!(story.0.is_established() && !story.0.picked_up());
        story
    }

    pub fn says(&mut self, direction: Direction, tcp: TcpFields, payload_len: u32) -> TcpVerdict {
        self.0
            .segment(direction, &tcp, payload_len, &TcpLimits::default())
    }

    pub fn tells(
        &mut self,
        direction: Direction,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
        payload: u32,
    ) -> TcpVerdict {
        self.says(
            direction,
            fields(flags, sequence, acknowledgement, 1_000),
            payload,
        )
    }
}
