//! What lies in front of a capture's packets. Ethernet stays; what carries IP behind another header (raw
//! IP, Linux cooked, BSD loopback, PPP, Cisco HDLC, wireless, Linux netfilter log) is given an Ethernet
//! header, so that the path sees what a wire would have carried.
//!
//! Distrusts: every byte. Memory: the frame.

use super::{nflog, wireless};

/// The packet behind an Ethernet header. None for a link type that is not known. Numbers as in
/// <https://www.tcpdump.org/linktypes.html>.
pub(super) fn as_ethernet(link: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    match link {
        1 => Some(with_length(bytes.to_vec())),
        // Raw IP, under the numbers of several systems.
        12 | 14 | 101 | 228 | 229 => Some(behind_header(bytes, 0)),
        // BSD loopback.
        0 | 108 => Some(behind_header(bytes, 4)),
        // Linux cooked.
        113 => Some(with_ether_type(bytes, 14, 16)),
        276 => Some(with_ether_type(bytes, 0, 20)),
        // Cisco HDLC.
        104 => Some(with_ether_type(bytes, 2, 4)),
        // PPP, in HDLC framing or not; of its protocols, those that carry IP.
        9 | 50 => {
            let message = bytes.strip_prefix(&[0xff, 3]).unwrap_or(bytes);
            Some(match message {
                [0, 0x21 | 0x57, packet @ ..] => behind_header(packet, 0),
                [0x21 | 0x57, packet @ ..] => behind_header(packet, 0),
                other => ethernet([0x88, 0x0b], other),
            })
        }
        105 => Some(wireless::frame(bytes)),
        127 => Some(wireless::behind_radiotap(bytes)),
        239 => Some(nflog::packet(bytes)),
        _ => None,
    }
}

/// A frame whose content is not known: an EtherType of none, for the link policy.
pub(super) fn closed(bytes: &[u8]) -> Vec<u8> {
    ethernet([0, 0], bytes)
}

/// An IP packet behind `skip` bytes: its version nibble gives the EtherType.
fn behind_header(bytes: &[u8], skip: usize) -> Vec<u8> {
    let packet = bytes.get(skip..).unwrap_or_default();
    let ether_type: u16 = if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        0x86dd
    } else {
        0x0800
    };
    ethernet(ether_type.to_be_bytes(), packet)
}

/// A packet behind a header of `length` bytes that has the EtherType at `at`.
fn with_ether_type(bytes: &[u8], at: usize, length: usize) -> Vec<u8> {
    let ether_type = bytes
        .get(at..at + 2)
        .map_or([0, 0], |pair| [pair[0], pair[1]]);
    ethernet(ether_type, bytes.get(length..).unwrap_or_default())
}

/// A packet behind an Ethernet header of made-up stations.
pub(crate) fn ethernet(ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + packet.len());
    frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    frame.extend(ether_type);
    frame.extend(packet);
    with_length(frame)
}

/// A sender that leaves segmentation to its NIC shows packets of length zero in its own captures;
/// others read the length off the frame, and so do we.
fn with_length(mut frame: Vec<u8>) -> Vec<u8> {
    let (header, field, extra) = match frame.get(12..15) {
        Some([0x08, 0x00, first]) if first >> 4 == 4 => (20, 16, 0),
        Some([0x86, 0xdd, first]) if first >> 4 == 6 => (40, 18, 40),
        _ => return frame,
    };
    // A jumbogram's length is zero too (RFC 2675): it says so in a header of its own.
    let is_jumbogram = extra > 0 && frame.get(20) == Some(&0);
    let length = u16::try_from(frame.len().saturating_sub(14 + extra));
    if frame.len() >= 14 + header && frame[field..field + 2] == [0, 0] && !is_jumbogram {
        frame[field..field + 2].copy_from_slice(&length.unwrap_or(0).to_be_bytes());
    }
    frame
}
