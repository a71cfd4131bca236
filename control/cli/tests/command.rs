//! The command as people and scripts use it: what it prints in each format, and its exit codes.

#[path = "../../controller/tests/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{ALLOWLIST, Site, alert, hello, record};
use serde_json::Value;
use weir_api::v1;

fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn ask(site: &Site, arguments: &[&str]) -> Output {
    let socket = format!("unix:{}", site.path("controller.sock").display());
    weir(arguments)
        .env("WEIR_CONTROLLER", socket)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    let output = ask(site, &[arguments, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A site where a node has reported twenty connections, two of them with an alert, and is still there.
async fn site() -> (Site, common::Node) {
    let site = Site::start().await;
    let mut node = site.subscribe(hello(0)).await;
    node.take().await;
    let alerts = [7, 8].map(|flow| alert(&node.snapshot, flow));
    let flows = (0..20).map(|flow| record(&node.snapshot, flow));
    let flows = alerts.into_iter().chain(flows).collect();
    let counters = v1::NodeCounters {
        time_unix_us: 1,
        stages: vec![v1::StageCounters {
            stage: "rx".into(),
            packets: 10,
            cycles: 500,
        }],
        drops_by_reason: [("tcp_window".to_owned(), 3)].into(),
        residence_percentiles_ns: vec![1, 2, 3, 4],
        ..Default::default()
    };
    site.report(1, flows).await;
    let batch = v1::ObservationBatch {
        node: "node-1".into(),
        sequence: 2,
        counters: Some(counters),
        ..Default::default()
    };
    site.report_batch(batch).await;
    site.status_when(|status| status.nodes[0].enforced_version == 1)
        .await;
    (site, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_comes_in_every_format_with_the_same_content() {
    let (site, _node) = site().await;
    let what_if = [
        "what-if", "--from", "ai-model", "--to", "photo-db", "--port", "3306",
    ];
    let commands: &[&[&str]] = &[
        &["status"],
        &["flows"],
        &["alerts"],
        &["alerts", "--threat", "nothing"],
        &["map"],
        &["map", "photo-db"],
        &["explain", "1:7"],
        &what_if,
        &["learn", "review"],
        &[
            "learn",
            "review",
            "--workload",
            "photo-db",
            "--above",
            "0.5",
        ],
        &["learn", "review", "--rejected"],
        &["learn", "why", "a6c1aee11ad4d530"],
        &["policy", "impact"],
        &["policy", "list"],
        &["policy", "export"],
        &["mode", "get"],
        &["mode", "get", "photo-db"],
        &["path"],
        &["path", "node-1"],
        &["capture", "list"],
        &["apps"],
    ];
    for command in commands {
        let [table, json, yaml] = ["table", "json", "yaml"]
            .map(|format| ask(&site, &[*command, &["-o", format][..]].concat()));
        for output in [&table, &json, &yaml] {
            let expected = i32::from(command[0] == "what-if");
            assert_eq!(
                output.status.code(),
                Some(expected),
                "{command:?}: {output:?}"
            );
            assert!(output.stderr.is_empty(), "{command:?}: {output:?}");
        }
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        let yaml: Value = serde_yaml_ng::from_slice(&yaml.stdout).unwrap();
        assert_eq!(json, yaml, "{command:?}");
        let table = String::from_utf8(table.stdout).unwrap();
        assert!(
            !table.is_empty() && !table.contains('\u{1b}'),
            "{command:?}: {table}"
        );
        for line in table.lines() {
            assert_eq!(line, line.trim_end(), "{command:?}: no blanks at the end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_tell_what_matters() {
    let (site, _node) = site().await;
    let status = text(&ask(&site, &["status"]));
    for part in [
        "policy version 1",
        "node-1",
        "current",
        "shop/photo-db",
        "discover",
        "10.91.0.3",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let flows = text(&ask(&site, &["flows", "-n", "3"]));
    assert_eq!(flows.lines().count(), 4, "{flows}");
    assert!(flows.lines().next().unwrap().starts_with("TIME"), "{flows}");
    assert!(flows.contains("10.91.0.2:40000->10.91.0.3:3306"), "{flows}");
    assert!(flows.contains("learning"), "{flows}");
    let path = text(&ask(&site, &["path"]));
    assert!(path.contains("tcp_window") && path.contains("50"), "{path}");
    let apps = text(&ask(&site, &["apps"]));
    assert!(apps.contains("mysql.statement"), "{apps}");
    let apps = json(&site, &["apps"]);
    let mysql = apps["applications"]
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["name"] == "mysql"));
    assert_eq!(mysql.unwrap()["conversations"], 1, "{apps}");
    let review = json(&site, &["learn", "review"]);
    assert_eq!(review["proposals"][0]["application"], "mysql");
    assert_eq!(review["proposals"][0]["state"], "proposed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_from_review_to_protect() {
    let (site, mut node) = site().await;
    text(&ask(&site, &["learn", "accept", "--all"]));
    let directory = site.path("learned");
    let directory = directory.to_str().unwrap();
    let exported = text(&ask(
        &site,
        &["policy", "export", "--learned", "--directory", directory],
    ));
    assert_eq!(exported.lines().count(), 2, "{exported}");
    let again = ask(
        &site,
        &["policy", "export", "--learned", "--directory", directory],
    );
    assert_eq!(
        again.status.code(),
        Some(1),
        "files that stand are not overwritten"
    );

    let diff = ask(&site, &["policy", "diff", directory]);
    assert_eq!(diff.status.code(), Some(1), "{diff:?}");
    assert!(
        String::from_utf8_lossy(&diff.stdout).contains("+ allowlist shop/photo-db"),
        "{diff:?}"
    );
    let applied = text(&ask(&site, &["policy", "apply", directory]));
    assert!(applied.contains("the policy is version 2"), "{applied}");
    node.take().await;
    assert_eq!(
        ask(&site, &["policy", "diff", directory]).status.code(),
        Some(0)
    );

    text(&ask(
        &site,
        &["mode", "set", "protect", "photo-db", "shop/ai-model"],
    ));
    let modes = json(&site, &["mode", "get"]);
    assert!(
        modes["workloads"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["mode"] == "protect")
    );
    text(&ask(&site, &["mode", "set", "--all", "monitor"]));
    text(&ask(&site, &["mode", "set", "photo-db", "protect"]));

    let what_if = |application: &str| {
        let from = [
            "what-if",
            "--from",
            "ai-model",
            "--to",
            "10.91.0.3",
            "--port",
            "3306",
        ];
        ask(
            &site,
            &[&from[..], &["--application", application]].concat(),
        )
    };
    assert_eq!(what_if("mysql").status.code(), Some(0));
    let denied = what_if("redis");
    assert_eq!(denied.status.code(), Some(1));
    let denied = String::from_utf8(denied.stdout).unwrap();
    assert!(
        denied.contains("nearest: ") && denied.contains("mysql"),
        "{denied}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_comes_line_by_line_and_ends_with_its_reader() {
    let (site, node) = site().await;
    let socket = format!("unix:{}", site.path("controller.sock").display());
    let mut command = weir(&["flows", "--follow", "-n", "1", "-o", "json"]);
    let mut child = command
        .env("WEIR_CONTROLLER", socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let flow_id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["flow_id"].clone();
    assert_eq!(flow_id(lines.next().unwrap().unwrap()), 19);
    site.report(3, vec![record(&node.snapshot, 77)]).await;
    assert_eq!(flow_id(lines.next().unwrap().unwrap()), 77);
    drop(lines);
    site.report(4, vec![record(&node.snapshot, 78)]).await;
    let status = child.wait().unwrap();
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(
        (status.code(), complaint.as_str()),
        (Some(0), ""),
        "quiet when nobody reads"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_listed_by_what_who_and_when() {
    let (site, node) = site().await;
    let table = text(&ask(&site, &["alerts"]));
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[1].contains("  told"), "{table}");
    for part in [
        "  would-block",
        "sql-injection",
        "shop/ai-model",
        "tautology; failures=7; ' or 1=1\\n",
    ] {
        assert!(lines[2].contains(part), "{part}: {table}");
    }
    let long_ago = "2025-06-15T15:06:40.000007Z";
    let cases: &[(&[&str], usize)] = &[
        (&["--threat", "sql-injection"], 1),
        (&["--threat", "1151"], 1),
        (&["--threat", "injection"], 0),
        (&["--workload", "photo-db"], 2),
        (&["--workload", "nobody"], 0),
        (&["--since", "1h"], 0),
        (&["--since", long_ago], 2),
        (&["-n", "1"], 1),
    ];
    for (filter, expected) in cases {
        let listed = json(&site, &[&["alerts"], *filter].concat());
        assert_eq!(
            listed["alerts"].as_array().unwrap().len(),
            *expected,
            "{filter:?}"
        );
    }
    let wrong = ask(&site, &["alerts", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert_eq!(json(&site, &["map"])["conversations"][0]["alerts"], 2);
    assert_eq!(json(&site, &["status"])["alerts"]["raised"], 2);

    let socket = format!("unix:{}", site.path("controller.sock").display());
    let mut command = weir(&["alerts", "-f", "--threat", "brute-force", "-o", "json"]);
    let mut child = command
        .env("WEIR_CONTROLLER", socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut flow_id = || {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["flow_id"].clone()
    };
    assert_eq!(flow_id(), 7);
    site.report(3, [10, 11].map(|flow| alert(&node.snapshot, flow)).into())
        .await;
    assert_eq!(flow_id(), 11);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_and_mistakes_have_their_codes() {
    let (site, _node) = site().await;
    let cases: &[(&[&str], i32, &str)] = &[
        (&["explain", "1:none"], 1, "no recent flow is 1:none"),
        (&["explain", "nonsense"], 1, "names no flow"),
        (&["mode", "get", "nobody"], 1, "no workload is named"),
        (&["mode", "set", "photo-db"], 2, "give workloads and a mode"),
        (
            &["mode", "set", "photo-db", "strict"],
            2,
            "give workloads and a mode",
        ),
        (&["path", "node-9"], 1, "no node named"),
        (&["learn", "accept"], 2, "--above"),
        (&["learn", "accept", "--all", "ffff"], 2, "cannot be used"),
        (&["flows", "--verdict", "maybe"], 2, "would-deny"),
        (
            &["policy", "apply", "/nonexistent"],
            1,
            "cannot read /nonexistent",
        ),
        (
            &["policy", "export", "--learned"],
            1,
            "nothing was accepted yet",
        ),
        (
            &["what-if", "--from", "nobody", "--to", "photo-db"],
            1,
            "nobody is named \"nobody\"",
        ),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["--controller", "ftp://x", "status"], 2, "is no endpoint"),
        (
            &["--controller", "unix:/nonexistent.sock", "status"],
            3,
            "cannot reach unix:/nonexistent",
        ),
        (
            &["--controller", "127.0.0.1:1", "status"],
            3,
            "cannot reach 127.0.0.1:1",
        ),
    ];
    for (arguments, code, message) in cases {
        let output = ask(&site, arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(*code),
            "{arguments:?}: {output:?}"
        );
        assert!(complaint.contains(message), "{arguments:?}: {complaint}");
    }
    let endless = ask(&site, &["policy", "apply", "/dev/zero"]);
    assert!(String::from_utf8_lossy(&endless.stderr).contains("holds more than"));
    let empty = ask(&site, &["policy", "apply", "-"]);
    assert_eq!(empty.status.code(), Some(1), "{empty:?}");
    assert!(String::from_utf8_lossy(&empty.stdout).contains("no document in it"));
    let refused = ask(&site, &["learn", "accept", "ffff"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn documents_are_tested_without_a_controller() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let test = |path: &Path| {
        weir(&["policy", "test", path.to_str().unwrap()])
            .output()
            .unwrap()
    };
    write("workloads.yaml", common::WORKLOADS);
    write("allowlist.yaml", ALLOWLIST);
    write("shop.test.yaml", "\
tests:
  - {from: shop/ai-model, to: shop/photo-db, application: mysql, port: 3306, expect: deny}
  - {name: no redis, from: 10.91.0.2, to: photo-db, application: redis, port: 3306, expect: deny}
  - {name: other, from: unknown, to: photo-db, application: mysql, port: 3306, protocol: tcp, expect: allow}
");
    let output = test(directory.path());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("ok      no redis"), "{report}");
    assert!(report.contains("FAILED  other: got deny"), "{report}");
    assert!(report.contains("1 failed"), "{report}");

    write(
        "shop.test.yaml",
        "tests: [{from: shop/ai-model, to: photo-db, expects: deny}]",
    );
    assert!(String::from_utf8_lossy(&test(directory.path()).stdout).contains("expects"));
    std::fs::remove_file(directory.path().join("shop.test.yaml")).unwrap();
    assert_eq!(test(directory.path()).status.code(), Some(0));
    write("allowlist.yaml", &ALLOWLIST.replace("mysql", "mysqll"));
    let output = test(directory.path());
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(
        report.contains("allowlist.yaml:8") && report.contains("mysqll"),
        "{report}"
    );
}

#[test]
fn sensors_are_compiled_and_tried_without_a_controller() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("numbers.yaml");
    let document = "\
apiVersion: weir.dev/v1alpha1
kind: Sensor
metadata: {name: numbers, namespace: shop}
spec:
  target: {workload: photo-db}
  where: [body]
  patterns:
    - {name: number, regex: '[0-9]{11}', checks: [luhn]}
  examples: {fires: ['79927398713'], passes: ['79927398710']}
";
    let test = |text: &str, value: &str| {
        std::fs::write(&file, text).unwrap();
        let arguments = ["sensor", "test", file.to_str().unwrap(), "--value", value];
        let output = weir(&arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, report) = test(document, "no. 79927398713");
    assert_eq!(code, Some(0), "{report}");
    assert!(
        report.contains("ok      sensor shop/numbers: 1 patterns, 2 examples"),
        "{report}"
    );
    assert!(
        report.contains("fires   sensor shop/numbers: number \"79*********\""),
        "{report}"
    );
    let (code, report) = test(document, "no. 79927398712");
    assert_eq!(code, Some(0));
    assert!(report.contains("nothing fires"), "{report}");
    let (code, report) = test(
        &document.replace("passes: ['79927398710", "passes: ['79927398713"),
        "",
    );
    assert_eq!(code, Some(1));
    assert!(
        report.contains("FAILED  sensor shop/numbers: fires on"),
        "{report}"
    );
    let (code, report) = test(&document.replace("luhn", "lunh"), "");
    assert_eq!(code, Some(1));
    assert!(
        report.contains("numbers.yaml:8") && report.contains("lunh"),
        "{report}"
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = weir(&["completions", shell]).output().unwrap();
        assert!(text(&output).contains("what-if"), "{shell}");
    }
}

#[test]
fn every_threat_is_listed_without_a_controller() {
    let listed = |format| text(&weir(&["threats", "-o", format]).output().unwrap());
    let json: Value = serde_json::from_str(&listed("json")).unwrap();
    let yaml: Value = serde_yaml_ng::from_str(&listed("yaml")).unwrap();
    assert_eq!(json, yaml);
    let threats = json["threats"].as_array().unwrap();
    let log4shell = threats.iter().find(|it| it["name"] == "log4shell").unwrap();
    assert_eq!(log4shell["default_action"], "drop");
    assert_eq!(log4shell["technique"], "T1190");
    let table = listed("table");
    assert_eq!(table.lines().count(), 1 + threats.len());
    assert!(table.contains("ssh-version-2"), "what is off is listed too");
}
