//! TCP (RFC 9293, 3.1). Gives [`Reason::TcpMalformed`] for a header that is truncated or whose
//! data offset is impossible; options that do not add up are the endpoint's matter.

use crate::bytes::{at, be16, be32};
use crate::transport::Upper;
use crate::{Reason, TcpFields, tcp_flags};

/// Length without options.
pub(crate) const HEADER_LENGTH: usize = 20;
/// Larger shifts count as this (RFC 7323, 2.3).
const WINDOW_SCALE_MAX: u8 = 14;

/// Reads the header at `start`.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Upper, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::TcpMalformed)?;
    let length = usize::from(header[12] >> 4) * 4;
    let payload = start + length;
    if length < HEADER_LENGTH || payload > scope.len() {
        return Err(Reason::TcpMalformed);
    }
    let flags = header[13];
    let window_scale = match flags & tcp_flags::SYN {
        0 => None,
        _ => window_scale(&scope[start + HEADER_LENGTH..payload]),
    };
    Ok(Upper {
        source_port: be16(header, 0),
        destination_port: be16(header, 2),
        tcp: TcpFields {
            sequence: be32(header, 4),
            acknowledgement: be32(header, 8),
            flags,
            window: be16(header, 14),
            window_scale,
        },
        payload,
        end: scope.len(),
    })
}

/// The window scale option, if it is there before anything that does not add up.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [3, 3, shift, ..] => return Some((*shift).min(WINDOW_SCALE_MAX)),
            [0, ..] | [] | [_] => return None,
            [_, length, ..] if *length >= 2 => options.get(usize::from(*length)..)?,
            _ => return None,
        };
    }
}
