//! What became of one phase.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts of all that was sent, and rate and residence time of what counts (see `windows.rs`).
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// For so long frames were sent, pauses taken off.
    pub seconds: f64,
    /// Stamped frames that the device took.
    pub sent: u64,
    /// Stamped frames that came back.
    pub received: u64,
    /// SYNs of the flood that the device took.
    pub flood_sent: u64,
    /// SYNs of the flood, and answers to them, that came back.
    pub flood_received: u64,
    /// Rounds in which the device took not all that was due: it was sent later, under its old stamp.
    pub refused_rounds: u64,
    /// Times this process itself was stopped, and for how long altogether.
    pub pauses: u64,
    /// See above.
    pub paused_ms: f64,
    /// Windows in which the thread under test had to wait for its core, and for how long altogether.
    pub waits: u64,
    /// See above.
    pub waited_ms: f64,
    /// Stamped frames that came back in windows that count.
    pub counted: u64,
    /// How long these windows are altogether.
    pub counted_seconds: f64,
    /// Their residence time, microseconds.
    pub p50_us: f64,
    /// Of 1,000 frames 990 were back by then.
    pub p99_us: f64,
    /// Of 1,000 frames 999.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Report {
    /// Fills in the residence time, of a histogram in nanoseconds.
    pub fn residence(&mut self, nanoseconds: &Histogram<u64>) {
        let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1e3;
        self.p50_us = at(0.5);
        self.p99_us = at(0.99);
        self.p999_us = at(0.999);
        self.max_us = nanoseconds.max() as f64 / 1e3;
    }
}
