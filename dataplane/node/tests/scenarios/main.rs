//! Runs every folder of `tests/scenarios` as a test of its name. The README there shows the form.

mod frames;
mod story;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use serde_json::Value;
use weir_node::inspect::{CaptureReport, Inspector, load_policy};

/// `scenario.yaml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    hosts: BTreeMap<String, IpAddr>,
    #[serde(default)]
    link: frames::Link,
    segment_bytes: Option<usize>,
    fragment_bytes: Option<usize>,
    #[serde(default)]
    story: String,
    expect: Expectation,
}

/// What must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    flows: Vec<BTreeMap<String, Value>>,
    dropped: Option<BTreeMap<String, u64>>,
    spared: Option<BTreeMap<String, u64>>,
    forwarded: Option<u64>,
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = match folders() {
        Ok(folders) => folders.into_iter().map(trial).collect(),
        Err(error) => vec![Trial::test("scenarios", move || {
            Err(format!("{error:#}").into())
        })],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

/// The folders that hold a scenario, by name.
fn folders() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let folder = entry?.path();
        if folder.join("scenario.yaml").exists() {
            folders.push(folder);
        }
    }
    folders.sort();
    ensure!(!folders.is_empty(), "no scenario is there");
    Ok(folders)
}

fn trial(folder: PathBuf) -> Trial {
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Trial::test(name, move || {
        run(&folder).map_err(|error| format!("{error:#}").into())
    })
}

fn run(folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("scenario.yaml"))?;
    let scenario: Scenario = serde_yaml_ng::from_str(&text).context("scenario.yaml")?;
    let directory = tempfile::tempdir()?;
    let capture = match ["capture.pcap", "capture.pcapng"]
        .iter()
        .map(|name| folder.join(name))
        .find(|file| file.exists())
    {
        Some(capture) => capture,
        None => {
            let capture = directory.path().join("story.pcap");
            std::fs::write(&capture, scenario.capture().context("story")?)?;
            capture
        }
    };
    let policy = policy_of(folder, directory.path())?;
    let snapshot = load_policy(Some(&policy))?;
    let inspector = Inspector {
        threats: Default::default(),
        sensors: weir_node::sensors::compile(&snapshot, None).map_err(anyhow::Error::msg)?,
        snapshot: snapshot.into(),
        ruleset: None,
        verify_checksums: true,
        gather_fields: false,
    };
    let report = inspector.inspect(&capture, &mut |_| {})?;
    scenario.expect.check(&report).with_context(|| {
        format!(
            "inspect says {}",
            serde_json::to_string_pretty(&report).unwrap_or_default()
        )
    })
}

/// The folder's documents without the scenario.
fn policy_of(folder: &Path, directory: &Path) -> Result<PathBuf> {
    let policy = directory.join("policy");
    std::fs::create_dir(&policy)?;
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default();
        if file.extension().is_some_and(|ending| ending == "yaml") && name != "scenario.yaml" {
            std::fs::copy(&file, policy.join(name))?;
        }
    }
    Ok(policy)
}

impl Scenario {
    /// The story as a capture file.
    fn capture(&self) -> Result<Vec<u8>> {
        let mut wire = frames::Wire::new(&self.link, self.segment_bytes, self.fragment_bytes);
        story::tell(&self.story, &self.hosts, &mut wire)?;
        Ok(wire.into_capture())
    }
}

impl Expectation {
    fn check(&self, report: &CaptureReport) -> Result<()> {
        ensure!(report.error.is_none(), "the capture cannot be read");
        ensure!(
            report.unaccounted == 0,
            "{} packets are not accounted for",
            report.unaccounted
        );
        let flows = report
            .flows
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<Vec<_>, _>>()?;
        ensure!(
            flows.len() == self.flows.len(),
            "there are {} flows, not {}",
            flows.len(),
            self.flows.len()
        );
        let mut left = flows;
        for expected in &self.flows {
            let agrees = |flow: &Value| {
                expected
                    .iter()
                    .all(|(name, value)| flow.get(name) == Some(value))
            };
            let Some(found) = left.iter().position(agrees) else {
                bail!("no flow is {}", serde_json::to_string(expected)?)
            };
            left.swap_remove(found);
        }
        if let Some(dropped) = &self.dropped {
            ensure!(
                *dropped == by_reason(&report.dropped),
                "dropped: {:?}",
                report.dropped
            );
        }
        if let Some(spared) = &self.spared {
            ensure!(
                *spared == by_reason(&report.spared),
                "spared: {:?}",
                report.spared
            );
        }
        if let Some(forwarded) = self.forwarded {
            ensure!(
                forwarded == report.forwarded,
                "{} packets are forwarded",
                report.forwarded
            );
        }
        Ok(())
    }
}

fn by_reason(counts: &[(&'static str, u64)]) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}
