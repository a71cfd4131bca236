//! Packets by the name of what they are: deterministic, seeded, for ever. `table.rs` lists the loads.
//!
//! ```
//! use weir_perf::load::{self, Shape};
//!
//! let mut load = load::open("http", &Shape { flows: 10, ..Shape::default() })?;
//! let mut frame = Vec::new();
//! let sender = load.next(&mut frame);
//! assert_eq!(sender, load::Sender::Client);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A load with the same [`Shape`] is the same to the byte, on every run and machine. Memory: a few dozen bytes for each
//! flow that lives at a time; whatever else a load needs stands at its head.

mod apps;
mod capture_file;
mod churn;
mod dialogue;
mod frames;
mod hostile;
mod in_turn;
mod mixed;
mod settled;
mod table;

pub use frames::{Ends, ends};
pub use hostile::LEAKED_SECRET;
pub use table::{Entry, TABLE, is_honest, open};

use std::str::FromStr;

/// Makes packets, for ever.
pub trait Load: Send {
    /// Puts the next packet into `frame`, in place of what is there: an Ethernet frame without its check sequence.
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender;

    /// Packets until the load is what it is called: flows are open, identification has given up.
    fn warm_up_packets(&self) -> u64 {
        0
    }

    /// Packets after which everything was there once: what a capture file holds unless told otherwise.
    fn turn_packets(&self) -> u64;
}

/// Who sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// By port 0.
    Client = 0,
    /// By port 1.
    Server = 1,
}

impl Sender {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// IPv4, IPv6, or each flow in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
    /// Even flows IPv4, odd ones IPv6.
    Both,
}

/// How long frames are, where a load leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes of each frame, without its check sequence.
    Bytes(usize),
    /// Seven of 64, four of 594, one of 1,518 bytes.
    Imix,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "imix" => Ok(Self::Imix),
            Ok(bytes) if (62..=9_216).contains(&bytes) => Ok(Self::Bytes(bytes)),
            _ => Err(format!(
                "{text} is neither imix nor a length from 62 to 9216"
            )),
        }
    }
}

impl Size {
    /// The length of the packet with this number.
    pub(crate) fn of(self, number: u64) -> usize {
        const IMIX: [usize; 12] = [64, 594, 64, 64, 594, 64, 1_518, 594, 64, 64, 594, 64];
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => IMIX[(number % 12) as usize],
        }
    }
}

/// What a load is made with.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Flows that live at a time; of a flood, how many senders it pretends.
    pub flows: u64,
    /// Of loads without an application: how long frames are.
    pub size: Size,
    /// Addresses.
    pub family: Family,
    /// Drawn from it: the order of flows, sequence numbers, contents.
    pub seed: u64,
    /// Of the load `arrivals`: packets of new flows in a thousand.
    pub new_per_thousand: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            flows: 10_000,
            size: Size::Bytes(64),
            family: Family::V4,
            seed: 0,
            new_per_thousand: 50,
        }
    }
}

/// A load as an iterator of packets with memory of their own.
pub struct Packets(pub Box<dyn Load>);

impl Iterator for Packets {
    type Item = (Sender, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut frame = Vec::new();
        let sender = self.0.next(&mut frame);
        Some((sender, frame))
    }
}

/// An order of numbers below `count` that no cache can guess, without a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    count: u64,
    step: u64,
    begin: u64,
}

impl Order {
    /// Of numbers below `count`; the same for the same seed.
    pub(crate) fn new(count: u64, seed: u64) -> Self {
        let count = count.max(1);
        // Near the golden section every stretch of the order is spread evenly.
        let mut step = ((count as f64 * 0.618_034) as u64).max(1);
        while common_divisor(step, count) != 1 {
            step += 1;
        }
        Self {
            count,
            step,
            begin: mix(seed) % count,
        }
    }

    /// The number at a place; places go on for ever, numbers come again.
    pub(crate) fn at(&self, place: u64) -> u64 {
        (self.begin + place % self.count * self.step) % self.count
    }
}

fn common_divisor(one: u64, other: u64) -> u64 {
    match other {
        0 => one,
        _ => common_divisor(other, one % other),
    }
}

/// A number that tells nothing of the one it is made of (splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once() {
        for count in [1, 2, 7, 32, 10_000] {
            let order = Order::new(count, 5);
            let mut numbers: Vec<u64> = (0..count).map(|place| order.at(place)).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn every_load_is_the_same_for_the_same_seed_and_fits_a_port() {
        for entry in TABLE {
            for family in [Family::V4, Family::V6, Family::Both] {
                let shape = Shape {
                    flows: 40,
                    family,
                    ..Shape::default()
                };
                let made = |seed| -> Vec<_> {
                    let load = open(entry.name, &Shape { seed, ..shape }).unwrap();
                    Packets(load).take(2_000).collect()
                };
                let first = made(1);
                assert!(first == made(1), "{} differs from itself", entry.name);
                let fits = |(_, frame): &(Sender, Vec<u8>)| (42..=9_216).contains(&frame.len());
                assert!(first.iter().all(fits), "{}", entry.name);
                let family_of = |(_, frame): &(Sender, Vec<u8>)| frame[12..14] == [0x86, 0xdd];
                let (v6, all) = (
                    first.iter().filter(|one| family_of(one)).count(),
                    first.len(),
                );
                let wanted = match family {
                    Family::V4 => v6 == 0,
                    Family::V6 => v6 == all,
                    Family::Both => v6 > all / 10 && v6 < all * 9 / 10,
                };
                assert!(wanted, "{}: {v6} of {all} are IPv6", entry.name);
            }
        }
    }
}
