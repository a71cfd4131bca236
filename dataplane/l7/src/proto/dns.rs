//! DNS over UDP and TCP (RFC 1035), on any port; multicast DNS (RFC 6762) and LLMNR (RFC 4795)
//! have the same form and are rows of their own.
//!
//! Trusts: nothing. Distrusts: counts, name compression, lengths. A message is only taken for DNS
//! when every name and record of it can be walked to its very end; on DNS's own port a sound
//! header and question are enough, so that malformed messages do not pass for something else.
//! Memory: nothing is kept but, of a stream, a message of up to what the engine keeps; of a larger
//! one the front is told.

mod fault;
mod message;
mod name;

pub use name::{opcode_number, rcode_number, record_type_number};
use weir_wire::Direction;

use super::{llmnr, mdns};

use crate::read::sides::judge;
use crate::{
    Application, Blocks, Buffer, BufferSet, EventSink, FieldSpec, Probe, ProbeInput, Step,
    Transport,
};

const PORT: u16 = 53;

/// What stands before each message of a stream.
const LENGTH_BYTES: usize = 2;

const NAME: u8 = 0;
const TYPE: u8 = 1;
const OPCODE: u8 = 2;
const RCODE: u8 = 3;
const ANSWER_NAME: u8 = 4;
const ADDRESS: u8 = 5;
const CNAME: u8 = 6;
const TTL: u8 = 7;
const TARGET: u8 = 8;
const TEXT: u8 = 9;
const ID: u8 = 10;
const LENGTH: u8 = 11;

/// The parser of one connection: every message stands alone.
#[derive(Default)]
pub struct Dns {
    stream: bool,
    /// Of a stream picked up: where messages begin was only seen on the sides that were judged.
    picked_up: bool,
}

/// Which of the protocols of this form a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Unicast,
    Multicast,
    LinkLocal,
}

impl Application for Dns {
    const NAME: &'static str = "dns";
    const ABOUT: &'static str = "Domain Name System over UDP and TCP (RFC 1035)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "name",
            "Name asked for: lower case, no final dot, the root is `.`; a dot within a label is `\\.`.",
        ),
        FieldSpec::condition(
            "type",
            "Record type asked for: `AAAA`, or `TYPE65280` where it has no name.",
        ),
        FieldSpec::text("opcode", "Kind of query: `QUERY`, `UPDATE`, `NOTIFY` ..."),
        FieldSpec::text(
            "rcode",
            "Response code, EDNS included: `NOERROR`, `NXDOMAIN` ...",
        ),
        FieldSpec::text(
            "answer_name",
            "Owner of an answer; its `address`, `cname`, `target` or `text` and its `ttl` follow.",
        )
        .looked_into_as(Buffer::DnsAnswer),
        FieldSpec::address("address", "Address of an A or AAAA answer."),
        FieldSpec::text("cname", "Target of a CNAME answer."),
        FieldSpec::number("ttl", "Seconds for which the answer holds."),
        FieldSpec::text(
            "target",
            "Name that an NS, PTR, MX, SRV or DNAME answer leads to.",
        ),
        FieldSpec::text("text", "First 64 bytes of a TXT answer."),
        FieldSpec::number("id", "Number that joins an answer to its question."),
        FieldSpec::number("length", "Bytes of the whole message."),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::DnsQuery);

    fn probe(input: &ProbeInput<'_>) -> Probe {
        match input.transport {
            Transport::Tcp => judge(input, probe_stream, probe_stream),
            _ => probe_datagrams(input, Form::Unicast),
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            picked_up: false,
        }
    }

    fn parse(&mut self, _direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let message = match (self.stream, framed(input)) {
            (false, _) => input,
            (true, Some(message)) => message,
            (true, None) => return Step::Incomplete,
        };
        match message::tell(message, true, sink) {
            Ok(()) => Step::Consumed(message.len() + if self.stream { LENGTH_BYTES } else { 0 }),
            Err(_) if self.picked_up => Step::Done,
            Err(what) => Step::Violation(what),
        }
    }

    /// A zone transfer's message: its front is told, its end is passed over.
    fn overflow(&mut self, _direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((&prefix, message)) = input.split_first_chunk::<LENGTH_BYTES>() else {
            return Step::Done;
        };
        match message::tell(message, false, sink) {
            Ok(()) => Step::Skip(u64::from(u16::from_be_bytes(prefix)) + LENGTH_BYTES as u64),
            Err(_) if self.picked_up => Step::Done,
            Err(what) => Step::Violation(what),
        }
    }

    /// Only what was judged begins with a message for certain.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        !self.stream || length == 0
    }
}

/// Whether the datagrams of a flow are of this form.
pub(super) fn probe_datagrams(input: &ProbeInput<'_>, wanted: Form) -> Probe {
    let port = input.server_port;
    let side = |bytes: &[u8]| {
        let known = message::is_whole(bytes) || port == PORT && message::is_recognisable(bytes);
        match known && form(port, bytes) == wanted {
            true => Probe::Certain,
            false => Probe::NotMine,
        }
    };
    judge(input, side, side)
}

/// On their ports the multicast forms need not differ from DNS, but a resolver may listen there
/// too: who asks it wants recursion, which the multicast forms do not know.
fn form(port: u16, bytes: &[u8]) -> Form {
    let Some(header) = message::Header::read(bytes) else {
        return Form::Unicast;
    };
    match port {
        mdns::PORT if !header.is_recursive() => Form::Multicast,
        llmnr::PORT if header.is_link_local() => Form::LinkLocal,
        PORT | llmnr::PORT => Form::Unicast,
        _ if header.is_multicast() && message::is_local(bytes) => Form::Multicast,
        _ => Form::Unicast,
    }
}

/// The message behind its length, when it is all there (RFC 1035, 4.2.2).
fn framed(input: &[u8]) -> Option<&[u8]> {
    let (&prefix, rest) = input.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..usize::from(u16::from_be_bytes(prefix)))
}

fn probe_stream(input: &[u8]) -> Probe {
    if let Some(message) = framed(input) {
        return match message::is_whole(message) {
            true => Probe::Certain,
            false => Probe::NotMine,
        };
    }
    let Some((&prefix, message)) = input.split_first_chunk::<LENGTH_BYTES>() else {
        return Probe::Unsure;
    };
    let long_enough = usize::from(u16::from_be_bytes(prefix)) >= message::HEADER_BYTES;
    let header = message::Header::read(message);
    match long_enough && header.is_none_or(message::Header::is_plausible) {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}
