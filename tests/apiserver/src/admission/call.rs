//! One call of a webhook: over TLS, to an authority that its configuration names, within its timeout.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a webhook may answer at most.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Where services are that have no network here: a test says so.
#[derive(Debug, Default)]
pub(crate) struct Services(Mutex<HashMap<(String, String), SocketAddr>>);

impl Services {
    pub(crate) fn route(&self, namespace: &str, name: &str, address: SocketAddr) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert((namespace.to_owned(), name.to_owned()), address);
    }

    fn find(&self, namespace: &str, name: &str) -> Option<SocketAddr> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes
            .get(&(namespace.to_owned(), name.to_owned()))
            .copied()
    }
}

/// Where a webhook is.
struct Place {
    /// As the real server names it in errors.
    url: String,
    /// The name that its certificate has to have.
    host: String,
    /// `address:port`
    address: String,
    path: String,
}

/// Calls a webhook. Why it could not be asked is said in the words of the real server.
pub(crate) async fn call(
    services: &Services,
    webhook: &Value,
    review: &Value,
) -> Result<Value, String> {
    let seconds = webhook["timeoutSeconds"].as_u64().unwrap_or(10);
    let place = place(services, &webhook["clientConfig"], seconds)?;
    let post = format!("Post {:?}: ", place.url);
    match tokio::time::timeout(
        Duration::from_secs(seconds),
        exchange(&place, webhook, review),
    )
    .await
    {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => Err(format!("{post}{why}")),
        Err(_) => Err(format!("{post}context deadline exceeded")),
    }
}

fn place(services: &Services, config: &Value, seconds: u64) -> Result<Place, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(url) = config["url"].as_str() {
        let (host, path) = url
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap_or((url, ""));
        let name = host
            .rsplit_once(':')
            .map_or(host, |(name, _)| name)
            .trim_matches(['[', ']'])
            .to_owned();
        let address = if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:443")
        };
        let path = format!("/{path}?timeout={seconds}s");
        return Ok(Place {
            url: format!("{url}?timeout={seconds}s"),
            host: name,
            address,
            path,
        });
    }
    let service = &config["service"];
    let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
    let port = service["port"].as_u64().unwrap_or(443);
    let path = format!(
        "/{}?timeout={seconds}s",
        text(&service["path"]).trim_start_matches('/')
    );
    let host = format!("{name}.{namespace}.svc");
    let url = format!("https://{host}:{port}{path}");
    let address = services
        .find(&namespace, &name)
        .ok_or_else(|| format!("service {name:?} not found"))?;
    Ok(Place {
        url,
        host,
        address: address.to_string(),
        path,
    })
}

/// The outer error is about reaching the webhook, the inner one about what it said.
async fn exchange(
    place: &Place,
    webhook: &Value,
    review: &Value,
) -> Result<Result<Value, String>, String> {
    let connector = connector(&webhook["clientConfig"])?;
    let name = ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(&place.address)
        .await
        .map_err(|error| format!("dial tcp {}: connect: {}", place.address, reason(&error)))?;
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| verification(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::post(&place.path)
        .header("host", &place.host)
        .header("content-type", "application/json")
        .header("accept", "application/json, */*")
        .header("user-agent", "kube-apiserver-admission")
        .body(Body::from(review.to_string()))
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|_| "EOF".to_owned())?;
    let status = response.status();
    let body = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES)
        .await
        .map_err(|error| error.to_string())?;
    connection.abort();
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body).trim().to_owned();
        let why =
            format!("an error on the server ({said:?}) has prevented the request from succeeding");
        return Ok(Err(why));
    }
    Ok(serde_json::from_slice(&body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}")))
}

fn connector(config: &Value) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let bundle = config["caBundle"].as_str().unwrap_or_default();
    let pem = base64::engine::general_purpose::STANDARD
        .decode(bundle)
        .unwrap_or_default();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// What Go says of a certificate.
fn verification(error: &std::io::Error) -> String {
    let text = error.to_string();
    let why = if text.contains("UnknownIssuer") {
        "certificate signed by unknown authority"
    } else if text.contains("Expired") {
        "certificate has expired or is not yet valid"
    } else if text.contains("NotValidForName") {
        "certificate is not valid for this name"
    } else {
        return format!("tls: {text}");
    };
    format!("tls: failed to verify certificate: x509: {why}")
}
