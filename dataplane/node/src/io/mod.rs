//! Where frames come from and go to: a device, a capture, memory.

use weir_wire::Reason;

pub mod dpdk;
pub(crate) mod link;
pub mod memory;
mod nflog;
pub mod replay;
mod wireless;

/// Most frames in one burst.
pub const BURST: usize = 32;

/// A frame that is owned by whoever holds it; dropping it gives its memory back.
pub trait Frame: Sized + Send {
    /// The frame from the destination MAC address on, without the frame check sequence.
    fn bytes(&self) -> &[u8];
}

/// Makes frames out of nothing: for the resets that Weir sends itself.
pub trait FrameSource {
    /// What it makes.
    type Frame: Frame;

    /// A frame with these bytes; None when memory is short.
    fn frame(&mut self, bytes: &[u8]) -> Option<Self::Frame>;
}

/// One worker's end of a port.
pub trait Queue: Send {
    /// What it carries.
    type Frame: Frame;

    /// Appends the frames that are there, at most [`BURST`].
    fn receive(&mut self, into: &mut Vec<Self::Frame>);

    /// Sends from the front; what could not be sent stays in `from`.
    fn transmit(&mut self, from: &mut Vec<Self::Frame>);

    /// Frames that came in but could not be given as one whole buffer, since the start. They are
    /// lost before the path and counted with the port's drops.
    fn refused(&self) -> u64 {
        0
    }
}

/// Index of a port in the order of the configuration.
pub type PortIndex = u8;

/// What a port is to the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What comes in here and may pass goes out at `peer`.
    Inline {
        /// The other port of the pair.
        peer: PortIndex,
        /// Number of the pair; part of the zone.
        pair: u8,
        /// What holds when no worker looks: true forwards uninspected, false drops.
        fail_open: bool,
    },
    /// Listens only: nothing is sent, nothing can be stopped.
    Tap {
        /// Number of the tap, counted on behind the pairs; part of the zone.
        pair: u8,
    },
}

/// Where the path leaves frames: one list per port, and those that end here.
pub struct Outbox<F> {
    /// Frames to send, by port.
    pub transmit: Vec<Vec<F>>,
    /// Frames that end here, each already counted under its reason; freed in bulk.
    pub finished: Vec<F>,
}

impl<F> Outbox<F> {
    /// An outbox for so many ports. Lists grow to their working size once and keep it.
    pub fn new(ports: usize) -> Self {
        Self {
            transmit: (0..ports).map(|_| Vec::with_capacity(4 * BURST)).collect(),
            finished: Vec::with_capacity(4 * BURST),
        }
    }
}

/// Frames by fate. At every moment: received = transmitted + tapped + dropped + held, where
/// frames that Weir makes itself count as received under `injected`.
#[derive(Clone, Debug)]
pub struct FrameCounts {
    /// From ports and from other workers.
    pub received: u64,
    /// Made by Weir: resets.
    pub injected: u64,
    /// Left in the outbox for a port.
    pub transmitted: u64,
    /// Seen on a tap port, where every frame ends.
    pub tapped: u64,
    /// Handed to the worker that owns the flow.
    pub handed_over: u64,
    /// Dropped, by [`Reason`].
    pub dropped: [u64; Reason::ALL.len()],
    /// Forwarded although a stage objected, since the mode does not block; by [`Reason`].
    pub spared: [u64; Reason::ALL.len()],
}

impl Default for FrameCounts {
    fn default() -> Self {
        Self {
            received: 0,
            injected: 0,
            transmitted: 0,
            tapped: 0,
            handed_over: 0,
            dropped: [0; Reason::ALL.len()],
            spared: [0; Reason::ALL.len()],
        }
    }
}

impl FrameCounts {
    /// All drops.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether every frame that came in is accounted for, with `held` frames still inside.
    pub fn balances(&self, held: u64) -> bool {
        self.received + self.injected
            == self.transmitted + self.tapped + self.handed_over + self.dropped_total() + held
    }
}
