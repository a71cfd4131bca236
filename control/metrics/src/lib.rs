//! What a daemon tells of itself over HTTP: metrics, whether it makes progress, whether it does its work.
//!
//! A daemon has one [`table!`] of metrics, from which their names, their help and the reference in
//! `deploy/baremetal/METRICS.md` follow. What they are worth is read when somebody asks: a [`Reading`] is
//! filled then and thrown away, so that nothing here is on anybody's way. [`serve`] answers `/metrics`
//! (OpenMetrics), `/healthz` and `/readyz`.

mod ask;
mod certificate;
mod listen;
mod memory;
mod reading;
pub mod reference;
mod server;
mod table;

pub use ask::ask_readiness;
pub use certificate::certificate_ends;
pub use listen::Listen;
pub use memory::resident_bytes;
pub use prometheus_client::metrics::histogram::Histogram;
pub use reading::{Number, Reading};
pub use server::{Told, serve, serve_on};
pub use table::{Kind, Metric, Table};
