//! What the server keeps: objects, and every change since the last compaction, from which watches and
//! lists of the past are answered.
//!
//! Memory: the objects, and two references per change in the log, of which the oldest go beyond
//! `LOG_CHANGES`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

/// Changes kept; a test that makes more sees 410 for the oldest, as with a real server.
const LOG_CHANGES: usize = 200_000;

/// The first revision: a cluster's own objects have used up some.
const FIRST_REVISION: u64 = 200;

/// Where an object is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `pods`, `leases.coordination.k8s.io`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One change: before and after.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// Objects and their history.
#[derive(Debug)]
pub(crate) struct Store {
    revision: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    compacted: u64,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store {
            revision: FIRST_REVISION,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: 0,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Changes up to here are gone.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Objects of a resource, in the order in which the real server lists them.
    pub(crate) fn list<'a>(
        &'a self,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key {
            resource: resource.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        self.objects.range(first..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|one| key.namespace == one)
        })
    }

    /// Objects of a resource as they were at a revision.
    pub(crate) fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Vec<(Key, Arc<Value>)> {
        let mut objects: BTreeMap<Key, Arc<Value>> = self
            .list(resource, namespace)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        for change in self
            .log
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            if change.key.resource != resource
                || namespace.is_some_and(|one| change.key.namespace != one)
            {
                continue;
            }
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        objects.into_iter().collect()
    }

    /// Writes an object, which gets the next revision.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        let after = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&after));
        self.record(Change {
            revision: self.revision,
            key,
            before,
            after: Some(Arc::clone(&after)),
        });
        after
    }

    /// Removes an object; what is told of it carries the revision of its end.
    pub(crate) fn remove(&mut self, key: &Key, mut last: Value) -> Arc<Value> {
        self.revision += 1;
        self.objects.remove(key);
        last["metadata"]["resourceVersion"] = Value::from(self.revision.to_string());
        let before = Arc::new(last);
        self.record(Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(Arc::clone(&before)),
            after: None,
        });
        before
    }

    /// Changes after a revision, oldest first.
    pub(crate) fn since(&self, revision: u64) -> impl Iterator<Item = &Change> {
        let start = self
            .log
            .partition_point(|change| change.revision <= revision);
        self.log.range(start..)
    }

    /// Forgets every change so far.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision;
        self.log.clear();
    }

    fn record(&mut self, change: Change) {
        self.log.push_back(change);
        if self.log.len() > LOG_CHANGES
            && let Some(oldest) = self.log.pop_front()
        {
            self.compacted = oldest.revision;
        }
    }
}
