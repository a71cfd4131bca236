//! What is kept of streams: where each stands in Hyperscan, its last bytes, and which conditions may
//! still come to hold.
//!
//! A stream is cut into spans of [`SPAN`] bytes by its places, not by its pieces, so that answers do not
//! depend on how it was cut on its way. A condition whose literal was found in a span is asked in that
//! span and in the next one, over the bytes from two spans before: whatever lies within a span of its
//! literal is seen, and as much before it as two. The first span is kept for what counts from the start.
//!
//! Memory: [`Lanes::new`] reserves all; a lane takes 4 KiB and two bits for each condition.

use hyperscan::{HsError, Matching, Scratch, Stream};

use super::ahead::Part;
use super::text::{End, Text};
use crate::compile::{Field, RuleSet, START};
use crate::library;

/// Bytes of a span.
pub(crate) const SPAN: usize = START as usize;
/// Bytes kept: three spans.
const WINDOW: usize = 3 * SPAN;
/// Conditions of which is known up to where they were fulfilled.
const FULFILLED: usize = 8;
/// No lane, no stream.
pub(crate) const NONE: u32 = u32::MAX;

/// One stream.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    /// The next lane of the same connection.
    pub next: u32,
    pub key: LaneKey,
    /// The group that asks.
    pub group: u16,
    /// Of a direction's bytes, the stream that reads them, and how many it read.
    pub stream: u32,
    pub read: u64,
    /// Bytes read from the wire one behind the other until now, and where they end there.
    run: u64,
    run_end: u64,
    /// Bytes that passed.
    pub position: u64,
    /// Place of the first byte in the window.
    base: u64,
    /// Bytes in the window.
    kept: u16,
    /// The first span is in the head.
    has_head: bool,
    /// Where conditions were fulfilled last: what was before does not count again.
    fulfilled: [(u32, u64); FULFILLED],
    fulfilled_next: u8,
}

/// Which of a connection's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneKey {
    /// Number of the field.
    pub field: u16,
    pub direction: u8,
    /// Stream of HTTP/2.
    pub message: u32,
}

/// All lanes of a scanner.
pub(crate) struct Lanes {
    pub lanes: Vec<Lane>,
    free: Vec<u32>,
    windows: Vec<u8>,
    heads: Vec<u8>,
    /// Bits of conditions: of the span before, and of this one.
    bits: Vec<u64>,
    /// Words of either.
    words: usize,
    /// By direction.
    pools: [Pool; 2],
    /// For closing streams at the end.
    closing: Option<Scratch>,
}

/// The streams of one direction's database.
#[derive(Default)]
struct Pool {
    streams: Vec<Stream>,
    free: Vec<u32>,
}

impl Lanes {
    /// So many lanes, of so many connections.
    pub fn new(set: &RuleSet, lanes: usize, flows: usize) -> hyperscan::Result<Self> {
        let streamed = set
            .groups
            .iter()
            .filter(|group| group.asked.field.is_streamed());
        let words = streamed
            .map(|group| group.asked.members.len().div_ceil(64))
            .max();
        let words = words.unwrap_or(0);
        let mut pools = [Pool::default(), Pool::default()];
        let mut closing = None;
        for (pool, wire) in pools.iter_mut().zip(&set.joints.wires) {
            if let Some(database) = &wire.database {
                for _ in 0..flows {
                    pool.streams.push(database.open_stream()?);
                }
                if closing.is_none() {
                    closing = Some(database.alloc_scratch()?);
                }
                pool.free = (0..pool.streams.len() as u32).rev().collect();
            }
        }
        let empty = Lane {
            next: NONE,
            key: LaneKey {
                field: 0,
                direction: 0,
                message: 0,
            },
            group: 0,
            stream: NONE,
            read: 0,
            run: 0,
            run_end: 0,
            position: 0,
            base: 0,
            kept: 0,
            has_head: false,
            fulfilled: [(NONE, 0); FULFILLED],
            fulfilled_next: 0,
        };
        Ok(Self {
            lanes: vec![empty; lanes],
            free: (0..lanes as u32).rev().collect(),
            windows: vec![0; lanes * WINDOW],
            heads: vec![0; lanes * SPAN],
            bits: vec![0; lanes * 2 * words],
            words,
            pools,
            closing,
        })
    }

    /// A lane at `position` of its stream; None where all are in use.
    pub fn open(&mut self, key: LaneKey, group: u16, set: &RuleSet, position: u64) -> Option<u32> {
        let asked = &set.groups[usize::from(group)].asked;
        let always = &asked.always;
        let pool = &mut self.pools[usize::from(key.direction)];
        let reads = asked.field == Field::Stream && !pool.streams.is_empty();
        let stream = match reads {
            true => pool.free.pop()?,
            false => NONE,
        };
        let Some(index) = self.free.pop() else {
            if stream != NONE {
                pool.free.push(stream);
            }
            return None;
        };
        let lane = &mut self.lanes[index as usize];
        *lane = Lane {
            next: NONE,
            key,
            group,
            stream,
            read: 0,
            run: 0,
            run_end: 0,
            position,
            base: position,
            kept: 0,
            has_head: false,
            fulfilled: [(NONE, 0); FULFILLED],
            fulfilled_next: 0,
        };
        let (bits, words) = (self.bits_of(index), self.words);
        let bits = &mut self.bits[bits];
        bits.fill(0);
        // What asks for nothing that must be there is asked of an empty stream as well.
        for &member in always {
            bits[words + member as usize / 64] |= 1 << (member % 64);
        }
        Some(index)
    }

    /// Gives a lane back.
    pub fn close(&mut self, index: u32, scratch: &Scratch) {
        let lane = self.lanes[index as usize];
        if lane.stream != NONE {
            let pool = &mut self.pools[usize::from(lane.key.direction)];
            // A stream that cannot be reset is not given out again; that would be misuse.
            let silent = |_: u32, _: u64, _: u64, _: u32| Matching::Terminate;
            let reset = pool.streams[lane.stream as usize].reset(scratch, silent);
            if reset.is_ok() || reset == Err(HsError::ScanTerminated.into()) {
                pool.free.push(lane.stream);
            }
        }
        self.free.push(index);
    }

    fn bits_of(&self, index: u32) -> std::ops::Range<usize> {
        let first = index as usize * 2 * self.words;
        first..first + 2 * self.words
    }

    /// The stream that reads a direction's bytes.
    pub fn stream(&self, index: u32) -> Option<&Stream> {
        let lane = &self.lanes[index as usize];
        let pool = &self.pools[usize::from(lane.key.direction)];
        pool.streams.get(lane.stream as usize)
    }

    /// How many bytes before a part of the wire belong to the lane as well, without a gap. None: what was there before
    /// stood elsewhere.
    pub fn run(&self, index: u32, part: &Part) -> Option<u64> {
        let lane = &self.lanes[index as usize];
        match lane.run > 0 && lane.run_end == part.position {
            true => Some(lane.run),
            false if lane.kept == 0 => Some(0),
            false => None,
        }
    }

    /// The last bytes there are, at most so many.
    pub fn last(&self, index: u32, bytes: usize) -> &[u8] {
        let kept = usize::from(self.lanes[index as usize].kept);
        &self.windows[index as usize * WINDOW..][kept.saturating_sub(bytes)..kept]
    }

    /// A condition's literal was found: it may come to hold.
    pub fn mark(&mut self, index: u32, members: &[u32]) {
        let range = self.bits_of(index);
        let now = &mut self.bits[range][self.words..];
        for &member in members {
            now[member as usize / 64] |= 1 << (member % 64);
        }
    }

    /// Takes a piece that lies within one span; where it is a part of the wire that is known.
    pub fn take(&mut self, index: u32, piece: &[u8], part: Option<Part>) {
        let lane = &mut self.lanes[index as usize];
        match part {
            Some(part) if lane.run > 0 && lane.run_end == part.position => {
                lane.run += piece.len() as u64;
            }
            Some(_) => lane.run = piece.len() as u64,
            None => lane.run = 0,
        }
        lane.run_end = part.map_or(0, |part| part.end());
        let start = index as usize * WINDOW + usize::from(lane.kept);
        self.windows[start..start + piece.len()].copy_from_slice(piece);
        lane.kept += piece.len() as u16;
        lane.position += piece.len() as u64;
    }

    /// Whether a span ends at the lane's place.
    pub fn ends_span(&self, index: u32) -> bool {
        self.lanes[index as usize]
            .position
            .is_multiple_of(SPAN as u64)
    }

    /// Bytes until the span ends.
    pub fn room(&self, index: u32) -> usize {
        SPAN - (self.lanes[index as usize].position % SPAN as u64) as usize
    }

    /// Goes on to the next span: the oldest bytes and conditions are forgotten.
    pub fn next_span(&mut self, index: u32) {
        let range = self.bits_of(index);
        let words = self.words;
        let (before, now) = self.bits[range].split_at_mut(words);
        before.copy_from_slice(now);
        now.fill(0);
        let lane = &mut self.lanes[index as usize];
        let oldest = lane.position.saturating_sub(2 * SPAN as u64);
        let forgotten = oldest.saturating_sub(lane.base) as usize;
        if forgotten == 0 {
            return;
        }
        let window = &mut self.windows[index as usize * WINDOW..][..WINDOW];
        if lane.base == 0 {
            let head = &mut self.heads[index as usize * SPAN..][..SPAN];
            head.copy_from_slice(&window[..SPAN]);
            lane.has_head = true;
        }
        window.copy_within(forgotten..usize::from(lane.kept), 0);
        lane.kept -= forgotten as u16;
        lane.base = oldest;
    }

    /// The next condition from `from` on that may come to hold: of the last span alone, or of both.
    pub fn next_candidate(&self, index: u32, from: u32, before_only: bool) -> Option<u32> {
        let range = self.bits_of(index);
        let (before, now) = self.bits[range].split_at(self.words);
        let mut word = from as usize / 64;
        let mut mask = u64::MAX << (from % 64);
        while word < self.words {
            let bits = before[word] | if before_only { 0 } else { now[word] };
            if bits & mask != 0 {
                return Some(word as u32 * 64 + (bits & mask).trailing_zeros());
            }
            word += 1;
            mask = u64::MAX;
        }
        None
    }

    /// A condition came to hold, or will not.
    pub fn clear_candidate(&mut self, index: u32, member: u32) {
        let range = self.bits_of(index);
        let words = self.words;
        let (before, now) = self.bits[range].split_at_mut(words);
        for half in [before, now] {
            half[member as usize / 64] &= !(1 << (member % 64));
        }
    }

    /// A condition was fulfilled by what passed until now.
    pub fn fulfil(&mut self, index: u32, condition: u32) {
        let lane = &mut self.lanes[index as usize];
        let known = lane
            .fulfilled
            .iter()
            .position(|(known, _)| *known == condition);
        let place = known.unwrap_or_else(|| {
            let place = usize::from(lane.fulfilled_next) % FULFILLED;
            lane.fulfilled_next = lane.fulfilled_next.wrapping_add(1);
            place
        });
        lane.fulfilled[place] = (condition, lane.position);
    }

    /// The bytes that a condition is asked of.
    pub fn text(&self, index: u32, condition: u32, end: End) -> Text<'_> {
        let lane = &self.lanes[index as usize];
        let window = &self.windows[index as usize * WINDOW..][..usize::from(lane.kept)];
        let fulfilled = lane.fulfilled.iter().find(|(known, _)| *known == condition);
        if let Some(&(_, at)) = fulfilled {
            let skipped = (at.saturating_sub(lane.base) as usize).min(window.len());
            return Text {
                head: &[],
                body: &window[skipped..],
                base: lane.base + skipped as u64,
                end,
            };
        }
        let head: &[u8] = match lane.has_head {
            true => &self.heads[index as usize * SPAN..][..SPAN],
            false => &[],
        };
        Text {
            head,
            body: window,
            base: lane.base,
            end,
        }
    }

    /// Whether a condition may come to hold by what passed already.
    pub fn has_candidates(&self, index: u32) -> bool {
        let bits = &self.bits[self.bits_of(index)];
        bits.iter().any(|&word| word != 0)
    }

    /// The first bytes of the stream, up to a span; None where they are not known.
    pub fn first_bytes(&self, index: u32) -> Option<&[u8]> {
        let lane = &self.lanes[index as usize];
        if lane.base == 0 {
            let kept = usize::from(lane.kept).min(SPAN);
            return Some(&self.windows[index as usize * WINDOW..][..kept]);
        }
        lane.has_head
            .then(|| &self.heads[index as usize * SPAN..][..SPAN])
    }

    /// Memory of all of it but the library's streams.
    pub fn memory_bytes(&self) -> usize {
        self.windows.len() + self.heads.len() + self.bits.len() * 8 + size_of_val(&self.lanes[..])
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        let Some(scratch) = &self.closing else { return };
        let pools = self.pools.iter_mut();
        library::close(pools.flat_map(|pool| pool.streams.drain(..)), scratch);
    }
}
