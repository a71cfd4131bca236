//! IPv4 (RFC 791). Distrusts every length; a header that hosts discard is refused, so that
//! nothing is judged that its destination would not read. Gives [`Reason::Ipv4Malformed`],
//! [`Reason::Ipv4Checksum`], and of fragments [`Reason::FragmentMalformed`],
//! [`Reason::FragmentTooBig`], [`Reason::FragmentTiny`].

use crate::bytes::{at, be16, be32};
use crate::checksum::Sum;
use crate::network::{Network, authentication, check_first_fragment, check_fragment};
use crate::{Fragment, Reason, protocol};

/// Length without options.
pub(crate) const HEADER_LENGTH: usize = 20;
/// Authentication headers one within the other; more have no use.
const AUTHENTICATION_MAX: usize = 2;
pub(crate) const MAPPED: u128 = 0xffff_0000_0000;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Reads the header at `start`.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize, verify_checksum: bool) -> Result<Network, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::Ipv4Malformed)?;
    let total_length = usize::from(be16(header, 2));
    let mut upper = start + HEADER_LENGTH;
    let mut source_routed = false;
    if header[0] == 0x45 {
        if verify_checksum && Sum::default().with(header).fold() != 0xffff {
            return Err(Reason::Ipv4Checksum);
        }
    } else {
        let header = long_header(scope, start)?;
        if verify_checksum && Sum::default().with(header).fold() != 0xffff {
            return Err(Reason::Ipv4Checksum);
        }
        source_routed = read_options(&header[HEADER_LENGTH..])?;
        upper = start + header.len();
    }
    let end = start + total_length;
    if end < upper || end > scope.len() {
        return Err(Reason::Ipv4Malformed);
    }
    // Only the rare ways below touch memory; the straight one stays in registers.
    let flags_and_offset = be16(header, 6);
    let mut upper_protocol = header[9];
    let mut fragment = None;
    let mut plain = true;
    if flags_and_offset & 0x3fff != 0 {
        let read = read_fragment(be16(header, 4), flags_and_offset, end - upper)?;
        if read.offset == 0 {
            check_first_fragment(&scope[..end], upper, upper_protocol)?;
        }
        fragment = Some(read);
    } else if upper_protocol == protocol::AH {
        (upper_protocol, upper) = skip_authentication(&scope[..end], upper)?;
        plain = false;
    }
    Ok(Network {
        is_ipv4: true,
        source: MAPPED | u128::from(be32(header, 12)),
        destination: MAPPED | u128::from(be32(header, 16)),
        hop_limit: header[8],
        protocol: upper_protocol,
        fragment,
        source_routed,
        start,
        upper,
        end,
        plain,
    })
}

/// The header with its options.
#[cold]
fn long_header(scope: &[u8], start: usize) -> Result<&[u8], Reason> {
    let first = *scope.get(start).ok_or(Reason::Ipv4Malformed)?;
    let length = usize::from(first & 15) * 4;
    if first >> 4 != 4 || length < HEADER_LENGTH {
        return Err(Reason::Ipv4Malformed);
    }
    scope
        .get(start..start + length)
        .ok_or(Reason::Ipv4Malformed)
}

/// Whether a source route with hops left is among the options. Hosts discard a header whose
/// options do not add up.
fn read_options(mut options: &[u8]) -> Result<bool, Reason> {
    let mut source_routed = false;
    while let [kind, rest @ ..] = options {
        options = match kind {
            0 => break,
            1 => rest,
            _ => {
                let length = usize::from(*rest.first().ok_or(Reason::Ipv4Malformed)?);
                if length < 2 || length > options.len() {
                    return Err(Reason::Ipv4Malformed);
                }
                if matches!(*kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
                    // The pointer counts from 1 and is beyond the option once all hops are done.
                    source_routed |= length > 2 && usize::from(options[2]) <= length;
                }
                &options[length..]
            }
        };
    }
    Ok(source_routed)
}

#[cold]
fn read_fragment(id: u16, field: u16, length: usize) -> Result<Fragment, Reason> {
    let fragment = Fragment {
        id: u32::from(id),
        offset: (field & 0x1fff) << 3,
        more: field & 0x2000 != 0,
    };
    check_fragment(fragment, length)?;
    Ok(fragment)
}

/// Behind the authentication header stands the upper layer, as in IPv6: hosts that use it read on.
#[cold]
fn skip_authentication(scope: &[u8], mut offset: usize) -> Result<(u8, usize), Reason> {
    for _ in 0..AUTHENTICATION_MAX {
        let (carried, behind) = authentication(scope, offset).ok_or(Reason::Ipv4Malformed)?;
        if carried != protocol::AH {
            return Ok((carried, behind));
        }
        offset = behind;
    }
    Err(Reason::Ipv4Malformed)
}
