//! Who sent a frame that could not be decoded, as far as its outermost IP header tells: for reports only.
//!
//! Distrusts everything; what is asked of a header is that its addresses are there.

use crate::bytes::at;
use crate::{Kind, Packet, TcpFields, ether_type, ethernet};

const MAPPED: u128 = 0xffff_0000_0000;

/// The outermost addresses of a frame. Only they, `segment`, `is_ipv4` and `protocol` hold; there are no
/// ports and there is no payload. None where there is no IP header, or not enough of it.
pub fn envelope(frame: &[u8]) -> Option<Packet> {
    let link = ethernet::read(frame, 0).ok()?;
    let start = link.payload;
    let (is_ipv4, source, destination, number) = match link.ether_type {
        ether_type::IPV4 => {
            let header: &[u8; 20] = at(frame, start)?;
            let address = |at: usize| {
                let [a, b, c, d] = [header[at], header[at + 1], header[at + 2], header[at + 3]];
                MAPPED | u128::from(u32::from_be_bytes([a, b, c, d]))
            };
            (true, address(12), address(16), header[9])
        }
        ether_type::IPV6 => {
            let source: &[u8; 16] = at(frame, start + 8)?;
            let destination: &[u8; 16] = at(frame, start + 24)?;
            let next: &[u8; 1] = at(frame, start + 6)?;
            (
                false,
                u128::from_be_bytes(*source),
                u128::from_be_bytes(*destination),
                next[0],
            )
        }
        _ => return None,
    };
    let nowhere = start as u32;
    Some(Packet {
        kind: Kind::Ip,
        ether_type: link.ether_type,
        segment: link.segment,
        tunnels: 0,
        source,
        destination,
        is_ipv4,
        protocol: number,
        hop_limit: 0,
        fragment: None,
        source_port: 0,
        destination_port: 0,
        tcp: TcpFields::default(),
        network_offset: nowhere,
        transport_offset: nowhere,
        payload_offset: nowhere,
        payload_end: nowhere,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::{DecodeOptions, Reason, Segment, decode, from_ip_address, protocol};

    /// A first fragment of four bytes, in a VLAN.
    fn tiny() -> Vec<u8> {
        let mut frame = vec![2; 12];
        frame.extend([0x81, 0, 0, 7, 8, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 1, 0x20, 0, 64, protocol::TCP, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0; 8]);
        frame
    }

    #[test]
    fn a_malformed_frame_still_says_who_sent_it() {
        let options = DecodeOptions {
            verify_ipv4_checksum: false,
            ..DecodeOptions::default()
        };
        assert_eq!(decode(&tiny(), &options).unwrap_err(), Reason::FragmentTiny);
        let packet = envelope(&tiny()).unwrap();
        assert_eq!(packet.source, from_ip_address([10, 0, 0, 1].into()));
        assert_eq!(packet.destination, from_ip_address([10, 0, 0, 2].into()));
        assert_eq!(
            (packet.segment, packet.protocol),
            (Segment::Vlan(7), protocol::TCP)
        );
    }

    #[test]
    fn every_cut_is_read_or_refused() {
        let mut v6 = vec![2; 12];
        v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 44, 64]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend(Ipv6Addr::UNSPECIFIED.octets());
        assert_eq!(envelope(&v6).unwrap().source, 1);
        for frame in [tiny(), v6] {
            for length in 0..frame.len() {
                let _ = envelope(&frame[..length]);
            }
        }
        assert!(envelope(&[2; 60]).is_none());
    }
}
