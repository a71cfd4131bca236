//! Guardrails in the controller: what they refuse is not published, from files as by commands, and the
//! webhook says the same.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use common::Site;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_api::v1;
use weir_controller::admission::AdmissionConfig;
use weir_controller::{Config, Controller};

const RAIL: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Guardrail
metadata: {name: no-any}
spec:
  rego: |
    package weir.guardrail
    deny contains {\"msg\": \"any is too wide\", \"field\": peer.field, \"next\": \"name the peers\"} if {
      some rule in input.facts.rules
      some peer in rule.peers
      peer.kind == \"any\"
    }
    deny contains \"may not go\" if input.operation == \"DELETE\"
";

fn open_allowlist() -> String {
    "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {name: open, namespace: shop}\n\
     spec: {target: {workload: photo-db}, ingress: [{from: [{any: true}]}]}\n"
        .to_owned()
}

async fn apply(site: &Site, name: &str, content: &str) -> v1::PolicyApplyReply {
    let file = v1::PolicyFile {
        name: name.to_owned(),
        content: content.to_owned(),
    };
    let request = v1::PolicyApplyRequest {
        files: vec![file],
        ..Default::default()
    };
    site.operator()
        .await
        .policy_apply(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guardrail_refuses_is_not_taken() {
    let site = Site::start().await;
    let reply = apply(&site, "rail.yaml", RAIL).await;
    assert!(reply.accepted, "{reply:?}");
    let reply = apply(&site, "open.yaml", &open_allowlist()).await;
    assert!(!reply.accepted);
    let problem = &reply.problems[0];
    assert_eq!(problem.message, "guardrail no-any: any is too wide");
    assert_eq!(problem.field, "spec.ingress[0].from[0]");
    assert_eq!(
        (problem.line, problem.next_step.as_str()),
        (4, "name the peers")
    );

    // Beside the commands: a file that appears, and one that goes.
    let before = site.status_when(|status| status.problems.is_empty()).await;
    std::fs::write(site.path("policy/open.yaml"), open_allowlist()).unwrap();
    let status = site.status_when(|status| !status.problems.is_empty()).await;
    assert!(
        status.problems[0].message.contains("any is too wide"),
        "{status:?}"
    );
    assert_eq!(status.policy_version, before.policy_version);
    std::fs::remove_file(site.path("policy/open.yaml")).unwrap();
    site.status_when(|status| status.problems.is_empty()).await;

    // A guardrail with a mistake is refused with its place.
    let broken = RAIL
        .replace("no-any", "other")
        .replace("peer.kind ==", "peer.kind = =");
    let reply = apply(&site, "broken.yaml", &broken).await;
    assert!(!reply.accepted);
    assert!(
        reply.problems[0].message.starts_with("line 5, column "),
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_stays_and_is_told_of() {
    let mut site = Site::start().await;
    assert!(apply(&site, "open.yaml", &open_allowlist()).await.accepted);
    assert!(apply(&site, "rail.yaml", RAIL).await.accepted);
    let told = |status: &v1::StatusReply| {
        status.problems.iter().any(|it| {
            it.warning
                && it
                    .message
                    .contains("allowlist shop/open is in force, but guardrail no-any")
        })
    };
    site.status_when(told).await;
    site.restart().await;
    let status = site.status_when(told).await;
    assert!(status.problems.iter().all(|it| it.warning), "{status:?}");
}

const PROTECT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: photo-db, namespace: shop}
spec: {target: {workload: photo-db}, mode: protect}
";

/// The state that was accepted is in the store: a change while no controller runs passes by nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_while_no_controller_ran_is_judged_against_what_was_accepted() {
    let mut site = Site::start().await;
    let rego = include_str!("../../guardrail/library/protect_stays.rego");
    let rego = rego.replace('\n', "\n    ");
    let rail = format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Guardrail\nmetadata: {{name: protect-stays}}\n\
         spec:\n  rego: |\n    {rego}\n"
    );
    assert!(apply(&site, "rail.yaml", &rail).await.accepted);
    assert!(apply(&site, "mode.yaml", PROTECT).await.accepted);
    let protected = |status: &v1::StatusReply| {
        let protect = i32::from(v1::Mode::Protect);
        let mut workloads = status.workload_status.iter();
        workloads.any(|it| it.name == "shop/photo-db" && it.mode == protect)
    };
    site.status_when(protected).await;
    let refused = |status: &v1::StatusReply| {
        let words = "guardrail protect-stays: Mode shop/photo-db";
        status.problems.iter().any(|it| it.message.contains(words))
    };
    // Looser, and gone altogether.
    let file = "applied/mode-shop-photo-db.yaml";
    for loosened in [PROTECT.replace("protect", "discover"), String::new()] {
        site.stop().await;
        match loosened.as_str() {
            "" => std::fs::remove_file(site.path("policy").join(file)).unwrap(),
            loosened => site.write(file, loosened),
        }
        site.restart().await;
        assert!(protected(&site.status_when(refused).await));
    }
    site.stop().await;
    let loosened = PROTECT.replace("protect", "discover");
    let excuse = "namespace: shop, annotations: {weir.dev/loosen: a migration}";
    site.write(file, &loosened.replace("namespace: shop", excuse));
    site.restart().await;
    let status = site.status_when(|status| status.problems.is_empty()).await;
    assert!(!protected(&status), "{status:#?}");
}

async fn review(address: SocketAddr, authorities: &Path, path: &str, review: &Value) -> Value {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authorities).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("weir-controller.weir-system.svc").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let body = review.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: w\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    answer["response"].clone()
}

fn asked(kind: &str, operation: &str, object: Value, old: Value) -> Value {
    let about = if object.is_null() { &old } else { &object };
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": operation,
        "kind": {"group": "weir.dev", "version": "v1alpha1", "kind": kind},
        "name": about["metadata"]["name"], "namespace": "shop", "object": object, "oldObject": old,
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_gives_the_verdict_of_the_controller() {
    let mut site = Site::start().await;
    site.stop().await;
    let config = Config {
        admission: Some(AdmissionConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            names: vec!["127.0.0.1".to_owned()],
            configuration: "weir".to_owned(),
        }),
        ..site.config()
    };
    let controller = Controller::start(config).await.unwrap();
    let address = controller.admission_listen.unwrap();
    site.controller = Some(controller);
    assert!(apply(&site, "rail.yaml", RAIL).await.accepted);
    let authorities = site.path("state/webhook/ca.crt");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !site.path("state/webhook/tls.key").exists() && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let ask = async |kind: &str, operation: &str, object: Value, old: Value| {
        let review_of = asked(kind, operation, object, old);
        review(address, &authorities, "/validate/policy", &review_of).await
    };
    let allowlist = |from: Value, application: &str| {
        json!({"apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
            "metadata": {"name": "open", "namespace": "shop"},
            "spec": {"target": {"workload": "photo-db"},
                     "ingress": [{"from": [from], "applications": [application]}]}})
    };
    let any = allowlist(json!({"any": true}), "mysql");
    let refused = ask("Allowlist", "CREATE", any.clone(), Value::Null).await;
    assert_eq!(refused["allowed"], false);
    assert_eq!(refused["status"]["code"], 403);
    assert_eq!(
        refused["status"]["message"],
        "allowlist shop/open: spec.ingress[0].from[0]: guardrail no-any: any is too wide; name the peers"
    );
    let named = allowlist(json!({"workload": "ai-model"}), "mysql");
    let taken = ask("Allowlist", "CREATE", named.clone(), Value::Null).await;
    assert_eq!(taken["allowed"], true, "{taken:#}");
    // What does not compile.
    let unknown = allowlist(json!({"workload": "ai-model"}), "mysqll");
    let refused = ask("Allowlist", "CREATE", unknown, Value::Null).await;
    assert_eq!(refused["status"]["code"], 422);
    assert_eq!(
        refused["status"]["details"]["causes"][0]["field"],
        "spec.ingress[0].applications[0]"
    );
    // A change that opens more is told of.
    let wider = allowlist(json!({"cidr": "0.0.0.0/0"}), "mysql");
    let told = ask("Allowlist", "UPDATE", wider.clone(), named.clone()).await;
    assert_eq!(told["allowed"], true, "{told:#}");
    let warning = told["warnings"].to_string();
    assert!(
        warning.contains("this weakens policy: allowlist shop/open ingress[0]"),
        "{warning}"
    );
    let told = ask("Allowlist", "UPDATE", named.clone(), named.clone()).await;
    assert!(
        !told["warnings"].to_string().contains("weakens"),
        "{told:#}"
    );
    let going = ask("Allowlist", "DELETE", Value::Null, named).await;
    assert_eq!(
        going["status"]["message"],
        "allowlist shop/open: guardrail no-any: may not go"
    );
    site.stop().await;
}
