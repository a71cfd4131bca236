//! What became of each document: why it was not taken, and which nodes enforce it.
//!
//! True to what nodes acknowledged: a document counts as enforced on a node when the node has acknowledged
//! a version that has the document's newest taken state. Memory: an entry for each document and
//! each node that needs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;
use weir_api::ItemKey;
use weir_compile::{Key, Outcome};
use weir_model::{Kind, Problem};
use weir_sources::{DocumentKey, Programmed, Standing};

/// More problems than this are not listed at once; each document has its own.
const PROBLEMS_MAX: usize = 1000;

/// The standing of every document that a source told of.
#[derive(Debug, Default)]
pub struct Standings {
    inner: Mutex<Inner>,
}

/// Learns of every standing that changes; those that change again meanwhile come once.
#[derive(Debug)]
pub struct Changes {
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    keys: Mutex<BTreeSet<Key>>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    documents: BTreeMap<Key, State>,
    /// Whose item this is.
    owners: HashMap<ItemKey, Key>,
    /// How many items a document has.
    items: HashMap<Key, u32>,
    /// By node: what it has not acknowledged yet, by the version that has it.
    pending: HashMap<Arc<str>, BTreeMap<u64, BTreeSet<Key>>>,
    followers: Vec<Weak<Waiting>>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    refused: Vec<Problem>,
    unresolved: Vec<Problem>,
    /// Nodes that need it, and whether they have acknowledged its newest state.
    nodes: BTreeMap<Arc<str>, bool>,
    refusals: BTreeMap<Arc<str>, String>,
}

/// The same key as a source has it.
pub fn source_key(key: &Key) -> DocumentKey {
    DocumentKey {
        kind: key.kind,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

/// The same key as the compiler has it.
pub fn compile_key(key: &DocumentKey) -> Key {
    Key {
        kind: key.kind,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

impl Standings {
    /// The standing of a document that a source told of.
    pub fn of(&self, key: &DocumentKey) -> Option<Standing> {
        let inner = crate::lock(&self.inner);
        inner.documents.get(&compile_key(key)).map(State::standing)
    }

    /// Whether a source told of this document.
    pub fn has(&self, key: &DocumentKey) -> bool {
        let inner = crate::lock(&self.inner);
        inner.documents.contains_key(&compile_key(key))
    }

    /// How many documents stand how, by kind.
    pub fn counts(&self) -> BTreeMap<(Kind, &'static str), u64> {
        let inner = crate::lock(&self.inner);
        let mut counts = BTreeMap::new();
        for (key, state) in &inner.documents {
            *counts.entry((key.kind, state.word())).or_default() += 1;
        }
        counts
    }

    /// Why documents were not taken: the first of them.
    pub fn problems(&self) -> Vec<Problem> {
        let inner = crate::lock(&self.inner);
        let refused = inner.documents.values().flat_map(|state| &state.refused);
        refused.take(PROBLEMS_MAX).cloned().collect()
    }

    /// Every standing, then every one that changes.
    pub fn follow(&self) -> Changes {
        let mut inner = crate::lock(&self.inner);
        let waiting = Arc::new(Waiting::default());
        *crate::lock(&waiting.keys) = inner.documents.keys().cloned().collect();
        waiting.more.notify_one();
        inner.followers.push(Arc::downgrade(&waiting));
        Changes { waiting }
    }

    /// The source has this state of a document.
    pub fn seen(&self, key: &Key, revision: u64, refused: Option<Vec<Problem>>) {
        let mut inner = crate::lock(&self.inner);
        let state = inner.documents.entry(key.clone()).or_default();
        state.revision = revision;
        if let Some(refused) = refused {
            state.refused = refused;
        }
        inner.tell([key]);
    }

    /// The source has it no more.
    pub fn gone(&self, key: &Key) {
        let mut inner = crate::lock(&self.inner);
        if inner.documents.remove(key).is_some() {
            inner.tell([key]);
        }
    }

    /// What the compiler said.
    pub fn outcomes(&self, outcomes: &BTreeMap<Key, Outcome>) {
        let mut inner = crate::lock(&self.inner);
        for (key, outcome) in outcomes {
            let Some(state) = inner.documents.get_mut(key) else {
                continue;
            };
            state.refused = outcome.refused.clone();
            state.unresolved = outcome.warnings.clone();
            inner.tell([key]);
        }
    }

    /// Whose items these are from now on.
    pub fn owned(&self, items: impl IntoIterator<Item = (ItemKey, Option<Key>)>) {
        let mut inner = crate::lock(&self.inner);
        for (item, owner) in items {
            let before = match owner {
                Some(owner) => {
                    *inner.items.entry(owner.clone()).or_default() += 1;
                    inner.owners.insert(item, owner)
                }
                None => inner.owners.remove(&item),
            };
            let Some(before) = before else { continue };
            if let Some(items) = inner.items.get_mut(&before) {
                *items -= 1;
                if *items == 0 {
                    inner.items.remove(&before);
                }
            }
        }
    }

    /// A node is to enforce this version, in which these items are new or gone and which these
    /// documents led to. `whole`: it is all that the node has.
    pub fn wanted<'a>(
        &self,
        node: &Arc<str>,
        version: u64,
        items: impl Iterator<Item = (&'a ItemKey, bool)>,
        led: &BTreeSet<Key>,
    ) {
        let mut inner = crate::lock(&self.inner);
        let mut keys: BTreeSet<Key> = led.clone();
        let owners = &inner.owners;
        let owned = items.filter(|(_, there)| *there);
        keys.extend(owned.filter_map(|(item, _)| owners.get(item)).cloned());
        keys.retain(|key| inner.documents.contains_key(key));
        for key in &keys {
            if let Some(state) = inner.documents.get_mut(key) {
                state.nodes.insert(node.clone(), false);
                state.refusals.remove(node);
            }
        }
        inner.tell(&keys);
        let pending = inner.pending.entry(node.clone()).or_default();
        pending.entry(version).or_default().extend(keys);
    }

    /// A node enforces everything up to this version.
    pub fn applied(&self, node: &str, version: u64) {
        let mut inner = crate::lock(&self.inner);
        let Some((node, mut pending)) = inner.pending.remove_entry(node) else {
            return;
        };
        let later = pending.split_off(&version.saturating_add(1));
        let waiting: BTreeSet<&Key> = later.values().flatten().collect();
        let keys: BTreeSet<Key> = pending.into_values().flatten().collect();
        for key in &keys {
            let Some(state) = inner.documents.get_mut(key) else {
                continue;
            };
            state.refusals.remove(&node);
            if !waiting.contains(key)
                && let Some(enforces) = state.nodes.get_mut(&node)
            {
                *enforces = true;
            }
        }
        inner.tell(&keys);
        inner.pending.insert(node, later);
    }

    /// A node refused this version.
    pub fn refused(&self, node: &str, version: u64, reason: &str) {
        let mut inner = crate::lock(&self.inner);
        let Some((node, pending)) = inner.pending.remove_entry(node) else {
            return;
        };
        let until = pending.range(..=version).flat_map(|(_, keys)| keys);
        let keys: BTreeSet<Key> = until.cloned().collect();
        for key in &keys {
            if let Some(state) = inner.documents.get_mut(key) {
                state.refusals.insert(node.clone(), reason.to_owned());
            }
        }
        inner.tell(&keys);
        inner.pending.insert(node, pending);
    }

    /// How many items of the policy come of a document.
    pub fn items(&self, key: &DocumentKey) -> u32 {
        let inner = crate::lock(&self.inner);
        let items = inner.items.get(&compile_key(key));
        items.copied().unwrap_or_default()
    }

    /// The documents whose newest state a node has not acknowledged, and why it refuses them, if it
    /// does.
    pub fn waiting(&self, node: &str) -> (BTreeSet<DocumentKey>, String) {
        let inner = crate::lock(&self.inner);
        let pending = inner.pending.get(node).into_iter().flatten();
        let mut refusal = String::new();
        let mut keys = BTreeSet::new();
        for key in pending.flat_map(|(_, keys)| keys) {
            let Some(state) = inner.documents.get(key) else {
                continue;
            };
            if let Some(why) = state.refusals.get(node) {
                refusal.clone_from(why);
            }
            keys.insert(source_key(key));
        }
        (keys, refusal)
    }

    /// Another controller says of a node that it enforces everything up to what is this version here,
    /// but for these documents.
    pub fn told(&self, node: &str, version: u64, waiting: &BTreeSet<DocumentKey>, refusal: &str) {
        let mut inner = crate::lock(&self.inner);
        let Some((node, mut pending)) = inner.pending.remove_entry(node) else {
            return;
        };
        let mut left = pending.split_off(&version.saturating_add(1));
        let newer: BTreeSet<Key> = left.values().flatten().cloned().collect();
        let waiting: BTreeSet<Key> = waiting.iter().map(compile_key).collect();
        let reached: BTreeSet<Key> = pending.into_values().flatten().collect();
        let mut changed = BTreeSet::new();
        for key in reached.union(&waiting).filter(|key| !newer.contains(*key)) {
            let Some(state) = inner.documents.get_mut(key) else {
                continue;
            };
            let Some(enforces) = state.nodes.get_mut(&node) else {
                continue;
            };
            let waits = waiting.contains(key);
            let why = Some(refusal).filter(|why| waits && !why.is_empty());
            if *enforces == waits || state.refusals.get(&node).map(String::as_str) != why {
                changed.insert(key.clone());
            }
            *enforces = !waits;
            match why {
                Some(why) => state.refusals.insert(node.clone(), why.to_owned()),
                None => state.refusals.remove(&node),
            };
            if waits {
                left.entry(version).or_default().insert(key.clone());
            }
        }
        inner.tell(&changed);
        inner.pending.insert(node, left);
    }

    /// Documents that concern every node, although no item of the policy is theirs alone.
    pub fn of_everybody(&self) -> BTreeSet<Key> {
        let inner = crate::lock(&self.inner);
        let keys = inner.documents.keys();
        let keys = keys.filter(|key| matches!(key.kind, Kind::Mode | Kind::Settings));
        keys.cloned().collect()
    }

    /// A node needs nothing any more.
    pub fn forget(&self, node: &str) {
        let mut inner = crate::lock(&self.inner);
        inner.pending.remove(node);
        let mut keys = BTreeSet::new();
        for (key, state) in &mut inner.documents {
            if state.nodes.remove(node).is_some() {
                state.refusals.remove(node);
                keys.insert(key.clone());
            }
        }
        inner.tell(&keys);
    }
}

impl Changes {
    /// Waits until standings have changed. A document that is gone has none.
    pub async fn next(&mut self, standings: &Standings) -> Vec<(DocumentKey, Option<Standing>)> {
        loop {
            let keys = std::mem::take(&mut *crate::lock(&self.waiting.keys));
            if !keys.is_empty() {
                let inner = crate::lock(&standings.inner);
                let standing = |key: &Key| inner.documents.get(key).map(State::standing);
                return (keys.iter())
                    .map(|key| (source_key(key), standing(key)))
                    .collect();
            }
            self.waiting.more.notified().await;
        }
    }
}

impl Inner {
    fn tell<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        if self.followers.is_empty() {
            return;
        }
        let keys: Vec<&Key> = keys.into_iter().collect();
        self.followers.retain(|follower| {
            let Some(waiting) = follower.upgrade() else {
                return false;
            };
            crate::lock(&waiting.keys).extend(keys.iter().map(|key| (*key).clone()));
            waiting.more.notify_one();
            true
        });
    }
}

impl State {
    /// How it stands in a word.
    fn word(&self) -> &'static str {
        match () {
            () if !self.refused.is_empty() => "refused",
            () if !self.unresolved.is_empty() => "unresolved",
            () if self.nodes.values().all(|enforces| *enforces) => "enforced",
            () => "pending",
        }
    }

    fn standing(&self) -> Standing {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let refusals = self.refusals.iter();
        Standing {
            revision: self.revision,
            refused: self.refused.clone(),
            unresolved: self.unresolved.clone(),
            programmed: Programmed {
                enforcing: count(self.nodes.values().filter(|enforces| **enforces).count()),
                wanted: count(self.nodes.len()),
                refusals: refusals
                    .map(|(node, why)| (node.to_string(), why.clone()))
                    .collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            kind: Kind::Allowlist,
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn programmed(standings: &Standings, name: &str) -> (u32, u32, usize) {
        let standing = standings.of(&source_key(&key(name))).unwrap();
        let programmed = standing.programmed;
        (
            programmed.enforcing,
            programmed.wanted,
            programmed.refusals.len(),
        )
    }

    #[tokio::test]
    async fn a_document_is_enforced_where_its_newest_state_was_acknowledged() {
        let standings = Standings::default();
        let mut changes = standings.follow();
        let (one, two): (Arc<str>, Arc<str>) = ("node-1".into(), "node-2".into());
        let item = ItemKey::Rule(7);
        standings.seen(&key("db"), 3, None);
        standings.owned([(item.clone(), Some(key("db")))]);
        for node in [&one, &two] {
            standings.wanted(node, 5, [(&item, true)].into_iter(), &BTreeSet::new());
        }
        assert_eq!(programmed(&standings, "db"), (0, 2, 0));
        standings.applied("node-1", 5);
        standings.refused("node-2", 5, "no memory");
        assert_eq!(programmed(&standings, "db"), (1, 2, 1));
        let told = changes.next(&standings).await;
        assert_eq!((told.len(), told[0].1.as_ref().unwrap().revision), (1, 3));
        // A newer state is on its way while the older one is acknowledged.
        standings.wanted(&one, 6, [(&item, true)].into_iter(), &BTreeSet::new());
        standings.wanted(&one, 8, [(&item, true)].into_iter(), &BTreeSet::new());
        standings.applied("node-1", 6);
        assert_eq!(programmed(&standings, "db"), (0, 2, 1));
        standings.applied("node-1", 9);
        standings.applied("node-2", 9);
        assert_eq!(programmed(&standings, "db"), (2, 2, 0));
        standings.forget("node-2");
        assert_eq!(programmed(&standings, "db"), (1, 1, 0));
        standings.gone(&key("db"));
        let told = changes.next(&standings).await;
        assert_eq!(told, [(source_key(&key("db")), None)]);
    }

    #[tokio::test]
    async fn what_another_controller_says_of_a_node_counts_up_to_the_version_that_it_is_about() {
        let standings = Standings::default();
        let mut changes = standings.follow();
        let node: Arc<str> = "node-1".into();
        let items = [ItemKey::Rule(1), ItemKey::Rule(2), ItemKey::Rule(3)];
        for (item, name) in items.iter().zip(["a", "b", "c"]) {
            standings.seen(&key(name), 1, None);
            standings.owned([(item.clone(), Some(key(name)))]);
        }
        assert_eq!(standings.items(&source_key(&key("a"))), 1);
        let there = |item| [(item, true)].into_iter();
        for (item, version) in items.iter().zip([5, 5, 6]) {
            standings.wanted(&node, version, there(item), &BTreeSet::new());
        }
        let _ = changes.next(&standings).await;
        let waiting = BTreeSet::from([source_key(&key("b"))]);
        standings.told("node-1", 5, &waiting, "no memory");
        assert_eq!(programmed(&standings, "a"), (1, 1, 0));
        assert_eq!(programmed(&standings, "b"), (0, 1, 1));
        assert_eq!(programmed(&standings, "c"), (0, 1, 0), "it came later");
        assert_eq!(changes.next(&standings).await.len(), 2);
        // Said again, nothing changes; then it has got over it.
        standings.told("node-1", 5, &waiting, "no memory");
        standings.told("node-1", 6, &BTreeSet::new(), "");
        assert_eq!(programmed(&standings, "b"), (1, 1, 0));
        let told: Vec<String> = (changes.next(&standings).await.into_iter())
            .map(|(key, _)| key.name)
            .collect();
        assert_eq!(told, ["b", "c"]);
        let (waiting, refusal) = standings.waiting("node-1");
        assert!(waiting.is_empty() && refusal.is_empty());
        // What was acknowledged can be lost again: a node that begins anew.
        standings.told("node-1", 6, &BTreeSet::from([source_key(&key("a"))]), "");
        assert_eq!(programmed(&standings, "a"), (0, 1, 0));
        assert_eq!(standings.waiting("node-1").0.len(), 1);
        standings.owned([(ItemKey::Rule(1), None)]);
        assert_eq!(standings.items(&source_key(&key("a"))), 0);
    }
}
