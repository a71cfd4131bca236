//! `weir host`: this machine made ready for weir-node, and put back.

use serde::Serialize;
use weir_host::Machine;
use weir_host::network::Session;
use weir_host::prepare::{
    Done, Kernel, Manner, Outcome, RememberedError, Request, prepare, restore,
};

use crate::Answer;
use crate::args::{HostCommand, PrepareArguments};
use crate::command::doctor::wanted;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
#[serde(transparent)]
struct Handled {
    outcome: Outcome,
}

impl View for Handled {
    fn table(&self, page: &mut Page) {
        for why in &self.outcome.refused {
            page.toned(Tone::Bad, &format!("refused  {why}"));
        }
        for step in &self.outcome.steps {
            let (word, tone) = match step.state {
                Done::Kept => ("kept", Tone::Plain),
                Done::Done => ("done", Tone::Good),
                Done::Planned => ("would", Tone::Plain),
                Done::Failed => ("failed", Tone::Bad),
                Done::Skipped => ("skipped", Tone::Warning),
            };
            page.toned(tone, &format!("{word:8} {}", step.says));
            if step.state == Done::Planned {
                for command in &step.commands {
                    page.line(format!("         # {command}"));
                }
            }
        }
        for hint in &self.outcome.hints {
            page.toned(Tone::Warning, &format!("note     {}", hint.says));
            for command in &hint.commands {
                page.line(format!("         # {command}"));
            }
        }
        if !self.outcome.refused.is_empty() {
            page.line("nothing was done");
        }
    }
}

/// Prepares or restores.
pub fn run(command: HostCommand, output: &mut Output) -> Result<Answer, Failure> {
    let (place, preparing) = match command {
        HostCommand::Prepare(arguments) => {
            let request = request(&arguments)?;
            (arguments.place, Some(request))
        }
        HostCommand::Restore(arguments) => (arguments.place, None),
    };
    let machine = Machine::at(&place.root);
    let mut kernel = Kernel::of(&machine);
    let manner = match place.dry_run {
        true => Manner::DryRun,
        false => Manner::Do,
    };
    let outcome = match preparing {
        Some(request) => prepare(
            &machine,
            &mut kernel,
            &request,
            &Session::own(),
            &place.state,
            manner,
        ),
        None => restore(&machine, &mut kernel, &place.state, manner),
    };
    let outcome = outcome.map_err(|error: RememberedError| Failure::Failed(error.to_string()))?;
    let answer = match outcome.succeeded() {
        true => Answer::Yes,
        false => Answer::No,
    };
    output.print(&Handled { outcome })?;
    Ok(answer)
}

fn request(arguments: &PrepareArguments) -> Result<Request, Failure> {
    let mut wanted = wanted(arguments.configuration.file().as_deref())?;
    if let Some(memory_mb) = arguments.memory_mb {
        wanted.memory_mb = memory_mb;
    }
    Ok(Request {
        wanted,
        devices: arguments.devices.clone(),
        driver: arguments.driver.clone(),
        page_size_kb: arguments.page_size,
        no_iommu: arguments.no_iommu,
        force: arguments.force,
        owner: arguments.owner.clone(),
    })
}
