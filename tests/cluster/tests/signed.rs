//! Signed policy that kubectl brings: the controller carries what the ConfigMaps of its namespace hold, and
//! what they hold that is no bundle changes nothing.

mod site;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::{Endpoint, retyped, v1};
use weir_bundle::{
    Algorithm, Bundle, DIGEST_ANNOTATION, PART_ANNOTATION, PART_KEY, PART_LABEL, PrivateKey,
    SignedBundle, generate, split,
};
use weir_cluster::{Cluster, PATIENCE, TestPod};
use weir_controller::Config;
use weir_controller::bundle::BundleFrom;
use weir_model::parse_documents;

use crate::site::{Site, workload};

const NAMESPACE: &str = "default";
const POLICY: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: web, namespace: shop}
spec: {target: {workload: web}, ingress: [{from: [{any: true}], ports: [80]}]}
";

fn signed(sequence: u64, key: &PrivateKey) -> SignedBundle {
    let (documents, _) = parse_documents("policy.yaml", POLICY);
    let documents = documents.into_iter().map(|located| located.value).collect();
    let bundle = Bundle::new("shop", sequence, 1, None, documents).unwrap();
    let mut signed = SignedBundle::new(bundle.payload().unwrap());
    signed.sign(key).unwrap();
    signed
}

/// The ConfigMap that carries a bundle, as `weir bundle manifest` prints it.
fn manifest(signed: &SignedBundle) -> Value {
    let parts = split(&signed.to_file());
    let [part] = parts.as_slice() else {
        panic!("a small bundle is one part");
    };
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "weir-bundle-1", "namespace": NAMESPACE, "labels": {PART_LABEL: "part"},
            "annotations": {
                PART_ANNOTATION: format!("{}/{}", part.number, part.count),
                DIGEST_ANNOTATION: part.digest,
            },
        },
        "data": {PART_KEY: part.text},
    })
}

/// Payloads of bundles as a node gets them.
async fn bundles(cluster: &Cluster) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let endpoint = Endpoint::Unix(cluster.folder().join("nodes.sock"));
    let channel = endpoint.connect(None, None).await.unwrap();
    let (outgoing, stream) = mpsc::channel(8);
    let (told, bundles) = mpsc::unbounded_channel();
    let hello = FromNode::Hello(v1::Hello {
        node: "node-1".to_owned(),
        protocol_min: 2,
        protocol_max: 2,
        software: "test".into(),
        ..v1::Hello::default()
    });
    let say = |message| v1::NodeMessage {
        message: Some(message),
    };
    outgoing.send(say(hello)).await.unwrap();
    let mut client = PolicyDistributionClient::new(channel);
    let answer = client.subscribe(ReceiverStream::new(stream)).await.unwrap();
    let mut incoming = answer.into_inner();
    tokio::spawn(async move {
        while let Ok(Some(message)) = incoming.message().await {
            let typed: v1::ControllerMessage = retyped(&message).unwrap();
            let (version, checksum, bundle) = match typed.message {
                Some(FromController::Snapshot(it)) => (it.version, it.checksum, it.bundle),
                Some(FromController::Delta(it)) => (it.version, it.checksum, it.bundle),
                _ => continue,
            };
            if let Some(bundle) = bundle {
                let _ = told.send(bundle.payload);
            }
            let applied = FromNode::Applied(v1::Applied { version, checksum });
            if outgoing.send(say(applied)).await.is_err() {
                return;
            }
        }
    });
    bundles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_applies_is_carried_and_what_is_no_bundle_is_told() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = cluster.kubectl("what_kubectl_applies_is_carried") else {
        return;
    };
    cluster.namespace("shop", &[]).await;
    let pod = TestPod::new("shop", "web").node("node-1");
    cluster.pod(pod.addresses(&["10.1.0.7"])).await;
    let carrying = |config: Config| Config {
        bundle: Some(BundleFrom::ConfigMaps),
        ..config
    };
    let apply = ["apply", "-f", "-"];
    kubectl.run_with(&apply, POLICY).await.unwrap();
    let mut site = Site::start_with(&cluster, &cluster.kubeconfig_path(), carrying).await;
    let told = |status: &v1::StatusReply, words: &str| {
        let mut problems = status.problems.iter();
        problems.any(|it| it.message.contains(words))
    };
    let status = site
        .status_when("that there is none", |status| told(status, "there is none"))
        .await;
    let next = &status
        .problems
        .iter()
        .find(|it| it.message.contains("there is none"));
    assert!(
        next.unwrap().next_step.contains("weir bundle manifest"),
        "{next:?}"
    );
    site.status_when("the policy", |status| {
        workload(status, "shop/web").is_some_and(|it| it.rules == 1)
    })
    .await;
    let mut bundles = bundles(&cluster).await;
    let made = generate(Algorithm::Ed25519).unwrap();
    let key = PrivateKey::from_pem(&made.private_pem).unwrap();
    for sequence in [1, 2] {
        let bundle = signed(sequence, &key);
        let map = manifest(&bundle).to_string();
        kubectl.run_with(&apply, &map).await.unwrap();
        let carried = tokio::time::timeout(PATIENCE, bundles.recv()).await;
        assert_eq!(carried.expect("it comes in time").unwrap(), bundle.payload);
        site.status_when("it is well", |status| status.problems.is_empty())
            .await;
        // Half of it: what was carried before stays.
        let mut torn = manifest(&bundle);
        torn["data"][PART_KEY] = json!("{\"payload\"");
        kubectl.run_with(&apply, &torn.to_string()).await.unwrap();
        let words = "not what the digest says";
        site.status_when("what is wrong", |status| told(status, words))
            .await;
        assert!(bundles.try_recv().is_err());
    }
    site.controller.stop().await;
}
