//! What is remembered across connections: bits of hosts, counts of thresholds, members of sets.
//!
//! One table of fixed size. A key has eight places; where all are taken the one that was not used for
//! longest is given away and counted. Looking up is eight comparisons, whatever a sender does.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// Places of a key.
const WAYS: usize = 8;

/// Values by key.
pub(crate) struct Table<V> {
    places: Vec<Place<V>>,
    /// Entries that were given away before their time.
    pub evicted: u64,
}

#[derive(Clone, Copy, Default)]
struct Place<V> {
    /// 0: free.
    key: u64,
    until_us: u64,
    touched_us: u64,
    value: V,
}

impl<V: Copy + Default> Table<V> {
    /// For so many entries, rounded up.
    pub fn new(entries: usize) -> Self {
        let places = entries.max(WAYS).next_power_of_two();
        Self {
            places: vec![Place::default(); places],
            evicted: 0,
        }
    }

    fn bucket(&mut self, key: u64) -> &mut [Place<V>] {
        let buckets = self.places.len() / WAYS;
        let first = (key as usize & (buckets - 1)) * WAYS;
        &mut self.places[first..first + WAYS]
    }

    /// The value of a key, where it is there and its time is not over.
    pub fn get(&mut self, key: u64, now_us: u64) -> Option<&mut V> {
        let key = key.max(1);
        let found = self.bucket(key).iter_mut().find(|place| place.key == key);
        let place = found.filter(|place| place.until_us > now_us)?;
        place.touched_us = now_us;
        Some(&mut place.value)
    }

    /// Gives a key a value, until a time.
    pub fn put(&mut self, key: u64, value: V, until_us: u64, now_us: u64) {
        let key = key.max(1);
        let mut evicted = 0;
        let bucket = self.bucket(key);
        let same = bucket.iter().position(|place| place.key == key);
        let place = same.unwrap_or_else(|| {
            let worth = |place: &Place<V>| match place.until_us > now_us {
                true => place.touched_us + 1,
                false => 0,
            };
            let oldest = (0..WAYS)
                .min_by_key(|&index| worth(&bucket[index]))
                .unwrap_or(0);
            evicted = u64::from(bucket[oldest].until_us > now_us);
            oldest
        });
        bucket[place] = Place {
            key,
            until_us,
            touched_us: now_us,
            value,
        };
        self.evicted += evicted;
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: u64) {
        let key = key.max(1);
        for place in self.bucket(key).iter_mut().filter(|place| place.key == key) {
            *place = Place::default();
        }
    }
}

/// A key of a table: keyed, so that a sender cannot aim at one bucket.
pub(crate) fn key_of(secret: [u64; 2], what: &impl Hash) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(secret[0], secret[1]);
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_with_their_time() {
        let mut table = Table::new(64);
        table.put(5, 7_u32, 100, 0);
        assert_eq!(table.get(5, 99).copied(), Some(7));
        assert_eq!(table.get(5, 100), None);
        assert_eq!(table.get(6, 0), None);
        table.put(5, 8, 300, 200);
        table.remove(5);
        assert_eq!(table.get(5, 200), None);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_says_so() {
        let mut table = Table::new(8);
        for key in 1..=9_u64 {
            table.put(key, key, 1_000, key);
        }
        assert_eq!(table.evicted, 1);
        assert_eq!(table.get(1, 10), None);
        assert_eq!(table.get(9, 10).copied(), Some(9));
    }
}
