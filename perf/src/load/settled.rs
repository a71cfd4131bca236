//! Flows of no known application, in which nobody looks for anything any more.

use super::churn::Churn;
use super::frames::{Flag, UDP_HEADERS_BYTES, ends, udp};
use super::in_turn::InTurn;
use super::{Load, Order, Sender, Shape};

/// Where no known application lives.
const PLAIN_PORT: u16 = 19_999;
/// Packets of a flow after which it is settled.
const PACKETS_TO_SETTLE: u64 = 16;
/// What either end says: bytes that no application begins with. The same bytes back would be the echo service.
static CONTENT: [[u8; 9_216]; 2] = [[0xa5; 9_216], [0x5a; 9_216]];

/// Datagrams: each flow in turn, then each the other way. Of IMIX one of each flow that is short and then one that is
/// long.
pub(super) struct SettledUdp {
    shape: Shape,
    order: Order,
    made: u64,
}

impl SettledUdp {
    /// Of so many flows.
    pub fn new(shape: &Shape) -> Self {
        Self {
            shape: *shape,
            order: Order::new(shape.flows, shape.seed),
            made: 0,
        }
    }
}

impl Load for SettledUdp {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let (place, round) = (self.made % self.shape.flows, self.made / self.shape.flows);
        let sender = [Sender::Client, Sender::Server][(round % 2) as usize];
        let ends = ends(self.order.at(place), self.shape.family);
        let headers = UDP_HEADERS_BYTES[usize::from(ends.is_v6())];
        // By round as well, so that a flow has frames of every length.
        let length = self
            .shape
            .size
            .of(place + round / 2)
            .saturating_sub(headers);
        udp(
            &ends,
            PLAIN_PORT,
            sender,
            &CONTENT[sender as usize][..length],
            frame,
        );
        self.made += 1;
        sender
    }

    fn warm_up_packets(&self) -> u64 {
        2 * self.shape.flows * PACKETS_TO_SETTLE
    }

    fn turn_packets(&self) -> u64 {
        2 * self.shape.flows
    }
}

/// TCP connections: each in turn carries 512 bytes to the server, then each 512 bytes back.
pub(super) struct SettledTcp {
    connections: InTurn,
}

impl SettledTcp {
    /// Of so many connections.
    pub fn new(shape: &Shape) -> Self {
        Self {
            connections: InTurn::new(shape),
        }
    }
}

impl Load for SettledTcp {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let (connection, between, round) = self.connections.next();
        let sender = [Sender::Client, Sender::Server][(round % 2) as usize];
        let (flag, content): (_, &[u8]) = match round {
            0 | 1 => (Flag::Syn, &[]),
            _ => (Flag::None, &CONTENT[sender as usize][..512]),
        };
        connection.segment((&between, PLAIN_PORT), sender, flag, content, frame);
        sender
    }

    fn warm_up_packets(&self) -> u64 {
        self.connections.count() * PACKETS_TO_SETTLE
    }

    fn turn_packets(&self) -> u64 {
        self.connections.count() * PACKETS_TO_SETTLE
    }
}

/// Settled flows among which new ones come: so many packets in a thousand are of those.
pub(super) struct Arrivals {
    settled: SettledUdp,
    new: Churn,
    new_per_thousand: u64,
    made: u64,
}

impl Arrivals {
    /// The new ones are those of [`Churn`].
    pub fn new(shape: &Shape) -> Self {
        Self {
            settled: SettledUdp::new(shape),
            new: Churn::from_flow(shape, shape.flows),
            new_per_thousand: shape.new_per_thousand.min(1_000),
            made: 0,
        }
    }
}

impl Load for Arrivals {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        self.made += 1;
        // Spread evenly, from the moment on at which the others are settled.
        let share = self.made * self.new_per_thousand;
        let is_new = share / 1_000 != (share - self.new_per_thousand) / 1_000;
        match is_new && self.made > self.settled.warm_up_packets() {
            true => self.new.next(frame),
            false => self.settled.next(frame),
        }
    }

    fn warm_up_packets(&self) -> u64 {
        self.settled.warm_up_packets()
    }

    fn turn_packets(&self) -> u64 {
        self.settled.warm_up_packets() + 4 * self.settled.turn_packets()
    }
}
