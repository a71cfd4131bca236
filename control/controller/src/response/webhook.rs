//! Messages to web servers.
//!
//! Trusts the rule's author in where to post; distrusts the server: an answer is read no further than
//! its status, and waits for at most [`TRY_TIMEOUT`]. Secrets are read from their files when they are
//! sent, and stand in no message or log.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use axum::http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tracing::warn;
use weir_model::{Webhook, WebhookHeader};

/// One try takes no longer.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest secret.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Posts messages.
#[derive(Debug)]
pub struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    secrets: PathBuf,
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be another time.
    Again(String),
    /// It never will be.
    Never(String),
}

/// A machine without authorities posts to nobody by HTTPS; all else goes on.
fn trusting() -> HttpsConnectorBuilder<WantsSchemes> {
    HttpsConnectorBuilder::new().with_native_roots().unwrap_or_else(|why| {
        warn!(%why, "no certificate authorities: webhooks by https will fail; apt-get install ca-certificates");
        let nobody = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        HttpsConnectorBuilder::new().with_tls_config(nobody.with_no_client_auth())
    })
}

impl Poster {
    /// With the system's authorities, and the directory that secrets are in.
    pub fn new(secrets: PathBuf) -> Self {
        let connector = trusting().https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, secrets }
    }

    /// Posts once.
    pub async fn post(&self, webhook: &Webhook, body: &Value) -> Result<(), Failure> {
        let request = self.request(webhook, body).await?;
        let answer = tokio::time::timeout(TRY_TIMEOUT, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| Failure::Again(format!("no answer within {TRY_TIMEOUT:?}")))?
            .map_err(|error| Failure::Again(weir_api::innermost(&error)))?;
        let status = answer.status();
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        match status.is_success() {
            true => Ok(()),
            false if status.is_server_error() || later.contains(&status) => {
                Err(Failure::Again(format!("the server answers {status}")))
            }
            false => Err(Failure::Never(format!("the server answers {status}"))),
        }
    }

    async fn request(
        &self,
        webhook: &Webhook,
        body: &Value,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let uri: Uri = webhook
            .url
            .as_str()
            .parse()
            .map_err(|error| Failure::Never(format!("the address cannot be used: {error}")))?;
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")));
        for header in &webhook.headers {
            let name = HeaderName::try_from(header.name.as_str())
                .map_err(|error| Failure::Never(format!("header {}: {error}", header.name)))?;
            request = request.header(name, self.value(header).await?);
        }
        let body = Full::new(Bytes::from(body.to_string()));
        let request = request.body(body);
        request.map_err(|error| Failure::Never(error.to_string()))
    }

    async fn value(&self, header: &WebhookHeader) -> Result<HeaderValue, Failure> {
        let text = match (&header.value, &header.secret_file) {
            (Some(value), _) => value.clone(),
            (None, Some(file)) => self.secret(file).await?,
            (None, None) => String::new(),
        };
        let mut value = HeaderValue::try_from(text.trim_end()).map_err(|_| {
            Failure::Never(format!(
                "the value of header {} has characters that no header may have",
                header.name
            ))
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn secret(&self, file: &str) -> Result<String, Failure> {
        let path = self.secrets.join(file);
        let unusable = |why: String| {
            Failure::Never(format!(
                "the secret {} cannot be used: {why}",
                path.display()
            ))
        };
        let length = tokio::fs::metadata(&path).await.map(|it| it.len());
        match length {
            Ok(length) if length <= SECRET_BYTES_MAX => {
                let text = tokio::fs::read_to_string(&path).await;
                text.map_err(|error| unusable(error.to_string()))
            }
            Ok(length) => Err(unusable(format!(
                "it has {length} bytes, more than {SECRET_BYTES_MAX}"
            ))),
            Err(error) => Err(unusable(error.to_string())),
        }
    }
}

impl Failure {
    /// In words.
    pub fn why(&self) -> &str {
        match self {
            Self::Again(why) | Self::Never(why) => why,
        }
    }
}
