//! What controllers of one cluster learned: kept in LearnedProfile objects, the same for all of them, and
//! not lost with any of them.

mod replica;

use std::time::{Duration, SystemTime};

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use weir_api::v1;
use weir_api::v1::observations_client::ObservationsClient;
use weir_cluster::{Cluster, PATIENCE};

use crate::replica::{Replica, cluster};

const WEB: [u8; 4] = [10, 1, 0, 2];
const DB: [u8; 4] = [10, 1, 0, 1];

/// A finished connection from web to db, as the node tells it that sees it.
async fn report(replica: &Replica, node: &str, port: u32) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let now_us = u64::try_from(now.as_micros()).unwrap();
    let record = v1::FlowRecord {
        event: v1::FlowEvent::End.into(),
        flow_id: port.into(),
        time_unix_us: now_us,
        first_seen_unix_us: now_us,
        client_address: WEB.to_vec(),
        server_address: DB.to_vec(),
        client_port: 40_000,
        server_port: port,
        protocol: 6,
        application: "postgresql".into(),
        confidence: "content".into(),
        rule_action: v1::Action::Deny.into(),
        mode: v1::Mode::Discover.into(),
        wire_action: v1::WireAction::Forward.into(),
        decider: "default of shop/db".into(),
        packets_to_server: 5,
        packets_to_client: 5,
        bytes_to_server: 500,
        bytes_to_client: 1500,
        ..Default::default()
    };
    let batch = v1::ObservationBatch {
        node: node.into(),
        sequence: 1,
        flows: vec![record],
        ..Default::default()
    };
    let channel = replica.endpoint.connect(None, None).await.unwrap();
    let mut client = ObservationsClient::new(channel);
    let answers = client.report(tokio_stream::iter([batch])).await.unwrap();
    answers.into_inner().message().await.unwrap().unwrap();
}

/// A controller that knows the pods: what is reported to it has names.
async fn start(cluster: &Cluster, name: &'static str) -> Replica {
    let replica = Replica::start(cluster, name).await;
    ready(&replica).await;
    replica
}

async fn ready(replica: &Replica) {
    let mut operator = replica.operator().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = operator.status(v1::StatusRequest {}).await.unwrap();
        if status.into_inner().workload_status.len() >= 2 {
            return;
        }
        let name = replica.name;
        assert!(Instant::now() < deadline, "{name} never knows the pods");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The ports of the proposals of a controller, each with its state, once they are as wanted.
async fn proposals_when(replica: &Replica, wanted: &[(u32, &str)]) {
    let mut operator = replica.operator().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let review = operator.learn_review(v1::LearnReviewRequest::default());
        let review = review.await.unwrap().into_inner();
        let mut found: Vec<(u32, &str)> = review
            .proposals
            .iter()
            .map(|it| (it.port, it.state.as_str()))
            .collect();
        found.sort_unstable();
        if found == wanted {
            for it in &review.proposals {
                assert_eq!((&*it.client, &*it.server), ("shop/web", "shop/db"));
            }
            return;
        }
        let name = replica.name;
        assert!(Instant::now() < deadline, "{name} proposes {found:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn profiles(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("weir.dev", "v1alpha1", "LearnedProfile");
    let resource = ApiResource::from_gvk_with_plural(&kind, "learnedprofiles");
    Api::namespaced_with(cluster.client(), "shop", &resource)
}

/// The status of a profile once it is as wanted.
async fn profile_when(
    cluster: &Cluster,
    name: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = profiles(cluster).get_opt(name).await.unwrap();
        let status = object.map(|object| object.data["status"].clone());
        if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
            return status.clone();
        }
        assert!(Instant::now() < deadline, "{what}: never; {status:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_controller_learned_is_known_when_it_is_lost() {
    let cluster = cluster().await;
    let mut first = start(&cluster, "first").await;
    report(&first, "node-1", 5432).await;
    proposals_when(&first, &[(5432, "proposed")]).await;
    let accept = v1::LearnAcceptRequest {
        all: true,
        ..Default::default()
    };
    first.operator().await.learn_accept(accept).await.unwrap();
    let status = profile_when(&cluster, "web", "what a person said", |status| {
        status["decisions"][0]["verdict"] == "accepted"
    })
    .await;
    assert_eq!(status["workload"], "shop/web");
    assert_eq!(status["owner"], "Pod");
    assert_eq!(status["conversations"][0]["server"], "shop/db");
    assert_eq!(status["conversations"][0]["points"][0]["node"], "node-1");
    // The server has its evidence in the client's profile, and a summary of its own.
    let served = profile_when(&cluster, "db", "the server", |status| status["known"] == 1).await;
    assert!(served["conversations"].is_null(), "{served:#}");
    assert!(served["coverage"].as_str().unwrap().ends_with('%'));
    if let Some(kubectl) = cluster.kubectl("learned profiles as kubectl shows them") {
        let table = kubectl
            .run(&["get", "learnedprofiles", "-A"])
            .await
            .unwrap();
        println!("{table}");
        for word in ["COVERAGE", "LAST-SEEN", "CONVERSATIONS", "web", "%"] {
            assert!(table.contains(word), "{word} in {table}");
        }
    }

    first.kill();
    let second = start(&cluster, "second").await;
    proposals_when(&second, &[(5432, "accepted")]).await;
    // What it hears itself comes to it.
    report(&second, "node-1", 5433).await;
    proposals_when(&second, &[(5432, "accepted"), (5433, "proposed")]).await;
    let stopped = timeout(Duration::from_secs(20), second.stop()).await;
    stopped.expect("it stops in time");
    // Who stops says before what he knows.
    let status = profile_when(&cluster, "web", "last words", |status| status["known"] == 2).await;
    assert_eq!(status["conversations"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_that_hear_different_nodes_come_to_know_the_same() {
    let cluster = cluster().await;
    let first = start(&cluster, "first").await;
    let second = start(&cluster, "second").await;
    // Both write the same object.
    tokio::join!(
        report(&first, "node-1", 5432),
        report(&second, "node-2", 5433)
    );
    let both = [(5432, "proposed"), (5433, "proposed")];
    proposals_when(&first, &both).await;
    proposals_when(&second, &both).await;
    profile_when(&cluster, "web", "both", |status| {
        status["conversations"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    // An object that somebody deletes is written again, and nothing is forgotten.
    let all = profiles(&cluster);
    all.delete("web", &Default::default()).await.unwrap();
    profile_when(&cluster, "web", "again", |status| {
        status["conversations"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    assert_eq!(
        all.list(&ListParams::default()).await.unwrap().items.len(),
        2
    );
    proposals_when(&first, &both).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_says_so_and_forgets_nothing() {
    let cluster = cluster().await;
    let rules = vec![
        Cluster::rule("", &["*"], &["list", "watch"]),
        Cluster::rule("apps", &["*"], &["list", "watch"]),
        Cluster::rule("batch", &["*"], &["list", "watch"]),
        Cluster::rule("discovery.k8s.io", &["*"], &["list", "watch"]),
        Cluster::rule("weir.dev", &["*"], &["list", "watch"]),
        Cluster::rule("events.k8s.io", &["events"], &["create"]),
    ];
    let account = cluster.service_account("weir-system", "weir", rules).await;
    let path = cluster.folder().join("weir.yaml");
    std::fs::write(&path, &account.kubeconfig).unwrap();
    let replica = Replica::start_as(&cluster, "only", &path).await;
    ready(&replica).await;
    report(&replica, "node-1", 5432).await;
    let mut client = replica.operator().await;
    let deadline = Instant::now() + PATIENCE;
    let named = loop {
        let status = client
            .status(v1::StatusRequest {})
            .await
            .unwrap()
            .into_inner();
        let mut problems = status.problems.into_iter();
        let found = problems.find(|it| it.message.contains("may not create learnedprofiles"));
        if let Some(found) = found {
            break found;
        }
        assert!(Instant::now() < deadline, "no condition");
        sleep(Duration::from_millis(50)).await;
    };
    assert!(named.next_step.contains("rbac.yaml"), "{named:?}");
    proposals_when(&replica, &[(5432, "proposed")]).await;
    // And kubectl shows it where people look for it.
    let events: Api<Event> = Api::namespaced(cluster.client(), "weir-system");
    let event = loop {
        let all = events.list(&ListParams::default()).await.unwrap();
        let mut all = all.items.into_iter();
        let is_it = |event: &Event| {
            let note = event.note.as_deref().unwrap_or_default();
            note.contains("may not create learnedprofiles")
        };
        if let Some(event) = all.find(is_it) {
            break event;
        }
        assert!(Instant::now() < deadline, "no event");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reason.as_deref(), Some("Forbidden"));
    if let Some(kubectl) = cluster.kubectl("events as kubectl shows them") {
        // Where events are not one thing under two names, those that were written.
        let reasons = "jsonpath={.items[*].reason}";
        let get = [
            "get",
            "events.events.k8s.io",
            "-n",
            "weir-system",
            "-o",
            reasons,
        ];
        let said = kubectl.run(&get).await.unwrap();
        assert!(said.contains("Forbidden"), "{said}");
    }
    replica.stop().await;
}
