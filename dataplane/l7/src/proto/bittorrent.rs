//! BitTorrent: the peers' handshake (BEP 3), also within uTP (BEP 29), the distributed hash table
//! (BEP 5), trackers over UDP (BEP 15), local discovery (BEP 14), and Sync, which is built on them.
//!
//! Trusts nothing. A stream is known by its first twenty bytes; datagrams by their form as a whole,
//! by a tracker's magic number, or by a pair that opens a uTP connection. What peers exchange behind
//! the handshake is not read. Violations: a stream that goes on as something else. Memory: none.

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Blocks, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// BEP 3: a length and a name, reserved bits, hash, peer id.
const GREETING: &[u8] = b"\x13BitTorrent protocol";
const HANDSHAKE: usize = 68;
/// What Sync's peers begin with.
const SYNC: &[u8] = b"BSYNC\0";
/// BEP 14.
const SEARCH: &[u8] = b"BT-SEARCH * HTTP/1.1\r\n";
/// BEP 15: protocol id and the action "connect".
const TRACKER: &[u8] = &[0, 0, 0x04, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0];
const TRACKER_CONNECT: usize = 16;
/// BEP 29: the header without extensions.
const UTP_HEADER: usize = 20;
const UTP_EXTENSIONS_MAX: usize = 4;
/// Deeper messages are nobody's.
const DEPTH_MAX: usize = 16;

const MESSAGE: u8 = 0;
const INFO_HASH: u8 = 1;
const CLIENT: u8 = 2;

type HashText = ArrayString<40>;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Bittorrent {
    datagrams: bool,
}

/// A message of the distributed hash table.
#[derive(Default)]
struct Query<'a> {
    /// "q", "r" or "e".
    kind: &'a [u8],
    name: &'a [u8],
    hash: Option<&'a [u8]>,
    client: &'a [u8],
}

impl Application for Bittorrent {
    const NAME: &'static str = "bittorrent";
    const ABOUT: &'static str =
        "BitTorrent peers, hash table and trackers (BEP 3, BEP 5, BEP 15, BEP 29)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[6881];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "message",
            "handshake, sync, search, connect, announce, scrape, or the hash table's query (BEP 5)",
        ),
        FieldSpec::condition(
            "info_hash",
            "Hash that names the torrent, in hexadecimal digits (BEP 3)",
        ),
        FieldSpec::text("client", "Program and version as it tells them (BEP 20)"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0, 1, 0x13, 0x21, 0x41, b'B', b'd']),
        to_client: ByteSet::of(&[0, 1, 0x13, 0x21, 0x41, b'B', b'd']),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if input.transport != Transport::Tcp {
            return probe_datagrams(input);
        }
        match (probe_stream(input.to_server), probe_stream(input.to_client)) {
            // Picked up, one side may be behind its handshake.
            (Probe::Certain, _) | (_, Probe::Certain) if !input.from_start => Probe::Certain,
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            datagrams: transport != Transport::Tcp,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let kind = match direction {
            Direction::ToServer => EventKind::Request,
            Direction::ToClient => EventKind::Response,
        };
        if self.datagrams {
            datagram(kind, input, sink);
            return Step::Consumed(input.len());
        }
        if input.starts_with(SYNC) {
            tell(kind, b"sync", None, &[], sink);
            return Step::Done;
        }
        match input.first_chunk::<HANDSHAKE>() {
            None if probe_stream(input) != Probe::NotMine => Step::Incomplete,
            Some(handshake) if handshake.starts_with(GREETING) => {
                peer(kind, handshake, sink);
                Step::Done
            }
            _ => Step::Violation("bittorrent: no handshake"),
        }
    }
}

/// Whether these bytes begin as a peer does.
fn probe_stream(input: &[u8]) -> Probe {
    for greeting in [GREETING, SYNC] {
        if input.starts_with(greeting) {
            return Probe::Certain;
        }
        if greeting.starts_with(input) {
            return Probe::Unsure;
        }
    }
    Probe::NotMine
}

fn probe_datagrams(input: &ProbeInput<'_>) -> Probe {
    let (client, server) = (input.to_server, input.to_client);
    if [client, server].into_iter().any(is_own) || opens_utp(client, server) {
        return Probe::Certain;
    }
    // The beginning of a uTP connection, until its answer is there.
    let possible = |bytes: &[u8]| bytes.is_empty() || utp(bytes).is_some();
    match possible(client) && possible(server) {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}

/// Whether this datagram alone is nobody else's.
fn is_own(bytes: &[u8]) -> bool {
    let tracker = bytes.len() == TRACKER_CONNECT && bytes.starts_with(TRACKER);
    tracker
        || bytes.starts_with(SEARCH)
        || bytes.starts_with(SYNC)
        || query(bytes).is_some()
        || utp(bytes).is_some_and(|packet| packet.payload.starts_with(GREETING))
}

/// A packet of uTP.
struct Utp<'a> {
    kind: u8,
    connection: u16,
    sequence: u16,
    acknowledged: u16,
    payload: &'a [u8],
}

/// BEP 29: type and version, extension, connection, two times, window, two numbers.
fn utp(bytes: &[u8]) -> Option<Utp<'_>> {
    let (head, mut rest) = bytes.split_first_chunk::<UTP_HEADER>()?;
    let &[first, mut extension, ..] = head;
    if first & 0x0f != 1 || first >> 4 > 4 {
        return None;
    }
    for _ in 0..UTP_EXTENSIONS_MAX {
        if extension == 0 {
            break;
        }
        // Selective acknowledgements are in words; the other lists features.
        let (&[next, length], tail) = rest.split_first_chunk::<2>()?;
        if extension > 3 || extension == 1 && length % 4 != 0 {
            return None;
        }
        rest = tail.get(usize::from(length)..)?;
        extension = next;
    }
    let mut cursor = Cursor::new(bytes.get(2..)?);
    let connection = cursor.u16()?;
    cursor.take(12)?;
    // Only data carries anything.
    (extension == 0 && (first >> 4 == 0 || rest.is_empty())).then_some(Utp {
        kind: first >> 4,
        connection,
        sequence: cursor.u16()?,
        acknowledged: cursor.u16()?,
        payload: rest,
    })
}

/// SYN, and the STATE that accepts it.
fn opens_utp(client: &[u8], server: &[u8]) -> bool {
    const STATE: u8 = 2;
    const SYN: u8 = 4;
    match (utp(client), utp(server)) {
        (Some(syn), Some(state)) => {
            syn.kind == SYN
                && state.kind == STATE
                && state.connection == syn.connection
                && state.acknowledged == syn.sequence
                && syn.acknowledged == 0
        }
        _ => false,
    }
}

fn datagram(kind: EventKind, bytes: &[u8], sink: &mut dyn EventSink) {
    if let Some(query) = query(bytes) {
        let name = match query.kind {
            b"r" => &b"response"[..],
            b"e" => b"error",
            _ => query.name,
        };
        let asks = query.kind == b"q";
        // Nodes of the hash table ask each other: a question is one whoever began.
        let kind = match (asks, kind) {
            (true, EventKind::Response) => EventKind::Session,
            (false, EventKind::Request) => EventKind::Session,
            (_, kind) => kind,
        };
        return tell(kind, name, query.hash, query.client, sink);
    }
    if bytes.starts_with(SEARCH) {
        return tell(kind, b"search", None, &[], sink);
    }
    if bytes.starts_with(SYNC) {
        return tell(kind, b"sync", None, &[], sink);
    }
    if let Some(handshake) = utp(bytes).and_then(|packet| packet.payload.first_chunk())
        && handshake.starts_with(GREETING)
    {
        return peer(kind, handshake, sink);
    }
    tracker(kind, bytes, sink);
}

/// BEP 15: the client's messages are told by their lengths.
fn tracker(kind: EventKind, bytes: &[u8], sink: &mut dyn EventSink) {
    if kind != EventKind::Request {
        return;
    }
    match (bytes.get(8..12), bytes.len()) {
        (Some([0, 0, 0, 0]), TRACKER_CONNECT) if bytes.starts_with(TRACKER) => {
            tell(kind, b"connect", None, &[], sink);
        }
        (Some([0, 0, 0, 1]), 98..) if utp(bytes).is_none() => {
            let client = bytes.get(36..56).map(program).unwrap_or_default();
            tell(kind, b"announce", bytes.get(16..36), client, sink);
        }
        (Some([0, 0, 0, 2]), 36..) if utp(bytes).is_none() => {
            tell(kind, b"scrape", bytes.get(16..36), &[], sink);
        }
        _ => {}
    }
}

fn peer(kind: EventKind, handshake: &[u8; HANDSHAKE], sink: &mut dyn EventSink) {
    let client = handshake.get(48..).map(program).unwrap_or_default();
    tell(kind, b"handshake", handshake.get(28..48), client, sink);
}

/// BEP 20: "-TR4040-" within a peer id.
fn program(peer: &[u8]) -> &[u8] {
    match peer.first_chunk::<8>() {
        Some([b'-', name @ .., b'-']) if name.iter().all(u8::is_ascii_graphic) => name,
        _ => &[],
    }
}

fn tell(
    kind: EventKind,
    message: &[u8],
    hash: Option<&[u8]>,
    client: &[u8],
    sink: &mut dyn EventSink,
) {
    let mut text = HashText::new();
    for byte in hash.unwrap_or_default().iter().take(20) {
        let _ = write!(text, "{byte:02x}");
    }
    let bytes = |index: u8, bytes| Field::bytes(index, bytes);
    let mut fields: ArrayVec<Field<'_>, 3> = ArrayVec::new();
    fields.push(bytes(MESSAGE, message));
    if kind == EventKind::Request || hash.is_some() {
        fields.push(bytes(INFO_HASH, text.as_bytes()));
    }
    if !client.is_empty() {
        fields.push(bytes(CLIENT, client));
    }
    sink.event(&Event {
        kind,
        fields: &fields,
    });
}

/// A dictionary that says what kind of message it is, and nothing behind it (BEP 5, KRPC).
fn query(bytes: &[u8]) -> Option<Query<'_>> {
    let mut rest = bytes.strip_prefix(b"d")?;
    let mut found = Query::default();
    let mut identified = false;
    while rest.first()? != &b'e' {
        let (key, value) = string(rest)?;
        let length = value_length(value)?;
        match key {
            b"y" => found.kind = string(value)?.0,
            b"q" => found.name = string(value)?.0,
            b"t" => identified = true,
            b"v" => found.client = version(string(value)?.0),
            b"a" => found.hash = member(value, b"info_hash"),
            _ => {}
        }
        rest = value.get(length..)?;
    }
    let named = match found.kind {
        b"q" => (1..=32).contains(&found.name.len()),
        b"r" | b"e" => true,
        _ => false,
    };
    // Some senders forget the transaction of errors.
    (rest == b"e" && named && (identified || found.kind == b"e")).then_some(found)
}

/// The letters of a program's version; its numbers are binary.
fn version(bytes: &[u8]) -> &[u8] {
    match bytes.first_chunk::<2>() {
        Some(letters) if letters.iter().all(u8::is_ascii_alphanumeric) => {
            bytes.get(..2).unwrap_or_default()
        }
        _ => &[],
    }
}

/// A string member of a dictionary.
fn member<'a>(dictionary: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = dictionary.strip_prefix(b"d")?;
    while rest.first()? != &b'e' {
        let (key, value) = string(rest)?;
        if key == wanted {
            return Some(string(value)?.0);
        }
        rest = value.get(value_length(value)?..)?;
    }
    None
}

/// "4:spam": the string, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = bytes.iter().take(6).position(|&byte| byte == b':')?;
    let length = bytes.get(..digits)?;
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = length
        .iter()
        .fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    bytes.get(digits + 1..)?.split_at_checked(length)
}

/// Length of a value: number, string, list or dictionary.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let mut depth = 0_usize;
    loop {
        match rest.first()? {
            b'd' | b'l' => {
                depth += 1;
                rest = rest.get(1..)?;
            }
            b'e' => {
                depth = depth.checked_sub(1)?;
                rest = rest.get(1..)?;
            }
            b'i' => {
                let end = rest.iter().take(24).position(|&byte| byte == b'e')?;
                let number = rest.get(1..end)?;
                if number.is_empty()
                    || !number.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9'))
                {
                    return None;
                }
                rest = rest.get(end + 1..)?;
            }
            _ => rest = string(rest)?.1,
        }
        if depth > DEPTH_MAX {
            return None;
        }
        if depth == 0 {
            return Some(bytes.len() - rest.len());
        }
    }
}
