//! Datagrams of 256 bytes in fragments of 24: each fourth never becomes whole, each second comes back to front.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header};

use crate::load::frames::{Addresses, UDP_HEADERS_BYTES, ends, udp};
use crate::load::{Load, Order, Sender, Shape};

const CONTENT: [u8; 256] = [0xa5; 256];
const PORT: u16 = 19_999;
const FRAGMENT_BYTES: usize = 24;
/// UDP header and content in fragments.
const FRAGMENTS: u64 = (8 + 256_u64).div_ceil(FRAGMENT_BYTES as u64);

/// Datagram after datagram, each flow in turn.
pub(in crate::load) struct TinyFragments {
    shape: Shape,
    order: Order,
    made: u64,
    whole: Vec<u8>,
}

impl TinyFragments {
    pub fn new(shape: &Shape) -> Self {
        Self {
            shape: *shape,
            order: Order::new(shape.flows, shape.seed),
            made: 0,
            whole: Vec::new(),
        }
    }
}

impl Load for TinyFragments {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let (datagram, step) = (self.made / FRAGMENTS, self.made % FRAGMENTS);
        self.made += 1;
        let between = ends(self.order.at(datagram), self.shape.family);
        udp(&between, PORT, Sender::Client, &CONTENT, &mut self.whole);
        let part = match datagram % 4 {
            // The last is missing; the first comes twice.
            3 => step % (FRAGMENTS - 1),
            1 => FRAGMENTS - 1 - step,
            _ => step,
        };
        let network_bytes = UDP_HEADERS_BYTES[usize::from(between.is_v6())] - 8;
        let carried = &self.whole[network_bytes..];
        let begin = part as usize * FRAGMENT_BYTES;
        let end = (begin + FRAGMENT_BYTES).min(carried.len());
        let place = Place {
            id: datagram as u32,
            offset: (begin / 8) as u16,
            more: end < carried.len(),
        };
        frame.clear();
        frame.extend(&self.whole[..14]);
        write(&between.addresses, &place, &carried[begin..end], frame);
        Sender::Client
    }

    fn turn_packets(&self) -> u64 {
        4 * FRAGMENTS * self.shape.flows
    }
}

/// Where a fragment belongs.
struct Place {
    id: u32,
    /// In units of eight bytes.
    offset: u16,
    more: bool,
}

fn write(addresses: &Addresses, place: &Place, part: &[u8], frame: &mut Vec<u8>) {
    let offset = IpFragOffset::try_new(place.offset).unwrap_or_default();
    match addresses {
        Addresses::V4([client, server]) => {
            let header = Ipv4Header::new(part.len() as u16, 64, IpNumber::UDP, *client, *server);
            let mut header = header.unwrap_or_default();
            header.identification = place.id as u16;
            header.dont_fragment = false;
            header.more_fragments = place.more;
            header.fragment_offset = offset;
            header.header_checksum = header.calc_header_checksum();
            frame.extend(header.to_bytes());
        }
        Addresses::V6([client, server]) => {
            let fragment = Ipv6FragmentHeader {
                next_header: IpNumber::UDP,
                fragment_offset: offset,
                more_fragments: place.more,
                identification: place.id,
            };
            let header = Ipv6Header {
                payload_length: 8 + part.len() as u16,
                next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
                hop_limit: 64,
                source: *client,
                destination: *server,
                ..Ipv6Header::default()
            };
            frame.extend(header.to_bytes());
            frame.extend(fragment.to_bytes());
        }
    }
    frame.extend(part);
}
