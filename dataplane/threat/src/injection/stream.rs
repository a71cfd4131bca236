//! Windows over contents that come in pieces.
//!
//! A content that is there whole and fits is judged where it lies. Else its bytes are gathered until a
//! window is full; it is judged, its last half is kept, and it fills again: where pieces end makes no
//! difference, and what is shorter than half a window is seen whole in one of them.
//!
//! Trusts nothing. Memory: [`MAX_STREAMS`] windows of [`WINDOW_BYTES`], allocated once; a new content
//! takes the place of the one of its set that waited longest.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::forms::FORM_BYTES;
use super::split::Media;
use super::{Piece, Source};

/// Bytes of one window.
pub const WINDOW_BYTES: usize = FORM_BYTES;
/// Kept of a window when the next begins.
const OVERLAP_BYTES: usize = WINDOW_BYTES / 2;
/// Contents that are followed at the same time.
pub const MAX_STREAMS: usize = 512;
/// Windows that a content may be in.
const WAYS: usize = 4;

/// Bytes of a content, to be judged.
pub(super) struct Window<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) media: Media,
    /// Something came before these bytes.
    pub(super) continued: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    source: Option<Source>,
    media: Media,
    length: usize,
    continued: bool,
    /// Bytes behind what was judged last.
    fresh: bool,
    used: u64,
}

/// The contents that are being read.
pub(super) struct Streams {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    hash: FixedState,
    clock: u64,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); MAX_STREAMS].into_boxed_slice(),
            bytes: vec![0; MAX_STREAMS * WINDOW_BYTES].into_boxed_slice(),
            hash: FixedState::default(),
            clock: 0,
        }
    }

    /// Takes a piece, and tells each window that is full or ends.
    pub(super) fn piece(&mut self, piece: &Piece<'_>, mut judge: impl FnMut(&Window<'_>)) {
        if let Some(media) = piece.begins
            && piece.ends
            && piece.bytes.len() <= WINDOW_BYTES
        {
            return judge(&Window {
                bytes: piece.bytes,
                media: Media::of(media),
                continued: false,
            });
        }
        let Some(place) = self.place(piece) else {
            return;
        };
        let slot = &mut self.slots[place];
        let window = &mut self.bytes[place * WINDOW_BYTES..][..WINDOW_BYTES];
        let mut rest = piece.bytes;
        while !rest.is_empty() {
            let taken = rest.len().min(WINDOW_BYTES - slot.length);
            window[slot.length..slot.length + taken].copy_from_slice(&rest[..taken]);
            slot.length += taken;
            slot.fresh |= taken > 0;
            rest = &rest[taken..];
            if slot.length == WINDOW_BYTES {
                judge(&slot.window(window));
                window.copy_within(WINDOW_BYTES - OVERLAP_BYTES.., 0);
                slot.length = OVERLAP_BYTES;
                slot.continued = true;
                slot.fresh = false;
            }
        }
        if piece.ends {
            if slot.fresh {
                judge(&slot.window(&window[..slot.length]));
            }
            *slot = Slot::default();
        }
    }

    /// The window of a content; a new one where it begins. None: its beginning was not seen, or its
    /// window went to another.
    fn place(&mut self, piece: &Piece<'_>) -> Option<usize> {
        let sets = MAX_STREAMS / WAYS;
        let first = self.hash.hash_one(piece.source) as usize % sets * WAYS;
        let set = first..first + WAYS;
        self.clock += 1;
        let known = set
            .clone()
            .find(|place| self.slots[*place].source == Some(piece.source));
        let place = match (known, piece.begins) {
            (Some(place), None) => place,
            (known, Some(media)) => {
                let place = known.or_else(|| set.min_by_key(|place| self.slots[*place].used))?;
                self.slots[place] = Slot {
                    source: Some(piece.source),
                    media: Media::of(media),
                    ..Slot::default()
                };
                place
            }
            (None, None) => return None,
        };
        self.slots[place].used = self.clock;
        Some(place)
    }
}

impl Slot {
    fn window<'a>(&self, bytes: &'a [u8]) -> Window<'a> {
        Window {
            bytes: &bytes[..self.length],
            media: self.media,
            continued: self.continued,
        }
    }
}
