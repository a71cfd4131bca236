//! What a scanner knows of one flow, and of one content that is open: fixed in size.

use arrayvec::ArrayVec;
use weir_l7::{Buffer, BufferSet};
use weir_wire::Direction;

use super::compile::SensorBits;
use super::expression::WINDOW_BYTES;

/// Contents open at a time in one flow; the one opened first makes way.
pub(super) const CONTENTS_MAX: usize = 8;
/// Messages open at a time in one flow (streams of HTTP/2 in both directions).
const MESSAGES_MAX: usize = 4;
/// Sensors of which something was found in one message.
const FOUND_MAX: usize = 8;
/// Sensors that count in one flow.
const COUNTS_MAX: usize = 8;
/// Matches that are remembered, so that a longer form of the same one counts once.
const RECENT_MAX: usize = 4;
/// Bytes kept of a stream: the window, and some of what lies before it.
pub(super) const HISTORY_BYTES: usize = WINDOW_BYTES + 4;

/// One flow.
#[derive(Default)]
pub(super) struct FlowState {
    /// Tells this flow's values from those of others.
    pub(super) number: u64,
    pub(super) applies: [SensorBits; 2],
    pub(super) wants: [BufferSet; 2],
    /// Who sends, by direction.
    pub(super) senders: [u128; 2],
    /// Open contents: numbers of their slots.
    pub(super) contents: ArrayVec<u32, CONTENTS_MAX>,
    messages: ArrayVec<Message, MESSAGES_MAX>,
    pub(super) counts: ArrayVec<Count, COUNTS_MAX>,
}

/// What was found in one message.
#[derive(Default)]
pub(super) struct Message {
    key: MessageKey,
    pub(super) found: ArrayVec<Found, FOUND_MAX>,
}

/// Direction, and the stream of HTTP/2.
pub(super) type MessageKey = (u8, u32);

/// Which patterns of a sensor were found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) sensor: u16,
    pub(super) patterns: u64,
    pub(super) told: bool,
}

/// Distinct matches of a sensor in a flow.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) sensor: u16,
    pub(super) matches: u32,
    pub(super) told: bool,
}

/// A content that comes in pieces.
pub(super) struct OpenContent {
    pub(super) key: ContentKey,
    pub(super) group: u16,
    /// The slot among the group's streams.
    pub(super) slot: u32,
    pub(super) offset: u64,
    pub(super) history: ArrayVec<u8, HISTORY_BYTES>,
    pub(super) recent: Recent,
}

pub(super) type ContentKey = (Direction, u32, Buffer);

/// The last matches: pattern and end.
#[derive(Clone, Copy, Default)]
pub(super) struct Recent {
    matches: [(u32, u64); RECENT_MAX],
    next: usize,
}

pub(super) fn message_key(direction: Direction, stream: u32) -> MessageKey {
    (direction as u8, stream)
}

impl FlowState {
    /// The message; a new one where it is not known. The one used longest ago makes way.
    pub(super) fn message(&mut self, key: MessageKey) -> &mut Message {
        let place = self.messages.iter().position(|message| message.key == key);
        let message = match place {
            Some(place) => self.messages.remove(place),
            None => {
                if self.messages.is_full() {
                    self.messages.remove(0);
                }
                Message {
                    key,
                    found: ArrayVec::new(),
                }
            }
        };
        self.messages.push(message);
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }

    /// Takes a message out.
    pub(super) fn take_message(&mut self, key: MessageKey) -> Option<Message> {
        let place = self
            .messages
            .iter()
            .position(|message| message.key == key)?;
        Some(self.messages.remove(place))
    }

    /// The keys of all messages.
    pub(super) fn message_keys(&self) -> ArrayVec<MessageKey, MESSAGES_MAX> {
        self.messages.iter().map(|message| message.key).collect()
    }

    /// The sensor's count; a new one where there is none. Of too many the first makes way.
    pub(super) fn count(&mut self, sensor: u16) -> &mut Count {
        let place = self.counts.iter().position(|count| count.sensor == sensor);
        let place = place.unwrap_or_else(|| {
            if self.counts.is_full() {
                self.counts.remove(0);
            }
            self.counts.push(Count {
                sensor,
                matches: 0,
                told: false,
            });
            self.counts.len() - 1
        });
        &mut self.counts[place]
    }
}

impl Message {
    /// What was found of a sensor. Of too many the first makes way.
    pub(super) fn of(&mut self, sensor: u16) -> &mut Found {
        let place = self.found.iter().position(|found| found.sensor == sensor);
        let place = place.unwrap_or_else(|| {
            if self.found.is_full() {
                self.found.remove(0);
            }
            self.found.push(Found {
                sensor,
                patterns: 0,
                told: false,
            });
            self.found.len() - 1
        });
        &mut self.found[place]
    }
}

impl Recent {
    /// Whether a match of the pattern that begins here overlaps one that counted.
    pub(super) fn overlaps(&self, pattern: u32, start: u64) -> bool {
        self.matches
            .iter()
            .any(|&(known, end)| known == pattern + 1 && start < end)
    }

    /// 0 stands for no pattern.
    pub(super) fn add(&mut self, pattern: u32, end: u64) {
        self.matches[self.next] = (pattern + 1, end);
        self.next = (self.next + 1) % RECENT_MAX;
    }
}

impl OpenContent {
    pub(super) fn free() -> Self {
        Self {
            key: (Direction::ToServer, 0, Buffer::Payload),
            group: 0,
            slot: 0,
            offset: 0,
            history: ArrayVec::new(),
            recent: Recent::default(),
        }
    }

    /// Keeps the end of what was read.
    pub(super) fn remember(&mut self, piece: &[u8]) {
        self.offset += piece.len() as u64;
        if piece.len() >= HISTORY_BYTES {
            self.history.clear();
            self.history
                .extend(piece[piece.len() - HISTORY_BYTES..].iter().copied());
            return;
        }
        let over = (self.history.len() + piece.len()).saturating_sub(HISTORY_BYTES);
        self.history.drain(..over);
        self.history.extend(piece.iter().copied());
    }
}
