//! A controller in this process, over a cluster's API server, asked as an operator asks.

#![allow(dead_code)] // Every test file uses a part of it.

use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::{Endpoint, v1};
use weir_cluster::{Cluster, PATIENCE};
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller};
use weir_kubernetes::{ExternalAddresses, Settings};

/// A controller of a cluster.
pub struct Site {
    pub operator: OperatorClient<Channel>,
    pub controller: Controller,
}

impl Site {
    /// Starts one with this kubeconfig.
    pub async fn start(cluster: &Cluster, kubeconfig: &Path) -> Self {
        Self::start_with(cluster, kubeconfig, |config| config).await
    }

    /// Starts one that is configured otherwise. A second one goes on with what the first one kept.
    pub async fn start_with(
        cluster: &Cluster,
        kubeconfig: &Path,
        change: impl FnOnce(Config) -> Config,
    ) -> Self {
        let folder = cluster.folder();
        let socket = Endpoint::Unix(folder.join("controller.sock"));
        let settings = Settings {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: None,
            namespace: None,
            timeout: Duration::from_secs(5),
            trust_domain: "cluster.local".to_owned(),
            external: ExternalAddresses::default(),
        };
        let controller = Controller::start(change(Config {
            source: SourceConfig::Kubernetes(Box::new(settings)),
            state: folder.join("state"),
            listen: socket.clone(),
            node_listen: Endpoint::Unix(folder.join("nodes.sock")),
            tls: None,
            response: Default::default(),
            bundle: None,
            operator_ca: None,
            ageing: Default::default(),
            admission: None,
        }))
        .await
        .unwrap();
        let operator = OperatorClient::new(socket.connect(None, None).await.unwrap());
        Self {
            operator,
            controller,
        }
    }

    /// The status once it is as wanted.
    pub async fn status_when(
        &mut self,
        what: &str,
        wanted: impl Fn(&v1::StatusReply) -> bool,
    ) -> v1::StatusReply {
        let patience = Instant::now() + PATIENCE;
        loop {
            let status = self.operator.status(v1::StatusRequest {}).await.unwrap();
            let status = status.into_inner();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < patience, "{what}: never; {status:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Applies an object of Weir's.
pub async fn apply(cluster: &Cluster, object: &Value) {
    let kind = object["kind"].as_str().unwrap();
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams::apply("test").force();
    let patch = Patch::Apply(object);
    let applied = api.patch(name, &parameters, &patch).await;
    applied.unwrap_or_else(|error| panic!("{object:#}: {error}"));
}

/// A condition of an object once it says this of the newest generation, with its message.
pub async fn condition(
    api: &Api<DynamicObject>,
    name: &str,
    kind: &str,
    wanted: &str,
) -> (String, Value) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let object = api.get(name).await.unwrap();
        let status = &object.data["status"];
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let found = conditions.find(|it| {
            let generation = it["observedGeneration"].as_i64();
            it["type"] == kind && it["status"] == wanted && generation == object.metadata.generation
        });
        if let Some(found) = found {
            let message = found["message"].as_str().unwrap_or_default();
            return (message.to_owned(), status.clone());
        }
        assert!(
            Instant::now() < patience,
            "{name}: {kind} is never {wanted}; {status:#}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Objects of Weir's in namespace shop.
pub fn custom(cluster: &Cluster, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::namespaced_with(cluster.client(), "shop", &resource)
}

/// What is created.
pub fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// The status of a workload.
pub fn workload<'a>(status: &'a v1::StatusReply, name: &str) -> Option<&'a v1::WorkloadStatus> {
    status.workload_status.iter().find(|it| it.name == name)
}
