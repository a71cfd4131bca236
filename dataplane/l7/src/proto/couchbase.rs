//! Couchbase: the key-value protocol of its data nodes.
//!
//! After `docs/BinaryProtocol.md` (couchbase/kv_engine): memcached's binary protocol with commands,
//! framing extras and buckets of its own; what only memcached's own commands are seen of is told as
//! `memcached`. Trusts nothing. Values are skipped by their sizes. Where collections were agreed on,
//! a key begins with its collection's number, which is told apart. Violations: lengths that
//! contradict each other, unknown magics. Memory: the names of user and bucket, and a few flags.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::memcached::binary::{self, HEADER, Header, KEY_MAX, magic, opcode, status};
use crate::told::Told;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

mod commands;

/// How much of a login, of a greeting's features or of an agent's name is looked at.
const VALUE_MAX: usize = 512;
/// The largest number of a HELLO's feature, with room for those to come.
const FEATURE_MAX: u16 = 0x40;
/// The feature that puts a collection's number before each key.
const COLLECTIONS: u16 = 0x12;
/// JSON, Snappy, extended attributes.
const DATATYPE_MAX: u8 = 7;
/// A bucket has at most this many parts.
const VBUCKETS: u16 = 1_024;

const COMMAND: u8 = 0;
const KEY: u8 = 1;
const BUCKET: u8 = 2;
const USER: u8 = 3;
const COLLECTION: u8 = 4;
const COLLECTION_ID: u8 = 5;
const STATUS: u8 = 6;
const AGENT: u8 = 7;
const MECHANISM: u8 = 8;
const LOGIN: u8 = 9;

/// The parser.
#[derive(Default)]
pub struct Couchbase {
    user: ArrayVec<u8, 64>,
    bucket: ArrayVec<u8, 100>,
    collections: bool,
    /// Begun in the middle: what does not fit is no violation.
    picked_up: bool,
}

impl Application for Couchbase {
    const NAME: &'static str = "couchbase";
    const ABOUT: &'static str =
        "Couchbase key-value protocol (couchbase/kv_engine, BinaryProtocol.md)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[11210];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "command",
            "Command: get, set, subdoc_get, get_cluster_config, …",
        ),
        FieldSpec::condition("key", "Key, without the number of its collection"),
        FieldSpec::condition("bucket", "Bucket that was selected last (SELECT_BUCKET)"),
        FieldSpec::condition(
            "user",
            "User of the last SASL login, whether or not it succeeded",
        ),
        FieldSpec::text(
            "collection",
            "Scope and collection whose number is asked for",
        ),
        FieldSpec::number(
            "collection_id",
            "Number of the key's collection; 0 is the default one",
        ),
        FieldSpec::text("status", "Status of an answer that is no success"),
        FieldSpec::text("agent", "What the client calls itself (HELLO)"),
        FieldSpec::text("mechanism", "SASL mechanism of a login"),
        FieldSpec::text("login", "Outcome of a login: accepted or failed"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[
            magic::REQUEST,
            magic::FLEXIBLE_REQUEST,
            magic::SERVER_RESPONSE,
        ]),
        to_client: ByteSet::of(&[
            magic::RESPONSE,
            magic::FLEXIBLE_RESPONSE,
            magic::SERVER_REQUEST,
        ]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let client = judge(input.to_server, Self::OPENINGS.to_server, asks);
        let server = judge(input.to_client, Self::OPENINGS.to_client, answers);
        match (client, server) {
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let step = match direction {
            Direction::ToServer => self.client(input, sink),
            Direction::ToClient => self.server(input, sink),
        };
        match step {
            Step::Violation(_) if self.picked_up => Step::Done,
            step => step,
        }
    }

    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        // The probe saw that a message begins here; behind a loss nobody knows.
        length == 0
    }
}

impl Couchbase {
    fn client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (header, step) = match head(input, Self::OPENINGS.to_server) {
            Ok(read) => read,
            Err(step) => return step,
        };
        let Some(message) = input.get(..header.wanted(VALUE_MAX)) else {
            return Step::Incomplete;
        };
        if header.magic == magic::SERVER_RESPONSE {
            return step;
        }
        let Some(command) = commands::name(header.opcode) else {
            return Step::Violation("couchbase: unknown command");
        };
        let key = header.key_of(message);
        let value = header.value_of(message);
        let told = Told::new().name(COMMAND, command);
        match header.opcode {
            commands::HELLO => told.known(AGENT, key).send(EventKind::Session, sink),
            opcode::SASL_AUTH => {
                // A name that does not fit is left empty: half a name could be somebody else's.
                self.user = ArrayVec::try_from(binary::user(key, value)).unwrap_or_default();
                told.known(MECHANISM, key)
                    .known(USER, &self.user)
                    .send(EventKind::Session, sink);
            }
            commands::SELECT_BUCKET => {
                self.bucket = ArrayVec::try_from(key).unwrap_or_default();
                self.request(command, &[], sink);
            }
            commands::GET_COLLECTION_ID => {
                let path = if key.is_empty() { value } else { key };
                told.bytes(KEY, &[])
                    .bytes(BUCKET, &self.bucket)
                    .bytes(USER, &self.user)
                    .bytes(COLLECTION, path)
                    .send(EventKind::Request, sink);
            }
            other if binary::is_session(other) || commands::is_session(other) => {
                told.send(EventKind::Session, sink);
            }
            _ => self.request(command, key, sink),
        }
        step
    }

    fn request(&self, command: &'static str, key: &[u8], sink: &mut dyn EventSink) {
        let (collection, key) = match self.collections {
            true => collection(key),
            false => (None, key),
        };
        let told = Told::new()
            .name(COMMAND, command)
            .bytes(KEY, key)
            .bytes(BUCKET, &self.bucket)
            .bytes(USER, &self.user);
        match collection {
            Some(number) => told.number(COLLECTION_ID, number),
            None => told,
        }
        .send(EventKind::Request, sink);
    }

    fn server(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (header, step) = match head(input, Self::OPENINGS.to_client) {
            Ok(read) => read,
            Err(step) => return step,
        };
        let hello = header.opcode == commands::HELLO;
        let Some(message) = input.get(..header.wanted(if hello { VALUE_MAX } else { 0 })) else {
            return Step::Incomplete;
        };
        if header.magic == magic::SERVER_REQUEST {
            return step;
        }
        let login = match (header.opcode, header.detail) {
            (opcode::SASL_AUTH | opcode::SASL_STEP, status::SUCCESS) => "accepted",
            (opcode::SASL_AUTH | opcode::SASL_STEP, status::AUTH_ERROR) => "failed",
            _ => "",
        };
        if hello && header.detail == status::SUCCESS {
            self.collections = features(header.value_of(message)).any(|one| one == COLLECTIONS);
        }
        if !login.is_empty() {
            Told::new()
                .name(LOGIN, login)
                .known(USER, &self.user)
                .send(EventKind::Session, sink);
        } else if !matches!(header.detail, status::SUCCESS | status::AUTH_CONTINUE) {
            Told::new()
                .name(STATUS, binary::status_name(header.detail))
                .send(EventKind::Response, sink);
        }
        step
    }
}

/// The head of a message, and the step over all of it.
fn head(input: &[u8], magics: ByteSet) -> Result<(Header, Step), Step> {
    let header = Header::read(input).ok_or(Step::Incomplete)?;
    if !magics.contains(header.magic) {
        return Err(Step::Violation("couchbase: unknown magic"));
    }
    if header.value().is_none() || usize::from(header.key) > KEY_MAX + 5 {
        return Err(Step::Violation(
            "couchbase: lengths that contradict each other",
        ));
    }
    let length = HEADER as u64 + u64::from(header.body);
    Ok((header, Step::Skip(length)))
}

/// A collection's number (unsigned LEB128) before a key, and the key.
fn collection(key: &[u8]) -> (Option<u64>, &[u8]) {
    let last = key.iter().take(5).position(|byte| byte & 0x80 == 0);
    let Some((number, rest)) = last.and_then(|last| key.split_at_checked(last + 1)) else {
        return (None, key);
    };
    let value = number
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (Some(value), rest)
}

fn features(value: &[u8]) -> impl Iterator<Item = u16> {
    value.chunks_exact(2).map(|pair| match *pair {
        [high, low] => u16::from_be_bytes([high, low]),
        _ => 0,
    })
}

fn judge(input: &[u8], magics: ByteSet, read: fn(&Header, &[u8]) -> Option<bool>) -> Probe {
    let Some(&first) = input.first() else {
        return Probe::Unsure;
    };
    if !magics.contains(first) {
        return Probe::NotMine;
    }
    let Some(header) = Header::read(input) else {
        return Probe::Unsure;
    };
    match read(&header, input) {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

/// Whether the client's first message shows what memcached does not have.
fn asks(header: &Header, input: &[u8]) -> Option<bool> {
    let Some(size) = header.value() else {
        return Some(false);
    };
    let known = commands::name(header.opcode).is_some();
    if !known || header.datatype > DATATYPE_MAX || usize::from(header.key) > KEY_MAX + 5 {
        return Some(false);
    }
    let own = binary::command(header.opcode);
    match (header.magic, own) {
        (magic::REQUEST, None) => match header.opcode {
            commands::HELLO => hello(header, input, size),
            opcode => Some(commands::fits(opcode, header, size)),
        },
        // A part of a bucket, or a type of data: memcached wants zeros.
        (magic::REQUEST, Some(shape)) => Some(
            shape.fits(header)
                && header.detail < VBUCKETS
                && (header.detail != 0 || header.datatype != 0),
        ),
        (magic::FLEXIBLE_REQUEST, Some(_)) => {
            Some(header.framing > 0 && header.detail < VBUCKETS && header.key > 0)
        }
        _ => Some(false),
    }
}

/// A HELLO: an agent's name, and numbers of features.
fn hello(header: &Header, input: &[u8], size: usize) -> Option<bool> {
    if header.extras != 0 || size == 0 || !size.is_multiple_of(2) || size > VALUE_MAX {
        return Some(false);
    }
    let message = input.get(..header.wanted(VALUE_MAX))?;
    let agent = header.key_of(message);
    Some(
        agent.iter().all(|&byte| byte >= b' ' && byte != 0x7f)
            && features(header.value_of(message)).all(|one| (1..=FEATURE_MAX).contains(&one)),
    )
}

/// Whether the server's first message answers what memcached does not have.
fn answers(header: &Header, input: &[u8]) -> Option<bool> {
    let Some(size) = header.value() else {
        return Some(false);
    };
    let own = binary::command(header.opcode).is_some();
    let known = binary::status_name(header.detail) != "OTHER";
    match header.magic {
        magic::RESPONSE if !own && known && header.datatype <= DATATYPE_MAX => {
            // memcached answers so, too: the question tells.
            if header.detail == 0x81 {
                return None;
            }
            match header.opcode {
                commands::HELLO if header.detail == 0 && size > 0 => hello(header, input, size),
                opcode => {
                    Some(commands::name(opcode).is_some() && header.cas == 0 && header.key == 0)
                }
            }
        }
        // memcached's own command: it may be either's.
        magic::RESPONSE if own && known && header.datatype <= DATATYPE_MAX => None,
        magic::FLEXIBLE_RESPONSE => Some(
            known
                && header.framing > 0
                && commands::name(header.opcode).is_some()
                && header.datatype <= DATATYPE_MAX,
        ),
        _ => Some(false),
    }
}
