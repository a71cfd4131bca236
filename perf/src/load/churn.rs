//! New flows of five small packets each, half of them DNS, a quarter HTTP, a quarter TLS; 88 bytes in the mean; 32 flows at
//! a time, one packet of each in turn. No flow comes again before 2^30 others.

use super::apps::{client_hello, dns_message};
use super::frames::{Connection, Flag, ends, udp};
use super::{Family, Load, Sender, Shape};

/// Flows at a time: a burst holds one packet of each.
const AT_A_TIME: u64 = 32;
const REQUEST: &[u8] = b"GET /api/a HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: close\r\n\r\n";
/// Packets of a flow.
const PACKETS: u64 = 5;

/// Flow after flow.
pub(super) struct Churn {
    first: u64,
    flows: u64,
    family: Family,
    seed: u64,
    made: u64,
    connections: Vec<Connection>,
    said: Vec<u8>,
}

impl Churn {
    pub fn new(shape: &Shape) -> Self {
        Self::from_flow(shape, 0)
    }

    /// With the flow of this number as the first.
    pub fn from_flow(shape: &Shape, first: u64) -> Self {
        Self {
            first,
            flows: shape.flows,
            family: shape.family,
            seed: shape.seed,
            made: 0,
            connections: Vec::new(),
            said: Vec::new(),
        }
    }
}

impl Load for Churn {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let index = self.made % AT_A_TIME;
        let step = self.made / AT_A_TIME % PACKETS;
        let first = self.first + self.made / (AT_A_TIME * PACKETS) * AT_A_TIME;
        self.made += 1;
        if index == 0 && step == 0 {
            let begun = (0..AT_A_TIME).map(|index| Connection::new(first + index, self.seed));
            self.connections = begun.collect();
        }
        let flow = first + index;
        let between = ends(flow, self.family);
        let alternating = [Sender::Client, Sender::Server][(step % 2) as usize];
        self.said.clear();
        // Of both families each kind has some: kinds go by pairs of flows.
        let kind = (flow + flow / 4) % 4;
        if kind.is_multiple_of(2) {
            dns_message(
                flow,
                step / 2,
                alternating == Sender::Server,
                &mut self.said,
            );
            udp(&between, 53, alternating, &self.said, frame);
            return alternating;
        }
        let (sender, flag) = match step {
            0 | 1 => (alternating, Flag::Syn),
            2 | 3 => (Sender::Client, Flag::None),
            _ => (Sender::Server, Flag::None),
        };
        if step == 3 {
            match kind {
                1 => self.said.extend(REQUEST),
                _ => self.said = client_hello(flow),
            }
        }
        let port = if kind == 1 { 80 } else { 443 };
        let connection = &mut self.connections[index as usize];
        connection.segment((&between, port), sender, flag, &self.said, frame);
        sender
    }

    fn warm_up_packets(&self) -> u64 {
        50 * AT_A_TIME
    }

    fn turn_packets(&self) -> u64 {
        PACKETS * self.flows.next_multiple_of(AT_A_TIME)
    }
}
