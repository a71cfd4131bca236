//! Messages on the wire: alone, or in the frames of version 5.

use weir_wire::Direction;

use super::{BODY_MAX, Cassandra, Compression, MESSAGE_MAX, Message, opcode};
use crate::read::cursor::Cursor;
use crate::read::unpack;
use crate::{EventSink, Step};

/// The longest head: version, flags, stream, opcode, length.
const HEAD_MAX: usize = 9;

mod flag {
    pub(super) const COMPRESSED: u8 = 1;
}

/// A message's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Without the direction's bit.
    pub(super) version: u8,
    pub(super) flags: u8,
    pub(super) stream: u16,
    pub(super) opcode: u8,
    pub(super) length: u32,
    /// Bytes of the head itself.
    pub(super) size: usize,
}

impl Head {
    /// None: too short.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(input);
        let (version, flags) = (cursor.u8()?, cursor.u8()?);
        let old = version & 0x7f < 3;
        let stream = if old {
            cursor.u8()?.into()
        } else {
            cursor.u16()?
        };
        Some(Self {
            version: version & 0x7f,
            flags,
            stream,
            opcode: cursor.u8()?,
            length: cursor.u32()?,
            size: if old { HEAD_MAX - 1 } else { HEAD_MAX },
        })
    }
}

/// The head of a frame of version 5, whose numbers stand with their lowest byte first.
struct Outer {
    payload: usize,
    /// Bytes of the payload once it is unpacked; 0: it is not packed.
    unpacked: usize,
    /// Holds whole messages.
    whole: bool,
    /// Head and checksum of the head.
    size: usize,
}

impl Outer {
    fn read(input: &[u8], packed: bool) -> Option<Self> {
        let number = |size: usize| {
            let bytes = input.get(..size)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0_u64, |value, &byte| value << 8 | u64::from(byte)),
            )
        };
        let length = |bits: u64| (bits & 0x1_ffff) as usize;
        Some(if packed {
            let bits = number(8)?;
            Self {
                payload: length(bits),
                unpacked: length(bits >> 17),
                whole: bits >> 34 & 1 == 1,
                size: 8,
            }
        } else {
            let bits = number(6)?;
            Self {
                payload: length(bits),
                unpacked: 0,
                whole: bits >> 17 & 1 == 1,
                size: 6,
            }
        })
    }
}

impl Cassandra {
    pub(super) fn framed(&self, direction: Direction) -> bool {
        self.framed[direction as usize & 1]
    }

    /// A message without a frame.
    pub(super) fn plain(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let Some(head) = Head::read(input) else {
            return Step::Incomplete;
        };
        if head.length > MESSAGE_MAX {
            return Step::Violation("cassandra: message length out of bounds");
        }
        let kept = (head.length as usize).min(BODY_MAX);
        let Some(body) = input.get(head.size..head.size + kept) else {
            return Step::Incomplete;
        };
        if let Err(step) = self.message(direction, head, body, sink) {
            return step;
        }
        // What follows the set-up is in frames.
        let modern = head.version == 5;
        match (direction, head.opcode) {
            (Direction::ToServer, opcode::STARTUP)
            | (Direction::ToClient, opcode::READY | opcode::AUTHENTICATE)
                if modern =>
            {
                self.framed[direction as usize & 1] = true;
            }
            _ => {}
        }
        Step::Skip(head.size as u64 + u64::from(head.length))
    }

    /// A frame of version 5: messages, or a part of one.
    pub(super) fn frame(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        let packed = self.compression != Compression::None;
        let Some(outer) = Outer::read(input, packed) else {
            return Step::Incomplete;
        };
        let kept = outer.payload.min(BODY_MAX);
        let Some(payload) = input.get(outer.size..outer.size + kept) else {
            return Step::Incomplete;
        };
        // The payload's checksum follows it.
        let step = Step::Skip((outer.size + outer.payload + 4) as u64);
        let all = if outer.unpacked > 0 {
            outer.unpacked
        } else {
            outer.payload
        };
        let continued = self.continued[direction as usize & 1];
        if continued > 0 && !outer.whole {
            self.continued[direction as usize & 1] =
                continued.saturating_sub(u32::try_from(all).unwrap_or(u32::MAX));
            return step;
        }
        let mut output = [0; BODY_MAX];
        let front = if outer.unpacked > 0 {
            let count = unpack::lz4(payload, &mut output);
            output.get(..count).unwrap_or_default()
        } else {
            payload
        };
        match self.messages(direction, front, all, sink) {
            Ok(missing) if !outer.whole => {
                self.continued[direction as usize & 1] = missing;
                step
            }
            Ok(_) => step,
            Err(step) => step,
        }
    }

    /// The messages in a payload of `all` bytes, of which there is the front. Returns how much of
    /// the last is missing.
    fn messages(
        &mut self,
        direction: Direction,
        front: &[u8],
        all: usize,
        sink: &mut dyn EventSink,
    ) -> Result<u32, Step> {
        let mut at = 0;
        while at < all {
            let rest = front.get(at..).unwrap_or_default();
            let Some(head) = Head::read(rest) else {
                // Behind what was read: something may be asked there.
                if direction == Direction::ToServer {
                    self.unread(sink);
                }
                return Ok(0);
            };
            if head.length > MESSAGE_MAX {
                return Err(Step::Violation("cassandra: message length out of bounds"));
            }
            let length = head.length as usize;
            let body = rest.get(head.size..).unwrap_or_default();
            self.message(direction, head, body.get(..length).unwrap_or(body), sink)?;
            at += head.size + length;
        }
        Ok(u32::try_from(at - all).unwrap_or(u32::MAX))
    }

    /// A message whose body may be cut off.
    fn message(
        &mut self,
        direction: Direction,
        head: Head,
        body: &[u8],
        sink: &mut dyn EventSink,
    ) -> Result<(), Step> {
        // Filled where it is needed: few messages are compressed.
        let mut output = None;
        let mut message = Message {
            head,
            body,
            whole: body.len() == head.length as usize,
        };
        if head.flags & flag::COMPRESSED != 0 && !self.framed(direction) {
            let output = output.insert([0; BODY_MAX]);
            let (count, size) = match self.compression {
                Compression::Lz4 => {
                    let (size, block) = body.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
                    let size = u32::from_be_bytes(*size) as usize;
                    (unpack::lz4(block, output), size)
                }
                Compression::Snappy => (unpack::snappy(body, output), unpack::snappy_length(body)),
                Compression::None | Compression::Unknown => (0, usize::MAX),
            };
            message.body = output.get(..count).unwrap_or_default();
            message.whole = count == size;
        }
        match direction {
            Direction::ToServer => self.request(&message, sink),
            Direction::ToClient => self.answer(&message, sink),
        }
    }
}
