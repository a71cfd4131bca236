//! Ethernet II (IEEE 802.3, 3.1.1) with its VLAN tags. Trusts nothing; gives
//! [`Reason::EthernetTruncated`] and [`Reason::VlanTooDeep`].

use crate::bytes::{at, be16};
use crate::{Reason, Segment, vlan};

/// Two addresses and the EtherType.
pub(crate) const HEADER_LENGTH: usize = 14;

/// What the link headers say.
pub(crate) struct Link {
    /// EtherType behind the tags; an 802.3 length where below 0x600.
    pub ether_type: u16,
    /// What its tags say; `Segment::None` where untagged.
    pub segment: Segment,
    /// Where the payload starts.
    pub payload: usize,
}

/// Reads the header at `start` and its tags.
#[inline(always)]
pub(crate) fn read(scope: &[u8], start: usize) -> Result<Link, Reason> {
    let header: &[u8; HEADER_LENGTH] = at(scope, start).ok_or(Reason::EthernetTruncated)?;
    let ether_type = be16(header, 12);
    if vlan::is_tag(ether_type) {
        return vlan::read(scope, start + HEADER_LENGTH);
    }
    Ok(Link {
        ether_type,
        segment: Segment::None,
        payload: start + HEADER_LENGTH,
    })
}
