//! Two controllers of one cluster in this process, nodes that do what they are told, and who leads.

#![allow(dead_code)] // Every test file uses a part of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::{Endpoint, retyped, v1};
use weir_cluster::{Cluster, PATIENCE, TestPod};
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller};
use weir_kubernetes::{ExternalAddresses, Settings};

/// A controller with threads of its own, which can be killed.
pub struct Replica {
    pub name: &'static str,
    pub endpoint: Endpoint,
    folder: PathBuf,
    controller: Option<Controller>,
    runtime: Option<Runtime>,
}

impl Replica {
    pub async fn start(cluster: &Cluster, name: &'static str) -> Self {
        Self::start_as(cluster, name, &cluster.kubeconfig_path()).await
    }

    /// Starts one that is the user of this kubeconfig.
    pub async fn start_as(cluster: &Cluster, name: &'static str, kubeconfig: &Path) -> Self {
        let folder = cluster.folder().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let endpoint = Endpoint::Unix(folder.join("nodes.sock"));
        let settings = Settings {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: None,
            namespace: Some("weir-system".to_owned()),
            timeout: Duration::from_secs(5),
            trust_domain: "cluster.local".to_owned(),
            external: ExternalAddresses::default(),
        };
        let config = Config {
            source: SourceConfig::Kubernetes(Box::new(settings)),
            state: folder.join("state"),
            bundle: None,
            response: Default::default(),
            listen: Endpoint::Unix(folder.join("controller.sock")),
            node_listen: endpoint.clone(),
            tls: None,
            operator_ca: None,
            ageing: Default::default(),
            admission: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let controller = runtime.spawn(Controller::start(config)).await.unwrap();
        Self {
            name,
            endpoint,
            folder,
            controller: Some(controller.unwrap()),
            runtime: Some(runtime),
        }
    }

    /// Asked as an operator asks.
    pub async fn operator(&self) -> OperatorClient<Channel> {
        let socket = Endpoint::Unix(self.folder.join("controller.sock"));
        OperatorClient::new(socket.connect(None, None).await.unwrap())
    }

    /// Who is cut off on its nodes, once these are.
    pub async fn cuts_off(&self, wanted: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        let mut operator = self.operator().await;
        loop {
            let status = operator.status(v1::StatusRequest {}).await.unwrap();
            let workloads = status.into_inner().workload_status.into_iter();
            let cut_off = workloads.filter(|it| it.quarantined).map(|it| it.name);
            let cut_off: Vec<String> = cut_off.collect();
            if cut_off == wanted {
                return;
            }
            let name = self.name;
            assert!(
                Instant::now() < deadline,
                "{name}: {cut_off:?}, not {wanted:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// As if its host had lost power: nothing is said to anybody.
    pub fn kill(&mut self) {
        self.controller = None;
        self.runtime.take().unwrap().shutdown_background();
    }

    pub async fn stop(mut self) {
        let (controller, runtime) = (self.controller.take(), self.runtime.take());
        if let (Some(controller), Some(runtime)) = (controller, runtime) {
            runtime.spawn(controller.stop()).await.unwrap();
            runtime.shutdown_background();
        }
    }
}

/// A node that enforces whatever comes, or refuses it.
pub async fn node(replica: &Replica, name: &str, refuses: bool) -> tokio::task::JoinHandle<()> {
    watched_node(replica, name, refuses, Arc::default()).await
}

/// The same, which writes down the versions that it is told.
pub async fn watched_node(
    replica: &Replica,
    name: &str,
    refuses: bool,
    versions: Arc<Mutex<Vec<u64>>>,
) -> tokio::task::JoinHandle<()> {
    let channel = replica.endpoint.connect(None, None).await.unwrap();
    let (outgoing, stream) = mpsc::channel(8);
    let say = move |message| v1::NodeMessage {
        message: Some(message),
    };
    let hello = v1::Hello {
        node: name.to_owned(),
        protocol_min: 2,
        protocol_max: 2,
        software: "test".into(),
        ..v1::Hello::default()
    };
    outgoing.send(say(FromNode::Hello(hello))).await.unwrap();
    let mut client = PolicyDistributionClient::new(channel);
    let answer = client.subscribe(ReceiverStream::new(stream)).await.unwrap();
    let mut incoming = answer.into_inner();
    tokio::spawn(async move {
        while let Ok(Some(message)) = incoming.message().await {
            let typed: v1::ControllerMessage = retyped(&message).unwrap();
            let (version, checksum) = match typed.message {
                Some(FromController::Snapshot(whole)) => (whole.version, whole.checksum),
                Some(FromController::Delta(delta)) => (delta.version, delta.checksum),
                Some(FromController::Current(current)) => (current.version, current.checksum),
                _ => continue,
            };
            versions.lock().unwrap().push(version);
            let answer = match refuses {
                false => FromNode::Applied(v1::Applied { version, checksum }),
                true => FromNode::Refused(v1::Refused {
                    version,
                    reason: "no memory for the rules".into(),
                    enforced_version: 0,
                    enforced_checksum: 0,
                }),
            };
            if outgoing.send(say(answer)).await.is_err() {
                return;
            }
        }
    })
}

pub fn allowlist(port: u16) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"target": {"workload": "db"}, "ingress": [{"from": [{"workload": "web"}], "ports": [port]}]}
    })
}

pub fn allowlists(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", "Allowlist");
    let resource = ApiResource::from_gvk_with_plural(&kind, "allowlists");
    Api::namespaced_with(cluster.client(), "shop", &resource)
}

pub async fn apply(cluster: &Cluster, object: Value) {
    let parameters = PatchParams::apply("test").force();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let patch = Patch::Apply(&object);
    let applied = allowlists(cluster).patch(&name, &parameters, &patch).await;
    applied.unwrap();
}

/// The status of the allowlist once it is as wanted.
pub async fn status_when(cluster: &Cluster, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = allowlists(cluster).get("db").await.unwrap();
        let status = &object.data["status"];
        if wanted(status) && status["observedGeneration"] == json!(object.metadata.generation) {
            return status.clone();
        }
        assert!(Instant::now() < deadline, "never {what}: {status:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

pub async fn leader(cluster: &Cluster) -> String {
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lease = leases.get_opt("weir-controller").await.unwrap();
        let holder = lease.and_then(|lease| lease.spec?.holder_identity);
        if let Some(holder) = holder.filter(|holder| !holder.is_empty()) {
            return holder;
        }
        assert!(Instant::now() < deadline, "nobody leads");
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.namespace("weir-system", &[]).await;
    cluster.namespace("shop", &[]).await;
    for (name, node, address) in [("db", "node-1", "10.1.0.1"), ("web", "node-2", "10.1.0.2")] {
        let pod = TestPod::new("shop", name).node(node);
        cluster.pod(pod.addresses(&[address])).await;
    }
    cluster
}
