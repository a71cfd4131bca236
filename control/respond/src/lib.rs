//! What Weir does of itself when something happens: events in, orders out.
//!
//! Pure: time is an argument, sending is somebody else's. [`Engine`] matches events with response
//! rules, [`Quarantines`] holds who is cut off and until when, [`Captures`] whose packets are kept,
//! [`message`] says it as JSON, as Slack shows it and as syslog lines, [`outside`] reads what Falco and
//! Tetragon report.
//!
//! Memory is bounded: [`RULES_MAX`] rules, [`SUPPRESSED_MAX`] things kept quiet,
//! [`QUARANTINES_MAX`] workloads, [`capture::RUNNING_MAX`] captures and [`capture::ENDED_MAX`] that were. A rule cuts off at most [`QUARANTINES_PER_RULE_MAX`] workloads in
//! [`QUARANTINE_WINDOW_S`], so that a wrong one, or one that an intruder plays with, does not stop
//! the cluster.

pub mod capture;
mod engine;
mod event;
pub mod message;
pub mod outside;
mod quarantine;
mod suppress;

pub use capture::{Capture, CaptureRefusal, Captures, Subject};
pub use engine::{
    Engine, Order, OrderAction, QUARANTINE_WINDOW_S, QUARANTINES_PER_RULE_MAX, RULES_MAX,
};
pub use event::{Event, EventKind, Facts, FlowPlace, Party};
pub use quarantine::{QUARANTINES_MAX, Quarantine, QuarantineError, Quarantines, is_quarantine};
pub use suppress::SUPPRESSED_MAX;
