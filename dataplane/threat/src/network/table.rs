//! Counters by address that all workers share: a fixed-size, set-associative table of relaxed atomics.
//!
//! Trusts: that keys are hashed with the node's secret, so that nobody outside can choose a set. Distrusts:
//! how many keys there are. Memory: all of it at the start; it never grows.
//!
//! * A look-up reads the eight places of one set, which are one cache line, and never more, whatever the number
//!   of keys. Keys whose sets and 31 bits of tags are equal share their counters.
//! * **Forgetting.** A new key takes an empty place of its set, else the place that was not touched for the
//!   longest time among those that are not *kept*. At most [`KEPT_MAX`] of the eight are kept (what is worth it
//!   says the detector: a finished handshake, a number of failures), and only until they were idle for the
//!   table's time. So made-up keys displace each other and those that were heard of once, and never what is kept.
//! * No locks, and no locked instruction to take or to renew a place: it would wait for every cache miss before
//!   it. Two workers that take the same place at once may lose a few counts; thresholds do not mind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::clock::age_ms;

/// Places of a set.
pub const WAYS: usize = 8;
/// Places of a set that can be kept.
pub const KEPT_MAX: usize = 6;

/// Of a place: when it was last touched (the low half), whether it is kept, and the tag of its key. No tag: it
/// is nobody's.
const SEEN: u64 = (1 << 32) - 1;
const KEPT: u64 = 1 << 32;
const TAG: u64 = !(SEEN | KEPT);
const LOWEST_TAG: u64 = KEPT << 1;

/// A table with `WORDS` counters for each key.
#[derive(Debug)]
pub struct Table<const WORDS: usize> {
    sets: Box<[Set<WORDS>]>,
    idle_ms: u32,
}

/// The places of a set: what a look-up reads.
pub type Places = [AtomicU64; WAYS];

#[derive(Debug)]
#[repr(align(64))]
struct Set<const WORDS: usize> {
    places: Places,
    words: [[AtomicU64; WORDS]; WAYS],
}

/// What is counted for one key.
#[derive(Clone, Copy)]
pub struct Entry<'a, const WORDS: usize> {
    set: &'a Set<WORDS>,
    way: usize,
}

impl<const WORDS: usize> Table<WORDS> {
    /// A table for about so many keys (rounded up to a power of two), which keeps what is worth it for
    /// `idle_ms` after its last touch.
    pub fn new(keys: usize, idle_ms: u32) -> Self {
        let sets = keys.clamp(WAYS, 1 << 24).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            idle_ms,
        }
    }

    /// Where the key is looked up: to be loaded ahead.
    #[inline]
    pub fn places(&self, key: u64) -> &Places {
        &self.set(key).places
    }

    /// The key's counters, if there are any.
    #[inline]
    pub fn find(&self, key: u64) -> Option<Entry<'_, WORDS>> {
        let (set, tag) = (self.set(key), tag_of(key));
        let way = set
            .places
            .iter()
            .position(|known| known.load(Relaxed) & TAG == tag)?;
        Some(Entry { set, way })
    }

    /// The key's counters, zero where it is new.
    #[inline]
    pub fn touch(&self, key: u64, now_ms: u32) -> Option<Entry<'_, WORDS>> {
        match self.find(key) {
            Some(entry) => {
                entry.seen_at(now_ms);
                Some(entry)
            }
            None => self.take(key, now_ms),
        }
    }

    fn set(&self, key: u64) -> &Set<WORDS> {
        &self.sets[key as usize & (self.sets.len() - 1)]
    }

    fn take(&self, key: u64, now_ms: u32) -> Option<Entry<'_, WORDS>> {
        let set = self.set(key);
        let worthless = |way| Some((set.worthless(way, now_ms, self.idle_ms)?, way));
        let (_, way) = (0..WAYS).filter_map(worthless).max()?;
        for word in &set.words[way] {
            word.store(0, Relaxed);
        }
        set.places[way].store(tag_of(key) | u64::from(now_ms), Relaxed);
        Some(Entry { set, way })
    }
}

fn tag_of(key: u64) -> u64 {
    (key & TAG).max(LOWEST_TAG)
}

impl<const WORDS: usize> Default for Set<WORDS> {
    fn default() -> Self {
        Self {
            places: Default::default(),
            words: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
        }
    }
}

impl<const WORDS: usize> Set<WORDS> {
    /// How readily this place is given to another key; None: it is kept.
    fn worthless(&self, way: usize, now_ms: u32, idle_ms: u32) -> Option<u64> {
        let place = self.places[way].load(Relaxed);
        if place & TAG == 0 {
            return Some(u64::MAX);
        }
        let age_ms = age_ms(now_ms, place as u32);
        (place & KEPT == 0 || age_ms > idle_ms).then_some(u64::from(age_ms))
    }
}

impl<'a, const WORDS: usize> Entry<'a, WORDS> {
    /// One of its counters.
    #[inline]
    pub fn word(&self, index: usize) -> &'a AtomicU64 {
        &self.set.words[self.way][index]
    }

    /// All of its counters.
    #[inline]
    pub fn words(&self) -> &'a [AtomicU64; WORDS] {
        &self.set.words[self.way]
    }

    /// It is worth being kept while others come and go. Where as many as can be are kept already, the one
    /// that was idle for longest is kept no more.
    pub fn keep(&self, now_ms: u32) {
        let places = &self.set.places;
        if places[self.way].load(Relaxed) & KEPT != 0 {
            return;
        }
        let kept = |way: &usize| places[*way].load(Relaxed) & KEPT != 0;
        if (0..WAYS).filter(kept).count() >= KEPT_MAX {
            let stalest = (0..WAYS)
                .filter(kept)
                .max_by_key(|&way| age_ms(now_ms, places[way].load(Relaxed) as u32));
            if let Some(way) = stalest {
                places[way].fetch_and(!KEPT, Relaxed);
            }
        }
        places[self.way].fetch_or(KEPT, Relaxed);
    }

    #[inline]
    fn seen_at(&self, now_ms: u32) {
        let place = &self.set.places[self.way];
        let known = place.load(Relaxed);
        if known as u32 != now_ms {
            place.store(known & !SEEN | u64::from(now_ms), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn a_million_made_up_keys_displace_nothing_that_is_kept() {
        let table = Table::<2>::new(1024, 60_000);
        let mut state = 88_172_645_463_325_252;
        let kept: Vec<u64> = (0..256).map(|_| random(&mut state)).collect();
        for &key in &kept {
            let entry = table.touch(key, 0).unwrap();
            entry.word(0).store(key, Relaxed);
            entry.keep(0);
        }
        let held = kept
            .iter()
            .filter(|&&key| table.find(key).is_some())
            .count();
        for index in 0..1_000_000_u32 {
            table.touch(random(&mut state), index / 100);
        }
        let after = kept
            .iter()
            .filter(|&&key| {
                table
                    .find(key)
                    .is_some_and(|entry| entry.word(0).load(Relaxed) == key)
            })
            .count();
        assert_eq!(after, held);
        assert!(held > 240, "{held}");
    }

    /// A key with this tag.
    fn tagged(tag: u64) -> u64 {
        tag * LOWEST_TAG
    }

    #[test]
    fn what_is_kept_gives_way_once_it_was_idle() {
        let table = Table::<1>::new(8, 1000);
        for key in 1..=8 {
            table.touch(tagged(key), 0).unwrap().keep(0);
        }
        for key in 100..108 {
            table.touch(tagged(key), 5000);
        }
        assert!((1..=8).all(|key| table.find(tagged(key)).is_none()));
        assert!((100..108).all(|key| table.find(tagged(key)).is_some()));
    }

    #[test]
    fn two_places_are_always_left_for_what_is_new() {
        let table = Table::<1>::new(8, 1000);
        for key in 1..=8 {
            table
                .touch(tagged(key), key as u32)
                .unwrap()
                .keep(key as u32);
        }
        assert!(table.touch(tagged(99), 10).is_some());
        assert_eq!(
            (1..=8)
                .filter(|&key| table.find(tagged(key)).is_some())
                .count(),
            7
        );
        // The first two were kept no more when the last two came to be kept.
        assert!((3..=8).all(|key| table.find(tagged(key)).is_some()));
    }

    #[test]
    fn a_busy_key_outlives_those_heard_of_once() {
        let table = Table::<1>::new(64, 1000);
        let mut state = 7;
        table.touch(42, 0).unwrap().word(0).store(5, Relaxed);
        for index in 0..100_000 {
            table.touch(random(&mut state), index);
            table.touch(42, index).unwrap();
        }
        assert_eq!(table.find(42).unwrap().word(0).load(Relaxed), 5);
    }
}
