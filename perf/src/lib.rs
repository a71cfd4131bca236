//! Loads, and what a worker of Weir makes of them: everything that `perf/` measures with begins here.
//!
//! [`load`] makes packets, the same on every run: [`load::open`] by name. [`capture`] writes them as a file, [`port`]
//! hands them to a worker, [`node`] takes them along the packet's way without a device.

pub mod capture;
pub mod engine;
pub mod load;
pub mod node;
pub mod port;
pub mod scheduled;
pub mod stamped;
