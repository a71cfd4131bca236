//! Packets as Linux' netfilter log gives them (LINKTYPE_NFLOG,
//! <https://www.tcpdump.org/linktypes/LINKTYPE_NFLOG.html>): family, version, group, then attributes.
//!
//! Lengths and types of attributes are in the byte order of the host that captured, which is not told:
//! it is the one in which they add up.

use super::link::{closed, ethernet};

const HEADER_LENGTH: usize = 4;
const VERSION: u8 = 0;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// NFULA_PAYLOAD.
const PAYLOAD: u16 = 9;

/// The packet of IP behind an Ethernet header.
pub(super) fn packet(bytes: &[u8]) -> Vec<u8> {
    let ether_type = match bytes {
        [IPV4, VERSION, ..] => [0x08, 0],
        [IPV6, VERSION, ..] => [0x86, 0xdd],
        _ => return closed(bytes),
    };
    let attributes = bytes.get(HEADER_LENGTH..).unwrap_or_default();
    let payload =
        payload(attributes, u16::from_le_bytes).or_else(|| payload(attributes, u16::from_be_bytes));
    payload.map_or_else(|| closed(bytes), |packet| ethernet(ether_type, packet))
}

/// The packet among the attributes: length (with these four bytes), type, value, padded to four.
fn payload(mut attributes: &[u8], number: fn([u8; 2]) -> u16) -> Option<&[u8]> {
    loop {
        let [l0, l1, t0, t1, ..] = *attributes else {
            return None;
        };
        let length = usize::from(number([l0, l1]));
        let value = attributes.get(4..length)?;
        if number([t0, t1]) == PAYLOAD {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}
