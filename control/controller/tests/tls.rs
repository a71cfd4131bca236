//! TLS both ways: nodes with a certificate of the authority get in, others do not.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Node, Site, hello};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig};
use weir_api::v1::controller_message::Message;
use weir_api::v1::observations_client::ObservationsClient;
use weir_api::v1::operator_client::OperatorClient;
use weir_api::v1::wire;
use weir_api::{Endpoint, TlsFiles, v1};
use weir_controller::{Config, Controller, StartError};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, directory: &Path, name: &str) -> TlsFiles {
        self.issue_until(directory, name, rcgen::date_time_ymd(2070, 1, 1))
    }

    /// Replaces files of that name.
    fn issue_until(&self, directory: &Path, name: &str, end: time::OffsetDateTime) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = end;
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let file = |part: &str, text: &str| {
            let path = directory.join(format!("{name}-{part}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        TlsFiles {
            ca: file("ca", &self.0.pem()),
            certificate: file("certificate", &certificate.pem()),
            key: file("key", &key.serialize_pem()),
        }
    }
}

#[tokio::test]
async fn only_certificates_of_the_authority_get_in() {
    let mut site = Site::start().await;
    site.stop().await;
    let root = site.root.path();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let controller_files = ours.issue(root, "controller");
    let config = Config {
        node_listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(controller_files),
        ..site.config()
    };
    let controller = Controller::start(config).await.unwrap();
    let address = controller.node_listen.to_string();
    let endpoint: Endpoint = format!("https://{address}").parse().unwrap();

    // Issued by the right authority, for another node.
    let other_files = ours.issue(root, "node-2");
    let channel = endpoint
        .connect(Some(&other_files), Some("localhost"))
        .await
        .unwrap();
    let mut other = Node::subscribe(channel.clone(), hello(0)).await.unwrap();
    let Message::Failure(failure) = other.next().await else {
        panic!("node-2 speaks for node-1")
    };
    assert!(
        failure.reason.contains("node-1") && failure.reason.contains("node-2"),
        "{failure:?}"
    );
    let batch = v1::ObservationBatch {
        node: "node-1".into(),
        ..Default::default()
    };
    let mut observations = ObservationsClient::new(channel.clone());
    let answers = observations.report(tokio_stream::iter([batch])).await;
    let refused = answers.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut operator = OperatorClient::new(channel);
    let refused = operator.status(v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(
        refused.code(),
        tonic::Code::Unimplemented,
        "no operators here"
    );

    let node_files = ours.issue(root, "node-1");
    let channel = endpoint
        .connect(Some(&node_files), Some("localhost"))
        .await
        .unwrap();
    let mut node = Node::subscribe(channel, hello(0)).await.unwrap();
    assert!(node.take().await);

    let stranger = theirs.issue(root, "stranger");
    let trusting = TlsFiles {
        ca: node_files.ca.clone(),
        ..stranger
    };
    let refused = match endpoint.connect(Some(&trusting), Some("localhost")).await {
        Err(_) => true,
        Ok(channel) => !is_served(channel).await,
    };
    assert!(refused, "a certificate of another authority");

    let ca = Certificate::from_pem(std::fs::read_to_string(&node_files.ca).unwrap());
    let nameless = ClientTlsConfig::new()
        .ca_certificate(ca)
        .domain_name("localhost");
    let uri = tonic::transport::Endpoint::from_shared(format!("https://{address}")).unwrap();
    let refused = match uri.tls_config(nameless).unwrap().connect().await {
        Err(_) => true,
        Ok(channel) => !is_served(channel).await,
    };
    assert!(refused, "no certificate");

    let plain: Endpoint = format!("http://{address}").parse().unwrap();
    let refused = match plain.connect(None, None).await {
        Err(_) => true,
        Ok(channel) => !is_served(channel).await,
    };
    assert!(refused, "no TLS");

    let distrusting = TlsFiles {
        ca: theirs.issue(root, "other").ca,
        ..node_files
    };
    let error = endpoint
        .connect(Some(&distrusting), Some("localhost"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("certificate"),
        "the client checks too: {error}"
    );
    drop(node);
    controller.stop().await;
}

async fn is_served(channel: tonic::transport::Channel) -> bool {
    match Node::subscribe(channel, hello(0)).await {
        Ok(mut node) => matches!(
            node.incoming.message().await,
            Ok(Some(wire::ControllerMessage {
                message: Some(wire::controller_message::Message::Snapshot(_))
            }))
        ),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_node_is_no_operator() {
    let mut site = Site::start().await;
    let here = site.operator().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let channel = Endpoint::Unix(site.path("controller.sock"));
    let channel = channel.connect(None, None).await.unwrap();
    let refused = Node::subscribe(channel, hello(0)).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    drop((here, node));
    site.stop().await;

    let root = site.root.path();
    let (nodes, operators) = (Authority::new(), Authority::new());
    let config = |operator_ca| Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        node_listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(nodes.issue(root, "controller")),
        operator_ca,
        admission: None,
        bundle: None,
        ..site.config()
    };
    let operator_files = operators.issue(root, "operator");
    let node_files = nodes.issue(root, "node-1");
    for authority in [None, Some(node_files.ca.clone())] {
        let refused = Controller::start(config(authority)).await.err();
        assert!(matches!(refused, Some(StartError::OperatorAuthority(..))));
    }
    let controller = Controller::start(config(Some(operator_files.ca.clone())))
        .await
        .unwrap();
    let endpoint: Endpoint = format!("https://{}", controller.listen).parse().unwrap();
    for (files, served) in [(&operator_files, true), (&node_files, false)] {
        let trusting = TlsFiles {
            ca: node_files.ca.clone(),
            ..files.clone()
        };
        let answer = match endpoint.connect(Some(&trusting), Some("localhost")).await {
            Ok(channel) => OperatorClient::new(channel)
                .status(v1::StatusRequest {})
                .await
                .is_ok(),
            Err(_) => false,
        };
        assert_eq!(answer, served);
    }
    controller.stop().await;
}

/// A controller that serves nodes over TLS with these files, and where.
async fn start(site: &Site, files: TlsFiles) -> (Controller, Endpoint) {
    let config = Config {
        node_listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(files),
        ..site.config()
    };
    let controller = Controller::start(config).await.unwrap();
    let endpoint = format!("https://{}", controller.node_listen);
    (controller, endpoint.parse().unwrap())
}

/// Nothing in these tests takes longer than this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(240);

async fn failure_of(node: &mut Node) -> String {
    let ended = async {
        loop {
            match node.incoming.message().await {
                Ok(Some(message)) => {
                    if let Some(wire::controller_message::Message::Failure(failure)) =
                        message.message
                    {
                        return failure.reason;
                    }
                }
                Ok(None) => panic!("it ends without a word"),
                Err(status) => panic!("{status:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the stream ends")
}

#[tokio::test]
async fn an_authority_is_replaced_while_nodes_are_connected() {
    let mut site = Site::start().await;
    site.stop().await;
    let root = site.root.path();
    let (old, new) = (Authority::new(), Authority::new());
    let old_files = old.issue(root, "node-1");
    let (controller, endpoint) = start(&site, old.issue(root, "controller")).await;
    let channel = endpoint
        .connect(Some(&old_files), Some("localhost"))
        .await
        .unwrap();
    let mut standing = Node::subscribe(channel, hello(0)).await.unwrap();
    assert!(standing.take().await);

    // Both ends get files of the new authority; nothing is restarted.
    new.issue(root, "controller");
    std::fs::create_dir(root.join("new")).unwrap();
    let new_files = new.issue(&root.join("new"), "node-1");
    let why = failure_of(&mut standing).await;
    assert!(why.contains("does not let it in any more"), "{why}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut node = loop {
        let connected = endpoint.connect(Some(&new_files), Some("localhost")).await;
        if let Ok(channel) = connected
            && let Ok(node) = Node::subscribe(channel, hello(0)).await
        {
            break node;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new files are not used"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(node.take().await);
    let refused = match endpoint.connect(Some(&old_files), Some("localhost")).await {
        Err(_) => true,
        Ok(channel) => !is_served(channel).await,
    };
    assert!(refused, "the old authority is trusted no more");
    drop(node);
    controller.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_certificate_it_was_opened_with_expires() {
    let mut site = Site::start().await;
    site.stop().await;
    let root = site.root.path();
    let authority = Authority::new();
    let (controller, endpoint) = start(&site, authority.issue(root, "controller")).await;
    let soon = time::OffsetDateTime::now_utc() + Duration::from_secs(8);
    let files = authority.issue_until(root, "node-1", soon);
    let channel = endpoint
        .connect(Some(&files), Some("localhost"))
        .await
        .unwrap();
    let mut node = Node::subscribe(channel, hello(0)).await.unwrap();
    assert!(node.take().await);
    let why = failure_of(&mut node).await;
    assert!(
        why.contains("does not let it in any more") && why.contains("expired"),
        "{why}"
    );
    assert!(why.contains("clocks"), "what to do: {why}");
    controller.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_and_a_wrong_clock_are_told_on_both_sides() {
    let mut site = Site::start().await;
    site.stop().await;
    let root = site.root.path();
    let authority = Authority::new();
    let past = rcgen::date_time_ymd(2020, 1, 1);
    let node_files = authority.issue(root, "node-1");
    let expired = authority.issue_until(root, "controller", past);
    let (controller, endpoint) = start(&site, expired).await;
    let error = endpoint
        .connect(Some(&node_files), Some("localhost"))
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("expired") && error.contains("compare the clocks"),
        "{error}"
    );
    controller.stop().await;
    let (controller, endpoint) = start(&site, authority.issue(root, "controller")).await;
    let expired = authority.issue_until(root, "node-1", past);
    let error = match endpoint.connect(Some(&expired), Some("localhost")).await {
        Err(error) => error.to_string(),
        Ok(channel) => match Node::subscribe(channel, hello(0)).await {
            Err(status) => weir_api::explained(&status),
            Ok(mut node) => weir_api::explained(&node.incoming.message().await.unwrap_err()),
        },
    };
    assert!(error.to_lowercase().contains("expired"), "{error}");
    controller.stop().await;
}
