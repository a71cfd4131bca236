//! The judge: what a real kube-apiserver answered, replayed against the server of this crate.
//!
//! The recordings are in $WEIR_K8S_RECORDINGS, or in shared/k8s-recordings beside the repository; without
//! them the judge is skipped by name. What differs and may is written in `differences.txt`, each line with
//! its reason; a difference that is not there fails, and so does a line that nothing needs any more.

mod client;
mod differences;
mod normal;
mod replay;
mod webhook;

use std::path::{Path, PathBuf};
use std::time::Duration;

use differences::Differences;
use replay::Replay;
use serde_json::Value;
use weir_apiserver::{ApiServer, Options, User};

/// Scenarios that follow one another on a server that was empty.
const IN_ORDER: [&str; 11] = [
    "crd-networkallowlist",
    "authz",
    "namespaces",
    "pods",
    "watches",
    "services-endpointslices",
    "serviceaccounts",
    "leases",
    "discovery",
    "openapi-v3-weir",
    "admission",
];

/// Where the recordings are, if they are there.
fn recordings() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/k8s-recordings");
    let folder = std::env::var_os("WEIR_K8S_RECORDINGS").map_or(beside, PathBuf::from);
    folder.join("scenarios").is_dir().then_some(folder)
}

fn skipped(name: &str) {
    println!("skipped: {name}: no recordings of a kube-apiserver (set WEIR_K8S_RECORDINGS)");
}

fn scenario(folder: &Path, name: &str) -> Value {
    let path = folder.join("scenarios").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The users of the recordings.
fn options(bookmark_every: Duration) -> Options {
    Options {
        users: vec![
            User::new("accept-admin", "admin-token")
                .in_groups(&["system:masters"])
                .with_uid("u1"),
            User::new(
                "system:serviceaccount:weir-system:weir-control",
                "weir-token",
            )
            .in_groups(&["system:serviceaccounts"])
            .with_uid("u2"),
            User::new("nobody-user", "nobody-token")
                .in_groups(&["viewers"])
                .with_uid("u3"),
        ],
        bookmark_every,
    }
}

async fn judge(server: &ApiServer, folder: &Path, names: &[&str], judged: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut differences = Differences::read();
    for name in names {
        let outcome = Replay::new(server, folder, name, &scenario(folder, name))
            .await
            .run()
            .await;
        if judged.contains(name) {
            println!(
                "{name}: {} steps, {} watches, {} differences",
                outcome.steps,
                outcome.watches,
                outcome.found.len()
            );
            found.extend(differences.unwritten(name, &outcome.found));
            found.extend(differences.unneeded(name));
        }
    }
    found
}

fn report(found: &[String]) {
    assert!(
        found.is_empty(),
        "{} differences from a real kube-apiserver:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_as_a_real_one_did() {
    let Some(folder) = recordings() else {
        return skipped("the_server_answers_as_a_real_one_did");
    };
    let server = ApiServer::start(options(Duration::from_secs(60)))
        .await
        .unwrap();
    report(&judge(&server, &folder, &IN_ORDER, &IN_ORDER).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_410_after_a_restart() {
    let Some(folder) = recordings() else {
        return skipped("what_is_forgotten_is_410_after_a_restart");
    };
    let server = ApiServer::start(options(Duration::from_millis(300)))
        .await
        .unwrap();
    report(
        &judge(
            &server,
            &folder,
            &["crd-networkallowlist", "expired-410"],
            &["expired-410"],
        )
        .await,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_watch_is_told_where_it_stands() {
    let Some(folder) = recordings() else {
        return skipped("a_quiet_watch_is_told_where_it_stands");
    };
    let server = ApiServer::start(options(Duration::from_millis(20)))
        .await
        .unwrap();
    report(
        &judge(
            &server,
            &folder,
            &["watches", "bookmark-minute"],
            &["bookmark-minute"],
        )
        .await,
    );
}

#[test]
fn every_recorded_scenario_is_judged_or_said_not_to_be() {
    let Some(folder) = recordings() else {
        return skipped("every_recorded_scenario_is_judged_or_said_not_to_be");
    };
    let differences = Differences::read();
    for entry in std::fs::read_dir(folder.join("scenarios"))
        .unwrap()
        .flatten()
    {
        let name = entry
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let judged = IN_ORDER.contains(&name.as_str())
            || ["expired-410", "bookmark-minute"].contains(&name.as_str());
        assert!(
            judged || differences.is_left_out(&name),
            "{name} is not judged, and no line says why"
        );
    }
}
