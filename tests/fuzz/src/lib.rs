//! Fuzz targets for everything that reads bytes from the wire.
//!
//! `cargo test -p weir-fuzz` runs each of them for a moment with random input; `tests/fuzz/run SECONDS
//! [TARGET]` for as long as wanted, led by coverage. What a target found stays in
//! `src/__fuzz__/<target>/crashes` and is tried first from then on.
#![cfg(test)]

mod applications;
mod content;
mod decode;
mod fragments;
#[path = "../../../dataplane/wire/tests/frames/mod.rs"]
mod frames;
mod injection;
#[path = "../../../sigs/tests/support/oracle.rs"]
mod oracle;
mod reassembly;
mod rules;
mod signatures;
mod threats;

use std::time::Duration;

/// How long a target runs under `cargo test`; `BOLERO_RANDOM_TEST_TIME_MS` overrides it.
const TEST_TIME: Duration = Duration::from_millis(1_500);
/// Each family of applications.
const FAMILY_TIME: Duration = Duration::from_millis(750);
/// More than fit into that time.
const ITERATIONS: usize = 10_000_000;
