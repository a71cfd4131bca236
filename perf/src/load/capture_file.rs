//! A capture as a load: its packets over and over. The first packet of each pair of addresses tells who the client is.
//! Memory: the capture.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, ensure};
use weir_node::io::replay::Replay;
use weir_wire::{DecodeOptions, Packet, decode};

use super::{Load, Sender};

/// The packets of a file.
pub(super) struct CaptureFile {
    packets: Vec<(Sender, Vec<u8>)>,
    next: usize,
}

impl CaptureFile {
    /// Reads the whole of it; of a capture that is cut off what is there.
    pub fn open(path: &Path) -> Result<Self> {
        let mut replay = Replay::open(path)?;
        let mut clients = HashMap::new();
        let mut packets = Vec::new();
        while let Some(Ok(captured)) = replay.next_packet() {
            let options = DecodeOptions::default();
            let sender = decode(&captured.frame, &options)
                .map_or(Sender::Client, |packet| sender(&packet, &mut clients));
            packets.push((sender, captured.frame));
        }
        ensure!(!packets.is_empty(), "{} holds no packets", path.display());
        Ok(Self { packets, next: 0 })
    }
}

fn sender(packet: &Packet, clients: &mut HashMap<[u128; 2], u128>) -> Sender {
    let (source, destination) = (packet.source, packet.destination);
    let pair = [source.min(destination), source.max(destination)];
    match *clients.entry(pair).or_insert(source) == source {
        true => Sender::Client,
        false => Sender::Server,
    }
}

impl Load for CaptureFile {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let (sender, packet) = &self.packets[self.next];
        self.next = (self.next + 1) % self.packets.len();
        frame.clear();
        frame.extend(packet);
        *sender
    }

    fn turn_packets(&self) -> u64 {
        self.packets.len() as u64
    }
}
