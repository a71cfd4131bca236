//! SYNs of senders that do not exist: each from another address and port, never answered, the same in every run.

use anyhow::{Context, Result};
use etherparse::PacketBuilder;

const MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 2]];
const SERVER: [u8; 4] = [10, 128, 0, 9];
const SERVER_PORT: u16 = 443;
const WINDOW: u16 = 64_240;

/// Makes one after the other.
#[derive(Default)]
pub struct Flood {
    number: u64,
    frame: Vec<u8>,
}

impl Flood {
    /// The next one. Senders are in 10.0.0.0/9, where the client is: whatever policy lets through is let through.
    pub fn next(&mut self) -> Result<&[u8]> {
        self.number += 1;
        let drawn = mix(self.number).to_be_bytes();
        let source = [10, drawn[0] & 0x7f, drawn[1], drawn[2]];
        let port = u16::from_be_bytes([drawn[3], drawn[4]]).max(1_024);
        let sequence = u32::from_be_bytes([drawn[4], drawn[5], drawn[6], drawn[7]]);
        self.frame.clear();
        PacketBuilder::ethernet2(MAC[0], MAC[1])
            .ipv4(source, SERVER, 64)
            .tcp(port, SERVER_PORT, sequence, WINDOW)
            .syn()
            .write(&mut self.frame, &[])
            .context("cannot make a SYN")?;
        // The shortest frame of a wire.
        self.frame.resize(60, 0);
        Ok(&self.frame)
    }
}

/// A number that tells nothing of the one it is made of (splitmix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hardly_two_have_the_same_sender() {
        let mut flood = Flood::default();
        let senders: HashSet<Vec<u8>> = (0..10_000)
            .map(|_| flood.next().unwrap()[26..36].to_vec())
            .collect();
        assert!(senders.len() > 9_990, "{}", senders.len());
    }

    #[test]
    fn each_is_a_whole_syn() {
        let mut flood = Flood::default();
        let packet = etherparse::PacketHeaders::from_ethernet_slice(flood.next().unwrap()).unwrap();
        let tcp = packet.transport.unwrap().tcp().unwrap();
        assert!(tcp.syn && !tcp.ack);
    }
}
