//! PPP over Ethernet, its session stage (RFC 2516): access lines carry IP in it. Trusts nothing. What
//! is not IP in an intact session stays what its EtherType says, for the link policy.

use crate::bytes::{at, be16};
use crate::ether_type;

/// Version and type, code, session, length; then PPP's protocol (RFC 1661, 2).
const HEADER_LENGTH: usize = 8;
/// Where the length is: that of PPP's protocol and what follows.
pub(crate) const LENGTH_AT: usize = 4;
/// Bytes in front of what the length counts.
pub(crate) const LENGTH_FROM: usize = 6;
const VERSION_1_TYPE_1: u8 = 0x11;
const SESSION_DATA: u8 = 0;
/// RFC 1332, RFC 5072.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// The EtherType of the IP packet within, and where it starts.
#[cold]
pub(crate) fn read(scope: &[u8], start: usize) -> Option<(u16, usize)> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start)?;
    if (header[0], header[1]) != (VERSION_1_TYPE_1, SESSION_DATA) {
        return None;
    }
    let carried = match be16(header, LENGTH_FROM) {
        PPP_IPV4 => ether_type::IPV4,
        PPP_IPV6 => ether_type::IPV6,
        _ => return None,
    };
    Some((carried, start + HEADER_LENGTH))
}
