//! What the server itself writes into objects before they are kept: identity, times, generations, and
//! what only one path of the API may change.

use serde_json::{Map, Value, json};

use crate::clock;
use crate::defaults::first_status;
use crate::fields::Set;
use crate::kind::Kind;

/// What a request through this path may not touch.
pub(crate) fn untouchable(kind: &Kind, subresource: &str) -> Set {
    match subresource {
        "status" if kind.custom.is_some() => Set::of(&["metadata", "spec"]),
        "status" if kind.is("Pod") => Set::of(&[
            "spec",
            "metadata.deletionTimestamp",
            "metadata.ownerReferences",
        ]),
        "status" if kind.is("CustomResourceDefinition") => Set::of(&["metadata", "spec"]),
        "status" => Set::of(&["spec"]),
        _ if kind.has("status") => Set::of(&["status"]),
        _ => Set::default(),
    }
}

/// Makes a new object out of what was sent.
pub(crate) fn created(kind: &Kind, object: &mut Value, namespace: &str) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in [
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "generation",
        ] {
            metadata.remove(name);
        }
        metadata.insert("uid".to_owned(), Value::from(clock::uid()));
        metadata.insert("creationTimestamp".to_owned(), Value::from(clock::now()));
        if kind.counts_generations() {
            metadata.insert("generation".to_owned(), Value::from(1));
        }
        if kind.namespaced {
            metadata.insert("namespace".to_owned(), Value::from(namespace));
        } else {
            metadata.remove("namespace");
        }
    }
    if kind.is("Namespace") {
        let finalizers = object["spec"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !finalizers.iter().any(|one| one == "kubernetes") {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
        }
    }
    if kind.has("status") {
        if kind.custom.is_some() {
            if let Some(map) = object.as_object_mut() {
                map.remove("status");
            }
        } else {
            object["status"] = first_status(kind, object);
        }
    }
}

/// What the real server's own admission writes into a pod, before webhooks are asked.
pub(crate) fn admitted(kind: &Kind, object: &mut Value) {
    if !kind.is("Pod") {
        return;
    }
    let spec = &mut object["spec"];
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = tolerations.iter().any(|one| {
            let every =
                one["key"].as_str().is_none_or(str::is_empty) && one["operator"] == "Exists";
            let effect = one["effect"]
                .as_str()
                .is_none_or(|effect| matches!(effect, "" | "NoExecute"));
            (one["key"] == key || every) && effect
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
    spec["tolerations"] = Value::Array(tolerations);
    let fill = |spec: &mut Value, name: &str, value: Value| {
        if spec.get(name).is_none_or(Value::is_null) {
            spec[name] = value;
        }
    };
    fill(spec, "priority", json!(0));
    fill(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
}

/// Makes the next state of an object out of what was sent: what the path may not touch stays, what the
/// server keeps stays.
pub(crate) fn updated(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    keep_untouchable(kind, subresource, old, new);
    let (before, metadata) = (&old["metadata"], &mut new["metadata"]);
    for name in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        copy(before, metadata, name);
    }
    for name in ["name", "namespace", "generateName"] {
        if metadata.get(name).is_none() {
            copy(before, metadata, name);
        }
    }
    metadata["resourceVersion"] = before["resourceVersion"].clone();
    if kind.counts_generations() && subresource.is_empty() && is_new_generation(kind, old, new) {
        let generation = before["generation"].as_u64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = Value::from(generation);
    }
}

fn keep_untouchable(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    match subresource {
        "status" if kind.custom.is_some() => {
            // Only the status counts, whatever else was sent.
            let status = new.get("status").cloned();
            let owners = new["metadata"].get("managedFields").cloned();
            *new = old.clone();
            set(new, "status", status);
            set(&mut new["metadata"], "managedFields", owners);
        }
        "status" => {
            let spec = old.get("spec").cloned();
            set(new, "spec", spec);
        }
        // Of a pod that was put on a node, its status says so.
        "binding" => {}
        _ if kind.has("status") => {
            let status = old.get("status").cloned();
            set(new, "status", status);
        }
        _ => {}
    }
    if subresource != "finalize" && kind.is("Namespace") {
        new["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
    }
}

/// Anything but metadata and status is new.
fn is_new_generation(kind: &Kind, old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| -> Map<String, Value> {
        let mut rest = object.as_object().cloned().unwrap_or_default();
        rest.remove("metadata");
        if kind.has("status") {
            rest.remove("status");
        }
        rest
    };
    rest(old) != rest(new)
}

fn copy(from: &Value, to: &mut Value, name: &str) {
    set(to, name, from.get(name).cloned());
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
}
