//! Defaults of the API's own types that depend on more than their field.

use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// Fills in what the real server fills in when it reads an object.
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "Pod" => fill_pod(&mut object["spec"]),
        "Namespace" => fill_namespace(object),
        "Service" => fill_service(&mut object["spec"]),
        "Secret" => fill_secret(object),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => {
            fill_workload(kind, object)
        }
        "CustomResourceDefinition" => fill_definition(&mut object["spec"]),
        "ClusterRoleBinding" | "RoleBinding" => fill_binding(object),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            fill_webhooks(kind, object)
        }
        _ => {}
    }
}

fn default(object: &mut Value, name: &str, value: Value) {
    if object.is_object() && object.get(name).is_none_or(Value::is_null) {
        object[name] = value;
    }
}

pub(crate) fn items(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

fn fill_pod(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.get_mut(list) {
            items(containers).for_each(fill_container);
        }
    }
    // The old name of the field is still written.
    match (
        spec["serviceAccountName"].as_str(),
        spec["serviceAccount"].as_str(),
    ) {
        (Some(name), _) => spec["serviceAccount"] = Value::from(name.to_owned()),
        (None, Some(name)) => spec["serviceAccountName"] = Value::from(name.to_owned()),
        _ => {}
    }
    let spec = spec.as_object_mut();
    if let Some(spec) = spec {
        spec.retain(|_, value| !value.is_null());
        spec.entry("containers").or_insert(Value::Null);
    }
}

fn fill_container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = name.ends_with(":latest") || !name.contains(':') && !name.contains('@');
    default(
        container,
        "imagePullPolicy",
        json!(if latest { "Always" } else { "IfNotPresent" }),
    );
}

fn fill_namespace(object: &mut Value) {
    default(&mut object["status"], "phase", json!("Active"));
    if let Some(name) = object["metadata"]["name"].as_str().map(str::to_owned) {
        let metadata = &mut object["metadata"];
        default(metadata, "labels", json!({}));
        metadata["labels"]["kubernetes.io/metadata.name"] = Value::from(name);
    }
}

fn fill_service(spec: &mut Value) {
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if let Some(ports) = spec.get_mut("ports") {
        for port in items(ports) {
            let unset = match &port["targetPort"] {
                Value::Number(number) => number.as_i64() == Some(0),
                Value::String(name) => name.is_empty(),
                _ => true,
            };
            if unset {
                port["targetPort"] = port["port"].clone();
            }
        }
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    let external = spec["externalIPs"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || kind == "ClusterIP" && external {
        default(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

/// `stringData` is a way of writing `data`.
fn fill_secret(object: &mut Value) {
    use base64::Engine;
    let Some(Value::Object(texts)) = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
    else {
        return;
    };
    default(object, "data", json!({}));
    for (name, text) in texts {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][name] = Value::from(encoded);
    }
}

fn fill_workload(kind: &Kind, object: &mut Value) {
    let spec = &mut object["spec"];
    if let Some(template) = spec.get_mut("template") {
        fill_pod(&mut template["spec"]);
    }
    if kind.kind == "Deployment" && spec["strategy"]["type"] == "RollingUpdate" {
        default(&mut spec["strategy"], "rollingUpdate", json!({}));
        let rolling = &mut spec["strategy"]["rollingUpdate"];
        default(rolling, "maxUnavailable", json!("25%"));
        default(rolling, "maxSurge", json!("25%"));
    }
    if kind.kind == "Job" && spec["completions"].is_null() {
        default(spec, "completions", json!(1));
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

fn fill_definition(spec: &mut Value) {
    let names = &mut spec["names"];
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    let empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if empty(&names["singular"]) {
        names["singular"] = Value::from(kind.to_lowercase());
    }
    if empty(&names["listKind"]) {
        names["listKind"] = Value::from(format!("{kind}List"));
    }
}

/// Where subjects and roles come from.
fn fill_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let missing = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if missing(&object["roleRef"]["apiGroup"]) {
        object["roleRef"]["apiGroup"] = json!(GROUP);
    }
    if let Some(subjects) = object.get_mut("subjects") {
        for subject in items(subjects) {
            if matches!(subject["kind"].as_str(), Some("User" | "Group"))
                && missing(&subject["apiGroup"])
            {
                subject["apiGroup"] = json!(GROUP);
            }
        }
    }
}

fn fill_webhooks(kind: &Kind, object: &mut Value) {
    let mutating = kind.kind == "MutatingWebhookConfiguration";
    if let Some(webhooks) = object.get_mut("webhooks") {
        for webhook in items(webhooks) {
            if mutating {
                default(webhook, "reinvocationPolicy", json!("Never"));
            }
        }
    }
}

/// What an object of a kind with a status starts with.
pub(crate) fn first_status(kind: &Kind, object: &Value) -> Value {
    match kind.kind.as_str() {
        "Pod" => json!({"phase": "Pending", "qosClass": quality_of_service(&object["spec"])}),
        "Namespace" => json!({"phase": "Active"}),
        "CustomResourceDefinition" => {
            let stored: Vec<Value> = object["spec"]["versions"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|version| version["storage"] == true)
                .map(|version| version["name"].clone())
                .collect();
            json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored})
        }
        _ => kind.shape.child("status").zero(),
    }
}

fn quality_of_service(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let part = |container: &Value, part: &str| {
        container["resources"][part]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    if containers
        .iter()
        .all(|one| part(one, "limits").is_empty() && part(one, "requests").is_empty())
    {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|one| {
        let (limits, requests): (Map<String, Value>, Map<String, Value>) =
            (part(one, "limits"), part(one, "requests"));
        ["cpu", "memory"]
            .iter()
            .all(|&name| limits.contains_key(name))
            && requests
                .iter()
                .all(|(name, value)| limits.get(name) == Some(value))
    });
    if guaranteed {
        "Guaranteed"
    } else {
        "Burstable"
    }
}
