//! `get` and `list`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kind::Kind;
use crate::request::{Query, Reply, Request, Target};
use crate::selector::Selector;
use crate::state::State;
use crate::store::Key;
use crate::view::View;

pub(crate) fn get(state: &State, request: &Request, target: &Target) -> Result<Reply, Failure> {
    let view = View::negotiate(request.header("accept"))?;
    let object = state
        .find(&target.kind.resource(), target.namespace(), target.name())
        .ok_or_else(|| Failure::not_found(&target.kind, target.name()))?;
    let object = in_version(&target.kind, &object);
    Ok(Reply::json(
        200,
        view.object(&target.kind, &object, request.query.get("includeObject")),
    ))
}

/// An object as this version of its kind shows it. Versions differ in name only, as with a CRD whose
/// conversion is `None`.
pub(crate) fn in_version(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if kind.custom.is_some() {
        object["apiVersion"] = Value::from(kind.api_version());
    }
    object
}

/// Where the next page starts.
struct Page {
    revision: i64,
    start: String,
}

impl Page {
    fn read(text: &str) -> Option<Page> {
        let token: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?)
                .ok()?;
        Some(Page {
            revision: token["rv"].as_i64()?,
            start: token["start"].as_str()?.to_owned(),
        })
    }

    fn write(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

/// A number in a query that has to be one.
pub(crate) fn revision_of(query: &Query) -> Result<Option<u64>, Failure> {
    let text = query.get("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let why = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
        Failure::new(500, "", why)
    })
}

pub(crate) async fn list(
    state: &State,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let (kind, query) = (&target.kind, &request.query);
    let view = View::negotiate(request.header("accept"))?;
    let selector = Selector::read(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let limit: usize = query.get("limit").parse().unwrap_or(0);
    let mut revision = revision_of(query)?;
    let exact = query.get("resourceVersionMatch") == "Exact";
    let page =
        match query.get("continue") {
            "" => None,
            text => Some(Page::read(text).ok_or_else(|| {
                Failure::bad_request("continue key is not valid: unable to decode")
            })?),
        };
    if let Some(wanted) = revision {
        wait_for(state, wanted, query).await?;
    }
    // The newest is asked for by not asking for any.
    let cached = revision == Some(0);
    if !exact {
        revision = None;
    }
    let (current, objects) = snapshot(state, target, revision, page.as_ref())?;
    let start = page.as_ref().map(|page| page.start.clone());
    let mut chosen: Vec<(String, Value)> = objects
        .into_iter()
        .map(|(key, object)| (place(target, &key), object))
        .filter(|(place, object)| {
            start.as_ref().is_none_or(|start| place >= start) && selector.matches(object)
        })
        .map(|(place, object)| (place, in_version(kind, &object)))
        .collect();
    let mut metadata = Map::new();
    metadata.insert(
        "resourceVersion".to_owned(),
        Value::from(current.to_string()),
    );
    if limit > 0 && limit < chosen.len() && !cached {
        let left = chosen.len() - limit;
        chosen.truncate(limit);
        let last = &chosen[limit - 1].0;
        let next = Page {
            revision: i64::try_from(current).unwrap_or(i64::MAX),
            start: format!("{last}\0"),
        };
        metadata.insert("continue".to_owned(), Value::from(next.write()));
        if selector.is_everything() {
            metadata.insert("remainingItemCount".to_owned(), Value::from(left));
        }
    }
    let objects = chosen.into_iter().map(|(_, object)| object).collect();
    Ok(Reply::json(
        200,
        view.list(kind, objects, metadata, query.get("includeObject")),
    ))
}

/// Where an object stands in a list, as the real server's tokens have it.
fn place(target: &Target, key: &Key) -> String {
    if target.namespace.is_some() || key.namespace.is_empty() {
        format!("/{}", key.name)
    } else {
        format!("/{}/{}", key.namespace, key.name)
    }
}

type Objects = Vec<(Key, Arc<Value>)>;

fn snapshot(
    state: &State,
    target: &Target,
    exact: Option<u64>,
    page: Option<&Page>,
) -> Result<(u64, Objects), Failure> {
    let store = state.store();
    let resource = target.kind.resource();
    let namespace = target.namespace.as_deref();
    let pinned = match page {
        Some(page) if page.revision > 0 => u64::try_from(page.revision).ok(),
        Some(_) => None,
        None => exact,
    };
    let Some(pinned) = pinned else {
        return Ok((
            store.revision(),
            store.list_at(&resource, namespace, store.revision()),
        ));
    };
    if pinned < store.compacted() {
        return Err(too_old(page));
    }
    Ok((pinned, store.list_at(&resource, namespace, pinned)))
}

/// A list of a time that is forgotten; one that was begun can be gone on with, at the newest state.
fn too_old(page: Option<&Page>) -> Failure {
    let Some(page) = page else {
        return Failure::too_old("The resourceVersion for the provided list is too old.");
    };
    let mut failure = Failure::too_old(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of \
         the results. Continuing with the provided token results in an inconsistent list - objects that were \
         created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    failure.resume = Some(
        Page {
            revision: -1,
            start: page.start.clone(),
        }
        .write(),
    );
    failure
}

/// Waits until the server knows a revision; 504 when that does not happen.
async fn wait_for(state: &State, wanted: u64, query: &Query) -> Result<(), Failure> {
    let seconds = query.get("timeoutSeconds").parse().unwrap_or(3).min(3);
    let mut revisions = state.revisions();
    let known = async {
        while state.store().revision() < wanted {
            if revisions.changed().await.is_err() {
                break;
            }
        }
    };
    if tokio::time::timeout(std::time::Duration::from_secs(seconds), known)
        .await
        .is_ok()
    {
        return Ok(());
    }
    let current = state.store().revision();
    let mut failure = Failure::new(
        504,
        "Timeout",
        format!("Timeout: Too large resource version: {wanted}, current: {current}"),
    );
    failure.details = Some(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }));
    failure.retry_after_s = Some(1);
    Err(failure)
}
