//! gRPC: calls over HTTP/2 (gRPC over HTTP2, the protocol's specification).
//!
//! Told by the content type of a request or an answer, on any port. Read as HTTP/2: service and
//! method come from the path, the status from the trailers. No state, no memory of its own.

use weir_wire::Direction;

use super::http::{content, fields};
use crate::{
    Application, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// The row; its connections are read as HTTP/2.
#[derive(Default)]
pub struct Grpc;

impl Application for Grpc {
    const NAME: &'static str = "grpc";
    const ABOUT: &'static str = "gRPC calls over HTTP/2 (gRPC over HTTP2)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &fields::GRPC_FIELDS;
    const CONTENTS: BufferSet = content::TOLD;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE,
        to_client: ByteSet::NONE,
    };
    const REFINES: Option<&'static str> = Some("http2");

    /// Only HTTP/2 tells what is carried in it.
    fn probe(_: &ProbeInput<'_>) -> Probe {
        Probe::NotMine
    }

    fn parse(&mut self, _: Direction, _: &[u8], _: &mut dyn EventSink) -> Step {
        Step::Done
    }
}
