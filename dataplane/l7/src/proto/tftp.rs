//! TFTP: requests, transfers and errors (RFC 1350; options RFC 2347; windows RFC 7440).
//!
//! Trusts nothing. The request is unmistakable; the transfer comes from a new port of the server,
//! which is announced. Without the request a transfer is known by an answer that carries the number
//! of its block. Violations: datagrams that are no TFTP. Memory: where the file at hand is.

use weir_wire::Direction;

use crate::read::content;
use crate::read::cursor::Cursor;
use crate::told::Told;
use crate::{
    Announcement, Application, Buffer, BufferSet, ByteSet, EventKind, EventSink, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};

const FILE_MAX: usize = 255;
/// Options of a request; servers know about five.
const OPTIONS_MAX: usize = 16;
/// The largest block (RFC 2348), and what stands before it.
const DATA_MAX: usize = 65_464 + 4;
/// A block without the option.
const BLOCK: usize = 512 + 4;
/// Operation and number before the data.
const DATA_HEAD: usize = 4;
const ERROR_MAX: u16 = 8;

const OPERATION: u8 = 0;
const FILE: u8 = 1;
const MODE: u8 = 2;
const ERROR: u8 = 3;
const TEXT: u8 = 4;

/// The parser.
#[derive(Default)]
pub struct Tftp {
    /// The file that is handed on.
    file: Option<File>,
}

/// A file on its way: block after block, the last of which is not full.
#[derive(Clone, Copy)]
struct File {
    block: u16,
    block_bytes: usize,
    direction: Direction,
}

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message<'a> {
    Request {
        operation: &'static str,
        file: &'a [u8],
        mode: &'a [u8],
    },
    Data(u16, usize),
    Acknowledgement(u16),
    Error(u16, &'a [u8]),
    Options,
}

impl Application for Tftp {
    const NAME: &'static str = "tftp";
    const ABOUT: &'static str = "Trivial File Transfer Protocol with its options (RFC 1350, 2347)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[69];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("operation", "`read` or `write` (RFC 1350, 5)"),
        FieldSpec::condition("file", "File that is read or written")
            .looked_into_as(Buffer::FileName),
        FieldSpec::text("mode", "`netascii`, `octet` or `mail`"),
        FieldSpec::number(
            "error",
            "Error code: 1 not found, 2 access violation ... (RFC 1350, 5; RFC 2347)",
        ),
        FieldSpec::text("text", "Text of the error"),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::FileData);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[0]),
        to_client: ByteSet::of(&[0]),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let (one, other) = (input.to_server, input.to_client);
        match (Message::probed(one), Message::probed(other)) {
            (None, _) if !one.is_empty() => Probe::NotMine,
            (_, None) if !other.is_empty() => Probe::NotMine,
            (Some(Message::Request { .. }), _) | (_, Some(Message::Request { .. })) => {
                Probe::Certain
            }
            (Some(one), Some(other)) if one.answers(other) || other.answers(one) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some(message) = Message::read(input) else {
            return Step::Violation("tftp: no message of this protocol");
        };
        match message {
            Message::Request {
                operation,
                file,
                mode,
            } => {
                Told::new()
                    .name(OPERATION, operation)
                    .bytes(FILE, file.get(..FILE_MAX).unwrap_or(file))
                    .bytes(MODE, mode)
                    .send(EventKind::Request, sink);
                sink.announce(&Announcement {
                    application: "tftp",
                    transport: Transport::Udp,
                    port: 0,
                    side: direction.reverse(),
                    address: None,
                });
            }
            Message::Error(code, text) => Told::new()
                .number(ERROR, code.into())
                .bytes(TEXT, text)
                .send(EventKind::Response, sink),
            Message::Data(block, length) => {
                let data = input
                    .get(input.len() - (length - DATA_HEAD)..)
                    .unwrap_or_default();
                self.data(direction, block, data, sink);
            }
            Message::Acknowledgement(_) | Message::Options => {}
        }
        Step::Consumed(input.len())
    }
}

impl Tftp {
    /// A block of a file: the next one, or one that was sent again.
    fn data(&mut self, direction: Direction, block: u16, data: &[u8], sink: &mut dyn EventSink) {
        if !sink.wants(Buffer::FileData) {
            return;
        }
        let begins = block == 1 && self.file.is_none_or(|file| file.block > 1);
        let block_bytes = match self.file {
            _ if begins => data.len(),
            Some(file) if file.direction == direction && block == file.block.wrapping_add(1) => {
                file.block_bytes
            }
            // Sent again, or behind one that was lost.
            _ => return,
        };
        // The first block tells how long a full one is, unless it is short of what none is.
        let ends = data.len() < block_bytes || begins && data.len() < BLOCK - DATA_HEAD;
        self.file = (!ends).then_some(File {
            block,
            block_bytes,
            direction,
        });
        content::piece(Buffer::FileData, begins, data, ends, sink);
    }
}

impl<'a> Message<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        match cursor.u16()? {
            operation @ (1 | 2) => {
                let mut words = Words(cursor.rest());
                let (file, mode) = (words.next()?, words.next()?);
                let options = words.options()?;
                let known = [&b"netascii"[..], b"octet", b"mail"];
                let mode_known = known.iter().any(|known| known.eq_ignore_ascii_case(mode));
                let plausible = options && mode_known && is_name(file);
                plausible.then_some(Self::Request {
                    operation: if operation == 1 { "read" } else { "write" },
                    file,
                    mode,
                })
            }
            3 if input.len() <= DATA_MAX => Some(Self::Data(cursor.u16()?, input.len())),
            // Some pad it.
            4 => Some(Self::Acknowledgement(cursor.u16()?)),
            5 => {
                let code = cursor.u16()?;
                let text = Words(cursor.rest()).next()?;
                (code <= ERROR_MAX).then_some(Self::Error(code, text))
            }
            6 => Words(cursor.rest()).options()?.then_some(Self::Options),
            _ => None,
        }
    }

    /// What is looked at more strictly while nothing is known.
    fn probed(input: &'a [u8]) -> Option<Self> {
        let message = Self::read(input)?;
        let strict = match message {
            Self::Acknowledgement(_) => input.len() == 4,
            Self::Error(_, text) => input.len() == 5 + text.len() && text.is_ascii(),
            Self::Options => input.len() > 2,
            Self::Request { .. } | Self::Data(..) => true,
        };
        strict.then_some(message)
    }

    /// Whether this is what the peer sends after `other`.
    fn answers(self, other: Self) -> bool {
        match (self, other) {
            // Without options a block is full unless it is the last, and the first has number 1.
            (Self::Acknowledgement(one), Self::Data(other, length)) => {
                one == other && (length == BLOCK || other == 1 && length <= BLOCK)
            }
            (Self::Data(1, _) | Self::Acknowledgement(0) | Self::Error(8, _), Self::Options) => {
                true
            }
            (Self::Data(one, length), Self::Acknowledgement(other)) => {
                one == other.wrapping_add(1) && length == BLOCK
            }
            (Self::Error(..), Self::Data(1, length)) => length == BLOCK,
            _ => false,
        }
    }
}

/// Texts that a zero ends.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let word = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(word)
    }

    /// Whether pairs of a name and a value follow, and nothing else; None: cut off.
    fn options(&mut self) -> Option<bool> {
        for _ in 0..OPTIONS_MAX {
            if self.0.iter().all(|&byte| byte == 0) {
                return Some(true);
            }
            let (name, value) = (self.next()?, self.next()?);
            let text = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
            if !text(name) || !text(value) {
                return Some(false);
            }
        }
        Some(false)
    }
}

fn is_name(file: &[u8]) -> bool {
    file.iter().all(|&byte| byte >= b' ' && byte != 0x7f)
}
