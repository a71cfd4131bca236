//! What an object of a kind may not be.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::failure::{Cause, Failure};
use crate::kind::Kind;

static LABEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").expect("a pattern"));
static SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        .expect("a pattern")
});

const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
     must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
     or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// Refuses what the real server refuses.
pub(crate) fn check(
    kind: &Kind,
    subresource: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let mut causes = Vec::new();
    if old.is_none() {
        check_name(kind, object, &mut causes);
    }
    if let Some(old) = old {
        check_finalizers(object, old, &mut causes);
    }
    match kind.kind.as_str() {
        _ if kind.custom.is_some() => {}
        "Pod" => check_pod(object, &mut causes),
        "Service" => check_service(object, &mut causes),
        "Lease" => check_lease(object, &mut causes),
        "EndpointSlice" => check_endpoints(object, old, &mut causes),
        _ => {}
    }
    let _ = subresource;
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(Failure::invalid(kind, name, &causes))
}

/// An update that does not say of which version.
pub(crate) fn version_missing(kind: &Kind, name: &str) -> Failure {
    let cause = Cause::wrong_type(
        "metadata.resourceVersion",
        "0",
        "must be specified for an update",
    );
    let cause = Cause {
        reason: "FieldValueInvalid",
        ..cause
    };
    Failure::invalid_resource(kind, name, &[cause])
}

fn check_name(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let metadata = &object["metadata"];
    let Some(name) = metadata["name"].as_str().filter(|name| !name.is_empty()) else {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    };
    if kind.group == "rbac.authorization.k8s.io" {
        return;
    }
    let short = matches!(kind.kind.as_str(), "Namespace" | "Service") && kind.custom.is_none();
    let (pattern, words) = if short {
        (&LABEL, LABEL_WORDS)
    } else {
        (&SUBDOMAIN, SUBDOMAIN_WORDS)
    };
    if !pattern.is_match(name) {
        causes.push(Cause::invalid("metadata.name", &metadata["name"], words));
    }
}

/// Nothing may begin to keep an object that is about to go.
fn check_finalizers(object: &Value, old: &Value, causes: &mut Vec<Cause>) {
    if old["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let before = old["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let after = object["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten();
    let new: Vec<String> = after
        .filter(|one| !before.contains(one))
        .map(Value::to_string)
        .collect();
    if !new.is_empty() {
        causes.push(Cause::forbidden(
            "metadata.finalizers",
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            ),
        ));
    }
}

fn check_pod(object: &Value, causes: &mut Vec<Cause>) {
    if object["spec"]["containers"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        causes.push(Cause::required("spec.containers", ""));
    }
}

fn check_service(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let headless = spec["clusterIP"] == "None";
    let none = spec["ports"].as_array().is_none_or(Vec::is_empty);
    if none && spec["type"] != "ExternalName" && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut names: Vec<&Value> = Vec::new();
    for (position, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
        let name = &port["name"];
        if names.contains(&name) && name.is_string() {
            causes.push(Cause::duplicate(
                format!("spec.ports[{position}].name"),
                name,
            ));
        }
        names.push(name);
    }
}

fn check_lease(object: &Value, causes: &mut Vec<Cause>) {
    let duration = &object["spec"]["leaseDurationSeconds"];
    if duration.as_i64().is_some_and(|duration| duration <= 0) {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            duration,
            "must be greater than 0",
        ));
    }
    let transitions = &object["spec"]["leaseTransitions"];
    if transitions.as_i64().is_some_and(|count| count < 0) {
        causes.push(Cause::invalid(
            "spec.leaseTransitions",
            transitions,
            "must be greater than or equal to 0",
        ));
    }
}

fn check_endpoints(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Some(old) = old
        && old["addressType"] != object["addressType"]
    {
        causes.push(Cause::invalid(
            "addressType",
            &object["addressType"],
            "field is immutable",
        ));
    }
}
