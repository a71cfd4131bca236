//! Zones: one number for the network that an address belongs to.

use weir_wire::Segment;

/// The zone of a port pair and a virtual network: 6 bits of pair, 2 bits of kind, 24 bits of tag.
/// Equal for both directions of a flow, since both ports of a pair share its number. A QinQ pair of
/// VLAN ids fills the 24 bits; priority tags count as untagged.
#[inline(always)]
pub fn zone(pair: u8, segment: Segment) -> u32 {
    let (kind, tag) = match segment {
        Segment::None => (0, 0),
        Segment::Vlan(id) => (1, u32::from(id)),
        Segment::QinQ(outer, inner) => {
            (2, u32::from(outer & 0xfff) << 12 | u32::from(inner & 0xfff))
        }
        Segment::Vni(vni) => (3, vni & 0xff_ffff),
    };
    u32::from(pair & 0x3f) << 26 | kind << 24 | tag
}
