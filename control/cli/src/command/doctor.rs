//! `weir doctor`: what is right and wrong with a machine for weir-node.

use std::path::Path;

use serde::Serialize;
use weir_host::doctor::{Check, Report, State, examine};
use weir_host::network::Session;
use weir_host::{Machine, Record, Wanted};

use crate::Answer;
use crate::args::DoctorArguments;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
#[serde(transparent)]
struct Examined {
    report: Report,
    #[serde(skip)]
    only_wrong: bool,
}

impl View for Examined {
    fn table(&self, page: &mut Page) {
        let shown = |check: &&Check| !self.only_wrong || check.state != State::Ok;
        for check in self.report.checks.iter().filter(shown) {
            let tone = match check.state {
                State::Ok => Tone::Good,
                State::Warning => Tone::Warning,
                State::Failure => Tone::Bad,
            };
            page.toned(tone, &check.to_string());
            for command in &check.fix {
                page.line(format!("         fix: {command}"));
            }
        }
        let Report {
            ok,
            warnings,
            failures,
            ..
        } = self.report;
        page.line(format!("{ok} ok, {warnings} warnings, {failures} failures"));
    }
}

/// Examines this machine, or another.
pub fn run(arguments: &DoctorArguments, output: &mut Output) -> Result<Answer, Failure> {
    let wanted = wanted(arguments.configuration.file().as_deref())?;
    let laid_out = arguments.recorded.as_deref().map(lay_out).transpose()?;
    let here = laid_out.is_none() && arguments.root == Path::new("/");
    let root = laid_out
        .as_ref()
        .map_or(arguments.root.as_path(), Laid::path);
    let mut machine = Machine::at(root);
    if arguments.record.is_some() {
        machine = machine.recording();
    }
    // Elsewhere nobody is logged in.
    let session = match here {
        true => Session::own(),
        false => Session::default(),
    };
    let report = examine(&machine, &wanted, &session);
    if let Some(path) = &arguments.record {
        let text = machine.record().to_string();
        std::fs::write(path, text).map_err(|error| {
            Failure::Failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    let failed = report.failures > 0 || (arguments.strict && report.warnings > 0);
    output.print(&Examined {
        report,
        only_wrong: arguments.wrong,
    })?;
    Ok(if failed { Answer::No } else { Answer::Yes })
}

/// What the node wants of the machine.
pub fn wanted(configuration: Option<&Path>) -> Result<Wanted, Failure> {
    let read = configuration.map(Wanted::read).transpose();
    let read = read.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(read.unwrap_or_default())
}

/// A directory of a recorded machine; goes with this.
struct Laid(tempfile::TempDir);

impl Laid {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn lay_out(file: &Path) -> Result<Laid, Failure> {
    let failed = |what: String| Failure::Failed(format!("{}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let record = Record::parse(&text).map_err(|error| failed(error.to_string()))?;
    let directory = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
    let laid = record.lay_out(directory.path());
    laid.map_err(|error| failed(error.to_string()))?;
    Ok(Laid(directory))
}
