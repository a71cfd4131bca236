//! Chunks: pieces of messages of several chunk streams, whose heads leave out what has not changed
//! (RTMP 1.0, 5.3).

use arrayvec::ArrayVec;

use super::{READ_MAX, SET_CHUNK_SIZE};
use crate::Step;
use crate::read::cursor::Cursor;

/// Chunk streams of a direction that are known at the same time: clients use about six.
const CHANNELS_MAX: usize = 8;
/// Until another is told (5.4.1).
const SIZE_DEFAULT: u32 = 128;
/// The time does not fit and stands behind the head (5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;

/// A chunk stream.
#[derive(Clone, Copy, Debug)]
struct Channel {
    id: u32,
    length: u32,
    /// Bytes of the current message that have not come.
    left: u32,
    kind: u8,
    extended: bool,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Flow {
    /// The handshake began.
    pub(super) open: bool,
    size: u32,
    channels: ArrayVec<Channel, CHANNELS_MAX>,
    /// Some chunk stream was forgotten.
    forgot: bool,
}

/// The chunk at the front of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    channel: Channel,
    head: usize,
    payload: u32,
    /// Kind of the message.
    pub(super) kind: u8,
    /// It begins its message.
    pub(super) first: bool,
}

impl Chunk {
    pub(super) fn bytes(&self) -> u64 {
        self.head as u64 + u64::from(self.payload)
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            open: false,
            size: SIZE_DEFAULT,
            channels: ArrayVec::new(),
            forgot: false,
        }
    }
}

impl Flow {
    /// None: too few bytes.
    pub(super) fn chunk(&self, input: &[u8]) -> Result<Option<Chunk>, Step> {
        let mut cursor = Cursor::new(input);
        let Some((format, id)) = basic(&mut cursor) else {
            return Ok(None);
        };
        let known = self.channels.iter().find(|channel| channel.id == id);
        let mut channel = match known {
            Some(channel) => *channel,
            None if format <= 1 => Channel {
                id,
                length: 0,
                left: 0,
                kind: 0,
                extended: false,
            },
            None if self.forgot => return Err(Step::Done),
            None => return Err(Step::Violation("rtmp: a chunk that continues nothing")),
        };
        let first = format < 3 || channel.left == 0;
        if channel.message(format, &mut cursor).is_none() {
            return Ok(None);
        }
        if !matches!(channel.kind, 1..=6 | 8 | 9 | 15..=20 | 22) {
            return Err(Step::Violation("rtmp: no known kind of message"));
        }
        if first {
            channel.left = channel.length;
        }
        Ok(Some(Chunk {
            channel,
            head: input.len() - cursor.rest().len(),
            payload: channel.left.min(self.size),
            kind: channel.kind,
            first,
        }))
    }

    /// Joins the message that `chunk`, at the front of `input`, begins, as far as its chunks follow
    /// each other and `message` holds it. None: too few bytes.
    pub(super) fn gather(
        &self,
        chunk: &Chunk,
        input: &[u8],
        message: &mut ArrayVec<u8, READ_MAX>,
    ) -> Option<()> {
        let mut cursor = Cursor::new(input);
        cursor.take(chunk.head)?;
        let mut left = chunk.channel.left;
        loop {
            let payload = left.min(self.size);
            let room = message.remaining_capacity();
            let wanted = usize::try_from(payload).unwrap_or(room).min(room);
            message.extend(cursor.take(wanted)?.iter().copied());
            left -= payload;
            if left == 0 || message.is_full() {
                return Some(());
            }
            let (format, id) = basic(&mut cursor)?;
            if format != 3 || id != chunk.channel.id {
                return Some(());
            }
            if chunk.channel.extended {
                cursor.u32()?;
            }
        }
    }

    /// Remembers what the chunk changes.
    pub(super) fn take(&mut self, chunk: &Chunk) {
        let mut channel = chunk.channel;
        channel.left -= chunk.payload;
        let known = self
            .channels
            .iter_mut()
            .find(|known| known.id == channel.id);
        if let Some(known) = known {
            *known = channel;
            return;
        }
        if self.channels.is_full() {
            // The first ones hold control and commands.
            let idle = self.channels.iter().rposition(|channel| channel.left == 0);
            self.channels.swap_remove(idle.unwrap_or(CHANNELS_MAX - 1));
            self.forgot = true;
        }
        self.channels.push(channel);
    }

    /// What both ends agree on (5.4.1, 5.4.2).
    pub(super) fn control(&mut self, kind: u8, message: &[u8]) -> Option<Step> {
        let value = Cursor::new(message).u32();
        match (kind, value) {
            (SET_CHUNK_SIZE, Some(size @ 1..=0x7fff_ffff)) => self.size = size,
            (SET_CHUNK_SIZE, _) => return Some(Step::Violation("rtmp: no size of chunks")),
            (_, Some(id)) => {
                for channel in self.channels.iter_mut().filter(|channel| channel.id == id) {
                    channel.left = 0;
                }
            }
            (_, None) => {}
        }
        None
    }
}

impl Channel {
    /// Reads the message's head, of which the higher formats leave out more.
    fn message(&mut self, format: u8, cursor: &mut Cursor<'_>) -> Option<()> {
        if format < 3 {
            self.extended = cursor.u24()? == EXTENDED;
        }
        if format < 2 {
            self.length = cursor.u24()?;
            self.kind = cursor.u8()?;
        }
        if format == 0 {
            cursor.u32()?;
        }
        if self.extended {
            cursor.u32()?;
        }
        Some(())
    }
}

/// Format and chunk stream (5.3.1.1).
fn basic(cursor: &mut Cursor<'_>) -> Option<(u8, u32)> {
    let first = cursor.u8()?;
    let id = match first & 63 {
        0 => u32::from(cursor.u8()?) + 64,
        1 => {
            let [low, high] = cursor.array()?;
            u32::from(u16::from_le_bytes([low, high])) + 64
        }
        id => id.into(),
    };
    Some((first >> 6, id))
}
