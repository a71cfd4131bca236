//! The node: ports, workers, the packet's way. Start at [`path`].

pub mod agent;
pub mod alarm;
mod announced;
pub mod community_id;
pub mod config;
pub mod connection;
pub mod counters;
pub mod daemon;
mod dns;
pub mod eve;
pub mod event;
mod flows;
pub mod handover;
mod hold;
pub mod inspect;
pub mod inspection;
pub mod io;
pub mod limits;
pub mod path;
mod policy;
pub mod ports;
pub mod signatures;
mod stage;
pub mod status;
pub mod watchdog;
pub mod worker;
mod zone;
