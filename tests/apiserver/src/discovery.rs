//! What there is: the paths from which clients learn what a server serves.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::state::State;

/// Versions of a group, and which kinds they have.
struct Group {
    name: String,
    versions: Vec<(String, Vec<Arc<Kind>>)>,
}

fn groups(state: &State) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for kind in state.kinds() {
        let position = groups
            .iter()
            .position(|group| group.name == kind.group)
            .unwrap_or_else(|| {
                groups.push(Group {
                    name: kind.group.clone(),
                    versions: Vec::new(),
                });
                groups.len() - 1
            });
        let versions = &mut groups[position].versions;
        match versions
            .iter_mut()
            .find(|(version, _)| *version == kind.version)
        {
            Some((_, kinds)) => kinds.push(kind),
            None => versions.push((kind.version.clone(), vec![kind])),
        }
    }
    groups
}

/// `/api`
pub(crate) fn legacy_versions() -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:443"}],
    })
}

/// `/apis`
pub(crate) fn group_list(state: &State) -> Value {
    let groups: Vec<Value> = groups(state)
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(described)
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`
pub(crate) fn group(state: &State, name: &str) -> Option<Value> {
    let group = groups(state)
        .into_iter()
        .find(|group| group.name == name && !name.is_empty())?;
    let mut described = described(&group);
    described["kind"] = json!("APIGroup");
    described["apiVersion"] = json!("v1");
    Some(described)
}

fn described(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, _)| json!({"groupVersion": format!("{}/{version}", group.name), "version": version}))
        .collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions[0]})
}

/// `/api/v1` and `/apis/GROUP/VERSION`
pub(crate) fn resources(state: &State, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<Arc<Kind>> = state
        .kinds()
        .into_iter()
        .filter(|kind| kind.group == group && kind.version == version)
        .collect();
    let mut resources: Vec<Value> = Vec::new();
    for kind in &kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|name| subresource(kind, name)));
    }
    resources.sort_by_key(|one| one["name"].as_str().unwrap_or_default().to_owned());
    if resources.is_empty() {
        return None;
    }
    let full = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": full, "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": VERBS,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    resource
}

fn subresource(kind: &Kind, name: &str) -> Value {
    let (named, verbs): (&str, &[&str]) = match name {
        "status" => (&kind.kind, &["get", "patch", "update"]),
        "finalize" => (&kind.kind, &["update"]),
        "binding" => ("Binding", &["create"]),
        "token" => ("TokenRequest", &["create"]),
        _ => (&kind.kind, &["get"]),
    };
    json!({
        "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": named,
        "verbs": verbs,
    })
}

/// `/api` and `/apis` for clients that want everything at once.
pub(crate) fn aggregated(state: &State, legacy: bool) -> Value {
    let items: Vec<Value> = groups(state)
        .into_iter()
        .filter(|group| group.name.is_empty() == legacy)
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|(version, kinds)| {
                    let mut kinds = kinds.clone();
                    kinds.sort_by_key(|kind| kind.plural.clone());
                    let resources: Vec<Value> =
                        kinds.iter().map(|kind| aggregated_resource(kind)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.name.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group.name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn response_kind(kind: &Kind, named: &str) -> Value {
    // Empty where it is the group and version of the resource itself.
    let (group, version) = if named == kind.kind {
        (kind.group.as_str(), kind.version.as_str())
    } else {
        ("", "")
    };
    json!({"group": group, "version": version, "kind": named})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let scope = if kind.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response_kind(kind, &kind.kind), "scope": scope,
        "singularResource": kind.singular, "verbs": VERBS,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|name| {
            let plain = subresource(kind, name);
            json!({
                "subresource": name,
                "responseKind": response_kind(kind, plain["kind"].as_str().unwrap_or_default()),
                "verbs": plain["verbs"],
            })
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = Value::Array(subresources);
    }
    resource
}
