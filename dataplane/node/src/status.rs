//! What the node tells of its ports and workers.

use weir_api::v1::{PortCounters, WorkerState};
use weir_dpdk::PortStats;

/// Ports and workers as they are now.
pub trait Status: Send + Sync {
    /// One entry per port.
    fn ports(&self) -> Vec<PortCounters>;
    /// One entry per worker.
    fn workers(&self) -> Vec<WorkerState>;

    /// The ports as their devices count.
    fn devices(&self) -> Vec<Device> {
        Vec::new()
    }

    /// Frame buffers that are free, of so many; None where there is no pool.
    fn frame_buffers(&self) -> Option<(u32, u32)> {
        None
    }
}

/// A port as its device counts.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its name in the configuration.
    pub port: String,
    /// The pair that it belongs to; empty for a tap.
    pub pair: String,
    /// `inline` or `tap`.
    pub role: &'static str,
    /// DPDK's driver.
    pub driver: String,
    /// The link is up.
    pub up: bool,
    /// What was counted.
    pub stats: PortStats,
}
