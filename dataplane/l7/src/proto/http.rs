//! HTTP/1.0 and 1.1 (RFC 9112): every request of a kept-alive or pipelined connection.
//!
//! Trusts: nothing. Distrusts: lengths, paths, hosts: a request that two servers could read in two
//! ways is a violation. Bodies are passed over unless somebody looks into them. Where responses can no longer be told
//! apart they are given up, and requests are still read. Memory: the state below; a head of up to
//! what the engine keeps for one direction.

mod body;
pub(crate) mod content;
pub(crate) mod emit;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod names;
mod path;
mod probe;
pub(crate) mod product;
mod rows;

use weir_wire::Direction;

use self::head::Coding;
use self::rows::Rows;
use super::{elasticsearch, etcd};
use crate::{
    Application, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport, registry, violation,
};

/// Requests whose responses are awaited.
const AWAITED_MAX: u32 = 64;
/// Answers that nobody asked for until it is no accident.
const UNASKED_MAX: u8 = 2;

/// The parser of one connection.
#[derive(Default)]
pub struct Http {
    client: Side,
    server: Side,
    awaited: Awaited,
    /// The beginning was not seen.
    midway: bool,
    /// A request was read.
    asked: bool,
    /// Whose interface the last request was for, by its path: the answer may agree.
    hint: Option<&'static str>,
}

#[derive(Default)]
struct Side {
    phase: Phase,
    /// How far the head at the front of the input was searched for its end.
    scanned: usize,
    /// Somebody looks into the body that is under way.
    looked: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Head,
    /// Bytes were lost: looks for a first line. True where one may begin.
    Resync(bool),
    /// So much of a body, or of one of its chunks, is to come. True: of a chunk.
    Body(u64, bool),
    /// The body ends with the connection.
    Rest,
    ChunkSize,
    ChunkEnd,
    Trailer,
    /// Bytes sent on before a CONNECT or Upgrade was answered.
    Ahead,
    /// The other end agreed to speak this from here on.
    Becomes(&'static str),
    /// The other end agreed to carry another connection from here on.
    Tunnel,
    /// Nothing more is of interest.
    Over,
}

/// What the response to a request depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Other = 0,
    Head = 1,
    Connect = 2,
    Upgrade = 3,
}

/// The unanswered requests, two bits each, the oldest lowest.
#[derive(Default)]
struct Awaited {
    queue: u128,
    count: u32,
    /// More were sent than fit: responses can no longer be told apart.
    lost: bool,
    /// Answers that came without a request.
    unasked: u8,
}

impl Awaited {
    fn push(&mut self, asked: Asked) {
        if self.count == AWAITED_MAX {
            self.lost = true;
            return;
        }
        self.queue |= (asked as u128) << (2 * self.count);
        self.count += 1;
    }

    fn front(&self) -> Asked {
        match (self.count, self.queue & 3) {
            (0, _) | (_, 0) => Asked::Other,
            (_, 1) => Asked::Head,
            (_, 2) => Asked::Connect,
            _ => Asked::Upgrade,
        }
    }

    fn pop(&mut self) {
        self.queue >>= 2;
        self.count = self.count.saturating_sub(1);
    }

    /// Whether the newest request may turn the connection into something else.
    fn may_turn(&self) -> bool {
        let newest = self.queue >> (2 * self.count.saturating_sub(1));
        self.count > 0 && newest & 2 != 0
    }
}

impl Application for Http {
    const NAME: &'static str = "http";
    const ABOUT: &'static str = "Hypertext Transfer Protocol 1.0 and 1.1 (RFC 9110, RFC 9112)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[80, 3128, 8000, 8080, 8888];
    const FIELDS: &'static [FieldSpec] = &fields::FIELDS;
    const TURNS: bool = true;
    const CONTENTS: BufferSet = content::TOLD;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(b'A', b'Z'),
        // A status line, or a page of HTTP/0.9.
        to_client: ByteSet::of(b"H<"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        probe::probe(input)
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let phase = self.side(direction).phase;
        match phase {
            Phase::Head => self.head(direction, input, sink),
            Phase::Resync(at_line_start) => self.resync(direction, input, at_line_start, sink),
            Phase::Body(left, chunk) => self.body_piece(direction, input, left, chunk, sink),
            Phase::Rest => self.rest(direction, input, sink),
            Phase::ChunkSize => self.chunk_size(direction, input, sink),
            Phase::ChunkEnd => self.chunk_end(direction, input),
            Phase::Trailer => self.trailer(direction, input, sink),
            Phase::Ahead => Step::Incomplete,
            Phase::Tunnel => Step::Tunnel,
            Phase::Becomes(name) => Step::Becomes(name),
            Phase::Over => Step::Done,
        }
    }

    fn overflow(&mut self, direction: Direction, _input: &[u8], _sink: &mut dyn EventSink) -> Step {
        match (self.side(direction).phase, direction) {
            (Phase::Head | Phase::Trailer, Direction::ToClient) => Step::Done,
            (Phase::Resync(_) | Phase::Ahead, _) => Step::Done,
            _ => Step::Violation("a head larger than is kept"),
        }
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        if length > 0 && self.within_body(direction, length) {
            return true;
        }
        self.midway = true;
        if length > 0 {
            // Which response belongs to which request is not known any more.
            self.server.phase = Phase::Over;
        }
        if length == 0 || direction == Direction::ToServer {
            // A line begins where a stream is picked up, hardly where bytes were lost.
            *self.side(direction) = Side {
                phase: Phase::Resync(length == 0),
                ..Side::default()
            };
        }
        true
    }

    /// Each message stands for itself, unless an answer is awaited that turns the connection into another.
    fn rest_in(&self, direction: Direction) -> Option<u64> {
        let awaits = match direction {
            Direction::ToServer => self.awaited.may_turn() || self.awaited.lost,
            Direction::ToClient => self.awaited.count > 0,
        };
        let side = match direction {
            Direction::ToServer => &self.client,
            Direction::ToClient => &self.server,
        };
        match side.phase {
            Phase::Head if !awaits => Some(0),
            Phase::Body(left, false) if !awaits => Some(left),
            _ => None,
        }
    }

    fn resume(&mut self, at_rest: [bool; 2]) -> bool {
        let [client, server] = at_rest;
        if !server {
            self.server.phase = Phase::Over;
        }
        client || self.gap(Direction::ToServer, 1)
    }
}

impl Http {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
    }

    fn go(&mut self, direction: Direction, phase: Phase, step: Step) -> Step {
        let side = self.side(direction);
        side.phase = phase;
        side.scanned = 0;
        step
    }

    fn head(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        // Empty lines before a message are passed over (RFC 9112, 2.2).
        match input {
            [b'\n', ..] => return Step::Consumed(1),
            [b'\r', b'\n', ..] => return Step::Consumed(2),
            [b'\r'] => return Step::Incomplete,
            _ => {}
        }
        let to_server = direction == Direction::ToServer;
        if !to_server && self.awaited.lost {
            return Step::Done;
        }
        if to_server && self.awaited.may_turn() && probe::request(input) == Probe::NotMine {
            return self.go(direction, Phase::Ahead, Step::Incomplete);
        }
        if to_server && !self.asked && !self.midway {
            match head::line(input) {
                Some((line, _)) if probe::is_simple(line) => return self.simple(line, sink),
                _ => {}
            }
        }
        let side = self.side(direction);
        let mut rows = Rows::new();
        let Some(length) = rows.cut(input, &mut side.scanned) else {
            return early(to_server, input);
        };
        side.scanned = 0;
        let start = &input[..length];
        let Some(first) = rows.first(start) else {
            return Step::Violation("a message without a first line");
        };
        let told = content::Told {
            is_request: to_server,
            first,
            lines: rows.lines(start).rest(),
            start,
            rows: Some(&rows),
            ..content::Told::default()
        };
        let read = match to_server {
            true => self.request(&told, sink),
            false => self.response(&told, sink),
        };
        read.unwrap_or_else(Step::Violation)
    }

    /// HTTP/0.9: one line, and the answer ends with the connection.
    fn simple(&mut self, line: &[u8], sink: &mut dyn EventSink) -> Step {
        let path = line.strip_prefix(b"GET ").unwrap_or_default();
        let request = emit::Request {
            method: b"GET",
            authority: None,
            host: None,
            path,
            target: path,
            version: "HTTP/0.9",
            user_agent: None,
            content_type: None,
            stream: None,
        };
        if let Err(what) = emit::request(&request, sink) {
            return Step::Violation(what);
        }
        content::Told {
            is_request: true,
            first: line,
            ..content::Told::default()
        }
        .tell(content::wanted(sink), sink);
        sink.settle();
        self.server.phase = Phase::Over;
        self.go(Direction::ToServer, Phase::Over, Step::Done)
    }

    fn request(
        &mut self,
        told: &content::Told<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<Step, &'static str> {
        let line = head::request_line(told.first).ok_or(NOT_A_REQUEST)?;
        let headers = head::headers(told, true)?;
        if line.minor == 0 && headers.coding != Coding::None {
            return Err(violation::HTTP_CODING_TOO_OLD);
        }
        let request = emit::of_line(&line, &headers)?;
        if let Some(application) = headers.client {
            sink.refine(application);
        }
        emit::request(&request, sink)?;
        told.tell(content::wanted(sink), sink);
        if std::mem::replace(&mut self.asked, true) {
            sink.settle();
        }
        self.hint = match request.path {
            path if elasticsearch::is_path(path) => Some("elasticsearch"),
            path if etcd::is_path(path) => Some("etcd"),
            _ => None,
        };
        self.awaited.push(match line.method {
            b"HEAD" => Asked::Head,
            b"CONNECT" => Asked::Connect,
            _ if headers.upgrade.is_some() => Asked::Upgrade,
            _ => Asked::Other,
        });
        Ok(self.body(Direction::ToServer, &headers, told.start.len(), sink))
    }

    fn response(
        &mut self,
        told: &content::Told<'_>,
        sink: &mut dyn EventSink,
    ) -> Result<Step, &'static str> {
        let length = told.start.len();
        if self.awaited.lost {
            return Ok(Step::Done);
        }
        let line = head::status_line(told.first).ok_or(NOT_A_RESPONSE)?;
        let headers = head::headers(told, false)?;
        if line.status >= 200 || line.status == 101 {
            let evidence = &headers.evidence;
            let application = evidence.application_asked(self.hint, headers.content_type);
            if let Some(application) = application {
                sink.refine(application);
            }
        }
        let response = emit::Response {
            status: Some(line.status),
            version: emit::version(told.first.starts_with(b"HTTP/1.0")),
            content_type: headers.content_type,
            evidence: headers.evidence,
            ..emit::Response::default()
        };
        emit::response(&response, sink);
        told.tell(content::wanted(sink), sink);
        if line.status >= 200 {
            sink.settle();
        }
        let asked = self.awaited.front();
        let asked_seen = self.awaited.count > 0 || !self.midway;
        match (line.status, asked) {
            // Of a stream picked up in the middle the request may have gone before.
            (101, _) if self.awaited.count == 0 && self.midway => {}
            (101, Asked::Other | Asked::Head | Asked::Connect) => {
                return Err("a switch of protocols that nobody asked for");
            }
            (100 | 102..=199, _) => return Ok(Step::Consumed(length)),
            _ => self.answered(line.status)?,
        }
        let turns = matches!((line.status, asked), (101, _) | (200..=299, Asked::Connect));
        if !turns && self.client.phase == Phase::Ahead && !self.awaited.may_turn() {
            self.client.phase = Phase::Resync(true);
        }
        match (line.status, asked) {
            (101, _) => Ok(self.switch(headers.upgrade, length)),
            (200..=299, Asked::Connect) => {
                self.client.phase = Phase::Tunnel;
                Ok(self.go(Direction::ToClient, Phase::Tunnel, Step::Consumed(length)))
            }
            (204 | 304, _) | (_, Asked::Head) => Ok(Step::Consumed(length)),
            _ if headers.coding == Coding::Other
                || (headers.length.is_none() && headers.coding == Coding::None) =>
            {
                // The body ends with the connection; but for an unseen CONNECT there is none.
                let body = asked_seen || headers.content_type.is_some();
                let next = match body && self.look(Direction::ToClient, &headers, sink) {
                    true => Phase::Rest,
                    false => Phase::Over,
                };
                Ok(self.go(Direction::ToClient, next, Step::Consumed(length)))
            }
            _ => Ok(self.body(Direction::ToClient, &headers, length, sink)),
        }
    }

    /// Takes the oldest request off. One answer too many may be a request that was not seen in
    /// time; two are a desynchronised connection.
    fn answered(&mut self, status: u16) -> Result<(), &'static str> {
        let readable = self.asked && !self.midway && self.client.phase != Phase::Over;
        if self.awaited.count == 0 && readable && (200..400).contains(&status) {
            self.awaited.unasked = self.awaited.unasked.saturating_add(1);
            if self.awaited.unasked >= UNASKED_MAX {
                return Err(violation::HTTP_UNASKED);
            }
        }
        self.awaited.pop();
        Ok(())
    }

    /// The server agreed to speak something else from here on.
    fn switch(&mut self, upgrade: Option<&[u8]>, length: usize) -> Step {
        let next = upgrade
            .and_then(upgraded)
            .map_or(Phase::Tunnel, Phase::Becomes);
        self.client.phase = next;
        self.go(Direction::ToClient, next, Step::Consumed(length))
    }

    /// Looks for a first line: at the front, or behind any line end. Within a body that holds a
    /// whole request it finds that one: only a tap that loses packets comes here.
    fn resync(
        &mut self,
        direction: Direction,
        input: &[u8],
        at_line_start: bool,
        sink: &mut dyn EventSink,
    ) -> Step {
        if at_line_start {
            let begins = match direction {
                Direction::ToServer => probe::request(input),
                Direction::ToClient => probe::response(input),
            };
            match begins {
                Probe::Certain => {
                    self.side(direction).phase = Phase::Head;
                    return self.parse(direction, input, sink);
                }
                Probe::Unsure => return Step::Incomplete,
                Probe::NotMine => {}
            }
        }
        let newline = memchr::memchr(b'\n', input);
        let used = newline.map_or(input.len(), |newline| newline + 1);
        let next = Phase::Resync(newline.is_some());
        self.go(direction, next, Step::Consumed(used))
    }
}

const NOT_A_REQUEST: &str = "not a request line of HTTP/1";
const NOT_A_RESPONSE: &str = "not a status line of HTTP/1";

/// What can be said before the head is complete: a wrong first line need not wait for the rest.
fn early(to_server: bool, input: &[u8]) -> Step {
    let first = head::line(input).map(|(first, _)| first);
    let wrong = match (to_server, first) {
        (true, Some(line)) => head::request_line(line).is_none(),
        (true, None) => input.first().is_some_and(|&byte| !head::is_token(byte)),
        (false, Some(line)) => head::status_line(line).is_none(),
        (false, None) => probe::response(input) == Probe::NotMine,
    };
    match (wrong, to_server) {
        (false, _) => Step::Incomplete,
        (true, true) => Step::Violation(NOT_A_REQUEST),
        (true, false) => Step::Violation(NOT_A_RESPONSE),
    }
}

/// The registry name of what an Upgrade header names, where Weir reads it.
fn upgraded(upgrade: &[u8]) -> Option<&'static str> {
    let token = upgrade
        .split(|byte| matches!(byte, b',' | b'/'))
        .next()?
        .trim_ascii();
    let name = match () {
        () if token.eq_ignore_ascii_case(b"websocket") => "websocket",
        () if token.eq_ignore_ascii_case(b"h2c") => "http2",
        () if token.eq_ignore_ascii_case(b"tls") => "tls",
        () => return None,
    };
    registry::by_name(name).map(|_| name)
}
