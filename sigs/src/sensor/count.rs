//! What was seen and how often, in tables that never grow: the oldest of a bucket makes way. A value
//! that made way counts again, so under pressure thresholds are reached earlier, never later.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Entries of a bucket.
const WAYS: usize = 4;
/// Buckets of values: 65,536 of them in 512 KiB.
const VALUE_BUCKETS: usize = 16_384;
/// Buckets of senders: 16,384 senders and sensors in 768 KiB.
const SOURCE_BUCKETS: usize = 4096;

/// Distinct values, as fingerprints.
pub(super) struct Values {
    buckets: Vec<[u64; WAYS]>,
    seed: u64,
}

/// Matches of each sender within its window.
pub(super) struct Sources {
    buckets: Vec<[Source; WAYS]>,
}

#[derive(Clone, Copy, Default)]
struct Source {
    /// 0: free.
    key: u64,
    begins_us: u64,
    count: u32,
}

impl Values {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            buckets: vec![[0; WAYS]; VALUE_BUCKETS],
            seed,
        }
    }

    /// Whether this value of this owner is new. What separates groups of digits is no part of it.
    pub(super) fn is_new(&mut self, owner: [u64; 2], value: &[u8]) -> bool {
        let mut hasher = SipHasher13::new_with_keys(self.seed, owner[0]);
        hasher.write_u64(owner[1]);
        for byte in value.iter().filter(|byte| !b" -./".contains(byte)) {
            hasher.write_u8(*byte);
        }
        // 0 stands for a free entry.
        let print = hasher.finish().max(1);
        let bucket = &mut self.buckets[print as usize % VALUE_BUCKETS];
        if bucket.contains(&print) {
            return false;
        }
        bucket.rotate_right(1);
        bucket[0] = print;
        true
    }

    /// Hides which sender falls into which bucket.
    pub(super) fn source_key(&self, address: u128, sensor: u16) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 1);
        hasher.write_u128(address);
        hasher.write_u16(sensor);
        hasher.finish().max(1)
    }
}

impl Sources {
    /// With room only where a sensor counts by sender.
    pub(super) fn new(wanted: bool) -> Self {
        let buckets = if wanted { SOURCE_BUCKETS } else { 1 };
        Self {
            buckets: vec![[Source::default(); WAYS]; buckets],
        }
    }

    /// When the sender's window began; a new one where it is over.
    pub(super) fn window_begin(&mut self, key: u64, now_us: u64, window_us: u64) -> u64 {
        let source = self.entry(key, now_us);
        if now_us.saturating_sub(source.begins_us) >= window_us {
            *source = Source {
                key,
                begins_us: now_us,
                count: 0,
            };
        }
        source.begins_us
    }

    /// One match more; how many there are.
    pub(super) fn add(&mut self, key: u64, now_us: u64) -> u32 {
        let source = self.entry(key, now_us);
        source.count = source.count.saturating_add(1);
        source.count
    }

    /// How many matches there are.
    pub(super) fn count(&mut self, key: u64, now_us: u64) -> u32 {
        self.entry(key, now_us).count
    }

    fn entry(&mut self, key: u64, now_us: u64) -> &mut Source {
        let index = key as usize % self.buckets.len();
        let bucket = &mut self.buckets[index];
        let place = bucket.iter().position(|source| source.key == key);
        let place = place.unwrap_or_else(|| {
            bucket.rotate_right(1);
            bucket[0] = Source {
                key,
                begins_us: now_us,
                count: 0,
            };
            0
        });
        &mut bucket[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_new_once_whatever_separates_its_digits() {
        let mut values = Values::new(7);
        assert!(values.is_new([1, 2], b"4111 1111"));
        assert!(!values.is_new([1, 2], b"4111-1111"));
        assert!(values.is_new([1, 3], b"4111 1111"));
        assert!(values.is_new([2, 2], b"4111 1111"));
    }

    #[test]
    fn a_window_that_is_over_begins_anew() {
        let mut sources = Sources::new(true);
        assert_eq!(sources.window_begin(9, 5, 100), 5);
        assert_eq!(sources.add(9, 5), 1);
        assert_eq!(sources.window_begin(9, 104, 100), 5);
        assert_eq!(sources.add(9, 104), 2);
        assert_eq!(sources.window_begin(9, 105, 100), 105);
        assert_eq!(sources.add(9, 105), 1);
    }
}
