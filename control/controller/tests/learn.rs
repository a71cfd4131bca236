//! From what nodes saw to what is allowed, and over a restart.

mod common;

use common::{Node, Site, hello, record};
use weir_api::v1;

async fn seen(site: &Site) -> Node {
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    for sequence in 0..3 {
        let flows = (0..20)
            .map(|flow| record(&node.snapshot, sequence * 20 + flow))
            .collect();
        site.report(sequence, flows).await;
    }
    node
}

async fn review(site: &Site) -> v1::LearnReviewReply {
    let request = v1::LearnReviewRequest::default();
    site.operator()
        .await
        .learn_review(request)
        .await
        .unwrap()
        .into_inner()
}

fn question(application: &str) -> v1::WhatIfRequest {
    v1::WhatIfRequest {
        client: "ai-model".into(),
        server: "shop/photo-db".into(),
        application: application.into(),
        port: 3306,
        ..Default::default()
    }
}

#[tokio::test]
async fn from_observation_to_an_enforced_allowlist() {
    let site = Site::start().await;
    let mut node = seen(&site).await;
    let mut operator = site.operator().await;

    let map = operator
        .map(v1::MapRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(map.conversations.len(), 1);
    let conversation = &map.conversations[0];
    assert_eq!(
        (
            conversation.connections,
            conversation.bytes,
            conversation.would_deny
        ),
        (60, 120_000, 60)
    );
    assert!(!conversation.allowed);

    let found = review(&site).await;
    assert_eq!(found.proposals.len(), 1);
    assert_eq!(found.proposals[0].state, "proposed");
    assert!(found.proposals[0].confidence > 0.5 && !found.proposals[0].reasons_for.is_empty());
    let db = found
        .coverage
        .iter()
        .find(|coverage| coverage.workload == "shop/photo-db")
        .unwrap();
    assert!(db.ready && db.connections == 60);

    let denied = operator
        .what_if(question("mysql"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(denied.rule_action(), v1::Action::Deny);

    let nothing = v1::PolicyExportRequest {
        learned: true,
        current: false,
    };
    assert!(
        operator
            .policy_export(nothing)
            .await
            .unwrap()
            .into_inner()
            .files
            .is_empty()
    );
    let ids = vec![found.proposals[0].id.clone(), "ffff".into()];
    let accept = v1::LearnAcceptRequest {
        ids,
        ..Default::default()
    };
    let accepted = operator.learn_accept(accept).await.unwrap().into_inner();
    assert_eq!((accepted.accepted.len(), accepted.refused.len()), (1, 1));
    assert_eq!(review(&site).await.proposals[0].state, "accepted");

    let export = v1::PolicyExportRequest {
        learned: true,
        current: false,
    };
    let files = operator
        .policy_export(export)
        .await
        .unwrap()
        .into_inner()
        .files;
    assert_eq!(files.len(), 2, "one allowlist for each end");
    let dry = v1::PolicyApplyRequest {
        files: files.clone(),
        dry_run: true,
    };
    let dry = operator.policy_apply(dry).await.unwrap().into_inner();
    assert!(
        dry.accepted && dry.changes.iter().all(|change| change.weakens),
        "{dry:?}"
    );
    assert_eq!(dry.changes.len(), 2);
    assert_eq!(site.status().await.policy_version, 1, "nothing is written");
    let apply = v1::PolicyApplyRequest {
        files: files.clone(),
        dry_run: false,
    };
    let applied = operator.policy_apply(apply).await.unwrap().into_inner();
    assert!(applied.accepted, "{applied:?}");
    assert_eq!((applied.policy_version, applied.changed.len()), (2, 2));
    node.take().await;
    assert_eq!(node.snapshot.rules.len(), 2);

    let allowed = operator
        .what_if(question("mysql"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(allowed.rule_action(), v1::Action::Allow, "{allowed:?}");
    let other = operator
        .what_if(question("redis"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(other.rule_action(), v1::Action::Deny);
    assert!(other.nearest.contains("mysql"), "{}", other.nearest);
    assert_eq!(review(&site).await.proposals[0].state, "covered");
    let again = v1::PolicyApplyRequest {
        files,
        dry_run: false,
    };
    let again = operator.policy_apply(again).await.unwrap().into_inner();
    assert_eq!(
        (again.policy_version, again.changes.len()),
        (2, 0),
        "applying twice changes nothing"
    );

    let list = operator
        .policy_list(v1::PolicyListRequest {})
        .await
        .unwrap()
        .into_inner();
    let kinds = |kind: &str| {
        list.policies
            .iter()
            .filter(|policy| policy.kind == kind)
            .count()
    };
    assert_eq!((kinds("Allowlist"), kinds("Workload")), (2, 2));
}

#[tokio::test]
async fn what_was_learned_survives_a_restart() {
    let mut site = Site::start().await;
    seen(&site).await;
    let all = v1::LearnAcceptRequest {
        all: true,
        ..Default::default()
    };
    site.operator().await.learn_accept(all).await.unwrap();
    let before = review(&site).await;
    site.restart().await;
    assert_eq!(review(&site).await, before);
    assert_eq!(before.proposals[0].state, "accepted");
    let status = site.status().await;
    assert_eq!((status.policy_version, status.conversations), (1, 1));
    assert_eq!(status.workload_status[1].would_deny, 60);
}

#[tokio::test]
async fn what_was_learned_survives_without_a_goodbye() {
    let site = Site::start().await;
    seen(&site).await;
    // As SIGKILL would leave it: the file as it is after the flush of that second.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let copy = site.path("copy");
    std::fs::create_dir(&copy).unwrap();
    let name = "controller.redb";
    std::fs::copy(site.path("state").join(name), copy.join(name)).unwrap();
    let store = weir_controller::store::Store::open(&copy).unwrap();
    let stored: Vec<weir_controller::conversation::Stored> = store.conversations().unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(store.published().unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn flows_are_listed_followed_filtered_and_explained() {
    let site = Site::start().await;
    let node = seen(&site).await;
    let mut operator = site.operator().await;
    let request = v1::FlowsRequest {
        limit: 5,
        follow: true,
        ..Default::default()
    };
    let mut flows = operator.flows(request).await.unwrap().into_inner();
    for expected in 55..60 {
        let view = flows.message().await.unwrap().unwrap();
        assert_eq!(view.record.unwrap().flow_id, expected);
        assert_eq!(
            (view.client.as_str(), view.server.as_str()),
            ("shop/ai-model", "shop/photo-db")
        );
    }
    site.report(9, vec![record(&node.snapshot, 99)]).await;
    let live = tokio::time::timeout(common::PATIENCE, flows.message())
        .await
        .unwrap();
    assert_eq!(live.unwrap().unwrap().record.unwrap().flow_id, 99);

    for (workload, application, verdict, expected) in [
        ("photo-db", "mysql", "would-deny", 61),
        ("shop/ai-model", "", "", 61),
        ("frontend", "", "", 0),
        ("", "redis", "", 0),
        ("", "", "denied", 0),
    ] {
        let [workload, application, verdict] = [workload, application, verdict].map(str::to_owned);
        let request = v1::FlowsRequest {
            limit: 1000,
            workload,
            application,
            verdict,
            follow: false,
        };
        let mut flows = operator.flows(request).await.unwrap().into_inner();
        let mut count = 0;
        while flows.message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, expected);
    }

    for flow in ["1:99", "node-1/99", "10.91.0.2:40000->10.91.0.3:3306"] {
        let request = v1::ExplainRequest { flow: flow.into() };
        let explained = operator.explain(request).await.unwrap().into_inner();
        assert_eq!(explained.rule_action(), v1::Action::Deny);
        assert_eq!(explained.seen.unwrap().record.unwrap().flow_id, 99);
        assert!(!explained.steps.is_empty());
    }
    for (flow, code) in [
        ("1:none", tonic::Code::NotFound),
        ("what", tonic::Code::InvalidArgument),
    ] {
        let request = v1::ExplainRequest { flow: flow.into() };
        assert_eq!(operator.explain(request).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn modes_are_written_and_a_stricter_document_is_named() {
    let site = Site::start().await;
    let mut operator = site.operator().await;
    let set = |workload: &str, mode: v1::Mode, all| v1::ModeSetRequest {
        workload: workload.into(),
        mode: mode.into(),
        all,
    };
    let reply = operator
        .mode_set(set("photo-db", v1::Mode::Protect, false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.workloads[0].mode(), v1::Mode::Protect);
    assert_eq!(site.status().await.policy_version, 2);
    let reply = operator
        .mode_set(set("", v1::Mode::Monitor, true))
        .await
        .unwrap()
        .into_inner();
    assert!(
        reply
            .workloads
            .iter()
            .all(|workload| workload.mode() == v1::Mode::Monitor)
    );
    let error = operator
        .mode_set(set("nobody", v1::Mode::Monitor, false))
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);

    let strict = "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {name: strict, namespace: shop}\nspec: {target: {matchLabels: {}}, mode: protect}\n";
    site.write("strict.yaml", strict);
    site.status_when(|status| {
        status
            .workload_status
            .iter()
            .all(|it| it.mode() == v1::Mode::Protect)
    })
    .await;
    let before = site.status().await.policy_version;
    let error = operator
        .mode_set(set("photo-db", v1::Mode::Discover, false))
        .await
        .unwrap_err();
    assert!(
        error.message().contains("mode shop/strict"),
        "{}",
        error.message()
    );
    assert_eq!(site.status().await.policy_version, before);
}

#[tokio::test]
async fn a_broken_document_is_not_applied() {
    let site = Site::start().await;
    let file = |content: &str| v1::PolicyFile {
        name: "new.yaml".into(),
        content: content.into(),
    };
    let files = vec![
        file(common::ALLOWLIST),
        file(&common::ALLOWLIST.replace("target", "targett")),
    ];
    let request = v1::PolicyApplyRequest {
        files,
        dry_run: false,
    };
    let reply = site
        .operator()
        .await
        .policy_apply(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!reply.accepted && !reply.problems.is_empty());
    assert_eq!(site.status().await.allowlists, 0);
    let unknown = common::ALLOWLIST.replace("mysql", "mysqll");
    let request = v1::PolicyApplyRequest {
        files: vec![file(&unknown)],
        dry_run: false,
    };
    let reply = site
        .operator()
        .await
        .policy_apply(request)
        .await
        .unwrap()
        .into_inner();
    assert!(
        !reply.accepted && reply.problems[0].message.contains("mysqll"),
        "{reply:?}"
    );
    assert_eq!(
        std::fs::read_dir(site.path("policy")).unwrap().count(),
        1,
        "nothing is written"
    );
}

#[tokio::test]
async fn a_learned_allowlist_takes_nothing_away_from_a_written_one() {
    let site = Site::start().await;
    seen(&site).await;
    site.write(
        "allowlist.yaml",
        &common::ALLOWLIST.replace("mysql", "redis"),
    );
    site.status_when(|status| status.policy_version == 2).await;
    let mut operator = site.operator().await;
    let all = v1::LearnAcceptRequest {
        all: true,
        ..Default::default()
    };
    operator.learn_accept(all).await.unwrap();
    let export = v1::PolicyExportRequest {
        learned: true,
        current: false,
    };
    let files = operator
        .policy_export(export)
        .await
        .unwrap()
        .into_inner()
        .files;
    assert!(
        files
            .iter()
            .any(|file| file.content.contains("name: photo-db-learned")),
        "{files:?}"
    );
    let request = v1::PolicyApplyRequest {
        files,
        dry_run: false,
    };
    assert!(
        operator
            .policy_apply(request)
            .await
            .unwrap()
            .into_inner()
            .accepted
    );
    for application in ["mysql", "redis"] {
        let answer = operator
            .what_if(question(application))
            .await
            .unwrap()
            .into_inner();
        let db_lacks =
            answer.rule_action() == v1::Action::Deny && answer.decider.contains("photo-db");
        assert!(!db_lacks, "{answer:?}");
    }
}
