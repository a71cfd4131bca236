//! Naming the application of a connection from its bytes, and reading the fields policy asks for.
//!
//! Add an application: one file in `proto/`, one row in [`registry`].

#[macro_use]
mod dispatch;

mod app;
mod application;
mod cursor;
mod document;
mod engine;
mod event;
mod pool;
pub mod registry;
mod sql;

pub use app::{AppId, AppSet};
pub use application::{
    Application, ByteSet, Confidence, FieldKind, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};
pub use engine::{AppEventSink, Engine, Identification, Interest, Limits, Outcome, SessionId};
pub use event::{Event, EventKind, EventSink, Field, Value};
pub use registry::proto;
