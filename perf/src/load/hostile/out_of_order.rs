//! Downloads whose segments come in groups of eight, the first of each group last: seven wait each time. The client
//! acknowledges the group.

use crate::load::frames::{Connection, Flag, ends};
use crate::load::{Load, Order, Sender, Shape};

/// Of no known application, so that it is read as long as anything is.
const PORT: u16 = 19_998;
const GROUP: u64 = 8;
const SEGMENT: [u8; 1_024] = [0x5a; 1_024];
/// Handshake.
const OPENING: u64 = 3;

/// Each connection in turn.
pub(in crate::load) struct OutOfOrder {
    shape: Shape,
    connections: Vec<Connection>,
    order: Order,
    made: u64,
}

impl OutOfOrder {
    pub fn new(shape: &Shape) -> Self {
        Self {
            shape: *shape,
            connections: (0..shape.flows)
                .map(|flow| Connection::new(flow, shape.seed))
                .collect(),
            order: Order::new(shape.flows, shape.seed),
            made: 0,
        }
    }
}

impl Load for OutOfOrder {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let flow = self.order.at(self.made);
        let round = self.made / self.shape.flows;
        self.made += 1;
        let between = ends(flow, self.shape.family);
        let between = (&between, PORT);
        let connection = &mut self.connections[flow as usize];
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
        self.shape.flows * (OPENING + 8 * (GROUP + 1))
    }
}
