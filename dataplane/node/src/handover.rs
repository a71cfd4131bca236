//! Which worker owns a flow, and how a frame gets there.
//!
//! Where the NIC spreads flows over its queues by symmetric RSS, both directions of a flow meet on
//! one worker and that worker owns it. Where it cannot (one queue, fragments, tunnels) the worker
//! that received the frame computes the same hash in software and hands the frame over a bounded
//! ring. A full ring drops the frame under `handover_full`: the sender repeats what matters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use weir_flow::FlowKey;
use weir_wire::Packet;

use crate::announced::Announced;
use crate::path::Arrived;

/// Frames that a ring between two workers holds at most.
pub const RING_FRAMES: usize = 2048;

/// This worker's place among the workers.
pub struct Ownership<F> {
    index: usize,
    /// One ring per worker: what others handed to it.
    rings: Vec<Arc<ArrayQueue<Arrived<F>>>>,
    /// By port: the device spreads flows by symmetric RSS.
    spread_by_device: Vec<bool>,
    /// Which workers run; the watchdog clears an entry.
    alive: Arc<Vec<AtomicBool>>,
    /// Flows to come, whichever worker's they will be.
    announced: Announced,
}

impl<F> Ownership<F> {
    /// A single worker owns everything.
    pub fn alone() -> Self {
        Self {
            index: 0,
            rings: Vec::new(),
            spread_by_device: Vec::new(),
            alive: Arc::default(),
            announced: Announced::new(),
        }
    }

    /// The places of the workers whose state `alive` tells.
    pub fn shared(alive: &Arc<Vec<AtomicBool>>, spread_by_device: &[bool]) -> Vec<Self> {
        let workers = alive.len();
        let rings: Vec<_> = (0..workers)
            .map(|_| Arc::new(ArrayQueue::new(RING_FRAMES)))
            .collect();
        let announced = Announced::new();
        (0..workers)
            .map(|index| Self {
                index,
                rings: rings.clone(),
                spread_by_device: spread_by_device.to_vec(),
                alive: Arc::clone(alive),
                announced: announced.clone(),
            })
            .collect()
    }

    /// Which ports spread flows by themselves, where that was not known when this was made.
    pub fn spread_by(&mut self, device: &[bool]) {
        self.spread_by_device = device.to_vec();
    }

    /// Flows that any worker has read an announcement of.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// This worker's number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The other worker that owns the packet's flow; None where this one does.
    pub fn other(&self, arrived: &Arrived<F>, packet: &Packet) -> Option<usize> {
        if self.rings.len() < 2 || arrived.at_owner {
            return None;
        }
        let plain = packet.fragment.is_none() && packet.tunnels == 0;
        if plain
            && self
                .spread_by_device
                .get(usize::from(arrived.port))
                .copied()
                .unwrap_or(false)
        {
            return None;
        }
        self.owner(packet)
    }

    /// The other worker that owns the flow of a datagram put together from fragments. Its fragments
    /// met by their addresses alone; only now are the ports known.
    pub fn owner(&self, packet: &Packet) -> Option<usize> {
        if self.rings.len() < 2 {
            return None;
        }
        let owner = owner_hash(packet) as usize % self.rings.len();
        (owner != self.index).then_some(owner)
    }

    /// Whether that worker still runs.
    pub fn is_alive(&self, worker: usize) -> bool {
        self.alive
            .get(worker)
            .is_some_and(|alive| alive.load(Ordering::Relaxed))
    }

    /// Gives a frame to its owner; it comes back when the ring is full.
    pub fn give(&self, owner: usize, mut arrived: Arrived<F>) -> Result<(), Arrived<F>> {
        arrived.at_owner = true;
        self.rings[owner].push(arrived)
    }

    /// Takes what others handed over, at most `most`.
    pub fn take(&self, into: &mut Vec<Arrived<F>>, most: usize) {
        let Some(ring) = self.rings.get(self.index) else {
            return;
        };
        into.extend(std::iter::from_fn(|| ring.pop()).take(most));
    }
}

/// The worker that owns a flow, of so many, where no device spreads flows by itself.
pub fn owner_of(key: &FlowKey, workers: usize) -> usize {
    let (source, source_port, destination, destination_port) = key.endpoints(true);
    let ports = match crate::connection::has_ports(key.protocol()) {
        true => source_port ^ destination_port,
        false => 0,
    };
    // Of two IPv4 addresses mapped into IPv6 the rest is equal and cancels out.
    hash_words(source ^ destination, ports) as usize % workers.max(1)
}

/// Hash of addresses and ports, equal for both directions: the Toeplitz hash with the repeating
/// key 0x6d5a that makes it symmetric (Woo and Park, "Scalable TCP Session Monitoring with
/// Symmetric Receive-side Scaling", 2012). With that key the hash is linear over 16-bit words of
/// the input, so the words can be combined first: source xor destination. Fragments have no ports
/// and are hashed by address, which brings all of them to one worker; once whole, the datagram's
/// ports lead them on to the flow's owner.
fn owner_hash(packet: &Packet) -> u32 {
    let words = if packet.is_ipv4 {
        (packet.source ^ packet.destination) as u32 as u128
    } else {
        packet.source ^ packet.destination
    };
    let ports = match packet.fragment.is_none() && crate::connection::has_ports(packet.protocol) {
        true => packet.source_port ^ packet.destination_port,
        false => 0,
    };
    hash_words(words, ports)
}

/// The same of what is different between the addresses, and between the ports.
fn hash_words(addresses: u128, ports: u16) -> u32 {
    let word = (0..8).fold(ports, |folded, shift| {
        folded ^ (addresses >> (16 * shift)) as u16
    });
    toeplitz_word(word)
}

/// The Toeplitz hash of one 16-bit word under the repeating key 0x6d5a.
fn toeplitz_word(word: u16) -> u32 {
    const KEY: u64 = 0x6d5a_6d5a_6d5a_6d5a;
    (0..16)
        .filter(|bit| word & (0x8000 >> bit) != 0)
        .fold(0, |hash, bit| hash ^ (KEY >> (32 - bit)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook form, bit by bit over the whole input.
    fn toeplitz(input: &[u8]) -> u32 {
        let key: Vec<u8> = [0x6d, 0x5a].repeat(40);
        let mut hash = 0_u32;
        for bit in 0..input.len() * 8 {
            if input[bit / 8] & (0x80 >> (bit % 8)) != 0 {
                let window = u64::from_be_bytes(key[bit / 8..bit / 8 + 8].try_into().unwrap());
                hash ^= (window >> (32 - bit % 8)) as u32;
            }
        }
        hash
    }

    #[test]
    fn folding_words_equals_the_textbook() {
        for seed in 0..500_u32 {
            let source = seed.wrapping_mul(2_654_435_761);
            let destination = seed.wrapping_mul(40_503).rotate_left(7);
            let (source_port, destination_port) = ((seed * 31) as u16, (seed * 17 + 3) as u16);
            let mut input = Vec::new();
            input.extend(source.to_be_bytes());
            input.extend(destination.to_be_bytes());
            input.extend(source_port.to_be_bytes());
            input.extend(destination_port.to_be_bytes());
            let combined = source ^ destination;
            let word = (combined >> 16) as u16 ^ combined as u16 ^ source_port ^ destination_port;
            assert_eq!(toeplitz_word(word), toeplitz(&input));
        }
    }
}
