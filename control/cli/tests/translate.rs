//! `weir policy import` and `weir policy export --format`, offline.

use std::path::PathBuf;
use std::process::{Command, Output};

fn sample(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../translate/tests/samples");
    path.join(name).display().to_string()
}

fn weir(arguments: &[&str]) -> Output {
    let weir = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .output();
    weir.expect("weir starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn policies_of_others_become_documents_that_can_be_tested() {
    let imported = weir(&[
        "policy",
        "import",
        "--from",
        "cilium",
        "--stage",
        "draft",
        &sample("cilium.yaml"),
    ]);
    assert!(imported.status.success(), "{imported:?}");
    let shown = text(&imported);
    assert!(
        shown.starts_with("# CiliumNetworkPolicy shop/api: "),
        "{shown}"
    );
    assert!(shown.contains("stage: draft"), "{shown}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("imported.yaml");
    std::fs::write(&file, &shown).unwrap();
    let file = file.display().to_string();
    let tested = weir(&["policy", "test", &file]);
    assert!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&tested.stderr)
    );

    // Drafts have no effect, so others have nothing of them; of the rest they have all they can say.
    let exported = weir(&[
        "policy",
        "export",
        "--format",
        "networkpolicy",
        "-o",
        "json",
        &file,
    ]);
    let view: serde_json::Value = serde_json::from_slice(&exported.stdout).unwrap();
    assert_eq!(view["text"], "");
    assert!(!view["losses"].as_array().unwrap().is_empty());
}

#[test]
fn strict_is_about_what_would_open() {
    let narrower = weir(&[
        "policy",
        "import",
        "--from",
        "networkpolicy",
        "--strict",
        &sample("networkpolicy.yaml"),
    ]);
    assert_eq!(narrower.status.code(), Some(0), "{narrower:?}");
    let wider = weir(&[
        "policy",
        "import",
        "--from",
        "neuvector",
        "--strict",
        &sample("neuvector.yaml"),
    ]);
    assert_eq!(wider.status.code(), Some(1), "{wider:?}");
}

#[test]
fn what_is_no_policy_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.yaml");
    std::fs::write(&file, "{]").unwrap();
    let file = file.display().to_string();
    let failed = weir(&["policy", "import", "--from", "cilium", &file]);
    assert_eq!(failed.status.code(), Some(1));
    let told = String::from_utf8(failed.stderr).unwrap();
    assert!(
        told.contains("x.yaml") && told.contains("no YAML"),
        "{told}"
    );
    let unknown = weir(&["policy", "import", "--from", "calico", &file]);
    assert_eq!(unknown.status.code(), Some(2), "wrong usage");
}
