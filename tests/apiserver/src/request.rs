//! What a client asks for, taken apart.
//!
//! Distrusts the request: a body beyond `BODY_BYTES` is refused before it is read whole.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use hyper::header::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::failure::Failure;
use crate::identity::User;
use crate::kind::Kind;

/// What the real server takes at most.
pub(crate) const BODY_BYTES: usize = 3 * 1024 * 1024;

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) user: User,
}

/// What follows the question mark.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(text: &str) -> Query {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter; empty when it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(one, _)| one == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(one, _)| one == name)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.has(name) && matches!(self.get(name), "" | "1" | "true" | "True")
    }
}

/// What a request is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// What an answer is made of.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content: Content,
    pub(crate) warnings: Vec<String>,
}

/// What an answer carries.
#[derive(Debug)]
pub(crate) enum Content {
    /// An object.
    Json(Value),
    /// An object, of which the content type says more than `application/json`.
    Typed(Value, String),
    /// Words.
    Text(String),
    /// Events, one a line, for as long as the watch lasts.
    Events(Body),
}

impl Reply {
    pub(crate) fn json(code: u16, value: Value) -> Reply {
        Reply {
            code,
            content: Content::Json(value),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn text(code: u16, text: impl Into<String>) -> Reply {
        Reply {
            code,
            content: Content::Text(text.into()),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn warning(mut self, warnings: Vec<String>) -> Reply {
        self.warnings = warnings;
        self
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The content type without its parameters.
    pub(crate) fn content_type(&self) -> &str {
        self.header("content-type")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
    }

    /// Whether nothing is to be kept.
    pub(crate) fn dry_run(&self) -> Result<bool, Failure> {
        match self.query.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Failure::bad_request(format!(
                "invalid dry run value {other:?}: there is only \"All\""
            ))),
        }
    }

    /// Who owns what this request writes.
    pub(crate) fn field_manager(&self) -> String {
        let named = self.query.get("fieldManager");
        if !named.is_empty() {
            return named.to_owned();
        }
        match self.header("user-agent").split('/').next() {
            Some(agent) if !agent.is_empty() => agent.to_owned(),
            _ => "unknown".to_owned(),
        }
    }

    /// The body as an object. JSON is YAML, so one reader does.
    pub(crate) fn object(&self) -> Result<Value, Failure> {
        if self.content_type().ends_with("yaml") {
            return serde_yaml_ng::from_slice(&self.body)
                .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")));
        }
        serde_json::from_slice(&self.body).map_err(|error| Failure::bad_request(error.to_string()))
    }
}

impl Target {
    pub(crate) fn subresource(&self) -> &str {
        self.subresource.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}
