//! `delete` and `deletecollection`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admission;
use crate::clock;
use crate::establish;
use crate::failure::{Failure, success};
use crate::kind::Kind;
use crate::read::in_version;
use crate::request::{Reply, Request, Target};
use crate::selector::Selector;
use crate::state::State;
use crate::store::Key;
use crate::view::View;
use crate::write::Write;

/// What a client says about how to delete.
#[derive(Debug, Default)]
struct Options {
    grace_s: Option<i64>,
    uid: Option<String>,
    version: Option<String>,
    propagation: String,
}

impl Options {
    fn read(request: &Request) -> Result<Options, Failure> {
        let body = if request.body.is_empty() {
            json!({})
        } else {
            request.object()?
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let grace = request.query.get("gracePeriodSeconds").parse().ok();
        Ok(Options {
            grace_s: body["gracePeriodSeconds"].as_i64().or(grace),
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            propagation: text(&body["propagationPolicy"])
                .unwrap_or_else(|| request.query.get("propagationPolicy").to_owned()),
        })
    }
}

/// What became of an object.
enum End {
    Gone(Arc<Value>),
    Kept(Arc<Value>),
}

pub(crate) async fn one(
    state: &Arc<State>,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let write = Write::new(state, request, target)?;
    let options = Options::read(request)?;
    let kind = &target.kind;
    let mut warnings = Vec::new();
    loop {
        let current = state
            .find(&kind.resource(), target.namespace(), target.name())
            .ok_or_else(|| Failure::not_found(kind, target.name()))?;
        check_preconditions(kind, target.name(), &options, &current)?;
        let old = in_version(kind, &current);
        admission::validate(&write, "DELETE", Some(&old), None, &mut warnings).await?;
        let Some(end) = end(state, target, &options, &current, write.dry_run) else {
            continue;
        };
        let reply = match end {
            End::Gone(last) if !returns_object(kind) => {
                success(kind, target.name(), &last["metadata"]["uid"])
            }
            End::Gone(object) | End::Kept(object) => in_version(kind, &object),
        };
        return Ok(Reply::json(200, reply).warning(warnings));
    }
}

pub(crate) async fn collection(
    state: &Arc<State>,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let kind = &target.kind;
    let query = &request.query;
    let selector = Selector::read(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let options = Options::read(request)?;
    let chosen: Vec<(Key, Arc<Value>)> = state
        .list(&kind.resource(), target.namespace.as_deref())
        .into_iter()
        .filter(|(_, object)| selector.matches(object))
        .collect();
    let revision = state.store().revision();
    let mut warnings = Vec::new();
    let mut objects = Vec::new();
    for (key, object) in chosen {
        let namespace = kind.namespaced.then(|| key.namespace.clone());
        let one = Target {
            kind: Arc::clone(kind),
            namespace,
            name: Some(key.name),
            subresource: None,
        };
        let write = Write::new(state, request, &one)?;
        let old = in_version(kind, &object);
        admission::validate(&write, "DELETE", Some(&old), None, &mut warnings).await?;
        objects.push(old);
        while let Some(current) = state.find(&kind.resource(), one.namespace(), one.name()) {
            if end(state, &one, &options, &current, write.dry_run).is_some() {
                break;
            }
        }
    }
    let metadata = Map::from_iter([(
        "resourceVersion".to_owned(),
        Value::from(revision.to_string()),
    )]);
    Ok(Reply::json(200, View::Whole.list(kind, objects, metadata, "")).warning(warnings))
}

fn check_preconditions(
    kind: &Kind,
    name: &str,
    options: &Options,
    current: &Value,
) -> Result<(), Failure> {
    let metadata = &current["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != text("uid")) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            text("uid")
        );
        return Err(Failure::precondition(kind, name, &why));
    }
    if let Some(version) = options
        .version
        .as_ref()
        .filter(|version| **version != text("resourceVersion"))
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). \
             The object might have been modified",
            text("resourceVersion")
        );
        return Err(Failure::precondition(kind, name, &why));
    }
    Ok(())
}

/// Kinds whose last state is shown when they go.
fn returns_object(kind: &Kind) -> bool {
    kind.custom.is_none()
        && matches!(
            kind.kind.as_str(),
            "Pod" | "Service" | "ServiceAccount" | "CustomResourceDefinition" | "Namespace"
        )
}

/// Ends an object, or marks that it is to end. Nothing when somebody changed it meanwhile.
fn end(
    state: &Arc<State>,
    target: &Target,
    options: &Options,
    current: &Arc<Value>,
    dry_run: bool,
) -> Option<End> {
    let kind = &target.kind;
    let key = Key {
        resource: kind.resource(),
        namespace: target.namespace().to_owned(),
        name: target.name().to_owned(),
    };
    let mut object = (**current).clone();
    let grace_s = grace(kind, options, current);
    let waits = mark(kind, options, &mut object, grace_s);
    if dry_run {
        return Some(if waits {
            End::Kept(Arc::new(object))
        } else {
            End::Gone(Arc::new(object))
        });
    }
    let result = {
        let mut store = state.store();
        if store.get(&key).is_none_or(|now| !Arc::ptr_eq(now, current)) {
            return None;
        }
        if !waits {
            // A pod is told of once more before it goes.
            let last = if kind.is("Pod") {
                (*store.put(key.clone(), object)).clone()
            } else {
                object
            };
            End::Gone(store.remove(&key, last))
        } else if object == **current {
            End::Kept(Arc::clone(current))
        } else {
            End::Kept(store.put(key, object))
        }
    };
    state.publish();
    if kind.is("CustomResourceDefinition") {
        establish::clean_up(state, target.name());
    }
    Some(result)
}

/// Seconds that a pod on a node gets to stop.
fn grace(kind: &Kind, options: &Options, current: &Value) -> i64 {
    if !kind.is("Pod") {
        return 0;
    }
    let wanted = options
        .grace_s
        .or(current["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    let placed = current["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    let over = matches!(
        current["status"]["phase"].as_str(),
        Some("Failed" | "Succeeded")
    );
    if placed && !over { wanted.max(0) } else { 0 }
}

/// Writes what marks the end. Whether something still keeps the object.
fn mark(kind: &Kind, options: &Options, object: &mut Value, grace_s: i64) -> bool {
    let finalizers = finalizers(kind, options, object);
    let namespace = kind.is("Namespace")
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    let waits = !finalizers.is_empty() || grace_s > 0 || namespace;
    let shown = waits || kind.is("Pod");
    let metadata = &mut object["metadata"];
    let before = metadata["deletionGracePeriodSeconds"].as_i64();
    let already = !metadata["deletionTimestamp"].is_null();
    if !finalizers.is_empty() {
        metadata["finalizers"] = json!(finalizers);
    }
    if !shown || already && before.is_some_and(|before| before <= grace_s) {
        return waits;
    }
    if !already && let Some(generation) = metadata["generation"].as_u64() {
        metadata["generation"] =
            Value::from(generation + u64::from(!kind.is("CustomResourceDefinition")));
    }
    metadata["deletionTimestamp"] = Value::from(clock::in_seconds(grace_s));
    if !kind.is("Namespace") && !kind.is("CustomResourceDefinition") {
        metadata["deletionGracePeriodSeconds"] = Value::from(grace_s);
    }
    if kind.is("Namespace") {
        object["status"]["phase"] = json!("Terminating");
    }
    if kind.is("CustomResourceDefinition") {
        establish::mark_terminating(object);
    }
    waits
}

fn finalizers(kind: &Kind, options: &Options, object: &Value) -> Vec<String> {
    let given = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten();
    let mut finalizers: Vec<String> = given
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    let mut add = |name: &str| {
        if !finalizers.iter().any(|one| one == name) {
            finalizers.push(name.to_owned());
        }
    };
    match options.propagation.as_str() {
        "Foreground" => add("foregroundDeletion"),
        "Orphan" => add("orphan"),
        _ => {}
    }
    if kind.is("CustomResourceDefinition") {
        add(establish::CLEANUP);
    }
    finalizers
}
