//! The detectors against frames built by hand, and flows followed as simply as can be.

mod bench;
mod contacts;
mod flooding;
mod handshakes;
mod pings;
mod scanning;
