//! What all requests share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::watch;

use crate::Options;
use crate::admission::Services;
use crate::custom;
use crate::faults::Faults;
use crate::identity::{IssuedToken, User};
use crate::kind::{self, Kind};
use crate::store::{Key, Store};

/// What all requests share. Locks are held for moments, never across an await.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) services: Services,
    store: Mutex<Store>,
    revisions: watch::Sender<u64>,
    kinds: RwLock<Vec<Arc<Kind>>>,
    users: RwLock<Vec<User>>,
    tokens: Mutex<Vec<IssuedToken>>,
}

impl State {
    pub(crate) fn new(options: Options) -> State {
        let users = RwLock::new(options.users.clone());
        State {
            options,
            faults: Faults::default(),
            services: Services::default(),
            store: Mutex::new(Store::new()),
            revisions: watch::Sender::new(0),
            kinds: RwLock::new(kind::builtin()),
            users,
            tokens: Mutex::default(),
        }
    }

    /// The store, for one step. What was written becomes visible to watches with `publish`.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes watches after a write.
    pub(crate) fn publish(&self) {
        let revision = self.store().revision();
        self.revisions.send_replace(revision);
    }

    /// Told of every write.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.store().get(&key).cloned()
    }

    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<(Key, Arc<Value>)> {
        self.store()
            .list(resource, namespace)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect()
    }

    /// Every kind that is served now.
    pub(crate) fn kinds(&self) -> Vec<Arc<Kind>> {
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The kind that is served at `group/version/plural`.
    pub(crate) fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds
            .iter()
            .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
            .cloned()
    }

    /// Serves what the CRDs say now.
    pub(crate) fn refresh_custom_kinds(&self) {
        let definitions = self.list("customresourcedefinitions.apiextensions.k8s.io", None);
        let mut kinds = kind::builtin();
        for (_, definition) in definitions {
            kinds.extend(custom::kinds_of(&definition).into_iter().map(Arc::new));
        }
        *self.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    /// Whoever holds this token.
    pub(crate) fn user_of(&self, token: &str) -> Option<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = users.iter().find(|user| user.token == token) {
            return Some(user.clone());
        }
        let issued = self.issued(token)?;
        let own = issued
            .audiences
            .iter()
            .any(|audience| audience == crate::ISSUER);
        (own && issued.check(self).is_ok())
            .then(|| User::service_account(&issued.namespace, &issued.service_account, token))
    }

    pub(crate) fn named_user(&self, name: &str) -> Option<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.iter().find(|user| user.name == name).cloned()
    }

    pub(crate) fn add_user(&self, user: User) {
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.retain(|one| one.token != user.token);
        users.push(user);
    }

    pub(crate) fn remove_user(&self, name: &str) {
        self.users
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|user| user.name != name);
    }

    pub(crate) fn issue(&self, token: IssuedToken) {
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(token);
    }

    pub(crate) fn issued(&self, token: &str) -> Option<IssuedToken> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().find(|one| one.token == token).cloned()
    }
}
