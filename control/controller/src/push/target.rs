//! What one node is to have: its part of the policy, and what changed in it lately.
//!
//! Memory: the items are shared with all other nodes that have them, an entry each is not; of the
//! changes as many keys are kept as there are items.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

use tokio::sync::watch;
use weir_api::v1::wire;
use weir_api::{Contents, Item, ItemKey, Parts};

/// So many changed keys are remembered however small the policy is.
const REMEMBERED_KEYS_MIN: usize = 1024;
/// So many changes are remembered, however small they are.
const REMEMBERED_STEPS_MAX: usize = 4096;

/// A node's part of the policy. Written by whoever makes policy, read by the node's session.
#[derive(Debug)]
pub struct Target {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The version that changed it last; 0 before there is one.
    version: u64,
    contents: Contents,
    /// Oldest first; what led to `contents` is the last.
    steps: VecDeque<Step>,
    /// Keys in all steps.
    remembered_keys: usize,
    /// The version and checksum that the oldest step led on from.
    base: Mark,
}

#[derive(Debug)]
struct Step {
    after: Mark,
    keys: Vec<ItemKey>,
}

/// A version, and the checksum of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The version; 0 for none.
    pub version: u64,
    /// The checksum.
    pub checksum: u64,
}

/// What leads a node to its newest policy.
#[derive(Debug)]
pub enum Way {
    /// It is there.
    There,
    /// These changes.
    Delta(Box<wire::Delta>),
    /// Everything.
    Whole(Parts),
}

impl Default for Target {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Target {
    /// One that has this content.
    pub fn new(version: u64, contents: Contents) -> Self {
        let target = Self::default();
        target.replace(version, contents);
        target
    }

    /// The newest version and its checksum.
    pub fn mark(&self) -> Mark {
        crate::lock(&self.state).mark()
    }

    /// Every version that follows.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes these changes as a version; whether they change anything. One that does not is none.
    pub fn change(
        &self,
        version: u64,
        changes: impl IntoIterator<Item = (ItemKey, Option<Item>)>,
    ) -> bool {
        let mut state = crate::lock(&self.state);
        let mut keys = Vec::new();
        for (key, item) in changes {
            let before = state.contents.put(key.clone(), item.clone());
            if before != item {
                keys.push(key);
            }
        }
        if keys.is_empty() && state.version > 0 {
            return false;
        }
        state.step(version, keys);
        drop(state);
        self.changed.send_replace(version);
        true
    }

    /// Takes this content as a version, however it differs.
    pub fn replace(&self, version: u64, contents: Contents) {
        let mut state = crate::lock(&self.state);
        *state = State {
            version,
            base: Mark {
                version,
                checksum: contents.checksum(),
            },
            contents,
            ..State::default()
        };
        drop(state);
        self.changed.send_replace(version);
    }

    /// Gives the same content a later version.
    pub fn raise(&self, version: u64) {
        let mut state = crate::lock(&self.state);
        if state.version == 0 || version <= state.version {
            return;
        }
        state.step(version, Vec::new());
        drop(state);
        self.changed.send_replace(version);
    }

    /// What leads from what a node has to the newest, and what that is. `None`: the node needs
    /// everything.
    pub fn way_from(&self, has: Option<Mark>) -> (Way, Mark) {
        let state = crate::lock(&self.state);
        let mark = state.mark();
        let way = match has {
            Some(has) if has.checksum == mark.checksum => Way::There,
            Some(has) => match state.keys_since(has) {
                Some(keys) => {
                    let delta = state.contents.delta(has.version, mark.version, &keys);
                    Way::Delta(Box::new(delta))
                }
                None => Way::Whole(Parts::of(&state.contents, mark.version)),
            },
            None => Way::Whole(Parts::of(&state.contents, mark.version)),
        };
        (way, mark)
    }

    /// The content, for a node that gets it in another form.
    pub fn contents(&self) -> (u64, Contents) {
        let state = crate::lock(&self.state);
        (state.version, state.contents.clone())
    }
}

impl State {
    fn mark(&self) -> Mark {
        Mark {
            version: self.version,
            checksum: self.contents.checksum(),
        }
    }

    fn step(&mut self, version: u64, keys: Vec<ItemKey>) {
        self.version = version;
        self.remembered_keys += keys.len();
        self.steps.push_back(Step {
            after: self.mark(),
            keys,
        });
        let most = self.contents.len().max(REMEMBERED_KEYS_MIN);
        while self.remembered_keys > most || self.steps.len() > REMEMBERED_STEPS_MAX {
            let Some(oldest) = self.steps.pop_front() else {
                break;
            };
            self.remembered_keys -= oldest.keys.len();
            self.base = oldest.after;
        }
    }

    /// What changed since a node's policy; `None` where that is not known any more.
    fn keys_since(&self, has: Mark) -> Option<BTreeSet<ItemKey>> {
        // A node's version may be later than the one that changed its content last.
        let first = (self.steps).partition_point(|step| step.after.version <= has.version);
        let known = match first.checked_sub(1).and_then(|last| self.steps.get(last)) {
            Some(step) => step.after,
            None => self.base,
        };
        if known.checksum != has.checksum || has.version < self.base.version {
            return None;
        }
        let since = self.steps.range(first..);
        Some(since.flat_map(|step| step.keys.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::v1;

    fn item(id: u32, name: &str) -> (ItemKey, Option<Item>) {
        let (key, item) = Item::identity(&v1::Identity {
            id,
            name: name.into(),
            ..Default::default()
        });
        (key, Some(item))
    }

    #[test]
    fn the_way_is_the_shortest_that_is_known() {
        let target = Target::default();
        assert!(target.change(3, [item(1, "a"), item(2, "b")]));
        let first = target.mark();
        assert!(!target.change(4, [item(1, "a")]), "nothing changes");
        assert_eq!(target.mark(), first);
        assert!(target.change(5, [item(1, "c")]));
        let second = target.mark();
        assert!(target.change(8, [(ItemKey::Identity(2), None), item(3, "d")]));
        let newest = target.mark();
        let delta = |has| match target.way_from(Some(has)) {
            (Way::Delta(delta), mark) => {
                assert_eq!((mark, delta.base_version), (newest, has.version));
                (delta.identities.len(), delta.removed_identities.len())
            }
            (way, _) => panic!("{way:?}"),
        };
        assert_eq!(delta(second), (1, 1));
        assert_eq!(delta(first), (2, 1));
        // Told of a later version of the same content.
        assert_eq!(
            delta(Mark {
                version: 7,
                ..second
            }),
            (1, 1)
        );
        assert!(matches!(target.way_from(Some(newest)).0, Way::There));
        let elsewhere = Mark {
            version: 99,
            ..newest
        };
        assert!(matches!(target.way_from(Some(elsewhere)).0, Way::There));
        for unknown in [
            None,
            Some(Mark {
                version: 2,
                checksum: 1,
            }),
            Some(Mark {
                version: 5,
                checksum: 5,
            }),
            Some(Mark {
                version: 9,
                checksum: 5,
            }),
        ] {
            assert!(
                matches!(target.way_from(unknown).0, Way::Whole(_)),
                "{unknown:?}"
            );
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let target = Target::new(1, Contents::default());
        let first = target.mark();
        for version in 2..10_000 {
            target.change(version, [item(1, &version.to_string())]);
        }
        let state = crate::lock(&target.state);
        assert!(state.remembered_keys <= REMEMBERED_KEYS_MIN);
        assert_eq!(state.steps.len(), state.remembered_keys);
        assert!(state.keys_since(first).is_none());
        let known = state.steps.front().unwrap().after;
        assert_eq!(state.keys_since(known).unwrap().len(), 1);
    }
}
