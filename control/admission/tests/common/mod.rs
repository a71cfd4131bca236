//! What the tests let the webhook know, and reviews as an API server sends them.
#![allow(dead_code)]

use std::sync::Mutex;

use serde_json::{Value, json};
use weir_admission::{Claim, Image, Judgement, Knowledge, Reports, Summary, answer};
use weir_model::{AdmissionSettings, Document, Located, Problem};

/// Knowledge that the test writes.
#[derive(Default)]
pub struct Known {
    pub judgement: Judgement,
    pub asked: Mutex<Vec<(bool, bool)>>,
    pub settings: AdmissionSettings,
    pub has_allowlist: Option<bool>,
    pub reports: Reports,
}

impl Knowledge for Known {
    fn judge(&self, old: Option<&Located<Document>>, new: Option<&Located<Document>>) -> Judgement {
        let mut asked = self.asked.lock().unwrap();
        asked.push((old.is_some(), new.is_some()));
        self.judgement.clone()
    }

    fn settings(&self) -> AdmissionSettings {
        self.settings.clone()
    }

    fn has_allowlist(&self, _: &str) -> Option<bool> {
        self.has_allowlist
    }

    fn external_claims(&self, service: &Value) -> Vec<Claim> {
        let addresses = service["spec"]["externalIPs"].as_array();
        let claim = |(index, address): (usize, &Value)| Claim {
            field: format!("spec.externalIPs[{index}]"),
            message: format!("{} belongs to node a", address.as_str().unwrap_or("?")),
            next_step: "take it out".to_owned(),
        };
        addresses
            .into_iter()
            .flatten()
            .enumerate()
            .map(claim)
            .collect()
    }

    fn vulnerabilities(&self, image: &Image) -> Option<Summary> {
        self.reports.find(image).cloned()
    }

    fn own_namespace(&self) -> &str {
        "weir-system"
    }
}

/// Settings as somebody writes them.
pub fn settings(yaml: &str) -> AdmissionSettings {
    let text = format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Settings\nmetadata: {{name: s}}\nspec: {{admission: {yaml}}}\n"
    );
    let (documents, problems) = weir_model::parse_documents("s.yaml", &text);
    assert_eq!(problems, []);
    match documents.into_iter().next().unwrap().value {
        Document::Settings(settings) => settings.spec.admission.unwrap(),
        other => panic!("{}", other.title()),
    }
}

pub fn problem(field: &str, message: &str) -> Problem {
    Problem {
        field: field.to_owned(),
        next_step: "correct it".to_owned(),
        ..Problem::of_file("", message, "")
    }
}

/// A review in the form that an API server gives it.
pub fn review(group: &str, kind: &str, operation: &str, object: Value, old: Value) -> Value {
    let about = if object.is_null() { &old } else { &object };
    let metadata = &about["metadata"];
    let version = if group == "weir.dev" {
        "v1alpha1"
    } else {
        "v1"
    };
    let gvk = json!({"group": group, "version": version, "kind": kind});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "98271f85-76f3-40c2-90df-a1c7bd1d7fda",
            "kind": gvk,
            "resource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
            "requestKind": gvk,
            "name": metadata["name"],
            "namespace": metadata["namespace"].as_str().unwrap_or(""),
            "operation": operation,
            "userInfo": {"username": "admin", "groups": ["system:masters"]},
            "object": object,
            "oldObject": old,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

/// The answer's `response`.
pub fn ask(known: &Known, path: &str, review: &Value) -> Value {
    let body = serde_json::to_vec(review).unwrap();
    let answer = answer(known, path, &body).expect("the path is served");
    let answer = answer.expect("it is a review");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    let allowed = answer["response"]["allowed"].as_bool().expect("yes or no");
    assert_eq!(answer["response"]["status"].is_null(), allowed);
    answer["response"].clone()
}

pub fn pod(images: &[&str]) -> Value {
    let container =
        |(index, image): (usize, &&str)| json!({"name": format!("c{index}"), "image": image});
    let containers: Vec<Value> = images.iter().enumerate().map(container).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": containers, "serviceAccountName": "default"}
    })
}

pub fn deployment(images: &[&str]) -> Value {
    let pod = pod(images);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod["spec"]}}
    })
}

pub fn allowlist() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {
            "name": "db", "namespace": "shop", "generation": 1, "uid": "4499a6d3-4833-46b8-9419-f2fc930e7576",
            "creationTimestamp": "2026-11-21T21:38:17Z",
            "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1",
                               "fieldsV1": {"f:spec": {".": {}}}}]
        },
        "spec": {"target": {"workload": "db"}, "ingress": [{"from": [{"workload": "web"}], "ports": [5432]}]}
    })
}
