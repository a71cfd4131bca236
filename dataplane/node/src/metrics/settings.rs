//! `[metrics]` of the configuration.

use serde::Deserialize;
use weir_metrics::Listen;

/// The port where none is given.
const PORT: u16 = 9470;

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Where `/metrics`, `/healthz` and `/readyz` are served: `address:port`, or `off`.
    pub listen: Listen,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            listen: Listen::local(PORT),
        }
    }
}
