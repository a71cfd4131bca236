//! Naming the application of a connection from its bytes, and reading the fields policy asks for.
//!
//! Add an application: one file in `proto/`, one row in [`registry`].

#[macro_use]
mod dispatch;

mod app;
mod application;
mod ber;
mod blocks;
mod cursor;
mod document;
mod engine;
mod event;
mod fields;
mod framing;
mod head;
mod line;
mod lines;
mod ntlmssp;
mod pool;
mod port;
pub mod registry;
mod sasl;
mod sdp;
mod sides;
mod sql;
mod told;
mod tpkt;
mod unpack;
mod weigh;

pub use app::{AppId, AppSet};
pub use application::{
    Application, ByteSet, Confidence, FieldKind, FieldSpec, Openings, Probe, ProbeInput, Seen,
    Step, Transport,
};
pub use blocks::{BLOCK_BYTES, Block, Blocks};
pub use engine::{
    AppEventSink, Engine, Identification, Interest, Limits, Outcome, SessionId, Speaker, TURNED,
};
pub use event::{Announcement, Event, EventKind, EventSink, Field, Value};
pub use port::{PortUse, port_use};
pub use registry::proto;
