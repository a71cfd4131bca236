//! Connections that say something each in turn: all of them once a round, in a drawn order.

use super::frames::{Connection, Ends, ends};
use super::{Order, Shape};

/// As many connections as a shape has flows.
pub(super) struct InTurn {
    shape: Shape,
    connections: Vec<Connection>,
    order: Order,
    made: u64,
}

impl InTurn {
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

    /// Whose turn it is, between whom it is, and the round.
    pub fn next(&mut self) -> (&mut Connection, Ends, u64) {
        let flow = self.order.at(self.made);
        let round = self.made / self.shape.flows;
        self.made += 1;
        let between = ends(flow, self.shape.family);
        (&mut self.connections[flow as usize], between, round)
    }

    /// Connections.
    pub fn count(&self) -> u64 {
        self.shape.flows
    }
}
