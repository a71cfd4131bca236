//! Frames that carry when they were due, and what is made of it when they are back: residence time by windows of a millisecond.
//! Used by `weir-live`, which sends them through a live node, and by `weir-perf swap`, which does so in memory.

pub mod frames;
mod report;
mod windows;

pub use report::Report;
pub use windows::{Waiting, Windows};

/// Windows in a second.
pub const WINDOWS_PER_SECOND: u64 = 1_000;
