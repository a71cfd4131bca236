//! What the doctor says of machines of many kinds: `machines/NAME.machine` is what was recorded of one,
//! `NAME.toml` its node's configuration, `NAME.expected` what is to be said. UPDATE_EXPECTED=1 writes
//! the last anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use weir_host::doctor::{Report, State, examine};
use weir_host::network::Session;
use weir_host::{Machine, Record, Wanted};

fn machines() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut machines: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "machine"))
        .collect();
    machines.sort();
    assert!(machines.len() >= 6);
    machines
}

fn laid_out(path: &Path) -> tempfile::TempDir {
    let record = Record::parse(&fs::read_to_string(path).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    record.lay_out(directory.path()).unwrap();
    directory
}

fn wanted(path: &Path) -> Wanted {
    match fs::read_to_string(path.with_extension("toml")) {
        Ok(text) => Wanted::parse(&text).unwrap(),
        Err(_) => Wanted::default(),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        text.push_str(&format!("{check}\n"));
        for command in &check.fix {
            text.push_str(&format!("         fix: {command}\n"));
        }
    }
    text
}

#[test]
fn each_machine_is_told_what_it_lacks() {
    let mut wrong = Vec::new();
    for path in machines() {
        let directory = laid_out(&path);
        let machine = Machine::at(directory.path());
        let report = examine(&machine, &wanted(&path), &Session::default());
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, text(&report)).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        if text(&report) != expected {
            wrong.push(format!("{}:\n{}", path.display(), text(&report)));
        }
        let count = |state| report.checks.iter().filter(|it| it.state == state).count();
        assert_eq!(report.failures, count(State::Failure));
        assert_eq!(report.warnings, count(State::Warning));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_recording_says_what_the_machine_said() {
    for path in machines() {
        let directory = laid_out(&path);
        let machine = Machine::at(directory.path()).recording();
        let first = examine(&machine, &wanted(&path), &Session::default());
        let again = tempfile::tempdir().unwrap();
        let record = machine.record().to_string();
        Record::parse(&record)
            .unwrap()
            .lay_out(again.path())
            .unwrap();
        // Names of models are looked up where the recording is read.
        let ids = "usr/share/misc/pci.ids";
        if directory.path().join(ids).exists() {
            fs::create_dir_all(again.path().join("usr/share/misc")).unwrap();
            fs::copy(directory.path().join(ids), again.path().join(ids)).unwrap();
        }
        let machine = Machine::at(again.path());
        let second = examine(&machine, &wanted(&path), &Session::default());
        assert_eq!(text(&second), text(&first), "{}", path.display());
    }
}

#[test]
fn every_failure_and_warning_that_a_command_mends_names_it() {
    for path in machines() {
        let directory = laid_out(&path);
        let machine = Machine::at(directory.path());
        let report = examine(&machine, &wanted(&path), &Session::default());
        for check in report.checks {
            let mended = check.state == State::Ok
                || !check.fix.is_empty()
                || check.says.contains("is not there")
                || check.says.contains("not known")
                || check.says.contains("shows no hugepages")
                || check.says.contains("no network card");
            assert!(mended, "{}: {check}", path.display());
        }
    }
}

/// Every matter is looked at on every machine, however little can be read of it.
const MATTERS: [&str; 9] = [
    "processor",
    "numa",
    "hugepages",
    "iommu",
    "vfio",
    "nic",
    "cores",
    "clock",
    "kernel",
];

/// What becomes of a file.
#[derive(Clone, Debug)]
enum Damage {
    Gone,
    Directory,
    Bytes(Vec<u8>),
    Line(usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Gone),
        Just(Damage::Directory),
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Damage::Bytes),
        (0usize..8, "[-0-9a-fx:., \\t]{0,40}").prop_map(|(line, text)| Damage::Line(line, text)),
    ]
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        match kind.is_dir() {
            true => files(&path, found),
            false if kind.is_file() => found.push(path),
            false => {}
        }
    }
}

fn apply(damage: &Damage, path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_default();
    fs::remove_file(path).unwrap();
    match damage {
        Damage::Gone => {}
        Damage::Directory => fs::create_dir(path).unwrap(),
        Damage::Bytes(bytes) => fs::write(path, bytes).unwrap(),
        Damage::Line(line, new) => {
            let mut lines: Vec<&str> = text.lines().collect();
            let at = (*line).min(lines.len());
            lines.insert(at, new);
            fs::write(path, lines.join("\n")).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_damaged_is_a_line_and_no_panic(
        which in any::<prop::sample::Index>(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), damage()), 1..12),
    ) {
        let machines = machines();
        let path = which.get(&machines);
        let directory = laid_out(path);
        let mut all = Vec::new();
        files(directory.path(), &mut all);
        all.sort();
        let mut touched = BTreeSet::new();
        for (which, damage) in &damages {
            let file = which.get(&all);
            if touched.insert(file.clone()) {
                apply(damage, file);
            }
        }
        let machine = Machine::at(directory.path()).recording();
        let report = examine(&machine, &wanted(path), &Session { process: 900 });
        for matter in MATTERS {
            prop_assert!(report.checks.iter().any(|it| it.name == matter), "{}", matter);
        }
    }
}
