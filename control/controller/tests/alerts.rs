//! Alerts from nodes to operators, and what they say of a conversation.

mod common;

use common::{Node, Site, alert, hello, record};
use tokio_stream::StreamExt;
use weir_api::v1;

async fn site() -> (Site, Node) {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let flows = (1..=20).map(|flow| record(&node.snapshot, flow)).collect();
    site.report(1, flows).await;
    (site, node)
}

async fn listed(site: &Site, request: v1::AlertsRequest) -> Vec<v1::FlowView> {
    let stream = site.operator().await.alerts(request).await.unwrap();
    stream.into_inner().map(Result::unwrap).collect().await
}

async fn proposal(site: &Site) -> v1::Proposal {
    let request = v1::LearnReviewRequest::default();
    let reply = site.operator().await.learn_review(request).await.unwrap();
    reply.into_inner().proposals.remove(0)
}

async fn counts(site: &Site) -> v1::AlertCounts {
    site.status().await.alerts.unwrap()
}

#[tokio::test]
async fn a_conversation_with_alerts_is_doubted() {
    let (site, node) = site().await;
    let before = proposal(&site).await;
    assert!(before.reasons_against.is_empty(), "{before:?}");
    let alerts: Vec<_> = (1..=3).map(|flow| alert(&node.snapshot, flow)).collect();
    site.report(2, alerts.clone()).await;
    // The node does not know that they arrived.
    site.report(2, alerts).await;
    let after = proposal(&site).await;
    assert!(after.confidence < before.confidence, "{after:?}");
    assert_eq!(after.reasons_against, ["3 alerts were raised on it"]);
    assert_eq!(after.connections, before.connections);
    assert_eq!(counts(&site).await.raised, 3);

    let all = listed(&site, v1::AlertsRequest::default()).await;
    assert_eq!(all.len(), 3);
    let newest = all.last().unwrap();
    assert_eq!(newest.client, "shop/ai-model");
    assert_eq!(newest.record, Some(alert(&node.snapshot, 3)));
}

#[tokio::test]
async fn an_alert_before_the_application_is_known_is_not_lost() {
    let (site, node) = site().await;
    let early = v1::FlowRecord {
        application: String::new(),
        ..alert(&node.snapshot, 30)
    };
    site.report(2, vec![early]).await;
    assert!(proposal(&site).await.reasons_against.is_empty());
    site.report(3, vec![record(&node.snapshot, 30)]).await;
    let told = proposal(&site).await.reasons_against;
    assert_eq!(told, ["an alert was raised on it"]);
}

#[tokio::test]
async fn a_packet_without_a_flow_makes_no_conversation() {
    let (site, node) = site().await;
    let apart = v1::FlowRecord {
        application: String::new(),
        client_identity: 0,
        server_port: 4444,
        wire_action: v1::WireAction::Drop.into(),
        ..alert(&node.snapshot, 0)
    };
    site.report(2, vec![apart]).await;
    assert_eq!(counts(&site).await.raised, 1);
    assert_eq!(site.status().await.conversations, 1);
}

#[tokio::test]
async fn what_is_no_alert_is_counted_and_the_rest_is_taken() {
    let (site, node) = site().await;
    let missing = v1::FlowRecord {
        alert: None,
        ..alert(&node.snapshot, 1)
    };
    let mut strange = alert(&node.snapshot, 2);
    strange.alert.as_mut().unwrap().kind = 77;
    let mut long = alert(&node.snapshot, 3);
    long.alert.as_mut().unwrap().excerpt = "x".repeat(100_000);
    site.report(2, vec![missing, strange, long]).await;
    let counts = counts(&site).await;
    assert_eq!((counts.raised, counts.refused), (1, 2));
    let all = listed(&site, v1::AlertsRequest::default()).await;
    let excerpt = &all[0]
        .record
        .as_ref()
        .unwrap()
        .alert
        .as_ref()
        .unwrap()
        .excerpt;
    assert_eq!(excerpt.len(), 512);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_told_of_and_not_believed() {
    let (site, node) = site().await;
    let year_us = 365 * 24 * 3600 * 1_000_000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_us = u64::try_from(now.unwrap().as_micros()).unwrap();
    let late = v1::FlowRecord {
        time_unix_us: now_us + year_us,
        first_seen_unix_us: now_us + year_us,
        ..alert(&node.snapshot, 1)
    };
    site.report(2, vec![late]).await;
    let told = listed(&site, v1::AlertsRequest::default()).await;
    let record = told[0].record.as_ref().unwrap();
    let minute_us = 60_000_000;
    assert!(
        record.time_unix_us < now_us + minute_us && record.first_seen_unix_us < now_us + minute_us
    );
    let problem = &site.status().await.problems[0];
    assert!(
        problem.message.contains("the clock of node") && problem.message.contains("ahead"),
        "{problem:?}"
    );
    // Set right, it is well again.
    site.report(3, vec![record_of_now(&node, now_us)]).await;
    assert_eq!(site.status().await.problems, []);
}

fn record_of_now(node: &Node, now_us: u64) -> v1::FlowRecord {
    v1::FlowRecord {
        time_unix_us: now_us,
        ..record(&node.snapshot, 2)
    }
}
