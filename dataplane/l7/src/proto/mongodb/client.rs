//! The client's messages.

use super::bson::{self, Element, kind};
use super::{COMPRESSOR, HEADER, Mongodb, Stage, UNPACKED_MAX, command, opcode};
use crate::read::unpack;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

/// "database.collection" of an old message.
const NAMESPACE_MAX: usize = 256;
/// What stands before the compressed bytes.
const COMPRESSED_HEAD: usize = HEADER + 9;

/// How messages are compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressor {
    Noop,
    Snappy,
    Zlib,
    Zstd,
}

impl Compressor {
    fn read(number: u8) -> Option<Self> {
        [Self::Noop, Self::Snappy, Self::Zlib, Self::Zstd]
            .get(usize::from(number))
            .copied()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Snappy => "snappy",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }

    /// The front of what was packed.
    pub(super) fn unpack(self, input: &[u8], output: &mut [u8; UNPACKED_MAX]) -> usize {
        match self {
            Self::Noop => {
                let count = input.len().min(output.len());
                if let (Some(to), Some(from)) = (output.get_mut(..count), input.get(..count)) {
                    to.copy_from_slice(from);
                }
                count
            }
            Self::Snappy => unpack::snappy(input, output),
            Self::Zlib => unpack::zlib(input, output),
            Self::Zstd => 0,
        }
    }
}

/// The head of an OP_COMPRESSED and the front of what it packs.
pub(super) struct Packed<'a> {
    pub(super) opcode: i32,
    pub(super) size: usize,
    pub(super) compressor: Compressor,
    pub(super) bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Reads it from a message of `length` bytes; as much as is unpacked must be there.
    pub(super) fn read(input: &'a [u8], length: usize) -> Result<Self, Step> {
        if length < COMPRESSED_HEAD {
            return Err(Step::Violation("mongodb: message length out of bounds"));
        }
        let end = length.min(COMPRESSED_HEAD + UNPACKED_MAX);
        let message = input.get(..end).ok_or(Step::Incomplete)?;
        let head = message.get(HEADER..).unwrap_or_default();
        let read = (|| {
            Some(Self {
                opcode: bson::little_i32(head)?,
                size: usize::try_from(bson::little_i32(head.get(4..)?)?).ok()?,
                compressor: Compressor::read(*head.get(8)?)?,
                bytes: head.get(9..)?,
            })
        })();
        read.ok_or(Step::Violation("mongodb: malformed compressed message"))
    }
}

impl Mongodb {
    pub(super) fn client_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match self.client.stage {
            Stage::Header => self.client_header(input, sink),
            Stage::Sections => self.client.section(input),
            Stage::Body | Stage::Document => self.client_element(input, sink),
        }
    }

    fn client_header(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let header = match self.client.header(input) {
            None => return Step::Incomplete,
            Some(Err(step)) => return step,
            Some(Ok(header)) => header,
        };
        let length = header.length as usize;
        if header.opcode == opcode::COMPRESSED {
            return match Packed::read(input, length) {
                Ok(packed) => self.client_packed(&packed, sink),
                Err(step) => step,
            };
        }
        let end = length.min(HEADER + NAMESPACE_MAX + 16);
        let wanted = if header.opcode == opcode::MSG {
            HEADER + 4
        } else {
            end
        };
        let Some(body) = input.get(HEADER..wanted) else {
            return Step::Incomplete;
        };
        self.client_body(header.opcode, body, HEADER, sink)
    }

    /// What stands before the document, `before` bytes into the message.
    fn client_body(
        &mut self,
        opcode: i32,
        body: &[u8],
        before: usize,
        sink: &mut dyn EventSink,
    ) -> Step {
        let side = &mut self.client;
        if opcode == opcode::MSG {
            side.stage = Stage::Sections;
            return side.take(before + 4);
        }
        let rest = body.get(4..).unwrap_or_default();
        let (namespace, behind) = match opcode {
            opcode::KILL_CURSORS => (&[][..], &[][..]),
            opcode::COMMAND => until_zero(body).unwrap_or_default(),
            _ => until_zero(rest).unwrap_or_default(),
        };
        let command = match opcode {
            opcode::QUERY => {
                let (_, collection) = command::split(namespace);
                if matches!(collection, b"$cmd") {
                    return self.command_query(namespace, behind, before);
                }
                "find"
            }
            opcode::UPDATE => "update",
            opcode::INSERT => "insert",
            opcode::DELETE => "delete",
            opcode::GET_MORE => "getMore",
            opcode::KILL_CURSORS => "killCursors",
            opcode::COMMAND => "OTHER",
            _ => return Step::Violation("mongodb: unknown opcode"),
        };
        self.asked_command = false;
        self.tell_request(command, namespace, sink);
        self.client.drop_rest()
    }

    /// A command in an old query: two numbers, then its document.
    fn command_query(&mut self, namespace: &[u8], behind: &[u8], before: usize) -> Step {
        let size = behind.get(8..).and_then(bson::little_i32).unwrap_or(-1);
        let size = usize::try_from(size).unwrap_or_default();
        let head = before + 4 + namespace.len() + 1 + 8;
        if size < 5 || head + size > self.client.left {
            return Step::Violation("mongodb: document length out of bounds");
        }
        let (database, _) = command::split(namespace);
        self.command = command::Command::default();
        self.command.database = database.try_into().unwrap_or_default();
        self.client.begin(Stage::Document, size);
        self.client.take(head + 4)
    }

    fn client_element(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match bson::element(input) {
            Element::Partial => Step::Incomplete,
            Element::Bad => Step::Violation("mongodb: malformed document"),
            Element::End => {
                let step = self.client.end();
                if !matches!(step, Step::Violation(_)) {
                    self.tell_command(sink);
                }
                step
            }
            Element::Read { length, .. } if length >= self.client.document => {
                Step::Violation("mongodb: malformed document")
            }
            // A command with options around it.
            Element::Read {
                kind: kind::DOCUMENT,
                name: name @ (b"$query" | b"query"),
                value,
                ..
            } if self.client.first && self.client.stage == Stage::Document => {
                let size = bson::little_i32(value).unwrap_or_default();
                let step = self.client.take(2 + name.len() + 4);
                self.client
                    .begin(Stage::Document, size.unsigned_abs() as usize);
                step
            }
            Element::Read {
                kind,
                name,
                value,
                length,
                ..
            } => {
                let first = self.client.first;
                self.command_element((kind, name, value), first, sink);
                self.client.take_element(length)
            }
        }
    }

    /// Unpacks the front of a message and reads it as if it had come so.
    fn client_packed(&mut self, packed: &Packed<'_>, sink: &mut dyn EventSink) -> Step {
        self.tell_compressor(0, packed.compressor, sink);
        let mut output = [0; UNPACKED_MAX];
        let count = packed.compressor.unpack(packed.bytes, &mut output);
        let unpacked = output.get(..count).unwrap_or_default();
        let outer = std::mem::take(&mut self.client);
        self.client.left = packed.size;
        let front = unpacked.get(..NAMESPACE_MAX + 16).unwrap_or(unpacked);
        let mut told = Heard { sink, count: 0 };
        let mut step = if front.len() < 5 {
            Step::Incomplete
        } else {
            self.client_body(packed.opcode, front, 0, &mut told)
        };
        let mut at = 0;
        while let Step::Skip(taken) = step {
            at += usize::try_from(taken).unwrap_or(usize::MAX).min(count);
            let rest = unpacked.get(at..).unwrap_or_default();
            if rest.is_empty() || self.client.stage == Stage::Header {
                break;
            }
            step = self.client_bytes(rest, &mut told);
        }
        // Cut off before its end, or not to be read: something was asked all the same.
        if told.count == 0 {
            if self.command.name.is_empty() {
                self.tell_request("COMPRESSED", &[], told.sink);
            } else {
                self.tell_command(told.sink);
            }
        }
        self.command.forget();
        self.client = outer;
        self.client.drop_rest()
    }

    pub(super) fn tell_compressor(
        &mut self,
        side: usize,
        compressor: Compressor,
        sink: &mut dyn EventSink,
    ) {
        if let Some(told) = self.compressed.get_mut(side)
            && !std::mem::replace(told, true)
        {
            Told::new()
                .name(COMPRESSOR, compressor.name())
                .send(EventKind::Session, sink);
        }
    }
}

/// Counts the commands that pass.
struct Heard<'a> {
    sink: &'a mut dyn EventSink,
    count: u32,
}

impl EventSink for Heard<'_> {
    fn event(&mut self, event: &crate::Event<'_>) {
        let command = event
            .fields
            .first()
            .is_some_and(|field| field.index == super::COMMAND);
        self.count += u32::from(command);
        self.sink.event(event);
    }
}

fn until_zero(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, input)?;
    Some((input.get(..end)?, input.get(end + 1..)?))
}
