//! WebSocket (RFC 6455): what an Upgrade of HTTP turns into. Host and path are in the request.
//!
//! Trusts: nothing. Distrusts: frames that contradict the protocol; a client that does not mask.
//! Messages are passed over unless somebody looks into files and they are not compressed: their kind is
//! told, and why the connection is closed. Only an Upgrade
//! leads here: frames alone are too plain to be recognised. Memory: the state below.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use super::http::fields::{self, WEBSOCKET_CLOSE_CODE, WEBSOCKET_OPCODE};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::{
    Application, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldSpec,
    Openings, Probe, ProbeInput, Step, Transport,
};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// What is unmasked at once.
const PIECE_BYTES: usize = 512;
/// Longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// The parser of one connection.
#[derive(Default)]
pub struct Websocket {
    /// Whether each side is amid a message in several frames.
    amid: [bool; 2],
    /// What is handed on of each side's message.
    messages: [Message; 2],
}

/// A message that somebody looks into.
#[derive(Default)]
struct Message {
    /// Bytes of the frame at hand that are still to come.
    left: u64,
    mask: [u8; 4],
    begins: bool,
    /// The frame is the message's last.
    last: bool,
    /// It is looked into to its end: it is not compressed, and nothing of it was lost.
    looked: bool,
}

/// The head of a frame.
struct Head {
    last: bool,
    /// RFC 7692.
    compressed: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    length: u64,
    head_bytes: usize,
}

impl Application for Websocket {
    const NAME: &'static str = "websocket";
    const ABOUT: &'static str = "WebSocket, upgraded from HTTP (RFC 6455)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[];
    const FIELDS: &'static [FieldSpec] = &fields::WEBSOCKET_FIELDS;
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::FileData);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE,
        to_client: ByteSet::NONE,
    };
    const REFINES: Option<&'static str> = Some("http");

    fn probe(_: &ProbeInput<'_>) -> Probe {
        Probe::NotMine
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let message = &mut self.messages[direction as usize];
        if message.left > 0 {
            return message.hand_on(input, sink);
        }
        let Some(head) = head(input) else {
            return Step::Incomplete;
        };
        let amid = &mut self.amid[direction as usize];
        if let Some(what) = head.fault(*amid, direction) {
            return Step::Violation(what);
        }
        let whole = head.length.saturating_add(head.head_bytes as u64);
        match head.opcode {
            CLOSE => {
                let payload = usize::try_from(whole)
                    .ok()
                    .and_then(|whole| input.get(head.head_bytes..whole));
                let Some(payload) = payload else {
                    return Step::Incomplete;
                };
                close(payload, head.mask, sink);
            }
            CONTINUATION => *amid = !head.last,
            TEXT | BINARY => {
                *amid = !head.last;
                let name = if head.opcode == TEXT {
                    "text"
                } else {
                    "binary"
                };
                tell(&[opcode(name)], sink);
                message.looked = !head.compressed && sink.wants(Buffer::FileData);
                message.begins = true;
            }
            _ => {}
        }
        if head.opcode >= CLOSE || !message.looked {
            return Step::Skip(whole);
        }
        message.frame(&head, sink);
        Step::Consumed(head.head_bytes)
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        let message = &mut self.messages[direction as usize];
        let covered = length > 0 && length <= message.left;
        if covered {
            message.left -= length;
            message.looked = false;
        }
        covered
    }
}

impl Message {
    /// A frame of it begins.
    fn frame(&mut self, head: &Head, sink: &mut dyn EventSink) {
        self.left = head.length;
        self.mask = head.mask.unwrap_or_default();
        self.last = head.last;
        if self.left == 0 {
            self.piece(&[], sink);
        }
    }

    /// What is there of the frame, as it was before it was masked.
    fn hand_on(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if !self.looked {
            return Step::Skip(std::mem::take(&mut self.left));
        }
        let mut plain = ArrayVec::<u8, PIECE_BYTES>::new();
        let here = usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let mask = self.mask.iter().cycle();
        plain.extend(
            input
                .iter()
                .zip(mask)
                .take(here)
                .map(|(byte, mask)| byte ^ mask),
        );
        self.mask.rotate_left(plain.len() % 4);
        self.left -= plain.len() as u64;
        self.piece(&plain, sink);
        Step::Consumed(plain.len())
    }

    fn piece(&mut self, bytes: &[u8], sink: &mut dyn EventSink) {
        let ends = self.last && self.left == 0;
        let begins = std::mem::take(&mut self.begins);
        content::piece(Buffer::FileData, begins, bytes, ends, sink);
        self.looked &= !ends;
    }
}

/// The head at the front of `input`, when it is all there.
fn head(input: &[u8]) -> Option<Head> {
    let mut cursor = Cursor::new(input);
    let [first, second] = cursor.array()?;
    let length = match second & 0x7f {
        126 => cursor.u16()?.into(),
        127 => u64::from_be_bytes(cursor.array()?),
        length => length.into(),
    };
    let mask = match second & 0x80 {
        0 => None,
        _ => Some(cursor.array()?),
    };
    Some(Head {
        last: first & 0x80 != 0,
        compressed: first & 0x40 != 0,
        opcode: first & 0x0f,
        mask,
        length,
        head_bytes: input.len() - cursor.rest().len(),
    })
}

impl Head {
    /// What contradicts the protocol (RFC 6455, 5.1 to 5.5).
    fn fault(&self, amid: bool, direction: Direction) -> Option<&'static str> {
        let control = self.opcode >= CLOSE;
        match self.opcode {
            _ if self.mask.is_none() && direction == Direction::ToServer => {
                Some("a frame of a client that is not masked")
            }
            3..=7 | 11.. => Some("a WebSocket opcode that does not exist"),
            CLOSE..=PONG if control && (!self.last || self.length > CONTROL_BYTES_MAX) => {
                Some("a WebSocket control frame that is too large")
            }
            CONTINUATION if !amid => Some("a WebSocket continuation of nothing"),
            TEXT | BINARY if amid => Some("a WebSocket message amid another"),
            _ if self.length >> 63 != 0 => Some("a WebSocket frame without end"),
            _ => None,
        }
    }
}

fn close(payload: &[u8], mask: Option<[u8; 4]>, sink: &mut dyn EventSink) {
    let [a, b, ..] = mask.unwrap_or_default();
    match *payload {
        [high, low, ..] => {
            let code = u16::from_be_bytes([high ^ a, low ^ b]);
            let code = Field::number(WEBSOCKET_CLOSE_CODE, code.into());
            tell(&[opcode("close"), code], sink);
        }
        _ => tell(&[opcode("close")], sink),
    }
}

fn opcode(name: &'static str) -> Field<'static> {
    Field::name(WEBSOCKET_OPCODE, name)
}

fn tell(fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event {
        kind: EventKind::Session,
        fields,
    });
}
