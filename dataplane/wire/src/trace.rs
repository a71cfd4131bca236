//! The layers that decode walked through, for those who change a frame or check it all. Decode
//! itself keeps none: its trace compiles to nothing.

use crate::decode::walk;
use crate::tunnel::Inside;
use crate::{DecodeOptions, Packet, Segment};

/// One layer of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    Ethernet {
        start: usize,
    },
    Pppoe {
        start: usize,
    },
    Ip(IpLayer),
    /// UDP that carries a tunnel.
    Udp {
        start: usize,
        end: usize,
    },
    /// GRE that was opened.
    Gre {
        start: usize,
        end: usize,
    },
}

/// An IP header as a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpLayer {
    pub is_ipv4: bool,
    pub source: u128,
    pub destination: u128,
    pub start: usize,
    pub upper: usize,
    /// Neither authentication nor extension headers lie between.
    pub plain: bool,
}

/// Takes note of layers, outermost first.
pub(crate) trait Trace {
    fn layer(&mut self, layer: Layer);
}

/// Takes no note.
pub(crate) struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn layer(&mut self, _layer: Layer) {}
}

/// Three layers a tunnel, and what the innermost packet adds.
const LAYERS_MAX: usize = 16;

/// The layers of one frame.
pub(crate) struct Layers {
    layers: [Layer; LAYERS_MAX],
    /// May count beyond what fits.
    count: usize,
}

impl Layers {
    /// Walks the frame (or the datagram) that `packet` was decoded from, or a fragment of it. `None`
    /// if it does not lead to such a packet, or through too many layers. Foreign tunnels are not opened:
    /// what is inside of them is read, never changed.
    pub(crate) fn of(frame: &[u8], first: Inside, packet: &Packet) -> Option<(Self, Packet)> {
        let mut layers = Self {
            layers: [Layer::Ethernet { start: 0 }; LAYERS_MAX],
            count: 0,
        };
        let options = DecodeOptions {
            tunnels_max: packet.tunnels,
            verify_ipv4_checksum: false,
            foreign_tunnels: false,
        };
        let found = walk(frame, first, Segment::None, 0, None, &options, &mut layers).ok()?;
        let same = found.source == packet.source && found.destination == packet.destination;
        (same && layers.count <= LAYERS_MAX).then_some((layers, found))
    }

    /// The layers, outermost first.
    pub(crate) fn as_slice(&self) -> &[Layer] {
        self.layers.get(..self.count).unwrap_or_default()
    }

    /// The layers, outermost first.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [Layer] {
        self.layers.get_mut(..self.count).unwrap_or_default()
    }
}

impl Trace for Layers {
    fn layer(&mut self, layer: Layer) {
        if let Some(place) = self.layers.get_mut(self.count) {
            *place = layer;
        }
        self.count += 1;
    }
}
