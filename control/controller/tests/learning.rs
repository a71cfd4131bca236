//! What people make of proposals, what a policy would have done, and names: over the wire.

mod common;

use common::{Node, Site, hello, record, replace};
use weir_api::v1;
use weir_api::v1::operator_client::OperatorClient;

const DRAFT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db-next, namespace: shop}
spec:
  stage: draft
  target: {workload: photo-db}
  ingress:
    - from: [{workload: ai-model}]
      applications: [mysql]
      ports: [3306]
";

const EGRESS: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: ai-model, namespace: shop}
spec:
  target: {workload: ai-model}
  egress:
    - to: [{workload: photo-db}]
      applications: [mysql]
      ports: [3306]
";

/// A node has told of twenty connections, mysql, and of one in redis.
async fn site() -> (Site, Node) {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let mut flows: Vec<_> = (0..20).map(|flow| record(&node.snapshot, flow)).collect();
    flows.push(v1::FlowRecord {
        application: "redis".into(),
        server_port: 6379,
        ..record(&node.snapshot, 20)
    });
    site.report(1, flows).await;
    (site, node)
}

async fn operator(site: &Site) -> OperatorClient<tonic::transport::Channel> {
    site.operator().await
}

async fn review(site: &Site, rejected: bool) -> Vec<v1::Proposal> {
    let request = v1::LearnReviewRequest {
        rejected,
        ..Default::default()
    };
    let reply = operator(site).await.learn_review(request).await.unwrap();
    reply.into_inner().proposals
}

fn of<'a>(proposals: &'a [v1::Proposal], application: &str) -> &'a v1::Proposal {
    let found = proposals.iter().find(|it| it.application == application);
    found.unwrap_or_else(|| panic!("no proposal for {application}: {proposals:?}"))
}

async fn impact(site: &Site, request: v1::PolicyImpactRequest) -> v1::PolicyImpactReply {
    let reply = operator(site).await.policy_impact(request).await.unwrap();
    reply.into_inner()
}

#[tokio::test]
async fn what_is_rejected_is_kept_and_not_proposed_again_until_there_is_other_evidence() {
    let (mut site, node) = site().await;
    let id = of(&review(&site, false).await, "redis").id.clone();
    let request = v1::LearnRejectRequest {
        ids: vec![id.clone(), "ffff".into()],
        reason: "nobody knows why".into(),
    };
    let reply = operator(&site).await.learn_reject(request).await.unwrap();
    let reply = reply.into_inner();
    assert_eq!(
        (reply.rejected.len(), reply.refused.len()),
        (1, 1),
        "{reply:?}"
    );
    assert_eq!(review(&site, false).await.len(), 1);
    let rejected = review(&site, true).await;
    assert_eq!(of(&rejected, "redis").rejected_because, "nobody knows why");
    // More of the same is no news; not over a restart either.
    let more = v1::FlowRecord {
        application: "redis".into(),
        server_port: 6379,
        ..record(&node.snapshot, 21)
    };
    site.report(2, vec![more.clone()]).await;
    drop(node);
    site.restart().await;
    assert_eq!(review(&site, true).await.len(), 1);
    let all = v1::LearnAcceptRequest {
        all: true,
        ..Default::default()
    };
    let accepted = operator(&site)
        .await
        .learn_accept(all)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        accepted.accepted.len(),
        1,
        "what was rejected is not among all: {accepted:?}"
    );
    assert!(accepted.writable && accepted.files.len() == 2);
    // It comes back on further days: that is evidence of another kind.
    let later = (1..4).map(|day: u64| v1::FlowRecord {
        flow_id: 30 + day,
        time_unix_us: more.time_unix_us + day * 86_400_000_000,
        first_seen_unix_us: more.first_seen_unix_us + day * 86_400_000_000,
        ..more.clone()
    });
    site.report(3, later.collect()).await;
    let again = review(&site, false).await;
    let again = of(&again, "redis");
    assert_eq!(
        (again.state.as_str(), again.news.as_slice()),
        ("proposed", &["now rhythm".to_owned()][..])
    );
}

#[tokio::test]
async fn why_adds_up_to_the_confidence() {
    let (site, _node) = site().await;
    let id = of(&review(&site, false).await, "mysql").id.clone();
    let why = operator(&site)
        .await
        .learn_why(v1::LearnWhyRequest { id })
        .await
        .unwrap();
    let why = why.into_inner();
    let odds: f64 = why.bias + why.reasons.iter().map(|reason| reason.weight).sum::<f64>();
    let confidence = why.left / (1.0 + (-odds).exp());
    let proposal = why.proposal.unwrap();
    assert!(
        (confidence - proposal.confidence).abs() < 1e-9,
        "{confidence} {proposal:?}"
    );
    assert_eq!((why.activity.len(), why.activity[0].connections), (1, 20));
    assert_eq!((why.days.len(), why.replicas.len()), (1, 1));
    assert_eq!(
        (why.allowed, why.decider.as_str()),
        (false, "default of shop/photo-db")
    );
    let unknown = v1::LearnWhyRequest { id: "ffff".into() };
    let error = operator(&site).await.learn_why(unknown).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn impact_tells_what_a_mode_or_files_would_have_dropped() {
    let (site, _node) = site().await;
    let protect = |files: &[&str]| v1::PolicyImpactRequest {
        mode: v1::Mode::Protect.into(),
        files: files
            .iter()
            .enumerate()
            .map(|(number, content)| v1::PolicyFile {
                name: format!("new-{number}.yaml"),
                content: (*content).to_owned(),
            })
            .collect(),
        ..Default::default()
    };
    let nothing = impact(&site, v1::PolicyImpactRequest::default()).await;
    assert!(
        nothing.rows.is_empty(),
        "in discover nothing is dropped: {nothing:?}"
    );
    let all = impact(&site, protect(&[])).await;
    assert_eq!(
        (all.conversations, all.connections, all.dropped_connections),
        (2, 21, 21)
    );
    let row = &all.rows[0];
    assert_eq!(
        (row.workload.as_str(), row.connections),
        ("shop/photo-db", 20)
    );
    assert_eq!(row.proposal, of(&review(&site, false).await, "mysql").id);
    let some = impact(&site, protect(&[common::ALLOWLIST, EGRESS])).await;
    assert_eq!(
        (some.dropped_connections, some.rows.len()),
        (1, 1),
        "{some:?}"
    );
    assert_eq!(some.rows[0].application, "redis");
    // Only one end in protect: the other one lets it pass, and that is said.
    let half = v1::PolicyImpactRequest {
        workload: "photo-db".into(),
        ..protect(&[])
    };
    let half = impact(&site, half).await;
    assert_eq!((half.rows.len(), half.conversations), (0, 2));
    assert!(
        half.notes[0].contains("21 connections") && half.notes[0].contains("shop/ai-model"),
        "{half:?}"
    );
    let broken = impact(&site, protect(&["kind: Nonsense"])).await;
    assert!(!broken.problems.is_empty() && broken.rows.is_empty());
    let far = v1::PolicyImpactRequest {
        days: 36,
        ..Default::default()
    };
    let error = operator(&site).await.policy_impact(far).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert_eq!(
        site.status().await.policy_version,
        1,
        "nothing was changed by asking"
    );
}

#[tokio::test]
async fn a_draft_is_counted_and_has_no_effect() {
    let (site, _node) = site().await;
    site.write("draft.yaml", DRAFT);
    site.write("egress.yaml", EGRESS);
    site.status_when(|status| status.allowlists == 2).await;
    let list = operator(&site)
        .await
        .policy_list(v1::PolicyListRequest {})
        .await;
    let list = list.unwrap().into_inner().policies;
    let draft = list.iter().find(|it| it.name == "photo-db-next").unwrap();
    assert_eq!(
        (draft.state.as_str(), draft.stage.as_str()),
        ("draft", "draft")
    );
    assert_eq!(
        (draft.would_allow, draft.would_deny, draft.hits),
        (20, 1, 2),
        "{draft:?}"
    );
    let other = list.iter().find(|it| it.name == "ai-model").unwrap();
    assert_eq!((other.state.as_str(), other.would_allow), ("enforced", 0));
    let proposals = review(&site, false).await;
    assert_eq!(
        of(&proposals, "mysql").state,
        "proposed",
        "a draft covers nothing"
    );
    let with = impact(
        &site,
        v1::PolicyImpactRequest {
            drafts: true,
            ..Default::default()
        },
    )
    .await;
    assert!(with.rows.is_empty(), "the client is in discover: {with:?}");
    assert_eq!(with.conversations, 2);
}

#[tokio::test]
async fn a_server_outside_goes_by_the_name_that_led_to_it() {
    let (site, node) = site().await;
    let fields = [
        ("dns.name", "api.example.com"),
        ("dns.address", "198.51.100.7, 198.51.100.8"),
    ];
    let answer = v1::FlowRecord {
        application: "dns".into(),
        protocol: 17,
        server_port: 53,
        event: v1::FlowEvent::Update.into(),
        fields: fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..record(&node.snapshot, 40)
    };
    let outside = |flow: u64, last: u8| v1::FlowRecord {
        application: "tls".into(),
        server_port: 443,
        server_identity: 0,
        server_address: vec![198, 51, 100, last],
        ..record(&node.snapshot, flow)
    };
    site.report(2, vec![answer, outside(41, 8), outside(42, 9)])
        .await;
    let map = operator(&site)
        .await
        .map(v1::MapRequest::default())
        .await
        .unwrap();
    let map = map.into_inner().conversations;
    let servers: Vec<&str> = map
        .iter()
        .filter(|it| it.application == "tls")
        .map(|it| it.server.as_str())
        .collect();
    assert_eq!(servers, ["[api.example.com]", "unknown"]);
    let proposals = review(&site, false).await;
    let named = proposals
        .iter()
        .find(|it| it.server == "[api.example.com]")
        .unwrap();
    let looked_up = "the client looked it up before, as api.example.com";
    assert!(
        named.reasons_for.iter().any(|it| it == looked_up),
        "{named:?}"
    );
    let accept = v1::LearnAcceptRequest {
        ids: vec![named.id.clone()],
        ..Default::default()
    };
    let accepted = operator(&site)
        .await
        .learn_accept(accept)
        .await
        .unwrap()
        .into_inner();
    assert!(
        accepted.files[0]
            .content
            .contains("domain: api.example.com"),
        "{accepted:?}"
    );
    let apply = v1::PolicyApplyRequest {
        files: accepted.files,
        dry_run: false,
    };
    assert!(
        operator(&site)
            .await
            .policy_apply(apply)
            .await
            .unwrap()
            .into_inner()
            .accepted
    );
    let proposals = review(&site, false).await;
    let named = proposals
        .iter()
        .find(|it| it.server == "[api.example.com]")
        .unwrap();
    assert_eq!(named.state, "covered", "a rule names it now");
}

#[tokio::test]
async fn an_end_that_the_node_does_not_know_is_found_by_its_address() {
    let (site, node) = site().await;
    let scoped = v1::FlowRecord {
        application: "http".into(),
        server_port: 8080,
        server_identity: 0,
        ..record(&node.snapshot, 50)
    };
    site.report(2, vec![scoped]).await;
    let proposals = review(&site, false).await;
    assert_eq!(of(&proposals, "http").server, "shop/photo-db");
}

#[tokio::test]
async fn a_renamed_workload_is_suggested_and_goes_on_when_that_is_confirmed() {
    let (site, _node) = site().await;
    let id = of(&review(&site, false).await, "redis").id.clone();
    let reject = v1::LearnRejectRequest {
        ids: vec![id],
        reason: String::new(),
    };
    operator(&site).await.learn_reject(reject).await.unwrap();
    let same = |old: &str, new: &str| v1::LearnSameRequest {
        old: old.into(),
        new: new.into(),
    };
    let early = operator(&site)
        .await
        .learn_same(same("shop/ai-model", "shop/photo-db"))
        .await;
    assert_eq!(
        early.unwrap_err().code(),
        tonic::Code::FailedPrecondition,
        "it is still there"
    );
    let workloads = common::WORKLOADS.replace("ai-model", "ai-model-v2");
    replace(&site.path("policy").join("workloads.yaml"), &workloads);
    site.status_when(|status| status.policy_version == 2).await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let client = node
        .snapshot
        .identities
        .iter()
        .find(|it| it.name == "shop/ai-model-v2");
    let client_identity = client.unwrap().id;
    let new = |flow: u64, application: &str, port: u32| v1::FlowRecord {
        flow_id: flow,
        client_identity,
        application: application.into(),
        server_port: port,
        ..old_record(&node.snapshot, flow, client_identity)
    };
    site.report(5, vec![new(60, "mysql", 3306), new(61, "redis", 6379)])
        .await;
    let request = v1::LearnReviewRequest::default();
    let reply = operator(&site)
        .await
        .learn_review(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.successions.len(), 1, "{reply:?}");
    let found = &reply.successions[0];
    assert_eq!(
        (found.old.as_str(), found.new.as_str()),
        ("shop/ai-model", "shop/ai-model-v2")
    );
    let moved = operator(&site)
        .await
        .learn_same(same(&found.old, &found.new))
        .await;
    let moved = moved.unwrap().into_inner();
    assert_eq!((moved.conversations, moved.decisions), (2, 1));
    let rejected = review(&site, true).await;
    assert_eq!(of(&rejected, "redis").client, "shop/ai-model-v2");
    let proposals = review(&site, false).await;
    assert_eq!(
        (proposals.len(), proposals[0].connections),
        (1, 20),
        "counts of one point are not added"
    );
}

/// As [`record`] where the usual client has another name.
fn old_record(snapshot: &v1::Snapshot, flow: u64, client: u32) -> v1::FlowRecord {
    let mut named = snapshot.clone();
    for identity in &mut named.identities {
        if identity.id == client {
            identity.name = "shop/ai-model".into();
        }
    }
    record(&named, flow)
}
