//! HTTP for those who watch: Prometheus, the kubelet, a person with curl.
//!
//! Distrusts whoever connects: a connection serves one request and has [`CONNECTION_TIMEOUT`] for it, its
//! head is bounded, and where [`CONNECTIONS_MAX`] are open the oldest makes way, so that nobody keeps the
//! kubelet out by holding connections. Nothing is changed by asking, and nothing secret is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tracing::{info, warn};
use weir_service::Standing;

use crate::Listen;

/// Open connections; for one more the oldest is closed.
const CONNECTIONS_MAX: usize = 64;
/// For a connection as a whole.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How often a place that is taken is tried again: by the process that this one follows, for example.
const LISTEN_RETRY: Duration = Duration::from_secs(1);
/// After a failure to accept: there may be no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What a daemon tells of itself.
pub trait Told: Send + Sync + 'static {
    /// Every metric, as [`Reading::text`](crate::Reading::text) writes them. May wait for locks.
    fn metrics(&self) -> String;

    /// How it stands: `/healthz` refuses where it is stuck, `/readyz` unless it does its work. May wait
    /// for locks.
    fn standing(&self) -> Standing;
}

/// Serves here until `stop`. A place that cannot be had is tried again: watching is no reason for a
/// daemon not to do its work.
pub async fn serve(listen: Listen, told: Arc<dyn Told>, stop: impl Future<Output = ()>) {
    let Listen::At(address) = listen else {
        return;
    };
    tokio::pin!(stop);
    tokio::select! {
        () = &mut stop => {}
        listener = bound(address) => serve_on(listener, told, stop).await,
    }
}

async fn bound(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !told => {
                warn!(
                    "metrics cannot be served on {address}: {error}; it is tried again; see `ss -ltnp` \
                     for who is there, or give another place"
                );
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_RETRY).await;
    }
}

/// Serves on what is bound already, until `stop`.
pub async fn serve_on(listener: TcpListener, told: Arc<dyn Told>, stop: impl Future<Output = ()>) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving /metrics, /healthz and /readyz");
    }
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.retain(|it| !it.is_finished());
                if connections.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = connections.pop_front()
                {
                    oldest.abort();
                }
                let connection = tokio::spawn(connection(stream, Arc::clone(&told)));
                connections.push_back(connection.abort_handle());
            }
            Err(error) => {
                warn!("metrics: cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.iter().for_each(AbortHandle::abort);
}

async fn connection(stream: TcpStream, told: Arc<dyn Told>) {
    let service = service_fn(move |request| {
        let told = Arc::clone(&told);
        async move { Ok::<_, Infallible>(answer(&request, told).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever asks sees for himself that nothing comes.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
}

async fn answer(request: &Request<Incoming>, told: Arc<dyn Told>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    let path = request.uri().path().to_owned();
    // Locks of the daemon may be waited for: not on the runtime's own threads.
    let answered = tokio::task::spawn_blocking(move || match path.as_str() {
        "/metrics" => response(StatusCode::OK, OPEN_METRICS, told.metrics()),
        "/healthz" => health(told.standing(), false),
        "/readyz" => health(told.standing(), true),
        _ => {
            let there = "there are /metrics, /healthz and /readyz\n";
            response(StatusCode::NOT_FOUND, PLAIN, there.into())
        }
    });
    answered.await.unwrap_or_else(|_| {
        let text = "it could not be told; the log says why\n";
        response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text.into())
    })
}

fn health(standing: Standing, ready: bool) -> Response<Full<Bytes>> {
    let (text, fine) = match standing {
        Standing::Working(text) => (text, true),
        Standing::Starting(text) => (text, !ready),
        Standing::Stuck(text) => (text, false),
    };
    let status = match fine {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    response(status, PLAIN, format!("{text}\n"))
}

fn response(status: StatusCode, kind: HeaderValue, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
