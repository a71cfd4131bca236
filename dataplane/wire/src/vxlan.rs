//! VXLAN (RFC 7348), on ports 4789 and 8472. Gives [`Reason::TunnelMalformed`].
//!
//! Opened where the I flag is set and an Ethernet header fits behind: a receiver discards anything
//! else, so it may be another service on that port. Other reserved bits are not looked at, since
//! receivers differ in whether they do; only a header that says of itself (P flag, VXLAN-GPE) that
//! it does not carry Ethernet is refused, since two receivers would read it two ways.

use crate::bytes::{at, be32};
use crate::ethernet;
use crate::tunnel::Inside;
use crate::{Reason, Segment};

const HEADER_LENGTH: usize = 8;
const FLAG_VNI: u8 = 0x08;
const FLAG_NEXT_PROTOCOL: u8 = 0x04;

/// Looks for the header at `start`; `scope` ends with the UDP payload.
pub(crate) fn open(scope: &[u8], start: usize) -> Result<Option<Inside>, Reason> {
    let Some(header) = at::<{ HEADER_LENGTH + ethernet::HEADER_LENGTH }>(scope, start) else {
        return Ok(None);
    };
    if header[0] & FLAG_VNI == 0 {
        return Ok(None);
    }
    if header[0] & FLAG_NEXT_PROTOCOL != 0 {
        return Err(Reason::TunnelMalformed);
    }
    let segment = Segment::Vni(be32(header, 4) >> 8);
    Ok(Some(Inside::Ethernet(start + HEADER_LENGTH, Some(segment))))
}
