//! What the real server's own controllers do about CRDs: names are accepted, the kind is served; when the
//! CRD goes, its objects go first.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::fields::Set;
use crate::fields::manage::{Manager, note_update};
use crate::kind::Kind;
use crate::state::State;
use crate::store::Key;

/// Keeps a CRD until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

const RESOURCE: &str = "customresourcedefinitions.apiextensions.k8s.io";

fn key(name: &str) -> Key {
    Key {
        resource: RESOURCE.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

fn definition_kind(state: &State) -> Arc<Kind> {
    state
        .kind("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .expect("a kind of every cluster")
}

/// Accepts the names of a CRD and serves its kind.
pub(crate) fn accept(state: &Arc<State>, name: &str) {
    let Some(current) = state.find(RESOURCE, "", name) else {
        return;
    };
    if !current["metadata"]["deletionTimestamp"].is_null() {
        return clean_up(state, name);
    }
    let established = |object: &Value| has_condition(object, "Established");
    if !established(&current) {
        let names = current["spec"]["names"].clone();
        step(state, name, |object| {
            object["status"]["acceptedNames"] = names.clone();
            condition(object, "NamesAccepted", "NoConflicts", "no conflicts found");
            let mut installing = entry(
                "Established",
                "Installing",
                "the initial names have been accepted",
            );
            installing["status"] = json!("False");
            conditions(object).push(installing);
        });
        step(state, name, |object| {
            condition(
                object,
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            );
        });
    } else {
        let names = current["spec"]["names"].clone();
        let stored: Vec<Value> = current["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|version| version["storage"] == true)
            .map(|version| version["name"].clone())
            .collect();
        step(state, name, |object| {
            object["status"]["acceptedNames"] = names.clone();
            if let Some(versions) = object["status"]["storedVersions"].as_array_mut() {
                let new: Vec<Value> = stored
                    .iter()
                    .filter(|version| !versions.contains(version))
                    .cloned()
                    .collect();
                versions.extend(new);
            }
        });
    }
    state.refresh_custom_kinds();
    state.publish();
}

/// Removes the objects of a CRD that is to go, then the CRD.
pub(crate) fn clean_up(state: &Arc<State>, name: &str) {
    let Some(current) = state.find(RESOURCE, "", name) else {
        state.refresh_custom_kinds();
        state.publish();
        return;
    };
    if current["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let spec = &current["spec"];
    let resource = format!(
        "{}.{}",
        spec["names"]["plural"].as_str().unwrap_or_default(),
        spec["group"].as_str().unwrap_or_default()
    );
    let mut kept = false;
    {
        let mut store = state.store();
        let objects: Vec<(Key, Arc<Value>)> = store
            .list(&resource, None)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        for (key, object) in objects {
            if object["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty)
            {
                store.remove(&key, (*object).clone());
            } else {
                kept = true;
                if object["metadata"]["deletionTimestamp"].is_null() {
                    let mut object = (*object).clone();
                    object["metadata"]["deletionTimestamp"] = Value::from(clock::now());
                    store.put(key, object);
                }
            }
        }
    }
    state.publish();
    if kept {
        return;
    }
    step(state, name, |object| {
        let message = "CustomResource deletion is in progress";
        condition(object, "Terminating", "InstanceDeletionInProgress", message);
    });
    finish(state, name);
}

/// The CRD itself goes once nothing else keeps it.
fn finish(state: &Arc<State>, name: &str) {
    {
        let mut store = state.store();
        let Some(current) = store.get(&key(name)).cloned() else {
            return;
        };
        let mut object = (*current).clone();
        if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
            list.retain(|one| one != CLEANUP);
        }
        if object["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            store.remove(&key(name), (*current).clone());
        } else {
            store.put(key(name), object);
        }
    }
    state.refresh_custom_kinds();
    state.publish();
}

/// What the answer to a delete shows.
pub(crate) fn mark_terminating(object: &mut Value) {
    if !has_condition(object, "Terminating") {
        let message =
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        conditions(object).push(entry("Terminating", "InstanceDeletionPending", message));
    }
}

/// One write of the server's own to a CRD's status.
fn step(state: &Arc<State>, name: &str, change: impl Fn(&mut Value)) {
    let kind = definition_kind(state);
    let mut store = state.store();
    let Some(current) = store.get(&key(name)).cloned() else {
        return;
    };
    let mut object = (*current).clone();
    change(&mut object);
    if object == *current {
        return;
    }
    let manager = Manager {
        apply: false,
        name: "kube-apiserver".to_owned(),
        api_version: kind.api_version(),
        subresource: "status".to_owned(),
    };
    note_update(
        &kind,
        &current,
        &mut object,
        &manager,
        &Set::of(&["metadata", "spec"]),
    );
    store.put(key(name), object);
}

fn entry(kind: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": "True", "lastTransitionTime": clock::now(), "reason": reason, "message": message,
    })
}

fn conditions(object: &mut Value) -> &mut Vec<Value> {
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    object["status"]["conditions"]
        .as_array_mut()
        .expect("made an array above")
}

fn condition(object: &mut Value, kind: &str, reason: &str, message: &str) {
    remove_condition(object, kind);
    conditions(object).push(entry(kind, reason, message));
}

fn remove_condition(object: &mut Value, kind: &str) {
    conditions(object).retain(|one| one["type"] != kind);
}

fn has_condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"]
        .as_array()
        .is_some_and(|list| {
            list.iter()
                .any(|one| one["type"] == kind && one["status"] == "True")
        })
}
