//! `weir mode`: how far policy goes.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Modes {
    workloads: Vec<ModeView>,
}

/// What was counted under the mode before is not told here: `weir status` tells it.
#[derive(Serialize)]
struct ModeView {
    workload: String,
    mode: &'static str,
    quarantined: bool,
    rules: u32,
    addresses: Vec<String>,
}

impl View for Modes {
    fn table(&self, page: &mut Page) {
        let row = |workload: &ModeView| {
            let (tone, mode) = shown(workload.mode, workload.quarantined);
            let cells = vec![
                workload.workload.clone(),
                mode,
                workload.rules.to_string(),
                workload.addresses.join(" "),
            ];
            (tone, cells)
        };
        let headers = ["workload", "mode", "rules", "addresses"];
        let rows = self.workloads.iter().map(row).collect();
        page.columns(&headers, rows, "no workloads");
    }
}

/// A mode, and the quarantine that stands above it.
pub fn shown(mode: &str, quarantined: bool) -> (Tone, String) {
    if quarantined {
        (Tone::Bad, format!("{mode} (quarantined)"))
    } else {
        (Tone::Plain, mode.to_owned())
    }
}

/// Prints the modes.
pub async fn get(
    client: &mut Client,
    workload: Option<String>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::ModeGetRequest {
        workload: workload.unwrap_or_default(),
    };
    print(client.mode_get(request).await?.into_inner(), output)
}

/// Sets the mode. The words are workloads and the mode, which comes last (or first).
pub async fn set(
    client: &mut Client,
    words: &[String],
    all: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let usage = || {
        Failure::Usage(
            "give workloads and a mode: weir mode set shop/photo-db protect, or weir mode set --all monitor; \
             modes are discover, monitor, protect"
                .to_owned(),
        )
    };
    let (mode, workloads) = match words {
        [workloads @ .., last] if mode_of(last).is_some() => (mode_of(last), workloads),
        [first, workloads @ ..] => (mode_of(first), workloads),
        [] => (None, words),
    };
    let mode = mode.ok_or_else(usage)?;
    if workloads.is_empty() != all {
        return Err(usage());
    }
    let request = v1::ModeSetRequest {
        workloads: workloads.to_vec(),
        mode: mode.into(),
        all,
    };
    print(client.mode_set(request).await?.into_inner(), output)
}

fn mode_of(word: &str) -> Option<v1::Mode> {
    match word {
        "discover" => Some(v1::Mode::Discover),
        "monitor" => Some(v1::Mode::Monitor),
        "protect" => Some(v1::Mode::Protect),
        _ => None,
    }
}

fn print(reply: v1::ModeReply, output: &mut Output) -> Result<Answer, Failure> {
    let view = |status: v1::WorkloadStatus| ModeView {
        mode: text::mode(status.mode()),
        workload: status.name,
        quarantined: status.quarantined,
        rules: status.rules,
        addresses: status.addresses,
    };
    output.print(&Modes {
        workloads: reply.workloads.into_iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}
