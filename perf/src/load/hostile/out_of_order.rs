//! Downloads whose segments come in groups of eight, the first of each group last: seven wait each time. The client
//! acknowledges the group.

use crate::load::frames::Flag;
use crate::load::in_turn::InTurn;
use crate::load::{Load, Sender, Shape};

/// Of no known application, so that it is read as long as anything is.
const PORT: u16 = 19_998;
const GROUP: u64 = 8;
const SEGMENT: [u8; 1_024] = [0x5a; 1_024];
/// Handshake.
const OPENING: u64 = 3;

/// Each connection in turn.
pub(in crate::load) struct OutOfOrder {
    connections: InTurn,
}

impl OutOfOrder {
    pub fn new(shape: &Shape) -> Self {
        Self {
            connections: InTurn::new(shape),
        }
    }
}

impl Load for OutOfOrder {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let (connection, between, round) = self.connections.next();
        let between = (&between, PORT);
        if round < OPENING {
            let sender = [Sender::Client, Sender::Server][(round % 2) as usize];
            let flag = if round == 2 { Flag::None } else { Flag::Syn };
            connection.segment(between, sender, flag, &[], frame);
            return sender;
        }
        let place = (round - OPENING) % (GROUP + 1);
        if place == GROUP {
            connection.next[1] =
                connection.next[1].wrapping_add(GROUP as u32 * SEGMENT.len() as u32);
            connection.segment(between, Sender::Client, Flag::None, &[], frame);
            return Sender::Client;
        }
        // The one behind the first, and so on; the first at the end.
        let part = ((place + 1) % GROUP) as u32 * SEGMENT.len() as u32;
        let mut sent = *connection;
        sent.next[1] = sent.next[1].wrapping_add(part);
        sent.segment(between, Sender::Server, Flag::None, &SEGMENT, frame);
        Sender::Server
    }

    fn turn_packets(&self) -> u64 {
        self.connections.count() * (OPENING + 8 * (GROUP + 1))
    }
}
