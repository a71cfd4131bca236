//! TLS both ways: nodes with a certificate of the authority get in, others do not.

mod common;

use std::path::Path;

use common::{Node, Site, hello};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig};
use weir_api::{Endpoint, TlsFiles};
use weir_controller::{Config, Controller};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, directory: &Path, name: &str) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
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

    let node_files = ours.issue(root, "node");
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
        Ok(mut node) => matches!(node.incoming.message().await, Ok(Some(_))),
        Err(_) => false,
    }
}
