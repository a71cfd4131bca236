//! Statuses at the API server: read when somebody begins to lead, written where they differ.
//!
//! Written by server-side apply under one field manager, so that writing twice, or by two who both think
//! that they lead, comes to the same. Memory: what was written last of each object.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_model::{API_VERSION, GROUP, Kind, ObjectStatus, VERSION};
use weir_sources::{DocumentKey, Standing};

use crate::resources::Resource;
use crate::status::{Counts, object_status};
use crate::trouble::Trouble;

/// Who writes statuses.
const MANAGER: &str = "weir-controller";
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// What it means that a status cannot be written.
const MEANWHILE: &str = "The policy itself is enforced; only its conditions are not up to date";

/// Writes statuses, and remembers them.
#[derive(Debug)]
pub struct Statuses {
    client: ClientHandle,
    timeout: Duration,
    known: HashMap<DocumentKey, ObjectStatus>,
}

/// A status that differs from the one that the object has.
#[derive(Clone, Debug)]
pub struct Write {
    key: DocumentKey,
    status: ObjectStatus,
}

struct ClientHandle(Client);

impl Statuses {
    /// Of the objects of this server.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self {
            client: ClientHandle(client),
            timeout,
            known: HashMap::new(),
        }
    }

    /// Reads all statuses. A kind that the server does not have has none.
    pub async fn read(&mut self) -> Result<(), Trouble> {
        let mut known = HashMap::new();
        for kind in Resource::customs() {
            self.read_kind(kind, &mut known).await?;
        }
        self.known = known;
        Ok(())
    }

    /// The hits that the status of an object says.
    pub fn hits(&self, key: &DocumentKey) -> Option<u64> {
        self.known.get(key)?.hits
    }

    /// What is to be written, if anything.
    pub fn write(&self, key: &DocumentKey, standing: &Standing, counts: &Counts) -> Option<Write> {
        let previous = self.known.get(key);
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let status = object_status(key.kind, standing, counts, previous, &now);
        (previous != Some(&status)).then(|| Write {
            key: key.clone(),
            status,
        })
    }

    /// The future that writes it; false: there is no such object any more.
    pub fn send(
        &self,
        write: &Write,
    ) -> impl Future<Output = Result<bool, Trouble>> + Send + use<> {
        let Write { key, status } = write.clone();
        let api = self.api(key.kind, &key.namespace);
        let patience = self.timeout;
        async move {
            let mut metadata = json!({"name": key.name});
            if !key.namespace.is_empty() {
                metadata["namespace"] = Value::from(key.namespace.clone());
            }
            let object = json!({
                "apiVersion": API_VERSION, "kind": key.kind.name(),
                "metadata": metadata, "status": status,
            });
            let parameters = PatchParams::apply(MANAGER).force();
            let patch = Patch::Apply(&object);
            let sent = api.patch_status(&key.name, &parameters, &patch);
            let doing = format!("patch {}.{GROUP}/status {}", key.kind.plural(), key.name);
            let trouble = match timeout(patience, sent).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(error)) => Trouble::of(&doing, MEANWHILE, error),
                Err(_) => Trouble::slow(&doing, MEANWHILE, patience),
            };
            match trouble.absent {
                true => Ok(false),
                false => Err(trouble),
            }
        }
    }

    /// It was written.
    pub fn written(&mut self, write: Write) {
        self.known.insert(write.key, write.status);
    }

    /// The object is gone.
    pub fn forget(&mut self, key: &DocumentKey) {
        self.known.remove(key);
    }

    async fn read_kind(
        &self,
        kind: Kind,
        known: &mut HashMap<DocumentKey, ObjectStatus>,
    ) -> Result<(), Trouble> {
        let api = self.api(kind, "");
        let doing = format!("list {}.{GROUP}", kind.plural());
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = match timeout(self.timeout, api.list(&parameters)).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => {
                    let trouble = Trouble::of(&doing, MEANWHILE, error);
                    return match trouble.absent {
                        true => Ok(()),
                        false => Err(trouble),
                    };
                }
                Err(_) => return Err(Trouble::slow(&doing, MEANWHILE, self.timeout)),
            };
            for mut object in page.items {
                let status = object.data.get_mut("status").map(Value::take);
                // One that cannot be read is written anew.
                let status = status.and_then(|status| serde_json::from_value(status).ok());
                let Some(status) = status else { continue };
                let key = DocumentKey {
                    kind,
                    namespace: object.metadata.namespace.unwrap_or_default(),
                    name: object.metadata.name.unwrap_or_default(),
                };
                known.insert(key, status);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: GROUP.to_owned(),
            version: VERSION.to_owned(),
            api_version: API_VERSION.to_owned(),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let client = self.client.0.clone();
        match namespace {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        }
    }
}

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Client")
    }
}
