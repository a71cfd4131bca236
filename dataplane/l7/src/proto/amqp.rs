//! AMQP: what clients publish, consume and declare, in the protocol of RabbitMQ (0-9-1) and in
//! that of the standard (1.0).
//!
//! Read after AMQP 0-9-1 with RabbitMQ's extensions, and OASIS AMQP 1.0. Trusts nothing. Bodies
//! are skipped by their lengths. Requests are what names an exchange, a queue or an address:
//! what opens, acknowledges, commits or limits acts on what they named. Of AMQP 1.0 that is a
//! link's attach; messages that name their address themselves need a link to no address, which is
//! a request with an empty one, so that an allowing condition fails. Passwords are never told.
//!
//! Violations: frames that do not end as they must, lengths that do not add up, methods that are
//! none. Memory: the virtual host, and where each side's frame ends.

mod classic;
mod one;
mod probe;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// How much of a method or performative is read.
const READ_MAX: usize = 12 << 10;
/// A frame is at most as long as both sides agreed on; nobody goes beyond this.
const FRAME_MAX: u32 = 1 << 28;
/// "AMQP", protocol, and three numbers of the version.
const HEADER: usize = 8;

const METHOD: u8 = 0;
const EXCHANGE: u8 = 1;
const QUEUE: u8 = 2;
const ROUTING_KEY: u8 = 3;
const VHOST: u8 = 4;
const ADDRESS: u8 = 5;
const USER: u8 = 6;
const MECHANISM: u8 = 7;
const CLIENT: u8 = 8;
const VERSION: u8 = 9;
const PRODUCT: u8 = 10;
const PRODUCT_VERSION: u8 = 11;
const LOGIN: u8 = 12;
const ERROR_CODE: u8 = 13;
const ERROR: u8 = 14;

/// The parser.
#[derive(Default)]
pub struct Amqp {
    sides: [Place; 2],
    /// Empty where it does not fit: half a name could be another's.
    vhost: ArrayVec<u8, 128>,
    encryption: Encryption,
    picked_up: bool,
}

/// Where in the stream a side is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Frame,
    /// Behind a frame of 0-9-1: the byte that ends it is next.
    End,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Encryption {
    #[default]
    None,
    /// The client wants TLS.
    Asked,
    Tls,
}

/// What is wrong with a message.
enum Fault {
    /// More of it is needed, or it is shorter than it says.
    Short,
    Wrong(&'static str),
}

type Read<T> = Result<T, Fault>;

fn need<T>(value: Option<T>) -> Read<T> {
    value.ok_or(Fault::Short)
}

impl Application for Amqp {
    const NAME: &'static str = "amqp";
    const ABOUT: &'static str =
        "Advanced Message Queuing Protocol: 0-9-1 (RabbitMQ) and 1.0 (OASIS)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[5672];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "method",
            "basic.publish, basic.consume, queue.declare, … (0-9-1); attach.sender or attach.receiver (1.0)",
        ),
        FieldSpec::condition("exchange", "Exchange, of 0-9-1"),
        FieldSpec::condition("queue", "Queue, of 0-9-1; empty for the last one declared"),
        FieldSpec::condition("routing_key", "Routing key, of 0-9-1"),
        FieldSpec::condition(
            "vhost",
            "Virtual host that was opened (0-9-1), or host name of open (1.0)",
        ),
        FieldSpec::condition("address", "Address of the link at the server, of 1.0"),
        FieldSpec::text("user", "User of a PLAIN or AMQPLAIN login"),
        FieldSpec::text("mechanism", "SASL mechanism that the client chose"),
        FieldSpec::text(
            "client",
            "Product of the client (0-9-1), or its container id (1.0)",
        ),
        FieldSpec::text("version", "Protocol version: 0-9-1, 1.0, …"),
        FieldSpec::text("product", "Software of the server, where it says so"),
        FieldSpec::text("product_version", "Version of the server, where it says so"),
        FieldSpec::text("login", "Outcome of the login: accepted or failed"),
        FieldSpec::number(
            "error_code",
            "Code of a close or of a returned message (0-9-1)",
        ),
        FieldSpec::text(
            "error",
            "Text of a close (0-9-1), or condition of an error (1.0)",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[b'A', 0, 1, 2, 3, 8]),
        to_client: ByteSet::of(&[b'A', 0, 1, 2, 3, 8]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.encryption == Encryption::Tls {
            return Step::StartTls;
        }
        if let Some(place @ Place::End) = self.sides.get_mut(direction as usize) {
            *place = Place::Frame;
            return match input.first() {
                Some(&classic::END) => Step::Consumed(1),
                _ => self.wrong("amqp: a frame without its end"),
            };
        }
        match input.first() {
            Some(b'A') => self.header(direction, input, sink),
            // A frame of 1.0 begins with its length, which is below 16 MiB.
            Some(0) => self.one(direction, input, sink),
            Some(_) => self.classic(direction, input, sink),
            None => Step::Incomplete,
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

/// Protocol and versions behind "AMQP".
fn version(header: [u8; 4]) -> Option<&'static str> {
    Some(match header {
        [0, 0, 9, 1] => "0-9-1",
        [1, 1, 0, 9] => "0-9",
        [1, 1, 8, 0] | [1, 1, 0, 8] => "0-8",
        [1, 1, 0, 10] => "0-10",
        [0 | 2 | 3, 1, 0, 0] => "1.0",
        _ => return None,
    })
}

impl Amqp {
    /// Picked up, bytes may not be what they seem.
    fn wrong(&self, what: &'static str) -> Step {
        if self.picked_up {
            Step::Done
        } else {
            Step::Violation(what)
        }
    }

    fn header(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((mark, rest)) = input.split_first_chunk::<4>() else {
            return Step::Incomplete;
        };
        let Some(&numbers) = rest.first_chunk::<4>() else {
            return Step::Incomplete;
        };
        let (b"AMQP", Some(version)) = (mark, version(numbers)) else {
            return self.wrong("amqp: a version that is none");
        };
        if direction == Direction::ToServer {
            Told::new()
                .name(VERSION, version)
                .send(EventKind::Session, sink);
        }
        self.encryption = match (numbers, direction, self.encryption) {
            ([2, ..], Direction::ToServer, _) => Encryption::Asked,
            ([2, ..], Direction::ToClient, Encryption::Asked) => Encryption::Tls,
            (_, _, now) => now,
        };
        if version == "0-10" {
            // Frames of another kind, which nobody reads here.
            return Step::Done;
        }
        Step::Consumed(HEADER)
    }
}

/// The user of a PLAIN response (RFC 4616).
fn plain_user(response: &[u8]) -> &[u8] {
    response.split(|&byte| byte == 0).nth(1).unwrap_or_default()
}
