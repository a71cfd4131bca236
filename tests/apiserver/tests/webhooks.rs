//! Webhooks: asked over TLS, believed when they answer, and what happens when they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use weir_apiserver::{ApiServer, Options};

/// A webhook that refuses what says `refuse`, warns of what says `warn`, and is late for what says `late`.
struct Webhook {
    url: String,
    authority: String,
    asked: Arc<AtomicUsize>,
}

async fn webhook() -> Webhook {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/validate", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper::service::service_fn(
                    move |request: hyper::Request<hyper::body::Incoming>| {
                        count.fetch_add(1, Ordering::SeqCst);
                        answer(request)
                    },
                );
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Webhook {
        url,
        authority: certificate.pem(),
        asked,
    }
}

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<axum::body::Body>, String> {
    let body = axum::body::to_bytes(axum::body::Body::new(request.into_body()), 1 << 20)
        .await
        .unwrap();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let asked = &review["request"];
    let says = |word: &str| asked["object"]["data"]["says"] == word;
    if says("late") {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let mut response = json!({"uid": asked["uid"], "allowed": true});
    if says("refuse")
        || asked["operation"] == "DELETE" && asked["oldObject"]["data"]["says"] == "stay"
    {
        response["allowed"] = json!(false);
        response["status"] =
            json!({"code": 403, "reason": "Forbidden", "message": "spec: not like that"});
    }
    if says("warn") {
        response["warnings"] = json!(["think twice"]);
    }
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(hyper::Response::new(axum::body::Body::from(
        review.to_string(),
    )))
}

async fn client(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig("admin")).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

async fn configure(client: &Client, webhook: &Webhook, change: Value) {
    let bundle = base64::engine::general_purpose::STANDARD.encode(&webhook.authority);
    let mut configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "test"},
        "webhooks": [{
            "name": "maps.weir.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 1,
            "failurePolicy": "Fail", "clientConfig": {"url": webhook.url, "caBundle": bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}],
        }],
    });
    for (name, value) in change.as_object().unwrap() {
        configuration["webhooks"][0][name] = value.clone();
    }
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    api.patch(
        "test",
        &PatchParams::apply("test").force(),
        &Patch::Apply(configuration),
    )
    .await
    .unwrap();
}

fn map(name: &str, says: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"says": says}})).unwrap()
}

async fn said(maps: &Api<ConfigMap>, name: &str, says: &str) -> Result<ConfigMap, String> {
    maps.create(&PostParams::default(), &map(name, says))
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_refuses_is_not_written() {
    let (server, webhook) = (
        ApiServer::start(Options::default()).await.unwrap(),
        webhook().await,
    );
    let client = client(&server).await;
    configure(&client, &webhook, json!({})).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    said(&maps, "good", "yes").await.unwrap();
    said(&maps, "warned", "warn").await.unwrap();
    let refused = said(&maps, "bad", "refuse").await.unwrap_err();
    assert!(
        refused.contains(
            "admission webhook \"maps.weir.dev\" denied the request: spec: not like that"
        ),
        "{refused}"
    );
    assert!(maps.get_opt("bad").await.unwrap().is_none());
    said(&maps, "kept", "stay").await.unwrap();
    assert!(
        maps.delete("kept", &DeleteParams::default()).await.is_err(),
        "a webhook may refuse a deletion"
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    assert!(
        maps.create(&dry, &map("dry", "refuse")).await.is_err(),
        "a dry run asks too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_webhook_closes_or_opens_as_its_policy_says() {
    let (server, webhook) = (
        ApiServer::start(Options::default()).await.unwrap(),
        webhook().await,
    );
    let client = client(&server).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    configure(&client, &webhook, json!({})).await;
    let late = said(&maps, "late", "late").await.unwrap_err();
    assert!(
        late.contains("failed calling webhook \"maps.weir.dev\"")
            && late.contains("context deadline exceeded"),
        "{late}"
    );
    configure(
        &client,
        &webhook,
        json!({"clientConfig": {"url": webhook.url}}),
    )
    .await;
    let stranger = said(&maps, "stranger", "yes").await.unwrap_err();
    assert!(
        stranger.contains("certificate signed by unknown authority"),
        "{stranger}"
    );
    configure(
        &client,
        &webhook,
        json!({"clientConfig": {"url": "https://127.0.0.1:1/validate"}}),
    )
    .await;
    let gone = said(&maps, "gone", "yes").await.unwrap_err();
    assert!(gone.contains("connection refused"), "{gone}");
    configure(
        &client,
        &webhook,
        json!({"failurePolicy": "Ignore", "clientConfig": {"url": "https://127.0.0.1:1/x"}}),
    )
    .await;
    said(&maps, "open", "refuse").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_asked_only_about_what_it_selects() {
    let (server, webhook) = (
        ApiServer::start(Options::default()).await.unwrap(),
        webhook().await,
    );
    let client = client(&server).await;
    configure(
        &client,
        &webhook,
        json!({"namespaceSelector": {"matchLabels": {"weir.dev/watched": "yes"}}}),
    )
    .await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let watched = json!({"metadata": {"name": "watched", "labels": {"weir.dev/watched": "yes"}}});
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(watched).unwrap(),
        )
        .await
        .unwrap();
    said(&Api::namespaced(client.clone(), "default"), "a", "refuse")
        .await
        .unwrap();
    assert_eq!(webhook.asked.load(Ordering::SeqCst), 0);
    said(&Api::namespaced(client, "watched"), "a", "refuse")
        .await
        .unwrap_err();
    assert_eq!(webhook.asked.load(Ordering::SeqCst), 1);
}
