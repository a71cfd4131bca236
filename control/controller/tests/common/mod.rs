//! A controller over real sockets in a directory of its own, and a node that does what it is told.

#![allow(dead_code)] // Every test file uses a part of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::v1::observations_client::ObservationsClient;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::v1::wire;
use weir_api::{Endpoint, first, retyped, v1};
use weir_controller::source::SourceConfig;
use weir_controller::{Config, Controller};

/// Nothing in these tests takes longer than this unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub const WORKLOADS: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: photo-db, namespace: shop}
spec: {addresses: [10.91.0.3, 'fd91::3']}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: ai-model, namespace: shop}
spec: {addresses: [10.91.0.2]}
";

pub const ALLOWLIST: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {workload: photo-db}
  ingress:
    - from: [{workload: ai-model}]
      applications: [mysql]
      ports: [3306]
";

pub struct Site {
    pub root: TempDir,
    pub controller: Option<Controller>,
}

pub struct Node {
    pub outgoing: mpsc::Sender<v1::NodeMessage>,
    pub incoming: Streaming<wire::ControllerMessage>,
    pub snapshot: v1::Snapshot,
}

impl Site {
    /// With these workloads and nothing else.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("policy")).unwrap();
        let mut site = Self {
            root,
            controller: None,
        };
        site.write("workloads.yaml", WORKLOADS);
        site.restart().await;
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn config(&self) -> Config {
        Config {
            source: SourceConfig::Files(self.path("policy")),
            response: Default::default(),
            state: self.path("state"),
            listen: Endpoint::Unix(self.path("controller.sock")),
            node_listen: Endpoint::Unix(self.path("nodes.sock")),
            tls: None,
            operator_ca: None,
            ageing: Default::default(),
            admission: None,
            bundle: None,
        }
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.controller = Some(Controller::start(self.config()).await.unwrap());
    }

    pub async fn stop(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.stop().await;
        }
    }

    pub fn write(&self, name: &str, text: &str) {
        replace(&self.path("policy").join(name), text);
    }

    pub async fn operator(&self) -> OperatorClient<Channel> {
        let endpoint = Endpoint::Unix(self.path("controller.sock"));
        OperatorClient::new(endpoint.connect(None, None).await.unwrap())
    }

    pub async fn nodes(&self) -> Channel {
        Endpoint::Unix(self.path("nodes.sock"))
            .connect(None, None)
            .await
            .unwrap()
    }

    /// A node that has subscribed; nothing is received yet.
    pub async fn subscribe(&self, hello: v1::Hello) -> Node {
        Node::subscribe(self.nodes().await, hello).await.unwrap()
    }

    pub async fn status(&self) -> v1::StatusReply {
        self.operator()
            .await
            .status(v1::StatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    /// The status once it is as wanted.
    pub async fn status_when(&self, wanted: impl Fn(&v1::StatusReply) -> bool) -> v1::StatusReply {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never as wanted: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reports these records as one batch and waits until it is acknowledged.
    pub async fn report(&self, sequence: u64, flows: Vec<v1::FlowRecord>) {
        let node = "node-1".into();
        let batch = v1::ObservationBatch {
            node,
            sequence,
            flows,
            ..Default::default()
        };
        self.report_batch(batch).await;
    }

    pub async fn report_batch(&self, batch: v1::ObservationBatch) {
        let sequence = batch.sequence;
        let mut client = ObservationsClient::new(self.nodes().await);
        let mut answers = client
            .report(tokio_stream::iter([batch]))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().sequence, sequence);
    }
}

impl Node {
    pub async fn subscribe(channel: Channel, hello: v1::Hello) -> Result<Self, tonic::Status> {
        let (outgoing, stream) = mpsc::channel(8);
        let node = |message| v1::NodeMessage {
            message: Some(message),
        };
        outgoing.send(node(FromNode::Hello(hello))).await.unwrap();
        let mut client = PolicyDistributionClient::new(channel);
        let incoming = client
            .subscribe(ReceiverStream::new(stream))
            .await?
            .into_inner();
        Ok(Self {
            outgoing,
            incoming,
            snapshot: v1::Snapshot::default(),
        })
    }

    pub async fn next(&mut self) -> FromController {
        let next = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        let next = next.expect("a message in time").unwrap();
        let typed: v1::ControllerMessage = retyped(&next.expect("the stream is open")).unwrap();
        typed.message.unwrap()
    }

    /// Whether nothing comes for a moment.
    pub async fn silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.incoming.message())
            .await
            .is_err()
    }

    pub async fn say(&self, message: FromNode) {
        self.outgoing
            .send(v1::NodeMessage {
                message: Some(message),
            })
            .await
            .unwrap();
    }

    pub async fn applied(&self, version: u64) {
        self.say(FromNode::Applied(v1::Applied {
            version,
            checksum: weir_api::checksum(&self.snapshot),
        }))
        .await;
    }

    pub async fn refuse(&self, version: u64) {
        let reason = "no memory".to_owned();
        let refused = v1::Refused {
            version,
            reason,
            enforced_version: self.snapshot.version,
            enforced_checksum: weir_api::checksum(&self.snapshot),
        };
        self.say(FromNode::Refused(refused)).await;
    }

    /// Takes what comes, as a node does; returns whether it was a full snapshot.
    pub async fn take(&mut self) -> bool {
        let full = match self.next().await {
            FromController::Snapshot(snapshot) => {
                assert_eq!(first::checksum(&snapshot), snapshot.checksum);
                self.snapshot = snapshot;
                true
            }
            FromController::Delta(delta) => {
                self.snapshot = first::apply(&self.snapshot, &delta).expect("the delta fits");
                false
            }
            other => panic!("unexpected: {other:?}"),
        };
        weir_api::from_message(&self.snapshot).expect("a valid snapshot");
        self.applied(self.snapshot.version).await;
        full
    }
}

pub fn hello(enforced_version: u64) -> v1::Hello {
    v1::Hello {
        node: "node-1".into(),
        protocol_min: 1,
        protocol_max: 1,
        enforced_version,
        software: "test".into(),
        enforced_checksum: 0,
    }
}

/// A finished connection from ai-model to photo-db, as a node tells it.
pub fn record(snapshot: &v1::Snapshot, flow_id: u64) -> v1::FlowRecord {
    let id = |name: &str| {
        snapshot
            .identities
            .iter()
            .find(|identity| identity.name == name)
            .unwrap()
            .id
    };
    v1::FlowRecord {
        event: v1::FlowEvent::End.into(),
        flow_id,
        community_id: format!("1:{flow_id}"),
        time_unix_us: 1_750_000_000_000_000 + flow_id,
        first_seen_unix_us: 1_750_000_000_000_000 + flow_id,
        client_address: vec![10, 91, 0, 2],
        server_address: vec![10, 91, 0, 3],
        client_port: 40_000,
        server_port: 3306,
        protocol: 6,
        client_identity: id("shop/ai-model"),
        server_identity: id("shop/photo-db"),
        application: "mysql".into(),
        confidence: "content".into(),
        rule_action: v1::Action::Deny.into(),
        mode: v1::Mode::Discover.into(),
        wire_action: v1::WireAction::Forward.into(),
        decider: "default of shop/photo-db".into(),
        packets_to_server: 5,
        packets_to_client: 5,
        bytes_to_server: 500,
        bytes_to_client: 1500,
        policy_version: snapshot.version,
        ..Default::default()
    }
}

/// A threat in such a connection; by its number, a drop where that is even.
pub fn alert(snapshot: &v1::Snapshot, flow_id: u64) -> v1::FlowRecord {
    let drops = flow_id.is_multiple_of(2);
    let alert = v1::Alert {
        kind: v1::AlertKind::Threat.into(),
        generator: weir_api::THREAT_GENERATOR,
        id: if drops { 1140 } else { 1151 },
        name: if drops {
            "sql-injection"
        } else {
            "brute-force"
        }
        .into(),
        message: "Somebody tries something.".into(),
        action: match drops {
            true => v1::AlertAction::Drop.into(),
            false => v1::AlertAction::Alert.into(),
        },
        severity: 1,
        technique: "T1190".into(),
        sign: "tautology".into(),
        counters: [("failures".to_owned(), 7)].into(),
        excerpt: "' or 1=1\\n".into(),
        ..Default::default()
    };
    v1::FlowRecord {
        event: v1::FlowEvent::Alert.into(),
        alert: Some(alert),
        ..record(snapshot, flow_id)
    }
}

/// As editors do it: whole or not at all.
pub fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
