//! What is in force by key, and what it was when it was last told.

use std::collections::BTreeMap;

/// A map that remembers what changed.
#[derive(Clone, Debug)]
pub(crate) struct Tracked<K, V> {
    now: BTreeMap<K, V>,
    before: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Self {
            now: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Tracked<K, V> {
    pub(crate) fn now(&self) -> &BTreeMap<K, V> {
        &self.now
    }

    pub(crate) fn set(&mut self, key: K, value: Option<V>) {
        if self.now.get(&key) == value.as_ref() {
            return;
        }
        let old = match value {
            Some(value) => self.now.insert(key.clone(), value),
            None => self.now.remove(&key),
        };
        self.before.entry(key).or_insert(old);
    }

    /// What went and what is new or different since the last time.
    pub(crate) fn changes(&mut self) -> (Vec<K>, Vec<(K, V)>) {
        let (mut gone, mut put) = (Vec::new(), Vec::new());
        for (key, before) in std::mem::take(&mut self.before) {
            match self.now.get(&key) {
                None if before.is_some() => gone.push(key),
                None => {}
                Some(value) if before.as_ref() == Some(value) => {}
                Some(value) => put.push((key, value.clone())),
            }
        }
        (gone, put)
    }
}
