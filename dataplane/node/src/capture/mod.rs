//! Packets of chosen flows and workloads, copied on their way out of the path and written to files.
//!
//! ```text
//! controller → agent → Desk: which captures → Wanted, shared by all workers → Recorder: copies
//!                       └ files ← Desk ← ring of buffers ←──────────────────────┘
//! ```
//!
//! A worker looks at [`Wanted`] once a millisecond. As long as nothing is wanted the cost is one branch a
//! burst, and no memory. While something is, a packet is matched by its addresses, and one that is
//! wanted is copied as it leaves, with what became of it, into a buffer that was made beforehand. Where
//! none is free the copy is lost and counted; the packet goes its way either way.
//!
//! What a capture has begins when the worker learns of it: packets of before are gone (those that
//! raised alerts are kept by `events.packets`).
//!
//! Distrusts: how much matches. Memory: [`BUFFERS`] buffers a worker while anything is captured; files
//! as [`Folder`] bounds them.

mod desk;
mod file;
mod folder;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use weir_wire::{Packet, Reason, from_ip_address};

use crate::connection::has_ports;
use crate::io::PortIndex;

pub use desk::{CaptureDesk, Desk, Setting};
pub use folder::{Folder, file_name_fits};

/// Captures at a time; one bit each.
pub const CAPTURES_MAX: usize = 32;
/// Packets of a worker that wait to be written.
pub const BUFFERS: usize = 1_024;
/// Networks of one capture.
pub const NETWORKS_MAX: usize = 4_096;

/// Which packets are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Those of a flow, both ways, and its fragments.
    Flow {
        /// The flow's zone.
        zone: u32,
        /// IP protocol number.
        protocol: u8,
        /// Address and port of an end; IPv4 mapped into IPv6.
        ends: [(u128, u16); 2],
    },
    /// Those from or to these networks.
    Networks {
        /// In this zone only.
        zone: Option<u32>,
        /// First address and mask.
        networks: Vec<(u128, u128)>,
    },
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went on.
    Forwarded,
    /// It ended here.
    Dropped(Reason),
    /// A tap saw it.
    Seen,
    /// Weir made it.
    Made,
}

/// What stops a capture on every worker at once, and what they could not keep for it.
#[derive(Debug, Default)]
pub struct Switch {
    off: AtomicBool,
    lost: AtomicU64,
}

/// A copy of a packet.
#[derive(Debug)]
pub struct Copied {
    /// The frame, cut to the buffer.
    pub bytes: Vec<u8>,
    /// Bytes of the whole frame.
    pub frame_bytes: u32,
    /// On the workers' clock.
    pub time_us: u64,
    /// The number of its flow; 0 for none.
    pub flow: u64,
    /// The captures that want it, one bit each.
    captures: u32,
    /// The [`Wanted`] that says which those are.
    generation: u64,
    /// Where it came in; where it leaves, if Weir made it.
    pub port: PortIndex,
    /// What became of it.
    pub outcome: Outcome,
}

/// The buffers of one worker.
#[derive(Debug)]
pub struct Ring {
    free: ArrayQueue<Copied>,
    full: ArrayQueue<Copied>,
}

/// All captures at one time.
#[derive(Debug)]
pub struct Wanted {
    /// Counts up with every change; never 0.
    pub generation: u64,
    entries: Vec<Option<(Filter, Arc<Switch>)>>,
    /// Which captures may want packets of an address.
    hosts: HashMap<u128, u32, foldhash::fast::RandomState>,
    /// The same for networks: first address, mask, captures.
    networks: Vec<(u128, u128, u32)>,
    rings: Vec<Arc<Ring>>,
}

/// Copies packets, on one worker.
#[derive(Debug)]
pub struct Recorder {
    wanted: Arc<Wanted>,
    ring: Arc<Ring>,
}

impl Filter {
    fn fits(&self, packet: &Packet, zone: u32) -> bool {
        match self {
            Self::Flow {
                zone: wanted,
                protocol,
                ends,
            } => {
                // A fragment has no ports.
                let ports = packet.fragment.is_none() && has_ports(*protocol);
                let is = |end: (u128, u16), address: u128, port: u16| {
                    end.0 == address && (!ports || end.1 == port)
                };
                let (source, destination) = (
                    (packet.source, packet.source_port),
                    (packet.destination, packet.destination_port),
                );
                let between = |from: (u128, u16), to: (u128, u16)| {
                    is(from, source.0, source.1) && is(to, destination.0, destination.1)
                };
                zone == *wanted
                    && packet.protocol == *protocol
                    && (between(ends[0], ends[1]) || between(ends[1], ends[0]))
            }
            // That an address is one of them is known already.
            Self::Networks { zone: wanted, .. } => wanted.is_none_or(|wanted| wanted == zone),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Forwarded => formatter.write_str("forwarded"),
            Self::Dropped(reason) => write!(formatter, "dropped: {}", reason.name()),
            Self::Seen => formatter.write_str("seen"),
            Self::Made => formatter.write_str("made by weir"),
        }
    }
}

impl Switch {
    /// Ends the capture: no worker copies for it any more.
    pub fn turn_off(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    /// Packets that were wanted and not kept.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Ring {
    /// So many buffers of so many bytes.
    pub fn new(buffers: usize, bytes: usize) -> Self {
        let ring = Self {
            free: ArrayQueue::new(buffers.max(1)),
            full: ArrayQueue::new(buffers.max(1)),
        };
        for _ in 0..buffers {
            let _ = ring.free.push(Copied {
                bytes: Vec::with_capacity(bytes),
                frame_bytes: 0,
                time_us: 0,
                flow: 0,
                captures: 0,
                generation: 0,
                port: 0,
                outcome: Outcome::Seen,
            });
        }
        ring
    }

    /// The oldest packet that waits.
    pub fn pop(&self) -> Option<Copied> {
        self.full.pop()
    }

    /// Gives a buffer back.
    pub fn give_back(&self, copied: Copied) {
        let _ = self.free.push(copied);
    }
}

impl Wanted {
    /// These captures, by their bit.
    pub fn new(
        generation: u64,
        entries: Vec<Option<(Filter, Arc<Switch>)>>,
        rings: Vec<Arc<Ring>>,
    ) -> Self {
        let mut wanted = Self {
            generation,
            entries,
            hosts: HashMap::default(),
            networks: Vec::new(),
            rings,
        };
        for index in 0..wanted.entries.len().min(CAPTURES_MAX) {
            let Some((filter, _)) = &wanted.entries[index] else {
                continue;
            };
            let bit = 1_u32 << index;
            match filter {
                Filter::Flow { ends, .. } => {
                    *wanted.hosts.entry(ends[0].0).or_default() |= bit;
                }
                Filter::Networks { networks, .. } => {
                    for &(network, mask) in networks {
                        match mask {
                            u128::MAX => *wanted.hosts.entry(network).or_default() |= bit,
                            _ => wanted.networks.push((network, mask, bit)),
                        }
                    }
                }
            }
        }
        wanted
    }

    /// What the worker of this number copies with.
    pub fn recorder(self: &Arc<Self>, worker: usize) -> Option<Recorder> {
        Some(Recorder {
            ring: Arc::clone(self.rings.get(worker)?),
            wanted: Arc::clone(self),
        })
    }

    fn matching(&self, packet: &Packet, zone: u32) -> u32 {
        let of = |address: u128| self.hosts.get(&address).copied().unwrap_or_default();
        let mut maybe = of(packet.source) | of(packet.destination);
        for (network, mask, bits) in &self.networks {
            if packet.source & mask == *network || packet.destination & mask == *network {
                maybe |= bits;
            }
        }
        let mut matching = 0;
        while maybe != 0 {
            let index = maybe.trailing_zeros();
            maybe &= maybe - 1;
            if let Some(Some((filter, switch))) = self.entries.get(index as usize)
                && !switch.off.load(Ordering::Relaxed)
                && filter.fits(packet, zone)
            {
                matching |= 1 << index;
            }
        }
        matching
    }
}

impl Recorder {
    /// The captures that want a packet, one bit each.
    pub fn matching(&self, packet: &Packet, zone: u32) -> u32 {
        self.wanted.matching(packet, zone)
    }

    /// Copies a packet for these captures.
    pub fn copy(
        &self,
        captures: u32,
        frame: &[u8],
        (port, time_us, flow): (PortIndex, u64, u64),
        outcome: Outcome,
    ) {
        let Some(mut copied) = self.ring.free.pop() else {
            self.lose(captures);
            return;
        };
        let kept = frame.len().min(copied.bytes.capacity());
        copied.bytes.clear();
        copied.bytes.extend_from_slice(&frame[..kept]);
        let copied = Copied {
            bytes: copied.bytes,
            frame_bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            time_us,
            flow,
            captures,
            generation: self.wanted.generation,
            port,
            outcome,
        };
        if self.ring.full.push(copied).is_err() {
            self.lose(captures);
        }
    }

    fn lose(&self, captures: u32) {
        for (index, entry) in self.wanted.entries.iter().enumerate() {
            if captures >> index & 1 == 1
                && let Some((_, switch)) = entry
            {
                switch.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Copied {
    /// Whether the capture with this bit wants it, that began with this generation.
    pub fn is_for(&self, index: usize, since: u64) -> bool {
        self.captures >> index & 1 == 1 && self.generation >= since
    }
}

/// First address and mask of a network as it travels: 4 or 16 bytes.
pub fn network(bytes: &[u8], prefix_bits: u32) -> Option<(u128, u128)> {
    let (address, prefix_bits) = match bytes.len() {
        4 => (
            <[u8; 4]>::try_from(bytes).ok()?.into(),
            prefix_bits.checked_add(96)?,
        ),
        16 => (
            std::net::IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
            prefix_bits,
        ),
        _ => return None,
    };
    let mask = match prefix_bits {
        0 => 0,
        1..=128 => u128::MAX << (128 - prefix_bits),
        _ => return None,
    };
    Some((from_ip_address(address) & mask, mask))
}
