//! The certificate over its whole life, with a clock as an argument, and as a real client sees it.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use common::{Known, allowlist, review};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use weir_admission::authority::{
    AUTHORITY_SECS, Keys, SERVING_SECS, SETTLE_SECS, is_name, service_names,
};
use weir_admission::keeper::{Keeper, Place, unix_secs};
use weir_admission::server;

const DAY: u64 = 24 * 60 * 60;
const START: u64 = 1_800_000_000;

fn names() -> Vec<String> {
    service_names("weir-system", "weir-webhook")
}

/// Whether somebody who believes these authorities believes this server at this time.
fn believed(authorities: &str, keys: &Keys, now: u64) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
    let verifier = verifier.build().unwrap();
    let (chain, _) = keys.serving().unwrap();
    let name = ServerName::try_from("weir-webhook.weir-system.svc").unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
    use rustls::client::danger::ServerCertVerifier;
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
        .is_ok()
}

#[test]
fn for_three_years_no_certificate_is_served_that_is_not_believed() {
    let mut keys = Keys::renewed(None, &names(), START).unwrap().expect("made");
    // What an API server has that learned of the authorities a while ago, just now, and before.
    let mut known = keys.authorities.clone();
    let (mut serving, mut authorities) = (0, BTreeSet::new());
    let step = SETTLE_SECS / 2;
    let mut now = START;
    while now < START + 3 * 365 * DAY {
        // Most of the time nothing happens: look closely only around renewals.
        let renewed = Keys::renewed(Some(&keys), &names(), now).unwrap();
        let quiet = renewed.is_none();
        if let Some(renewed) = renewed {
            serving += u32::from(renewed.certificate != keys.certificate);
            // The API server still has the old list when the new certificate is served.
            assert!(
                believed(&known, &renewed, now),
                "day {}",
                (now - START) / DAY
            );
            assert!(believed(&known, &keys, now), "day {}", (now - START) / DAY);
            authorities.insert(renewed.authorities.clone());
            keys = renewed;
        }
        assert!(believed(&keys.authorities, &keys, now));
        known = keys.authorities.clone();
        let due = Keys::renewed(Some(&keys), &names(), now + DAY)
            .unwrap()
            .is_some();
        now += if quiet && !due { DAY } else { step };
    }
    assert!(
        (50..62).contains(&serving),
        "{serving} serving certificates"
    );
    assert!(
        (5..12).contains(&authorities.len()),
        "{} lists",
        authorities.len()
    );
    assert!(keys.authorities.matches("BEGIN CERTIFICATE").count() <= 2);
}

#[test]
fn what_cannot_be_used_is_made_anew_and_what_can_be_is_kept() {
    let keys = Keys::renewed(None, &names(), START).unwrap().expect("made");
    let again = |keys: &Keys, names: &[String], now| Keys::renewed(Some(keys), names, now).unwrap();
    assert_eq!(again(&keys, &names(), START), None);
    assert_eq!(again(&keys, &names(), START + SERVING_SECS / 2), None);
    // The order of names does not matter; another name does.
    let turned: Vec<String> = names().into_iter().rev().collect();
    assert_eq!(again(&keys, &turned, START), None);
    let other = again(&keys, &service_names("elsewhere", "x"), START).expect("made anew");
    assert_eq!(other.authorities, keys.authorities);
    assert_ne!(other.certificate, keys.certificate);

    let fresh = Keys::renewed(None, &names(), START).unwrap().expect("made");
    for broken in [
        Keys {
            key: fresh.key.clone(),
            ..keys.clone()
        },
        Keys {
            certificate: fresh.certificate.clone(),
            ..keys.clone()
        },
        Keys {
            certificate: "nothing".to_owned(),
            ..keys.clone()
        },
        Keys {
            key: String::new(),
            ..keys.clone()
        },
        Keys {
            authority_keys: fresh.authority_keys.clone(),
            ..keys.clone()
        },
        Keys {
            authorities: fresh.authorities.clone(),
            ..keys.clone()
        },
        Keys {
            authorities: "\0".to_owned(),
            ..keys.clone()
        },
        Keys::default(),
    ] {
        let made = again(&broken, &names(), START).expect("made anew");
        assert!(believed(&made.authorities, &made, START));
        assert_eq!(again(&made, &names(), START), None);
    }
    // After a long sleep everything has run out.
    let late = START + 3 * AUTHORITY_SECS;
    let made = again(&keys, &names(), late).expect("made anew");
    assert!(believed(&made.authorities, &made, late));
    assert!(!made.authorities.contains(&keys.authorities));
    // A clock that was a day ahead leaves what is not valid yet behind.
    let made = again(&keys, &names(), START - DAY).expect("made anew");
    assert_ne!(made.certificate, keys.certificate);
    assert!(is_name("10.0.0.1") && is_name("a.b") && !is_name("ä"));
}

async fn post(address: std::net::SocketAddr, authorities: &str, path: &str, body: &str) -> String {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("weir-webhook.weir-system.svc").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return format!("no TLS: {error}"),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that has refused already may have closed.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_that_believes_the_bundle_gets_answers_before_and_after_a_renewal() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::Directory(directory.path().join("webhook"));
    let keeper = Keeper::new(place.clone(), names());
    let now = unix_secs(SystemTime::now());
    // A certificate that was made long ago and has few days left.
    let keys = keeper.tick(now - SERVING_SECS + 9 * DAY).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server::serve(
        listener,
        keeper.served(),
        Arc::new(Known::default()),
        async {
            let _ = stopped.await;
        },
    ));
    let body = review("weir.dev", "Allowlist", "CREATE", allowlist(), Value::Null).to_string();
    let answer = post(
        address,
        &keys.authorities,
        "/validate/policy?timeout=5s",
        &body,
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"allowed\":true"), "{answer}");
    assert!(answer.contains("98271f85-76f3-40c2-90df-a1c7bd1d7fda"));
    for (path, body, code) in [
        ("/validate/other", body.as_str(), "404"),
        ("/validate/policy", "{", "400"),
        ("/other", body.as_str(), "404"),
    ] {
        let answer = post(address, &keys.authorities, path, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code}")),
            "{path}: {answer}"
        );
    }
    let huge = "x".repeat(server::BODY_BYTES_MAX + 1);
    let answer = post(address, &keys.authorities, "/validate/policy", &huge).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer:.80}"
    );

    // Another replica takes what this one made.
    let other = Keeper::new(place, names());
    assert_eq!(
        other.tick(now - SERVING_SECS + 9 * DAY).await.unwrap(),
        keys
    );
    // Renewed while it serves.
    let renewed = keeper.tick(now).await.unwrap();
    assert_ne!(renewed.certificate, keys.certificate);
    assert_eq!(other.tick(now).await.unwrap(), renewed);
    let answer = post(address, &keys.authorities, "/validate/policy", &body).await;
    assert!(answer.contains("\"allowed\":true"), "{answer}");
    let stranger = Keys::renewed(None, &names(), now).unwrap().unwrap();
    let answer = post(address, &stranger.authorities, "/validate/policy", &body).await;
    assert!(answer.starts_with("no TLS"), "{answer}");
    assert_private(directory.path());
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

fn assert_private(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for file in std::fs::read_dir(directory.join("webhook")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
