//! Two controllers of one cluster: who leads says of objects what became of them, true to what nodes told
//! either, and what nodes told outlives the one that heard it.

mod replica;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use weir_api::v1;
use weir_apiserver::{Fault, User, Which};
use weir_cluster::PATIENCE;

use crate::replica::{
    Replica, allowlist, allowlists, apply, cluster, condition, leader, node, status_when,
    watched_node,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_true_to_the_nodes_of_every_controller_and_outlive_the_leader() {
    let cluster = cluster().await;
    let mut first = Replica::start(&cluster, "first").await;
    let leads = leader(&cluster).await;
    let second = Replica::start(&cluster, "second").await;
    // One node at each controller.
    let nodes = [
        node(&first, "node-1", false).await,
        node(&second, "node-2", false).await,
    ];
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "enforced by both", |status| {
        status["programmed"] == "2/2"
    })
    .await;
    assert_eq!(status["targets"], 1, "{status:#}");
    assert_eq!(status["hits"], 0, "{status:#}");
    for (replica, is_leader) in [(&first, true), (&second, false)] {
        let mut operator = replica.operator().await;
        let answer = operator.status(v1::StatusRequest {}).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.leader, leads);
        assert_eq!(answer.controller == leads, is_leader, "{answer:?}");
    }
    for (kind, wanted) in [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
        ("Programmed", "True"),
        ("Degraded", "False"),
    ] {
        assert_eq!(condition(&status, kind)["status"], wanted, "{status:#}");
    }
    let since = condition(&status, "Programmed")["lastTransitionTime"].clone();
    if let Some(kubectl) = cluster.kubectl("conditions as kubectl shows them") {
        let wait = [
            "wait",
            "--for=condition=Programmed",
            "allowlists/db",
            "-n",
            "shop",
            "--timeout=30s",
        ];
        let said = kubectl.run(&wait).await.unwrap();
        assert!(said.contains("condition met"), "{said}");
        let table = kubectl.run(&["get", "allowlists", "-A"]).await.unwrap();
        println!("{table}");
        assert!(
            table.contains("PROGRAMMED") && table.contains("2/2"),
            "{table}"
        );
        let leases = ["get", "leases", "-n", "weir-system"];
        println!("{}", kubectl.run(&leases).await.unwrap());
    }

    // The leader is lost, and with it the node's only connection.
    let killed = first.name;
    first.kill();
    nodes[0].abort();
    let deadline = Instant::now() + PATIENCE;
    while leader(&cluster).await == leads {
        assert!(Instant::now() < deadline, "nobody takes over from {killed}");
        sleep(Duration::from_millis(100)).await;
    }
    // What the node told the first is not forgotten: nothing changes.
    sleep(Duration::from_secs(3)).await;
    let status = status_when(&cluster, "still enforced", |_| true).await;
    assert_eq!(status["programmed"], "2/2", "{status:#}");
    let programmed = condition(&status, "Programmed");
    assert_eq!(programmed["lastTransitionTime"], since, "{status:#}");
    // What is new it cannot have.
    apply(&cluster, allowlist(5433)).await;
    let status = status_when(&cluster, "enforced by one", |status| {
        status["programmed"] == "1/2"
    })
    .await;
    assert_eq!(condition(&status, "Programmed")["reason"], "Pending");
    // It comes back elsewhere, and refuses.
    nodes[1].abort();
    let refusing = node(&second, "node-1", true).await;
    let status = status_when(&cluster, "refused", |status| {
        condition(status, "Degraded")["status"] == "True"
    })
    .await;
    let message = condition(&status, "Degraded")["message"].to_string();
    assert!(
        message.contains("node-1") && message.contains("no memory for the rules"),
        "{message}"
    );
    refusing.abort();
    let stopped = timeout(Duration::from_secs(20), second.stop()).await;
    stopped.expect("it stops in time");
    // Given away: the next one need not wait.
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let lease = leases.get("weir-controller").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_accepted_says_why_in_its_conditions() {
    let cluster = cluster().await;
    let only = Replica::start(&cluster, "only").await;
    let mut lost = allowlist(5432);
    lost["spec"]["ingress"][0]["from"] = json!([{"workload": "nobody"}]);
    apply(&cluster, lost).await;
    let status = status_when(&cluster, "unresolved", |status| {
        condition(status, "ResolvedRefs")["status"] == "False"
    })
    .await;
    let message = condition(&status, "ResolvedRefs")["message"].to_string();
    assert!(message.contains("nobody"), "{message}");
    assert_eq!(condition(&status, "Programmed")["reason"], "NoNodes");
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "resolved", |status| {
        condition(status, "ResolvedRefs")["status"] == "True"
    })
    .await;
    assert_eq!(condition(&status, "Accepted")["status"], "True");
    only.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_throttles_conflicts_and_fails_gets_the_conditions_in_the_end() {
    let cluster = cluster().await;
    let Some(server) = cluster.faults_or_skip("conditions through faults") else {
        return;
    };
    let only = Replica::start(&cluster, "only").await;
    leader(&cluster).await;
    let throttled = Fault::TooManyRequests { retry_after_s: 1 };
    let statuses = Which::path("/status").method("PATCH");
    server.faults().next(2, statuses.clone(), throttled);
    server.faults().next(1, statuses, Fault::Error(500));
    let leases = || Which::path("/leases/weir-node").method("PUT");
    server.faults().next(2, leases(), Fault::Error(409));
    server.faults().next(1, leases(), Fault::Error(503));
    let node = node(&only, "node-1", false).await;
    apply(&cluster, allowlist(5432)).await;
    let status = status_when(&cluster, "enforced", |status| {
        condition(status, "Programmed")["status"] == "True"
    })
    .await;
    assert_eq!(status["programmed"], "1/1");
    // Somebody takes the lease by hand: the one that led leads no more, and waits for its turn.
    let led = leader(&cluster).await;
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let rival = json!({"spec": {"holderIdentity": "rival", "leaseDurationSeconds": 1}});
    let patch = PatchParams::default();
    leases
        .patch("weir-controller", &patch, &Patch::Merge(rival))
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while leader(&cluster).await != led {
        assert!(Instant::now() < deadline, "the lease is never taken back");
        sleep(Duration::from_millis(100)).await;
    }
    node.abort();
    only.stop().await;
}

/// What conditions say, one after the other.
type History = Arc<Mutex<Vec<(Value, String)>>>;

/// Writes down whenever the condition Programmed of the allowlist becomes another, with its generation.
fn written_down(cluster: &weir_cluster::Cluster) -> (tokio::task::JoinHandle<()>, History) {
    let history: History = Arc::default();
    let (api, told) = (allowlists(cluster), history.clone());
    let task = tokio::spawn(async move {
        loop {
            if let Ok(object) = api.get("db").await {
                let programmed = condition(&object.data["status"], "Programmed");
                let now = (
                    programmed["observedGeneration"].clone(),
                    programmed["status"].as_str().unwrap_or_default().to_owned(),
                );
                let mut told = told.lock().unwrap();
                if told.last() != Some(&now) {
                    told.push(now);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    (task, history)
}

/// The leader's requests for its lease hang until another has taken it, while it goes on serving its node,
/// and what it had sent arrives late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_leader_and_its_successor_do_not_contradict_each_other() {
    let cluster = cluster().await;
    let name = "a_slow_leader_and_its_successor_do_not_contradict_each_other";
    let Some(server) = cluster.faults_or_skip(name) else {
        return;
    };
    let first = Replica::start(&cluster, "first").await;
    let led = leader(&cluster).await;
    server.add_user(User::new("second", "second-token").in_groups(&["system:masters"]));
    let kubeconfig = cluster.folder().join("second.yaml");
    std::fs::write(&kubeconfig, server.kubeconfig("second")).unwrap();
    let second = Replica::start_as(&cluster, "second", &kubeconfig).await;
    let versions: [Arc<Mutex<Vec<u64>>>; 2] = Default::default();
    let nodes = [
        watched_node(&first, "node-1", false, versions[0].clone()).await,
        watched_node(&second, "node-2", false, versions[1].clone()).await,
    ];
    apply(&cluster, allowlist(5432)).await;
    let both = |status: &Value| status["programmed"] == "2/2";
    status_when(&cluster, "enforced by both", both).await;
    let stale = allowlists(&cluster).get("db").await.unwrap().data["status"].clone();
    let (writing, history) = written_down(&cluster);

    let slow = Fault::Slow(Duration::from_secs(25));
    let lease = Which::path("/leases/weir-controller")
        .ends()
        .method("PUT")
        .user("admin");
    server.faults().always(lease, slow);
    let deadline = Instant::now() + PATIENCE;
    while leader(&cluster).await == led {
        assert!(Instant::now() < deadline, "nobody takes over from {led}");
        sleep(Duration::from_millis(100)).await;
    }
    // Both serve their nodes meanwhile, and one of them says what became of it.
    apply(&cluster, allowlist(5433)).await;
    status_when(&cluster, "the change enforced by both", both).await;
    writing.abort();
    let told = history.lock().unwrap().clone();
    let newest = &told.last().unwrap().0;
    let changes = told.iter().filter(|it| it.0 == *newest).count();
    assert!(
        changes <= 2 && told.iter().filter(|it| it.0 != *newest).count() <= 1,
        "the condition flaps: {told:?}"
    );

    // Somebody who thinks that he leads writes what was true once: it does not stay.
    let mut late = stale.clone();
    late["programmed"] = json!("0/2");
    let mut object = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": "db", "namespace": "shop"},
    });
    object["status"] = late;
    let parameters = PatchParams::apply("weir-controller").force();
    let patch = Patch::Apply(&object);
    let api = allowlists(&cluster);
    let written = api.patch_status("db", &parameters, &patch).await;
    written.unwrap();
    status_when(&cluster, "what is true, again", both).await;

    server.faults().clear();
    for (node, versions) in nodes.into_iter().zip(&versions) {
        node.abort();
        let versions = versions.lock().unwrap();
        assert!(versions.is_sorted(), "versions go back: {versions:?}");
    }
    first.stop().await;
    second.stop().await;
}

/// Whoever is told of it: it holds on the nodes of all, through the loss of one, and is lifted once for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_controller_cuts_off_all_do_until_one_lets_it_in() {
    let cluster = cluster().await;
    let first = Replica::start(&cluster, "first").await;
    let second = Replica::start(&cluster, "second").await;
    let add = |workload: &str, duration_s| v1::QuarantineAddRequest {
        workloads: vec![workload.to_owned()],
        duration_s,
        because: "it scans".to_owned(),
    };
    let lift = |workload: &str| v1::QuarantineLiftRequest {
        workloads: vec![workload.to_owned()],
        all: false,
    };
    for replica in [&first, &second] {
        replica.cuts_off(&[]).await;
    }
    let known = async |replica: &Replica, workload: &str| {
        let deadline = Instant::now() + PATIENCE;
        let mut operator = replica.operator().await;
        while operator.quarantine_add(add(workload, 0)).await.is_err() {
            assert!(Instant::now() < deadline, "{workload} is never known");
            sleep(Duration::from_millis(50)).await;
        }
    };
    known(&first, "shop/db").await;
    let (one, two) = (&first, &second);
    one.cuts_off(&["shop/db"]).await;
    two.cuts_off(&["shop/db"]).await;
    // Both at once, each for its own reason, and one for a while only.
    known(two, "shop/web").await;
    let shorter = one
        .operator()
        .await
        .quarantine_add(add("shop/web", 3))
        .await;
    shorter.unwrap();
    sleep(Duration::from_secs(4)).await;
    let both = ["shop/db", "shop/web"];
    one.cuts_off(&both).await;
    two.cuts_off(&both).await;

    // One is away while the other lets one of them in.
    second.stop().await;
    let lifted = first
        .operator()
        .await
        .quarantine_lift(lift("shop/web"))
        .await;
    lifted.unwrap();
    first.cuts_off(&["shop/db"]).await;
    let second = Replica::start(&cluster, "second").await;
    second.cuts_off(&["shop/db"]).await;
    let lifted = second
        .operator()
        .await
        .quarantine_lift(lift("shop/db"))
        .await;
    lifted.unwrap();
    first.cuts_off(&[]).await;
    let again = first
        .operator()
        .await
        .quarantine_lift(lift("shop/db"))
        .await;
    assert!(again.unwrap_err().message().contains("is not cut off"));
    // What ends by itself ends everywhere, and no lease of it stays.
    let short = first
        .operator()
        .await
        .quarantine_add(add("shop/db", 2))
        .await;
    short.unwrap();
    second.cuts_off(&["shop/db"]).await;
    second.cuts_off(&[]).await;
    first.cuts_off(&[]).await;
    let leases: Api<Lease> = Api::namespaced(cluster.client(), "weir-system");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let leases = leases.list(&ListParams::default()).await.unwrap();
        let names = leases.items.into_iter().filter_map(|it| it.metadata.name);
        let names: Vec<String> = names
            .filter(|it| it.starts_with("weir-quarantine"))
            .collect();
        if names.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{names:?} stay");
        sleep(Duration::from_millis(50)).await;
    }
    first.stop().await;
    second.stop().await;
}
