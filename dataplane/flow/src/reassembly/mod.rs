//! Reassembly: the bytes of a TCP stream in order, and none that the endpoint reads otherwise.
//!
//! Trusts: that the segment lies within the windows ([`crate::TcpConnection`] has judged it).
//! Distrusts: payloads and their order. Reasons: `StreamMismatch`, `StreamLimit`. Memory:
//! `pool_bytes` for all streams of the worker, in chunks of 2 KiB, plus an eighth for the bookkeeping.
//!
//! * Bytes in order are handed out at once and a copy is kept until the receiver acknowledges them, so
//!   that a retransmission with other bytes is told: [`Reason::StreamMismatch`]. Once acknowledged the
//!   receiver has them and reads no second version; they are not compared any more. Nor is what
//!   was declared to need no keeping ([`Reassembler::skip_kept`]).
//! * Bytes beyond a gap are copied and kept, and their segment may be forwarded: the endpoint cannot
//!   read past the gap. They are handed out when the gap is filled. Whatever overlaps with them must be
//!   equal. They may have a stream's `per_stream_bytes` less `unacked_bytes`, and no more than three
//!   quarters of the pool.
//! * As the pool fills up, streams share what is left: none takes a further chunk when it has a 64th of the
//!   free ones already. Only a stream that fills its own gap may go on: what fills the gap also frees memory.
//! * Above a limit a segment is dropped ([`Reason::StreamLimit`]): the sender sends it again. As long
//!   as acknowledgements come back memory becomes free and the stream moves on, since bytes in
//!   order always have `unacked_bytes` that those beyond a gap cannot take.
//!
//! * Where a connection was picked up in its middle, the bytes of a gap may have gone by before: then
//!   what lies beyond is read by the endpoint up to a round trip before it is handed out here, when the
//!   acknowledgement tells ([`StreamState::is_behind`]).
//!
//! Sequence numbers are compared modulo 2³², within 2³¹ of the next byte.

mod chunks;

use std::ops::Range;

use weir_wire::Reason;

use crate::pool::CHUNK_BYTES;
use chunks::{ChunkList, Chunks};

/// The memory that reassembly may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// For all streams of a worker. 64 MiB.
    pub pool_bytes: usize,
    /// For one stream: kept and out of order together; also how far beyond the next byte a
    /// segment may reach. 1 MiB.
    pub per_stream_bytes: usize,
    /// The part of `per_stream_bytes` that only bytes in order and not yet acknowledged may take. 256 KiB.
    pub unacked_bytes: usize,
}

impl Default for ReassemblyLimits {
    fn default() -> Self {
        Self {
            pool_bytes: 64 << 20,
            per_stream_bytes: 1 << 20,
            unacked_bytes: 256 << 10,
        }
    }
}

/// What may happen to a segment, and which of its bytes are now in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentOutcome {
    /// `payload[fresh]` continues the stream: inspect it, then ask [`Reassembler::next_buffered`]
    /// for what was waiting behind it. What comes before `fresh` was there already.
    InOrder {
        /// The new bytes within the payload.
        fresh: Range<usize>,
    },
    /// It lies beyond a gap and was kept; it may be forwarded.
    Buffered,
    /// It has no new bytes; it may be forwarded.
    Repeated,
    /// The stream was given up: forward without looking.
    Untracked,
    /// It must not be forwarded.
    Drop(Reason),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Begins with the first segment's sequence number, unless opened with another.
    #[default]
    New,
    Open,
    GivenUp,
}

/// One direction of a connection. Holds chunks of the [`Reassembler`]'s pool: [`Reassembler::close`] or
/// [`Reassembler::give_up`] gives them back and must come before it is thrown away.
#[derive(Debug, Default)]
pub struct StreamState {
    /// The next byte in order.
    next: u32,
    /// The receiver has everything before.
    acknowledged: u32,
    /// Behind the last byte there is; `next` where none lies beyond a gap.
    highest: u32,
    phase: Phase,
    /// Where its FIN stands, once that was seen.
    finish: Option<u32>,
    /// So many bytes from `next` on need no keeping once they were handed out.
    unkept: u64,
    held: ChunkList,
}

impl StreamState {
    /// The sequence number of the next byte in order.
    pub fn next_sequence(&self) -> u32 {
        self.next
    }

    /// Bytes beyond a gap are waiting.
    pub fn has_gap(&self) -> bool {
        after(self.highest, self.next)
    }

    /// The receiver has acknowledged bytes that never came by here: they were under way before the
    /// connection was picked up, took another way, or a tap lost them. They will not come any more:
    /// [`Reassembler::jump_gap`].
    pub fn is_behind(&self) -> bool {
        self.phase == Phase::Open && after(self.acknowledged, self.next)
    }

    /// It holds nothing of the pool.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The stream was given up.
    pub fn is_given_up(&self) -> bool {
        self.phase == Phase::GivenUp
    }
}

/// True when `a` comes after `b` in sequence space.
fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

fn earlier(a: u32, b: u32) -> u32 {
    if after(a, b) { b } else { a }
}

fn later(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}

/// The streams' memory, one for each worker.
pub struct Reassembler {
    chunks: Chunks,
    per_stream_bytes: u32,
    per_stream_chunks: usize,
    out_of_order_chunks: usize,
}

impl Reassembler {
    /// Allocates the pool. Limits too small for one segment of 64 KiB beside another are raised:
    /// `unacked_bytes` to 72 KiB, `per_stream_bytes` to 64 KiB more than that, `pool_bytes` to four times
    /// `unacked_bytes`; `per_stream_bytes` ends at 512 MiB.
    pub fn new(limits: ReassemblyLimits) -> Self {
        const SEGMENT_BYTES: usize = 64 << 10;
        let unacked = limits
            .unacked_bytes
            .clamp(SEGMENT_BYTES + 4 * CHUNK_BYTES, 256 << 20);
        let per_stream = limits
            .per_stream_bytes
            .clamp(unacked + SEGMENT_BYTES, 512 << 20);
        Self {
            chunks: Chunks::new(limits.pool_bytes.max(4 * unacked)),
            per_stream_bytes: per_stream as u32,
            per_stream_chunks: per_stream / CHUNK_BYTES,
            out_of_order_chunks: (per_stream - unacked) / CHUNK_BYTES,
        }
    }

    /// Begins a stream whose first byte has that sequence number. A stream that was not opened
    /// begins with the first segment it gets: right where a connection is picked up in its middle, of
    /// which earlier bytes count as gone by.
    pub fn open(&mut self, stream: &mut StreamState, next_sequence: u32) {
        self.close(stream);
        stream.next = next_sequence;
        stream.acknowledged = next_sequence;
        stream.highest = next_sequence;
        stream.phase = Phase::Open;
    }

    /// Takes a segment's payload; `sequence` is that of its first byte ([`crate::payload_sequence`]).
    pub fn segment(
        &mut self,
        stream: &mut StreamState,
        sequence: u32,
        payload: &[u8],
    ) -> SegmentOutcome {
        match stream.phase {
            Phase::GivenUp => return SegmentOutcome::Untracked,
            Phase::New => {
                let finish = stream.finish;
                self.open(stream, sequence);
                stream.finish = finish;
            }
            Phase::Open => {}
        }
        if payload.len() > self.per_stream_bytes as usize {
            return SegmentOutcome::Drop(Reason::StreamLimit);
        }
        let end = sequence.wrapping_add(payload.len() as u32);
        if after(end, stream.next) && end.wrapping_sub(stream.next) > self.per_stream_bytes {
            return SegmentOutcome::Drop(Reason::StreamLimit);
        }
        if !self.agrees(stream, sequence, payload) {
            return SegmentOutcome::Drop(Reason::StreamMismatch);
        }
        if payload.is_empty() || !after(end, stream.next) {
            SegmentOutcome::Repeated
        } else if after(sequence, stream.next) {
            self.beyond_gap(stream, sequence, payload)
        } else {
            self.in_order(stream, sequence, payload)
        }
    }

    /// After [`SegmentOutcome::InOrder`]: what was waiting behind it, one run of bytes at each call
    /// until there is none.
    pub fn next_buffered(&mut self, stream: &mut StreamState) -> Option<&[u8]> {
        if !stream.has_gap() {
            return None;
        }
        let (chunk, range) = self.chunks.run_at(&mut stream.held, stream.next)?;
        let length = range.len();
        stream.next = stream.next.wrapping_add(length as u32);
        stream.unkept = stream.unkept.saturating_sub(length as u64);
        // May free the chunk; nothing is written to it while the caller reads.
        self.free_acknowledged(stream);
        Some(&self.chunks.bytes(chunk)[range])
    }

    /// The receiver has everything before `acknowledgement`: what was kept of it is freed.
    pub fn acknowledged(&mut self, stream: &mut StreamState, acknowledgement: u32) {
        // What lies behind the FIN is its own number, no byte.
        let bytes = stream
            .finish
            .map_or(acknowledgement, |finish| earlier(acknowledgement, finish));
        if stream.phase == Phase::Open && after(bytes, stream.acknowledged) {
            stream.acknowledged = bytes;
            self.free_acknowledged(stream);
        }
    }

    /// The stream ends here: `sequence` is that of its FIN, behind the last byte. To be told with the
    /// FIN, so that its acknowledgement is not taken for that of a byte which was missed.
    pub fn finish(&mut self, stream: &mut StreamState, sequence: u32) {
        stream.finish = Some(sequence);
        if after(stream.acknowledged, sequence) {
            stream.acknowledged = later(sequence, stream.next);
        }
    }

    /// The next `length` bytes need not be kept after they were handed out: a retransmission of them
    /// may differ. `u64::MAX` for all that follow, as on a tap, which cannot drop anything.
    pub fn skip_kept(&mut self, stream: &mut StreamState, length: u64) {
        stream.unkept = stream.unkept.max(length);
    }

    /// Nothing more of the stream is of interest: frees everything, and its segments are
    /// [`SegmentOutcome::Untracked`] from now on.
    pub fn give_up(&mut self, stream: &mut StreamState) {
        self.close(stream);
        stream.phase = Phase::GivenUp;
    }

    /// The bytes that are missing will never come: moves on to the first byte that is there, or to what
    /// the receiver has acknowledged, whichever is nearer, and returns how many bytes were lost (0: none
    /// are missing). [`Self::next_buffered`] goes on from there. Only for bytes that
    /// the receiver has acknowledged ([`StreamState::is_behind`]): others it may still be sent.
    pub fn jump_gap(&mut self, stream: &mut StreamState) -> u64 {
        let waiting = if stream.has_gap() {
            self.chunks.first_from(&stream.held, stream.next)
        } else {
            None
        };
        let target = match waiting {
            Some(first) if stream.is_behind() => earlier(first, stream.acknowledged),
            Some(first) => first,
            None if stream.is_behind() => stream.acknowledged,
            None => return 0,
        };
        let lost = target.wrapping_sub(stream.next);
        stream.next = target;
        stream.highest = later(stream.highest, target);
        stream.unkept = stream.unkept.saturating_sub(u64::from(lost));
        self.free_acknowledged(stream);
        u64::from(lost)
    }

    /// The connection is over: frees everything; the state is as new.
    pub fn close(&mut self, stream: &mut StreamState) {
        self.chunks.free_all(&mut stream.held);
        *stream = StreamState::default();
    }

    /// Bytes of the pool that are taken, in whole chunks.
    pub fn used_bytes(&self) -> usize {
        self.chunks.used_bytes()
    }

    /// Compares what overlaps with bytes that are kept and that the receiver may not have yet.
    fn agrees(&self, stream: &StreamState, sequence: u32, payload: &[u8]) -> bool {
        let from = later(sequence, earlier(stream.acknowledged, stream.next));
        let known = from.wrapping_sub(sequence) as usize;
        if known >= payload.len() || !after(stream.highest, from) {
            return true;
        }
        self.chunks.equal(&stream.held, from, &payload[known..])
    }

    fn in_order(
        &mut self,
        stream: &mut StreamState,
        sequence: u32,
        payload: &[u8],
    ) -> SegmentOutcome {
        let start = stream.next.wrapping_sub(sequence) as usize;
        let fresh = payload.len() - start;
        let unkept = stream.unkept.min(fresh as u64) as usize;
        let had = if stream.is_behind() {
            stream.acknowledged.wrapping_sub(stream.next) as usize
        } else {
            0
        };
        let kept = &payload[start + unkept.max(had).min(fresh)..];
        let end = sequence.wrapping_add(payload.len() as u32);
        let kept_from = end.wrapping_sub(kept.len() as u32);
        let needed = self.chunks.missing(&stream.held, kept_from, kept.len());
        if needed > 0 && !self.may_keep(stream, needed) {
            return SegmentOutcome::Drop(Reason::StreamLimit);
        }
        self.chunks.write(&mut stream.held, kept_from, kept);
        stream.next = end;
        stream.highest = later(stream.highest, end);
        stream.unkept -= unkept as u64;
        SegmentOutcome::InOrder {
            fresh: start..payload.len(),
        }
    }

    fn beyond_gap(
        &mut self,
        stream: &mut StreamState,
        sequence: u32,
        payload: &[u8],
    ) -> SegmentOutcome {
        if self.chunks.covers(&stream.held, sequence, payload.len()) {
            return SegmentOutcome::Repeated;
        }
        let needed = self.chunks.missing(&stream.held, sequence, payload.len());
        let reserve = self.chunks.count() / 4;
        let fits = needed == 0
            || stream.held.count() + needed <= self.out_of_order_chunks
                && self.chunks.free() >= reserve + needed
                && self.has_fair_share(stream);
        if !fits {
            return SegmentOutcome::Drop(Reason::StreamLimit);
        }
        self.chunks.write(&mut stream.held, sequence, payload);
        stream.highest = later(stream.highest, sequence.wrapping_add(payload.len() as u32));
        SegmentOutcome::Buffered
    }

    fn may_keep(&self, stream: &StreamState, needed: usize) -> bool {
        stream.held.count() + needed <= self.per_stream_chunks
            && self.chunks.free() >= needed
            && (stream.has_gap() || self.has_fair_share(stream))
    }

    fn has_fair_share(&self, stream: &StreamState) -> bool {
        stream.held.count() <= self.chunks.free() / 64
    }

    fn free_acknowledged(&mut self, stream: &mut StreamState) {
        let had = earlier(stream.acknowledged, stream.next);
        if !after(stream.highest, had) {
            // A connection that rests holds nothing, and the chunks that others write to are warm.
            return self.chunks.free_all(&mut stream.held);
        }
        while let Some(end) = self.chunks.first_end(&stream.held)
            && !after(earlier(end, stream.highest), had)
        {
            self.chunks.free_first(&mut stream.held);
        }
    }
}
