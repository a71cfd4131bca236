//! A machine made ready for Weir: examined ([`doctor`]), prepared and restored ([`prepare`]).
//!
//! Everything is read below a root directory ([`Machine`]), so that what a machine looks like can be
//! recorded on it, sent, and examined elsewhere; tests do the same with machines of many kinds.

pub mod addresses;
pub mod doctor;
mod machine;
pub mod network;
pub mod nic;
pub mod parse;
pub mod pci;
pub mod prepare;
pub mod processes;
mod record;
mod wanted;

pub use machine::{Machine, Unread, Why};
pub use record::{Record, RecordError};
pub use wanted::{HOST_PORT, HostInterface, HugePages, Wanted, WantedError};
