//! Time and rates within 64 bits, so that an atomic holds them. Milliseconds wrap after 49 days, which
//! differences do not mind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Milliseconds, wrapping.
pub fn to_ms(now_us: u64) -> u32 {
    (now_us / 1000) as u32
}

/// How long ago that was; zero where it lies ahead, since workers' clocks differ a little.
#[inline]
pub fn age_ms(now_ms: u32, then_ms: u32) -> u32 {
    let age = now_ms.wrapping_sub(then_ms);
    if age > 1 << 31 { 0 } else { age }
}

/// Puts two halves into a word.
pub fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The halves of a word.
pub fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// A count by windows of time: number of the window (16 bits), count in it and in the one before (24 each).
pub struct Rate;

/// What a rate's word says at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// In this window so far.
    pub current: u32,
    /// In the window before.
    pub previous: u32,
    /// How far into this window, in 1/256.
    into: u32,
}

const COUNT_MAX: u32 = (1 << 24) - 1;
/// Tries against other workers; a count that is lost then is one of many.
const TRIES: usize = 4;

impl Rate {
    /// Adds to the count. Where another worker adds at the same moment one of both may be lost, of many; a locked
    /// instruction would wait for every cache miss before it.
    #[inline]
    pub fn add(word: &AtomicU64, count: u32, now_ms: u32, window_ms: u32) -> Level {
        let (fresh, level) = Self::plus(word.load(Relaxed), count, now_ms, window_ms);
        word.store(fresh, Relaxed);
        level
    }

    /// The same where the count is compared with another, so that what is lost of one would tell.
    #[inline]
    pub fn add_exactly(word: &AtomicU64, count: u32, now_ms: u32, window_ms: u32) -> Level {
        let mut known = word.load(Relaxed);
        let mut level = Level::default();
        for _ in 0..TRIES {
            let fresh;
            (fresh, level) = Self::plus(known, count, now_ms, window_ms);
            match word.compare_exchange_weak(known, fresh, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(other) => known = other,
            }
        }
        level
    }

    /// The word with more in it, and what it says then.
    fn plus(word: u64, count: u32, now_ms: u32, window_ms: u32) -> (u64, Level) {
        let (number, mut level) = Self::advance(word, now_ms, window_ms);
        level.current = (level.current + count.min(COUNT_MAX)).min(COUNT_MAX);
        let counts = u64::from(level.current) << 24 | u64::from(level.previous);
        (u64::from(number) << 48 | counts, level)
    }

    /// The count as it is.
    pub fn level(word: &AtomicU64, now_ms: u32, window_ms: u32) -> Level {
        Self::advance(word.load(Relaxed), now_ms, window_ms).1
    }

    fn advance(word: u64, now_ms: u32, window_ms: u32) -> (u16, Level) {
        let window_ms = window_ms.max(1);
        let into = ((u64::from(now_ms % window_ms) << 8) / u64::from(window_ms)) as u32;
        let now = (now_ms / window_ms) as u16;
        let known = (word >> 48) as u16;
        let (current, previous) = ((word >> 24) as u32 & COUNT_MAX, word as u32 & COUNT_MAX);
        let level = |current, previous| Level {
            current,
            previous,
            into,
        };
        match now.wrapping_sub(known) {
            0 => (now, level(current, previous)),
            1 => (now, level(0, current)),
            // A worker whose clock is behind.
            ahead if ahead > u16::MAX - 8 => (known, level(current, previous)),
            _ => (now, level(0, 0)),
        }
    }
}

impl Level {
    /// The count of one window's length up to now: the window before counts by what of it is left.
    pub fn sliding(self) -> u32 {
        self.current + ((u64::from(self.previous) * u64::from(256 - self.into)) >> 8) as u32
    }

    /// Whether at least half of this window is over.
    pub fn is_late(self) -> bool {
        self.into >= 128
    }
}

/// Whether something lasts: it begins at one rate and ends after it was below another for a time. A word
/// holds when it last went on (high half) and whether it does (lowest bit).
pub struct Lasting;

impl Lasting {
    /// Goes on (or begins, where `begins`), and says whether it lasts now.
    pub fn judge(word: &AtomicU64, begins: bool, goes_on: bool, now_ms: u32, hold_ms: u32) -> bool {
        let (last_ms, on) = halves(word.load(Relaxed));
        let was_on = on != 0 && age_ms(now_ms, last_ms) <= hold_ms;
        let is_on = was_on || begins;
        if begins || was_on && goes_on && last_ms != now_ms {
            word.store(pack(now_ms, 1), Relaxed);
        } else if on != 0 && !is_on {
            word.store(0, Relaxed);
        }
        is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_slides() {
        let word = AtomicU64::new(0);
        for ms in 0..1000 {
            Rate::add(&word, 1, ms, 1000);
        }
        assert_eq!(Rate::level(&word, 1000, 1000).sliding(), 1000);
        assert_eq!(Rate::level(&word, 1500, 1000).sliding(), 500);
        assert_eq!(Rate::level(&word, 2000, 1000).sliding(), 0);
        assert_eq!(Rate::add(&word, 3, 9000, 1000).sliding(), 3);
    }

    #[test]
    fn an_exact_count_says_the_same() {
        let (word, exact) = (AtomicU64::new(0), AtomicU64::new(0));
        for ms in (0..5000).step_by(7) {
            let level = Rate::add(&word, 3, ms, 1000);
            assert_eq!(Rate::add_exactly(&exact, 3, ms, 1000), level);
        }
        assert_eq!(word.into_inner(), exact.into_inner());
    }

    #[test]
    fn a_clock_that_is_behind_loses_nothing() {
        let word = AtomicU64::new(0);
        Rate::add(&word, 5, 2000, 1000);
        assert_eq!(Rate::add(&word, 1, 1999, 1000).current, 6);
        assert_eq!(age_ms(5, 9), 0);
    }

    #[test]
    fn counts_stay_in_their_bits() {
        let word = AtomicU64::new(0);
        Rate::add(&word, u32::MAX, 0, 1000);
        assert_eq!(Rate::add(&word, u32::MAX, 0, 1000).current, COUNT_MAX);
        assert_eq!(Rate::level(&word, 0, 1000).previous, 0);
    }

    #[test]
    fn what_lasts_ends_after_its_time_below() {
        let word = AtomicU64::new(0);
        assert!(!Lasting::judge(&word, false, true, 0, 5000));
        assert!(Lasting::judge(&word, true, true, 1000, 5000));
        assert!(Lasting::judge(&word, false, false, 5000, 5000));
        assert!(Lasting::judge(&word, false, true, 6000, 5000));
        assert!(Lasting::judge(&word, false, false, 11_000, 5000));
        assert!(!Lasting::judge(&word, false, false, 11_001, 5000));
    }
}
