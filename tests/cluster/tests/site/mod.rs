//! A controller in this process, over a cluster's API server, asked as an operator asks.

use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::{Endpoint, v1};
use weir_cluster::Cluster;
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller};
use weir_kubernetes::{ExternalAddresses, Settings};

const PATIENCE: Duration = Duration::from_secs(60);

/// A controller of a cluster.
pub struct Site {
    pub operator: OperatorClient<Channel>,
    pub controller: Controller,
}

impl Site {
    /// Starts one with this kubeconfig.
    pub async fn start(cluster: &Cluster, kubeconfig: &Path) -> Self {
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
        let controller = Controller::start(Config {
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
        })
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
