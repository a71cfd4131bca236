//! The network service header (RFC 8300): the path of a packet through a chain of services.
//!
//! Opened for version 0 and IPv4, IPv6, Ethernet or another such header; what operates the chain
//! itself stays closed. The path names no network.

use crate::bytes::{at, be16};
use crate::ether_type;
use crate::tunnel::Inside;

/// Base and service path header.
const HEADER_LENGTH: usize = 8;
const VERSION: u16 = 0xc000;
const OPERATION: u16 = 0x2000;
/// In words of four bytes.
const LENGTH: u16 = 0x003f;
/// Context of a fixed length, or of any.
const FIXED_CONTEXT: u8 = 1;
const FIXED_CONTEXT_LENGTH: usize = 24;
const ANY_CONTEXT: u8 = 2;

/// Reads the header at `start`.
pub(crate) fn open(scope: &[u8], start: usize) -> Option<Inside> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start)?;
    let base = be16(header, 0);
    let length = usize::from(base & LENGTH) * 4;
    let fits = match header[2] & 15 {
        FIXED_CONTEXT => length == FIXED_CONTEXT_LENGTH,
        ANY_CONTEXT => length >= HEADER_LENGTH,
        _ => false,
    };
    if !fits || base & (VERSION | OPERATION) != 0 {
        return None;
    }
    let inner = start + length;
    match header[3] {
        1 => Some(Inside::Packet(ether_type::IPV4, inner, None)),
        2 => Some(Inside::Packet(ether_type::IPV6, inner, None)),
        3 => Some(Inside::Ethernet(inner, None)),
        4 => Some(Inside::Packet(ether_type::NSH, inner, None)),
        _ => None,
    }
}
