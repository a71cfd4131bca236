//! Which literals were found in bytes that are read once for several groups, and where they end.
//!
//! Memory: [`FOUND_MAX`] places; of bytes in which more is found only which literals there are.

use crate::compile::Literal;

/// Ends of literals that are kept.
const FOUND_MAX: usize = 2_048;

/// What was found.
pub(crate) struct FoundLiterals {
    found: Vec<Found>,
    /// Literals that were found when there was no place left.
    lost: Vec<u32>,
    is_lost: Vec<bool>,
}

/// A literal that ends in the bytes.
#[derive(Clone, Copy)]
struct Found {
    literal: u32,
    /// Behind its last byte, counted from the first of the bytes.
    end: u32,
}

impl FoundLiterals {
    /// Of up to so many different literals.
    pub fn new(literals: usize) -> Self {
        Self {
            found: Vec::with_capacity(FOUND_MAX),
            lost: Vec::with_capacity(literals),
            is_lost: vec![false; literals],
        }
    }

    /// Other bytes are read.
    pub fn clear(&mut self) {
        self.found.clear();
        for literal in self.lost.drain(..) {
            self.is_lost[literal as usize] = false;
        }
    }

    /// A literal ends here.
    pub fn note(&mut self, literal: u32, end: u32) {
        // Some literals in a database nobody asks for.
        let Some(is_lost) = self.is_lost.get_mut(literal as usize) else {
            return;
        };
        if self.found.len() < FOUND_MAX {
            self.found.push(Found { literal, end });
        } else if !std::mem::replace(is_lost, true) {
            self.lost.push(literal);
        }
    }

    /// Whether all that was found has its place.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty()
    }

    /// Tells a group's literals that end in a part of the bytes, and begin no earlier than so many bytes before it.
    pub fn each(
        &self,
        literals: &[Literal],
        group: u16,
        part: std::ops::Range<usize>,
        run: u64,
        tell: &mut impl FnMut(u32),
    ) {
        let mut tell = |literal: u32| {
            let asked = literals[literal as usize].asked.iter();
            for &(_, literal) in asked.filter(|(other, _)| *other == group) {
                tell(literal);
            }
        };
        for found in &self.found {
            let end = found.end as usize;
            if part.start < end && end <= part.end {
                let length = u64::from(literals[found.literal as usize].length);
                if (end - part.start) as u64 + run >= length {
                    tell(found.literal);
                }
            }
        }
        self.lost.iter().copied().for_each(tell);
    }
}
