//! Numbers for rules, sensors and threat policies, from their place and text: they stay while these do.
//!
//! Where two come to the same number the one that is later in the order of documents takes the next free
//! one. Which has which depends on those that are there alone, not on the order in which they came.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::Key;

/// A document's rule of this number (egress counted on after ingress); 0 for the document itself.
pub(crate) type Item = (Arc<Key>, u32);

/// Who has which number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    items: BTreeMap<u32, Item>,
    /// Where each would be if nobody else were there, and where it is.
    ids: HashMap<Item, (u32, u32)>,
}

/// The number that a text would have for itself.
pub(crate) fn home(text: &[u8]) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(text);
    let hash = hasher.finish();
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    let id = (hash ^ (hash >> 32)) as u32;
    id.max(1)
}

impl Slots {
    pub(crate) fn id(&self, item: &Item) -> Option<u32> {
        self.ids.get(item).map(|(_, id)| *id)
    }

    /// The number that an item would have for itself, where it has one.
    pub(crate) fn home(&self, item: &Item) -> Option<u32> {
        self.ids.get(item).map(|(home, _)| *home)
    }

    /// Gives an item a number; returns all whose number changed, with the one of before.
    pub(crate) fn insert(&mut self, item: Item, home: u32) -> Vec<(Item, Option<u32>)> {
        if let Entry::Vacant(free) = self.items.entry(home) {
            free.insert(item.clone());
            self.ids.insert(item.clone(), (home, home));
            return vec![(item, None)];
        }
        let mut run = self.take_run(home);
        run.insert(item, (home, None));
        self.place(run)
    }

    /// Frees the number of an item; returns all others whose number changed, with the one of before.
    pub(crate) fn remove(&mut self, item: &Item) -> Vec<(Item, Option<u32>)> {
        let Some(&(_, id)) = self.ids.get(item) else {
            return Vec::new();
        };
        let mut run = self.take_run(id);
        run.remove(item);
        self.ids.remove(item);
        self.place(run)
    }

    /// Takes out all that stand without a gap around a number.
    fn take_run(&mut self, around: u32) -> BTreeMap<Item, (u32, Option<u32>)> {
        let mut numbers = BTreeSet::new();
        for step in [next as fn(u32) -> u32, previous] {
            let mut number = around;
            while self.items.contains_key(&number)
                && (number == around || !numbers.contains(&number))
            {
                numbers.insert(number);
                number = step(number);
            }
        }
        let items = numbers
            .into_iter()
            .filter_map(|number| self.items.remove(&number));
        let items = items.collect::<Vec<Item>>().into_iter();
        items
            .filter_map(|item| {
                let (home, id) = self.ids.get(&item).copied()?;
                Some((item, (home, Some(id))))
            })
            .collect()
    }

    fn place(&mut self, run: BTreeMap<Item, (u32, Option<u32>)>) -> Vec<(Item, Option<u32>)> {
        let mut moved = Vec::new();
        for (item, (home, before)) in run {
            let mut id = home;
            while self.items.contains_key(&id) {
                id = next(id);
            }
            self.items.insert(id, item.clone());
            self.ids.insert(item.clone(), (home, id));
            if before != Some(id) {
                moved.push((item, before));
            }
        }
        moved
    }
}

fn next(id: u32) -> u32 {
    id.wrapping_add(1).max(1)
}

fn previous(id: u32) -> u32 {
    match id {
        0 | 1 => u32::MAX,
        id => id - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_model::Kind;

    fn item(number: u32) -> Item {
        let (kind, namespace, name) = (Kind::Allowlist, String::new(), String::new());
        (
            Arc::new(Key {
                kind,
                namespace,
                name,
            }),
            number,
        )
    }

    proptest! {
        /// Homes are few and at the end of the numbers, so that they meet and wrap round.
        #[test]
        fn the_order_of_coming_and_going_does_not_matter(
            steps in prop::collection::vec((0u32..12, any::<bool>()), 1..60),
        ) {
            let home = |number: u32| next((u32::MAX - 3).wrapping_add(number % 5));
            let mut slots = Slots::default();
            let mut there = BTreeSet::new();
            let mut told: BTreeMap<Item, u32> = BTreeMap::new();
            for (number, come) in steps {
                let moved = match come {
                    true if there.insert(number) => slots.insert(item(number), home(number)),
                    false if there.remove(&number) => {
                        told.remove(&item(number));
                        slots.remove(&item(number))
                    }
                    _ => Vec::new(),
                };
                for (item, before) in moved {
                    let id = slots.id(&item).unwrap();
                    prop_assert_eq!(told.insert(item, id), before);
                }
                let mut fresh = Slots::default();
                for &number in &there {
                    fresh.insert(item(number), home(number));
                }
                prop_assert_eq!(&slots.items, &fresh.items);
                let all: BTreeMap<Item, u32> = slots.items.iter().map(|(id, item)| (item.clone(), *id)).collect();
                prop_assert_eq!(&all, &told);
            }
        }
    }
}
