//! What there is: the paths from which clients learn what a server serves.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
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
pub(crate) fn legacy_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
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

/// The order in which the real server tells of custom resources.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

fn verbs(kind: &Kind) -> Vec<&'static str> {
    if kind.is_question {
        return vec!["create"];
    }
    if kind.custom.is_some() {
        return CUSTOM_VERBS.to_vec();
    }
    // Namespaces are never deleted all at once.
    VERBS
        .into_iter()
        .filter(|verb| !(kind.is("Namespace") && *verb == "deletecollection"))
        .collect()
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    if !kind.is_question {
        resource["storageVersionHash"] = Value::from(storage_hash(kind));
    }
    resource
}

/// Tells clients when objects come to be kept in another form.
fn storage_hash(kind: &Kind) -> String {
    // Events are kept in one form, whichever group they are written through.
    let group = if kind.group == "events.k8s.io" {
        ""
    } else {
        kind.group.as_str()
    };
    let version = match &kind.custom {
        Some(custom) => custom.storage_version.as_str(),
        None if kind.is("CustomResourceDefinition") => "v1beta1",
        None => kind.version.as_str(),
    };
    let name = format!("{group}/{version}/{}", kind.kind);
    STANDARD.encode(&digest(&SHA256, name.as_bytes()).as_ref()[..8])
}

fn subresource(kind: &Kind, name: &str) -> Value {
    let (named, verbs): (&str, &[&str]) = match name {
        "status" => (&kind.kind, &["get", "patch", "update"]),
        "finalize" => (&kind.kind, &["update"]),
        "binding" => ("Binding", &["create"]),
        "token" => ("TokenRequest", &["create"]),
        _ => (&kind.kind, &["get"]),
    };
    let mut resource = json!({
        "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": named,
        "verbs": verbs,
    });
    if name == "token" {
        resource["group"] = json!("authentication.k8s.io");
        resource["version"] = json!("v1");
    }
    resource
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
                json!({})
            } else {
                json!({"name": group.name})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

/// Group and version are empty where they are those of the resource, but for custom resources.
fn response_kind(kind: &Kind, plain: &Value) -> Value {
    let text = |name: &str| plain[name].as_str().unwrap_or_default();
    let (group, version) = match &kind.custom {
        Some(_) => (kind.group.as_str(), kind.version.as_str()),
        None => (text("group"), text("version")),
    };
    json!({"group": group, "version": version, "kind": plain["kind"]})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let scope = if kind.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut described = json!({
        "resource": kind.plural, "responseKind": response_kind(kind, &resource(kind)), "scope": scope,
        "singularResource": kind.singular, "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        described["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        described["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|name| {
            let plain = subresource(kind, name);
            json!({
                "subresource": name,
                "responseKind": response_kind(kind, &plain),
                "verbs": plain["verbs"],
            })
        })
        .collect();
    if !subresources.is_empty() {
        described["subresources"] = Value::Array(subresources);
    }
    described
}
