//! What both versions of IP have in common: the answer of their readers, and fragments.

use crate::bytes::at;
use crate::{Fragment, Reason, protocol};

/// An IP header with all its options or extension headers, read.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub is_ipv4: bool,
    pub source: u128,
    pub destination: u128,
    pub hop_limit: u8,
    /// Upper-layer protocol; what the Fragment header names on a fragment of IPv6.
    pub protocol: u8,
    pub fragment: Option<Fragment>,
    /// Carries a source route with hops left.
    pub source_routed: bool,
    /// Where the IP header starts.
    pub start: usize,
    /// Where the upper-layer header, or the fragment's payload, starts.
    pub upper: usize,
    /// Where the IP packet ends.
    pub end: usize,
    /// Neither authentication nor IPv6 extension headers lie between.
    pub plain: bool,
}

/// Longest datagram there can be, and with it the furthest end of a fragment.
const DATAGRAM_LENGTH_MAX: usize = 65_535;

/// Whether a fragment of this length can be part of any datagram.
pub(crate) fn check_fragment(fragment: Fragment, length: usize) -> Result<(), Reason> {
    if length == 0 || (fragment.more && !length.is_multiple_of(8)) {
        return Err(Reason::FragmentMalformed);
    }
    if usize::from(fragment.offset) + length > DATAGRAM_LENGTH_MAX {
        return Err(Reason::FragmentTooBig);
    }
    Ok(())
}

/// Whether the first fragment's payload from `start` holds the whole upper-layer header, as RFC
/// 7112 and RFC 1858 demand: otherwise ports could be told one way here and another there.
pub(crate) fn check_first_fragment(scope: &[u8], start: usize, upper: u8) -> Result<(), Reason> {
    let needed = match upper {
        protocol::TCP => {
            let head: &[u8; 20] = at(scope, start).ok_or(Reason::FragmentTiny)?;
            usize::from(head[12] >> 4) * 4
        }
        protocol::UDP | protocol::ICMP | protocol::ICMPV6 => 8,
        protocol::SCTP => 12,
        protocol::GRE => 4,
        protocol::IPIP => 20,
        protocol::IPV6 => 40,
        _ => 0,
    };
    if scope.len().saturating_sub(start) < needed {
        return Err(Reason::FragmentTiny);
    }
    Ok(())
}

/// The authentication header (RFC 4302) at `start`: what it carries, and where that starts.
pub(crate) fn authentication(scope: &[u8], start: usize) -> Option<(u8, usize)> {
    let head: &[u8; 12] = at(scope, start)?;
    let upper = start + (usize::from(head[1]) + 2) * 4;
    (upper >= start + 12 && upper <= scope.len()).then_some((head[0], upper))
}
