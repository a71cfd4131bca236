//! What was found in the head of a message, read once: the buffers that are cut from it take from here what they would find
//! if each was read by itself. A scan of a few dozen bytes costs as much as one of hundreds.
//!
//! A buffer is a part of the head where it lies within it in memory and its bytes are what was read there; what was put
//! together lies elsewhere, and is read by itself. Memory: a copy of [`HEAD_BYTES`]; a longer head is not read.

use std::ops::Range;

use hyperscan::{BlockDatabase, Matching, Scratch};

use super::found::FoundLiterals;
use crate::library::{PADDED_BEHIND, pad};

/// The longest head.
const HEAD_BYTES: usize = 16 << 10;

/// The head that was read last.
pub(crate) struct Head {
    direction: usize,
    /// Where it lay in memory.
    address: usize,
    length: usize,
    copy: Vec<u8>,
    pub found: FoundLiterals,
}

impl Head {
    /// Reads up to so many different literals.
    pub fn new(literals: usize) -> Self {
        Self {
            direction: 0,
            address: 0,
            length: 0,
            copy: vec![0; HEAD_BYTES + PADDED_BEHIND],
            found: FoundLiterals::new(literals),
        }
    }

    /// Reads a head that goes this way.
    pub fn read(
        &mut self,
        direction: usize,
        bytes: &[u8],
        database: &BlockDatabase,
        scratch: &Scratch,
    ) {
        self.length = 0;
        if bytes.len() > HEAD_BYTES {
            return;
        }
        self.found.clear();
        (self.direction, self.address, self.length) =
            (direction, bytes.as_ptr().addr(), bytes.len());
        let (found, last) = (&mut self.found, bytes.len() as u64);
        let on_match = |literal: u32, _: u64, end: u64, _: u32| {
            if end <= last {
                found.note(literal, end as u32);
            }
            Matching::Continue
        };
        // The only errors are of misuse.
        let _ = database.scan(pad(&mut self.copy, bytes), scratch, on_match);
    }

    /// Where these bytes are in it.
    pub fn part(&self, direction: usize, bytes: &[u8]) -> Option<Range<usize>> {
        let from = bytes.as_ptr().addr().wrapping_sub(self.address);
        if self.direction != direction
            || from > self.length
            || bytes.len() > self.length - from
            || !self.found.is_whole()
        {
            return None;
        }
        let part = from..from + bytes.len();
        // Other bytes may lie there by now.
        (self.copy[part.clone()] == *bytes).then_some(part)
    }
}
