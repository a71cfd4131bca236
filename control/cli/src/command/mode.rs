//! `weir mode`: how far policy goes.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

/// A workload and its mode.
#[derive(Serialize)]
pub struct WorkloadView {
    workload: String,
    mode: &'static str,
    quarantined: bool,
    addresses: Vec<String>,
    rules: u32,
    denied: u64,
    would_deny: u64,
}

#[derive(Serialize)]
struct Workloads {
    workloads: Vec<WorkloadView>,
}

impl WorkloadView {
    /// Of a message.
    pub fn of(status: v1::WorkloadStatus) -> Self {
        Self {
            mode: text::mode(status.mode()),
            workload: status.name,
            quarantined: status.quarantined,
            addresses: status.addresses,
            rules: status.rules,
            denied: status.denied,
            would_deny: status.would_deny,
        }
    }

    /// All of them as columns.
    pub fn print_all(workloads: &[Self], page: &mut Page) {
        let row = |workload: &Self| {
            let quarantine = if workload.quarantined {
                " (quarantined)"
            } else {
                ""
            };
            let tone = if workload.quarantined {
                Tone::Bad
            } else {
                Tone::Plain
            };
            let cells = vec![
                workload.workload.clone(),
                format!("{}{quarantine}", workload.mode),
                workload.rules.to_string(),
                workload.denied.to_string(),
                workload.would_deny.to_string(),
                workload.addresses.join(" "),
            ];
            (tone, cells)
        };
        let headers = [
            "workload",
            "mode",
            "rules",
            "denied",
            "would deny",
            "addresses",
        ];
        page.columns(
            &headers,
            workloads.iter().map(row).collect(),
            "no workloads",
        );
    }
}

impl View for Workloads {
    fn table(&self, page: &mut Page) {
        WorkloadView::print_all(&self.workloads, page);
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
    let requests: Vec<String> = if all {
        vec![String::new()]
    } else {
        workloads.to_vec()
    };
    let mut reply = v1::ModeReply::default();
    for workload in requests {
        let request = v1::ModeSetRequest {
            workload,
            mode: mode.into(),
            all,
        };
        reply
            .workloads
            .extend(client.mode_set(request).await?.into_inner().workloads);
    }
    print(reply, output)
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
    let workloads = reply.workloads.into_iter().map(WorkloadView::of).collect();
    output.print(&Workloads { workloads })?;
    Ok(Answer::Yes)
}
