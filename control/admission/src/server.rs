//! HTTPS, as the API server calls it.
//!
//! Distrusts whoever connects: the number of connections, the time for a handshake, for a request
//! and for its answer, and its size are bounded. The API server need not show a certificate: what it
//! is told here is no secret, and nothing is changed by asking.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::keeper::Served;
use crate::{Knowledge, answer};

/// A review may be this large: two states of the largest object that etcd takes, and as much again.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// Further connections wait.
pub const CONNECTIONS_MAX: usize = 256;
/// Reviews that are judged at a time; further ones wait.
const JUDGED_MAX: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the head of a request, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The API server waits for 10 s where nothing else is written.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// After a failure to accept: there may be no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct App {
    knowledge: Arc<dyn Knowledge>,
    judging: Arc<Semaphore>,
}

/// Serves until `stop`; open connections end with it.
pub async fn serve(
    listener: TcpListener,
    served: Arc<Served>,
    knowledge: Arc<dyn Knowledge>,
    stop: impl Future<Output = ()>,
) -> Result<(), rustls::Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(served)?));
    let app = App {
        knowledge,
        judging: Arc::new(Semaphore::new(JUDGED_MAX)),
    };
    let router = Router::new()
        .route("/validate/{what}", post(review))
        .route("/healthz", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, acceptor.clone(), router.clone()));
                }
                Err(error) => {
                    warn!("the webhook cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    info!("the webhook stops");
    connections.shutdown().await;
    Ok(())
}

fn tls(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, router: Router) {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%peer, "no TLS: {error}"),
        Err(_) => return debug!(%peer, "no TLS within {HANDSHAKE_TIMEOUT:?}"),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(64);
    let service = TowerToHyperService::new(router);
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        debug!(%peer, "a connection of the webhook ended: {error}");
    }
}

async fn review(State(app): State<App>, Path(what): Path<String>, body: Body) -> Response {
    let Body(body) = body;
    let path = format!("/validate/{what}");
    let (begun, told) = (Instant::now(), app.knowledge.clone());
    let judge = async move {
        let _permit = app.judging.acquire_owned().await.ok()?;
        let knowledge = app.knowledge;
        // Judging may take as long as guardrails may.
        let judged = tokio::task::spawn_blocking(move || answer(&*knowledge, &path, &body));
        Some(judged.await)
    };
    let judged = tokio::time::timeout(ANSWER_TIMEOUT, judge).await;
    if let Some(what) = known(&what) {
        let verdict = match &judged {
            Ok(Some(Ok(Some(Ok(answer))))) => match answer["response"]["allowed"].as_bool() {
                Some(true) => "allowed",
                _ => "refused",
            },
            _ => "failed",
        };
        told.reviewed(what, verdict, begun.elapsed());
    }
    match judged {
        Ok(Some(Ok(Some(Ok(answer))))) => Json(answer).into_response(),
        Ok(Some(Ok(Some(Err(error))))) => {
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
        Ok(Some(Ok(None))) => {
            let next = "use /validate/policy, /validate/services or /validate/workloads\n";
            (StatusCode::NOT_FOUND, next).into_response()
        }
        Err(_) => {
            let message = "the review took too long to judge\n";
            (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
        }
        Ok(None | Some(Err(_))) => {
            let message = "the review could not be judged; the controller's log says why\n";
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}

/// What reviews are asked about, as it is counted.
fn known(what: &str) -> Option<&'static str> {
    let all = ["policy", "services", "workloads"];
    all.into_iter().find(|it| *it == what)
}

/// A body that came within its time.
struct Body(Bytes);

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Response> {
        // What says that it is too large need not be read first.
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > BODY_BYTES_MAX) {
            return Err(
                (StatusCode::PAYLOAD_TOO_LARGE, "the review is too large\n").into_response()
            );
        }
        let bytes = Bytes::from_request(request, state);
        match tokio::time::timeout(READ_TIMEOUT, bytes).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) => Err(rejection.into_response()),
            Err(_) => {
                Err((StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n").into_response())
            }
        }
    }
}
