//! SCTP (RFC 9260, 3.1): the common header. Gives [`Reason::SctpMalformed`].

use crate::bytes::{at, be16};
use crate::transport::Upper;
use crate::{Reason, TcpFields};

const HEADER_LENGTH: usize = 12;

/// Reads the header at `start`.
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Upper, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::SctpMalformed)?;
    Ok(Upper {
        source_port: be16(header, 0),
        destination_port: be16(header, 2),
        tcp: TcpFields::default(),
        payload: start + HEADER_LENGTH,
        end: scope.len(),
    })
}
