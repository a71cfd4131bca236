//! Requests as the recorder sent them: plain HTTP, one connection each.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use futures::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A request, filled in.
pub struct Sent {
    pub method: String,
    pub path: String,
    pub accept: String,
    pub user: String,
    pub content_type: String,
    pub body: Option<String>,
}

/// What came back.
pub struct Got {
    pub status: u16,
    /// The headers that are compared.
    pub headers: Value,
    pub text: String,
}

fn token(user: &str) -> Option<&'static str> {
    match user {
        "admin" => Some("admin-token"),
        "weir" => Some("weir-token"),
        "nobody" => Some("nobody-token"),
        "none" => None,
        _ => Some("no-such-token"),
    }
}

async fn open(address: SocketAddr, sent: &Sent) -> hyper::Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("the server speaks HTTP");
    tokio::spawn(connection);
    // The recorder leaves unencoded what has to be encoded: `?labelSelector=app+in+(web)`.
    let mut request = hyper::Request::builder()
        .method(sent.method.as_str())
        .uri(&sent.path)
        .header("host", address.to_string())
        .header("accept", &sent.accept)
        .header("user-agent", "recorder/1");
    if let Some(token) = token(&sent.user) {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if sent.body.is_some() {
        request = request.header("content-type", &sent.content_type);
    }
    let body = sent.body.clone().map_or_else(Body::empty, Body::from);
    sender
        .send_request(request.body(body).expect("a request"))
        .await
        .expect("the server answers")
}

fn headers(response: &hyper::Response<hyper::body::Incoming>) -> Value {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    json!({
        "content-type": header("content-type"), "warning": header("warning"), "retry-after": header("retry-after"),
    })
}

/// Sends a request and reads its answer.
pub async fn ask(address: SocketAddr, sent: &Sent) -> Got {
    let response = open(address, sent).await;
    let (status, headers) = (response.status().as_u16(), headers(&response));
    let body = axum::body::to_bytes(Body::new(response.into_body()), 64 << 20)
        .await
        .expect("a whole answer");
    Got {
        status,
        headers,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// An open watch.
pub struct Watch {
    pub status: u16,
    lines: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<bool>,
}

impl Watch {
    pub async fn open(address: SocketAddr, sent: &Sent) -> Watch {
        let response = open(address, sent).await;
        let status = response.status().as_u16();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            let mut stream = Body::new(response.into_body()).into_data_stream();
            let mut left = Vec::new();
            while let Some(piece) = stream.next().await {
                let Ok(piece) = piece else { return false };
                left.extend_from_slice(&piece);
                while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = left.drain(..=end).collect();
                    if let Ok(event) = serde_json::from_slice(&line) {
                        kept.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(event);
                    }
                }
            }
            true
        });
        Watch {
            status,
            lines,
            task,
        }
    }

    /// Whether the server ended the stream within a time.
    pub async fn ends_within(&mut self, patience: std::time::Duration) -> bool {
        tokio::time::timeout(patience, &mut self.task)
            .await
            .is_ok_and(|ended| ended.unwrap_or(false))
    }

    /// Everything that was told. The watch is over.
    pub fn events(&self) -> Vec<Value> {
        self.task.abort();
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
