//! The harness itself, and kubectl against whichever API server there is.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use weir_cluster::{Cluster, TestPod};

/// A CRD with everything that ours use: defaults, bounds, rules, columns, a status.
fn gadgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.tests.weir.dev"},
        "spec": {
            "group": "tests.weir.dev", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "shortNames": ["gd"], "categories": ["weir"]},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"},
                    {"name": "Accepted", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object", "required": ["ports"], "description": "What the gadget is to do.",
                            "properties": {
                                "mode": {"type": "string", "enum": ["monitor", "protect"], "default": "monitor"},
                                "ports": {"type": "array", "maxItems": 3, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
                            },
                            "x-kubernetes-validations": [{
                                "rule": "self.mode != 'protect' || size(self.ports) > 0", "message": "protect needs ports",
                            }],
                        },
                        "status": {"type": "object", "properties": {"conditions": {
                            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                            "items": {"type": "object", "required": ["type", "status"], "properties": {
                                "type": {"type": "string"}, "status": {"type": "string"},
                            }},
                        }}},
                    },
                }},
            }],
        },
    })
}

fn gadget(spec: Value) -> String {
    json!({"apiVersion": "tests.weir.dev/v1alpha1", "kind": "Gadget", "metadata": {"name": "one"}, "spec": spec}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_has_its_owners_and_addresses() {
    let cluster = Cluster::bare().await;
    cluster.namespace("shop", &[("team", "blue")]).await;
    let owner = cluster.deployment("shop", "web").await;
    let pod = TestPod::new("shop", "web-0")
        .labels(&[("app", "web")])
        .owner(owner)
        .node("node-a");
    cluster.pod(pod.addresses(&["10.1.0.7", "fd00::7"])).await;
    cluster
        .service(
            "shop",
            "web",
            json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}),
        )
        .await;
    cluster.endpoints("shop", "web", &["10.1.0.7"], 8080).await;
    cluster.node("node-a", &["10.0.0.1"]).await;
    let pods: Api<Pod> = Api::all(cluster.client());
    let found = pods
        .list(
            &ListParams::default()
                .labels("app=web")
                .fields("spec.nodeName=node-a"),
        )
        .await
        .unwrap();
    let status = found.items[0].status.clone().unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.7"));
    assert_eq!(status.pod_ips.unwrap()[1].ip, "fd00::7");
    assert_eq!(
        found.items[0].metadata.owner_references.as_ref().unwrap()[0].kind,
        "ReplicaSet"
    );
    cluster.remove_pod("shop", "web-0").await;
    assert!(
        pods.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_may_do_what_it_was_allowed_and_no_more() {
    let cluster = Cluster::bare().await;
    let account = cluster
        .service_account(
            "weir-system",
            "weir",
            vec![Cluster::rule("", &["pods"], &["list"])],
        )
        .await;
    let pods: Api<Pod> = Api::all(account.client.clone());
    assert!(pods.list(&ListParams::default()).await.is_ok());
    let maps: Api<ConfigMap> = Api::all(account.client.clone());
    let refused = maps
        .list(&ListParams::default())
        .await
        .unwrap_err()
        .to_string();
    let words =
        "User \"system:serviceaccount:weir-system:weir\" cannot list resource \"configmaps\"";
    assert!(refused.contains(words), "{refused}");
    cluster
        .allow(
            "weir-system",
            "weir",
            vec![Cluster::rule("", &["configmaps"], &["list"])],
        )
        .await;
    assert!(maps.list(&ListParams::default()).await.is_ok());
    assert!(
        pods.list(&ListParams::default()).await.is_err(),
        "what is not allowed any more is refused"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_changes_explains_waits_and_deletes() {
    let cluster = Cluster::bare().await;
    let Some(kubectl) = cluster.kubectl("kubectl_applies_changes_explains_waits_and_deletes")
    else {
        return;
    };
    kubectl
        .run_with(&["apply", "-f", "-"], &gadgets().to_string())
        .await
        .unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Established",
            "crd/gadgets.tests.weir.dev",
            "--timeout=20s",
        ])
        .await
        .unwrap();
    kubectl
        .run_with(&["apply", "-f", "-"], &gadget(json!({"ports": [80]})))
        .await
        .unwrap();
    let again = kubectl
        .run_with(&["apply", "-f", "-"], &gadget(json!({"ports": [80]})))
        .await
        .unwrap();
    assert_eq!(again, "gadget.tests.weir.dev/one unchanged\n");
    let shown = kubectl.run(&["get", "weir"]).await.unwrap();
    assert!(
        shown
            .lines()
            .next()
            .is_some_and(|line| line.contains("MODE") && line.contains("ACCEPTED")),
        "{shown}"
    );
    assert!(shown.contains("monitor"), "{shown}");
    kubectl
        .run(&[
            "patch",
            "gd",
            "one",
            "--type=merge",
            "-p",
            r#"{"spec":{"mode":"protect"}}"#,
        ])
        .await
        .unwrap();
    let status = r#"{"status":{"conditions":[{"type":"Accepted","status":"True"}]}}"#;
    kubectl
        .run(&[
            "patch",
            "gd",
            "one",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ])
        .await
        .unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Accepted",
            "gd/one",
            "--timeout=20s",
        ])
        .await
        .unwrap();
    let generation = kubectl
        .run(&["get", "gd", "one", "-o", "jsonpath={.metadata.generation}"])
        .await
        .unwrap();
    assert_eq!(generation, "2", "a status is no new generation");
    let explained = kubectl.run(&["explain", "gadgets.spec"]).await.unwrap();
    assert!(
        explained.contains("What the gadget is to do."),
        "{explained}"
    );
    let server_side = gadget(json!({"ports": [443], "mode": "protect"}));
    let conflict = kubectl
        .run_with(&["apply", "--server-side", "-f", "-"], &server_side)
        .await
        .unwrap_err();
    assert!(conflict.contains("conflict"), "{conflict}");
    kubectl
        .run_with(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &server_side,
        )
        .await
        .unwrap();
    kubectl
        .run(&["annotate", "gd", "one", "why=shown"])
        .await
        .unwrap();
    kubectl
        .run(&["delete", "gd", "one", "--timeout=20s"])
        .await
        .unwrap();
    let gone = kubectl.run(&["get", "gd", "one"]).await.unwrap_err();
    assert!(
        gone.contains("gadgets.tests.weir.dev \"one\" not found"),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_is_told_what_is_wrong_with_an_object() {
    let cluster = Cluster::bare().await;
    let Some(kubectl) = cluster.kubectl("kubectl_is_told_what_is_wrong_with_an_object") else {
        return;
    };
    cluster.apply_crd(&gadgets(), "this test").await;
    let refused = kubectl
        .run_with(
            &["apply", "-f", "-"],
            &gadget(json!({"ports": [0, 70000], "mode": "open"})),
        )
        .await
        .unwrap_err();
    for words in [
        "spec.ports[0]: Invalid value: 0: spec.ports[0] in body should be greater than or equal to 1",
        "spec.ports[1]: Invalid value: 70000: spec.ports[1] in body should be less than or equal to 65535",
        "spec.mode: Unsupported value: \"open\": supported values: \"monitor\", \"protect\"",
    ] {
        assert!(refused.contains(words), "{words}\nnot in\n{refused}");
    }
    let refused = kubectl
        .run_with(
            &["apply", "-f", "-"],
            &gadget(json!({"ports": [], "mode": "protect"})),
        )
        .await
        .unwrap_err();
    assert!(refused.contains("protect needs ports"), "{refused}");
    let refused = kubectl
        .run_with(
            &["apply", "-f", "-"],
            &gadget(json!({"ports": [1], "portz": [2]})),
        )
        .await
        .unwrap_err();
    assert!(
        refused.contains("unknown field \"spec.portz\""),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_crd_that_weir_ships_is_accepted_and_served() {
    let cluster = Cluster::start().await;
    let discovery = kube::Discovery::new(cluster.client())
        .filter(&["weir.dev"])
        .run()
        .await
        .unwrap();
    let shipped =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal/crds");
    let files = std::fs::read_dir(shipped).map_or(0, |entries| entries.flatten().count());
    let served = discovery
        .groups()
        .flat_map(|group| group.recommended_resources())
        .count();
    assert!(served >= files.min(1), "{served} kinds of {files} files");
}
