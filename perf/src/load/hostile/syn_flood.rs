//! SYNs of senders that do not exist, each once, then all again with other sequence numbers; nobody answers.

use crate::load::frames::{Connection, Flag, ends};
use crate::load::{Load, Order, Sender, Shape};

/// What is attacked.
const PORT: u16 = 80;
/// Beyond the flows of honest loads, so that both can be sent at once.
const FIRST_FLOW: u64 = 1 << 29;

/// From so many senders.
pub(in crate::load) struct SynFlood {
    shape: Shape,
    order: Order,
    made: u64,
}

impl SynFlood {
    pub fn new(shape: &Shape) -> Self {
        Self {
            shape: *shape,
            order: Order::new(shape.flows, shape.seed),
            made: 0,
        }
    }
}

impl Load for SynFlood {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let flow = FIRST_FLOW + self.order.at(self.made);
        let round = self.made / self.shape.flows;
        self.made += 1;
        let between = ends(flow, self.shape.family);
        let mut connection = Connection::new(flow, self.shape.seed ^ round);
        connection.segment((&between, PORT), Sender::Client, Flag::Syn, &[], frame);
        Sender::Client
    }

    fn turn_packets(&self) -> u64 {
        self.shape.flows
    }
}
