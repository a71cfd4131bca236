//! Two controllers of one cluster: who leads says of objects what became of them, true to what nodes told
//! either, and what nodes told outlives the one that heard it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::{Endpoint, retyped, v1};
use weir_apiserver::{Fault, Which};
use weir_cluster::{Cluster, PATIENCE, TestPod};
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller};
use weir_kubernetes::{ExternalAddresses, Settings};

/// A controller with threads of its own, which can be killed.
struct Replica {
    name: &'static str,
    endpoint: Endpoint,
    controller: Option<Controller>,
    runtime: Option<Runtime>,
}

impl Replica {
    async fn start(cluster: &Cluster, name: &'static str) -> Self {
        let folder = cluster.folder().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let endpoint = Endpoint::Unix(folder.join("nodes.sock"));
        let settings = Settings {
            kubeconfig: Some(cluster.kubeconfig_path()),
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
            controller: Some(controller.unwrap()),
            runtime: Some(runtime),
        }
    }

    /// As if its host had lost power: nothing is said to anybody.
    fn kill(&mut self) {
        self.controller = None;
        self.runtime.take().unwrap().shutdown_background();
    }

    async fn stop(mut self) {
        let (controller, runtime) = (self.controller.take(), self.runtime.take());
        if let (Some(controller), Some(runtime)) = (controller, runtime) {
            runtime.spawn(controller.stop()).await.unwrap();
            runtime.shutdown_background();
        }
    }
}

/// A node that enforces whatever comes, or refuses it.
async fn node(replica: &Replica, name: &str, refuses: bool) -> tokio::task::JoinHandle<()> {
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

fn allowlist(port: u16) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"target": {"workload": "db"}, "ingress": [{"from": [{"workload": "web"}], "ports": [port]}]}
    })
}

fn allowlists(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", "Allowlist");
    let resource = ApiResource::from_gvk_with_plural(&kind, "allowlists");
    Api::namespaced_with(cluster.client(), "shop", &resource)
}

async fn apply(cluster: &Cluster, object: Value) {
    let parameters = PatchParams::apply("test").force();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let patch = Patch::Apply(&object);
    let applied = allowlists(cluster).patch(&name, &parameters, &patch).await;
    applied.unwrap();
}

/// The status of the allowlist once it is as wanted.
async fn status_when(cluster: &Cluster, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
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

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

async fn leader(cluster: &Cluster) -> String {
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

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.namespace("weir-system", &[]).await;
    cluster.namespace("shop", &[]).await;
    for (name, node, address) in [("db", "node-1", "10.1.0.1"), ("web", "node-2", "10.1.0.2")] {
        let pod = TestPod::new("shop", name).node(node);
        cluster.pod(pod.addresses(&[address])).await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_true_to_the_nodes_of_every_controller_and_outlive_the_leader() {
    let cluster = cluster().await;
    let mut first = Replica::start(&cluster, "first").await;
    let leads = leader(&cluster).await;
    let second = Replica::start(&cluster, "second").await;
    // One node at each controller.
    let nodes = [
        node(&first, "node-1", false).await,
        node(&second, "node-2", false).await,
    ];
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "enforced by both", |status| {
        status["programmed"] == "2/2"
    })
    .await;
    for (kind, wanted) in [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
        ("Programmed", "True"),
        ("Degraded", "False"),
    ] {
        assert_eq!(condition(&status, kind)["status"], wanted, "{status:#}");
    }
    let since = condition(&status, "Programmed")["lastTransitionTime"].clone();
    if let Some(kubectl) = cluster.kubectl("conditions as kubectl shows them") {
        let wait = [
            "wait",
            "--for=condition=Programmed",
            "allowlists/db",
            "-n",
            "shop",
            "--timeout=30s",
        ];
        let said = kubectl.run(&wait).await.unwrap();
        assert!(said.contains("condition met"), "{said}");
        let table = kubectl.run(&["get", "allowlists", "-A"]).await.unwrap();
        println!("{table}");
        assert!(
            table.contains("PROGRAMMED") && table.contains("2/2"),
            "{table}"
        );
        let leases = ["get", "leases", "-n", "weir-system"];
        println!("{}", kubectl.run(&leases).await.unwrap());
    }

    // The leader is lost, and with it the node's only connection.
    let killed = first.name;
    first.kill();
    nodes[0].abort();
    let deadline = Instant::now() + PATIENCE;
    while leader(&cluster).await == leads {
        assert!(Instant::now() < deadline, "nobody takes over from {killed}");
        sleep(Duration::from_millis(100)).await;
    }
    // What the node told the first is not forgotten: nothing changes.
    sleep(Duration::from_secs(3)).await;
    let status = status_when(&cluster, "still enforced", |_| true).await;
    assert_eq!(status["programmed"], "2/2", "{status:#}");
    let programmed = condition(&status, "Programmed");
    assert_eq!(programmed["lastTransitionTime"], since, "{status:#}");
    // What is new it cannot have.
    apply(&cluster, allowlist(5433)).await;
    let status = status_when(&cluster, "enforced by one", |status| {
        status["programmed"] == "1/2"
    })
    .await;
    assert_eq!(condition(&status, "Programmed")["reason"], "Pending");
    // It comes back elsewhere, and refuses.
    nodes[1].abort();
    let refusing = node(&second, "node-1", true).await;
    let status = status_when(&cluster, "refused", |status| {
        condition(status, "Degraded")["status"] == "True"
    })
    .await;
    let message = condition(&status, "Degraded")["message"].to_string();
    assert!(
        message.contains("node-1") && message.contains("no memory for the rules"),
        "{message}"
    );
    refusing.abort();
    let stopped = timeout(Duration::from_secs(20), second.stop()).await;
    stopped.expect("it stops in time");
    // Given away: the next one need not wait.
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let lease = leases.get("weir-controller").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_accepted_says_why_in_its_conditions() {
    let cluster = cluster().await;
    let only = Replica::start(&cluster, "only").await;
    let mut lost = allowlist(5432);
    lost["spec"]["ingress"][0]["from"] = json!([{"workload": "nobody"}]);
    apply(&cluster, lost).await;
    let status = status_when(&cluster, "unresolved", |status| {
        condition(status, "ResolvedRefs")["status"] == "False"
    })
    .await;
    let message = condition(&status, "ResolvedRefs")["message"].to_string();
    assert!(message.contains("nobody"), "{message}");
    assert_eq!(condition(&status, "Programmed")["reason"], "NoNodes");
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "resolved", |status| {
        condition(status, "ResolvedRefs")["status"] == "True"
    })
    .await;
    assert_eq!(condition(&status, "Accepted")["status"], "True");
    only.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_throttles_conflicts_and_fails_gets_the_conditions_in_the_end() {
    let cluster = cluster().await;
    let Some(server) = cluster.faults_or_skip("conditions through faults") else {
        return;
    };
    let only = Replica::start(&cluster, "only").await;
    leader(&cluster).await;
    let throttled = Fault::TooManyRequests { retry_after_s: 1 };
    let statuses = Which::path("/status").method("PATCH");
    server.faults().next(2, statuses.clone(), throttled);
    server.faults().next(1, statuses, Fault::Error(500));
    let leases = || Which::path("/leases/weir-node").method("PUT");
    server.faults().next(2, leases(), Fault::Error(409));
    server.faults().next(1, leases(), Fault::Error(503));
    let node = node(&only, "node-1", false).await;
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "enforced", |status| {
        condition(status, "Programmed")["status"] == "True"
    })
    .await;
    assert_eq!(status["programmed"], "1/1");
    // Somebody takes the lease by hand: the one that led leads no more, and waits for its turn.
    let led = leader(&cluster).await;
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let rival = json!({"spec": {"holderIdentity": "rival", "leaseDurationSeconds": 1}});
    let patch = PatchParams::default();
    leases
        .patch("weir-controller", &patch, &Patch::Merge(rival))
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while leader(&cluster).await != led {
        assert!(Instant::now() < deadline, "the lease is never taken back");
        sleep(Duration::from_millis(100)).await;
    }
    node.abort();
    only.stop().await;
}
