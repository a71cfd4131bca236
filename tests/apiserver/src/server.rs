//! Connections: HTTP with and without TLS on one port (the first byte tells), each of which a test can end.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::failure::Failure;
use crate::faults::Fault;
use crate::identity;
use crate::request::{Content, Query, Reply};
use crate::route::{self, Parts};
use crate::state::State;

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    state: Arc<State>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = stream else { continue };
        let _ = stream.set_nodelay(true);
        let (state, tls, stop) = (Arc::clone(&state), tls.clone(), stop.clone());
        tokio::spawn(async move {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if first[0] == TLS_HANDSHAKE => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, state, stop).await;
                    }
                }
                Ok(1) => connection(stream, state, stop).await,
                _ => {}
            }
        });
    }
}

async fn connection<S>(stream: S, state: Arc<State>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ends = state.faults.connection_ends();
    let service = hyper::service::service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { respond(&state, request).await }
    });
    let builder = Builder::new(TokioExecutor::new());
    tokio::select! {
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        _ = ends.changed() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// An error ends the connection without an answer.
async fn respond(
    state: &Arc<State>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = Query::read(head.uri.query().unwrap_or_default());
    let authorization = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let user = identity::authenticate(state, authorization.unwrap_or_default());
    let other = text(&head.headers, "impersonate-user").next();
    let groups: Vec<&str> = text(&head.headers, "impersonate-group").collect();
    let user = user.and_then(|user| identity::impersonated(state, user, other, &groups));
    let user = match user {
        Ok(user) => user,
        Err(failure) => return Ok(refused(&failure)),
    };
    let method = head.method.as_str().to_owned();
    let parts = Parts {
        method,
        path,
        query,
        headers: head.headers,
        user,
    };
    let fault = state.faults.take(
        &parts.method,
        &parts.path,
        parts.is_watch(),
        &parts.user.name,
    );
    if let Some(fault) = fault
        && let Some(result) = faulty(fault, parts.is_watch()).await
    {
        return result;
    }
    Ok(match route::answer(state, parts, Body::new(body)).await {
        Ok(reply) => written(reply),
        Err(failure) => refused(&failure),
    })
}

/// The values of a header that are text.
fn text<'a>(headers: &'a header::HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok())
}

/// What a planned fault makes of a request; nothing when it is answered after all.
async fn faulty(fault: Fault, watch: bool) -> Option<Result<Response<Body>, io::Error>> {
    let event = |failure: &Failure| {
        let line = format!(
            "{}\n",
            serde_json::json!({"type": "ERROR", "object": failure.status()})
        );
        json_response(200, line)
    };
    Some(Ok(match fault {
        Fault::Slow(wait) => {
            tokio::time::sleep(wait).await;
            return None;
        }
        Fault::TooManyRequests { retry_after_s } => {
            refused(&Failure::too_many_requests(retry_after_s))
        }
        Fault::Error(code) => {
            let why = "an error on the server has prevented the request from succeeding";
            let reason = match code {
                403 => "Forbidden",
                500 => "InternalError",
                503 => "ServiceUnavailable",
                504 => "Timeout",
                _ => "",
            };
            refused(&Failure::new(code, reason, why))
        }
        Fault::Gone if watch => event(&Failure::too_old("too old resource version: 1 (2)")),
        Fault::Gone => refused(&Failure::too_old(
            "The resourceVersion for the provided list is too old.",
        )),
        Fault::Drop => return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))),
        Fault::Cut => {
            let pieces = [
                Ok(Bytes::from_static(b"{\"kind\":\"PodList\",\"apiVer")),
                Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            ];
            let mut response = Response::new(Body::from_stream(futures::stream::iter(pieces)));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            response
        }
        Fault::Garbage(text) => json_response(200, text),
        Fault::Answer(value) => json_response(200, value.to_string()),
    }))
}

fn json_response(code: u16, body: impl Into<Body>) -> Response<Body> {
    response(code, "application/json", body.into())
}

fn response(code: u16, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    response
}

fn refused(failure: &Failure) -> Response<Body> {
    let mut response = if failure.plain {
        response(
            failure.code,
            "text/plain; charset=utf-8",
            Body::from(failure.message.clone()),
        )
    } else {
        json_response(failure.code, line(&failure.status()))
    };
    if let Some(seconds) = failure.retry_after_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn line(value: &Value) -> String {
    let mut text = value.to_string();
    text.push('\n');
    text
}

fn written(reply: Reply) -> Response<Body> {
    let mut response = match reply.content {
        Content::Json(value) => json_response(reply.code, line(&value)),
        Content::Typed(value, kind) => response(reply.code, &kind, Body::from(line(&value))),
        Content::Text(text) => response(reply.code, "text/plain; charset=utf-8", Body::from(text)),
        Content::Events(body) => json_response(reply.code, body),
    };
    for warning in reply.warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}
