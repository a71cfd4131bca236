//! Packet headers, one file each, and the words that every stage shares.
//!
//! Start at [`decode`]: it walks a frame once and answers with a [`Packet`], or with the [`Reason`]
//! for which the frame is malformed. Nothing here allocates, keeps state or reads a clock.

mod ayiya;
mod bytes;
mod decode;
mod envelope;
mod erspan;
mod ethernet;
mod foreign;
mod geneve;
mod glance;
mod gre;
mod gtp_u;
mod icmp;
mod ipip;
mod ipv4;
mod ipv6;
mod neighbour;
mod network;
mod nsh;
mod numbers;
mod packet;
mod pppoe;
mod reason;
mod sctp;
mod tcp;
mod teredo;
mod trace;
mod transport;
mod tunnel;
mod udp;
mod verify;
mod vlan;
mod vxlan;

pub mod checksum;
pub mod emit;

pub use decode::{DecodeOptions, decode, decode_datagram};
pub use envelope::envelope;
pub use glance::{Ends, Glance, glance, glance_at_tcp, glance_ipv4, glance_other};
pub use numbers::{ether_type, protocol, tcp_flags, udp_port};
pub use packet::{
    Direction, Fragment, Kind, Packet, Segment, TcpFields, from_ip_address, to_ip_address,
};
pub use reason::Reason;
pub use verify::transport_checksum_ok;
