//! etcd: version 3 by its gRPC services, version 2 by the headers of its answers over HTTP
//! (etcd API documentation).
//!
//! A special case of gRPC, since that is what it speaks for ten years; connections of version 2 are
//! told as the same application. Read as HTTP/2 and HTTP. No state, no memory of its own.

use weir_wire::Direction;

use super::http::fields;
use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

/// The row; its connections are read as HTTP/2, or HTTP.
#[derive(Default)]
pub struct Etcd;

/// Packages of its services.
const PACKAGES: &[&[u8]] = &[b"etcdserverpb.", b"v3lockpb.", b"v3electionpb."];

/// Whether a gRPC service is one of its.
pub(super) fn is_service(service: &[u8]) -> bool {
    PACKAGES.iter().any(|package| service.starts_with(package))
}

/// Whether a path may be of its interface over HTTP: others have it too.
pub(super) fn is_path(path: &[u8]) -> bool {
    matches!(path, b"/health" | b"/version" | b"/metrics") || path.starts_with(b"/v2/")
}

impl Application for Etcd {
    const NAME: &'static str = "etcd";
    const ABOUT: &'static str = "etcd: version 3 over gRPC, version 2 over HTTP (etcd API)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[2379, 4001];
    const FIELDS: &'static [FieldSpec] = &fields::GRPC_FIELDS;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE,
        to_client: ByteSet::NONE,
    };
    const REFINES: Option<&'static str> = Some("grpc");

    /// Only what carries it tells.
    fn probe(_: &ProbeInput<'_>) -> Probe {
        Probe::NotMine
    }

    fn parse(&mut self, _: Direction, _: &[u8], _: &mut dyn EventSink) -> Step {
        Step::Done
    }
}
