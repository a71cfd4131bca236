//! From what nodes saw to what is allowed, and over a restart.

mod common;

use common::{Node, Site, hello, record};
use tokio_stream::StreamExt;
use weir_api::v1;

async fn seen(site: &Site) -> Node {
    seen_in(site, v1::Mode::Discover).await
}

async fn seen_in(site: &Site, mode: v1::Mode) -> Node {
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    for sequence in 0..3 {
        let flows = (0..20)
            .map(|flow| v1::FlowRecord {
                mode: mode.into(),
                ..record(&node.snapshot, sequence * 20 + flow)
            })
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
        (60, 120_000, 0),
        "in discover nothing would be denied: it is being learned"
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
    assert_eq!((db.connections, db.conversations), (60, 1));
    assert!(
        !db.ready && db.missing.len() >= 2,
        "an hour shows little: {db:?}"
    );

    let denied = operator
        .what_if(question("mysql"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(denied.rule_action(), v1::Action::Deny);

    let nothing = v1::PolicyExportRequest { learned: true };
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

    let export = v1::PolicyExportRequest { learned: true };
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
    seen_in(&site, v1::Mode::Monitor).await;
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
    assert!(store.version().unwrap() >= 1);
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
        ("photo-db", "mysql", "learning", 61),
        ("photo-db", "mysql", "would-deny", 0),
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
            ..Default::default()
        };
        let mut flows = operator.flows(request).await.unwrap().into_inner();
        let mut count = 0;
        while flows.message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, expected);
    }

    // Another pair sees it too, a moment later, and the node repeats itself.
    let twice = v1::FlowRecord {
        flow_id: 1099,
        first_seen_unix_us: record(&node.snapshot, 99).first_seen_unix_us + 40,
        ..record(&node.snapshot, 99)
    };
    site.report(10, vec![twice.clone(), record(&node.snapshot, 99), twice])
        .await;
    for (every, expected) in [(false, 61), (true, 64)] {
        let request = v1::FlowsRequest {
            limit: 1000,
            every,
            ..Default::default()
        };
        let flows = operator.flows(request).await.unwrap().into_inner();
        let flows: Vec<_> = flows.collect().await;
        assert_eq!(flows.len(), expected);
        let newest = flows[expected - 1].as_ref().unwrap();
        assert_eq!(newest.record.as_ref().unwrap().flow_id, 1099);
    }

    for flow in ["1:99", "node-1/99", "10.91.0.2:40000->10.91.0.3:3306"] {
        let request = v1::ExplainRequest { flow: flow.into() };
        let explained = operator.explain(request).await.unwrap().into_inner();
        assert_eq!(explained.rule_action(), v1::Action::Deny);
        assert_eq!(explained.seen.unwrap().record.unwrap().community_id, "1:99");
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
    let set = |workloads: &[&str], mode: v1::Mode| v1::ModeSetRequest {
        workloads: workloads.iter().map(|&name| name.to_owned()).collect(),
        mode: mode.into(),
        all: workloads.is_empty(),
    };
    let reply = operator
        .mode_set(set(&["photo-db"], v1::Mode::Protect))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.workloads[0].mode(), v1::Mode::Protect);
    assert_eq!(site.status().await.policy_version, 2);
    for (workloads, mode, version) in [
        (&[][..], v1::Mode::Monitor, 3),
        (&["photo-db", "shop/ai-model"][..], v1::Mode::Protect, 4),
        (&[][..], v1::Mode::Protect, 4),
    ] {
        let reply = operator
            .mode_set(set(workloads, mode))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(reply.workloads.len(), 2);
        assert!(reply.workloads.iter().all(|it| it.mode() == mode));
        let status = site.status().await;
        assert_eq!(status.policy_version, version, "all in one version");
    }
    let error = operator
        .mode_set(set(&["ai-model", "nobody"], v1::Mode::Monitor))
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert_eq!(site.status().await.policy_version, 4, "all or none");
    operator
        .mode_set(set(&[], v1::Mode::Monitor))
        .await
        .unwrap();

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
        .mode_set(set(&["photo-db"], v1::Mode::Discover))
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
    let export = v1::PolicyExportRequest { learned: true };
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

#[tokio::test]
async fn pings_have_no_ports_wherever_they_are_told_of() {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let ping = |flow_id: u64| v1::FlowRecord {
        protocol: 1,
        application: "icmp".into(),
        client_port: 500 + flow_id as u32,
        server_port: 500 + flow_id as u32,
        ..record(&node.snapshot, flow_id)
    };
    site.report(1, (0..20).map(ping).collect()).await;
    let mut operator = site.operator().await;
    let map = operator.map(v1::MapRequest::default()).await.unwrap();
    let map = map.into_inner().conversations;
    assert_eq!((map.len(), map[0].port, map[0].connections), (1, 0, 20));
    let proposals = review(&site).await.proposals;
    assert_eq!((proposals.len(), proposals[0].port), (1, 0));
    let all = v1::LearnAcceptRequest {
        all: true,
        ..Default::default()
    };
    operator.learn_accept(all).await.unwrap();
    let export = v1::PolicyExportRequest { learned: true };
    let files = operator.policy_export(export).await.unwrap().into_inner();
    for file in &files.files {
        assert!(file.content.contains("protocols: [icmp]"), "{file:?}");
        assert!(!file.content.contains("ports:"), "{file:?}");
    }
    let apply = v1::PolicyApplyRequest {
        files: files.files,
        dry_run: false,
    };
    assert!(
        operator
            .policy_apply(apply)
            .await
            .unwrap()
            .into_inner()
            .accepted
    );
    let mut asked = v1::WhatIfRequest {
        protocol: 1,
        port: 0,
        ..question("icmp")
    };
    let answer = operator.what_if(asked.clone()).await.unwrap().into_inner();
    assert_eq!(answer.rule_action(), v1::Action::Allow, "{answer:?}");
    asked.port = 7;
    let error = operator.what_if(asked).await.unwrap_err();
    assert!(error.message().contains("has none"), "{error}");
    let request = v1::ExplainRequest {
        flow: "10.91.0.2->10.91.0.3".into(),
    };
    let explained = operator.explain(request).await.unwrap().into_inner();
    assert_eq!(
        (explained.port, explained.rule_action()),
        (0, v1::Action::Allow)
    );
}
