//! Hosts, frames and a path between two ports, for the tests. Frames are written by the etherparse
//! crate or by hand, never by the code under test.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses some of them"
)]

pub mod bench;
pub mod content;
pub mod frames;
pub mod hosts;
pub mod shop;
pub mod talk;

pub use bench::{Bench, Sent};
pub use frames::{Segment, Wrap};
pub use hosts::{Family, Host};
pub use shop::Shop;
pub use talk::Talk;
