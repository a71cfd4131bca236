//! What was found in the bytes at hand, read once as they go by on the wire: streams, segments and bodies are made of
//! the same bytes, and take from here what they would find if each was read by itself.
//!
//! A buffer is the wire's own bytes where it lies within them in memory; what was decoded or put together lies elsewhere
//! and is read by itself. [`Ahead::forget`] says that the memory is about to be another packet's. Memory: see
//! [`FoundLiterals`].

use hyperscan::{Matching, Scratch, Stream};

use super::found::FoundLiterals;
use crate::compile::Wire;

/// No connection.
const NOBODY: u32 = u32::MAX;

/// The bytes at hand, and what was found in them.
pub(crate) struct Ahead {
    flow: u32,
    direction: usize,
    /// Where they lie in memory.
    address: usize,
    length: usize,
    /// How much of the stream was read before them.
    before: u64,
    found: FoundLiterals,
}

/// A part of the bytes at hand.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    from: usize,
    to: usize,
    /// Where it begins in the stream.
    pub position: u64,
}

impl Part {
    /// Where it ends in the stream.
    pub fn end(&self) -> u64 {
        self.position + (self.to - self.from) as u64
    }
}

impl Ahead {
    /// Reads up to so many different literals.
    pub fn new(literals: usize) -> Self {
        Self {
            flow: NOBODY,
            direction: 0,
            address: 0,
            length: 0,
            before: 0,
            found: FoundLiterals::new(literals),
        }
    }

    /// Nothing is known of any bytes.
    pub fn forget(&mut self) {
        self.flow = NOBODY;
    }

    /// Reads the next bytes of a stream, of which so many were read before.
    pub fn read(
        &mut self,
        (flow, direction): (u32, usize),
        before: u64,
        bytes: &[u8],
        stream: &Stream,
        scratch: &Scratch,
    ) {
        (self.flow, self.direction, self.before) = (flow, direction, before);
        (self.address, self.length) = (bytes.as_ptr().addr(), bytes.len());
        self.found.clear();
        let found = &mut self.found;
        let on_match = |literal: u32, _: u64, end: u64, _: u32| {
            found.note(literal, end.wrapping_sub(before) as u32);
            Matching::Continue
        };
        // The only errors are of misuse.
        let _ = stream.scan(bytes, scratch, on_match);
    }

    /// Where these bytes of a connection are among those at hand.
    pub fn part(&self, (flow, direction): (u32, usize), bytes: &[u8]) -> Option<Part> {
        let from = bytes.as_ptr().addr().wrapping_sub(self.address);
        let is_here = (self.flow, self.direction) == (flow, direction)
            && from <= self.length
            && bytes.len() <= self.length - from;
        is_here.then(|| Part {
            from,
            to: from + bytes.len(),
            position: self.before + from as u64,
        })
    }

    /// Whether all that was found has its place.
    pub fn is_whole(&self) -> bool {
        self.found.is_whole()
    }

    /// Tells a group's literals that end in a part, and begin no earlier than so many bytes before it.
    pub fn each(&self, wire: &Wire, group: u16, part: Part, run: u64, tell: &mut impl FnMut(u32)) {
        let literals = &wire.literals;
        self.found
            .each(literals, group, part.from..part.to, run, tell);
    }
}
