//! Naming the application of a connection from its bytes, and reading the fields policy asks for.
//!
//! Add an application: one file in `proto/`, one line in [`registry`].

mod application;
mod event;

pub use application::{Application, Confidence, FieldKind, FieldSpec, Probe, ProbeInput, Step, Transport};
pub use event::{Event, EventKind, EventSink, Field, Value};
