//! Policy reaches nodes: full, then by deltas, whatever they answer.

mod common;

use std::sync::Arc;

use common::{ALLOWLIST, Node, Site, WORKLOADS, hello};
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_api::{Contents, Follower, Step, v1};
use weir_model::parse_documents;
use weir_sources::{Change, News};

#[tokio::test]
async fn a_node_gets_everything_then_what_changes() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    assert!(node.take().await, "the first is full");
    assert_eq!(
        (node.snapshot.version, node.snapshot.identities.len()),
        (1, 2)
    );
    site.write("allowlist.yaml", ALLOWLIST);
    assert!(!node.take().await, "the second is a delta");
    assert_eq!((node.snapshot.version, node.snapshot.rules.len()), (2, 1));
    let status = site
        .status_when(|status| status.nodes[0].enforced_version == 2)
        .await;
    assert_eq!(
        (status.policy_version, status.allowlists, status.workloads),
        (2, 1, 2)
    );
    assert!(status.nodes[0].connected && status.problems.is_empty());
    drop(node);
    site.status_when(|status| !status.nodes[0].connected).await;
}

#[tokio::test]
async fn text_that_means_the_same_is_no_new_version() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    site.write("workloads.yaml", &format!("# a comment\n{WORKLOADS}"));
    assert!(node.silent().await);
    assert_eq!(site.status().await.policy_version, 1);
}

#[tokio::test]
async fn a_refused_delta_is_followed_by_a_full_snapshot_and_a_refused_snapshot_is_told() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    site.write("allowlist.yaml", ALLOWLIST);
    assert!(matches!(node.next().await, FromController::Delta(delta) if delta.version == 2));
    node.refuse(2).await;
    assert!(matches!(node.next().await, FromController::Snapshot(full) if full.version == 2));
    node.refuse(2).await;
    let told = |status: &v1::StatusReply| status.nodes[0].refusal == "version 2: no memory";
    let status = site.status_when(told).await;
    assert_eq!(
        (status.nodes[0].enforced_version, status.policy_version),
        (1, 2)
    );
    assert!(
        node.silent().await,
        "what was refused in full is not sent again"
    );
    site.write("allowlist.yaml", &ALLOWLIST.replace("3306", "3307"));
    assert!(node.take().await, "the next version comes in full");
    let status = site
        .status_when(|status| status.nodes[0].enforced_version == 3)
        .await;
    assert_eq!(status.nodes[0].refusal, "");
}

#[tokio::test]
async fn a_slow_node_gets_the_newest_at_once() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    site.write("allowlist.yaml", ALLOWLIST);
    assert!(matches!(node.next().await, FromController::Delta(delta) if delta.version == 2));
    for port in 3307..3312 {
        site.write(
            "allowlist.yaml",
            &ALLOWLIST.replace("3306", &port.to_string()),
        );
        site.status_when(|status| status.policy_version == port - 3304)
            .await;
    }
    assert!(node.silent().await, "one message at a time");
    node.applied(2).await;
    match node.next().await {
        FromController::Delta(delta) => assert_eq!((delta.base_version, delta.version), (2, 7)),
        other => panic!("not a delta: {other:?}"),
    }
}

#[tokio::test]
async fn a_node_may_acknowledge_as_often_as_policy_changes() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let state = site.controller.as_ref().unwrap().state().clone();
    for number in 0..200 {
        let text = WORKLOADS.replace("10.91.0.2", &format!("10.92.0.{number}"));
        let (documents, problems) = parse_documents("workloads.yaml", &text);
        assert_eq!(problems, []);
        let changes = documents.into_iter().map(|document| Change::Upsert {
            document: Arc::new(document),
            revision: number,
        });
        let news = News::Changes(changes.collect());
        let version = state.take_news(news).await.unwrap();
        assert!(!node.take().await, "no reason to send everything");
        assert_eq!(node.snapshot.version, version);
    }
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_policy_and_is_told_with_its_place() {
    let mut site = Site::start().await;
    site.write("allowlist.yaml", ALLOWLIST);
    site.status_when(|status| status.policy_version == 2).await;
    site.write(
        "allowlist.yaml",
        &ALLOWLIST.replace("applications", "aplications"),
    );
    let status = site.status_when(|status| !status.problems.is_empty()).await;
    let problem = &status.problems[0];
    assert!(
        problem.file.ends_with("allowlist.yaml") && problem.line > 0,
        "{problem:?}"
    );
    assert!(problem.field.contains("aplications") || problem.message.contains("aplications"));
    assert_eq!(status.policy_version, 2);
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    assert_eq!(node.snapshot.rules.len(), 1, "the last good policy");
    site.restart().await;
    let mut node = site.subscribe(hello(2)).await;
    node.take().await;
    assert_eq!(
        (node.snapshot.version, node.snapshot.rules.len()),
        (2, 1),
        "also after a restart"
    );
    assert!(!site.status().await.problems.is_empty());
    site.write("allowlist.yaml", &ALLOWLIST.replace("mysql", "redis"));
    assert_eq!(
        site.status_when(|status| status.problems.is_empty())
            .await
            .policy_version,
        3
    );
}

#[tokio::test]
async fn what_cannot_be_compiled_keeps_the_last_good_policy() {
    let site = Site::start().await;
    site.write("allowlist.yaml", &ALLOWLIST.replace("mysql", "mysqll"));
    let status = site.status_when(|status| !status.problems.is_empty()).await;
    assert!(
        status.problems[0].message.contains("mysqll"),
        "{:?}",
        status.problems
    );
    assert_eq!(status.policy_version, 1);
}

#[tokio::test]
async fn a_node_of_another_protocol_is_told_why_it_is_refused() {
    let site = Site::start().await;
    let mut node = site
        .subscribe(v1::Hello {
            protocol_min: 3,
            protocol_max: 4,
            ..hello(0)
        })
        .await;
    match node.next().await {
        FromController::Failure(failure) => {
            assert!(failure.reason.contains("versions 3 to 4"), "{failure:?}");
            assert!(failure.next_step.contains("update"), "{failure:?}");
        }
        other => panic!("not refused: {other:?}"),
    }
    assert!(
        node.incoming.message().await.unwrap().is_none(),
        "the stream ends"
    );
    assert!(site.status().await.nodes.is_empty());
}

#[tokio::test]
async fn versions_never_go_back() {
    let mut site = Site::start().await;
    site.write("allowlist.yaml", ALLOWLIST);
    site.status_when(|status| status.policy_version == 2).await;
    site.restart().await;
    assert_eq!(
        site.status().await.policy_version,
        2,
        "equal policy keeps its version"
    );
    site.stop().await;
    std::fs::remove_dir_all(site.path("state")).unwrap();
    site.restart().await;
    assert_eq!(site.status().await.policy_version, 1, "its memory is lost");
    let mut node = site.subscribe(hello(7)).await;
    node.take().await;
    assert_eq!((node.snapshot.version, node.snapshot.rules.len()), (8, 1));
    assert_eq!(site.status().await.policy_version, 8);
    let mut liar = site.subscribe(hello(u64::MAX)).await;
    assert!(matches!(liar.next().await, FromController::Failure(_)));
    assert_eq!(site.status().await.policy_version, 8);
}

#[tokio::test]
async fn the_first_version_is_above_what_a_node_enforces_already() {
    let mut site = Site::start().await;
    site.stop().await;
    std::fs::remove_dir_all(site.path("state")).unwrap();
    site.write("workloads.yaml", "broken: [");
    site.restart().await;
    let mut node = site.subscribe(hello(7)).await;
    assert!(node.silent().await, "there is no policy to send");
    assert_eq!(site.status().await.nodes[0].enforced_version, 7);
    site.write("workloads.yaml", WORKLOADS);
    let mut node = site.subscribe(hello(7)).await;
    node.take().await;
    assert_eq!(node.snapshot.version, 8);
}

#[tokio::test]
async fn identities_keep_their_numbers_over_a_restart() {
    let mut site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let before = node.snapshot.identities.clone();
    site.stop().await;
    let first = "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: aaa, namespace: shop}\nspec: {addresses: [10.91.0.9]}\n";
    site.write("another.yaml", first);
    site.restart().await;
    let mut node = site.subscribe(hello(1)).await;
    node.take().await;
    assert_eq!(node.snapshot.identities.len(), 3);
    for identity in before {
        assert!(node.snapshot.identities.contains(&identity), "{identity:?}");
    }
}

#[tokio::test]
async fn a_second_controller_does_not_disturb_the_first() {
    let site = Site::start().await;
    let error = weir_controller::Controller::start(site.config())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    let elsewhere = weir_controller::Config {
        state: site.path("state-2"),
        ..site.config()
    };
    let error = weir_controller::Controller::start(elsewhere)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(site.status().await.policy_version, 1);
}

#[tokio::test]
async fn an_emptied_directory_opens_nothing() {
    let mut site = Site::start().await;
    let file = site.path("policy").join("workloads.yaml");
    std::fs::remove_file(&file).unwrap();
    for _ in 0..2 {
        let status = site.status_when(|status| !status.problems.is_empty()).await;
        assert!(status.problems[0].message.contains("no documents are left"));
        assert_eq!((status.policy_version, status.workloads), (1, 2));
        // Neither while it runs, nor after a restart.
        site.restart().await;
    }
    let settings = "apiVersion: weir.dev/v1alpha1\nkind: Settings\nmetadata: {name: settings}\nspec: {denyStyle: drop}\n";
    site.write("settings.yaml", settings);
    let status = site.status_when(|status| status.workloads == 0).await;
    assert_eq!((status.policy_version, status.problems.len()), (2, 0));
}

/// Follows the stream until what the node has is as wanted.
async fn follow(
    node: &mut Node,
    follower: &mut Follower,
    wanted: impl Fn(&v1::Snapshot) -> bool,
) -> v1::Snapshot {
    loop {
        let has = follower.contents().message(follower.version()).unwrap();
        if follower.version() > 0 && wanted(&has) {
            return has;
        }
        let next = tokio::time::timeout(common::PATIENCE, node.incoming.message()).await;
        let next = next.expect("a message in time").unwrap().unwrap();
        let answer = match follower.take(next) {
            Step::Nothing => continue,
            Step::Answer(answer) | Step::Keep(answer) => answer,
            Step::Enforce => follower.enforced(),
            Step::Failed(failure) => panic!("{failure:?}"),
        };
        node.say(answer.message.unwrap()).await;
    }
}

#[tokio::test]
async fn what_services_claim_reaches_nodes_and_an_older_node_goes_on_without() {
    const GRAB: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Service
metadata: {name: grab, namespace: evil}
spec: {workloads: [], disputedAddresses: [8.8.8.8, 10.91.0.3]}
";
    let site = Site::start().await;
    let mut older = site.subscribe(hello(0)).await;
    older.take().await;
    let mut follower = Follower::new("node-2", "test", 0, Contents::default());
    let Some(FromNode::Hello(newer)) = follower.hello().message else {
        panic!("it says hello first");
    };
    let mut newer = site.subscribe(newer).await;
    follow(&mut newer, &mut follower, |it| it.claims.is_none()).await;
    site.write("grab.yaml", GRAB);
    let has = follow(&mut newer, &mut follower, |it| it.claims.is_some()).await;
    let claims = weir_api::from_message(&has).unwrap().claims;
    let told: Vec<String> = (claims.iter())
        .map(|it| format!("{} {}", weir_wire::to_ip_address(it.address), it.service))
        .collect();
    assert_eq!(told, ["8.8.8.8 evil/grab", "10.91.0.3 evil/grab"]);
    assert!(!older.take().await, "it has every version as before");
    assert_eq!(older.snapshot.claims, None);
    site.write(
        "grab.yaml",
        &GRAB.replace(", disputedAddresses: [8.8.8.8, 10.91.0.3]", ""),
    );
    follow(&mut newer, &mut follower, |it| it.claims.is_none()).await;
    assert!(!older.take().await);
}
