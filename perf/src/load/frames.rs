//! Frames, made of a flow's number and what its two ends have said so far.

use etherparse::{PacketBuilder, PacketBuilderStep};

use super::{Family, Sender};

const MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const WINDOW: u16 = 65_000;
/// Ethernet, IPv4 and UDP.
pub(crate) const UDP_HEADERS_BYTES: [usize; 2] = [14 + 20 + 8, 14 + 40 + 8];

/// The addresses of a flow, client first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// 10.0.0.0/9 asks 10.128.0.0/9.
    V4([[u8; 4]; 2]),
    /// fd00:0:0:c::/64 asks fd00:0:0:5::/64.
    V6([[u8; 16]; 2]),
}

/// Who a flow is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Client and server.
    pub addresses: Addresses,
    /// The client's port; the server's is the load's.
    pub client_port: u16,
}

/// The ends of a flow: unlike for the first 2^30 flows of a server's port.
pub fn ends(flow: u64, family: Family) -> Ends {
    let is_v6 = match family {
        Family::V4 => false,
        Family::V6 => true,
        Family::Both => flow % 2 == 1,
    };
    let [.., high, middle, low] = (flow as u32 & 0x7f_ffff).to_be_bytes();
    let beyond = (flow >> 23) as u8 & 0x7f;
    let addresses = match is_v6 {
        false => Addresses::V4([[10, high, middle, low], [10, 128 | beyond, 0, low]]),
        true => {
            let network = |fourth| [0xfd, 0, 0, 0, 0, 0, 0, fourth, 0, 0, 0, 0, beyond];
            let address = |fourth, end: [u8; 3]| {
                let mut address = [0; 16];
                address[..13].copy_from_slice(&network(fourth));
                address[13..].copy_from_slice(&end);
                address
            };
            Addresses::V6([address(0xc, [high, middle, low]), address(5, [0, 0, low])])
        }
    };
    Ends {
        addresses,
        client_port: 20_000 + (flow % 40_000) as u16,
    }
}

impl Ends {
    pub(crate) fn is_v6(&self) -> bool {
        matches!(self.addresses, Addresses::V6(_))
    }

    fn builder(&self, sender: Sender) -> PacketBuilderStep<etherparse::IpHeaders> {
        let (from, to) = (sender as usize, sender.other() as usize);
        let builder = PacketBuilder::ethernet2(MAC[from], MAC[to]);
        match self.addresses {
            Addresses::V4(ends) => builder.ipv4(ends[from], ends[to], 64),
            Addresses::V6(ends) => builder.ipv6(ends[from], ends[to], 64),
        }
    }

    fn ports(&self, server_port: u16, sender: Sender) -> (u16, u16) {
        match sender {
            Sender::Client => (self.client_port, server_port),
            Sender::Server => (server_port, self.client_port),
        }
    }
}

/// A datagram.
pub(crate) fn udp(
    ends: &Ends,
    server_port: u16,
    sender: Sender,
    payload: &[u8],
    frame: &mut Vec<u8>,
) {
    let (source, destination) = ends.ports(server_port, sender);
    frame.clear();
    ends.builder(sender)
        .udp(source, destination)
        .write(frame, payload)
        .unwrap_or_else(|error| unreachable!("a datagram that fits: {error}"));
}

/// A TCP connection as its two ends see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    /// Its number.
    pub flow: u64,
    /// The next sequence number of each end.
    pub next: [u32; 2],
}

/// What a segment says beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Syn,
    None,
    Fin,
}

impl Connection {
    /// Not begun yet.
    pub(crate) fn new(flow: u64, seed: u64) -> Self {
        let start = (flow as u32).wrapping_mul(0x9e37_79b9) ^ seed as u32;
        Self {
            flow,
            next: [start, !start],
        }
    }

    /// SYN, ACK with data or without, or FIN; acknowledges all that the other end has said.
    pub(crate) fn segment(
        &mut self,
        (ends, server_port): (&Ends, u16),
        sender: Sender,
        flag: Flag,
        payload: &[u8],
        frame: &mut Vec<u8>,
    ) {
        let (source, destination) = ends.ports(server_port, sender);
        let [own, peer] = [sender as usize, sender.other() as usize];
        let mut builder = ends
            .builder(sender)
            .tcp(source, destination, self.next[own], WINDOW);
        builder = match flag {
            Flag::Syn => builder.syn(),
            Flag::None => builder,
            Flag::Fin => builder.fin(),
        };
        if flag != Flag::Syn || sender == Sender::Server {
            builder = builder.ack(self.next[peer]);
        }
        if !payload.is_empty() {
            builder = builder.psh();
        }
        frame.clear();
        builder
            .write(frame, payload)
            .unwrap_or_else(|error| unreachable!("a segment that fits: {error}"));
        let said = payload.len() as u32 + u32::from(flag != Flag::None);
        self.next[own] = self.next[own].wrapping_add(said);
    }
}
