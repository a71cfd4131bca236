//! What the webhook answers to reviews in the form that an API server gives them.

mod common;

use std::path::Path;

use common::{Known, allowlist, ask, deployment, pod, problem, review, settings};
use proptest::prelude::*;
use serde_json::{Value, json};
use weir_admission::{BadReview, Judgement, Reports, answer};

const DIGEST: &str = "sha256:9b7cc10a375078764c26a25ba9a0aa1d5f1d3aa3e2ba4d5a09ba8fdd1f3a5a4c";

fn fields(response: &Value) -> Vec<&str> {
    let causes = response["status"]["details"]["causes"].as_array();
    let causes = causes.into_iter().flatten();
    causes.filter_map(|cause| cause["field"].as_str()).collect()
}

fn workload(yaml: &str, object: Value, old: Value) -> Value {
    let known = Known {
        settings: settings(yaml),
        ..Known::default()
    };
    let kind = object["kind"].as_str().unwrap_or("Pod").to_owned();
    let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
    ask(
        &known,
        "/validate/workloads",
        &review("", &kind, operation, object, old),
    )
}

#[test]
fn a_good_document_is_let_in_and_judged_with_its_old_state() {
    let known = Known::default();
    let create = review("weir.dev", "Allowlist", "CREATE", allowlist(), Value::Null);
    assert_eq!(ask(&known, "/validate/policy", &create)["allowed"], true);
    let update = review("weir.dev", "Allowlist", "UPDATE", allowlist(), allowlist());
    ask(&known, "/validate/policy", &update);
    let delete = review("weir.dev", "Allowlist", "DELETE", Value::Null, allowlist());
    ask(&known, "/validate/policy", &delete);
    let mut named_by_server = allowlist();
    named_by_server["metadata"] = json!({"generateName": "db-", "namespace": "shop"});
    let generated = review(
        "weir.dev",
        "Allowlist",
        "CREATE",
        named_by_server,
        Value::Null,
    );
    assert_eq!(ask(&known, "/validate/policy", &generated)["allowed"], true);
    let asked = known.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [(false, true), (true, true), (true, false), (false, true)]
    );
}

#[test]
fn every_mistake_of_a_document_is_told_with_its_field() {
    let mut wrong = allowlist();
    wrong["spec"]["ingress"][0]["from"] = json!([{"workload": "web", "any": true}]);
    wrong["metadata"]["labels"] = json!({"a b": "c"});
    let review = review("weir.dev", "Allowlist", "CREATE", wrong, Value::Null);
    let response = ask(&Known::default(), "/validate/policy", &review);
    assert_eq!(response["allowed"], false);
    let status = &response["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(422), &json!("Invalid"))
    );
    let fields = fields(&response);
    assert_eq!(fields.len(), 2, "{response:#}");
    assert!(
        fields.iter().any(|it| it.starts_with("metadata.labels")),
        "{fields:?}"
    );
    assert!(
        fields
            .iter()
            .any(|it| it.starts_with("spec.ingress[0].from[0]")),
        "{fields:?}"
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("allowlist shop/db:\n"), "{message}");
    assert_eq!(status["details"]["kind"], "Allowlist");
}

#[test]
fn what_guardrails_refuse_is_forbidden_and_warnings_are_told() {
    let known = Known {
        judgement: Judgement {
            forbidden: vec![problem("spec.ingress[0]", "guardrail no-any: no")],
            warnings: vec![problem("", &format!("wide {}\n", "x".repeat(400)))],
            ..Judgement::default()
        },
        ..Known::default()
    };
    let asked = review("weir.dev", "Allowlist", "CREATE", allowlist(), Value::Null);
    let response = ask(&known, "/validate/policy", &asked);
    let status = &response["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        status["message"],
        "allowlist shop/db: spec.ingress[0]: guardrail no-any: no; correct it"
    );
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "FieldValueForbidden"
    );
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.chars().count() <= 256 && warning.ends_with('…') && !warning.contains('\n'));
}

#[test]
fn status_going_objects_and_other_groups_are_let_through() {
    let known = Known {
        judgement: Judgement {
            forbidden: vec![problem("", "never")],
            ..Judgement::default()
        },
        ..Known::default()
    };
    let mut status = review("weir.dev", "Allowlist", "UPDATE", allowlist(), allowlist());
    status["request"]["subResource"] = json!("status");
    assert_eq!(ask(&known, "/validate/policy", &status)["allowed"], true);
    let mut going = allowlist();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-21T21:38:17Z");
    let going = review("weir.dev", "Allowlist", "UPDATE", going, allowlist());
    assert_eq!(ask(&known, "/validate/policy", &going)["allowed"], true);
    let other = review(
        "example.com",
        "Allowlist",
        "CREATE",
        allowlist(),
        Value::Null,
    );
    assert_eq!(ask(&known, "/validate/policy", &other)["allowed"], true);
}

#[test]
fn images_are_refused_by_registry_tag_and_digest() {
    let registries = "{images: {registries: [ghcr.io/team, '*.example.com'], refusedRegistries: [bad.example.com]}}";
    let images = [
        "ghcr.io/team/a:1",
        "nginx:1",
        "a.example.com/x:1",
        "bad.example.com/x:1",
    ];
    let response = workload(registries, pod(&images), Value::Null);
    assert_eq!(
        fields(&response),
        ["spec.containers[1].image", "spec.containers[3].image"]
    );
    assert_eq!(response["status"]["code"], 403);

    let tags = "{images: {refusedTags: [latest], requireDigest: true}}";
    let pinned = format!("nginx@{DIGEST}");
    let response = workload(
        tags,
        deployment(&["nginx", "nginx:1", &pinned]),
        Value::Null,
    );
    assert_eq!(
        fields(&response),
        [
            "spec.template.spec.containers[0].image",
            "spec.template.spec.containers[0].image",
            "spec.template.spec.containers[1].image",
        ]
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("has no tag and so means latest"),
        "{message}"
    );

    let response = workload(tags, pod(&["not an image"]), Value::Null);
    assert!(
        response["status"]["message"]
            .as_str()
            .unwrap()
            .contains("no name of an image")
    );
    let warned = workload(
        "{images: {requireDigest: true, enforcement: warn}}",
        pod(&["nginx"]),
        Value::Null,
    );
    assert_eq!(warned["allowed"], true);
    assert_eq!(warned["warnings"].as_array().map(Vec::len), Some(1));
}

#[test]
fn every_kind_with_pods_is_looked_at_with_its_init_containers() {
    let mut pod = pod(&[]);
    pod["spec"]["initContainers"] = json!([{"image": "nginx"}]);
    pod["spec"]["ephemeralContainers"] = json!([{"image": "nginx"}]);
    let yaml = "{images: {requireDigest: true}}";
    assert_eq!(
        fields(&workload(yaml, pod.clone(), Value::Null)),
        [
            "spec.initContainers[0].image",
            "spec.ephemeralContainers[0].image"
        ]
    );
    for kind in [
        "Deployment",
        "DaemonSet",
        "StatefulSet",
        "ReplicaSet",
        "Job",
    ] {
        let object =
            json!({"kind": kind, "metadata": {"namespace": "shop"}, "spec": {"template": pod}});
        assert_eq!(
            fields(&workload(yaml, object, Value::Null)).len(),
            2,
            "{kind}"
        );
    }
    let job = json!({"kind": "CronJob", "metadata": {"namespace": "shop"},
        "spec": {"jobTemplate": {"spec": {"template": pod}}}});
    assert_eq!(
        fields(&workload(yaml, job, Value::Null))[0],
        "spec.jobTemplate.spec.template.spec.initContainers[0].image"
    );
}

#[test]
fn what_runs_already_is_not_asked_again() {
    let yaml = "{images: {requireDigest: true, signatureAnnotation: signed.dev/by}, withoutAllowlist: deny}";
    let mut labelled = pod(&["nginx"]);
    labelled["metadata"]["labels"]["new"] = json!("yes");
    assert_eq!(workload(yaml, labelled, pod(&["nginx"]))["allowed"], true);
    let other = workload(yaml, pod(&["nginx", "redis"]), pod(&["nginx"]));
    assert_eq!(
        fields(&other),
        ["spec.containers[1].image", "metadata.annotations"]
    );
}

#[test]
fn a_signature_a_report_and_an_allowlist_can_be_asked_for() {
    let yaml = "{images: {signatureAnnotation: signed.dev/by}}";
    assert_eq!(
        fields(&workload(yaml, pod(&["nginx"]), Value::Null)),
        ["metadata.annotations"]
    );
    let mut signed = pod(&["nginx"]);
    signed["metadata"]["annotations"] = json!({"signed.dev/by": "release"});
    assert_eq!(workload(yaml, signed, Value::Null)["allowed"], true);

    let mut reports = Reports::default();
    for (updated, critical) in [("2026-11-20T00:00:00Z", 9), ("2026-11-21T00:00:00Z", 2)] {
        reports.add(&json!({
            "apiVersion": "aquasecurity.github.io/v1alpha1", "kind": "VulnerabilityReport",
            "metadata": {"name": "replicaset-web-c", "namespace": "shop",
                "labels": {"trivy-operator.container.name": "c"}},
            "report": {
                "artifact": {"repository": "library/nginx", "tag": "1.16", "digest": DIGEST},
                "registry": {"server": "index.docker.io"},
                "summary": {"criticalCount": critical, "highCount": 7, "lowCount": 1},
                "updateTimestamp": updated
            }
        }));
    }
    reports.add(&json!({"report": 7}));
    assert_eq!(reports.count(), 2);
    let known = |yaml: &str, has_allowlist| Known {
        settings: settings(yaml),
        reports: reports.clone(),
        has_allowlist,
        ..Known::default()
    };
    let create = |images: &[&str]| review("", "Pod", "CREATE", pod(images), Value::Null);
    let limits = known(
        "{images: {vulnerabilities: {maxCritical: 1, maxHigh: 7, withoutReport: warn}}}",
        None,
    );
    let pinned = format!("docker.io/nginx@{DIGEST}");
    let response = ask(
        &limits,
        "/validate/workloads",
        &create(&["nginx:1.16", &pinned, "redis:7"]),
    );
    assert_eq!(
        fields(&response),
        ["spec.containers[0].image", "spec.containers[1].image"]
    );
    let message = response["status"]["details"]["causes"][0]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("2 critical vulnerabilities (at most 1) by report shop/replicaset-web-c")
    );
    assert!(!message.contains("high"));
    assert!(
        response["warnings"][0]
            .as_str()
            .unwrap()
            .contains("redis:7 has no vulnerability report")
    );

    for (has_allowlist, allowed) in [(Some(false), false), (Some(true), true), (None, true)] {
        let known = known("{withoutAllowlist: deny}", has_allowlist);
        let response = ask(&known, "/validate/workloads", &create(&["nginx"]));
        assert_eq!(response["allowed"], allowed, "{has_allowlist:?}");
    }
}

#[test]
fn exempt_namespaces_are_not_looked_at() {
    let yaml =
        "{exemptNamespaces: [legacy], images: {requireDigest: true}, externalAddresses: deny}";
    for (namespace, allowed) in [
        ("kube-system", true),
        ("weir-system", true),
        ("legacy", true),
        ("shop", false),
    ] {
        let mut pod = pod(&["nginx"]);
        pod["metadata"]["namespace"] = json!(namespace);
        assert_eq!(
            workload(yaml, pod, Value::Null)["allowed"],
            allowed,
            "{namespace}"
        );
    }
}

#[test]
fn a_service_may_not_claim_what_is_not_its_own() {
    let service = |addresses: &[&str]| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"externalIPs": addresses}})
    };
    let known = |yaml: &str| Known {
        settings: settings(yaml),
        ..Known::default()
    };
    let ask = |known: &Known, new, old: Value| {
        let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
        ask(
            known,
            "/validate/services",
            &review("", "Service", operation, new, old),
        )
    };
    let deny = known("{externalAddresses: deny}");
    let response = ask(&deny, service(&["192.0.2.1"]), Value::Null);
    assert_eq!(fields(&response), ["spec.externalIPs[0]"]);
    // What it had before is told of, not refused: its other fields can be changed.
    let kept = ask(&deny, service(&["192.0.2.1"]), service(&["192.0.2.1"]));
    assert_eq!(
        (&kept["allowed"], kept["warnings"].as_array().map(Vec::len)),
        (&json!(true), Some(1))
    );
    assert_eq!(
        ask(
            &known("{externalAddresses: warn}"),
            service(&["192.0.2.1"]),
            Value::Null
        )["allowed"],
        true
    );
    assert_eq!(
        ask(&known("{}"), service(&["192.0.2.1"]), Value::Null)["allowed"],
        true
    );
    assert_eq!(ask(&deny, service(&[]), Value::Null)["allowed"], true);
}

#[test]
fn what_is_no_review_is_refused_with_a_reason() {
    let known = Known::default();
    let ask = |body: &[u8]| {
        answer(&known, "/validate/policy", body)
            .unwrap()
            .unwrap_err()
    };
    assert!(matches!(ask(b"{"), BadReview::Form(_)));
    assert!(matches!(ask(b"[]"), BadReview::Form(_)));
    let beta = br#"{"apiVersion": "admission.k8s.io/v1beta1", "request": {"uid": "1"}}"#;
    assert!(matches!(ask(beta), BadReview::Version(_)));
    assert_eq!(
        ask(br#"{"apiVersion": "admission.k8s.io/v1"}"#),
        BadReview::NoRequest
    );
    assert!(answer(&known, "/validate/other", b"{}").is_none());
}

/// Reviews that a real API server sent, where the recordings are beside the repository.
#[test]
fn recorded_reviews_are_answered() {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/k8s-recordings/admission");
    let Ok(files) = std::fs::read_dir(&beside) else {
        eprintln!("skipped: no recordings at {}", beside.display());
        return;
    };
    let mut answered = 0;
    for file in files {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let recorded: Value = serde_json::from_str(&text).unwrap();
        let review = &recorded["request"];
        let known = Known {
            settings: settings(
                "{images: {requireDigest: true}, withoutAllowlist: deny, externalAddresses: deny}",
            ),
            ..Known::default()
        };
        for path in [
            "/validate/policy",
            "/validate/services",
            "/validate/workloads",
        ] {
            ask(&known, path, review);
        }
        // Its kinds were not Weir's of today: what it does not read it refuses, deletion it does not.
        if review["request"]["kind"]["group"] == "weir.dev" {
            let deleted = review["request"]["operation"] == "DELETE";
            assert_eq!(ask(&known, "/validate/policy", review)["allowed"], deleted);
        } else {
            assert_eq!(ask(&known, "/validate/workloads", review)["allowed"], false);
        }
        answered += 1;
    }
    assert!(answered > 10);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z:/@.0-9 ]{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        proptest::sample::select(vec![
            "metadata",
            "name",
            "namespace",
            "spec",
            "template",
            "containers",
            "image",
            "annotations",
            "externalIPs",
            "deletionTimestamp",
            "target",
            "ingress",
            "from",
            "apiVersion",
            "kind",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Any bytes get an answer or a reason.
    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for path in ["/validate/policy", "/validate/services", "/validate/workloads"] {
            let _ = answer(&Known::default(), path, &body);
        }
    }

    /// Any JSON in the place of the objects gets a yes or a no.
    #[test]
    fn any_object_is_answered(
        object in any_json(),
        old in any_json(),
        spec in any_json(),
        kind in proptest::sample::select(vec!["Pod", "Deployment", "CronJob", "Service", "Allowlist", "Guardrail"]),
    ) {
        let known = Known {
            settings: settings(
                "{images: {registries: [a.b], refusedTags: [latest], requireDigest: true, signatureAnnotation: x, \
                 vulnerabilities: {maxCritical: 0, withoutReport: deny}}, withoutAllowlist: deny, externalAddresses: warn}",
            ),
            has_allowlist: Some(false),
            ..Known::default()
        };
        let mut likely = allowlist();
        likely["kind"] = json!(kind);
        likely["spec"] = spec;
        for (group, object) in [("weir.dev", &object), ("", &object), ("weir.dev", &likely), ("", &likely)] {
            let mut asked = review(group, kind, "UPDATE", object.clone(), old.clone());
            asked["request"]["name"] = json!("n");
            asked["request"]["namespace"] = json!("shop");
            for path in ["/validate/policy", "/validate/services", "/validate/workloads"] {
                ask(&known, path, &asked);
            }
        }
    }
}
