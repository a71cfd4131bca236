//! Which number an identity's name has, from one compilation to the next.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Numbers of names that are gone are kept for them up to this many, the longest gone first out.
const RETIRED_MAX: usize = 65_536;

/// The numbers of the identities by name. A name that comes back gets its number back; a number is
/// given to another name only after four thousand million others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignments {
    /// The number given last; 0 before the first.
    last: u32,
    /// Counts the compilations in which names went.
    round: u64,
    names: BTreeMap<String, Assigned>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Assigned {
    id: u32,
    /// The round in which the name went.
    retired: Option<u64>,
}

impl Assignments {
    /// The number of a name, whether it is in use or kept for its return.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.names.get(name).map(|assigned| assigned.id)
    }

    /// Makes exactly these names the ones in use; returns the number of each, in the same order.
    pub(crate) fn assign(&mut self, names: &BTreeSet<String>) -> Vec<u32> {
        self.retire(names);
        let mut taken: BTreeSet<u32> = self.names.values().map(|assigned| assigned.id).collect();
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            let id = match self.names.get(name) {
                Some(assigned) => assigned.id,
                None => {
                    self.last = following(self.last, &taken);
                    taken.insert(self.last);
                    self.last
                }
            };
            self.names
                .insert(name.clone(), Assigned { id, retired: None });
            ids.push(id);
        }
        ids
    }

    fn retire(&mut self, names: &BTreeSet<String>) {
        let round = self.round + 1;
        for (name, assigned) in &mut self.names {
            if assigned.retired.is_none() && !names.contains(name) {
                assigned.retired = Some(round);
                self.round = round;
            }
        }
        let mut gone: Vec<(u64, String)> = self
            .names
            .iter()
            .filter(|(name, _)| !names.contains(*name))
            .filter_map(|(name, assigned)| Some((assigned.retired?, name.clone())))
            .collect();
        if gone.len() > RETIRED_MAX {
            gone.sort_unstable();
            for (_, name) in gone.iter().take(gone.len() - RETIRED_MAX) {
                self.names.remove(name);
            }
        }
    }
}

/// The next number that nobody has. 0 is `unknown` and the largest is reserved.
fn following(last: u32, taken: &BTreeSet<u32>) -> u32 {
    let mut id = last;
    loop {
        id = if id >= u32::MAX - 1 { 1 } else { id + 1 };
        if !taken.contains(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_keep_their_numbers_and_numbers_are_not_given_again() {
        let mut assignments = Assignments::default();
        assert_eq!(assignments.assign(&names(&["a", "c"])), [1, 2]);
        assert_eq!(assignments.assign(&names(&["b", "c"])), [3, 2]);
        assert_eq!(assignments.assign(&names(&["d"])), [4]);
        assert_eq!(
            assignments.assign(&names(&["a", "b", "c", "d"])),
            [1, 3, 2, 4]
        );
        let before = assignments.clone();
        assignments.assign(&names(&["a", "b", "c", "d"]));
        assert_eq!(assignments, before, "nothing changed");
        let text = serde_json::to_string(&assignments).unwrap();
        assert_eq!(
            serde_json::from_str::<Assignments>(&text).unwrap(),
            assignments
        );
    }

    #[test]
    fn what_is_kept_for_names_that_are_gone_is_bounded() {
        let mut assignments = Assignments::default();
        let many: BTreeSet<String> = (0..RETIRED_MAX + 100)
            .map(|number| format!("n{number}"))
            .collect();
        assignments.assign(&names(&["first"]));
        assignments.assign(&many);
        let ids = assignments.assign(&names(&["last"]));
        assert_eq!(assignments.names.len(), RETIRED_MAX + 1);
        assert_eq!(
            assignments.id("first"),
            None,
            "the longest gone is forgotten"
        );
        assert!(ids[0] as usize > RETIRED_MAX);
    }

    #[test]
    fn numbers_wrap_around_those_in_use() {
        let mut assignments = Assignments {
            last: u32::MAX - 2,
            ..Assignments::default()
        };
        assert_eq!(
            assignments.assign(&names(&["a", "b", "c"])),
            [u32::MAX - 1, 1, 2]
        );
    }
}
