//! Following connections: defragmentation, flow table, TCP state, timers, reassembly.
//!
//! Five parts, each usable alone and owned by one worker; a packet meets them in this order:
//!
//! 1. [`Defragmenter`] holds fragments until their datagram is whole.
//! 2. [`FlowKey`] and [`FlowTable`] find the flow that a packet belongs to, in two cache lines at most.
//! 3. [`TcpConnection`] says whether a segment lies within the windows its receiver announced.
//! 4. [`Reassembler`] puts the bytes in order and sees to it that the endpoint reads the bytes that
//!    were inspected and no others.
//! 5. [`TimerWheel`] and [`Timeouts`] end what has gone quiet.
//!
//! Everything is allocated when it is made; no call allocates afterwards. Nothing here reads a
//! clock: times are microseconds on one monotonic scale, handed in by the caller.

mod fragments;
mod key;
mod pool;
mod reassembly;
mod table;
mod tcp;
mod timeouts;
mod timers;

pub use fragments::{Defragmenter, FragmentLimits, FragmentOutcome};
pub use key::{FlowKey, Oriented};
pub use reassembly::{Reassembler, ReassemblyLimits, SegmentOutcome, StreamState};
pub use table::{Bucket, FlowId, FlowTable, Hot, Life};
pub use tcp::{
    KEPT_BYTES, TcpConnection, TcpLimits, TcpVerdict, check_flags, payload_sequence,
    sender_is_client,
};
pub use timeouts::Timeouts;
pub use timers::TimerWheel;
