//! The daemon as the system runs it: signals, sockets, and what it says when it cannot start.

mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn daemon(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-controller"));
    let unix = |name: &str| format!("unix:{}", root.join(name).display());
    command
        .arg("--directory")
        .arg(root.join("policy"))
        .arg("--state")
        .arg(root.join("state"))
        .args([
            "--listen",
            &unix("controller.sock"),
            "--node-listen",
            &unix("nodes.sock"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(root: &Path) -> Child {
    let child = daemon(root).spawn().unwrap();
    let deadline = Instant::now() + common::PATIENCE;
    while std::os::unix::net::UnixStream::connect(root.join("controller.sock")).is_err() {
        assert!(Instant::now() < deadline, "never listens");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

fn site() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("policy")).unwrap();
    std::fs::write(root.path().join("policy/workloads.yaml"), common::WORKLOADS).unwrap();
    root
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_ends_when_told_and_leaves_no_socket() {
    let root = site();
    for name in ["TERM", "INT"] {
        let mut child = start(root.path());
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!root.path().join("controller.sock").exists());
        assert!(!root.path().join("nodes.sock").exists());
    }
}

#[test]
fn it_starts_after_it_was_killed() {
    let root = site();
    let mut child = start(root.path());
    signal(&child, "KILL");
    child.wait().unwrap();
    assert!(
        root.path().join("controller.sock").exists(),
        "a dead process leaves its socket"
    );
    let mut child = start(root.path());
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_says_why_it_cannot_start() {
    let root = site();
    let mut first = start(root.path());
    let second = complaint(&daemon(root.path()).output().unwrap());
    assert!(second.contains("in use by another process"), "{second}");
    let elsewhere = root.path().join("state-2");
    let second = daemon(root.path())
        .arg("--state")
        .arg(elsewhere)
        .output()
        .unwrap();
    assert_ne!(second.status.code(), Some(0));
    signal(&first, "TERM");
    first.wait().unwrap();

    let with = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-controller"));
        command.arg("--directory").arg(root.path().join("policy"));
        command.arg("--state").arg(root.path().join("state"));
        let listen = format!("unix:{}", root.path().join("controller.sock").display());
        complaint(
            &command
                .args(["--listen", &listen])
                .args(arguments)
                .output()
                .unwrap(),
        )
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = with(&["--node-listen", &address]);
    assert!(
        said.contains(&address) && said.contains("another process"),
        "{said}"
    );
    let said = with(&["--node-listen", "nowhere"]);
    assert!(
        said.contains("--node-listen") && said.contains("is no endpoint"),
        "{said}"
    );
    let said = with(&["--tls-ca", "/nonexistent.pem"]);
    assert!(said.contains("the certificate is missing"), "{said}");
    let said = with(&[
        "--node-listen",
        "127.0.0.1:0",
        "--tls-ca",
        "/a",
        "--tls-certificate",
        "/b",
        "--tls-key",
        "/c",
    ]);
    assert!(said.contains("cannot read the certificate /b"), "{said}");
    std::fs::write(
        root.path().join("state/controller.redb"),
        "this is no database",
    )
    .unwrap();
    let said = with(&["--node-listen", "127.0.0.1:0"]);
    assert!(said.contains("cannot open the store"), "{said}");
    std::fs::remove_dir_all(root.path().join("policy")).unwrap();
    std::fs::remove_dir_all(root.path().join("state")).unwrap();
    let said = with(&["--node-listen", "127.0.0.1:0"]);
    assert!(
        said.contains("policy") && said.contains("does not exist"),
        "{said}"
    );
}
