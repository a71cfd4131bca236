//! Bindings to libdpdk, generated at build time.
//!
//! Only what Weir uses. `rte_*` are DPDK's own functions; `weir_*` and `WEIR_*` come from `shim/`, which
//! gives inline functions a symbol and macros a value. Use [`weir_dpdk`](../weir_dpdk/index.html), which
//! is safe.

#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unnecessary_transmutes
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
