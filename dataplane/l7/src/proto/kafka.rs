//! Kafka: what clients ask of which topics, their groups, logins and refusals.
//!
//! Read after "Kafka protocol guide" and the message definitions of Apache Kafka 4.1, with the
//! flexible versions of KIP-482. Trusts nothing. Records are skipped by their lengths.
//!
//! A request about several topics is told once for each. A produce request is read to its end
//! however large it is; of others the first [`BODY_MAX`] bytes are read. Where topics cannot be
//! told (beyond that, in a version newer than is known, or named by an id only: Fetch and Produce
//! from version 13) a request with an empty topic is told, so that an allowing condition on the
//! topic fails. ApiVersions, the SASL exchange and a Metadata request for no topic are no
//! requests, nor is a Fetch that goes on with the topics of one before it.
//!
//! Violations: lengths and headers that are none. Memory: 16 requests that are not answered yet,
//! and where the produce request at hand stands.

mod api;
mod client;
mod probe;
mod reader;
mod server;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

/// How much of a request that is no Produce is read.
const BODY_MAX: usize = 12 << 10;
/// socket.request.max.bytes is 100 MiB; responses are bounded likewise.
const MESSAGE_MAX: u32 = 1 << 30;
/// Topics are at most 249 characters long; groups and client ids are longer in theory.
const TEXT_MAX: usize = 1_024;
/// Requests that are not answered yet.
const OUTSTANDING: usize = 16;

const API: u8 = 0;
const TOPIC: u8 = 1;
const TOPIC_ID: u8 = 2;
const GROUP: u8 = 3;
const CLIENT: u8 = 4;
const SOFTWARE: u8 = 5;
const SOFTWARE_VERSION: u8 = 6;
const MECHANISM: u8 = 7;
const USER: u8 = 8;
const LOGIN: u8 = 9;
const ERROR_CODE: u8 = 10;
const ERROR: u8 = 11;

/// The parser.
#[derive(Default)]
pub struct Kafka {
    produce: Option<client::Produce>,
    outstanding: ArrayVec<Asked, OUTSTANDING>,
    /// SASL tokens without a header may follow (SaslHandshake version 0).
    tokens: bool,
    /// A Fetch has named its topics.
    fetches: bool,
    picked_up: bool,
}

/// A request that waits for its answer.
#[derive(Clone, Copy)]
struct Asked {
    correlation: u32,
    key: u8,
    version: u8,
}

impl Application for Kafka {
    const NAME: &'static str = "kafka";
    const ABOUT: &'static str = "Apache Kafka protocol (kafka.apache.org, Protocol)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[9092];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("api", "Name of the API: Produce, Fetch, Metadata, …"),
        FieldSpec::condition(
            "topic",
            "Topic; empty where the request names none, all of them, or an id only",
        ),
        FieldSpec::condition(
            "topic_id",
            "Id of the topic in hexadecimal digits, where the request names it so",
        ),
        FieldSpec::condition("group", "Consumer group"),
        FieldSpec::text("client", "Client id of the request's header"),
        FieldSpec::text("software", "Name of the client's library (ApiVersions)"),
        FieldSpec::text(
            "software_version",
            "Version of the client's library (ApiVersions)",
        ),
        FieldSpec::text("mechanism", "SASL mechanism that the client chose"),
        FieldSpec::text("user", "User of a SASL PLAIN or SCRAM exchange"),
        FieldSpec::text("login", "Outcome of the SASL exchange: accepted or failed"),
        FieldSpec::number(
            "error_code",
            "Error code of an answer (Kafka protocol, Error Codes)",
        ),
        FieldSpec::text("error", "Message of a failed SASL exchange"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(0, 6),
        to_client: ByteSet::NONE.and_range(0, 63),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => self.client_bytes(input, sink),
            Direction::ToClient => self.server_bytes(input, sink),
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

impl Kafka {
    /// Picked up, bytes may not be what they seem.
    fn wrong(&self, what: &'static str) -> Step {
        if self.picked_up {
            Step::Done
        } else {
            Step::Violation(what)
        }
    }
}
