//! What is let through between neighbours, since without it no address can be reached. The rule:
//!
//! * ARP requests and replies for IPv4 over Ethernet (RFC 826), no longer than a padded frame:
//!   otherwise ARP would be a way to carry anything. Every other ARP is [`crate::Kind::Other`].
//! * ICMPv6 router and neighbour discovery, types 133 to 137 with code 0 (RFC 4861), where the hop
//!   limit is 255: it was not forwarded by any router.
//! * ICMPv6 multicast listener messages, types 130, 131, 132 and 143 (RFC 2710, RFC 3810), with hop
//!   limit 1 from a link-local or the unspecified address.
//!
//! None of them in fragments (RFC 6980). The rule does not authenticate: a neighbour can still
//! announce itself as router (134), redirect (137) or claim another's address (136, ARP), as on any
//! switch without guards. Their other fields are decoded, so that a detector can tell.

use crate::bytes::{at, be16};
use crate::network::Network;
use crate::{ether_type, protocol};

const ARP_LENGTH: usize = 28;
/// The payload of a minimal frame is 46 bytes; some drivers add its check sequence or a word more.
const ARP_PADDED_LENGTH_MAX: usize = 64;

/// Whether the ARP message at `start` is let through.
pub(crate) fn is_arp(scope: &[u8], start: usize) -> bool {
    let Some(message) = at::<ARP_LENGTH>(scope, start) else {
        return false;
    };
    let over_ethernet = be16(message, 0) == 1 && message[4] == 6;
    let for_ipv4 = be16(message, 2) == ether_type::IPV4 && message[5] == 4;
    let operation = be16(message, 6);
    over_ethernet
        && for_ipv4
        && matches!(operation, 1 | 2)
        && scope.len() - start <= ARP_PADDED_LENGTH_MAX
}

/// Whether the packet, which is no fragment, is let through; `kind_and_code` as in the source port.
#[inline(always)]
pub(crate) fn is_icmpv6(network: &Network, kind_and_code: u16) -> bool {
    if network.protocol != protocol::ICMPV6 || network.is_ipv4 {
        return false;
    }
    let [kind, code] = kind_and_code.to_be_bytes();
    match kind {
        133..=137 => code == 0 && network.hop_limit == 255,
        130..=132 | 143 => {
            let is_link_local = network.source >> 118 == 0xfe80 >> 6;
            network.hop_limit == 1 && (is_link_local || network.source == 0)
        }
        _ => false,
    }
}
