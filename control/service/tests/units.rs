//! The units below `deploy/baremetal`, as systemd reads and rates them. Skipped by name where
//! systemd-analyze is not installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The units, and how exposed each may be by systemd's own rating (0: not at all, 10: wholly).
const UNITS: [(&str, f64); 3] = [
    ("weir-controller.service", 1.5),
    ("weir-node.service", 3.0),
    ("weir-host.service", 4.0),
];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal")
}

fn analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output();
    if output.is_err() {
        println!("skipped: units as systemd reads them: systemd-analyze is not installed");
    }
    output.ok()
}

/// Units whose programs are there: the rest of them is as it ships.
fn units(directory: &Path) -> Vec<(PathBuf, f64)> {
    let mut units = Vec::new();
    for (name, exposed) in UNITS {
        let text = std::fs::read_to_string(deploy().join(name)).unwrap();
        let programs = [
            "/usr/bin/weir-controller",
            "/usr/bin/weir-node",
            "/usr/bin/weir",
        ];
        let text = programs
            .iter()
            .fold(text, |text, program| text.replace(program, "/bin/true"));
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        units.push((path, exposed));
    }
    units
}

#[test]
fn systemd_finds_nothing_wrong() {
    let directory = tempfile::tempdir().unwrap();
    for (unit, _) in units(directory.path()) {
        let arguments = ["verify", "--man=no", "--recursive-errors=no"];
        let Some(output) = analyze(&arguments, &unit) else {
            return;
        };
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // What other units of this machine have wrong is not ours.
        let ours: Vec<&str> = told.lines().filter(|line| line.contains("weir")).collect();
        assert!(ours.is_empty(), "{ours:?}");
        assert!(output.status.success() || !told.contains("weir"), "{told}");
    }
}

#[test]
fn services_are_confined() {
    let directory = tempfile::tempdir().unwrap();
    for (unit, exposed) in units(directory.path()) {
        let arguments = ["security", "--offline=true", "--no-pager"];
        let Some(output) = analyze(&arguments, &unit) else {
            return;
        };
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(line) = told.lines().find(|line| line.contains("Overall exposure")) else {
            println!("skipped: rating of units: this systemd-analyze cannot do it offline");
            return;
        };
        let rating = line.split(": ").nth(1).and_then(|it| it.split(' ').next());
        let rating: f64 = rating.and_then(|it| it.parse().ok()).expect(line);
        assert!(rating <= exposed, "{line}");
    }
}

#[test]
fn daemons_run_without_root_and_tell_when_they_are_ready() {
    for name in ["weir-node.service", "weir-controller.service"] {
        let text = std::fs::read_to_string(deploy().join(name)).unwrap();
        for line in [
            "Type=notify",
            "WatchdogSec=",
            "User=weir-",
            "SystemCallFilter=@system-service",
        ] {
            assert!(
                text.lines().any(|it| it.starts_with(line)),
                "{name}: {line}"
            );
        }
    }
    for daemon in ["weir-node", "weir-controller"] {
        let users = std::fs::read_to_string(deploy().join(format!("{daemon}.sysusers"))).unwrap();
        assert!(users.contains(&format!("u {daemon} ")), "{users}");
    }
}
