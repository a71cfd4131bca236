//! DNS over UDP and TCP (RFC 1035), on any port; multicast DNS (RFC 6762) and LLMNR (RFC 4795)
//! have the same form.
//!
//! Trusts: nothing. Distrusts: counts, name compression, lengths. A message is only taken for DNS
//! when every name and record of it can be walked to its very end. Memory: nothing is kept but,
//! of a stream, a message of up to what the engine keeps; of a larger one the front is told.

mod message;
mod name;

use weir_wire::Direction;

use crate::{
    Application, Blocks, EventSink, FieldKind, FieldSpec, Probe, ProbeInput, Step, Transport,
};

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

/// The parser of one connection: every message stands alone.
#[derive(Default)]
pub struct Dns {
    stream: bool,
}

impl Application for Dns {
    const NAME: &'static str = "dns";
    const ABOUT: &'static str =
        "Domain Name System over UDP and TCP (RFC 1035), multicast included";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[53, 5353, 5355];
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
            "Owner of an answer; its `address` or `cname` and its `ttl` follow.",
        ),
        FieldSpec {
            name: "address",
            kind: FieldKind::Address,
            condition: false,
            about: "Address of an A or AAAA answer.",
        },
        FieldSpec::text("cname", "Target of a CNAME answer."),
        FieldSpec {
            name: "ttl",
            kind: FieldKind::Number,
            condition: false,
            about: "Seconds for which the answer holds.",
        },
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        [input.to_server, input.to_client]
            .into_iter()
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| match input.transport {
                Transport::Tcp => probe_stream(bytes),
                _ if message::is_whole(bytes) => Probe::Certain,
                _ => Probe::NotMine,
            })
            .reduce(both)
            .unwrap_or(Probe::Unsure)
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
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
            Err(what) => Step::Violation(what),
        }
    }
}

/// The message behind its length, when it is all there (RFC 1035, 4.2.2).
fn framed(input: &[u8]) -> Option<&[u8]> {
    let (&prefix, rest) = input.split_first_chunk::<LENGTH_BYTES>()?;
    rest.get(..usize::from(u16::from_be_bytes(prefix)))
}

fn probe_stream(input: &[u8]) -> Probe {
    if let Some(message) = framed(input) {
        return if message::is_whole(message) {
            Probe::Certain
        } else {
            Probe::NotMine
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

fn both(one: Probe, other: Probe) -> Probe {
    match (one, other) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}
