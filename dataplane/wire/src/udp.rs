//! UDP (RFC 768). Gives [`Reason::UdpMalformed`] where the length is less than the header or more
//! than the IP packet holds. Bytes behind the length are padding (hosts do not deliver them).

use crate::bytes::{at, be16};
use crate::transport::Upper;
use crate::{Reason, TcpFields};

/// Ports, length, checksum.
pub(crate) const HEADER_LENGTH: usize = 8;

/// Reads the header at `start`.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Upper, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::UdpMalformed)?;
    let length = usize::from(be16(header, 4));
    let end = start + length;
    if length < HEADER_LENGTH || end > scope.len() {
        return Err(Reason::UdpMalformed);
    }
    Ok(Upper {
        source_port: be16(header, 0),
        destination_port: be16(header, 2),
        tcp: TcpFields::default(),
        payload: start + HEADER_LENGTH,
        end,
    })
}
