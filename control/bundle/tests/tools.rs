//! Keys and signatures of openssl, and through it of cosign, whose blobs are signed the same way: each
//! side accepts what the other made.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use weir_bundle::{Bundle, PrivateKey, PublicKey, SignedBundle};
use weir_model::parse_documents;

fn payload() -> Vec<u8> {
    let text = "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {name: all}\n\
                spec: {target: {matchLabels: {}}, mode: protect}\n";
    let (documents, problems) = parse_documents("modes.yaml", text);
    assert_eq!(problems, []);
    let documents = documents.into_iter().map(|located| located.value).collect();
    let bundle = Bundle::new("shop", 7, 1_760_000_000, None, documents).unwrap();
    bundle.payload().unwrap()
}

fn openssl(directory: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    let output = command
        .args(arguments.split(' '))
        .current_dir(directory)
        .output();
    output.expect("openssl ran before").status.success()
}

/// Skips a test by name where there is no openssl.
fn installed(test: &str) -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok();
    if !there {
        eprintln!("SKIPPED {test}: openssl is not installed");
    }
    there
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap()
}

/// How openssl makes keys, signs and verifies, for both algorithms.
const TOOLS: [(&str, &str, &str); 2] = [
    (
        "genpkey -algorithm ed25519 -out key.pem",
        "pkeyutl -sign -rawin -inkey key.pem -in payload -out signature",
        "pkeyutl -verify -rawin -pubin -inkey public.pem -in payload -sigfile signature",
    ),
    (
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
        "dgst -sha256 -sign key.pem -out signature payload",
        "dgst -sha256 -verify public.pem -signature signature payload",
    ),
];

#[test]
fn openssl_verifies_what_weir_signs_and_weir_what_openssl_signs() {
    if !installed("openssl_verifies_what_weir_signs_and_weir_what_openssl_signs") {
        return;
    }
    for (make, sign, verify) in TOOLS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("payload"), payload()).unwrap();
        assert!(openssl(path, make), "{make}");
        assert!(openssl(path, "pkey -in key.pem -pubout -out public.pem"));
        let key = PrivateKey::from_pem(&read(path, "key.pem")).unwrap();
        let public = PublicKey::from_pem(&read(path, "public.pem")).unwrap();
        assert_eq!(key.public(), &public);
        assert_eq!(public.to_pem(), read(path, "public.pem"));

        let mut bundle = SignedBundle::new(payload());
        bundle.sign(&key).unwrap();
        std::fs::write(path.join("signature"), &bundle.signatures[0].signature).unwrap();
        assert!(
            openssl(path, verify),
            "openssl does not take what weir made"
        );

        assert!(openssl(path, sign), "{sign}");
        let signature = std::fs::read(path.join("signature")).unwrap();
        // As cosign writes it into a file.
        let detached = STANDARD.encode(&signature);
        let signature = STANDARD.decode(detached).unwrap();
        let mut bundle = SignedBundle::new(payload());
        assert!(bundle.attach(&public, &signature));
        assert_eq!(bundle.verify(&[public], 1).unwrap().bundle.sequence, 7);
    }
}

#[test]
fn the_name_of_a_key_is_what_openssl_and_sha256sum_say() {
    if !installed("the_name_of_a_key_is_what_openssl_and_sha256sum_say") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(openssl(path, "genpkey -algorithm ed25519 -out key.pem"));
    assert!(openssl(
        path,
        "pkey -in key.pem -pubout -outform DER -out public.der"
    ));
    assert!(openssl(path, "dgst -sha256 -r -out digest public.der"));
    let key = PrivateKey::from_pem(&read(path, "key.pem")).unwrap();
    let digest = read(path, "digest");
    let digest = digest.split(' ').next().unwrap();
    assert_eq!(key.public().id().as_str(), format!("sha256:{digest}"));
}
