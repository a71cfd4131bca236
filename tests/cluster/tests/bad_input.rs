//! What is too old, too large or too wide: it is named, and policy that was good stays in force.

mod site;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use weir_api::v1;
use weir_apiserver::{Fault, Which};
use weir_cluster::{Cluster, TestPod};

use crate::site::{Site, custom, object, workload};

const CRD: &str = include_str!("../../../deploy/baremetal/crds/weir.dev_allowlists.yaml");

fn allowlist(name: &str, spec: &Value) -> DynamicObject {
    object(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
    }))
}

fn rules(status: &v1::StatusReply, name: &str) -> Option<u32> {
    workload(status, name).map(|it| it.rules)
}

/// A cluster where web may be reached at port 80.
async fn shop() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.namespace("shop", &[]).await;
    let web = TestPod::new("shop", "web").labels(&[("app", "web")]);
    cluster.pod(web.addresses(&["10.1.0.7"])).await;
    let good = json!({"target": {"workload": "web"}, "ingress": [{"from": [{"any": true}], "ports": [80]}]});
    custom(&cluster, "Allowlist", "allowlists")
        .create(&PostParams::default(), &allowlist("web", &good))
        .await
        .unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crds_of_another_version_are_named_and_nobody_is_governed_by_nothing() {
    let cluster = Cluster::bare().await;
    let mut old: Value = serde_yaml_ng::from_str(CRD).unwrap();
    old["spec"]["versions"][0]["name"] = json!("v1alpha0");
    cluster.apply_crd(&old, "an older release").await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let status = site
        .status_when("the kinds that are missing", |status| {
            let mut problems = status.problems.iter();
            problems.any(|it| it.next_step.contains("deploy/baremetal/crds"))
        })
        .await;
    assert_eq!(status.policy_version, 0, "{status:#?}");
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let crds: Api<DynamicObject> = Api::all_with(cluster.client(), &ApiResource::from_gvk(&kind));
    crds.delete("allowlists.weir.dev", &DeleteParams::default())
        .await
        .unwrap();
    cluster.apply_crds().await;
    site.status_when("policy", |status| {
        status.problems.is_empty() && status.policy_version > 0
    })
    .await;
    site.controller.stop().await;
}

/// Each is refused by the API server with a reason, or taken without harm to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_are_huge_leave_the_rest_in_force() {
    let cluster = shop().await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    site.status_when("the rule", |status| rules(status, "shop/web") == Some(1))
        .await;
    let values: Vec<String> = (0..10_000).map(|number| format!("team-{number}")).collect();
    let one =
        json!({"from": [{"workload": "w".repeat(60)}], "ports": [3306], "protocols": ["tcp"]});
    let many: Vec<Value> = (0..11_000).map(|_| one.clone()).collect();
    let selector =
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": values}]});
    let huge = [
        (
            "values",
            json!({"target": {"workload": "web"}, "ingress": [{"from": [selector], "ports": [81]}]}),
        ),
        (
            "rules",
            json!({"target": {"workload": "web"}, "ingress": many}),
        ),
    ];
    let allowlists = custom(&cluster, "Allowlist", "allowlists");
    for (name, spec) in huge {
        let created = allowlists
            .create(&PostParams::default(), &allowlist(name, &spec))
            .await;
        match created {
            Ok(_) => println!("{name}: taken by the API server"),
            Err(kube::Error::Api(refused)) => {
                let message = &refused.message;
                println!("{name}: {}", &message[..message.len().min(200)]);
                assert!(
                    message.contains("spec") || message.contains("large"),
                    "{message}"
                );
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    let other = json!({"target": {"workload": "web"}, "ingress": [{"from": [{"any": true}], "ports": [443]}]});
    allowlists
        .patch(
            "other",
            &PatchParams::apply("test"),
            &Patch::Apply(&allowlist("other", &other)),
        )
        .await
        .unwrap();
    site.status_when("what came after", |status| {
        rules(status, "shop/web").is_some_and(|rules| rules >= 2)
    })
    .await;
    site.controller.stop().await;
}

/// Everybody of its namespace, and nobody of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_that_matches_everything_stays_in_its_namespace() {
    let cluster = shop().await;
    cluster.namespace("bank", &[]).await;
    let vault = TestPod::new("bank", "vault").labels(&[("app", "vault")]);
    cluster.pod(vault.addresses(&["10.1.0.8"])).await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let all = json!({"target": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "ingress": [{"from": [{"any": true}], "ports": [22]}]});
    let created = custom(&cluster, "Allowlist", "allowlists")
        .create(&PostParams::default(), &allowlist("all", &all))
        .await;
    created.unwrap();
    let status = site
        .status_when("the rule", |status| rules(status, "shop/web") == Some(2))
        .await;
    assert_eq!(rules(&status, "bank/vault"), Some(0), "{status:#?}");
    site.controller.stop().await;
}

/// Answers that are of another kind, a proxy's page, or cut off in the middle: none of it is taken for what
/// the cluster is like, and the status says what comes instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_none_change_nothing_and_are_told() {
    let cluster = shop().await;
    let name = "answers_that_are_none_change_nothing_and_are_told";
    let Some(server) = cluster.faults_or_skip(name) else {
        return;
    };
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let good = |status: &v1::StatusReply| {
        workload(status, "shop/web").is_some_and(|it| it.rules == 1 && it.addresses.len() == 1)
    };
    let mut before = site.status_when("the rule", good).await;
    let list = |kind: &str, group: &str| json!({"kind": kind, "apiVersion": group, "metadata": {"resourceVersion": "1"}, "items": []});
    let html = || Fault::Garbage("<!doctype html><title>502 Bad Gateway</title>".to_owned());
    let going = json!({"type": "DELETED", "object": {"kind": "Secret", "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "9"}}});
    let half =
        r#"{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","#;
    let (pods, policy) = ("/pods", "/allowlists");
    let cases: Vec<(&str, Vec<(Which, Fault)>)> = vec![
        (
            "lists of another kind",
            vec![
                (
                    Which::path(pods).no_watches(),
                    Fault::Answer(list("ConfigMapList", "v1")),
                ),
                (
                    Which::path(policy).no_watches(),
                    Fault::Answer(list("StatusList", "v1")),
                ),
                (
                    Which::path("/weir.dev/v1alpha1/services").no_watches(),
                    Fault::Answer(list("ServiceList", "v1")),
                ),
            ],
        ),
        (
            "events of another kind",
            vec![(Which::path(pods).only_watches(), Fault::Answer(going))],
        ),
        (
            "half an event",
            vec![
                (
                    Which::path(pods).only_watches(),
                    Fault::Garbage(half.to_owned()),
                ),
                (Which::path(policy).only_watches(), Fault::Cut),
            ],
        ),
        (
            "a proxy's page to everything",
            vec![(Which::path("/api"), html())],
        ),
        (
            "no answer in time",
            vec![(
                Which::path("/api"),
                Fault::Slow(std::time::Duration::from_secs(120)),
            )],
        ),
    ];
    for (number, (what, faults)) in cases.into_iter().enumerate() {
        for (which, fault) in faults {
            server.faults().always(which.user("admin"), fault);
        }
        // Lists too, not only watches that go on from where they were.
        server.compact();
        server.faults().drop_connections();
        let told = site
            .status_when(what, |status| {
                status
                    .problems
                    .iter()
                    .any(|it| !it.warning && it.message.contains("API server"))
            })
            .await;
        println!("{what}: {}", told.problems[0].message);
        assert!(good(&told), "{what}: {told:#?}");
        assert_eq!(told.workload_status, before.workload_status, "{what}");
        server.faults().clear();
        server.faults().drop_connections();
        let name = format!("late-{number}");
        let pod = TestPod::new("shop", &name);
        cluster
            .pod(pod.addresses(&[&format!("10.1.1.{number}")]))
            .await;
        let well = |status: &v1::StatusReply| {
            let pod = workload(status, &format!("shop/{name}"));
            status.problems.is_empty() && pod.is_some_and(|it| it.addresses.len() == 1)
        };
        let after = site.status_when(&format!("{what}: well again"), well).await;
        assert!(good(&after), "{what}: {after:#?}");
        before = after;
    }
    site.controller.stop().await;
}
