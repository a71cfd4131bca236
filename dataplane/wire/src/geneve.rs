//! Geneve (RFC 8926), on port 6081. Gives [`Reason::TunnelMalformed`].
//!
//! Opened for version 0 and a payload of Ethernet, IPv4 or IPv6. Anything else is discarded by
//! receivers, so it stays UDP: it may be another service on that port.

use crate::bytes::{at, be16, be32};
use crate::tunnel::Inside;
use crate::{Reason, Segment, ether_type};

const HEADER_LENGTH: usize = 8;

/// Looks for the header at `start`; `scope` ends with the UDP payload.
pub(crate) fn open(scope: &[u8], start: usize) -> Result<Option<Inside>, Reason> {
    let Some(header) = at::<HEADER_LENGTH>(scope, start) else {
        return Ok(None);
    };
    if header[0] >> 6 != 0 {
        return Ok(None);
    }
    let inner = start + HEADER_LENGTH + usize::from(header[0] & 0x3f) * 4;
    let segment = Some(Segment::Vni(be32(header, 4) >> 8));
    let inside = match be16(header, 2) {
        ether_type::BRIDGED => Inside::Ethernet(inner, segment),
        carried @ (ether_type::IPV4 | ether_type::IPV6) => Inside::Packet(carried, inner, segment),
        _ => return Ok(None),
    };
    if inner > scope.len() {
        return Err(Reason::TunnelMalformed);
    }
    Ok(Some(inside))
}
