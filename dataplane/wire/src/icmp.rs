//! ICMP (RFC 792) and ICMPv6 (RFC 4443). Gives [`Reason::IcmpMalformed`] below the eight bytes
//! that every message has.

use crate::bytes::{at, be16};
use crate::transport::Upper;
use crate::{Reason, TcpFields};

const HEADER_LENGTH: usize = 8;

/// Reads the header at `start`: type and code as source port, a query's identifier as destination port.
pub(crate) fn read(scope: &[u8], start: usize, is_icmpv6: bool) -> Result<Upper, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::IcmpMalformed)?;
    let has_identifier = match is_icmpv6 {
        // Echo and extended echo (RFC 8335).
        true => matches!(header[0], 128 | 129 | 160 | 161),
        // Echo, timestamp, information, address mask, extended echo: requests and replies.
        false => matches!(header[0], 0 | 8 | 13..=18 | 42 | 43),
    };
    Ok(Upper {
        source_port: be16(header, 0),
        destination_port: if has_identifier { be16(header, 4) } else { 0 },
        tcp: TcpFields::default(),
        payload: start + HEADER_LENGTH,
        end: scope.len(),
    })
}
