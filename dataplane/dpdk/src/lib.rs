//! Safe use of DPDK: environment, memory pools, ports.
//!
//! [`Eal`] starts DPDK once per process, [`Pool`] holds the buffers, [`Port`] is a started device whose
//! [`RxQueue`]s and [`TxQueue`]s go to one worker each, [`Mbuf`] is one frame. What must outlive what is
//! kept by reference counts, so dropping in any order is safe: the environment ends with the last pool
//! and port, a device with its last queue.
//!
//! Trusted: DPDK and its drivers. Not trusted: what is in a frame, and what a device says it can do
//! ([`PortReport`] tells what it was asked and what it gave). Memory: the pools, sized when they are
//! made; nothing is allocated per frame.

#![deny(unsafe_op_in_unsafe_fn)]

mod eal;
mod error;
mod files;
mod host;
mod log;
mod mbuf;
mod memory;
mod pool;
mod port;
mod prefetch;
mod queue;
mod report;
pub mod rings;
mod thread;
mod time;

pub use eal::{Eal, EalOptions, HugePages, PortInfo, take_removed};
pub use error::{DeviceError, EalError, PoolError, PortError, ThreadError};
pub use files::keep_files_from_children;
pub use log::{LogLines, take_log_lines};
pub use mbuf::{ChecksumState, ChecksumStatus, Mbuf, free_bulk};
pub use memory::prefer_huge_pages;
pub use pool::Pool;
pub use port::{Link, Port, PortConfig, PortStats};
pub use prefetch::prefetch;
pub use queue::{RxCounters, RxQueue, TxQueue};
pub use report::{ChecksumOffloads, Granted, PortReport};
pub use thread::register_thread;
pub use time::{cycles, cycles_per_second};

/// Locks, also after a holder panicked: what these locks guard is valid between any two statements.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
