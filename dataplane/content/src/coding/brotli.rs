//! Brotli (RFC 7932), decoded by brotli-decompressor in memory of ours.
//!
//! Its tables (at most 3.4 MiB a decoder, in three groups) are reserved for each, since it takes them
//! for granted; windows (1 KiB to 16 MiB, growing with the content) are shared by all decoders of the
//! worker, and a message that gets none is not decoded. Nothing is allocated after the start.

use std::ops::ControlFlow;

use brotli_decompressor::{
    BrotliDecoderErrorCode, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode,
    SliceWrapper,
};

use super::Out;
use super::store::Store;
use crate::Outcome;

/// What the decoder writes at once.
const OUT_BYTES: usize = 16 << 10;
/// What a window needs beyond its size.
const SLACK_BYTES: usize = 542 + 24;
/// The codes of 256 trees, which is as many as a group has; each decoder holds three groups.
const GROUP_CODES: usize = 256 * 1080;
const GROUPS: usize = 3;
/// Enough for each of the small tables and for a group of a few trees.
const TABLE_CODES: usize = 3 * 1080;
const TABLES: usize = 3;

type State = BrotliState<Store<u8>, Store<u32>, Store<HuffmanCode>>;

/// The memory that all decoders of a worker share.
#[derive(Clone)]
pub(super) struct Stores {
    bytes: Store<u8>,
    words: Store<u32>,
    codes: Store<HuffmanCode>,
}

pub(crate) struct Brotli {
    stores: Stores,
    state: Option<State>,
    begun: bool,
    whole: bool,
    out: Box<[u8]>,
}

impl Stores {
    /// For so many decoders. Of the windows of each size there are as many as fit into a quarter of
    /// `window_bytes`, two at least and no more than decoders.
    pub(super) fn new(decoders: usize, window_bytes: usize) -> Self {
        // Context maps first: 64 per literal tree, 4 per distance tree, one mode per tree.
        let mut bytes = vec![(256, decoders), (1024, decoders), (256 * 64, decoders)];
        for bits in 10..=24 {
            let count = ((window_bytes / 4) >> bits).clamp(2.min(decoders), decoders);
            bytes.push(((1 << bits) + SLACK_BYTES, count));
        }
        bytes.sort_unstable();
        let codes = [
            (TABLE_CODES, decoders * (TABLES + GROUPS)),
            (GROUP_CODES, decoders * GROUPS),
        ];
        Self {
            bytes: Store::new(&bytes, |length| vec![0; length]),
            words: Store::new(&[(256, decoders * GROUPS)], |length| vec![0; length]),
            codes: Store::new(&codes, Vec::with_capacity),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes() + self.words.memory_bytes() + self.codes.memory_bytes()
    }
}

impl Brotli {
    pub(super) fn new(stores: &Stores) -> Self {
        Self {
            stores: stores.clone(),
            state: None,
            begun: false,
            whole: false,
            out: vec![0; OUT_BYTES].into_boxed_slice(),
        }
    }

    /// Gets ready for another message.
    pub(super) fn begin(&mut self) {
        self.release();
        let Stores {
            bytes,
            words,
            codes,
        } = self.stores.clone();
        self.state = Some(BrotliState::new_strict(bytes, words, codes));
        self.begun = false;
        self.whole = false;
    }

    /// Gives its memory to the others.
    pub(super) fn release(&mut self) {
        self.state = None;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole || !self.begun
    }

    pub(super) fn piece(&mut self, input: &[u8], out: &mut Out<'_>) -> ControlFlow<Outcome> {
        let (mut left, mut read) = (input.len(), 0);
        self.begun |= left > 0;
        while let Some(state) = self.state.as_mut().filter(|_| !self.whole) {
            let (mut room, mut written, mut total) = (self.out.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut read,
                input,
                &mut room,
                &mut written,
                &mut self.out,
                &mut total,
                state,
            );
            if let Some(given) = self.out.get(..written).filter(|given| !given.is_empty()) {
                out(given)?;
            }
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::ResultSuccess => self.whole = true,
                BrotliResult::ResultFailure => return failed(state, out),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Gives what was decoded before the fault and not written yet, and says what the fault is.
fn failed(state: &State, out: &mut Out<'_>) -> ControlFlow<Outcome> {
    let size = u64::try_from(state.ringbuffer_size).unwrap_or(0);
    let position = u64::try_from(state.pos).unwrap_or(0).min(size);
    let decoded = state.rb_roundtrips * size + position;
    let mut from = state.partial_pos_out;
    while from < decoded && size > 0 {
        let start = (from % size) as usize;
        let length = (decoded - from).min(size - from % size) as usize;
        let Some(given) = state.ringbuffer.slice().get(start..start + length) else {
            break;
        };
        out(given)?;
        from += length as u64;
    }
    ControlFlow::Break(match state.error_code {
        BrotliDecoderErrorCode::BROTLI_DECODER_ERROR_ALLOC_RING_BUFFER_1
        | BrotliDecoderErrorCode::BROTLI_DECODER_ERROR_ALLOC_RING_BUFFER_2 => {
            Outcome::Undecoded("no window free")
        }
        _ => Outcome::Corrupt("brotli"),
    })
}
