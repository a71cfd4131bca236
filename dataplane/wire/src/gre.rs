//! GRE version 0 (RFC 2784, key and sequence number of RFC 2890). Gives
//! [`Reason::TunnelMalformed`].
//!
//! Opened for Ethernet, IPv4 and IPv6. Version 1 (PPTP), source routes (RFC 1701) and other
//! payloads stay a packet of protocol GRE, which a rule can name.

use crate::bytes::{at, be16};
use crate::tunnel::Inside;
use crate::{Reason, ether_type};

const HEADER_LENGTH: usize = 4;
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;

/// What a header says.
pub(crate) struct Header {
    /// The EtherType of the payload.
    pub carried: u16,
    /// Whether it has a sequence number.
    pub has_sequence: bool,
    /// Where the payload starts; not checked against the packet's end.
    pub inner: usize,
}

/// Looks for what is inside of the header at `start`; `scope` ends with the IP packet.
pub(crate) fn open(scope: &[u8], start: usize) -> Result<Option<Inside>, Reason> {
    let Some(Header { carried, inner, .. }) = read(scope, start)? else {
        return Ok(None);
    };
    let inside = match carried {
        ether_type::BRIDGED => Inside::Ethernet(inner, None),
        ether_type::IPV4 | ether_type::IPV6 => Inside::Packet(carried, inner, None),
        _ => return Ok(None),
    };
    if inner > scope.len() {
        return Err(Reason::TunnelMalformed);
    }
    Ok(Some(inside))
}

/// Reads the header at `start`, if it is of this version and without a source route.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Option<Header>, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::TunnelMalformed)?;
    let flags = be16(header, 0);
    if flags & (VERSION | ROUTING) != 0 {
        return Ok(None);
    }
    let options = [CHECKSUM, KEY, SEQUENCE]
        .into_iter()
        .filter(|flag| flags & flag != 0)
        .count();
    Ok(Some(Header {
        carried: be16(header, 2),
        has_sequence: flags & SEQUENCE != 0,
        inner: start + HEADER_LENGTH + options * 4,
    }))
}

/// Whether the header at the front says that it carries a checksum.
pub(crate) fn has_checksum(header: &[u8]) -> bool {
    at(header, 0).is_some_and(|header: &[u8; HEADER_LENGTH]| be16(header, 0) & CHECKSUM != 0)
}
