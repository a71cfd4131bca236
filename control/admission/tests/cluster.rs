//! The webhook as an API server calls it: certificate in a Secret that replicas share, caBundle
//! written, refusals as clients see them.

mod common;

use std::sync::Arc;
use std::time::SystemTime;

use common::{Known, settings};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use weir_admission::authority::SERVING_SECS;
use weir_admission::cluster::{Secret, publish, reports};
use weir_admission::keeper::{Keeper, Place, unix_secs};
use weir_admission::{Image, server};
use weir_cluster::Cluster;

const DAY: u64 = 24 * 60 * 60;

fn configuration(port: u16) -> Value {
    let webhook = |name: &str,
                   path: &str,
                   groups: &[&str],
                   resources: &[&str],
                   operations: &[&str]| {
        json!({
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 10,
            "clientConfig": {"url": format!("https://127.0.0.1:{port}{path}")},
            "rules": [{"apiGroups": groups, "apiVersions": ["*"], "operations": operations, "resources": resources}]
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "weir"},
        "webhooks": [
            webhook("workloads.weir.dev", "/validate/workloads", &["", "apps"], &["pods", "deployments"], &["CREATE", "UPDATE"]),
            webhook("policy.weir.dev", "/validate/policy", &["weir.dev"], &["allowlists"], &["CREATE", "UPDATE", "DELETE"]),
        ]
    })
}

fn status(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}

fn pod(name: &str, image: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": image}]}
    }))
    .unwrap()
}

fn allowlist(name: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist", "metadata": {"name": name},
        "spec": {"target": {"workload": "db"}, "ingress": [{"from": [{"workload": "web"}]}]}
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_asks_believes_and_tells() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    cluster.namespace("weir-system", &[]).await;
    cluster.namespace("shop", &[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let written = serde_json::from_value(configuration(port)).unwrap();
    configurations
        .create(&PostParams::default(), &written)
        .await
        .unwrap();

    // Two replicas begin at the same time and agree.
    let replica = || {
        let secret = Secret::new(client.clone(), "weir-system", "weir-webhook");
        Keeper::new(
            Place::Secret(Box::new(secret)),
            vec!["127.0.0.1".to_owned()],
        )
    };
    let (one, other) = (replica(), replica());
    let now = unix_secs(SystemTime::now());
    let long_ago = now - SERVING_SECS + 9 * DAY;
    let (first, second) = tokio::join!(one.tick(long_ago), other.tick(long_ago));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.authorities, second.authorities);
    let told = |keys: &str| {
        let (client, keys) = (client.clone(), keys.to_owned());
        async move { publish(client, "weir", &keys).await.unwrap() }
    };
    assert!(told(&first.authorities).await);
    assert!(!told(&first.authorities).await);

    let mut known = Known {
        settings: settings("{images: {requireDigest: true}}"),
        ..Known::default()
    };
    known.judgement.warnings = vec![common::problem("spec", "think twice")];
    let knowledge = Arc::new(known);
    let serving = tokio::spawn(server::serve(
        listener,
        one.served(),
        knowledge.clone(),
        std::future::pending(),
    ));

    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let digest = "sha256:9b7cc10a375078764c26a25ba9a0aa1d5f1d3aa3e2ba4d5a09ba8fdd1f3a5a4c";
    let refuse = async |name: &str| {
        let refused = pods
            .create(&PostParams::default(), &pod(name, "nginx"))
            .await;
        let (code, message) = status(refused.unwrap_err());
        assert_eq!(code, 403, "{message}");
        assert!(
            message.starts_with(
                "admission webhook \"workloads.weir.dev\" denied the request: pod shop/"
            ),
            "{message}"
        );
        assert!(
            message
                .contains("spec.containers[0].image: image docker.io/library/nginx is not named"),
            "{message}"
        );
    };
    refuse("web-0").await;
    let pinned = pod("web-0", &format!("nginx@{digest}"));
    pods.create(&PostParams::default(), &pinned).await.unwrap();

    // Renewed while it serves: the API server goes on believing.
    let renewed = one.tick(now).await.unwrap();
    assert_ne!(renewed.certificate, first.certificate);
    assert_eq!(*other.tick(now).await.unwrap(), *renewed);
    told(&renewed.authorities).await;
    refuse("web-1").await;

    // Weir's own documents: with the real schema, and the old state at removal.
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", "Allowlist");
    let resource = ApiResource::from_gvk(&kind);
    let allowlists: Api<DynamicObject> = Api::namespaced_with(client.clone(), "shop", &resource);
    allowlists
        .create(&PostParams::default(), &allowlist("db"))
        .await
        .unwrap();
    allowlists
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    let asked = knowledge.asked.lock().unwrap().clone();
    assert_eq!(asked, [(false, true), (true, false)]);

    // A cluster without a scanner has no reports.
    assert_eq!(reports(client.clone()).await.unwrap().count(), 0);
    assert!(Image::read("nginx").is_ok());
    serving.abort();
}
