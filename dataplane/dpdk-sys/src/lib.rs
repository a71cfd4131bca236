//! Bindings to libdpdk, generated at build time.
