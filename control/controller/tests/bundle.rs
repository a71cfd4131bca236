//! Signed policy reaches nodes as it was signed, with the policy and when it changes.

mod common;

use common::{ALLOWLIST, Site, hello};
use weir_api::v1;
use weir_api::v1::controller_message::Message as FromController;
use weir_api::v1::node_message::Message as FromNode;
use weir_bundle::{Algorithm, Bundle, PrivateKey, SignedBundle, generate};
use weir_controller::{Config, Controller};
use weir_model::parse_documents;

fn signed(sequence: u64, key: &PrivateKey) -> SignedBundle {
    let (documents, _) = parse_documents("x.yaml", ALLOWLIST);
    let documents = documents.into_iter().map(|located| located.value).collect();
    let bundle = Bundle::new("shop", sequence, 1, None, documents).unwrap();
    let mut signed = SignedBundle::new(bundle.payload().unwrap());
    signed.sign(key).unwrap();
    signed
}

#[tokio::test]
async fn nodes_get_what_was_signed_and_what_is_signed_next() {
    let mut site = Site::start().await;
    site.stop().await;
    site.write("allowlist.yaml", ALLOWLIST);
    let made = generate(Algorithm::Ed25519).unwrap();
    let key = PrivateKey::from_pem(&made.private_pem).unwrap();
    let (first, second) = (signed(1, &key), signed(2, &key));
    let path = site.path("shop.bundle");
    std::fs::write(&path, first.to_file()).unwrap();
    let config = Config {
        bundle: Some(path.clone().into()),
        ..site.config()
    };
    site.controller = Some(Controller::start(config).await.unwrap());
    let hello = v1::Hello {
        protocol_max: weir_api::PROTOCOL_VERSION,
        ..hello(0)
    };
    let mut node = site.subscribe(hello).await;
    let FromController::Welcome(_) = node.next().await else {
        panic!("version 2 begins with a welcome");
    };
    let snapshot = match (node.next().await, node.next().await) {
        (FromController::Welcome(_), FromController::Snapshot(snapshot)) => snapshot,
        other => panic!("the first is whole, with a welcome of its own: {other:?}"),
    };
    assert_eq!(snapshot.bundle.unwrap().payload, first.payload);
    assert_eq!(snapshot.rules.len(), 1);
    let applied = v1::Applied {
        version: snapshot.version,
        checksum: snapshot.checksum,
    };
    node.say(FromNode::Applied(applied)).await;
    std::fs::write(&path, "{").unwrap();
    std::fs::write(&path, second.to_file()).unwrap();
    let FromController::Delta(delta) = node.next().await else {
        panic!("what follows is a change");
    };
    assert_eq!(delta.bundle.unwrap().payload, second.payload);
    assert!(delta.rules.is_empty());
}
