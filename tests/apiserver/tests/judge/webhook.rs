//! The webhook of the admission scenario: answers what the recorded one answered, and holds what it is
//! sent against what the recorded one was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::normal::{compare, normal};
use crate::replay::Found;

#[derive(Default)]
struct Shared {
    /// The step that is asked about now.
    step: String,
    recorded: VecDeque<Value>,
    found: Vec<Found>,
}

/// A running webhook.
pub struct Webhook {
    address: SocketAddr,
    authority: String,
    shared: Arc<Mutex<Shared>>,
}

impl Webhook {
    pub async fn start(folder: &Path) -> Webhook {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared {
            recorded: recorded(folder),
            ..Shared::default()
        }));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(serve(listener, acceptor, Arc::clone(&shared)));
        Webhook {
            address,
            authority: certificate.pem(),
            shared,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn bundle(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.authority)
    }

    /// What comes next belongs to this step.
    pub fn expect(&self, step: &str) {
        step.clone_into(&mut lock(&self.shared).step);
    }

    /// What differed, and what was recorded and never asked.
    pub fn found(self) -> Vec<Found> {
        let mut shared = lock(&self.shared);
        let mut found = std::mem::take(&mut shared.found);
        found.extend(shared.recorded.iter().map(|one| Found {
            step: one["for_step"].as_str().unwrap_or("timeout").to_owned(),
            path: "/webhook".to_owned(),
            what: "the real server asked the webhook here".to_owned(),
        }));
        found
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recorded(folder: &Path) -> VecDeque<Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("admission"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service =
                hyper::service::service_fn(|request| answer(request, Arc::clone(&shared)));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    shared: Arc<Mutex<Shared>>,
) -> Result<hyper::Response<Body>, std::convert::Infallible> {
    let path = request.uri().to_string();
    let body = axum::body::to_bytes(Body::new(request.into_body()), 1 << 20)
        .await
        .unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let recorded = {
        let mut shared = lock(&shared);
        let step = shared.step.clone();
        let Some(recorded) = shared.recorded.pop_front() else {
            shared.found.push(Found {
                step,
                path: "/webhook".to_owned(),
                what: "the real server did not ask".to_owned(),
            });
            return Ok(hyper::Response::new(Body::empty()));
        };
        let before = json!({"path": recorded["path"], "request": recorded["request"]});
        let now = json!({"path": path, "request": asked});
        compare(
            &normal(&before),
            &normal(&now),
            "/webhook",
            &step,
            &mut shared.found,
        );
        recorded
    };
    if recorded["for_step"].is_null() {
        // Answered after its two seconds.
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    if !recorded["response"].is_object() {
        let mut response = hyper::Response::new(Body::empty());
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    }
    let mut review = recorded["response"].clone();
    if review["response"]["uid"] == recorded["request"]["request"]["uid"] {
        review["response"]["uid"] = asked["request"]["uid"].clone();
    }
    Ok(hyper::Response::new(Body::from(review.to_string())))
}
