//! `weir-controller --source kubernetes` as an operator sees it, from the API server's objects.

mod site;

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use weir_api::v1;
use weir_cluster::{Cluster, TestPod};

use crate::site::{Site, custom, object, workload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_and_policy_of_the_cluster_are_enforced_and_only_kubectl_changes_them() {
    let cluster = Cluster::start().await;
    cluster.namespace("shop", &[]).await;
    let deployment = cluster.deployment("shop", "web").await;
    let pod = TestPod::new("shop", "web-1-a").labels(&[("app", "web")]);
    cluster
        .pod(pod.owner(deployment).addresses(&["10.1.0.7", "fd00::7"]))
        .await;
    let allowlists = custom(&cluster, "Allowlist", "allowlists");
    let web = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"target": {"workload": "web"}, "ingress": [{"from": [{"any": true}], "ports": [80]}]}
    });
    allowlists
        .create(&PostParams::default(), &object(web))
        .await
        .unwrap();
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let status = site
        .status_when("the workload", |status| {
            workload(status, "shop/web").is_some_and(|it| it.rules == 1)
        })
        .await;
    assert!(
        status.source.starts_with("kubernetes https://"),
        "{}",
        status.source
    );
    let web = workload(&status, "shop/web").unwrap();
    assert_eq!(web.addresses, ["10.1.0.7", "fd00::7"]);

    // A mode by command: refused with the object to give to kubectl, and that does it.
    let request = v1::ModeSetRequest {
        workloads: vec!["shop/web".to_owned()],
        mode: v1::Mode::Protect.into(),
        ..Default::default()
    };
    let refused = site.operator.mode_set(request).await.unwrap_err();
    let (words, yaml) = refused.message().split_once("---\n").unwrap();
    assert!(words.contains("kubectl apply -f -"), "{words}");
    let (documents, problems) = documents_of(yaml);
    assert!(problems.is_empty() && documents.len() == 1, "{yaml}");
    let modes = custom(&cluster, "Mode", "modes");
    let mode = object(documents[0].clone());
    modes.create(&PostParams::default(), &mode).await.unwrap();
    let protect = i32::from(v1::Mode::Protect);
    site.status_when("protect", |status| {
        workload(status, "shop/web").is_some_and(|it| it.mode == protect)
    })
    .await;
    let request = v1::PolicyApplyRequest {
        files: vec![v1::PolicyFile {
            name: "web.yaml".to_owned(),
            content: yaml.to_owned(),
        }],
        dry_run: false,
    };
    let refused = site.operator.policy_apply(request).await.unwrap_err();
    assert!(
        refused
            .message()
            .contains("`kubectl apply -f \"web.yaml\"`"),
        "{refused}"
    );

    // The pod goes, and its address with it; the workload stays, since its Deployment does.
    cluster.remove_pod("shop", "web-1-a").await;
    site.status_when("no address", |status| {
        workload(status, "shop/web").is_some_and(|it| it.addresses.is_empty())
    })
    .await;
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_claims_others_addresses_raises_an_alert() {
    let cluster = Cluster::start().await;
    cluster.namespace("shop", &[]).await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let spec =
        json!({"selector": {"app": "web"}, "ports": [{"port": 80}], "externalIPs": ["192.0.2.53"]});
    cluster.service("shop", "grab", spec).await;
    let status = site
        .status_when("the alert and the condition", |status| {
            let raised = status.alerts.as_ref().map(|alerts| alerts.raised);
            raised == Some(1) && !status.problems.is_empty()
        })
        .await;
    let told = status.problems.iter().map(|it| it.message.as_str());
    let told = told.collect::<Vec<_>>().join("\n");
    assert!(
        told.contains("service shop/grab claims 192.0.2.53"),
        "{told}"
    );
    let mut alerts = site
        .operator
        .alerts(v1::AlertsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let alert = alerts
        .message()
        .await
        .unwrap()
        .unwrap()
        .record
        .unwrap()
        .alert
        .unwrap();
    assert_eq!(alert.name, "k8s-mitm-external-ip");
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_policy_holds_while_the_server_is_away() {
    let cluster = Cluster::start().await;
    let name = "the_last_good_policy_holds_while_the_server_is_away";
    let Some(server) = cluster.faults_or_skip(name) else {
        return;
    };
    cluster.namespace("shop", &[]).await;
    cluster
        .pod(TestPod::new("shop", "db").addresses(&["10.1.0.9"]))
        .await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let known = |status: &v1::StatusReply| workload(status, "shop/db").is_some();
    let before = site.status_when("the pod", known).await;
    server.stop().await;
    let away = |status: &v1::StatusReply| {
        let mut problems = status.problems.iter();
        problems.any(|it| it.message.contains("cannot be reached"))
    };
    let during = site.status_when("the problem", away).await;
    assert_eq!(during.policy_version, before.policy_version);
    // A controller that starts now waits, with the policy that it remembers.
    site.controller.stop().await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let after = site.status_when("the problem again", away).await;
    assert!(
        known(&after) && after.policy_version >= before.policy_version,
        "{after:#?}"
    );
    server.restart().await.unwrap();
    site.status_when("it is well", |status| status.problems.is_empty())
        .await;
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_missing_are_named_in_the_status() {
    let cluster = Cluster::start().await;
    let all = [
        "pods",
        "namespaces",
        "nodes",
        "endpointslices",
        "serviceaccounts",
        "replicasets",
        "deployments",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
    ];
    let verbs = ["list", "watch"];
    let groups = ["", "apps", "batch", "discovery.k8s.io"];
    let mut rules: Vec<Value> = groups
        .iter()
        .map(|group| Cluster::rule(group, &all, &verbs))
        .collect();
    rules.push(Cluster::rule("weir.dev", &["*"], &verbs));
    cluster.namespace("weir-system", &[]).await;
    let account = cluster.service_account("weir-system", "weir", rules).await;
    let path = cluster.folder().join("weir.yaml");
    std::fs::write(&path, &account.kubeconfig).unwrap();
    let mut site = Site::start(&cluster, &path).await;
    let command = "kubectl auth can-i list services --all-namespaces \
                   --as 'system:serviceaccount:weir-system:weir'";
    site.status_when("the condition", |status| {
        let mut problems = status.problems.iter();
        problems.any(|it| it.next_step.contains(command))
    })
    .await;
    cluster.namespace("shop", &[]).await;
    cluster
        .pod(TestPod::new("shop", "db").addresses(&["10.1.0.9"]))
        .await;
    site.status_when("the rest goes on", |status| {
        workload(status, "shop/db").is_some()
    })
    .await;
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_that_is_shipped_suffices() {
    let cluster = Cluster::start().await;
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/baremetal/kustomize/rbac.yaml"
    );
    let (objects, bad) = documents_of(&std::fs::read_to_string(path).unwrap());
    assert!(bad.is_empty(), "{bad:?}");
    let roles = objects.iter().filter(|object| {
        let kind = &object["kind"];
        (kind == "ClusterRole" || kind == "Role") && object["metadata"]["name"] == "weir-controller"
    });
    let rules = roles.flat_map(|role| role["rules"].as_array().unwrap().clone());
    let rules = rules.collect();
    let account = cluster
        .service_account("weir-system", "weir-controller", rules)
        .await;
    let path = cluster.folder().join("weir.yaml");
    std::fs::write(&path, &account.kubeconfig).unwrap();
    let mut site = Site::start(&cluster, &path).await;
    cluster.namespace("shop", &[]).await;
    cluster
        .pod(TestPod::new("shop", "db").addresses(&["10.1.0.9"]))
        .await;
    let status = site
        .status_when("the pod", |status| workload(status, "shop/db").is_some())
        .await;
    assert!(status.problems.is_empty(), "{:?}", status.problems);
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowlist_that_is_applied_and_deleted_comes_and_goes() {
    let cluster = Cluster::start().await;
    cluster.namespace("shop", &[]).await;
    cluster
        .pod(TestPod::new("shop", "db").addresses(&["10.1.0.9"]))
        .await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    let allowlists = custom(&cluster, "Allowlist", "allowlists");
    let db = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist", "metadata": {"name": "db"},
        "spec": {"target": {"workload": "db"}, "ingress": [{"from": [{"any": true}], "ports": [5432]}]}
    });
    let apply = PatchParams::apply("test");
    allowlists
        .patch("db", &apply, &Patch::Apply(&db))
        .await
        .unwrap();
    site.status_when("the rule", |status| {
        workload(status, "shop/db").is_some_and(|it| it.rules == 1)
    })
    .await;
    allowlists.delete("db", &Default::default()).await.unwrap();
    site.status_when("no rule", |status| {
        workload(status, "shop/db").is_some_and(|it| it.rules == 0)
    })
    .await;
    site.controller.stop().await;
}

/// The documents of a stream as JSON.
fn documents_of(yaml: &str) -> (Vec<Value>, Vec<String>) {
    let read =
        |text: &str| serde_yaml_ng::from_str::<Value>(text).map_err(|error| error.to_string());
    let (good, bad): (Vec<_>, Vec<_>) = yaml.split("---\n").map(read).partition(Result::is_ok);
    (
        good.into_iter().flatten().collect(),
        bad.into_iter().filter_map(Result::err).collect(),
    )
}
