//! Spark: the messages of its processes, with the endpoints that they are for.
//!
//! Read after the network module of Apache Spark 3.5 and 4.0 (network-common, MessageEncoder and
//! the messages; core, NettyRpcEnv). Trusts nothing. Bodies are skipped by their lengths; of a
//! serialised object only its class is told. Either side may ask once a connection stands: what
//! the server asks is told as an answer would be.
//!
//! Violations: frames that are none. Memory: two flags.

use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::read::weigh::{self, ENOUGH, Sight, weigh};
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

/// Length of the frame, itself included, and type.
const HEAD: usize = 9;
/// How much of a message is read.
const READ_MAX: usize = 1 << 10;
/// spark.rpc.message.maxSize is at most 2 GiB; blocks are not larger either.
const FRAME_MAX: u64 = 1 << 31;
/// What follows a frame that announces a stream.
const STREAM_MAX: u64 = 1 << 50;

const MESSAGE: u8 = 0;
const ENDPOINT: u8 = 1;
const CLASS: u8 = 2;
const SENDER: u8 = 3;
const APPLICATION: u8 = 4;
const ERROR: u8 = 5;

/// Types of messages (network-common, Message.Type).
const KINDS: [&str; 13] = [
    "ChunkFetchRequest",
    "ChunkFetchSuccess",
    "ChunkFetchFailure",
    "RpcRequest",
    "RpcResponse",
    "RpcFailure",
    "StreamRequest",
    "StreamResponse",
    "StreamFailure",
    "OneWayMessage",
    "UploadStream",
    "MergedBlockMetaRequest",
    "MergedBlockMetaSuccess",
];

/// The parser.
#[derive(Default)]
pub struct Spark {
    picked_up: bool,
}

/// A frame's fields.
struct Frame<'a> {
    kind: u8,
    /// Bytes of the frame.
    length: u64,
    /// Bytes of a stream behind the frame.
    behind: u64,
    /// The lengths in it add up to its own.
    exact: bool,
    /// The body, or a text.
    body: &'a [u8],
}

enum Read<'a> {
    Frame(Frame<'a>),
    Partial,
    Bad,
}

impl Application for Spark {
    const NAME: &'static str = "spark";
    const ABOUT: &'static str =
        "Apache Spark's RPC and block transfer (spark.apache.org, network-common)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[7077, 7078, 7079, 7337];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "message",
            "RpcRequest, OneWayMessage, ChunkFetchRequest, StreamRequest, …",
        ),
        FieldSpec::condition(
            "endpoint",
            "Name of the endpoint that an RPC is for, or of the stream asked for",
        ),
        FieldSpec::text("class", "Java class of the object that is sent"),
        FieldSpec::text("sender", "Host that the sender gives as its own"),
        FieldSpec::text(
            "application",
            "Id of the application whose blocks are asked for",
        ),
        FieldSpec::text("error", "First line of a failure"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0]),
        to_client: ByteSet::of(&[0]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if !weigh::opens(&Self::OPENINGS, input) {
            return Probe::NotMine;
        }
        weigh::verdict(
            weigh(input.to_server, sight),
            weigh(input.to_client, sight),
            Self::PORTS.contains(&input.server_port),
        )
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match frame(input) {
            Read::Frame(frame) => {
                tell(direction, &frame, sink);
                Step::Skip(frame.length + frame.behind)
            }
            Read::Partial => Step::Incomplete,
            Read::Bad if self.picked_up => Step::Done,
            Read::Bad => Step::Violation("spark: a frame that is none"),
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

fn frame(input: &[u8]) -> Read<'_> {
    let mut cursor = Cursor::new(input);
    let (Some(length), Some(kind)) = (cursor.array().map(u64::from_be_bytes), cursor.u8()) else {
        return Read::Partial;
    };
    if !(HEAD as u64..=FRAME_MAX).contains(&length) || usize::from(kind) >= KINDS.len() {
        return Read::Bad;
    }
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(kept) = input.get(..whole.min(READ_MAX)) else {
        return Read::Partial;
    };
    let mut cursor = Cursor::new(kept.get(HEAD..).unwrap_or_default());
    let fields = (|| {
        let mut behind = 0;
        // Ids, then the length of what follows.
        let (ids, sized) = match kind {
            0 => (12, false),
            1 => (12, false),
            2 => (12, true),
            3..=5 => (8, true),
            6..=9 => (0, true),
            10 => (8, true),
            11 => (20, false),
            _ => (12, false),
        };
        cursor.take(ids)?;
        if !sized {
            let exact = kind == 0 && length == (HEAD + ids) as u64;
            return Some((exact, kind != 0 || exact, behind, cursor.rest()));
        }
        let size = cursor.u32()?;
        let rest = cursor.rest();
        let body = rest.get(..size as usize).unwrap_or(rest);
        let mut used = (HEAD + ids + 4) as u64 + u64::from(size);
        if matches!(kind, 7 | 10) {
            // The stream's length is the last of the frame.
            let at = usize::try_from(used).ok()?;
            behind = u64::from_be_bytes(*kept.get(at..)?.first_chunk()?);
            used += 8;
        }
        // A StreamFailure has a second text.
        let exact = used == length;
        Some((exact, exact || kind == 8, behind, body))
    })();
    match fields {
        Some((exact, true, behind, body)) if behind <= STREAM_MAX => Read::Frame(Frame {
            kind,
            length,
            behind,
            exact,
            body,
        }),
        _ => Read::Bad,
    }
}

fn tell(direction: Direction, frame: &Frame<'_>, sink: &mut dyn EventSink) {
    let name = KINDS
        .get(usize::from(frame.kind))
        .copied()
        .unwrap_or_default();
    let told = Told::new().name(MESSAGE, name);
    let event = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    match frame.kind {
        3 | 9 => {
            let call = call(frame.body).unwrap_or_default();
            told.bytes(ENDPOINT, call.endpoint)
                .known(CLASS, call.class)
                .known(SENDER, call.sender)
                .known(APPLICATION, call.application)
                .send(event, sink);
        }
        6 => told.bytes(ENDPOINT, frame.body).send(event, sink),
        0 | 10 | 11 => told.bytes(ENDPOINT, &[]).send(event, sink),
        8 => told
            .bytes(ENDPOINT, frame.body)
            .send(EventKind::Response, sink),
        2 | 5 => {
            let line = frame
                .body
                .split(|&byte| byte == b'\n')
                .next()
                .unwrap_or_default();
            told.bytes(ERROR, line).send(EventKind::Response, sink);
        }
        _ => {}
    }
}

/// What an RPC is about.
#[derive(Default)]
struct Call<'a> {
    endpoint: &'a [u8],
    class: &'a [u8],
    sender: &'a [u8],
    application: &'a [u8],
}

/// A request between endpoints, or one of the block transfer.
fn call(body: &[u8]) -> Option<Call<'_>> {
    endpoint_call(body).or_else(|| block_call(body))
}

/// Sender, receiver and object (core, RequestMessage).
fn endpoint_call(body: &[u8]) -> Option<Call<'_>> {
    let mut cursor = Cursor::new(body);
    let sender = address(&mut cursor)?;
    address(&mut cursor)?;
    let endpoint = cursor.vector16()?.rest();
    if endpoint.is_empty() || !endpoint.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    // A Java serialised object begins with its class.
    let object = cursor.rest().strip_prefix(b"\xac\xed\0\x05sr");
    let class = object.and_then(|object| Cursor::new(object).vector16());
    Some(Call {
        endpoint,
        class: class.map_or(&[], |class| class.rest()),
        sender,
        application: &[],
    })
}

/// A host and a port, where there is one.
fn address<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    match cursor.u8()? {
        0 => Some(&[]),
        1 => {
            let host = cursor.vector16()?.rest();
            cursor.u32()?;
            Some(host)
        }
        _ => None,
    }
}

/// Type, application and executor (network-shuffle, BlockTransferMessage).
fn block_call(body: &[u8]) -> Option<Call<'_>> {
    let mut cursor = Cursor::new(body);
    let kind = cursor.u8()?;
    let length = cursor.u32()? as usize;
    let application = cursor.take(length)?;
    let readable = application.iter().all(u8::is_ascii_graphic);
    (kind < 32 && readable && !application.is_empty()).then_some(Call {
        application,
        ..Call::default()
    })
}

fn sight(input: &[u8]) -> Sight {
    match frame(input) {
        Read::Frame(frame) => {
            // Lengths that add up over 32 bits, behind 32 that are zero.
            let bits = match frame.kind {
                _ if !frame.exact => 8,
                0 => 28,
                _ => ENOUGH,
            };
            let length = frame.length.saturating_add(frame.behind);
            Sight::Message {
                bits,
                length: usize::try_from(length).unwrap_or(usize::MAX),
            }
        }
        Read::Partial => Sight::Partial,
        Read::Bad => Sight::Foreign,
    }
}
