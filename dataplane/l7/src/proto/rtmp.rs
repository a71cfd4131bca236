//! RTMP: publishing and playing media streams (Adobe's Real-Time Messaging Protocol, 1.0; AMF 0).
//!
//! Trusts nothing. Both ends open with the version and 1,536 bytes of which most are random; then
//! messages come in chunks. Commands are read, media are skipped. What stands behind a question mark
//! in a name is left out: keys are sent there. Violations: chunks that continue nothing, messages of
//! no known kind. Memory: the chunk streams of each direction, and the name of the application.

mod amf;
mod chunk;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

use amf::Amf;
use chunk::Flow;

const PORT: u16 = 1935;
/// 6 and 8 are those that encrypt.
const VERSION: u8 = 3;
/// Time, a field that is zero or a version, random bytes (5.2.3).
const PART: usize = 1_536;
/// Version and the first part.
const OPENING: usize = 1 + PART;
/// Of as many random bytes hardly a value is missing.
const DISTINCT_MIN: u32 = 192;
/// Of a message so much is read.
const READ_MAX: usize = 1_536;

/// Kinds of messages that are read (5.4, 7.1).
const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;
const COMMAND_AMF3: u8 = 17;
const COMMAND: u8 = 20;

const COMMAND_NAME: u8 = 0;
const APP: u8 = 1;
const STREAM: u8 = 2;
const TC_URL: u8 = 3;
const FLASH_VERSION: u8 = 4;
const STATUS: u8 = 5;
const PRODUCT: u8 = 6;
const PRODUCT_VERSION: u8 = 7;

/// The parser.
#[derive(Default)]
pub struct Rtmp {
    flows: [Flow; 2],
    app: ArrayVec<u8, 64>,
}

impl Application for Rtmp {
    const NAME: &'static str = "rtmp";
    const ABOUT: &'static str = "Real-Time Messaging Protocol (Adobe, version 1.0)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("command", "connect, publish or play (7.2)"),
        FieldSpec::condition("app", "Application that the client connects to (7.2.1.1)"),
        FieldSpec::condition(
            "stream",
            "Stream that is published or played, without its parameters (7.2.2)",
        ),
        FieldSpec::text(
            "tc_url",
            "The server's address as the client has it (7.2.1.1)",
        ),
        FieldSpec::text("flash_version", "The client's software (7.2.1.1)"),
        FieldSpec::text(
            "status",
            "The server's answer, as NetStream.Publish.Start (7.2.2)",
        ),
        FieldSpec::text("product", "Server software that the answer names"),
        FieldSpec::text("product_version", "Version of the server software"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[VERSION]),
        to_client: ByteSet::of(&[VERSION]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let sides = [input.to_server, input.to_client];
        if !input.from_start || !sides.into_iter().all(may_open) {
            return Probe::NotMine;
        }
        let [client, server] = sides.map(opened);
        let home = input.server_port == PORT;
        match (client, server) {
            (Some(client), Some(server)) if client.holds() && server.holds() => Probe::Certain,
            (Some(side), _) | (_, Some(side)) if home && side.random => Probe::Certain,
            (Some(_), Some(_)) => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let flow = &mut self.flows[direction as usize];
        if !flow.open {
            flow.open = true;
            return match input.first() {
                // The second part repeats the first of the other side.
                Some(&VERSION) => Step::Skip((OPENING + PART) as u64),
                _ => Step::Violation("rtmp: no known version"),
            };
        }
        let chunk = match flow.chunk(input) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Step::Incomplete,
            Err(step) => return step,
        };
        let read = matches!(chunk.kind, SET_CHUNK_SIZE | ABORT | COMMAND_AMF3 | COMMAND);
        let mut message: ArrayVec<u8, READ_MAX> = ArrayVec::new();
        if read && chunk.first && flow.gather(&chunk, input, &mut message).is_none() {
            return Step::Incomplete;
        }
        flow.take(&chunk);
        if chunk.first {
            match chunk.kind {
                SET_CHUNK_SIZE | ABORT => {
                    if let Some(wrong) = flow.control(chunk.kind, &message) {
                        return wrong;
                    }
                }
                COMMAND => self.command(direction, &message, sink),
                // A format is named, and it is the same.
                COMMAND_AMF3 => {
                    self.command(direction, message.get(1..).unwrap_or_default(), sink);
                }
                _ => {}
            }
        }
        Step::Skip(chunk.bytes())
    }
}

impl Rtmp {
    fn command(&mut self, direction: Direction, message: &[u8], sink: &mut dyn EventSink) {
        let mut amf = Amf::new(message);
        let Some(name) = amf.text() else { return };
        // The transaction.
        amf.value();
        match (direction, name) {
            (Direction::ToServer, b"connect") => self.connect(amf, sink),
            (Direction::ToServer, b"publish") => self.stream("publish", amf, sink),
            (Direction::ToServer, b"play" | b"play2") => self.stream("play", amf, sink),
            (Direction::ToClient, b"_result" | b"_error" | b"onStatus") => answer(amf, sink),
            _ => {}
        }
    }

    fn connect(&mut self, mut amf: Amf<'_>, sink: &mut dyn EventSink) {
        let (mut app, mut url, mut version) = (&b""[..], &b""[..], &b""[..]);
        amf.members(|name, value| match name {
            b"app" => app = without_parameters(value),
            b"tcUrl" => url = without_parameters(value),
            b"flashVer" => version = value,
            _ => {}
        });
        // A name that does not fit is left empty: half a name could be another's.
        self.app.clear();
        if app.len() <= self.app.capacity() {
            self.app.extend(app.iter().copied());
        }
        Told::new()
            .name(COMMAND_NAME, "connect")
            .bytes(APP, app)
            .bytes(STREAM, b"")
            .known(TC_URL, url)
            .known(FLASH_VERSION, version)
            .send(EventKind::Request, sink);
    }

    fn stream(&self, command: &'static str, mut amf: Amf<'_>, sink: &mut dyn EventSink) {
        // Where other commands have an object, these have none.
        amf.value();
        let stream = amf.text().unwrap_or_default();
        Told::new()
            .name(COMMAND_NAME, command)
            .bytes(APP, &self.app)
            .bytes(STREAM, without_parameters(stream))
            .send(EventKind::Request, sink);
    }
}

/// Properties of the server, and how it went; either may be missing.
fn answer(mut amf: Amf<'_>, sink: &mut dyn EventSink) {
    let (mut status, mut product) = (&b""[..], &b""[..]);
    for _ in 0..2 {
        amf.members(|name, value| match name {
            b"code" => status = value,
            b"fmsVer" => product = value,
            _ => {}
        });
    }
    if status.is_empty() {
        return;
    }
    let slash = product.iter().position(|&byte| byte == b'/');
    let (product, version) = product.split_at(slash.unwrap_or(product.len()));
    Told::new()
        .bytes(STATUS, status)
        .known(PRODUCT, product)
        .known(PRODUCT_VERSION, version.get(1..).unwrap_or_default())
        .send(EventKind::Response, sink);
}

fn without_parameters(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'?').next().unwrap_or_default()
}

/// What the opening of one side shows.
#[derive(Clone, Copy)]
struct Opened {
    /// The field that newer versions use is zero.
    zero: bool,
    random: bool,
}

impl Opened {
    fn holds(self) -> bool {
        self.zero || self.random
    }
}

/// Version 3, and a field that is zero or a software's version.
fn may_open(bytes: &[u8]) -> bool {
    let field = bytes.get(5..).unwrap_or_default();
    let field = field.get(..4).unwrap_or(field);
    let zero = field.iter().all(|&byte| byte == 0);
    let version = field.iter().all(|&byte| byte <= 0x80) && field.first() != Some(&0);
    bytes.first().is_none_or(|&first| first == VERSION) && (zero || version)
}

/// None: it is not complete.
fn opened(bytes: &[u8]) -> Option<Opened> {
    let (opening, _) = bytes.split_first_chunk::<OPENING>()?;
    let mut seen = [0_u64; 4];
    for &byte in opening.iter().skip(9) {
        if let Some(bits) = seen.get_mut(usize::from(byte >> 6)) {
            *bits |= 1 << (byte & 63);
        }
    }
    let distinct: u32 = seen.iter().map(|bits| bits.count_ones()).sum();
    Some(Opened {
        zero: opening.iter().skip(5).take(4).all(|&byte| byte == 0),
        random: distinct >= DISTINCT_MIN,
    })
}
