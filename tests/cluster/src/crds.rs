//! Weir's CRDs, as they are shipped.

use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::Value;

use crate::{Cluster, PATIENCE};

/// Where the CRDs are that Weir ships.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal/crds")
}

impl Cluster {
    /// Applies the CRDs that Weir ships and waits until they are served.
    ///
    /// # Panics
    /// When one is refused; the message is the server's.
    pub async fn apply_crds(&self) {
        let Ok(entries) = std::fs::read_dir(shipped()) else {
            return;
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            for definition in documents(&text) {
                self.apply_crd(&definition, &file.display().to_string())
                    .await;
            }
        }
    }

    /// Applies one CRD and waits until it is served.
    ///
    /// # Panics
    /// When it is refused; the message is the server's.
    pub async fn apply_crd(&self, definition: &Value, origin: &str) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let name = definition["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let parameters = PatchParams::apply("weir-tests").force();
        api.patch(&name, &parameters, &Patch::Apply(definition))
            .await
            .unwrap_or_else(|error| panic!("the CRD {name} of {origin} is refused: {error}"));
        let established = await_condition(api, &name, conditions::is_crd_established());
        let established = tokio::time::timeout(PATIENCE, established).await;
        assert!(
            matches!(established, Ok(Ok(_))),
            "the CRD {name} of {origin} is not established: {established:?}"
        );
    }
}

/// The CRDs of a file.
fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml_ng::Deserializer::from_str(text)
        .filter_map(|document| Value::deserialize(document).ok())
        .filter(|document| document["kind"] == "CustomResourceDefinition")
        .collect()
}
