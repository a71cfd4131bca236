//! From a path to what answers it.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use crate::delete;
use crate::discovery;
use crate::failure::Failure;
use crate::identity::{self, User, Wish};
use crate::openapi;
use crate::pods;
use crate::protobuf;
use crate::read;
use crate::request::{BODY_BYTES, Content, Query, Reply, Request, Target};
use crate::reviews;
use crate::state::State;
use crate::watch;
use crate::write::Write;

/// The media type of everything-at-once discovery.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers a request whose sender is known.
pub(crate) async fn answer(state: &Arc<State>, parts: Parts, body: Body) -> Result<Reply, Failure> {
    let segments: Vec<String> = parts
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decoded)
        .collect();
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match names.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return other(state, &parts, &names),
    };
    if let Some((kind, namespace)) = reviews::question(state, group, version, rest) {
        let wish = Wish {
            verb: "create".to_owned(),
            group: group.to_owned(),
            resource: kind.plural.clone(),
            namespace: namespace.clone(),
            ..Wish::default()
        };
        identity::authorize(state, &parts.user, &wish)?;
        if parts.method != "POST" {
            return Err(Failure::method_not_allowed());
        }
        return reviews::answer(state, &parts.with_body(body).await?, &kind, &namespace);
    }
    let Some(target) = target(state, group, version, rest) else {
        let wish = Wish {
            verb: parts.method.to_lowercase(),
            path: parts.path.clone(),
            ..Wish::default()
        };
        identity::authorize(state, &parts.user, &wish)?;
        return Err(Failure::no_such_path());
    };
    let verb = verb(&parts, &target);
    identity::authorize(state, &parts.user, &Wish::on(&target, verb))?;
    let request = parts.with_body(body).await?;
    match (verb, target.subresource()) {
        ("get", "" | "status") => read::get(state, &request, &target),
        ("list", "") => read::list(state, &request, &target).await,
        ("watch", "") => watch::watch(state, &request, &target),
        ("create", "") if target.name.is_none() => {
            Write::new(state, &request, &target)?.create().await
        }
        ("create", "binding") => pods::bind(state, &request, &target).await,
        ("create", "token") => reviews::issue(state, &request, &target),
        ("update", "" | "status" | "finalize") => {
            Write::new(state, &request, &target)?.replace().await
        }
        ("patch", "" | "status") => Write::new(state, &request, &target)?.patch().await,
        ("delete", "") => delete::one(state, &request, &target).await,
        ("deletecollection", "") => delete::collection(state, &request, &target).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// A request before its body is read.
pub(crate) struct Parts {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
}

impl Parts {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.is_true("watch")
    }

    async fn with_body(self, body: Body) -> Result<Request, Failure> {
        let body: Bytes = axum::body::to_bytes(body, BODY_BYTES).await.map_err(|_| {
            Failure::new(
                413,
                "RequestEntityTooLarge",
                format!("Request entity too large: limit is {BODY_BYTES}"),
            )
        })?;
        let (headers, body) = protobuf::as_json(self.headers, body);
        Ok(Request {
            query: self.query,
            headers,
            body,
            user: self.user,
        })
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn accepts(&self, media: &str) -> bool {
        self.headers
            .get("accept")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                value
                    .split(',')
                    .any(|one| one.replace(' ', "").contains(media))
            })
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}

fn target(state: &State, group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let find = |plural: &str| state.kind(group, version, plural);
    let own = |text: &&str| Some((*text).to_owned());
    let (kind, namespace, rest) = match rest {
        ["namespaces", namespace, plural, rest @ ..]
            if find(plural).is_some_and(|kind| kind.namespaced) =>
        {
            (find(plural)?, Some((*namespace).to_owned()), rest)
        }
        [plural, rest @ ..] => (find(plural)?, None, rest),
        [] => return None,
    };
    // A name needs its namespace.
    if kind.namespaced && namespace.is_none() && !rest.is_empty() {
        return None;
    }
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (own(name), None),
        [name, subresource] if kind.has(subresource) => (own(name), own(subresource)),
        _ => return None,
    };
    Some(Target {
        kind,
        namespace,
        name,
        subresource,
    })
}

fn verb(parts: &Parts, target: &Target) -> &'static str {
    match (parts.method.as_str(), target.name.is_some()) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if parts.is_watch() => "watch",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "unknown",
    }
}

/// Paths that are no resources.
fn other(state: &State, parts: &Parts, names: &[&str]) -> Result<Reply, Failure> {
    let wish = Wish {
        verb: parts.method.to_lowercase(),
        path: parts.path.clone(),
        ..Wish::default()
    };
    identity::authorize(state, &parts.user, &wish)?;
    let aggregated = parts.accepts(AGGREGATED);
    let found = match names {
        ["healthz" | "livez" | "readyz"] if parts.query.has("verbose") => {
            return Ok(Reply::text(
                200,
                format!("[+]ping ok\n{} check passed\n", names[0]),
            ));
        }
        ["healthz" | "livez" | "readyz"] => return Ok(Reply::text(200, "ok")),
        ["version"] => Some(version()),
        ["api" | "apis"] if aggregated => {
            let value = discovery::aggregated(state, names[0] == "api");
            let content = Content::Typed(value, AGGREGATED.to_owned());
            return Ok(Reply {
                code: 200,
                content,
                warnings: Vec::new(),
            });
        }
        ["api"] => Some(discovery::legacy_versions(parts.header("host"))),
        ["apis"] => Some(discovery::group_list(state)),
        ["apis", group] => discovery::group(state, group),
        ["api", version] => discovery::resources(state, "", version),
        ["apis", group, version] => discovery::resources(state, group, version),
        ["openapi", "v3"] => {
            // JSON, and the real server says otherwise.
            let content = Content::Typed(
                openapi::index(state),
                "text/plain; charset=utf-8".to_owned(),
            );
            return Ok(Reply {
                code: 200,
                content,
                warnings: Vec::new(),
            });
        }
        ["openapi", "v3", "api", version] => openapi::document(state, "", version),
        ["openapi", "v3", "apis", group, version] => openapi::document(state, group, version),
        _ => None,
    };
    found
        .map(|value| Reply::json(200, value))
        .ok_or_else(Failure::no_such_path)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}
