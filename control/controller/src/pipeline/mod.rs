//! From changes of documents to what each node is to have: compile, number, remember, scope.
//!
//! What cannot be compiled changes nothing: the last good state of a document holds. What cannot be
//! remembered is not given out. The work for a change depends on what it changes and for whom, not on
//! the size of the whole. Memory: the documents, what they compile to, and for every node that
//! subscribed lately the entries of its part.

mod items;
mod standings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{info, warn};
use weir_api::v1;
use weir_api::{Contents, Item, ItemKey};
use weir_compile::{Assignments, Change, Compilation, Effect, Global, Key, Scopes, SpecChange};
use weir_model::{Document, Kind, Located};

use crate::metrics::Given;
use crate::push::target::Target;
use crate::store::{Store, StoreError};
use items::{ItemChange, Items};
pub use standings::{Changes, Standings, compile_key, source_key};

/// So many versions are set aside at a time: only then is the disk asked.
const VERSIONS_AHEAD: u64 = 1024;
/// A node that was away for longer is forgotten: it is sent everything when it comes back.
const AWAY: Duration = Duration::from_secs(600);

/// Makes policy. One change at a time.
#[derive(Debug)]
pub struct Pipeline {
    inner: Mutex<Inner>,
    /// Tells that [`Inner::writing`] is over.
    idle: Condvar,
    store: Arc<Store>,
    /// Given out last.
    version: Arc<AtomicU64>,
    /// Counts what was given out, and what changed documents without changing the policy.
    state: watch::Sender<u64>,
    /// When versions were given out.
    pub given: Given,
    /// What became of each document.
    pub standings: Standings,
}

#[derive(Debug)]
struct Inner {
    compilation: Compilation,
    scopes: Scopes,
    items: Items,
    nodes: HashMap<Arc<str>, Node>,
    /// Everything, for nodes that speak version 1 of the contract.
    whole: Option<Node>,
    /// No version above was given out by this controller or an earlier one.
    ceiling: u64,
    /// A version that a node enforces although none was given out yet.
    floor: u64,
    /// Compiled, but not given out yet: the store failed.
    pending: Vec<Effect>,
    /// Documents whose newest state is not on disk.
    unwritten: BTreeMap<Key, Option<Arc<Located<Document>>>>,
    /// What is on its way to the disk is not waited for, but nothing else is written meanwhile.
    writing: bool,
    /// The state of the identities' numbers that is on disk.
    written: u64,
    /// Signed policy, which every node gets.
    bundle: Option<Item>,
}

#[derive(Debug)]
struct Node {
    target: Arc<Target>,
    subscriptions: u32,
    left: Instant,
}

/// As long as it lives something is on its way to the disk.
struct Writing<'a>(&'a Pipeline);

/// Everything at one moment.
#[derive(Debug, Default)]
pub struct Whole {
    /// See [`Pipeline::state`].
    pub state: u64,
    /// The version that nodes were given last.
    pub version: u64,
    /// The policy as the change that leads to it from nothing.
    pub items: SpecChange,
    /// What is probably not meant by its documents.
    pub warnings: Vec<weir_model::Problem>,
    /// The documents in force.
    pub documents: Vec<Arc<Located<Document>>>,
}

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The version now.
    pub version: u64,
    /// Whether it is a new one.
    pub new: bool,
}

impl Pipeline {
    /// With what the store remembers.
    pub fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let assignments: Assignments = store.assignments()?.unwrap_or_default();
        let documents = store.documents()?;
        let version = store.version()?;
        let mut compilation = Compilation::new(Some(&assignments));
        let puts = documents.into_iter().map(|one| Change::Put(Arc::new(one)));
        let effect = compilation.apply(puts);
        let everything = compilation.everything();
        let mut scopes = Scopes::default();
        scopes.apply(&everything);
        let standings = Standings::default();
        standings.owned(owners(&everything.spec));
        let refused: usize = effect
            .outcomes
            .values()
            .filter(|it| !it.refused.is_empty())
            .count();
        if refused > 0 {
            warn!(
                refused,
                "remembered documents are not taken by this version"
            );
        }
        Ok(Self {
            inner: Mutex::new(Inner {
                compilation,
                scopes,
                items: Items::default(),
                nodes: HashMap::new(),
                whole: None,
                ceiling: version,
                floor: 0,
                pending: Vec::new(),
                unwritten: BTreeMap::new(),
                writing: false,
                written: assignments.changes(),
                bundle: None,
            }),
            idle: Condvar::new(),
            store,
            version: Arc::new(AtomicU64::new(version)),
            state: watch::Sender::new(1),
            given: Given::default(),
            standings,
        })
    }

    /// The newest version; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Where the version stands that nodes were given last.
    pub fn newest(&self) -> Arc<AtomicU64> {
        self.version.clone()
    }

    /// Goes up with everything that [`Pipeline::whole`] tells.
    pub fn state(&self) -> watch::Receiver<u64> {
        self.state.subscribe()
    }

    /// Takes changes and lets nodes have what they lead to. What cannot be remembered now is not given
    /// out: it waits for [`Pipeline::retry`].
    pub fn apply(&self, changes: Vec<Change>) -> Result<Publication, StoreError> {
        let mut inner = crate::lock(&self.inner);
        let kept: Vec<Key> = changes.iter().map(Change::key).collect();
        let effect = inner.compilation.apply(changes);
        let documents: BTreeMap<Key, Option<Arc<Located<Document>>>> = {
            let in_force = |key: Key| {
                let document = inner.document(&key);
                (key, document)
            };
            let led = effect.outcomes.keys().cloned();
            kept.into_iter().chain(led).map(in_force).collect()
        };
        inner.unwritten.extend(documents);
        self.standings.outcomes(&effect.outcomes);
        inner.pending.push(effect);
        self.give_out(inner)
    }

    /// Gives out what could not be remembered when it came.
    pub fn retry(&self) -> Result<Publication, StoreError> {
        self.give_out(crate::lock(&self.inner))
    }

    /// Lifts the version to `least`, above what a node enforces already: this controller's memory was
    /// lost, or another one numbered the node's policy. Versions never go back.
    pub fn raise(&self, least: u64) -> Result<u64, StoreError> {
        let mut inner = self.when_idle();
        if self.version() == 0 {
            inner.floor = inner.floor.max(least.saturating_sub(1));
        } else if least > self.version() {
            self.reserve(&mut inner, least)?;
            self.version.store(least, Ordering::SeqCst);
            self.state.send_modify(|state| *state += 1);
        }
        Ok(self.version())
    }

    /// Gives every node this signed policy, from now on.
    pub fn carry(&self, bundle: &v1::SignedBundle) -> Result<Publication, StoreError> {
        let mut inner = self.when_idle();
        let (key, item) = Item::of_bundle(bundle);
        let known = inner.bundle.replace(item.clone()).as_ref() == Some(&item);
        let own = self.version();
        if known || inner.nodes.is_empty() || own == 0 {
            return Ok(Publication {
                version: own,
                new: false,
            });
        }
        let version = own + 1;
        self.reserve(&mut inner, version)?;
        for node in inner.nodes.values() {
            node.target
                .change(version, [(key.clone(), Some(item.clone()))]);
        }
        self.version.store(version, Ordering::SeqCst);
        self.state.send_modify(|state| *state += 1);
        Ok(Publication { version, new: true })
    }

    /// What a node is to have, from now on. `whole`: everything, whatever runs there.
    pub fn subscribe(&self, name: &str, whole: bool) -> Arc<Target> {
        let mut inner = crate::lock(&self.inner);
        self.forget_absent(&mut inner);
        let version = self.version();
        if whole {
            let inner = &mut *inner;
            let node = inner.whole.get_or_insert_with(|| {
                Node::of(version, inner.items.of(&inner.compilation.items()))
            });
            node.subscriptions += 1;
            return node.target.clone();
        }
        let name: Arc<str> = name.into();
        if !inner.nodes.contains_key(&name) {
            let inner = &mut *inner;
            inner.scopes.add_node(&name);
            let everything = inner.scopes.everything(&name).unwrap_or_default();
            let bundle = inner
                .bundle
                .clone()
                .map(|item| (ItemKey::Bundle, Some(item)));
            let items = inner.items.of(&everything).into_iter().chain(bundle);
            let node = Node::of(version, items.collect());
            if version > 0 {
                let (_, contents) = node.target.contents();
                let items = contents.items().map(|(key, _)| (key, true));
                let led = self.standings.of_everybody();
                self.standings.wanted(&name, version, items, &led);
            }
            inner.nodes.insert(name.clone(), node);
        }
        match inner.nodes.get_mut(&name) {
            Some(node) => {
                node.subscriptions += 1;
                node.target.clone()
            }
            None => Arc::default(),
        }
    }

    /// A subscription has ended.
    pub fn unsubscribe(&self, name: &str, whole: bool) {
        let mut inner = crate::lock(&self.inner);
        let node = match whole {
            true => inner.whole.as_mut(),
            false => inner.nodes.get_mut(name),
        };
        if let Some(node) = node {
            node.subscriptions = node.subscriptions.saturating_sub(1);
            node.left = Instant::now();
        }
    }

    /// A node is gone for good, unless it is subscribed.
    pub fn forget(&self, name: &str) {
        let mut inner = crate::lock(&self.inner);
        if (inner.nodes.get(name)).is_some_and(|node| node.subscriptions == 0) {
            inner.nodes.remove(name);
            inner.scopes.remove_node(name);
            self.standings.forget(name);
        }
    }

    /// What waits for the store: changes that are not given out, documents that are not written down.
    pub fn waiting(&self) -> (usize, usize) {
        let inner = crate::lock(&self.inner);
        (inner.pending.len(), inner.unwritten.len())
    }

    /// The documents in force.
    pub fn documents(&self) -> Vec<Arc<Located<Document>>> {
        crate::lock(&self.inner).documents()
    }

    /// Those of one kind.
    pub fn documents_of(&self, kind: Kind) -> Vec<Arc<Located<Document>>> {
        let inner = crate::lock(&self.inner);
        inner.compilation.documents_of(kind).cloned().collect()
    }

    /// The state of a document that is in force.
    pub fn document(&self, key: &Key) -> Option<Arc<Located<Document>>> {
        crate::lock(&self.inner).document(key)
    }

    /// How many workloads a document in force is for; none where it has no target.
    pub fn targets(&self, key: &Key) -> Option<u32> {
        let targets = crate::lock(&self.inner).compilation.targets(key)?;
        Some(u32::try_from(targets).unwrap_or(u32::MAX))
    }

    /// The keys of all documents, those that were refused too.
    pub fn keys(&self) -> BTreeSet<Key> {
        let inner = crate::lock(&self.inner);
        let in_force = inner.compilation.documents().map(|(key, _)| key);
        let refused = inner.compilation.refused().map(|(key, _)| key);
        in_force.chain(refused).cloned().collect()
    }

    /// Whether this is the state of a document that is in force.
    pub fn has(&self, document: &Located<Document>) -> bool {
        let inner = crate::lock(&self.inner);
        let in_force = inner.document(&Key::of(&document.value));
        in_force.is_some_and(|one| one.value == document.value && one.place() == document.place())
    }

    /// Everything as nodes were given it; none where something newer waits for the store. Changes wait
    /// while the references are copied.
    pub fn whole(&self) -> Option<Whole> {
        let inner = crate::lock(&self.inner);
        inner.pending.is_empty().then(|| Whole {
            state: *self.state.borrow(),
            version: self.version(),
            items: inner.compilation.items(),
            warnings: inner.compilation.warnings(),
            documents: inner.documents(),
        })
    }

    /// The numbers that identities have.
    pub fn assignments(&self) -> Assignments {
        crate::lock(&self.inner).compilation.assignments().clone()
    }

    /// Writes what is not on disk. Blocks on the disk, and no pod's event with it.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut inner = self.when_idle();
        let (numbered, assignments) = inner.unwritten_assignments();
        if inner.unwritten.is_empty() && assignments.is_none() {
            return Ok(());
        }
        let (ceiling, documents) = (inner.ceiling, std::mem::take(&mut inner.unwritten));
        inner.writing = true;
        drop(inner);
        let writing = Writing(self);
        let written = (self.store).publish(ceiling, &documents, assignments.as_ref());
        let mut inner = crate::lock(&self.inner);
        match written {
            Ok(()) => inner.written = numbered,
            Err(_) => {
                for (key, document) in documents {
                    inner.unwritten.entry(key).or_insert(document);
                }
            }
        }
        drop(inner);
        drop(writing);
        written
    }

    /// The last writing: a controller that starts again goes on with the very version.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut inner = self.when_idle();
        let version = self.version();
        self.write(&mut inner, version)
    }

    /// Numbers what is pending and lets nodes have it.
    fn give_out(&self, inner: MutexGuard<'_, Inner>) -> Result<Publication, StoreError> {
        let in_the_way = |inner: &mut Inner| {
            let next = self.version().max(inner.floor) + 1;
            inner.writing && inner.must_write(next)
        };
        let inner = self.idle.wait_while(inner, in_the_way);
        let mut inner = inner.unwrap_or_else(PoisonError::into_inner);
        let own = self.version();
        let changes = |effect: &Effect| !effect.spec.is_empty() || !effect.placements.is_empty();
        if own > 0 && !inner.pending.iter().any(changes) {
            inner.pending.clear();
            self.state.send_modify(|state| *state += 1);
            return Ok(Publication {
                version: own,
                new: false,
            });
        }
        let version = own.max(inner.floor) + 1;
        self.reserve(&mut inner, version)?;
        let mut concerned = BTreeSet::new();
        // Before a node can answer.
        self.given.now(version);
        for effect in std::mem::take(&mut inner.pending) {
            self.give(&mut inner, version, &effect, &mut concerned);
        }
        // Not before: a node for which something changed does not count as having the newest.
        self.version.store(version, Ordering::SeqCst);
        self.state.send_modify(|state| *state += 1);
        info!(version, nodes = concerned.len(), "policy published");
        Ok(Publication { version, new: true })
    }

    fn give(
        &self,
        inner: &mut Inner,
        version: u64,
        effect: &Effect,
        concerned: &mut BTreeSet<Arc<str>>,
    ) {
        self.standings.owned(owners(&effect.spec));
        let led: BTreeSet<Key> = effect.outcomes.keys().cloned().collect();
        if let Some(whole) = &inner.whole {
            whole.target.change(version, inner.items.of(&effect.spec));
        }
        let mut scoped = inner.scopes.apply(effect);
        if self.version() == 0 {
            let known: BTreeSet<Arc<str>> = scoped.iter().map(|(name, _)| name.clone()).collect();
            let others = inner.nodes.keys().filter(|name| !known.contains(*name));
            scoped.extend(others.map(|name| (name.clone(), SpecChange::default())));
        }
        for (name, change) in scoped {
            let items: Vec<ItemChange> = inner.items.of(&change);
            let Some(node) = inner.nodes.get(&name) else {
                continue;
            };
            let keys: Vec<(ItemKey, bool)> = (items.iter())
                .map(|(key, item)| (key.clone(), item.is_some()))
                .collect();
            // Before the node can answer.
            let wanted = keys.iter().map(|(key, there)| (key, *there));
            self.standings.wanted(&name, version, wanted, &led);
            node.target.change(version, items);
            concerned.insert(name);
        }
    }

    /// Makes sure that this version is never given out again, whatever happens.
    fn reserve(&self, inner: &mut Inner, version: u64) -> Result<(), StoreError> {
        if !inner.must_write(version) {
            return Ok(());
        }
        let ceiling = match version <= inner.ceiling {
            true => inner.ceiling,
            false => version.saturating_add(VERSIONS_AHEAD),
        };
        self.write(inner, ceiling)
    }

    fn write(&self, inner: &mut Inner, ceiling: u64) -> Result<(), StoreError> {
        let (numbered, assignments) = inner.unwritten_assignments();
        self.store
            .publish(ceiling, &inner.unwritten, assignments.as_ref())?;
        inner.ceiling = ceiling;
        inner.unwritten.clear();
        inner.written = numbered;
        Ok(())
    }

    /// When nothing is on its way to the disk.
    fn when_idle(&self) -> MutexGuard<'_, Inner> {
        let inner = crate::lock(&self.inner);
        let inner = self.idle.wait_while(inner, |inner| inner.writing);
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_absent(&self, inner: &mut Inner) {
        let absent = |node: &Node| node.subscriptions == 0 && node.left.elapsed() > AWAY;
        if inner.whole.as_ref().is_some_and(absent) {
            inner.whole = None;
        }
        let gone = inner.nodes.iter().filter(|(_, node)| absent(node));
        let gone: Vec<Arc<str>> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            inner.nodes.remove(&name);
            inner.scopes.remove_node(&name);
            self.standings.forget(&name);
        }
    }
}

impl Inner {
    fn documents(&self) -> Vec<Arc<Located<Document>>> {
        let documents = self.compilation.documents();
        documents.map(|(_, document)| document.clone()).collect()
    }

    fn document(&self, key: &Key) -> Option<Arc<Located<Document>>> {
        self.compilation.document(key).cloned()
    }

    /// Whether something has to be on disk before this version is given out.
    fn must_write(&self, version: u64) -> bool {
        version > self.ceiling || self.unwritten.keys().any(|key| !is_fact(key.kind))
    }

    /// The state of the identities' numbers, and they themselves where those on disk are older.
    fn unwritten_assignments(&self) -> (u64, Option<Assignments>) {
        let assignments = self.compilation.assignments();
        let changes = assignments.changes();
        (
            changes,
            (changes != self.written).then(|| assignments.clone()),
        )
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        crate::lock(&self.0.inner).writing = false;
        self.0.idle.notify_all();
    }
}

impl Node {
    fn of(version: u64, items: Vec<ItemChange>) -> Self {
        // A change tells of settings only where they differ from these.
        let Global {
            unknown,
            link,
            deny_style,
            claims: _,
        } = Global::default();
        let mut contents = Contents::default();
        for (key, item) in Item::of_settings(&unknown, &link, deny_style) {
            contents.put(key, Some(item));
        }
        for (key, item) in items {
            contents.put(key, item);
        }
        let target = Target::new(version, contents);
        Self {
            target: Arc::new(target),
            subscriptions: 0,
            left: Instant::now(),
        }
    }
}

/// What the cluster says of itself and will say again; policy is what people wrote.
fn is_fact(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Workload | Kind::Service | Kind::Namespace | Kind::LearnedProfile
    )
}

/// Which document an item comes from: its name begins with the document's title.
fn owners(change: &SpecChange) -> impl Iterator<Item = (ItemKey, Option<Key>)> {
    let rules = change
        .rules
        .iter()
        .map(|it| (ItemKey::Rule(it.id), &it.name));
    let sensors = (change.sensors.iter()).map(|it| (ItemKey::Sensor(it.id), &it.name));
    let threats =
        (change.threat_policies.iter()).map(|it| (ItemKey::ThreatPolicy(it.id), &it.name));
    let gone = change.removed_rules.iter().copied().map(ItemKey::Rule);
    let gone = gone.chain(change.removed_sensors.iter().copied().map(ItemKey::Sensor));
    let removed = change.removed_threat_policies.iter().copied();
    let gone = gone.chain(removed.map(ItemKey::ThreatPolicy));
    let gone: Vec<(ItemKey, Option<Key>)> = gone.map(|key| (key, None)).collect();
    let named = rules.chain(sensors).chain(threats);
    let named: Vec<_> = named.map(|(key, name)| (key, document_of(name))).collect();
    gone.into_iter().chain(named)
}

/// "allowlist shop/photo-db ingress[0]" comes from the Allowlist photo-db in shop.
fn document_of(name: &str) -> Option<Key> {
    let mut words = name.split(' ');
    let (kind, full_name) = (words.next()?, words.next()?);
    let kind = Kind::ALL.into_iter().find(|one| one.lower() == kind)?;
    let (namespace, name) = full_name.split_once('/').unwrap_or(("", full_name));
    Some(Key {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}
