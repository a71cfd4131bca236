//! A daemon as a service of systemd: ready when it does its work, watched while it does it, and its log
//! in the journal with fields. Elsewhere none of it does anything.

pub mod log;
mod notify;
mod supervise;

pub use notify::Notifier;
pub use supervise::{Standing, Supervision, supervise};
