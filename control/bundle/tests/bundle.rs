//! What is signed is one text whatever it came from, and what is not signed is not taken.

use proptest::prelude::*;
use std::collections::BTreeMap;

use weir_bundle::{
    Algorithm, Bundle, BundleError, DIGEST_ANNOTATION, PART_ANNOTATION, PART_KEY, Part, PrivateKey,
    PublicKey, SignedBundle, VerifyError, generate, join, part_of, split,
};
use weir_model::{Document, parse_documents};

const POLICY: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {workload: photo-db}
  ingress:
    - {from: [{workload: ai-model}], applications: [mysql], ports: [3306]}
---
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: all, namespace: shop}
spec: {target: {matchLabels: {}}, mode: protect}
---
apiVersion: weir.dev/v1alpha1
kind: Sensor
metadata: {name: tokens, namespace: shop}
spec: {where: [body], patterns: [{name: token, regex: 'tok_[a-z]+', entropy: 3.5}]}
";

fn documents(text: &str) -> Vec<Document> {
    let (documents, problems) = parse_documents("x.yaml", text);
    assert_eq!(problems, []);
    documents.into_iter().map(|located| located.value).collect()
}

fn bundle(documents: Vec<Document>) -> Bundle {
    Bundle::new("shop", 3, 1_760_000_000, Some(1_790_000_000), documents).unwrap()
}

fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::from_pem(&generate(algorithm).unwrap().private_pem).unwrap()
}

fn signed(keys: &[&PrivateKey]) -> SignedBundle {
    let mut signed = SignedBundle::new(bundle(documents(POLICY)).payload().unwrap());
    keys.iter().for_each(|key| signed.sign(key).unwrap());
    signed
}

#[test]
fn comments_order_and_spelling_do_not_change_what_is_signed() {
    let first = bundle(documents(POLICY));
    let mut turned: Vec<&str> = POLICY.split("---\n").collect();
    turned.reverse();
    let other = turned
        .join("---\n# a comment\n")
        .replace("[3306]", "[\"3306\"]");
    let second = bundle(documents(&other));
    assert_eq!(first.payload().unwrap(), second.payload().unwrap());
    assert_eq!(first.documents_digest(), second.documents_digest());
    let json = serde_json::to_string(&first.documents()[0]).unwrap();
    assert_eq!(documents(&json)[0], first.documents()[0]);
    let narrower = bundle(documents(&POLICY.replace("3306", "3307")));
    assert_ne!(first.documents_digest(), narrower.documents_digest());
}

#[test]
fn a_payload_reads_back_and_only_in_its_own_form() {
    let written = bundle(documents(POLICY));
    let payload = written.payload().unwrap();
    assert_eq!(Bundle::read(&payload).unwrap(), written);
    let text = String::from_utf8(payload).unwrap();
    let refused = |text: String| Bundle::read(text.as_bytes()).unwrap_err();
    for (from, to) in [
        ("{\"apiVersion\"", "{ \"apiVersion\""),
        ("\"sequence\":3", "\"sequence\":9,\"sequence\":3"),
        ("\"sequence\":3", "\"sequence\":3.0"),
    ] {
        assert!(text.contains(from));
        let error = refused(text.replacen(from, to, 1));
        assert!(matches!(error, BundleError::NotCanonical), "{error}");
    }
    let error = refused(text.replace("3306", "3307"));
    assert!(matches!(error, BundleError::Digest { .. }), "{error}");
    let error = refused(text.replace("\"format\":1", "\"format\":2"));
    assert!(matches!(error, BundleError::Format(2)), "{error}");
    let error = refused(text.replace("PolicyBundle", "Mode"));
    assert!(matches!(error, BundleError::NotABundle(_)), "{error}");
    let error = refused(text.replace("\"name\":\"shop\"", "\"name\":\"Shop\""));
    assert!(matches!(error, BundleError::Content(_)), "{error}");
}

#[test]
fn documents_occur_once_and_expiry_follows_creation() {
    let twice = [documents(POLICY), documents(POLICY)].concat();
    let error = Bundle::new("shop", 1, 1, None, twice)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("allowlist shop/photo-db is there twice"),
        "{error}"
    );
    assert!(Bundle::new("shop", 1, 10, Some(10), Vec::new()).is_err());
    assert!(Bundle::new("Shop", 1, 10, None, Vec::new()).is_err());
}

#[test]
fn only_wanted_keys_count_and_each_once() {
    let (one, two, other) = (
        key(Algorithm::Ed25519),
        key(Algorithm::EcdsaP256),
        key(Algorithm::Ed25519),
    );
    let public = |keys: &[&PrivateKey]| -> Vec<PublicKey> {
        keys.iter().map(|key| key.public().clone()).collect()
    };
    let both = signed(&[&one, &two]);
    let verified = both.verify(&public(&[&one, &two]), 2).unwrap();
    assert_eq!(verified.signers.len(), 2);
    assert!(both.verify(&public(&[&two, &other]), 1).is_ok());
    assert!(
        both.verify(&public(&[&one, &one]), 2).is_err(),
        "one key is one signer"
    );
    assert!(both.verify(&[], 0).is_err(), "nobody is nobody");
    let lacking = |bundle: &SignedBundle, keys: &[&PrivateKey], threshold, word: &str| {
        let error = bundle.verify(&public(keys), threshold).unwrap_err();
        assert!(matches!(error, VerifyError::Signatures { .. }));
        assert!(error.to_string().contains(word), "{error}");
    };
    lacking(&signed(&[]), &[&one], 1, "not signed");
    lacking(&signed(&[&other]), &[&one], 1, "is signed by");
    lacking(&signed(&[&one]), &[&one, &two], 2, "1 of the 2");
    let mut altered = signed(&[&one]);
    altered.payload = String::from_utf8(altered.payload)
        .unwrap()
        .replace("3306", "3307")
        .into();
    lacking(&altered, &[&one], 1, "altered");
    let mut renamed = signed(&[&other]);
    renamed.signatures[0].key_id = one.public().id().to_string();
    lacking(&renamed, &[&one], 1, "altered");
}

#[test]
fn a_file_holds_the_bundle_or_a_bare_payload() {
    let one = key(Algorithm::Ed25519);
    let signed = signed(&[&one]);
    assert_eq!(
        SignedBundle::from_file(signed.to_file().as_bytes()).unwrap(),
        signed
    );
    let bare = SignedBundle::from_file(&signed.payload).unwrap();
    assert_eq!((bare.payload, bare.signatures), (signed.payload, vec![]));
    for broken in [
        "",
        "{}",
        "[]",
        "\u{0}",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}",
    ] {
        let error = SignedBundle::from_file(broken.as_bytes()).unwrap_err();
        assert!(matches!(error, BundleError::NotABundle(_)), "{error}");
    }
}

#[test]
fn parts_make_a_bundle_only_together() {
    let text = "ä".repeat(1 << 20);
    let mut parts = split(&text);
    assert_eq!(parts.len(), 3);
    parts.reverse();
    assert_eq!(join(&parts).unwrap(), text);
    assert!(
        join(&parts[1..])
            .unwrap_err()
            .to_string()
            .contains("part 3 of 3")
    );
    assert!(join(&[]).is_err());
    let mixed: Vec<Part> = [&parts[..2], &split("other")[..]].concat();
    assert!(
        join(&mixed)
            .unwrap_err()
            .to_string()
            .contains("different bundles")
    );
    let mut altered = parts.clone();
    altered[0].text.push('x');
    assert!(join(&altered).unwrap_err().to_string().contains("digest"));
    assert_eq!(join(&split("small")).unwrap(), "small");
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        pairs.collect()
    };
    let part = &split("small")[0];
    let annotations = |place| map(&[(PART_ANNOTATION, place), (DIGEST_ANNOTATION, &part.digest)]);
    let data = map(&[(PART_KEY, "small")]);
    assert_eq!(&part_of(&annotations("1/1"), &data).unwrap(), part);
    for (annotations, data) in [
        (annotations("one"), data.clone()),
        (annotations("1/1"), map(&[])),
        (map(&[]), data),
    ] {
        assert!(part_of(&annotations, &data).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..2000) {
        let _ = SignedBundle::from_file(&bytes);
        let mut payload = bundle(documents(POLICY)).payload().unwrap();
        let place = at % payload.len();
        payload[place] = bytes.first().copied().unwrap_or(b'x');
        let _ = Bundle::read(&payload);
        let _ = PublicKey::from_der(&bytes);
        let _ = PrivateKey::from_pem(&String::from_utf8_lossy(&bytes));
    }
}
