//! Captures over the real endpoints: a rule fires, a node is told, and what the node says comes back to
//! operators.

mod common;

use common::{PATIENCE, Site, alert, hello};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use weir_api::v1::capture_order::Order;
use weir_api::v1::capture_report::Report;
use weir_api::v1::captures_client::CapturesClient;
use weir_api::v1::wanted_capture::What;
use weir_api::v1::{self, CaptureState};

/// A node's stream of captures.
struct Follower {
    reports: mpsc::Sender<v1::CaptureReport>,
    orders: Streaming<v1::CaptureOrder>,
}

impl Follower {
    /// Says hello and what it makes already.
    async fn open(site: &Site, node: &str, makes: Vec<v1::CaptureStatus>) -> Self {
        let (reports, outgoing) = mpsc::channel(8);
        let mut client = CapturesClient::new(site.nodes().await);
        let hello = v1::CaptureHello {
            node: node.into(),
            software: "test".into(),
        };
        let report = Some(Report::Hello(hello));
        reports.send(v1::CaptureReport { report }).await.unwrap();
        let response = client.follow(ReceiverStream::new(outgoing)).await;
        let follower = Self {
            reports,
            orders: response.unwrap().into_inner(),
        };
        follower.tells(makes).await;
        follower
    }

    async fn tells(&self, captures: Vec<v1::CaptureStatus>) {
        self.says(Report::Statuses(v1::CaptureStatuses {
            captures,
            directory: "/var/lib/weir/node/captures".into(),
            kept_bytes: 5,
            kept_bytes_max: 1 << 20,
        }))
        .await;
    }

    async fn says(&self, report: Report) {
        let report = Some(report);
        self.reports
            .send(v1::CaptureReport { report })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Order {
        let order = tokio::time::timeout(PATIENCE, self.orders.message()).await;
        let order = order.expect("an order in time").unwrap();
        order.expect("the stream is open").order.unwrap()
    }

    /// What is wanted, once it is so many captures.
    async fn wanted(&mut self, number: usize) -> Vec<v1::WantedCapture> {
        loop {
            if let Order::Wanted(wanted) = self.next().await
                && wanted.captures.len() == number
            {
                return wanted.captures;
            }
        }
    }
}

fn status(wanted: &v1::WantedCapture, state: CaptureState) -> v1::CaptureStatus {
    v1::CaptureStatus {
        id: wanted.id.clone(),
        state: state.into(),
        packets: 3,
        bytes: 300,
        file: "20261118T110640Z-a-b-c.pcapng".into(),
        since_unix_us: 1_900_000_000_000_000,
        wanted: Some(wanted.clone()),
        ..Default::default()
    }
}

async fn list(site: &Site) -> v1::CaptureReply {
    let mut operator = site.operator().await;
    let reply = operator.capture_list(v1::CaptureListRequest {}).await;
    reply.unwrap().into_inner()
}

/// The captures once one is in this state.
async fn list_when(site: &Site, state: CaptureState) -> v1::CaptureReply {
    let wanted = async {
        loop {
            let reply = list(site).await;
            let mut statuses = reply
                .captures
                .iter()
                .filter_map(|view| view.status.as_ref());
            if statuses.any(|it| it.state() == state) {
                return reply;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wanted)
        .await
        .expect("never as wanted")
}

const RULE: &str = "\
apiVersion: weir.dev/v1alpha1
kind: ResponseRule
metadata: {name: keep, namespace: shop}
spec:
  when: {threat: {names: [sql-injection]}}
  actions: [{capture: {packets: 50, duration: 2m}}]
";

fn start(flow: &str, workload: &str) -> v1::CaptureStartRequest {
    v1::CaptureStartRequest {
        flow: flow.into(),
        workload: workload.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_threat_has_its_connection_captured_on_the_node_that_saw_it() {
    let mut site = Site::start().await;
    site.write("rule.yaml", RULE);
    site.restart().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let version = site.status().await.policy_version;
    let mut here = Follower::open(&site, "node-1", vec![]).await;
    let mut there = Follower::open(&site, "node-2", vec![]).await;
    assert!(here.wanted(0).await.is_empty() && there.wanted(0).await.is_empty());

    site.report(1, vec![alert(&node.snapshot, 8)]).await;
    let wanted = here.wanted(1).await.remove(0);
    let flow = v1::CaptureFlow {
        client_address: vec![10, 91, 0, 2],
        server_address: vec![10, 91, 0, 3],
        client_port: 40_000,
        server_port: 3306,
        protocol: 6,
        zone: 0,
        flow_id: 8,
    };
    assert_eq!(wanted.what, Some(What::Flow(flow)));
    assert_eq!((wanted.packets_max, wanted.bytes_max), (50, 10 << 20));
    assert!(
        (100_000..=120_000).contains(&wanted.left_ms),
        "{}",
        wanted.left_ms
    );
    assert_eq!(wanted.by, "shop/keep");
    assert_eq!(wanted.of, "10.91.0.2:40000->10.91.0.3:3306");
    assert!(
        wanted.because.contains("sql-injection"),
        "{}",
        wanted.because
    );
    // No policy came of it, and the other node has nothing to do with it.
    assert_eq!(site.status().await.policy_version, version);
    let reply = list(&site).await;
    let view = &reply.captures[0];
    let state = view.status.as_ref().map(v1::CaptureStatus::state);
    assert_eq!(
        (view.node.as_str(), state),
        ("node-1", Some(CaptureState::Waiting))
    );

    // The same again begins nothing and is counted.
    site.report(2, vec![alert(&node.snapshot, 8)]).await;
    here.tells(vec![status(&wanted, CaptureState::Running)])
        .await;
    let reply = list_when(&site, CaptureState::Running).await;
    assert_eq!((reply.captures.len(), reply.refused), (1, 1));

    // A stream that breaks ends nothing; a controller that begins anew takes over what is running.
    drop((here, there, node));
    site.restart().await;
    let running = vec![status(&wanted, CaptureState::Running)];
    let mut here = Follower::open(&site, "node-1", running).await;
    let again = here.wanted(1).await.remove(0);
    assert_eq!(
        (again.id, again.what),
        (wanted.id.clone(), wanted.what.clone())
    );

    // What the node has done is not wanted any more, and what has failed is a problem that is told.
    let mut failed = status(&wanted, CaptureState::Failed);
    failed.why = "No space left on device".into();
    failed.until_unix_us = 1_900_000_000_000_000;
    here.tells(vec![failed]).await;
    assert!(here.wanted(0).await.is_empty());
    let told = site.status().await.problems;
    assert!(
        told.iter().any(|it| it.message.contains("No space left")),
        "{told:?}"
    );
    site.stop().await;
}

#[tokio::test]
async fn operators_start_stop_and_fetch() {
    let mut site = Site::start().await;
    let mut operator = site.operator().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    site.report(1, vec![common::record(&node.snapshot, 7)])
        .await;
    let nobody = operator.capture_start(start("", "shop/photo-db")).await;
    let nobody = nobody.unwrap_err();
    assert_eq!(nobody.code(), Code::FailedPrecondition, "{nobody}");
    assert!(nobody.message().contains("no node"), "{nobody}");

    let nobody = operator.capture_start(start("1:7", "")).await;
    assert_eq!(nobody.unwrap_err().code(), Code::FailedPrecondition);
    let mut follower = Follower::open(&site, "node-1", vec![]).await;
    follower.wanted(0).await;
    for (asked, code) in [
        (start("", ""), Code::InvalidArgument),
        (start("1:7", "shop/photo-db"), Code::InvalidArgument),
        (start("1:9", ""), Code::NotFound),
        (start("", "shop/nobody"), Code::NotFound),
        (start("", "photo-db"), Code::NotFound),
    ] {
        let refused = operator.capture_start(asked.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{asked:?}: {refused}");
    }
    for limits in [
        v1::CaptureStartRequest {
            packets: 1_000_001,
            ..start("1:7", "")
        },
        v1::CaptureStartRequest {
            bytes: 10,
            ..start("1:7", "")
        },
        v1::CaptureStartRequest {
            duration_s: 3_601,
            ..start("1:7", "")
        },
        v1::CaptureStartRequest {
            duration_s: u64::MAX,
            ..start("1:7", "")
        },
    ] {
        let refused = operator.capture_start(limits).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    operator.capture_start(start("1:7", "")).await.unwrap();
    let again = operator.capture_start(start("1:7", "")).await.unwrap_err();
    assert!(again.message().contains("already"), "{again}");
    follower.wanted(1).await;
    operator
        .capture_start(start("", "shop/photo-db"))
        .await
        .unwrap();
    let wanted = follower.wanted(2).await;
    let workload = wanted.iter().find_map(|it| match &it.what {
        Some(What::Workload(workload)) => Some((it.clone(), workload.networks.clone())),
        _ => None,
    });
    let (capture, networks) = workload.expect("the workload's capture");
    assert_eq!(
        (capture.of.as_str(), capture.by.as_str()),
        ("shop/photo-db", "operator")
    );
    let bits: Vec<_> = networks
        .iter()
        .map(|it| (it.network.len(), it.prefix_bits))
        .collect();
    assert_eq!(bits, [(4, 32), (16, 128)]);

    // The file comes in pieces, or not at all with the node's reason.
    let fetch = |id: &str| v1::CaptureFetchRequest {
        id: id.to_owned(),
        node: String::new(),
    };
    let early = operator
        .capture_fetch(fetch(&capture.id))
        .await
        .unwrap_err();
    assert_eq!(early.code(), Code::NotFound, "{early}");
    follower
        .tells(vec![status(&capture, CaptureState::Running)])
        .await;
    list_when(&site, CaptureState::Running).await;
    for fails in [false, true] {
        let mut pieces = operator
            .capture_fetch(fetch(&capture.id))
            .await
            .unwrap()
            .into_inner();
        let Order::Read(read) = follower.next().await else {
            panic!("a file is to be read");
        };
        assert_eq!(read.file, "20261118T110640Z-a-b-c.pcapng");
        for (piece, last) in [(b"first".to_vec(), false), (Vec::new(), true)] {
            let piece = v1::CapturePiece {
                request: read.request,
                piece,
                last,
                error: if fails {
                    "no file".into()
                } else {
                    String::new()
                },
            };
            follower.says(Report::Piece(piece)).await;
        }
        if fails {
            let refused = pieces.message().await.unwrap_err();
            assert!(refused.message().contains("no file"), "{refused}");
            continue;
        }
        let mut whole = Vec::new();
        while let Some(piece) = pieces.message().await.unwrap() {
            whole.extend(piece.piece);
        }
        assert_eq!(whole, b"first");
    }

    let stop = |ids: &[&str], all| v1::CaptureStopRequest {
        ids: ids.iter().map(|&id| id.to_owned()).collect(),
        all,
    };
    let unknown = operator
        .capture_stop(stop(&["abc"], false))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    operator
        .capture_stop(stop(&[&capture.id], false))
        .await
        .unwrap();
    assert_eq!(follower.wanted(1).await.len(), 1);
    operator.capture_stop(stop(&[], true)).await.unwrap();
    follower.wanted(0).await;
    site.stop().await;
}

#[tokio::test]
async fn ten_thousand_triggers_begin_as_many_captures_as_a_rule_may() {
    let mut site = Site::start().await;
    site.write("rule.yaml", RULE);
    site.restart().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let mut follower = Follower::open(&site, "node-1", vec![]).await;
    follower.wanted(0).await;
    let of = |number: u64| v1::FlowRecord {
        client_port: (number % 60_000) as u32 + 1,
        ..alert(&node.snapshot, 2 * number + 2)
    };
    // Batches small enough that nothing is lost before rules look at it.
    for batch in 0..20 {
        let records = (0..500).map(|number| of(batch * 500 + number)).collect();
        site.report(batch + 1, records).await;
    }
    let refused = async {
        while list(&site).await.refused == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("what is too much is counted");
    let running = weir_respond::capture::RUNNING_PER_RULE_MAX;
    assert_eq!(follower.wanted(running).await.len(), running);
    assert_eq!(list(&site).await.captures.len(), running);
    site.stop().await;
}
