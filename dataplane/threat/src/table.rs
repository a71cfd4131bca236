//! A table of fixed size by hash: what is counted of a source, a target, a domain.
//!
//! Trusts: that its secret is one. Distrusts: keys, which others choose: their hash is keyed
//! (SipHash-1-3), so that nobody can aim at a place. Memory: allocated by [`Table::new`]. An entry lives
//! in a set of [`WAYS`]; a newcomer to a full set takes the place of the one that was touched longest ago.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

/// Places that an entry may be in.
const WAYS: usize = 8;

/// A bounded map that forgets; values begin with their default.
pub(crate) struct Table<V> {
    slots: Box<[Slot<V>]>,
    hasher: SipHasher13,
}

#[derive(Clone, Default)]
struct Slot<V> {
    /// Hash of the key; 0: free.
    key: u64,
    touched_us: u64,
    value: V,
}

impl<V: Clone + Default> Table<V> {
    /// For at least this many entries.
    pub(crate) fn new(entries: usize, secret: [u64; 2]) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self {
            slots: vec![Slot::default(); sets * WAYS].into_boxed_slice(),
            hasher: SipHasher13::new_with_keys(secret[0], secret[1]),
        }
    }

    /// The entry of this key, made where there is none.
    pub(crate) fn entry(&mut self, key: impl Hash, now_us: u64) -> &mut V {
        let hash = self.hash(key);
        let set = self.set(hash);
        let known = set.iter().position(|slot| slot.key == hash);
        let place = known.unwrap_or_else(|| {
            let ages = set.iter().enumerate();
            let oldest = ages.min_by_key(|(_, slot)| (slot.key != 0, slot.touched_us));
            oldest.map_or(0, |(place, _)| place)
        });
        let slot = &mut set[place];
        if slot.key != hash {
            *slot = Slot {
                key: hash,
                ..Slot::default()
            };
        }
        slot.touched_us = now_us;
        &mut slot.value
    }

    /// The entry of this key, where there is one.
    pub(crate) fn get(&mut self, key: impl Hash) -> Option<&mut V> {
        let hash = self.hash(key);
        let mut slots = self.set(hash).iter_mut();
        let found = slots.find(|slot| slot.key == hash);
        found.map(|slot| &mut slot.value)
    }

    /// The places from `from` on, at most this many, that are taken; and where to go on.
    pub(crate) fn walk(
        &mut self,
        from: usize,
        count: usize,
    ) -> (impl Iterator<Item = &mut V>, usize) {
        let from = if from < self.slots.len() { from } else { 0 };
        let end = (from + count).min(self.slots.len());
        let taken = self.slots[from..end].iter_mut();
        let taken = taken.filter(|slot| slot.key != 0);
        (taken.map(|slot| &mut slot.value), end)
    }

    fn hash(&self, key: impl Hash) -> u64 {
        let mut hasher = self.hasher;
        key.hash(&mut hasher);
        hasher.finish().max(1)
    }

    fn set(&mut self, hash: u64) -> &mut [Slot<V>] {
        let sets = self.slots.len() / WAYS;
        let first = (hash as usize & (sets - 1)) * WAYS;
        &mut self.slots[first..first + WAYS]
    }
}

/// Counts within a window that begins with the first event, and says once in each when there are enough.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    began_us: u64,
    count: u32,
    told: bool,
}

impl Window {
    /// Counts an event. True: now there are `limit` of them, for the first time in this window.
    pub(crate) fn count(&mut self, now_us: u64, length_us: u64, limit: u32) -> bool {
        if self.count == 0 || now_us.saturating_sub(self.began_us) >= length_us {
            *self = Self {
                began_us: now_us,
                ..Self::default()
            };
        }
        self.count = self.count.saturating_add(1);
        self.count >= limit && !std::mem::replace(&mut self.told, true)
    }

    /// Events so far.
    pub(crate) fn total(&self) -> u64 {
        self.count.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_full_set_forgets_what_was_touched_longest_ago() {
        let mut table = Table::<u32>::new(WAYS, [1, 2]);
        for key in 0..WAYS as u64 {
            *table.entry(key, key) = 7;
        }
        assert_eq!(table.get(0_u64), Some(&mut 7));
        table.entry(0_u64, 100);
        *table.entry(99_u64, 101) = 9;
        assert_eq!(table.get(1_u64), None);
        assert_eq!(table.get(0_u64), Some(&mut 7));
        assert_eq!(table.walk(0, 100).0.count(), WAYS);
    }

    #[test]
    fn a_window_tells_once() {
        let mut window = Window::default();
        let told: Vec<_> = (0..6).map(|at| window.count(at, 100, 3)).collect();
        assert_eq!(told, [false, false, true, false, false, false]);
        assert!(!window.count(100, 100, 3));
        assert_eq!(window.total(), 1);
    }

    proptest! {
        #[test]
        fn below_its_size_a_table_is_a_map(keys in prop::collection::vec(0..4_u64, 1..50)) {
            let mut table = Table::<u32>::new(64, [3, 4]);
            let mut map = HashMap::new();
            for (at, key) in keys.into_iter().enumerate() {
                *table.entry(key, at as u64) += 1;
                *map.entry(key).or_insert(0) += 1;
                prop_assert_eq!(table.get(key).copied(), map.get(&key).copied());
            }
        }
    }
}
