//! What is inside of foreign tunnels, where a capture is analysed: the outer packet goes its way as it would
//! inline, and the inner one becomes a frame that can be sent after it. Nothing of this runs inline.
//!
//! Distrusts: every byte. Memory: the frames found, until they are taken.

use weir_wire::{DecodeOptions, Kind, Packet, Segment, ether_type, protocol};

use crate::io::FrameSource;
use crate::io::link::ethernet;
use crate::path::Path;

impl<S: FrameSource> Path<S> {
    /// The frames found inside of those that went their way since the last time.
    pub fn take_inside(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.inside)
    }

    #[cold]
    pub(crate) fn open_foreign(&mut self, frame: &[u8], outer: &Packet) {
        if let Ok(packet) = weir_wire::decode(frame, &self.opening()) {
            self.note_inside(frame, outer, &packet);
        }
    }

    #[cold]
    pub(crate) fn open_foreign_datagram(
        &mut self,
        datagram: &[u8],
        fragment: &Packet,
        outer: &Packet,
    ) {
        let (segment, tunnels) = (fragment.segment, fragment.tunnels);
        let options = self.opening();
        if let Ok(packet) = weir_wire::decode_datagram(datagram, segment, tunnels, &options) {
            self.note_inside(datagram, outer, &packet);
        }
    }

    fn opening(&self) -> DecodeOptions {
        DecodeOptions {
            foreign_tunnels: true,
            ..self.decode_options()
        }
    }

    fn note_inside(&mut self, bytes: &[u8], outer: &Packet, inner: &Packet) {
        let is_ip = inner.kind == Kind::Ip || inner.protocol == protocol::ICMPV6;
        if inner.tunnels > outer.tunnels && is_ip {
            self.inside.extend(as_frame(bytes, inner));
        }
    }
}

/// The innermost packet as a frame in its VLAN. A virtual network's identifier has no room in one.
fn as_frame(bytes: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    let packet_bytes = bytes.get(packet.network_offset as usize..packet.payload_end as usize)?;
    let carried = match packet.is_ipv4 {
        true => ether_type::IPV4,
        false => ether_type::IPV6,
    };
    let words: &[u16] = match packet.segment {
        Segment::None | Segment::Vni(_) => &[carried],
        Segment::Vlan(id) => &[ether_type::VLAN, id, carried],
        Segment::QinQ(outer, inner) => &[
            ether_type::SERVICE_VLAN,
            outer,
            ether_type::VLAN,
            inner,
            carried,
        ],
    };
    let (first, others) = words.split_first()?;
    let mut content: Vec<u8> = others.iter().copied().flat_map(u16::to_be_bytes).collect();
    content.extend(packet_bytes);
    Some(ethernet(first.to_be_bytes(), &content))
}
