//! VLAN tags: 802.1Q, 802.1ad and the older 0x9100, up to two. Which TPID stands where is not
//! looked at, since switches differ in it. A priority tag (VLAN 0) names no network.

use crate::bytes::{at, be16};
use crate::ethernet::Link;
use crate::{Reason, Segment, ether_type};

const TAG_LENGTH: usize = 4;
const TAGS_MAX: usize = 2;

/// Whether a tag follows.
#[inline(always)]
pub(crate) fn is_tag(tpid: u16) -> bool {
    matches!(
        tpid,
        ether_type::VLAN | ether_type::SERVICE_VLAN | ether_type::OLD_SERVICE_VLAN
    )
}

/// Reads the tags; `start` is behind the first TPID.
pub(crate) fn read(scope: &[u8], mut start: usize) -> Result<Link, Reason> {
    let mut segment = Segment::None;
    for _ in 0..TAGS_MAX {
        let tag: &[u8; TAG_LENGTH] = at(scope, start).ok_or(Reason::EthernetTruncated)?;
        start += TAG_LENGTH;
        segment = match (segment, be16(tag, 0) & 0xfff) {
            (segment, 0) => segment,
            (Segment::Vlan(outer), id) => Segment::QinQ(outer, id),
            (_, id) => Segment::Vlan(id),
        };
        let ether_type = be16(tag, 2);
        if !is_tag(ether_type) {
            return Ok(Link {
                ether_type,
                segment,
                payload: start,
            });
        }
    }
    Err(Reason::VlanTooDeep)
}
