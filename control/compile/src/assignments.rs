//! Which number an identity's name has, from one compilation to the next.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

/// Numbers of names that are gone are kept for them up to this many, the longest gone first out.
const RETIRED_MAX: usize = 65_536;

/// The numbers of the identities by name. A name that comes back gets its number back; a number is
/// given to another name only after four thousand million others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignments {
    /// The number given last; 0 before the first.
    last: u32,
    /// Counts the changes in which names went.
    round: u64,
    names: BTreeMap<String, Assigned>,
    /// Made from the names when it is first needed.
    #[serde(skip)]
    index: Option<Index>,
    /// Counts everything that would have to be written down.
    #[serde(skip)]
    changes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Assigned {
    id: u32,
    /// The round in which the name went.
    retired: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Index {
    taken: HashSet<u32>,
    /// The longest gone first.
    retired: BTreeSet<(u64, String)>,
}

impl PartialEq for Assignments {
    fn eq(&self, other: &Self) -> bool {
        (self.last, self.round, &self.names) == (other.last, other.round, &other.names)
    }
}

impl Eq for Assignments {}

impl Assignments {
    /// The number of a name, whether it is in use or kept for its return.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.names.get(name).map(|assigned| assigned.id)
    }

    /// How often something changed since they were made or read: whether it is worth writing them.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The names that are in use.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter();
        names
            .filter(|(_, assigned)| assigned.retired.is_none())
            .map(|(name, _)| name.as_str())
    }

    /// The number of a name that is in use from now on.
    pub(crate) fn take(&mut self, name: &str) -> u32 {
        let mut index = self.index();
        let id = match self.names.get_mut(name) {
            Some(assigned) => {
                if let Some(round) = assigned.retired.take() {
                    self.changes += 1;
                    index.retired.remove(&(round, name.to_owned()));
                }
                assigned.id
            }
            None => {
                self.last = following(self.last, &index.taken);
                let (id, retired) = (self.last, None);
                self.changes += 1;
                index.taken.insert(id);
                self.names.insert(name.to_owned(), Assigned { id, retired });
                id
            }
        };
        self.index = Some(index);
        id
    }

    /// Names that are no longer in use: all those that go with one change.
    pub(crate) fn retire<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut index = self.index();
        let round = self.round + 1;
        for name in names {
            let Some(assigned) = self.names.get_mut(name) else {
                continue;
            };
            if assigned.retired.is_none() {
                assigned.retired = Some(round);
                self.changes += 1;
                self.round = round;
                index.retired.insert((round, name.to_owned()));
            }
        }
        while index.retired.len() > RETIRED_MAX {
            let Some((_, name)) = index.retired.pop_first() else {
                break;
            };
            if let Some(assigned) = self.names.remove(&name) {
                index.taken.remove(&assigned.id);
            }
        }
        self.index = Some(index);
    }

    /// Taken out while it is in use.
    fn index(&mut self) -> Index {
        self.index.take().unwrap_or_else(|| Index {
            taken: self.names.values().map(|assigned| assigned.id).collect(),
            retired: self
                .names
                .iter()
                .filter_map(|(name, assigned)| Some((assigned.retired?, name.clone())))
                .collect(),
        })
    }
}

/// The next number that nobody has. 0 is `unknown` and the largest is reserved.
fn following(last: u32, taken: &HashSet<u32>) -> u32 {
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

    impl Assignments {
        /// Makes exactly these names the ones in use; returns the number of each.
        fn assign(&mut self, names: &BTreeSet<String>) -> Vec<u32> {
            let gone: Vec<String> = self.in_use().map(str::to_owned).collect();
            let gone = gone.iter().filter(|name| !names.contains(*name));
            self.retire(gone.map(String::as_str));
            names.iter().map(|name| self.take(name)).collect()
        }
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
        assert_eq!(assignments.changes(), before.changes());
        for some in [names(&["a"]), names(&["a", "b"]), names(&["a", "b", "e"])] {
            let before = assignments.clone();
            assignments.assign(&some);
            assert_ne!(assignments.changes(), before.changes(), "{some:?}");
        }
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
