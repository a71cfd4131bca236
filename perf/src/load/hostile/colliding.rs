//! Datagrams of flows that all fall into one bucket of a flow table whose secret is known: [`LEAKED_SECRET`]. To a
//! table with another secret they are flows like any others; that is what it is for. Memory: eight bytes a flow.

use weir_flow::FlowTable;
use weir_wire::glance;

use crate::load::frames::{Addresses, Ends, ends, udp};
use crate::load::{Family, Load, Sender, Shape};

/// The secret for which they collide.
pub const LEAKED_SECRET: [u64; 2] = [1, 2];
/// Where no known application lives.
const PORT: u16 = 19_997;
const CONTENT: [u8; 22] = [0xa5; 22];
/// Hashes that begin with so many zeros fall into the first bucket of every table for up to 1.7 million flows, which
/// has fewer buckets than that. Few flows have to agree in less, since they are shown to smaller tables.
const EQUAL_BITS: u32 = 18;
const EQUAL_BITS_BEYOND_FLOWS: u32 = 8;
/// Packets of a flow after which it is settled.
const PACKETS_TO_SETTLE: u64 = 16;

/// Each flow in turn, then each the other way.
pub(in crate::load) struct Colliding {
    flows: Vec<Ends>,
    made: u64,
}

impl Colliding {
    /// Looks for them: a quarter of a million tries each at most, a millisecond.
    pub fn new(shape: &Shape) -> Self {
        let table = FlowTable::<()>::new(1, LEAKED_SECRET);
        let mut frame = Vec::new();
        let mut seen = [Family::V4, Family::V6].map(|family| {
            udp(&ends(0, family), PORT, Sender::Client, &[], &mut frame);
            glance(&frame, true)
        });
        let mut flows = Vec::new();
        let equal_bits = EQUAL_BITS.min(shape.flows.max(1).ilog2() + EQUAL_BITS_BEYOND_FLOWS);
        let mut number = shape.seed << 20;
        while flows.len() < shape.flows as usize {
            let between = ends(number & ((1 << 30) - 1), shape.family);
            number += 1;
            let Some(seen) = &mut seen[usize::from(between.is_v6())] else {
                break;
            };
            (seen.ends, seen.source_port) = (seen_ends(&between), between.client_port);
            if table.key(seen, 0).1.leading_zeros() >= equal_bits {
                flows.push(between);
            }
        }
        Self { flows, made: 0 }
    }
}

fn seen_ends(between: &Ends) -> weir_wire::Ends {
    match between.addresses {
        Addresses::V4([client, server]) => {
            weir_wire::Ends::V4(u32::from_be_bytes(client), u32::from_be_bytes(server))
        }
        Addresses::V6([client, server]) => {
            weir_wire::Ends::V6(u128::from_be_bytes(client), u128::from_be_bytes(server))
        }
    }
}

impl Load for Colliding {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let count = self.flows.len() as u64;
        let sender = [Sender::Client, Sender::Server][(self.made / count % 2) as usize];
        let between = &self.flows[(self.made % count) as usize];
        self.made += 1;
        udp(between, PORT, sender, &CONTENT, frame);
        sender
    }

    fn warm_up_packets(&self) -> u64 {
        2 * PACKETS_TO_SETTLE * self.flows.len() as u64
    }

    fn turn_packets(&self) -> u64 {
        2 * self.flows.len() as u64
    }
}
