//! Header lines in which nothing was seen lately: a connection that is kept alive sends the same ones with each
//! request, and so do all clients of one make.
//!
//! A line is known by its bytes, all of them: a hash only finds the place. Trusts nothing; who varies his
//! lines has them judged. Memory: [`SETS`] times two lines of [`LINE_BYTES`], made once.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// Longer lines are judged each time.
const LINE_BYTES: usize = 127;
const SETS: usize = 1_024;

/// A line; no longer than none where there is none.
#[derive(Clone, Copy)]
struct Line {
    length: u8,
    bytes: [u8; LINE_BYTES],
}

/// Two lines, the newer first.
type Set = [Line; 2];

/// The lines.
pub(super) struct Clean {
    sets: Box<[Set]>,
    hash: FixedState,
}

impl Line {
    const NONE: Self = Self {
        length: 0,
        bytes: [0; LINE_BYTES],
    };

    fn is(&self, line: &[u8]) -> bool {
        self.bytes.get(..usize::from(self.length)) == Some(line)
    }
}

impl Clean {
    pub(super) fn new() -> Self {
        Self {
            sets: vec![[Line::NONE; 2]; SETS].into_boxed_slice(),
            hash: FixedState::default(),
        }
    }

    /// Whether nothing was seen in this line.
    pub(super) fn has(&self, line: &[u8]) -> bool {
        let is_short = (1..=LINE_BYTES).contains(&line.len());
        is_short
            && self.sets[self.place(line)]
                .iter()
                .any(|known| known.is(line))
    }

    /// Nothing is seen in this line.
    pub(super) fn keep(&mut self, line: &[u8]) {
        let Some(length) = u8::try_from(line.len())
            .ok()
            .filter(|_| line.len() <= LINE_BYTES)
        else {
            return;
        };
        let set = &mut self.sets[self.place(line)];
        set[1] = set[0];
        set[0].length = length;
        set[0].bytes[..line.len()].copy_from_slice(line);
    }

    fn place(&self, line: &[u8]) -> usize {
        let mut hasher = self.hash.build_hasher();
        hasher.write(line);
        hasher.finish() as usize % SETS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_kept_is_known() {
        let mut clean = Clean::new();
        let line = |number: usize| format!("Cookie: session={number}").into_bytes();
        for number in 0..10 {
            assert!(!clean.has(&line(number)));
            clean.keep(&line(number));
            assert!(clean.has(&line(number)));
            assert!(!clean.has(&line(number)[..12]));
        }
        for number in 10..100_000 {
            assert!(!clean.has(&line(number)), "{number}");
            clean.keep(&line(number));
        }
        for length in [0, LINE_BYTES, LINE_BYTES + 1, 300] {
            let long = vec![b'a'; length];
            clean.keep(&long);
            assert_eq!(clean.has(&long), length == LINE_BYTES, "{length}");
        }
    }
}
