//! A real environment without hugepages, for any user. One per process: tests of a file share it.

use weir_dpdk::{Eal, EalOptions, HugePages};

/// What every test file starts DPDK with.
pub fn options(virtual_devices: Vec<String>) -> EalOptions {
    EalOptions {
        huge_pages: HugePages::Never,
        memory_mb: 64,
        virtual_devices,
        ..EalOptions::default()
    }
}

/// Starts it, or says why not.
#[allow(dead_code, reason = "not every test file starts it this way")]
pub fn start(virtual_devices: Vec<String>) -> Eal {
    match Eal::start(&options(virtual_devices)) {
        Ok(eal) => eal,
        Err(error) => panic!("{error}"),
    }
}

/// A frame of `length` bytes that differs from those of other numbers in every byte.
#[allow(dead_code, reason = "not every test file sends frames")]
pub fn frame(number: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(7) ^ number.wrapping_mul(31)) as u8)
        .collect()
}
