//! HTTP/2 (RFC 9113) with header compression (RFC 7541): every request of every stream.
//!
//! Begins with the client's preface (prior knowledge, ALPN in the clear, or an Upgrade from HTTP/1).
//! Trusts: nothing. Distrusts: frames on the wrong stream or of the wrong length, header blocks that
//! no decoder could read, headers that could be read in two ways behind a gateway. Bodies are passed
//! over unless somebody looks into them. A header block must fit into what the engine keeps for one direction, with all its
//! CONTINUATION frames, of which there may be [`CONTINUATIONS_MAX`]. Memory: the state below, and a
//! block for both dynamic tables; without one, requests that refer to them cannot be read, and their
//! direction is given up. Streams need no table: a response tells its stream's number.

mod bodies;
mod data;
mod frames;
mod headers;
mod hpack;
mod huffman;
mod lines;
mod probe;
mod table;

use arrayvec::ArrayVec;
use weir_wire::Direction;

use self::bodies::Bodies;
use self::data::Data;
use self::frames::{HEAD_BYTES, Head};
use self::headers::{Fields, Kept};
use self::lines::Lines;
use self::table::Table;
use super::etcd;
use super::http::{content, emit, fields, head};
use crate::{
    Application, BLOCK_BYTES, Block, Blocks, BufferSet, ByteSet, EventSink, FieldSpec, Openings,
    Probe, ProbeInput, Step, Transport,
};

/// What a client begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames that may go on with one header block.
const CONTINUATIONS_MAX: usize = 32;
/// Bytes of a header block in several frames.
const BLOCK_PARTS_BYTES_MAX: usize = 16_384;

/// The parser of one connection.
#[derive(Default)]
pub struct Http2 {
    client: Side,
    server: Side,
    /// Both dynamic tables.
    block: Option<Box<Block>>,
    bodies: Bodies,
    /// The newest stream that the client began.
    newest: u32,
    asked: bool,
    grpc: bool,
}

#[derive(Default)]
struct Side {
    phase: Phase,
    table: Table,
    /// The frame of a body at hand, into which somebody looks.
    data: Option<Data>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing of the direction was seen.
    #[default]
    Beginning,
    /// Behind the preface.
    Settings,
    Frames,
    /// Picked up in the middle: the bytes may not be frames.
    Midway,
    /// Picked up in the middle, and frames so far.
    MidwayFrames,
    Over,
}

impl Application for Http2 {
    const NAME: &'static str = "http2";
    const ABOUT: &'static str =
        "HTTP/2 in the clear, by prior knowledge or Upgrade (RFC 9113, RFC 7541)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &fields::FIELDS;
    const CONTENTS: BufferSet = content::TOLD;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"P"),
        to_client: ByteSet::of(&[0]),
    };
    const REFINES: Option<&'static str> = Some("http");

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn open(_transport: Transport, blocks: &mut Blocks) -> Self {
        Self {
            block: blocks.take(),
            ..Self::default()
        }
    }

    fn close(&mut self, blocks: &mut Blocks) {
        if let Some(block) = self.block.take() {
            blocks.give(block);
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if let Some(data) = self.side(direction).data.take() {
            return self.body(direction, data, input, sink);
        }
        match (self.side(direction).phase, direction) {
            (Phase::Over, _) => Step::Done,
            (Phase::Beginning, Direction::ToServer) => self.preface(input),
            (Phase::Midway, Direction::ToServer) if input.starts_with(&PREFACE[..9]) => {
                self.client.table = Table::default();
                self.client.phase = Phase::Beginning;
                self.preface(input)
            }
            // A server that only speaks HTTP/1 says so.
            (Phase::Beginning, Direction::ToClient) if input.starts_with(b"HTTP/") => Step::Done,
            _ => self.frame(direction, input, sink),
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match direction {
            Direction::ToServer => Step::Violation("a header block larger than is kept"),
            Direction::ToClient => Step::Done,
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if length > 0 && self.within_body(direction, length) {
            return true;
        }
        self.bodies.lose(direction);
        let side = self.side(direction);
        side.data = None;
        side.table.forget();
        // Where the next frame begins is known at most where the stream is picked up.
        side.phase = match side.phase {
            Phase::Beginning | Phase::Midway => Phase::Midway,
            _ if length == 0 => Phase::Midway,
            _ => Phase::Over,
        };
        true
    }
}

/// What a header block turned out to be.
type Outcome = Result<Step, &'static str>;

impl Http2 {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
    }

    fn preface(&mut self, input: &[u8]) -> Step {
        let seen = input.len().min(PREFACE.len());
        match input[..seen] == PREFACE[..seen] {
            false => Step::Violation("not the preface of HTTP/2"),
            true if seen < PREFACE.len() => Step::Incomplete,
            true => {
                self.client.phase = Phase::Settings;
                Step::Consumed(PREFACE.len())
            }
        }
    }

    /// The next frame, with those that go on with it.
    fn frame(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(head) = frames::head(input) else {
            return Step::Incomplete;
        };
        let midway = match self.side(direction).phase {
            Phase::Midway => {
                if !head.is_usual() {
                    return self.give_up(direction);
                }
                self.side(direction).phase = Phase::MidwayFrames;
                true
            }
            Phase::MidwayFrames => true,
            Phase::Beginning | Phase::Settings => {
                if head.kind != frames::SETTINGS {
                    return Step::Violation("frames that do not begin with settings");
                }
                self.side(direction).phase = Phase::Frames;
                false
            }
            Phase::Frames | Phase::Over => false,
        };
        let step = match head.fault() {
            Some(what) => Err(what),
            None => self.content(direction, head, input, sink),
        };
        match step {
            Ok(step) => step,
            Err(_) if midway => self.give_up(direction),
            Err(what) => Step::Violation(what),
        }
    }

    fn give_up(&mut self, direction: Direction) -> Step {
        self.side(direction).phase = Phase::Over;
        Step::Done
    }

    fn content(
        &mut self,
        direction: Direction,
        head: Head,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Outcome {
        let whole = HEAD_BYTES + head.length;
        match (head.kind, direction) {
            (frames::HEADERS, _) => {}
            (frames::PUSH_PROMISE, Direction::ToClient) => {}
            (frames::PUSH_PROMISE, Direction::ToServer) => return Err("a promise of a client"),
            (frames::CONTINUATION, _) => return Err("a continuation of nothing"),
            (frames::DATA, _) => return self.data(direction, head, input, sink),
            (frames::RST_STREAM, _) => {
                self.reset(direction, head.stream, sink);
                return Ok(Step::Skip(whole as u64));
            }
            _ => return Ok(Step::Skip(whole as u64)),
        }
        if direction == Direction::ToServer && head.stream.is_multiple_of(2) {
            return Err("a client's request on a server's stream");
        }
        let Some(payload) = input.get(HEAD_BYTES..whole) else {
            return Ok(Step::Incomplete);
        };
        let fragment = head.fragment(payload).ok_or(frames::PADDING)?;
        if head.flags & frames::END_HEADERS != 0 {
            return self.block(direction, head, fragment, whole, sink);
        }
        let mut parts = ArrayVec::<u8, BLOCK_PARTS_BYTES_MAX>::new();
        let Some(used) = gather(head, fragment, &input[whole..], &mut parts)? else {
            return Ok(Step::Incomplete);
        };
        self.block(direction, head, &parts, whole + used, sink)
    }

    /// A whole header block; the frames that it was in are this long.
    fn block(
        &mut self,
        direction: Direction,
        head: Head,
        block: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Outcome {
        let mut kept = Fields::new(direction == Direction::ToServer);
        let mut lines = Lines::new(sink);
        let (clients, servers) = match &mut self.block {
            Some(block) => block.split_at_mut(BLOCK_BYTES / 2),
            None => (&mut [][..], &mut [][..]),
        };
        let (side, memory) = match direction {
            Direction::ToServer => (&mut self.client, clients),
            Direction::ToClient => (&mut self.server, servers),
        };
        let picked_up = side.phase == Phase::MidwayFrames;
        hpack::decode(block, &mut side.table, memory, &mut |name, value| {
            lines.take(name, value);
            kept.take(name, value)
        })?;
        match direction {
            _ if head.kind == frames::PUSH_PROMISE => {}
            Direction::ToServer => {
                let readable = self.request(head, &kept, &lines, picked_up, sink)?;
                if !readable {
                    return Ok(self.give_up(direction));
                }
            }
            Direction::ToClient => self.response(head, &kept, &lines, sink)?,
        }
        Ok(Step::Consumed(length))
    }

    /// Returns whether it could be read: what policy asks for must not refer to what was not seen.
    fn request(
        &mut self,
        head: Head,
        kept: &Fields,
        lines: &Lines,
        picked_up: bool,
        sink: &mut dyn EventSink,
    ) -> Result<bool, &'static str> {
        let stream = head.stream;
        let new = stream > self.newest;
        self.newest = self.newest.max(stream);
        let method = kept.get(Kept::Method);
        let content_type = kept.get(Kept::ContentType);
        let path = kept.get(Kept::Path);
        if content_type.is_some_and(emit::is_grpc) {
            self.called(path.unwrap_or_default(), sink);
        }
        let authority = kept.get(Kept::Authority);
        let whole = method.is_some() && path.is_some() && authority.is_some();
        if kept.lost && !(picked_up && whole) {
            return Ok(false);
        }
        let Some(method) = method else {
            // The fields behind a body.
            self.end(Direction::ToServer, head, Some(lines), sink)?;
            return match new {
                true if !picked_up => Err("a request without a method"),
                _ => Ok(true),
            };
        };
        if !new && !picked_up {
            return Err("a request on a stream that was used");
        }
        let path = match path {
            Some(path) if !path.is_empty() => path,
            None if method == b"CONNECT" => b"",
            _ => return Err("a request without a path"),
        };
        if let Some(application) = kept.client {
            sink.refine(application);
        }
        let request = emit::Request {
            method,
            authority,
            host: kept.get(Kept::Host),
            path,
            target: if path.is_empty() {
                authority.unwrap_or_default()
            } else {
                path
            },
            version: VERSION,
            user_agent: kept.get(Kept::UserAgent),
            content_type,
            stream: Some(stream),
        };
        emit::request(&request, sink)?;
        let told = lines::Told {
            is_request: true,
            parts: [method, request.target, VERSION.as_bytes()],
            authority: authority.unwrap_or_default(),
        };
        lines.tell(told, stream, sink);
        let length = kept.get(Kept::Length).map(head::length).transpose()?;
        let looked = method != b"CONNECT";
        self.begin(Direction::ToServer, head, length, kept, looked, sink)?;
        if std::mem::replace(&mut self.asked, true) {
            sink.settle();
        }
        Ok(true)
    }

    /// A gRPC call: what the connection is, before the event that shows it.
    fn called(&mut self, path: &[u8], sink: &mut dyn EventSink) {
        let (service, _) = emit::called(path);
        if etcd::is_service(service) {
            sink.refine("etcd");
        } else if !self.grpc {
            sink.refine("grpc");
        }
        self.grpc = true;
    }

    fn response(
        &mut self,
        head: Head,
        kept: &Fields,
        lines: &Lines,
        sink: &mut dyn EventSink,
    ) -> Result<(), &'static str> {
        let content_type = kept.get(Kept::ContentType);
        if !self.grpc && content_type.is_some_and(emit::is_grpc) {
            self.grpc = true;
            sink.refine("grpc");
        }
        let status = kept.get(Kept::Status).and_then(decimal);
        let grpc_status = kept.get(Kept::GrpcStatus).and_then(decimal);
        if kept.lost || status.is_none() && grpc_status.is_none() {
            return self.end(Direction::ToClient, head, Some(lines), sink);
        }
        let evidence = kept.evidence();
        if let Some(application) = evidence.application() {
            sink.refine(application);
        }
        emit::response(
            &emit::Response {
                status,
                version: VERSION,
                content_type,
                evidence,
                grpc_status: grpc_status.map(u64::from),
                stream: Some(head.stream),
            },
            sink,
        );
        let told = lines::Told {
            is_request: false,
            parts: match status {
                Some(_) => [
                    VERSION.as_bytes(),
                    kept.get(Kept::Status).unwrap_or_default(),
                    b"",
                ],
                None => [b""; 3],
            },
            authority: b"",
        };
        lines.tell(told, head.stream, sink);
        if status.is_none_or(|status| status >= 200) {
            sink.settle();
        }
        match status {
            Some(200..) => self.begin(Direction::ToClient, head, None, kept, true, sink),
            Some(_) => Ok(()),
            None => self.end(Direction::ToClient, head, None, sink),
        }
    }
}

const VERSION: &str = "HTTP/2";

/// Joins the parts of a header block; returns how long the frames were that it goes on in, when
/// they are all there.
fn gather(
    first: Head,
    fragment: &[u8],
    input: &[u8],
    parts: &mut ArrayVec<u8, BLOCK_PARTS_BYTES_MAX>,
) -> Result<Option<usize>, &'static str> {
    const TOO_LARGE: &str = "a header block larger than is read";
    parts
        .try_extend_from_slice(fragment)
        .map_err(|_| TOO_LARGE)?;
    let mut rest = input;
    for _ in 0..CONTINUATIONS_MAX {
        let Some(head) = frames::head(rest) else {
            return Ok(None);
        };
        if head.kind != frames::CONTINUATION || head.stream != first.stream {
            return Err("another frame amid a header block");
        }
        let end = HEAD_BYTES + head.length;
        let Some(payload) = rest.get(HEAD_BYTES..end) else {
            return Ok(None);
        };
        parts
            .try_extend_from_slice(payload)
            .map_err(|_| TOO_LARGE)?;
        rest = &rest[end..];
        if head.flags & frames::END_HEADERS != 0 {
            return Ok(Some(input.len() - rest.len()));
        }
    }
    Err("more continuations than anybody needs")
}

fn decimal(digits: &[u8]) -> Option<u16> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests;
