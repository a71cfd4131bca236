//! `weir-node inspect`: the packet's way over captures. No root, no hugepages, no controller.

mod apart;
mod capture;
mod fields;
mod flow_line;
mod render;
mod threat_line;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
pub use capture::{CaptureReport, FlowReport, Inspector};
pub use render::Format;
pub use threat_line::ThreatLine;
use weir_policy::Snapshot;

use self::render::Form;
use crate::signatures;

/// What `inspect` is asked.
#[derive(Debug, clap::Args)]
pub struct InspectArguments {
    /// Captures (pcap, pcapng), or directories of them.
    #[arg(required = true)]
    pub captures: Vec<PathBuf>,
    /// Directory of policy documents; without it everything is allowed and named.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// Look by Weir's own rules as well.
    #[arg(long)]
    pub shipped_rules: bool,
    /// Rule files or directories of signatures.
    #[arg(long)]
    pub signatures: Vec<PathBuf>,
    /// How to print [default: table; with --flows: json].
    #[arg(short, long)]
    pub output: Option<Format>,
    /// One JSON line per flow: its ends, its application, the fields of its messages.
    #[arg(long)]
    pub flows: bool,
    /// One JSON line per threat found, also of those that are not told by default.
    #[arg(long, conflicts_with = "flows")]
    pub threats: bool,
    /// Verify checksums: captures taken on the sending host often show them not yet filled in.
    #[arg(long)]
    pub verify_checksums: bool,
}

/// Runs; returns whether every capture could be read to its end.
pub fn run(arguments: &InspectArguments) -> Result<bool> {
    let form = form(arguments)?;
    let files = list_captures(&arguments.captures)?;
    let snapshot = Arc::new(load_policy(arguments.policy.as_deref())?);
    let sensors = crate::sensors::compile(&snapshot, None).map_err(anyhow::Error::msg)?;
    let signatures = signatures::load(&signatures::Source {
        shipped: arguments.shipped_rules,
        paths: arguments.signatures.clone(),
        ..signatures::Source::default()
    })?;
    let threats = match form {
        Form::Threats => weir_threat::Config::default().telling_everything(),
        Form::Of(_) | Form::Flows => weir_threat::Config::default(),
    };
    let inspector = Inspector {
        threats: Arc::new(threats),
        snapshot,
        sensors,
        ruleset: signatures.rules,
        verify_checksums: arguments.verify_checksums,
        gather_fields: form == Form::Flows,
    };
    let mut printer = render::Printer::new(form, files.len());
    let mut all_whole = true;
    for file in &files {
        let report = inspector.inspect(file, &mut |described| printer.event(described))?;
        all_whole &= report.error.is_none();
        printer.capture(&report)?;
    }
    printer.finish()?;
    Ok(all_whole)
}

/// What is printed: `--flows` and `--threats` have forms of their own.
fn form(arguments: &InspectArguments) -> Result<Form> {
    let lines = match arguments {
        InspectArguments { flows: true, .. } => Some((Form::Flows, "--flows")),
        InspectArguments { threats: true, .. } => Some((Form::Threats, "--threats")),
        _ => None,
    };
    match (lines, arguments.output) {
        (Some((form, _)), None | Some(Format::Json)) => Ok(form),
        (Some((_, flag)), Some(Format::Table | Format::Eve)) => bail!(
            "{flag} prints JSON, one object a line; leave out --output, or leave out {flag} for a table or events"
        ),
        (None, output) => Ok(Form::Of(output.unwrap_or(Format::Table))),
    }
}

/// The captures among the arguments, directories walked, in order.
fn list_captures(arguments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in arguments {
        if path.is_dir() {
            let mut found = Vec::new();
            walk(path, &mut found)?;
            found.sort();
            files.extend(found);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            bail!(
                "{}: no such file or directory; give captures (pcap, pcapng) or directories of them",
                path.display()
            );
        }
    }
    if files.is_empty() {
        bail!("no capture found; captures end in .pcap, .pcapng or .cap");
    }
    Ok(files)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read the directory {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Links are not followed: a link to a parent would never end.
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ending| {
            ["pcap", "pcapng", "cap"]
                .iter()
                .any(|known| ending.eq_ignore_ascii_case(known))
        }) {
            found.push(path);
        }
    }
    Ok(())
}

/// The policy in a directory, compiled; an empty one without a directory.
pub fn load_policy(directory: Option<&Path>) -> Result<Snapshot> {
    let Some(directory) = directory else {
        return Ok(Snapshot::empty());
    };
    let (documents, problems) = weir_sources::load(directory)?;
    let compiled = weir_compile::compile(&documents, None);
    let problems: Vec<String> = problems
        .iter()
        .chain(&compiled.problems)
        .map(ToString::to_string)
        .collect();
    if !problems.is_empty() {
        bail!("the policy cannot be used:\n{}", problems.join("\n"));
    }
    for warning in &compiled.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(Snapshot::build(compiled.spec)?)
}
