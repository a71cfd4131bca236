//! Naming the application of a connection from its bytes, and reading the fields policy asks for.
//!
//! Add an application: one file in `proto/`, one row in [`registry`].

#[macro_use]
mod dispatch;

mod app;
mod application;
mod blocks;
mod buffer;
mod document;
mod engine;
mod event;
mod fields;
mod pool;
mod port;
mod read;
pub mod registry;
mod sql;
mod told;
pub mod violation;

pub use app::{AppId, AppSet};
pub use application::{
    Application, ByteSet, Confidence, FieldKind, FieldSpec, Openings, Probe, ProbeInput, Seen,
    Step, Transport,
};
pub use blocks::{BLOCK_BYTES, Block, Blocks};
pub use buffer::{Buffer, BufferSet, Content, Form};
pub use engine::{
    AppEventSink, Engine, Identification, Interest, Limits, Outcome, RESUMED, Resumed, SessionId,
    Speaker, TURNED,
};
pub use event::{Announcement, Event, EventKind, EventSink, Field, Value};
pub use port::{PortUse, port_use};
pub use registry::proto;
