//! A message that comes in pieces, in any order: which bytes of it are there.

use arrayvec::ArrayVec;

/// Runs of bytes with holes between them; more are not followed.
const RUNS_MAX: usize = 8;

/// The runs of a message whose bytes lie in memory that somebody else keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    /// Begin and end of each run, in order, apart from each other.
    runs: ArrayVec<(u16, u16), RUNS_MAX>,
}

impl Pieces {
    /// Puts a piece where it belongs; bytes that are there already stay as they are. False: it does
    /// not fit.
    pub(crate) fn insert(&mut self, memory: &mut [u8], offset: usize, piece: &[u8]) -> bool {
        let end = offset.saturating_add(piece.len());
        let (Some(target), Ok(from), Ok(until)) = (
            memory.get_mut(offset..end),
            u16::try_from(offset),
            u16::try_from(end),
        ) else {
            return false;
        };
        if piece.is_empty() {
            return true;
        }
        let mut joined = (from, until);
        let mut kept = ArrayVec::<(u16, u16), RUNS_MAX>::new();
        let mut placed = false;
        for &run in &self.runs {
            if run.1 < joined.0 || run.0 > joined.1 {
                if run.0 > joined.1 && !placed {
                    placed = true;
                    if kept.try_push(joined).is_err() {
                        return false;
                    }
                }
                if kept.try_push(run).is_err() {
                    return false;
                }
            } else {
                joined = (joined.0.min(run.0), joined.1.max(run.1));
            }
        }
        if !placed && kept.try_push(joined).is_err() {
            return false;
        }
        for (place, (to, &byte)) in target.iter_mut().zip(piece).enumerate() {
            let at = from.saturating_add(u16::try_from(place).unwrap_or(u16::MAX));
            if !self.runs.iter().any(|run| (run.0..run.1).contains(&at)) {
                *to = byte;
            }
        }
        self.runs = kept;
        true
    }

    /// How many bytes are there from the beginning on.
    pub(crate) fn front(&self) -> usize {
        match self.runs.first() {
            Some(&(0, end)) => end.into(),
            _ => 0,
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holes_are_filled_and_the_first_bytes_stay() {
        let mut memory = [0; 10];
        let mut pieces = Pieces::default();
        assert!(pieces.insert(&mut memory, 6, b"ghij"));
        assert!(pieces.insert(&mut memory, 2, b"cd"));
        assert_eq!(pieces.front(), 0);
        assert!(pieces.insert(&mut memory, 0, b"abXX"));
        assert_eq!(pieces.front(), 4);
        assert!(pieces.insert(&mut memory, 3, b"YefY"));
        assert_eq!((pieces.front(), &memory), (10, b"abcdefghij"));
        assert!(!pieces.insert(&mut memory, 9, b"jk"));
        assert!(!pieces.insert(&mut memory, usize::MAX, b"j"));
    }

    #[test]
    fn too_many_holes_are_refused() {
        let mut memory = [0; 100];
        let mut pieces = Pieces::default();
        for place in 0..RUNS_MAX {
            assert!(pieces.insert(&mut memory, place * 3, b"x"));
        }
        assert!(!pieces.insert(&mut memory, 90, b"x"));
        assert!(pieces.insert(&mut memory, 1, b"yz"));
        assert_eq!(pieces.front(), 4);
    }

    proptest! {
        #[test]
        fn runs_are_those_of_a_map(list in prop::collection::vec((0..60_usize, 1..9_usize), 1..20)) {
            let mut memory = [0; 64];
            let mut map = [false; 64];
            let mut pieces = Pieces::default();
            for (offset, length) in list {
                let piece = [1; 8];
                if pieces.insert(&mut memory, offset, &piece[..length.min(8)]) {
                    map.iter_mut().skip(offset).take(length.min(8)).for_each(|there| *there = true);
                }
            }
            let front = map.iter().position(|there| !there).unwrap_or(64);
            prop_assert_eq!(pieces.front(), front);
            for (there, byte) in map.iter().zip(memory) {
                prop_assert_eq!(u8::from(*there), byte);
            }
        }
    }
}
