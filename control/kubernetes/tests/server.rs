//! The source against an API server of this process: what is ordinary there, and what goes wrong.

mod site;

use std::time::Duration;

use serde_json::json;
use site::*;
use weir_apiserver::{Fault, Which};
use weir_kubernetes::ClaimAction;
use weir_model::Document;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_told_whole_and_then_as_it_changes() {
    let site = Site::start().await;
    site.install().await;
    site.create(node("worker-1")).await;
    site.address("worker-1", "192.0.2.1").await;
    site.create(replica_set("web-1", "web")).await;
    site.create(pod("web-1-a", Some("web-1"))).await;
    site.bind("web-1-a", &["10.1.0.1", "fd00::1"]).await;
    site.create(service("web", json!({"selector": {"app": "web"}})))
        .await;
    site.create(allowlist("web", "web")).await;
    let mut source = site.source("admin").await;
    source.until("everything", |it| it.everythings == 1).await;
    assert!(source.conditions.is_empty(), "{:?}", source.conditions);
    let workload = source.workload("shop/web");
    assert_eq!(addresses(&workload), ["10.1.0.1", "fd00::1"]);
    assert_eq!(workload.spec.owner.as_deref(), Some("Deployment"));
    assert_eq!(addresses(&source.workload("nodes/worker-1")), ["192.0.2.1"]);
    assert!(source.has("allowlist shop/web"));
    assert!(source.has("namespace kube-system"));
    let service = source.told.values().find_map(|document| match document {
        Document::Service(it) if it.metadata.name == "web" => Some(it.clone()),
        _ => None,
    });
    assert_eq!(service.unwrap().spec.workloads[0].to_string(), "shop/web");

    site.create(pod("web-1-b", Some("web-1"))).await;
    site.bind("web-1-b", &["10.1.0.2"]).await;
    source
        .until("the second pod", |it| {
            it.addresses_of("shop/web").len() == 3
        })
        .await;
    site.delete("/api/v1/namespaces/shop/pods/web-1-a").await;
    source
        .until("the first pod is gone", |it| {
            it.addresses_of("shop/web") == ["10.1.0.2"]
        })
        .await;
    let before = weir_sources_revision(&source, "allowlist shop/web");
    let mut changed = allowlist("web", "web");
    changed["spec"]["ingress"][0]["ports"] = json!([8080]);
    site.apply(changed).await;
    source
        .until("the allowlist changes", |it| {
            weir_sources_revision(it, "allowlist shop/web") > before
        })
        .await;
    site.delete(&format!("{WEIR}/namespaces/shop/allowlists/web"))
        .await;
    source
        .until("the allowlist is gone", |it| !it.has("allowlist shop/web"))
        .await;
    let who = source
        .source
        .who_had("10.1.0.1".parse().unwrap(), std::time::SystemTime::now());
    assert_eq!(who, None, "nobody has it any more");
}

/// How often, to which requests, and what.
type Planned = (usize, Which, Fault);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_goes_wrong_is_taken_for_a_deletion() {
    let site = Site::start().await;
    site.install().await;
    site.create(pod("p0", None)).await;
    site.bind("p0", &["10.1.0.100"]).await;
    site.create(allowlist("p0", "p0")).await;
    let mut source = site.source("admin").await;
    source.until("everything", |it| it.everythings == 1).await;
    let pods = || Which::path("/pods").method("GET");
    let custom = || Which::path("/allowlists").method("GET");
    let status = |code| Fault::Error(code);
    let faults: Vec<(&str, Vec<Planned>)> = vec![
        ("a lost connection", vec![]),
        (
            "410 in the watch",
            vec![(1, pods().only_watches(), Fault::Gone)],
        ),
        (
            "410 in both",
            vec![
                (1, pods().only_watches(), Fault::Gone),
                (2, pods().no_watches(), Fault::Gone),
                (1, custom().only_watches(), Fault::Gone),
            ],
        ),
        (
            "patience",
            vec![
                (2, custom(), Fault::TooManyRequests { retry_after_s: 1 }),
                (2, pods(), Fault::TooManyRequests { retry_after_s: 1 }),
            ],
        ),
        (
            "trouble",
            vec![(3, pods(), status(500)), (2, custom(), status(503))],
        ),
        ("an answer that is cut off", vec![(2, pods(), Fault::Cut)]),
        (
            "what cannot be read",
            vec![
                (
                    1,
                    pods().only_watches(),
                    Fault::Garbage("<html>proxy</html>".to_owned()),
                ),
                (
                    1,
                    pods().no_watches(),
                    Fault::Garbage("{\"items\": 7}".to_owned()),
                ),
            ],
        ),
        (
            "no answer",
            vec![(1, pods(), Fault::Slow(Duration::from_secs(30)))],
        ),
        ("dropped requests", vec![(3, Which::all(), Fault::Drop)]),
    ];
    for (number, (what, planned)) in faults.into_iter().enumerate() {
        let number = number + 1;
        for (count, which, fault) in planned {
            site.server.faults().next(count, which, fault);
        }
        site.server.faults().drop_connections();
        let name = format!("p{number}");
        site.create_patiently(pod(&name, None)).await;
        site.bind(&name, &[&format!("10.1.0.{number}")]).await;
        let workload = format!("shop/{name}");
        source
            .until(what, |it| it.addresses_of(&workload).len() == 1)
            .await;
        site.server.faults().clear();
    }
    // The server forgets its history and goes; what is deleted meanwhile is gone, and nothing else.
    site.delete("/api/v1/namespaces/shop/pods/p1").await;
    source
        .until("p1 is gone", |it| !it.has("workload shop/p1"))
        .await;
    assert_eq!(source.removed, ["workload shop/p1"]);
    site.server.compact();
    site.server.stop().await;
    source
        .until("the condition", |it| {
            it.conditions.contains("cannot be reached")
        })
        .await;
    site.server.restart().await.unwrap();
    site.create_patiently(pod("last", None)).await;
    source
        .until("after the restart", |it| {
            it.has("workload shop/last") && it.conditions.is_empty()
        })
        .await;
    assert_eq!(source.removed, ["workload shop/p1"]);
    assert_eq!(source.everythings, 1);
    assert!(source.has("allowlist shop/p0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_waited_for() {
    let site = Site::start().await;
    site.install().await;
    site.create(pod("p", None)).await;
    site.server.stop().await;
    let mut source = site.source("admin").await;
    source
        .until("the condition", |it| {
            it.conditions.contains("cannot be reached")
        })
        .await;
    assert!(
        source.conditions.contains("Connection refused"),
        "{}",
        source.conditions
    );
    assert_eq!(source.everythings, 0);
    site.server.restart().await.unwrap();
    source
        .until("everything", |it| {
            it.everythings == 1 && it.conditions.is_empty()
        })
        .await;
    assert!(source.has("workload shop/p"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_seen_is_named_and_the_rest_goes_on() {
    let site = Site::start().await;
    site.install().await;
    site.create(pod("p", None)).await;
    let all = json!([
        {"apiGroups": ["", "apps", "batch", "discovery.k8s.io", "weir.dev"],
         "resources": ["pods", "namespaces", "endpointslices", "nodes", "serviceaccounts", "replicasets", "deployments",
                       "statefulsets", "daemonsets", "jobs", "cronjobs"],
         "verbs": ["list", "watch"]},
        {"apiGroups": ["weir.dev"], "resources": ["*"], "verbs": ["list", "watch"]}
    ]);
    site.grant(all).await;
    let mut source = site
        .source("system:serviceaccount:weir-system:weir-control")
        .await;
    source.until("everything", |it| it.everythings == 1).await;
    source
        .until("the condition", |it| {
            it.conditions.contains("may not list services")
        })
        .await;
    let command = "kubectl auth can-i list services --all-namespaces \
                   --as 'system:serviceaccount:weir-system:weir-control'";
    assert!(source.conditions.contains(command), "{}", source.conditions);
    assert!(source.has("workload shop/p"));
    site.create(service("web", json!({"selector": {"app": "web"}})))
        .await;
    let services = json!([
        {"apiGroups": ["", "apps", "batch", "discovery.k8s.io", "weir.dev"],
         "resources": ["*"], "verbs": ["list", "watch"]}
    ]);
    site.grant(services).await;
    source
        .until("the service", |it| {
            it.has("service shop/web") && it.conditions.is_empty()
        })
        .await;
    // Taken away again: named, and what is known stays.
    let pods_alone = json!([
        {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}
    ]);
    site.grant(pods_alone).await;
    site.server.faults().drop_connections();
    source
        .until("the condition", |it| it.conditions.contains("may not"))
        .await;
    assert!(source.has("workload shop/p") && source.removed.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_kinds_of_weir_nothing_is_told_until_they_come() {
    let site = Site::start().await;
    let mut source = site.source("admin").await;
    source
        .until("the condition", |it| {
            it.conditions.contains("none of Weir's kinds")
        })
        .await;
    assert!(
        source
            .conditions
            .contains("kubectl apply -k deploy/baremetal/crds")
    );
    assert_eq!(source.everythings, 0, "nobody may be governed by nothing");
    site.install().await;
    source
        .until("everything", |it| {
            it.everythings == 1 && it.conditions.is_empty()
        })
        .await;
    site.create(allowlist("db", "db")).await;
    source
        .until("an allowlist", |it| it.has("allowlist shop/db"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_object_holds_no_other_up_and_its_good_state_stays() {
    let site = Site::start().await;
    site.install().await;
    site.create(allowlist("db", "db")).await;
    let mut source = site.source("admin").await;
    source.until("everything", |it| it.everythings == 1).await;
    // What an older schema let in.
    let mut old = allowlist("db", "db");
    old["spec"]["allowFrom"] = json!(["everybody"]);
    site.apply(old).await;
    source
        .until("it is refused", |it| it.invalid.contains("allowFrom"))
        .await;
    assert!(source.has("allowlist shop/db"));
    site.create(allowlist("web", "web")).await;
    let rule = json!({"from": [{"workload": "w".repeat(60)}], "ports": [3306]});
    let mut large = allowlist("large", "db");
    large["spec"]["ingress"] = (0..10_000).map(|_| rule.clone()).collect();
    assert!(large.to_string().len() > 700_000);
    site.create(large).await;
    source
        .until("the others", |it| {
            it.has("allowlist shop/web") && it.has("allowlist shop/large")
        })
        .await;
    site.apply(allowlist("db", "db")).await;
    source
        .until("it is good again", |it| it.invalid.is_empty())
        .await;
    assert!(source.removed.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_claims_of_others_is_told() {
    let mut site = Site::start().await;
    site.install().await;
    site.action = ClaimAction::Refuse;
    let mut source = site.source("admin").await;
    source.until("everything", |it| it.everythings == 1).await;
    let claims = source.source.claims();
    let grab = json!({"selector": {"app": "web"}, "externalIPs": ["8.8.8.8"]});
    site.create(service("grab", grab)).await;
    source
        .until("the claim", |it| it.conditions.contains("claims 8.8.8.8"))
        .await;
    assert_eq!(claims.borrow().len(), 1);
    assert!(
        !source
            .addresses_of("shop/grab")
            .contains(&"8.8.8.8".to_owned())
    );
    site.delete("/api/v1/namespaces/shop/services/grab").await;
    source
        .until("it is gone", |it| it.conditions.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_went_back_in_time_is_noticed() {
    let server = Backwards::start().await;
    let mut source = Told::start(settings(server.kubeconfig.clone())).await;
    source
        .until("everything", |it| it.has("workload shop/before"))
        .await;
    server.go_back();
    // The watch goes on from a version that the server will not reach for long, in silence.
    source
        .until("what is there now", |it| {
            it.has("workload shop/after") && !it.has("workload shop/before")
        })
        .await;
}
