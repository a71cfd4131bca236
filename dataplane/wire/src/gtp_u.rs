//! GTP-U version 1 (3GPP TS 29.281), port 2152: what a mobile network's user sends.
//!
//! Opened for a G-PDU whose length is that of the datagram and whose content is IP. The tunnel's
//! identifier names no network: both directions of a connection have their own.

use crate::bytes::{at, be16};
use crate::foreign::ip_at;
use crate::tunnel::Inside;

const HEADER_LENGTH: usize = 8;
/// Sequence number, N-PDU number and type of the first extension header: all there if one is.
const OPTIONS_LENGTH: usize = 4;
/// Version 1, protocol type GTP.
const VERSION_AND_TYPE: u8 = 0b0011_0000;
const VERSION_AND_TYPE_MASK: u8 = 0b1111_0000;
const HAS_EXTENSION: u8 = 4;
const HAS_OPTIONS: u8 = 7;
const G_PDU: u8 = 255;
/// Extension headers that are stepped over; five are defined.
const EXTENSIONS_MAX: usize = 8;

/// Looks for the header at `start`; `message` ends with the UDP payload.
pub(crate) fn open(message: &[u8], start: usize) -> Option<Inside> {
    let header: &[u8; HEADER_LENGTH] = at(message, start)?;
    let mut inner = start + HEADER_LENGTH;
    if header[0] & VERSION_AND_TYPE_MASK != VERSION_AND_TYPE
        || header[1] != G_PDU
        || inner + usize::from(be16(header, 2)) != message.len()
    {
        return None;
    }
    if header[0] & HAS_OPTIONS != 0 {
        let options: &[u8; OPTIONS_LENGTH] = at(message, inner)?;
        inner += OPTIONS_LENGTH;
        if header[0] & HAS_EXTENSION != 0 {
            inner = behind_extensions(message, inner, options[3])?;
        }
    }
    ip_at(message, inner)
}

/// Each tells its length in words first and the type of the next last; type 0 ends them.
fn behind_extensions(message: &[u8], start: usize, first: u8) -> Option<usize> {
    let (mut inner, mut next) = (start, first);
    for _ in 0..=EXTENSIONS_MAX {
        if next == 0 {
            return Some(inner);
        }
        let length = usize::from(*message.get(inner)?) * 4;
        if length == 0 {
            return None;
        }
        inner += length;
        next = *message.get(inner - 1)?;
    }
    None
}
