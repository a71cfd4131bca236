//! Pods, and objects with templates of them.
//!
//! What an object had before its change is not asked of it again: a pod that runs keeps running, and
//! its labels can be changed.

use std::collections::HashSet;

use serde_json::Value;
use weir_model::{AdmissionSettings, Enforcement, ImageSettings, VulnerabilitySettings};

use crate::image::Image;
use crate::review::Request;
use crate::verdict::{Cause, Verdict};
use crate::{Knowledge, is_exempt};

/// The lists of a pod that have images.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A pod, or the template of pods that an object has.
struct Template<'a> {
    /// "spec.template."; empty for a pod.
    path: &'static str,
    pod: &'a Value,
}

/// Judges a pod or an object with a template.
pub(crate) fn validate(knowledge: &dyn Knowledge, request: &Request) -> Verdict {
    let settings = knowledge.settings();
    let exempt = is_exempt(knowledge, &settings, &request.namespace);
    let status = request.sub_resource == "status";
    let Some(template) = template(&request.kind.kind, &request.object) else {
        return Verdict::allow();
    };
    if exempt || status || request.is_going() {
        return Verdict::allow();
    }
    let before = self::template(&request.kind.kind, &request.old_object);
    let mut verdict = Verdict::allow();
    if let Some(images) = &settings.images {
        judge_images(knowledge, images, &template, before.as_ref(), &mut verdict);
    }
    if before.is_none() {
        judge_namespace(knowledge, &settings, &request.namespace, &mut verdict);
    }
    verdict
}

fn template<'a>(kind: &str, object: &'a Value) -> Option<Template<'a>> {
    let (path, pod) = match kind {
        "Pod" => ("", object),
        "CronJob" => (
            "spec.jobTemplate.spec.template.",
            &object["spec"]["jobTemplate"]["spec"]["template"],
        ),
        "PodTemplate" => ("template.", &object["template"]),
        "Deployment"
        | "DaemonSet"
        | "StatefulSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => ("spec.template.", &object["spec"]["template"]),
        _ => return None,
    };
    pod["spec"].is_object().then_some(Template { path, pod })
}

fn judge_images(
    knowledge: &dyn Knowledge,
    settings: &ImageSettings,
    template: &Template<'_>,
    before: Option<&Template<'_>>,
    verdict: &mut Verdict,
) {
    let known: HashSet<&str> = before.map_or_else(HashSet::new, |before| {
        images(before).into_iter().map(|(_, image)| image).collect()
    });
    let mut any = false;
    for (field, text) in images(template) {
        if known.contains(text) {
            continue;
        }
        any = true;
        let mut say = |message: String, enforcement: Enforcement| {
            let cause = Cause {
                field: field.clone(),
                message,
                forbidden: true,
            };
            put(verdict, cause, enforcement);
        };
        match Image::read(text) {
            Err(error) => say(format!("{text:?}: {error}"), settings.enforcement),
            Ok(image) => {
                for message in objections(settings, &image) {
                    say(format!("image {image} {message}"), settings.enforcement);
                }
                if let Some(limits) = &settings.vulnerabilities
                    && let Some((message, missing)) = vulnerable(knowledge, limits, &image)
                {
                    let enforcement = missing.unwrap_or(settings.enforcement);
                    say(format!("image {image} {message}"), enforcement);
                }
            }
        }
    }
    if let Some(key) = settings.signature_annotation.as_ref().filter(|_| any) {
        let annotation = &template.pod["metadata"]["annotations"][key.as_str()];
        if annotation.as_str().is_none_or(str::is_empty) {
            let cause = Cause {
                field: format!("{}metadata.annotations", template.path),
                message: format!(
                    "the annotation {key} is missing, which says that the images' signatures were \
                     checked; sign the images, or have them checked first"
                ),
                forbidden: true,
            };
            put(verdict, cause, settings.enforcement);
        }
    }
}

/// What its name alone says against an image.
fn objections(settings: &ImageSettings, image: &Image) -> Vec<String> {
    let mut objections = Vec::new();
    let allowed = &settings.registries;
    if !allowed.is_empty() && !allowed.iter().any(|place| image.comes_from(place)) {
        let allowed = allowed.join(", ");
        objections.push(format!("does not come from {allowed}; push it there first"));
    }
    let refused = settings.refused_registries.iter();
    for place in refused.filter(|place| image.comes_from(place)) {
        objections.push(format!("comes from {place}, from where none may come"));
    }
    let tag = image.effective_tag();
    for refused in settings.refused_tags.iter().filter(|it| tag == Some(it)) {
        let message = match &image.tag {
            Some(_) => format!("has the tag {refused}, which is refused; name a version"),
            None => format!("has no tag and so means {refused}, which is refused; name a version"),
        };
        objections.push(message);
    }
    if settings.require_digest && image.digest.is_none() {
        objections.push("is not named by its digest; write …@sha256:…".to_owned());
    }
    objections
}

/// What its report says against it; with an enforcement of its own where there is none.
fn vulnerable(
    knowledge: &dyn Knowledge,
    limits: &VulnerabilitySettings,
    image: &Image,
) -> Option<(String, Option<Enforcement>)> {
    let Some(summary) = knowledge.vulnerabilities(image) else {
        let message = "has no vulnerability report yet; have it scanned first".to_owned();
        return limits.without_report.map(|it| (message, Some(it)));
    };
    let over = |found: u64, most: Option<u32>, word: &str| {
        let most = most.filter(|most| found > u64::from(*most))?;
        Some(format!("{found} {word} vulnerabilities (at most {most})"))
    };
    let found = [
        over(summary.critical, limits.max_critical, "critical"),
        over(summary.high, limits.max_high, "high"),
    ];
    let found: Vec<String> = found.into_iter().flatten().collect();
    let report = &summary.report;
    let text = found.join(" and ");
    (!found.is_empty()).then(|| {
        let message = format!("has {text} by report {report}; update what it is built from");
        (message, None)
    })
}

fn judge_namespace(
    knowledge: &dyn Knowledge,
    settings: &AdmissionSettings,
    namespace: &str,
    verdict: &mut Verdict,
) {
    let Some(enforcement) = settings.without_allowlist else {
        return;
    };
    if knowledge.has_allowlist(namespace) != Some(false) {
        return;
    }
    let cause = Cause {
        field: "metadata.namespace".to_owned(),
        message: format!(
            "no allowlist is in force for namespace {namespace}; apply one first, with stage: draft \
             if nothing is known of the workloads yet"
        ),
        forbidden: true,
    };
    put(verdict, cause, enforcement);
}

fn put(verdict: &mut Verdict, cause: Cause, enforcement: Enforcement) {
    match enforcement {
        Enforcement::Deny => verdict.causes.push(cause),
        Enforcement::Warn => verdict.warn(&cause),
    }
}

/// Every image, and where it is written.
fn images<'a>(template: &Template<'a>) -> Vec<(String, &'a str)> {
    let mut images = Vec::new();
    for list in CONTAINERS {
        let containers = template.pod["spec"][list].as_array();
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let field = format!("{}spec.{list}[{index}].image", template.path);
            images.push((field, container["image"].as_str().unwrap_or("")));
        }
    }
    images
}
