//! What the node tells of its ports and workers.

use weir_api::v1::{PortCounters, WorkerState};

/// Ports and workers as they are now.
pub trait Status: Send + Sync {
    /// One entry per port.
    fn ports(&self) -> Vec<PortCounters>;
    /// One entry per worker.
    fn workers(&self) -> Vec<WorkerState>;
}
