//! Wireless frames (IEEE 802.11-2020, 9.2 and 9.3.2) as captured, behind radiotap
//! (<https://www.radiotap.org>) or not.
//!
//! Read: data that is neither encrypted nor in pieces nor several in one, with the LLC header of what
//! has an EtherType (RFC 1042). Anything else stays closed. Behind the data may be a check sequence,
//! which decode takes for padding.

use super::link::{closed, ethernet};

/// Control, duration, three addresses, sequence.
const HEADER_LENGTH: usize = 24;
const ADDRESS_LENGTH: usize = 6;
/// Protocol version, type and the subtype's bit for "no data".
const KIND_MASK: u8 = 0b0100_1111;
const DATA: u8 = 0b0000_1000;
const QUALITY: u8 = 0b1000_0000;
const TO_SYSTEM: u8 = 1;
const FROM_SYSTEM: u8 = 2;
const MORE_FRAGMENTS: u8 = 4;
const PROTECTED: u8 = 0x40;
/// In a frame with quality control: four more bytes of header.
const THROUGHPUT: u8 = 0x80;
/// In quality control: several frames in one.
const AGGREGATE: u8 = 0x80;
/// Length of the LLC header with the EtherType.
const LLC_LENGTH: usize = 8;

/// A wireless frame behind radiotap: version, padding, length of it all in little-endian.
pub(super) fn behind_radiotap(bytes: &[u8]) -> Vec<u8> {
    let wireless = match *bytes {
        [0, _, l0, l1, ..] => bytes.get(usize::from(u16::from_le_bytes([l0, l1]))..),
        _ => None,
    };
    wireless.map_or_else(|| closed(bytes), frame)
}

/// A wireless frame as an Ethernet frame between the stations.
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    read(bytes).unwrap_or_else(|| closed(bytes))
}

fn read(bytes: &[u8]) -> Option<Vec<u8>> {
    let header: &[u8; HEADER_LENGTH] = bytes.first_chunk()?;
    let [kind, flags, ..] = *header;
    let is_fragment = flags & MORE_FRAGMENTS != 0 || header[22] & 15 != 0;
    if kind & KIND_MASK != DATA || flags & PROTECTED != 0 || is_fragment {
        return None;
    }
    let mut length = HEADER_LENGTH;
    let (destination, source) = match flags & (TO_SYSTEM | FROM_SYSTEM) {
        0 => (4, 10),
        TO_SYSTEM => (16, 10),
        FROM_SYSTEM => (4, 16),
        _ => {
            length += ADDRESS_LENGTH;
            (16, HEADER_LENGTH)
        }
    };
    if kind & QUALITY != 0 {
        if bytes.get(length)? & AGGREGATE != 0 {
            return None;
        }
        length += if flags & THROUGHPUT != 0 { 6 } else { 2 };
    }
    // Some cards pad the header to words.
    let (ether_type, packet) = [length, length.next_multiple_of(4)]
        .into_iter()
        .find_map(|start| behind_llc(bytes.get(start..)?))?;
    let mut frame = ethernet(ether_type, packet);
    frame[..6].copy_from_slice(bytes.get(destination..destination + 6)?);
    frame[6..12].copy_from_slice(bytes.get(source..source + 6)?);
    Some(frame)
}

/// The EtherType and what follows it.
fn behind_llc(bytes: &[u8]) -> Option<([u8; 2], &[u8])> {
    let header: &[u8; LLC_LENGTH] = bytes.first_chunk()?;
    let (llc, ether_type) = header.split_at(6);
    // RFC 1042, or 802.1H for what that cannot carry.
    let is_known = matches!(llc, [0xaa, 0xaa, 3, 0, 0, 0 | 0xf8]);
    Some(([ether_type[0], ether_type[1]], &bytes[LLC_LENGTH..])).filter(|_| is_known)
}
