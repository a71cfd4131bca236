//! Packet headers, one file each, and the words that every stage shares.
//!
//! Start at [`decode`]: it walks a frame once and answers with a [`Packet`], or with the [`Reason`]
//! for which the frame is malformed. Nothing here allocates, keeps state or reads a clock.

mod packet;
mod reason;

pub use packet::{from_ip_address, to_ip_address, Direction, Fragment, Kind, Packet, Segment, TcpFields};
pub use reason::Reason;
