//! What an object of a kind may not be.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::definition;
use crate::failure::{Cause, Failure};
use crate::kind::Kind;
use crate::schema;

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
pub(crate) fn check(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    let mut causes = Vec::new();
    if old.is_none() {
        check_name(kind, object, &mut causes);
    }
    if let Some(old) = old {
        check_finalizers(object, old, &mut causes);
        if kind.custom.is_some() {
            // The real server looks twice.
            check_finalizers(object, old, &mut causes);
        }
    }
    match kind.kind.as_str() {
        _ if kind.custom.is_some() => {
            let schema = kind
                .custom
                .as_ref()
                .map_or(&Value::Null, |custom| &custom.schema);
            causes.extend(schema::check(schema, object, old));
        }
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            check_webhooks(object, &mut causes)
        }
        "CustomResourceDefinition" => definition::check(object, &mut causes),
        "Pod" => check_pod(object, old, &mut causes),
        "Service" => check_service(object, &mut causes),
        "Lease" => check_lease(object, &mut causes),
        "EndpointSlice" => check_endpoints(object, old, &mut causes),
        _ => {}
    }
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

fn check_pod(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if object["spec"]["containers"]
        .as_array()
        .is_none_or(Vec::is_empty)
    {
        causes.push(Cause::required("spec.containers", ""));
    }
    if let Some(old) = old
        && fixed(&old["spec"]) != fixed(&object["spec"])
    {
        causes.push(Cause::forbidden("spec", POD_WORDS));
    }
}

const POD_WORDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
     tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What stays as it is for the life of a pod; where it runs is said once.
fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        for name in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "nodeName",
        ] {
            map.remove(name);
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    spec
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

/// What a webhook's configuration has to say.
fn check_webhooks(object: &Value, causes: &mut Vec<Cause>) {
    for (position, webhook) in object["webhooks"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("webhooks[{position}]");
        let name = webhook["name"].as_str().unwrap_or_default();
        if name.split('.').count() < 3 || !SUBDOMAIN.is_match(name) {
            let why = "should be a domain with at least three segments separated by dots";
            causes.push(Cause::invalid(format!("{at}.name"), &webhook["name"], why));
        }
        if !matches!(
            webhook["sideEffects"].as_str(),
            Some("None" | "NoneOnDryRun")
        ) {
            causes.push(Cause::required(
                format!("{at}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        }
        let config = &webhook["clientConfig"];
        if config["url"].is_null() == config["service"].is_null() {
            causes.push(Cause::required(
                format!("{at}.clientConfig"),
                "exactly one of url or service is required",
            ));
        }
        if let Some((scheme, _)) = config["url"].as_str().and_then(|url| url.split_once("://"))
            && scheme != "https"
        {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            causes.push(Cause::invalid(
                format!("{at}.clientConfig.url"),
                &Value::from(scheme),
                why,
            ));
        }
        if webhook["admissionReviewVersions"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            let why = "must specify one of v1, v1beta1";
            causes.push(Cause::required(
                format!("{at}.admissionReviewVersions"),
                why,
            ));
        }
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
