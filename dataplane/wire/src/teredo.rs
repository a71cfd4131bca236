//! Teredo (RFC 4380, 5.1.1), port 3544: IPv6 through address translation.
//!
//! In front of the packet may be an authentication and then an origin indication, both told by
//! a first byte of zero, which no packet of IPv6 has. Behind it may be trailers (RFC 6081). Clients and
//! relays speak to each other on any port: such a packet is told by Teredo's prefix and its length.

use crate::bytes::{at, be16, be32};
use crate::foreign::ipv6_at;
use crate::tunnel::Inside;

const ORIGIN: [u8; 2] = [0, 0];
/// Type, lengths of identifier and value; nonce and confirmation.
const AUTHENTICATION_LENGTH: usize = 4 + 8 + 1;
/// Type, port, address.
const ORIGIN_LENGTH: usize = 8;

/// Of the addresses of Teredo's clients: 2001::/32.
const PREFIX: u32 = 0x2001_0000;

/// Looks for a packet between clients and relays at `start`, which fills the message to its end.
pub(crate) fn open_between_peers(message: &[u8], start: usize) -> Option<Inside> {
    let header: &[u8; 40] = at(message, start)?;
    let fills = start + header.len() + usize::from(be16(header, 4)) == message.len();
    let is_clients = be32(header, 8) == PREFIX || be32(header, 24) == PREFIX;
    (fills && is_clients).then(|| ipv6_at(message, start))?
}

/// Looks for the indications at `start`; `message` ends with the UDP payload.
pub(crate) fn open(message: &[u8], start: usize) -> Option<Inside> {
    let mut inner = start;
    if let Some([0, 1, identifier, value]) = at(message, inner) {
        inner += AUTHENTICATION_LENGTH + usize::from(*identifier) + usize::from(*value);
    }
    if at(message, inner) == Some(&ORIGIN) {
        inner += ORIGIN_LENGTH;
    }
    ipv6_at(message, inner)
}
