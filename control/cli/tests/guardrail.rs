//! `weir guardrail`: output and exit codes, as scripts written for `opa test` expect them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn weir(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.current_dir(directory).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

const POLICY: &str = "package weir.guardrail.team\n\n\
    deny contains msg if {\n  not input.object.metadata.labels.team\n  msg := \"no team\"\n}\n";

const TESTS: &str = "package weir.guardrail.team_test\n\nimport data.weir.guardrail.team\n\n\
    test_without_a_team if team.deny == {\"no team\"} with input as {\"object\": {}}\n\n\
    test_with_one if count(team.deny) == 0 with input as {\"object\": {\"metadata\": {\"labels\": {\"team\": \"a\"}}}}\n";

const ALLOWLIST: &str = "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata:\n  name: db\n  namespace: shop\n\
    spec:\n  target: {workload: db}\n  ingress:\n    - from: [{any: true}]\n---\n\
    apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: db, namespace: shop}\nspec: {addresses: [10.0.0.1]}\n";

#[test]
fn rego_tests_are_told_as_opa_tells_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "team.rego", POLICY);
    write(path, "team_test.rego", TESTS);
    let passed = weir(path, &["guardrail", "test", "."]);
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    assert_eq!(stdout(&passed), "PASS: 2/2\n");
    let verbose = stdout(&weir(path, &["guardrail", "test", ".", "-v"]));
    let lines: Vec<&str> = verbose.lines().collect();
    assert_eq!(lines[0], "./team_test.rego:");
    assert!(lines[1].starts_with("data.weir.guardrail.team_test.test_without_a_team: PASS ("));
    assert_eq!(lines[3], "-".repeat(80));
    assert_eq!(lines[4], "PASS: 2/2");

    write(
        path,
        "more_test.rego",
        "package weir.guardrail.more_test\n\
        test_fails if 1 == 2\n\ntest_errs if 1 / 0 == 1\n\ntodo_test_later if true\n",
    );
    let failed = weir(path, &["guardrail", "test", "."]);
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    let text = stdout(&failed);
    assert!(
        text.contains("data.weir.guardrail.more_test.test_fails: FAIL ("),
        "{text}"
    );
    assert!(text.contains("./more_test.rego:4:"), "{text}");
    assert!(
        text.ends_with("PASS: 2/5\nFAIL: 1/5\nERROR: 1/5\nSKIPPED: 1/5\n"),
        "{text}"
    );
    let json = weir(path, &["guardrail", "test", ".", "-o", "json"]);
    let tests: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(tests.as_array().map(Vec::len), Some(5));
    assert_eq!(tests[0]["fail"], true);
    assert_eq!(tests[0]["location"]["row"], 2);

    write(
        path,
        "broken.rego",
        "package weir.guardrail\n\ndeny contains msg {\n  msg = = 1\n}\n",
    );
    let broken = weir(path, &["guardrail", "test", "."]);
    assert_eq!(broken.status.code(), Some(1));
    let text = String::from_utf8(broken.stderr).unwrap();
    assert!(text.contains("./broken.rego:3:19: "), "{text}");
}

#[test]
fn no_tests_are_told() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "team.rego", POLICY);
    let none = weir(directory.path(), &["guardrail", "test", "."]);
    assert_eq!(none.status.code(), Some(0));
    assert!(stdout(&none).starts_with("no tests"));
    let none = weir(
        directory.path(),
        &["guardrail", "test", ".", "--fail-on-empty"],
    );
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn documents_are_checked_by_the_same_guardrails_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "shop.yaml", ALLOWLIST);
    write(path, "team.rego", POLICY);
    let check = ["guardrail", "check", "shop.yaml"];
    let without = weir(path, &check);
    assert_eq!(without.status.code(), Some(2), "{without:?}");

    let flags = [
        "--shipped",
        "no-any-in-protect",
        "--guardrails",
        "team.rego",
    ];
    let refused = weir(path, &[&check[..], &flags].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = stdout(&refused);
    assert!(text.contains("shop.yaml:9:14: "), "{text}");
    assert!(
        text.contains("guardrail no-any-in-protect: any opens ingress to everybody"),
        "{text}"
    );
    assert!(text.contains("guardrail team: no team"), "{text}");
    assert!(
        text.ends_with("2 documents, 2 guardrails: 2 refusals, 0 warnings\n"),
        "{text}"
    );

    let tested = weir(
        path,
        &[&["policy", "test", "shop.yaml"], &flags[..]].concat(),
    );
    assert_eq!(tested.status.code(), Some(1));
    assert!(stdout(&tested).contains("guardrail team: no team"));
    let plain = weir(path, &["policy", "test", "shop.yaml"]);
    assert_eq!(plain.status.code(), Some(0), "{plain:?}");

    // What is in force stays, and is told.
    let stays = weir(
        path,
        &[&check[..], &flags, &["--old", "shop.yaml"]].concat(),
    );
    assert_eq!(stays.status.code(), Some(0), "{stays:?}");
    assert!(stdout(&stays).contains("is in force, but guardrail team: no team"));

    let input = weir(path, &[&check[..], &["--input", "-o", "json"]].concat());
    let inputs: serde_json::Value = serde_json::from_slice(&input.stdout).unwrap();
    assert_eq!(inputs[0]["facts"]["target"]["workloads"][0]["name"], "db");
}

#[test]
fn shipped_guardrails_are_listed_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let listed = stdout(&weir(directory.path(), &["guardrail", "list"]));
    assert!(listed.contains("protect-stays"), "{listed}");
    let rego = weir(
        directory.path(),
        &["guardrail", "show", "protect-stays", "--rego"],
    );
    assert!(stdout(&rego).contains("package weir.guardrail.protect_stays\n"));
    let wrong = weir(directory.path(), &["guardrail", "show", "protect-stay"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("did you mean protect-stays?")
    );
}
