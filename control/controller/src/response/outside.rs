//! What other programs report over HTTP: `POST /events`.
//!
//! Falco: `http_output: {enabled: true, url: http://127.0.0.1:7446/events}`; falcosidekick: a webhook;
//! Tetragon: its JSON export, posted line by line. One object, a list, or an object a line.
//!
//! Distrusts whoever posts: with a token only those who know it are heard, a body holds at most
//! [`BODY_BYTES_MAX`] and [`REPORTS_MAX`] reports, and no more than [`REPORTS_PER_SECOND_MAX`] are
//! taken; the rest is refused with 429 and counted.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use weir_respond::outside;

use crate::ResponseConfig;
use crate::state::State;

/// The largest body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The most reports of one body.
const REPORTS_MAX: usize = 1_000;
/// Reports that are taken in a second, over all who post.
const REPORTS_PER_SECOND_MAX: f64 = 500.0;

struct Desk {
    token: Option<String>,
    state: Arc<State>,
    budget: Mutex<Budget>,
}

/// What may still be taken now.
struct Budget {
    left: f64,
    since: Instant,
}

/// Listens where the configuration says, until the controller stops; nothing where it says nothing.
pub async fn desk(
    config: &ResponseConfig,
    state: Arc<State>,
) -> Result<Option<JoinHandle<()>>, String> {
    let Some(listen) = &config.events_listen else {
        return Ok(None);
    };
    let token = match &config.events_token {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("the token {}: {error}", path.display()))?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        }
        None => None,
    };
    let listener = TcpListener::bind(listen.as_str()).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen for events on {listen}: {error}; write address:port")
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    if token.is_none() && !address.ip().is_loopback() {
        return Err(format!(
            "whoever reaches {address} could have workloads cut off; give --events-token-file, or a \
             loopback address"
        ));
    }
    info!(%address, "listening for events of other programs");
    let mut stopping = state.stopping();
    let router = router(token, state);
    let stop = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    Ok(Some(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop);
        if let Err(error) = served.await {
            warn!(%error, "events of other programs are no longer taken");
        }
    })))
}

/// With a token, `Authorization: Bearer …` has to carry it.
fn router(token: Option<String>, state: Arc<State>) -> Router {
    let budget = Mutex::new(Budget {
        left: REPORTS_PER_SECOND_MAX,
        since: Instant::now(),
    });
    let desk = Arc::new(Desk {
        token,
        state,
        budget,
    });
    Router::new()
        .route("/events", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

async fn receive(
    Shared(desk): Shared<Arc<Desk>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if !desk.knows(&headers) {
        let told = "the token is missing or another one; send Authorization: Bearer TOKEN";
        return (StatusCode::UNAUTHORIZED, told.to_owned());
    }
    let objects = match objects(&body) {
        Ok(objects) => objects,
        Err(told) => return (StatusCode::BAD_REQUEST, told),
    };
    let mut reports = Vec::with_capacity(objects.len());
    for object in &objects {
        match outside::read(object) {
            Ok(report) => reports.push(report),
            Err(told) => return (StatusCode::UNPROCESSABLE_ENTITY, told.to_owned()),
        }
    }
    if !desk.may_take(reports.len()) {
        let told = format!("more than {REPORTS_PER_SECOND_MAX} reports a second; send them later");
        return (StatusCode::TOO_MANY_REQUESTS, told);
    }
    let taken = reports.len();
    reports
        .into_iter()
        .for_each(|report| desk.state.reported(report));
    (StatusCode::OK, format!("{taken} taken\n"))
}

impl Desk {
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
        given.is_some_and(|given| same(given, token.as_bytes()))
    }

    fn may_take(&self, reports: usize) -> bool {
        let mut budget = crate::lock(&self.budget);
        let since = budget.since.elapsed().as_secs_f64();
        budget.since = Instant::now();
        budget.left = (budget.left + since * REPORTS_PER_SECOND_MAX).min(REPORTS_PER_SECOND_MAX);
        // A whole body is taken while anything is left, so that a large one gets through at all.
        if budget.left < 1.0 {
            return false;
        }
        budget.left -= reports as f64;
        true
    }
}

/// Takes as long for every wrong token of the same length.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let different = given
        .iter()
        .zip(wanted)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == wanted.len() && different == 0
}

fn objects(body: &[u8]) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        match value.map_err(|error| format!("this is no JSON: {error}"))? {
            Value::Array(list) => objects.extend(list),
            object => objects.push(object),
        }
        if objects.len() > REPORTS_MAX {
            return Err(format!(
                "more than {REPORTS_MAX} reports at once; send fewer"
            ));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_several_or_a_line_each() {
        for (body, count) in [("{}", 1), ("[{}, {}]", 2), ("{}\n{}\n{}\n", 3), ("", 0)] {
            assert_eq!(objects(body.as_bytes()).unwrap().len(), count, "{body}");
        }
        assert!(objects(b"{]").is_err());
        let many = format!("[{}]", vec!["{}"; REPORTS_MAX + 1].join(","));
        assert!(objects(many.as_bytes()).is_err());
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"ab", b"abc") && !same(b"abd", b"abc") && !same(b"", b"a"));
    }
}
