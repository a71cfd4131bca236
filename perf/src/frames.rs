//! Frames, made of a flow's number and what its two ends have said so far.

use etherparse::PacketBuilder;
use weir_node::io::memory::MemoryFrame;
use weir_node::path::Arrived;

const MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const WINDOW: u16 = 65_000;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// By port 0.
    Client = 0,
    /// By port 1.
    Server = 1,
}

/// The addresses and the client's port of a flow; unlike for the first 2^23 flows of a server port.
fn ends(flow: usize) -> ([[u8; 4]; 2], u16) {
    let [.., high, middle, low] = (flow as u32 & 0x7f_ffff).to_be_bytes();
    (
        [[10, high, middle, low], [10, 128, 0, low]],
        20_000 + (flow % 40_000) as u16,
    )
}

/// A datagram.
pub fn udp(flow: usize, server_port: u16, sender: Sender, payload: &[u8]) -> Vec<u8> {
    let (addresses, client_port) = ends(flow);
    let (from, to) = (sender as usize, 1 - sender as usize);
    let ports = [client_port, server_port];
    let builder = PacketBuilder::ethernet2(MAC[from], MAC[to])
        .ipv4(addresses[from], addresses[to], 64)
        .udp(ports[from], ports[to]);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .unwrap_or_else(|error| unreachable!("a datagram that fits: {error}"));
    frame
}

/// A TCP connection as its two ends see it.
#[derive(Clone, Copy)]
pub struct Connection {
    /// Its number.
    pub flow: usize,
    /// The server's port.
    pub server_port: u16,
    /// The next sequence number of each end.
    next: [u32; 2],
}

impl Connection {
    /// Not begun yet.
    pub fn new(flow: usize, server_port: u16) -> Self {
        let start = (flow as u32).wrapping_mul(0x9e37_79b9);
        Self {
            flow,
            server_port,
            next: [start, !start],
        }
    }

    /// SYN, or SYN+ACK.
    pub fn open(&mut self, sender: Sender) -> Vec<u8> {
        self.segment(sender, true, &[])
    }

    /// ACK, with data or without.
    pub fn send(&mut self, sender: Sender, payload: &[u8]) -> Vec<u8> {
        self.segment(sender, false, payload)
    }

    fn segment(&mut self, sender: Sender, syn: bool, payload: &[u8]) -> Vec<u8> {
        let (addresses, client_port) = ends(self.flow);
        let (from, to) = (sender as usize, 1 - sender as usize);
        let ports = [client_port, self.server_port];
        let mut builder = PacketBuilder::ethernet2(MAC[from], MAC[to])
            .ipv4(addresses[from], addresses[to], 64)
            .tcp(ports[from], ports[to], self.next[from], WINDOW);
        if syn {
            builder = builder.syn();
        }
        if !syn || sender == Sender::Server {
            builder = builder.ack(self.next[to]);
        }
        if !payload.is_empty() {
            builder = builder.psh();
        }
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder
            .write(&mut frame, payload)
            .unwrap_or_else(|error| unreachable!("a segment that fits: {error}"));
        self.said(sender, payload.len() + usize::from(syn));
        frame
    }

    fn said(&mut self, sender: Sender, length: usize) {
        let next = &mut self.next[sender as usize];
        *next = next.wrapping_add(length as u32);
    }
}

/// The frame, come in by its sender's port.
pub fn arrived(sender: Sender, frame: Vec<u8>) -> Arrived<MemoryFrame> {
    Arrived {
        frame: MemoryFrame(frame),
        port: sender as u8,
        received_us: 0,
        at_owner: false,
    }
}
