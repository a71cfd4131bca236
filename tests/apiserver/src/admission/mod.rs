//! Webhooks are asked before anything is written: first those that change objects, then, after the
//! schema, those that only judge.
//!
//! A webhook is a stranger: what it answers is bounded, and its silence ends with its timeout.

mod call;

pub(crate) use call::Services;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::failure::Failure;
use crate::selector::label_selector_matches;
use crate::write::Write;

const GROUP: &str = "admissionregistration.k8s.io";

/// What is about to happen to an object.
struct Review<'a> {
    write: &'a Write<'a>,
    operation: &'a str,
    old: Option<&'a Value>,
    object: Option<&'a Value>,
}

/// Lets mutating webhooks change an object.
pub(crate) async fn mutate(
    write: &Write<'_>,
    old: Option<&Value>,
    object: &mut Value,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    for webhook in webhooks(write, "mutatingwebhookconfigurations") {
        let current = object.clone();
        let review = Review {
            write,
            operation,
            old,
            object: Some(&current),
        };
        let Some(answer) = ask(&review, &webhook, warnings).await? else {
            continue;
        };
        if let Some(patch) = answer["patch"].as_str() {
            apply(&webhook, object, patch)?;
        }
    }
    Ok(())
}

/// Asks validating webhooks.
pub(crate) async fn validate(
    write: &Write<'_>,
    operation: &str,
    old: Option<&Value>,
    object: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    for webhook in webhooks(write, "validatingwebhookconfigurations") {
        ask(
            &Review {
                write,
                operation,
                old,
                object,
            },
            &webhook,
            warnings,
        )
        .await?;
    }
    Ok(())
}

/// Every webhook, in the order of their configurations' names. None is asked about the configurations
/// themselves: one that fails could not be taken away any more.
fn webhooks(write: &Write<'_>, plural: &str) -> Vec<Value> {
    if write.target.kind.group == GROUP {
        return Vec::new();
    }
    let configurations: Vec<Arc<Value>> = write
        .state
        .list(&format!("{plural}.{GROUP}"), None)
        .into_iter()
        .map(|(_, one)| one)
        .collect();
    configurations
        .iter()
        .flat_map(|one| one["webhooks"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// Asks one webhook, if it wants to be asked. Its answer; nothing when it was not asked or does not count.
async fn ask(
    review: &Review<'_>,
    webhook: &Value,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, Failure> {
    if !is_for(webhook, review) {
        return Ok(None);
    }
    let name = webhook["name"].as_str().unwrap_or_default();
    let fails_open = webhook["failurePolicy"] == "Ignore";
    let uid = clock::uid();
    let answer = match call::call(
        &review.write.state.services,
        webhook,
        &request(review, &uid),
    )
    .await
    {
        Ok(answer) => answer,
        Err(_) if fails_open => return Ok(None),
        Err(why) => return Err(broken(name, &format!("failed to call webhook: {why}"))),
    };
    let answer = &answer["response"];
    let got = answer["uid"].as_str().unwrap_or_default();
    if got != uid {
        if fails_open {
            return Ok(None);
        }
        let why = format!(
            "received invalid webhook response: expected response.uid={uid:?}, got {got:?}"
        );
        return Err(broken(name, &why));
    }
    for warning in answer["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        warnings.push(warning.to_owned());
    }
    if answer["allowed"] == true {
        Ok(Some(answer.clone()))
    } else {
        Err(denied(name, &answer["status"]))
    }
}

fn broken(name: &str, why: &str) -> Failure {
    Failure::internal(&format!("failed calling webhook {name:?}: {why}"))
}

/// A refusal, with the code and reason that the webhook chose.
fn denied(name: &str, status: &Value) -> Failure {
    let message = match (status["message"].as_str(), status["reason"].as_str()) {
        (Some(message), _) if !message.is_empty() => {
            format!("admission webhook {name:?} denied the request: {message}")
        }
        (_, Some(reason)) if !reason.is_empty() => {
            format!("admission webhook {name:?} denied the request: {reason}")
        }
        _ => format!("admission webhook {name:?} denied the request without explanation"),
    };
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| *code >= 400);
    let reason = match status["reason"].as_str() {
        Some("Invalid") => "Invalid",
        Some("Conflict") => "Conflict",
        Some("BadRequest") => "BadRequest",
        Some("Forbidden") => "Forbidden",
        _ => "",
    };
    let mut failure = Failure::new(code.unwrap_or(403), reason, message);
    if status["details"].is_object() {
        failure.details = Some(status["details"].clone());
    }
    failure
}

fn apply(webhook: &Value, object: &mut Value, patch: &str) -> Result<(), Failure> {
    use base64::Engine;
    let name = webhook["name"].as_str().unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(patch)
        .unwrap_or_default();
    serde_json::from_slice::<json_patch::Patch>(&bytes)
        .map_err(|error| error.to_string())
        .and_then(|patch| json_patch::patch(object, &patch).map_err(|error| error.to_string()))
        .map_err(|why| broken(name, &format!("received invalid webhook response: {why}")))
}

/// Whether a webhook wants to be asked about this.
fn is_for(webhook: &Value, review: &Review<'_>) -> bool {
    let target = review.write.target;
    let kind = &target.kind;
    let resource = match target.subresource() {
        "" => kind.plural.clone(),
        subresource => format!("{}/{subresource}", kind.plural),
    };
    let has = |list: &Value, wanted: &str| {
        list.as_array()
            .is_some_and(|list| list.iter().any(|one| one == "*" || one == wanted))
    };
    let covers = |list: &Value| {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|one| {
                one == resource
                    || one == "*/*"
                    || one == "*" && !resource.contains('/')
                    || one
                        .strip_suffix("/*")
                        .is_some_and(|plural| plural == kind.plural)
            })
    };
    let in_scope = |rule: &Value| match rule["scope"].as_str() {
        Some("Namespaced") => kind.namespaced,
        Some("Cluster") => !kind.namespaced,
        _ => true,
    };
    let ruled = webhook["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|rule| {
            has(&rule["operations"], review.operation)
                && has(&rule["apiGroups"], &kind.group)
                && has(&rule["apiVersions"], &kind.version)
                && covers(&rule["resources"])
                && in_scope(rule)
        });
    ruled && namespace_is_for(webhook, review) && object_is_for(webhook, review)
}

fn namespace_is_for(webhook: &Value, review: &Review<'_>) -> bool {
    let target = review.write.target;
    let labels = if target.kind.is("Namespace") {
        review
            .object
            .or(review.old)
            .map(|object| object["metadata"]["labels"].clone())
    } else if target.kind.namespaced {
        review
            .write
            .state
            .find("namespaces", "", target.namespace())
            .map(|found| found["metadata"]["labels"].clone())
    } else {
        return true;
    };
    label_selector_matches(&webhook["namespaceSelector"], &labels.unwrap_or_default())
}

/// The object as it was or as it is to be.
fn object_is_for(webhook: &Value, review: &Review<'_>) -> bool {
    let selector = &webhook["objectSelector"];
    [review.object, review.old]
        .into_iter()
        .flatten()
        .any(|object| label_selector_matches(selector, &object["metadata"]["labels"]))
}

/// What a webhook is sent.
fn request(review: &Review<'_>, uid: &str) -> Value {
    let write = review.write;
    let kind = &write.target.kind;
    let names = |last: &str, value: &str| json!({"group": kind.group, "version": kind.version, last: value});
    let name = review
        .object
        .or(review.old)
        .map_or(Value::Null, |object| object["metadata"]["name"].clone());
    let kind_of_options = match review.operation {
        "CREATE" => "CreateOptions",
        "DELETE" => "DeleteOptions",
        _ => "UpdateOptions",
    };
    let mut options = json!({"kind": kind_of_options, "apiVersion": "meta.k8s.io/v1"});
    if write.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let manager = write.request.query.get("fieldManager");
    if !manager.is_empty() {
        options["fieldManager"] = Value::from(manager);
    }
    let mut request = json!({
        "uid": uid, "kind": names("kind", &kind.kind), "resource": names("resource", &kind.plural),
        "requestKind": names("kind", &kind.kind), "requestResource": names("resource", &kind.plural),
        "name": name, "operation": review.operation, "userInfo": write.request.user.described(),
        "object": review.object, "oldObject": review.old, "dryRun": write.dry_run, "options": options,
    });
    if kind.namespaced {
        request["namespace"] = Value::from(write.target.namespace());
    }
    if !write.target.subresource().is_empty() {
        request["subResource"] = Value::from(write.target.subresource());
        request["requestSubResource"] = Value::from(write.target.subresource());
    }
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}
