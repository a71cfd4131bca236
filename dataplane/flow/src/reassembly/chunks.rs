//! Bytes by sequence number: each stream's list of chunks, and which bytes of them are there.
//!
//! Sequence space is cut into blocks of a chunk's size; a stream has at most one chunk for a block, so
//! that its memory follows from the range it covers and not from the number of segments. Lists are in the
//! order of sequence. Appending, and filling at the cursor, find their place at once; anything else
//! walks the list, which the stream's limit bounds.

use crate::pool::{CHUNK_BYTES, ChunkPool, NONE};

const BLOCK_SHIFT: u32 = CHUNK_BYTES.trailing_zeros();
const WORDS: usize = CHUNK_BYTES / 64;

/// A bit for each byte of a chunk.
type Present = [u64; WORDS];

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    block: u32,
}

/// One stream's chunks, in the order of sequence.
#[derive(Debug)]
pub(super) struct ChunkList {
    first: u32,
    last: u32,
    /// A chunk near which the next bytes in order go.
    cursor: u32,
    count: u32,
}

impl Default for ChunkList {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            cursor: NONE,
            count: 0,
        }
    }
}

impl ChunkList {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> usize {
        self.count as usize
    }
}

/// The part of a range that lies within one block.
struct Piece {
    block: u32,
    /// Within the block.
    start: usize,
    end: usize,
    /// Where it begins within the range.
    offset: usize,
}

fn pieces(sequence: u32, length: usize) -> impl Iterator<Item = Piece> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset == length {
            return None;
        }
        let at = sequence.wrapping_add(offset as u32);
        let start = at as usize % CHUNK_BYTES;
        let taken = (CHUNK_BYTES - start).min(length - offset);
        let piece = Piece {
            block: at >> BLOCK_SHIFT,
            start,
            end: start + taken,
            offset,
        };
        offset += taken;
        Some(piece)
    })
}

/// True when block `a` comes before block `b` in sequence space.
fn before(a: u32, b: u32) -> bool {
    ((a.wrapping_sub(b) << BLOCK_SHIFT) as i32) < 0
}

/// How many bits from `from` on are all set, or all clear.
fn run(present: &Present, from: usize, set: bool) -> usize {
    let mut at = from;
    while at < CHUNK_BYTES {
        let word = if set {
            !present[at / 64]
        } else {
            present[at / 64]
        };
        let room = 64 - at % 64;
        let same = ((word >> (at % 64)).trailing_zeros() as usize).min(room);
        at += same;
        if same < room {
            break;
        }
    }
    at - from
}

/// Whole words between the two ends are filled at once: 2 % of the instructions of HTTP.
fn set(present: &mut Present, start: usize, end: usize) {
    if start >= end {
        return;
    }
    let (first, last) = (start / 64, (end - 1) / 64);
    let from = u64::MAX << (start % 64);
    let to = u64::MAX >> (63 - (end - 1) % 64);
    if first == last {
        present[first] |= from & to;
        return;
    }
    present[first] |= from;
    present[first + 1..last].fill(u64::MAX);
    present[last] |= to;
}

/// All chunks of a worker.
pub(super) struct Chunks {
    pool: ChunkPool,
    links: Vec<Link>,
    present: Vec<Present>,
}

impl Chunks {
    pub fn new(bytes: usize) -> Self {
        let pool = ChunkPool::new(bytes);
        let links = vec![
            Link {
                next: NONE,
                block: 0
            };
            pool.count()
        ];
        let present = vec![[0; WORDS]; pool.count()];
        Self {
            pool,
            links,
            present,
        }
    }

    pub fn count(&self) -> usize {
        self.pool.count()
    }

    pub fn free(&self) -> usize {
        self.pool.free()
    }

    pub fn used_bytes(&self) -> usize {
        self.pool.used_bytes()
    }

    /// True when the bytes equal those that are there; what is not there is not compared.
    pub fn equal(&self, list: &ChunkList, sequence: u32, bytes: &[u8]) -> bool {
        pieces(sequence, bytes.len()).all(|piece| {
            let Ok(chunk) = self.seek(list, piece.block) else {
                return true;
            };
            let (present, held) = (&self.present[chunk as usize], self.pool.bytes(chunk));
            let mut at = piece.start + run(present, piece.start, false);
            while at < piece.end {
                let end = (at + run(present, at, true)).min(piece.end);
                let offset = piece.offset + at - piece.start;
                if held[at..end] != bytes[offset..offset + end - at] {
                    return false;
                }
                at = end + run(present, end, false);
            }
            true
        })
    }

    /// True when every byte of the range is there.
    pub fn covers(&self, list: &ChunkList, sequence: u32, length: usize) -> bool {
        pieces(sequence, length).all(|piece| {
            self.seek(list, piece.block).is_ok_and(|chunk| {
                run(&self.present[chunk as usize], piece.start, true) >= piece.end - piece.start
            })
        })
    }

    /// How many chunks [`Self::write`] would take from the pool.
    pub fn missing(&self, list: &ChunkList, sequence: u32, length: usize) -> usize {
        pieces(sequence, length)
            .filter(|piece| self.seek(list, piece.block).is_err())
            .count()
    }

    /// Keeps the bytes, in place of those that are there. The caller has seen to it that there are chunks enough.
    pub fn write(&mut self, list: &mut ChunkList, sequence: u32, bytes: &[u8]) {
        for piece in pieces(sequence, bytes.len()) {
            let chunk = match self.seek(list, piece.block) {
                Ok(chunk) => chunk,
                Err(previous) => match self.insert(list, previous, piece.block) {
                    Some(chunk) => chunk,
                    None => return,
                },
            };
            let length = piece.end - piece.start;
            self.pool.bytes_mut(chunk)[piece.start..piece.end]
                .copy_from_slice(&bytes[piece.offset..piece.offset + length]);
            set(&mut self.present[chunk as usize], piece.start, piece.end);
        }
    }

    /// The bytes from `sequence` on that are there without a break, up to the end of their chunk.
    /// They stay valid until the next call that writes.
    pub fn run_at(
        &self,
        list: &mut ChunkList,
        sequence: u32,
    ) -> Option<(u32, std::ops::Range<usize>)> {
        let chunk = self.seek(list, sequence >> BLOCK_SHIFT).ok()?;
        let start = sequence as usize % CHUNK_BYTES;
        let length = run(&self.present[chunk as usize], start, true);
        list.cursor = chunk;
        (length > 0).then_some((chunk, start..start + length))
    }

    pub fn bytes(&self, chunk: u32) -> &[u8] {
        self.pool.bytes(chunk)
    }

    /// The first byte at or behind `sequence` that is there.
    pub fn first_from(&self, list: &ChunkList, sequence: u32) -> Option<u32> {
        let block = sequence >> BLOCK_SHIFT;
        let mut start = sequence as usize % CHUNK_BYTES;
        let mut chunk = match self.seek(list, block) {
            Ok(chunk) => chunk,
            Err(NONE) => list.first,
            Err(previous) => self.links[previous as usize].next,
        };
        while chunk != NONE {
            let Link { next, block: held } = self.links[chunk as usize];
            if held != block {
                start = 0;
            }
            let at = start + run(&self.present[chunk as usize], start, false);
            if at < CHUNK_BYTES {
                return Some((held << BLOCK_SHIFT) | at as u32);
            }
            chunk = next;
        }
        None
    }

    /// The sequence number behind the first chunk.
    pub fn first_end(&self, list: &ChunkList) -> Option<u32> {
        let link = self.links.get(list.first as usize)?;
        Some(link.block.wrapping_add(1) << BLOCK_SHIFT)
    }

    pub fn free_first(&mut self, list: &mut ChunkList) {
        let chunk = list.first;
        if chunk == NONE {
            return;
        }
        list.first = self.links[chunk as usize].next;
        if list.first == NONE {
            list.last = NONE;
        }
        if list.cursor == chunk {
            list.cursor = NONE;
        }
        list.count -= 1;
        self.pool.give_back(chunk);
    }

    pub fn free_all(&mut self, list: &mut ChunkList) {
        while list.first != NONE {
            self.free_first(list);
        }
    }

    /// The block's chunk, or the one behind which it would be inserted (NONE: as the first).
    fn seek(&self, list: &ChunkList, block: u32) -> Result<u32, u32> {
        let Some(last) = self.links.get(list.last as usize) else {
            return Err(NONE);
        };
        if last.block == block {
            return Ok(list.last);
        }
        if before(last.block, block) {
            return Err(list.last);
        }
        let (mut previous, mut chunk) = (NONE, list.first);
        if let Some(near) = self.links.get(list.cursor as usize)
            && !before(block, near.block)
        {
            (previous, chunk) = (NONE, list.cursor);
        }
        while let Some(link) = self.links.get(chunk as usize) {
            if link.block == block {
                return Ok(chunk);
            }
            if before(block, link.block) {
                break;
            }
            (previous, chunk) = (chunk, link.next);
        }
        Err(previous)
    }

    fn insert(&mut self, list: &mut ChunkList, previous: u32, block: u32) -> Option<u32> {
        let chunk = self.pool.take()?;
        self.present[chunk as usize] = [0; WORDS];
        let next = if previous == NONE {
            std::mem::replace(&mut list.first, chunk)
        } else {
            std::mem::replace(&mut self.links[previous as usize].next, chunk)
        };
        self.links[chunk as usize] = Link { next, block };
        if next == NONE {
            list.last = chunk;
        }
        list.count += 1;
        Some(chunk)
    }
}
