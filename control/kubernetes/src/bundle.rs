//! Signed policy that is kept in ConfigMaps of the controller's own namespace, as `weir bundle manifest`
//! prints them: what they hold, by annotations and data.
//!
//! Trusts nothing of it: nodes judge by the signatures. Memory bound: [`OBJECTS_MAX`] objects, of which
//! the API server takes none above 1 MiB.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ListParams};
use tokio::time::timeout;

use crate::trouble::Trouble;

/// More are not read.
const OBJECTS_MAX: u32 = 64;
/// What it means that they cannot be read.
const MEANWHILE: &str = "What was carried before stays";

/// Where the parts of a bundle are.
#[derive(Clone)]
pub struct BundleObjects {
    client: Client,
    namespace: String,
    timeout: Duration,
}

/// What one object carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleObject {
    /// The ConfigMap's name.
    pub name: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its data.
    pub data: BTreeMap<String, String>,
}

impl BundleObjects {
    /// The ConfigMaps of this namespace.
    pub fn new(client: Client, namespace: &str, timeout: Duration) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            timeout,
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Those with this label, in the order of their names.
    pub async fn read(&self, label: &str) -> Result<Vec<BundleObject>, Trouble> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let parameters = ListParams::default().labels(label).limit(OBJECTS_MAX);
        let doing = format!("list configmaps in namespace {}", self.namespace);
        let listed = match timeout(self.timeout, api.list(&parameters)).await {
            Ok(listed) => listed.map_err(|error| Trouble::of(&doing, MEANWHILE, error))?,
            Err(_) => return Err(Trouble::slow(&doing, MEANWHILE, self.timeout)),
        };
        let mut objects: Vec<BundleObject> = listed.items.into_iter().map(object).collect();
        objects.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(objects)
    }
}

fn object(map: ConfigMap) -> BundleObject {
    BundleObject {
        name: map.metadata.name.unwrap_or_default(),
        annotations: map.metadata.annotations.unwrap_or_default(),
        data: map.data.unwrap_or_default(),
    }
}

impl std::fmt::Debug for BundleObjects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BundleObjects")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
