//! A node's agent with public keys, over a real socket: it enforces what was signed and nothing else, says
//! so, and does the same after a restart.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::bench::{CLIENTS, small_limits};
use common::{Bench, Family, Host, Talk};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status as Refusal, Streaming};
use weir_api::v1::node_message::Message as Said;
use weir_api::v1::observations_server::{Observations, ObservationsServer};
use weir_api::v1::policy_distribution_server::{PolicyDistribution, PolicyDistributionServer};
use weir_api::v1::{self, wire};
use weir_api::{Contents, Endpoint};
use weir_bundle::{Algorithm, Bundle, PrivateKey, SignedBundle, generate, is_policy};
use weir_model::parse_documents;
use weir_node::agent::{
    Agent, Alarms, ControllerAddress, LastGood, LastGoodError, Trust, last_good_path,
};
use weir_node::config::PolicySettings;
use weir_node::eve::EveFile;
use weir_node::event::EventKind;
use weir_node::status::Status;
use weir_node::worker::Shared;

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(240);

const POLICY: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: photo-db, namespace: shop}
spec: {addresses: [10.91.0.3]}
---
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: ai-model, namespace: shop}
spec: {addresses: [10.91.0.2]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec: {target: {workload: photo-db}, ingress: [{from: [{workload: ai-model}], applications: [mysql], ports: [3306]}]}
---
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: all, namespace: shop}
spec: {target: {matchLabels: {}}, mode: protect}
";

/// A controller that sends what it is told, and tells what it hears.
#[derive(Clone)]
struct Controller {
    policy: watch::Receiver<(u64, Contents)>,
    heard: mpsc::UnboundedSender<Heard>,
}

#[derive(Debug)]
enum Heard {
    Said(Said),
    Alert(v1::Alert),
}

#[tonic::async_trait]
impl PolicyDistribution for Controller {
    type SubscribeStream = ReceiverStream<Result<wire::ControllerMessage, Refusal>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Refusal> {
        let (outgoing, stream) = mpsc::channel(4);
        let mut incoming = request.into_inner();
        let heard = self.heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                if let Some(said) = message.message {
                    let _ = heard.send(Heard::Said(said));
                }
            }
        });
        let mut policies = WatchStream::new(self.policy.clone());
        tokio::spawn(async move {
            use wire::controller_message::Message;
            let send = |message| {
                let message = Some(message);
                outgoing.send(Ok(wire::ControllerMessage { message }))
            };
            let welcome = v1::Welcome {
                protocol: weir_api::PROTOCOL_VERSION,
                ..Default::default()
            };
            let _ = send(Message::Welcome(welcome)).await;
            while let Some((version, contents)) = policies.next().await {
                if version > 0 {
                    let _ = send(Message::Snapshot(contents.snapshot(version))).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl Observations for Controller {
    type ReportStream = ReceiverStream<Result<v1::ObservationAck, Refusal>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::ObservationBatch>>,
    ) -> Result<Response<Self::ReportStream>, Refusal> {
        let (outgoing, stream) = mpsc::channel(4);
        let mut incoming = request.into_inner();
        let heard = self.heard.clone();
        tokio::spawn(async move {
            while let Some(Ok(batch)) = incoming.next().await {
                let sequence = batch.sequence;
                let alerts = batch.flows.into_iter().filter_map(|record| record.alert);
                alerts.for_each(|alert| drop(heard.send(Heard::Alert(alert))));
                let _ = outgoing.send(Ok(v1::ObservationAck { sequence })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct NoPorts;

impl Status for NoPorts {
    fn ports(&self) -> Vec<v1::PortCounters> {
        Vec::new()
    }
    fn workers(&self) -> Vec<v1::WorkerState> {
        Vec::new()
    }
}

/// A controller and a node in a directory.
struct Site {
    directory: TempDir,
    key: PrivateKey,
    policy: watch::Sender<(u64, Contents)>,
    heard: mpsc::UnboundedReceiver<Heard>,
    controller: Controller,
    server: JoinHandle<()>,
    node: Option<(Arc<Shared>, JoinHandle<()>)>,
}

impl Site {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = generate(Algorithm::EcdsaP256).unwrap();
        std::fs::write(directory.path().join("policy.pub"), &made.public_pem).unwrap();
        let (policy, policies) = watch::channel((0, Contents::default()));
        let (hear, heard) = mpsc::unbounded_channel();
        let controller = Controller {
            policy: policies,
            heard: hear,
        };
        let server = serve(directory.path(), controller.clone()).await;
        Self {
            directory,
            key: PrivateKey::from_pem(&made.private_pem).unwrap(),
            policy,
            heard,
            controller,
            server,
            node: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn last_good(&self) -> LastGood {
        LastGood::at(last_good_path(self.directory.path()))
    }

    /// Starts a node; what came of the policy that it kept.
    fn start_node(&mut self) -> Result<u64, LastGoodError> {
        let settings = PolicySettings {
            public_keys: vec![self.path("policy.pub")],
            ..PolicySettings::default()
        };
        let shared = Shared::new(0, 1);
        let mut agent = Agent {
            node: "node-1".into(),
            shared: Arc::clone(&shared),
            rings: Vec::new(),
            last_good: self.last_good(),
            trust: Trust::open(&settings, self.directory.path()).unwrap(),
            kept: None,
            alarms: Alarms::default(),
            tally: Arc::default(),
            status: Arc::new(NoPorts),
            eve: Some(EveFile::open(&self.path("eve.json")).unwrap()),
            evidence: None,
            captures: None,
            controller: Some(ControllerAddress {
                endpoint: Endpoint::Unix(self.path("nodes.sock")),
                tls: None,
                server_name: None,
            }),
        };
        let started = agent.start_with_last_good();
        self.node = Some((shared, tokio::spawn(agent.run())));
        started
    }

    async fn stop_node(&mut self) {
        if let Some((shared, agent)) = self.node.take() {
            shared.stop.store(true, Ordering::Relaxed);
            tokio::time::timeout(PATIENCE, agent)
                .await
                .unwrap()
                .unwrap();
        }
    }

    /// The version that is in force.
    fn enforced(&self) -> u64 {
        let (shared, _) = self.node.as_ref().unwrap();
        shared
            .snapshot
            .load_full()
            .map_or(0, |policy| policy.version())
    }

    /// Sends what `sent` comes to, with the bundle of `signed`.
    fn send(&self, version: u64, sent: &str, signed: Option<(&str, u64)>) {
        self.policy
            .send_replace((version, self.contents(sent, signed)));
    }

    fn contents(&self, sent: &str, signed: Option<(&str, u64)>) -> Contents {
        let (documents, problems) = parse_documents("x.yaml", sent);
        assert_eq!(problems, []);
        let compiled = weir_compile::compile(&documents, None);
        assert_eq!(compiled.problems, []);
        let mut message = weir_api::to_message(&compiled.spec);
        message.bundle = signed.map(|(policy, sequence)| self.bundle(policy, sequence));
        Contents::of_message(&message)
    }

    fn bundle(&self, policy: &str, sequence: u64) -> v1::SignedBundle {
        let (documents, _) = parse_documents("x.yaml", policy);
        let documents = documents.into_iter().map(|located| located.value);
        let documents = documents
            .filter(|document| is_policy(document.kind()))
            .collect();
        let bundle = Bundle::new("shop", sequence, 1_760_000_000, None, documents).unwrap();
        let mut signed = SignedBundle::new(bundle.payload().unwrap());
        signed.sign(&self.key).unwrap();
        let signatures = signed.signatures.into_iter().map(|one| v1::Signature {
            key_id: one.key_id,
            signature: one.signature,
        });
        v1::SignedBundle {
            payload: signed.payload,
            signatures: signatures.collect(),
        }
    }

    async fn hear(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let hear = async {
            loop {
                let heard = self.heard.recv().await.unwrap();
                if wanted(&heard) {
                    return heard;
                }
            }
        };
        tokio::time::timeout(PATIENCE, hear)
            .await
            .expect("it is heard in time")
    }

    async fn applied(&mut self, version: u64) {
        self.hear(|heard| matches!(heard, Heard::Said(Said::Applied(applied)) if applied.version == version))
            .await;
        assert_eq!(self.enforced(), version);
    }

    async fn refused(&mut self, version: u64, words: &str) {
        let refused = |heard: &Heard| matches!(heard, Heard::Said(Said::Refused(it)) if it.version == version);
        let Heard::Said(Said::Refused(refused)) = self.hear(refused).await else {
            unreachable!("that is what was asked for");
        };
        assert!(refused.reason.contains(words), "{}", refused.reason);
    }

    async fn alarmed(&mut self, words: &str) {
        let alarm = |heard: &Heard| matches!(heard, Heard::Alert(alert) if alert.name == "policy-forgery" && alert.message.contains(words));
        self.hear(alarm).await;
    }
}

async fn serve(directory: &Path, controller: Controller) -> JoinHandle<()> {
    let endpoint = Endpoint::Unix(directory.join("nodes.sock"));
    let listener = endpoint.listen().await.unwrap();
    let router = tonic::transport::Server::builder()
        .add_service(PolicyDistributionServer::new(controller.clone()))
        .add_service(ObservationsServer::new(controller));
    tokio::spawn(async move {
        let _ = listener.serve(router, std::future::pending()).await;
    })
}

/// A service claims the address of `photo-db`.
const GRAB: &str = "\
---
apiVersion: weir.dev/v1alpha1
kind: Service
metadata: {name: grab, namespace: evil}
spec: {workloads: [], disputedAddresses: [10.91.0.3]}
";

#[tokio::test]
async fn packets_to_an_address_that_a_service_claims_of_its_owner_are_told() {
    let mut site = Site::start().await;
    assert_eq!(site.start_node().unwrap(), 0);
    // Claims are no policy: nobody has to sign them. What is allowed is told of, not what is stopped.
    let policy = POLICY.replace("protect", "discover");
    site.send(1, &format!("{policy}{GRAB}"), Some((&policy, 7)));
    site.applied(1).await;
    let in_force = |site: &Site| site.node.as_ref().unwrap().0.snapshot.load_full().unwrap();
    let mut bench = Bench::watching(&in_force(&site), small_limits());
    let talk = |port| {
        let client = Host(2).port(Family::V4, port);
        Talk::new(client, Host(3).port(Family::V4, 3306))
    };
    let told = |bench: &mut Bench| -> Vec<(u16, String)> {
        let events = bench.events_of(EventKind::Threat).into_iter();
        let finding = events.map(|event| event.finding.unwrap());
        let told = finding.map(|it| {
            let by = String::from_utf8(it.evidence.excerpt.to_vec()).unwrap();
            (it.threat.id(), by)
        });
        told.collect()
    };
    let first = talk(40_000);
    bench.send(CLIENTS, &first.syn());
    assert_eq!(told(&mut bench), [(1160, "evil/grab".to_owned())]);
    // The service lets go of it.
    site.send(2, &policy, Some((&policy, 7)));
    site.applied(2).await;
    bench.install(&in_force(&site));
    let second = talk(40_001);
    bench.send(CLIENTS, &second.syn());
    assert_eq!(told(&mut bench), []);
    site.stop_node().await;
}

#[tokio::test]
async fn only_what_was_signed_comes_in_force_and_the_rest_raises_an_alarm() {
    let mut site = Site::start().await;
    assert_eq!(site.start_node().unwrap(), 0);
    site.send(1, POLICY, None);
    site.refused(1, "the policy is not signed").await;
    assert_eq!(site.enforced(), 0);
    site.send(2, POLICY, Some((POLICY, 7)));
    site.applied(2).await;
    let wider = POLICY.replace("[3306]", "[3306, 22]");
    site.send(3, &wider, Some((POLICY, 7)));
    site.refused(
        3,
        "allowlist shop/photo-db ingress[0] is not signed (opens)",
    )
    .await;
    site.alarmed("allowlist shop/photo-db ingress[0] is not signed (opens)")
        .await;
    assert_eq!(site.enforced(), 2, "the last good one stays");
    site.send(4, &wider, Some((&wider, 6)));
    site.refused(4, "a replay").await;
    // An address is not policy.
    let moved = POLICY.replace("10.91.0.2", "10.91.0.9");
    site.send(5, &moved, Some((POLICY, 7)));
    site.applied(5).await;
    site.send(6, &wider, Some((&wider, 8)));
    site.applied(6).await;
    site.stop_node().await;
    let events = std::fs::read_to_string(site.path("eve.json")).unwrap();
    let alert = events
        .lines()
        .find(|line| line.contains("ingress[0] is not signed"))
        .unwrap();
    let alert: serde_json::Value = serde_json::from_str(alert).unwrap();
    assert_eq!(alert["event_type"], "alert");
    assert_eq!(
        (&alert["alert"]["gid"], &alert["alert"]["signature_id"]),
        (&900.into(), &1180.into())
    );
    assert_eq!(alert["alert"]["action"], "blocked");
}

#[tokio::test]
async fn what_was_signed_holds_after_restarts_and_what_was_not_does_not() {
    let mut site = Site::start().await;
    site.start_node().unwrap();
    site.send(1, POLICY, Some((POLICY, 7)));
    site.applied(1).await;
    site.stop_node().await;
    assert_eq!(site.start_node().unwrap(), 1, "from disk");
    assert_eq!(site.enforced(), 1);
    // The controller is gone and another comes: it has the same policy, or an older one.
    site.server.abort();
    assert!((&mut site.server).await.unwrap_err().is_cancelled());
    site.server = serve(site.directory.path(), site.controller.clone()).await;
    let wider = POLICY.replace("[3306]", "[3306, 22]");
    site.send(2, &wider, Some((&wider, 6)));
    site.refused(2, "a replay").await;
    site.stop_node().await;
    for (tampered, signed) in [(wider.as_str(), POLICY), (POLICY, wider.as_str())] {
        let contents = site.contents(tampered, Some((signed, 7)));
        site.last_good().keep(3, &contents).unwrap();
        let refused = site.start_node().unwrap_err();
        assert!(
            matches!(refused, LastGoodError::Untrusted { .. }),
            "{refused}"
        );
        assert_eq!(site.enforced(), 0);
        site.alarmed("bundle shop 7").await;
        site.stop_node().await;
    }
    assert!(site.start_node().is_err());
    site.send(4, POLICY, Some((POLICY, 7)));
    site.applied(4).await;
    site.stop_node().await;
    assert_eq!(site.start_node().unwrap(), 4);
    site.stop_node().await;
}
