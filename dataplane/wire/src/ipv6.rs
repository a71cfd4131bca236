//! IPv6 (RFC 8200) and its extension headers: hop-by-hop and destination options, routing,
//! fragment, authentication (RFC 4302), mobility (RFC 6275), HIP (RFC 7401), Shim6 (RFC 5533).
//!
//! Distrusts every length and the order of headers. Gives [`Reason::Ipv6Malformed`],
//! [`Reason::Ipv6Mapped`], [`Reason::Ipv6Extension`], and of fragments
//! [`Reason::FragmentMalformed`], [`Reason::FragmentTooBig`], [`Reason::FragmentTiny`]. The walk is
//! bounded by [`EXTENSIONS_MAX`]. Jumbograms (RFC 2675) are malformed: no link here carries them.

use crate::bytes::{at, be16, be32, be128};
use crate::network::{Network, authentication, check_first_fragment, check_fragment};
use crate::{Fragment, Reason, protocol};

/// The fixed header.
pub(crate) const HEADER_LENGTH: usize = 40;
/// Extension headers in one packet (RFC 8504, 5.3 lets a host refuse more than this).
const EXTENSIONS_MAX: usize = 8;

/// Reads the header at `start` and all extension headers.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Network, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::Ipv6Malformed)?;
    let upper = start + HEADER_LENGTH;
    let end = upper + usize::from(be16(header, 4));
    if header[0] >> 4 != 6 || end > scope.len() {
        return Err(Reason::Ipv6Malformed);
    }
    let (source, destination) = (be128(header, 8), be128(header, 24));
    if is_mapped(source) || is_mapped(destination) {
        return Err(Reason::Ipv6Mapped);
    }
    let plain = !is_extension(header[6]);
    let chain = match plain {
        true => Chain::of(header[6], upper),
        false => read_extensions(&scope[..end], header[6], upper)?,
    };
    Ok(Network {
        is_ipv4: false,
        source,
        destination,
        hop_limit: header[7],
        protocol: chain.protocol,
        fragment: chain.fragment,
        source_routed: chain.source_routed,
        start,
        upper: chain.upper,
        end,
        plain,
    })
}

/// Where the chain of extension headers leads; see [`Network`].
struct Chain {
    protocol: u8,
    fragment: Option<Fragment>,
    source_routed: bool,
    upper: usize,
}

impl Chain {
    #[inline(always)]
    fn of(protocol: u8, upper: usize) -> Self {
        Self {
            protocol,
            fragment: None,
            source_routed: false,
            upper,
        }
    }
}

#[inline(always)]
pub(crate) fn is_mapped(address: u128) -> bool {
    address >> 32 == 0xffff
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AH
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
    )
}

/// Walks the chain to the upper-layer header, or to a fragment's payload.
#[cold]
fn read_extensions(scope: &[u8], mut next: u8, mut offset: usize) -> Result<Chain, Reason> {
    let mut chain = Chain::of(next, offset);
    for position in 0..=EXTENSIONS_MAX {
        // Within a first fragment the chain must be whole, too (RFC 7112).
        let truncated = if chain.fragment.is_some() {
            Reason::FragmentTiny
        } else {
            Reason::Ipv6Extension
        };
        let (following, behind) = match next {
            _ if !is_extension(next) => return reached(scope, chain, next, offset),
            protocol::HOP_BY_HOP if position > 0 => return Err(Reason::Ipv6Extension),
            protocol::AH => authentication(scope, offset).ok_or(truncated)?,
            protocol::FRAGMENT => {
                let head: &[u8; 8] = at(scope, offset).ok_or(truncated)?;
                if chain.fragment.is_some() {
                    return Err(Reason::Ipv6Extension);
                }
                if let Some(fragment) = read_fragment(head, scope.len() - offset - 8)? {
                    chain.fragment = Some(fragment);
                    chain.protocol = head[0];
                    chain.upper = offset + 8;
                    if fragment.offset > 0 {
                        return Ok(chain);
                    }
                }
                (head[0], offset + 8)
            }
            _ => {
                let head: &[u8; 8] = at(scope, offset).ok_or(truncated)?;
                let behind = offset + (usize::from(head[1]) + 1) * 8;
                if behind > scope.len() {
                    return Err(truncated);
                }
                if next == protocol::ROUTING {
                    chain.source_routed |= head[3] > 0;
                }
                // A control message of these protocols ends the chain: it is itself the upper layer.
                if head[0] == protocol::NO_NEXT
                    && matches!(next, protocol::MOBILITY | protocol::HIP | protocol::SHIM6)
                {
                    return reached(scope, chain, next, offset);
                }
                (head[0], behind)
            }
        };
        (next, offset) = (following, behind);
    }
    Err(Reason::Ipv6Extension)
}

/// The upper-layer header was reached.
fn reached(scope: &[u8], mut chain: Chain, upper: u8, offset: usize) -> Result<Chain, Reason> {
    if chain.fragment.is_some() {
        check_first_fragment(scope, offset, upper)?;
        return Ok(chain);
    }
    chain.protocol = upper;
    chain.upper = offset;
    Ok(chain)
}

/// The Fragment header; `None` for one that holds the whole datagram (RFC 6946).
fn read_fragment(head: &[u8; 8], length: usize) -> Result<Option<Fragment>, Reason> {
    let field = be16(head, 2);
    let fragment = Fragment {
        id: be32(head, 4),
        offset: field & 0xfff8,
        more: field & 1 != 0,
    };
    if fragment.offset == 0 && !fragment.more {
        return Ok(None);
    }
    check_fragment(fragment, length)?;
    Ok(Some(fragment))
}
