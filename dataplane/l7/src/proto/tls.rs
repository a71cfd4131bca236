//! TLS 1.0 to 1.3 and SSL 2.0 and 3.0 (RFC 8446, RFC 5246, RFC 6101): what passes in the clear.
//!
//! Trusts: nothing. Distrusts: that a hello is one record, or that it comes only once: it may be
//! spread over many records, and follows again after a retry. Told are the hellos with their
//! fingerprints, the certificates up to TLS 1.2, and alerts; a direction is done where its
//! encryption begins. Violations: what is no record before that, malformed hellos. Memory: two
//! counters each way; a message of up to what the engine keeps.

pub(crate) mod certificate;
pub(crate) mod fields;
pub(crate) mod fingerprint;
pub(crate) mod hello;
mod old;
pub(crate) mod pieces;
mod record;
#[cfg(test)]
mod tests;

use weir_wire::Direction;

use self::fingerprint::Carrier;
use self::record::{Buffer, Gathered, Header};
use crate::read::cursor::Cursor;
use crate::{
    Application, BufferSet, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const CERTIFICATE: u8 = 11;
const MESSAGE_HEADER_BYTES: usize = 4;
/// The length of all certificates, and that of the first.
const CERTIFICATE_FRONT_BYTES: usize = 6;
/// A list of certificates that is kept until it is whole.
const CHAIN_BYTES_MAX: usize = 12 << 10;

/// The parser of one connection.
#[derive(Default)]
pub struct Tls {
    sides: [Side; 2],
    /// The client spoke SSL 2.0.
    old: bool,
}

#[derive(Clone, Copy, Default)]
struct Side {
    /// What is to come of the handshake record at hand.
    record_left: u16,
    /// What is to come of a message that nobody reads.
    message_left: u32,
    /// A hello was read, or went before what is seen.
    spoke: bool,
    /// What came before is not known: anything may follow.
    midway: bool,
    /// Encryption has begun, unless another hello follows.
    changed: bool,
    /// The last hello asked for another one.
    retry: bool,
    /// Heartbeats were agreed on: records are told apart to the end.
    heartbeats: bool,
    /// Data was sent.
    data: bool,
}

impl Application for Tls {
    const NAME: &'static str = "tls";
    const ABOUT: &'static str = "Transport Layer Security 1.0 to 1.3 and SSL, what passes in the clear (RFC 8446, RFC 5246)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[443, 465, 636, 853, 989, 990, 992, 993, 995, 8443];
    const FIELDS: &'static [FieldSpec] = fields::TLS;
    const CONTENTS: BufferSet = fields::CONTENTS;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[record::HANDSHAKE]).and_range(0x80, 0xff),
        to_client: ByteSet::of(&[record::HANDSHAKE, record::ALERT, record::CHANGE_CIPHER_SPEC])
            .and_range(0x80, 0xff),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let hello = probe_hello(input.to_server, input.to_client);
        if input.from_start || hello == Probe::Certain {
            return hello;
        }
        match [input.to_server, input.to_client].map(record::probe_midway) {
            [Probe::NotMine, _] | [_, Probe::NotMine] => Probe::NotMine,
            [Probe::Certain, _] | [_, Probe::Certain] => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let old = self.old;
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        if !side.spoke && input.first().is_some_and(|&byte| byte >= 0x80) {
            return match direction {
                Direction::ToServer => self.old_client(input, sink),
                Direction::ToClient if old => old::server(input, sink),
                Direction::ToClient => Step::Violation("a record of another protocol"),
            };
        }
        let step = if side.record_left == 0 {
            side.header(direction, input, sink)
        } else if side.message_left > 0 {
            side.pass()
        } else {
            side.message(direction, input, sink)
        };
        let heartbeats = side.heartbeats;
        let other = self.sides.get_mut(direction.reverse() as usize);
        if heartbeats && let Some(other) = other {
            other.heartbeats = true;
        }
        step
    }

    /// A message that is too long to be kept is passed over, unless it is a hello.
    fn overflow(&mut self, direction: Direction, input: &[u8], _sink: &mut dyn EventSink) -> Step {
        let Some(side) = self.sides.get_mut(direction as usize) else {
            return Step::Done;
        };
        let mut buffer = Buffer::new();
        match record::gather(input, side.record_left, MESSAGE_HEADER_BYTES, &mut buffer) {
            Gathered::Whole {
                content,
                used,
                left,
            } if side.record_left > 0 => match record::message_front(content) {
                Some((CLIENT_HELLO | SERVER_HELLO, _)) | None => {
                    Step::Violation("a hello larger than is read")
                }
                Some((_, length)) => side.take(used, left, length),
            },
            _ => Step::Done,
        }
    }

    /// Picked up in the middle, a hello may still come; what was lost may have held it.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        for side in &mut self.sides {
            side.spoke = true;
            side.midway = true;
        }
        length == 0
    }
}

impl Tls {
    fn old_client(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let [client, _] = &mut self.sides;
        match old::client(input, sink) {
            Ok((version, step)) => {
                client.spoke = true;
                self.old = version == old::VERSION;
                // What follows a hello of SSL 2.0 that means it is encrypted.
                client.midway = true;
                step
            }
            Err(step) => step,
        }
    }
}

impl Side {
    /// Between records.
    fn header(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (kind, length) = match record::header(input) {
            Header::Incomplete => return Step::Incomplete,
            Header::Broken if self.midway || self.changed => return Step::Done,
            Header::Broken => return Step::Violation("a record of another protocol"),
            Header::Whole { kind, length } => (kind, length),
        };
        let whole = u64::from(length) + record::HEADER_BYTES as u64;
        match kind {
            record::HANDSHAKE => {
                if self.changed || self.midway {
                    // Encrypted, unless it is a hello.
                    let kind = hello_kind(direction);
                    match probe_front(input, kind) {
                        Probe::Certain => {}
                        Probe::Unsure => return Step::Incomplete,
                        // The end of the handshake; a heartbeat may follow before any data.
                        Probe::NotMine if self.changed && !self.midway => {
                            return Step::Skip(whole);
                        }
                        Probe::NotMine => return Step::Done,
                    }
                    (self.changed, self.midway, self.spoke) = (false, false, false);
                }
                self.record_left = length;
                Step::Consumed(record::HEADER_BYTES)
            }
            record::ALERT if length == 2 && !self.changed && !self.midway => {
                let Some(&[level, description]) = input
                    .get(record::HEADER_BYTES..)
                    .and_then(<[u8]>::first_chunk)
                else {
                    return Step::Incomplete;
                };
                fields::alert(side_name(direction), level, description, sink);
                Step::Consumed(record::HEADER_BYTES + 2)
            }
            record::CHANGE_CIPHER_SPEC => {
                self.changed = true;
                let again = direction == Direction::ToServer || self.retry || !self.spoke;
                if again {
                    Step::Skip(whole)
                } else {
                    self.rest(whole)
                }
            }
            record::APPLICATION_DATA if !self.spoke => {
                Step::Violation("a handshake that does not begin with hello")
            }
            record::APPLICATION_DATA => {
                self.data = true;
                self.rest(whole)
            }
            record::HEARTBEAT => self.heartbeat(length, whole, input, sink),
            _ => Step::Skip(whole),
        }
    }

    /// Nothing that follows is read, but heartbeats.
    fn rest(&self, whole: u64) -> Step {
        if self.heartbeats {
            Step::Skip(whole)
        } else {
            Step::Done
        }
    }

    /// A record of the heartbeat protocol, in the clear or encrypted.
    fn heartbeat(
        &mut self,
        length: u16,
        whole: u64,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        if self.changed || self.midway {
            let kind = match self.data || self.midway {
                true => "encrypted",
                false => "encrypted before any data",
            };
            fields::heartbeat(kind, None, length, sink);
            return Step::Skip(whole);
        }
        let content = input.get(record::HEADER_BYTES..).unwrap_or_default();
        let content = content.get(..length.into()).unwrap_or(content);
        let claim = match (content, length) {
            (&[_, high, low, ..], _) => u16::from_be_bytes([high, low]),
            (_, 3..) => return Step::Incomplete,
            (_, _) => 0,
        };
        let kind = match content.first() {
            None => return Step::Incomplete,
            Some(2) => "response",
            Some(_) => "request",
        };
        fields::heartbeat(kind, Some(claim), length, sink);
        Step::Skip(whole)
    }

    /// Passes over what nobody reads of the record at hand.
    fn pass(&mut self) -> Step {
        let count = self.message_left.min(self.record_left.into());
        self.message_left -= count;
        self.record_left -= u16::try_from(count).unwrap_or(self.record_left);
        Step::Skip(count.into())
    }

    /// A message was read up to here; the rest of its length is passed over.
    fn take(&mut self, used: usize, record_left: u16, message_left: usize) -> Step {
        self.record_left = record_left;
        self.message_left = u32::try_from(message_left).unwrap_or(u32::MAX);
        Step::Consumed(used)
    }

    /// At the front of a message within a handshake record.
    fn message(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let mut buffer = Buffer::new();
        let front = match self.gather(input, MESSAGE_HEADER_BYTES, &mut buffer) {
            Ok((content, ..)) => record::message_front(content),
            Err(step) => return step,
        };
        let Some((kind, length)) = front else {
            return Step::Done;
        };
        if !self.spoke && kind != hello_kind(direction) {
            return match direction {
                Direction::ToServer => {
                    Step::Violation("a handshake that does not begin with hello")
                }
                Direction::ToClient => Step::Done,
            };
        }
        let whole = MESSAGE_HEADER_BYTES + length;
        match kind {
            CLIENT_HELLO | SERVER_HELLO if kind == hello_kind(direction) => {
                let (content, used, left) = match self.gather(input, whole, &mut buffer) {
                    Ok(gathered) => gathered,
                    Err(step) => return step,
                };
                let body = content.get(MESSAGE_HEADER_BYTES..).unwrap_or_default();
                match self.hello(direction, body, sink) {
                    Ok(true) => self.take(used, left, 0),
                    Ok(false) => Step::Done,
                    Err(what) => Step::Violation(what),
                }
            }
            CERTIFICATE => self.certificate(direction, input, length, sink),
            _ => {
                let (used, left) = match self.gather(input, MESSAGE_HEADER_BYTES, &mut buffer) {
                    Ok((_, used, left)) => (used, left),
                    Err(step) => return step,
                };
                self.take(used, left, length)
            }
        }
    }

    /// Whether anything in the clear follows.
    fn hello(
        &mut self,
        direction: Direction,
        body: &[u8],
        sink: &mut dyn EventSink,
    ) -> Result<bool, &'static str> {
        self.spoke = true;
        self.retry = false;
        match direction {
            Direction::ToServer => {
                hello::client(body, Carrier::Tcp, None, sink)?;
                Ok(true)
            }
            Direction::ToClient => match hello::server(body, None, sink)? {
                hello::Answer::Agreed { heartbeats } => {
                    self.heartbeats = heartbeats;
                    Ok(true)
                }
                hello::Answer::Encrypted => Ok(false),
                hello::Answer::Retry => {
                    self.retry = true;
                    self.spoke = false;
                    Ok(true)
                }
            },
        }
    }

    /// Reads the first certificate of the list, and passes over the others.
    fn certificate(
        &mut self,
        direction: Direction,
        input: &[u8],
        length: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let mut buffer = Buffer::new();
        let front = MESSAGE_HEADER_BYTES + CERTIFICATE_FRONT_BYTES.min(length);
        let first = match self.gather(input, front, &mut buffer) {
            Ok((content, ..)) => first_certificate(content),
            Err(step) => return step,
        };
        let fits = |first: &usize| CERTIFICATE_FRONT_BYTES + first <= length;
        let first = first.filter(fits).unwrap_or(0);
        let chain = MESSAGE_HEADER_BYTES + length;
        let wanted = match first {
            // More than one certificate is read only for those who look into each.
            1.. if chain <= CHAIN_BYTES_MAX && sink.wants(crate::Buffer::TlsCertificate) => chain,
            _ if front + first <= record::BUFFER_BYTES => front + first,
            _ => front,
        };
        let (content, used, left) = match self.gather(input, wanted, &mut buffer) {
            Ok(gathered) => gathered,
            Err(step) => return step,
        };
        if wanted > front {
            let der = content.get(front..front + first).unwrap_or_default();
            if certificate::tell(side_name(direction), der, sink) {
                let list = content.get(MESSAGE_HEADER_BYTES..).unwrap_or_default();
                certificate::tell_chain(list, sink);
            }
        }
        self.take(used, left, MESSAGE_HEADER_BYTES + length - wanted)
    }

    fn gather<'a>(
        &self,
        input: &'a [u8],
        wanted: usize,
        buffer: &'a mut Buffer,
    ) -> Result<(&'a [u8], usize, u16), Step> {
        if wanted > record::BUFFER_BYTES {
            return Err(Step::Violation("a hello larger than is read"));
        }
        match record::gather(input, self.record_left, wanted, buffer) {
            Gathered::Whole {
                content,
                used,
                left,
            } => Ok((content, used, left)),
            Gathered::Incomplete => Err(Step::Incomplete),
            Gathered::Broken => Err(Step::Violation("a record that is no handshake")),
        }
    }
}

/// The length of the first certificate of a list.
fn first_certificate(content: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(content.get(MESSAGE_HEADER_BYTES..)?);
    cursor.u24()?;
    usize::try_from(cursor.u24()?).ok()
}

fn hello_kind(direction: Direction) -> u8 {
    match direction {
        Direction::ToServer => CLIENT_HELLO,
        Direction::ToClient => SERVER_HELLO,
    }
}

pub(crate) fn side_name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "client",
        Direction::ToClient => "server",
    }
}

fn probe_hello(to_server: &[u8], to_client: &[u8]) -> Probe {
    match to_server.first() {
        None if to_client.is_empty() => Probe::Unsure,
        // One way only: the client's side is not seen.
        None => probe_front(to_client, SERVER_HELLO),
        Some(0x80..) => old::probe_client(to_server),
        Some(_) => probe_front(to_server, CLIENT_HELLO),
    }
}

/// The record header, and behind it the handshake's: type, length and version of a hello.
fn probe_front(input: &[u8], kind: u8) -> Probe {
    let mut front = [0; 6];
    let Some(known) = record::peek(input, &mut front) else {
        return Probe::NotMine;
    };
    let plausible = front
        .iter()
        .take(known)
        .enumerate()
        .all(|(index, &byte)| match index {
            0 => byte == kind,
            1 => byte == 0,
            4 => matches!(byte, 3 | 0x7f),
            5 => byte <= 4 || front.get(4) == Some(&0x7f),
            _ => true,
        });
    let length = usize::from(u16::from_be_bytes([front[2], front[3]]));
    match (plausible, known) {
        (false, _) => Probe::NotMine,
        (true, 6) if length < hello::HELLO_BYTES_MIN && front[4] == 3 => Probe::NotMine,
        (true, 6) => Probe::Certain,
        (true, _) => Probe::Unsure,
    }
}
