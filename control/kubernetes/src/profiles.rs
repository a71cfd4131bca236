//! What was learned, kept at the API server: a LearnedProfile for each workload, in its namespace and
//! under its name. Any controller may write any of them: a write is taken only where nobody wrote in
//! between, and who was too late is told what stands there now.
//!
//! No object has an owner that it would be deleted with: a Deployment that is deleted and applied again is
//! the same workload. Hosts of the cluster have no namespace; theirs are in Weir's own.
//!
//! Memory: a version for each object.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use weir_model::{API_VERSION, GROUP, Kind, LearnedStatus, Problem, VERSION, check_name};

use crate::identity::NODES_NAMESPACE;
use crate::trouble::Trouble;
use crate::watch::{Item, Listener, Target, Told as Watched, Watch};

/// What it means that they cannot be read or written.
const MEANWHILE: &str =
    "What this controller learned is in its own store, and the others do not hear of it";
/// Profiles ahead of who reads them: one may be large.
const AHEAD: usize = 8;
/// Attempts at an object that comes and goes.
const ATTEMPTS: usize = 3;

/// What is told of the objects.
#[derive(Clone, Debug)]
pub enum Told {
    /// An object says this.
    Profile {
        /// "namespace/name" of its workload.
        workload: String,
        /// What it says; nothing where it cannot be read.
        status: Box<LearnedStatus>,
    },
    /// An object is gone.
    Gone {
        /// "namespace/name" of its workload.
        workload: String,
    },
    /// All that there were have been told.
    Complete,
    /// They cannot be read, or can again.
    Condition(Option<Problem>),
}

/// What became of writing.
#[derive(Clone, Debug)]
pub enum Wrote {
    /// It is written.
    Written,
    /// Somebody else wrote meanwhile; this is what it says now.
    Changed(Box<LearnedStatus>),
    /// There is no namespace for it.
    Nowhere,
}

/// Reads and writes the objects.
#[derive(Clone)]
pub struct Profiles {
    client: Client,
    namespace: String,
    timeout: Duration,
    versions: Arc<Mutex<HashMap<String, String>>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProfile {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    status: Value,
}

struct Teller {
    profiles: Profiles,
    sender: mpsc::Sender<Told>,
    /// While a list is read, what it brought.
    listed: Mutex<Option<HashSet<String>>>,
}

impl Profiles {
    /// Those of this server; `namespace` is Weir's own.
    pub fn new(client: Client, namespace: &str, timeout: Duration) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            timeout,
            versions: Arc::default(),
        }
    }

    /// Everything that the objects say, then what changes. Ends when the receiver is dropped.
    pub fn watch(&self) -> mpsc::Receiver<Told> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let plural = Kind::LearnedProfile.plural();
        let target = Target {
            path: format!("/apis/{GROUP}/{VERSION}/{plural}"),
            kind: Kind::LearnedProfile.name(),
            metadata: false,
        };
        let listener = Teller {
            profiles: self.clone(),
            sender,
            listed: Mutex::default(),
        };
        let watch = Watch::new(self.client.clone(), target, self.timeout, listener);
        tokio::spawn(watch.run::<RawProfile>());
        receiver
    }

    /// Whether there can be an object for this workload.
    pub fn has_place(&self, workload: &str) -> bool {
        place(&self.namespace, workload).is_some()
    }

    /// Writes what is known of a workload, on what was read or written last.
    pub async fn write(&self, workload: &str, status: &LearnedStatus) -> Result<Wrote, Trouble> {
        let Some((namespace, name)) = place(&self.namespace, workload) else {
            return Ok(Wrote::Nowhere);
        };
        let api = self.api(&namespace);
        for _ in 0..ATTEMPTS {
            let Some(version) = self.version(workload) else {
                match self.create(&api, workload, (&namespace, &name)).await? {
                    Some(told) => return Ok(told),
                    None => continue,
                }
            };
            let mut object = self.object((&namespace, &name), Some(version));
            object.data = serde_json::json!({ "status": status });
            let parameters = PostParams::default();
            let sent = api.replace_status(&name, &parameters, &object);
            let trouble = match timeout(self.timeout, sent).await {
                Ok(Ok(written)) => {
                    self.remember(workload, written.metadata.resource_version);
                    return Ok(Wrote::Written);
                }
                Ok(Err(error)) => self.trouble("update", "/status", workload, error),
                Err(_) => self.slow("update", "/status", workload),
            };
            match () {
                () if trouble.absent => self.remember(workload, None),
                () if trouble.conflict => {
                    if let Some(told) = self.read(&api, workload, &name).await? {
                        return Ok(told);
                    }
                }
                () => return Err(trouble),
            }
        }
        Ok(Wrote::Changed(Box::default()))
    }

    /// Deletes the object of a workload unless somebody has just written it.
    pub async fn delete(&self, workload: &str) -> Result<(), Trouble> {
        let place = place(&self.namespace, workload);
        let (Some((namespace, name)), Some(version)) = (place, self.version(workload)) else {
            return Ok(());
        };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(version),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.api(&namespace);
        let trouble = match timeout(self.timeout, api.delete(&name, &parameters)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => self.trouble("delete", "", workload, error),
            Err(_) => self.slow("delete", "", workload),
        };
        match trouble.absent || trouble.conflict {
            true => Ok(()),
            false => Err(trouble),
        }
    }

    /// Makes an object that says nothing yet: what a status says can only be written to one that is
    /// there.
    async fn create(
        &self,
        api: &Api<DynamicObject>,
        workload: &str,
        (namespace, name): (&str, &str),
    ) -> Result<Option<Wrote>, Trouble> {
        let object = self.object((namespace, name), None);
        let parameters = PostParams::default();
        let sent = api.create(&parameters, &object);
        let trouble = match timeout(self.timeout, sent).await {
            Ok(Ok(created)) => {
                self.remember(workload, created.metadata.resource_version);
                return Ok(None);
            }
            Ok(Err(error)) if is_terminating(&error) => return Ok(Some(Wrote::Nowhere)),
            Ok(Err(error)) => self.trouble("create", "", workload, error),
            Err(_) => self.slow("create", "", workload),
        };
        match () {
            () if trouble.conflict => self.read(api, workload, name).await,
            () if trouble.absent => Ok(Some(Wrote::Nowhere)),
            () => Err(trouble),
        }
    }

    async fn read(
        &self,
        api: &Api<DynamicObject>,
        workload: &str,
        name: &str,
    ) -> Result<Option<Wrote>, Trouble> {
        let read = match timeout(self.timeout, api.get_opt(name)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(self.trouble("get", "", workload, error)),
            Err(_) => return Err(self.slow("get", "", workload)),
        };
        let Some(mut object) = read else {
            self.remember(workload, None);
            return Ok(None);
        };
        self.remember(workload, object.metadata.resource_version);
        let status = object.data.get_mut("status").map(Value::take);
        let status = readable(status.unwrap_or_default());
        Ok(Some(Wrote::Changed(Box::new(status))))
    }

    fn object(&self, (namespace, name): (&str, &str), version: Option<String>) -> DynamicObject {
        let mut object = DynamicObject::new(name, &resource()).within(namespace);
        object.metadata.resource_version = version;
        object
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource())
    }

    fn trouble(&self, verb: &str, part: &str, workload: &str, error: kube::Error) -> Trouble {
        Trouble::of(&doing(verb, part, workload), MEANWHILE, error)
    }

    fn slow(&self, verb: &str, part: &str, workload: &str) -> Trouble {
        Trouble::slow(&doing(verb, part, workload), MEANWHILE, self.timeout)
    }

    fn version(&self, workload: &str) -> Option<String> {
        self.versions().get(workload).cloned()
    }

    fn remember(&self, workload: &str, version: Option<String>) {
        let mut versions = self.versions();
        match version {
            Some(version) => versions.insert(workload.to_owned(), version),
            None => versions.remove(workload),
        };
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: Kind::LearnedProfile.name().to_owned(),
        plural: Kind::LearnedProfile.plural().to_owned(),
    }
}

fn doing(verb: &str, part: &str, workload: &str) -> String {
    let plural = Kind::LearnedProfile.plural();
    format!("{verb} {plural}.{GROUP}{part} of {workload}")
}

/// Where the object of a workload is: namespace and name.
fn place(own: &str, workload: &str) -> Option<(String, String)> {
    let (namespace, name) = workload.split_once('/')?;
    let host = format!("{NODES_NAMESPACE}.");
    let (namespace, name) = match namespace {
        NODES_NAMESPACE => (own, format!("{host}{name}")),
        // It would be taken for a host's.
        namespace if namespace == own && name.starts_with(&host) => return None,
        namespace => (namespace, name.to_owned()),
    };
    check_name(&name).ok()?;
    Some((namespace.to_owned(), name))
}

/// Whose object it is that is found there.
fn workload_at(own: &str, (namespace, name): (&str, &str)) -> String {
    match name
        .strip_prefix(NODES_NAMESPACE)
        .and_then(|rest| rest.strip_prefix('.'))
    {
        Some(host) if namespace == own => format!("{NODES_NAMESPACE}/{host}"),
        _ => format!("{namespace}/{name}"),
    }
}

/// What cannot be read says nothing, and is written anew.
fn readable(status: Value) -> LearnedStatus {
    match status {
        Value::Null => LearnedStatus::default(),
        status => serde_json::from_value(status).unwrap_or_default(),
    }
}

/// Nothing can be made in a namespace that is on its way out; that is nobody's fault.
fn is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    status.code == 403 && status.message.contains("because it is being terminated")
}

impl Item for RawProfile {
    fn resource_version(&self) -> &str {
        let version = self.metadata.resource_version.as_deref();
        version.unwrap_or_default()
    }

    fn kind(&self) -> &str {
        &self.kind
    }
}

impl Teller {
    fn workload(&self, metadata: &ObjectMeta) -> Option<String> {
        let namespace = metadata.namespace.as_deref()?;
        let name = metadata.name.as_deref()?;
        Some(workload_at(&self.profiles.namespace, (namespace, name)))
    }

    fn upsert(&self, profile: RawProfile) -> Option<Told> {
        let workload = self.workload(&profile.metadata)?;
        if let Some(listed) = &mut *self.listed() {
            listed.insert(workload.clone());
        }
        let version = profile.metadata.resource_version;
        self.profiles.remember(&workload, version);
        let status = Box::new(readable(profile.status));
        Some(Told::Profile { workload, status })
    }

    /// Those of which the list said nothing are gone.
    fn missing(&self) -> Vec<String> {
        let listed = self.listed().take().unwrap_or_default();
        let mut versions = self.profiles.versions();
        let missing = versions.keys().filter(|name| !listed.contains(*name));
        let missing: Vec<String> = missing.cloned().collect();
        for name in &missing {
            versions.remove(name);
        }
        missing
    }

    fn listed(&self) -> MutexGuard<'_, Option<HashSet<String>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener<RawProfile> for Teller {
    async fn tell(&self, told: Watched<RawProfile>) -> bool {
        let told = match told {
            Watched::ListBegins => {
                *self.listed() = Some(HashSet::new());
                return true;
            }
            Watched::ListEnds => {
                for workload in self.missing() {
                    if self.sender.send(Told::Gone { workload }).await.is_err() {
                        return false;
                    }
                }
                Some(Told::Complete)
            }
            Watched::Upsert(profile) => self.upsert(profile),
            Watched::Remove(profile) => self.workload(&profile.metadata).map(|workload| {
                self.profiles.remember(&workload, None);
                Told::Gone { workload }
            }),
            Watched::Well => Some(Told::Condition(None)),
            Watched::Failing(failure) => {
                let doing = format!("watch {}.{GROUP}", Kind::LearnedProfile.plural());
                let trouble = Trouble::tell(&doing, MEANWHILE, &failure, 0);
                Some(Told::Condition(Some(trouble.problem)))
            }
        };
        match told {
            Some(told) => self.sender.send(told).await.is_ok(),
            None => !self.sender.is_closed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_place_of_its_own() {
        for (workload, namespace, name) in [
            ("shop/web", "shop", "web"),
            ("nodes/node-1", "weir-system", "nodes.node-1"),
            ("shop/nodes.web", "shop", "nodes.web"),
        ] {
            let found = place("weir-system", workload).unwrap();
            assert_eq!((found.0.as_str(), found.1.as_str()), (namespace, name));
            assert_eq!(workload_at("weir-system", (namespace, name)), workload);
        }
        assert!(place("weir-system", "weir-system/nodes.web").is_none());
        assert!(place("weir-system", "unknown").is_none());
    }
}
