//! The bytes that a condition is asked of: all of a buffer, or what is kept of a stream.

/// What is known of the bytes behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There may come more.
    Open,
    /// More came, or comes, but is not looked at any more.
    Cut,
    /// There are none.
    Closed,
}

/// An answer about bytes of which some are yet to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It holds, whatever follows.
    Yes,
    /// It does not hold, whatever follows.
    No,
    /// That depends on what follows.
    More,
}

/// Bytes with their places in the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The first bytes of the buffer, where `body` begins behind them; else empty.
    pub head: &'a [u8],
    /// Bytes from `base` on.
    pub body: &'a [u8],
    /// Place of the first byte of `body`.
    pub base: u64,
    /// What follows `body`.
    pub end: End,
}

impl<'a> Text<'a> {
    /// A buffer that is here whole.
    pub const fn whole(bytes: &'a [u8]) -> Self {
        Self {
            head: &[],
            body: bytes,
            base: 0,
            end: End::Closed,
        }
    }

    /// Place behind the last byte.
    pub const fn total(&self) -> u64 {
        self.base + self.body.len() as u64
    }

    /// The bytes from `start` on to the end of the part that they are in.
    pub fn from(&self, start: u64) -> Option<&'a [u8]> {
        if let Some(within) = start.checked_sub(self.base) {
            return self.body.get(usize::try_from(within).ok()?..);
        }
        self.head.get(usize::try_from(start).ok()?..)
    }

    /// These bytes.
    pub fn get(&self, start: u64, length: usize) -> Option<&'a [u8]> {
        self.from(start)?.get(..length)
    }

    /// The parts, each with the place of its first byte.
    pub fn parts(&self) -> [(u64, &'a [u8]); 2] {
        [(0, self.head), (self.base, self.body)]
    }

    /// What an answer is that would need bytes behind the last one, and is `settled` without them.
    pub fn beyond(&self, settled: bool) -> Answer {
        match (self.end, settled) {
            (End::Open, _) => Answer::More,
            (_, true) => Answer::Yes,
            (_, false) => Answer::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_buffer() {
        let text = Text {
            head: b"abc",
            body: b"xyz",
            base: 10,
            end: End::Open,
        };
        assert_eq!(text.get(1, 2), Some(&b"bc"[..]));
        assert_eq!(text.get(2, 2), None);
        assert_eq!(text.get(11, 2), Some(&b"yz"[..]));
        assert_eq!(text.get(5, 1), None);
        assert_eq!(text.from(13), Some(&b""[..]));
        assert_eq!(text.total(), 13);
    }
}
