//! IP in IP: IPv4 (RFC 2003) and IPv6 (RFC 2473, RFC 4213) within either version.

use crate::tunnel::Inside;
use crate::{ether_type, protocol};

/// What a packet of this protocol carries, if it is IP.
#[inline(always)]
pub(crate) fn open(upper: u8, start: usize) -> Option<Inside> {
    match upper {
        protocol::IPIP => Some(Inside::Packet(ether_type::IPV4, start, None)),
        protocol::IPV6 => Some(Inside::Packet(ether_type::IPV6, start, None)),
        _ => None,
    }
}
