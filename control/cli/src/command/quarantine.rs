//! `weir quarantine`: who is cut off from everything, whatever policy says.

use std::time::Duration;

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::{Client, QuarantineCommand};
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};

#[derive(Serialize)]
struct Quarantines {
    quarantines: Vec<QuarantineView>,
}

#[derive(Serialize)]
struct QuarantineView {
    workload: String,
    since_unix_s: u64,
    until_unix_s: Option<u64>,
    by: String,
    because: String,
    known: bool,
}

impl View for Quarantines {
    fn table(&self, page: &mut Page) {
        let time = |unix_s: u64| {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(unix_s);
            humantime::format_rfc3339_seconds(time).to_string()
        };
        let row = |it: &QuarantineView| {
            let gone = if it.known { "" } else { " (gone)" };
            let cells = vec![
                format!("{}{gone}", it.workload),
                time(it.since_unix_s),
                it.until_unix_s.map_or_else(|| "lifted".to_owned(), time),
                it.by.clone(),
                it.because.clone(),
            ];
            (Tone::Bad, cells)
        };
        let headers = ["workload", "since", "until", "by", "because"];
        let rows = self.quarantines.iter().map(row).collect();
        page.columns(&headers, rows, "nobody is cut off");
    }
}

/// Lists, cuts off, lets in; prints who is cut off then.
pub async fn run(
    client: &mut Client,
    command: QuarantineCommand,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let reply = match command {
        QuarantineCommand::List => client.quarantine_list(v1::QuarantineListRequest {}).await?,
        QuarantineCommand::Add {
            workloads,
            length,
            because,
        } => {
            let duration_s = length.map_or(0, |length| length.as_secs());
            let request = v1::QuarantineAddRequest {
                workloads,
                duration_s,
                because,
            };
            client.quarantine_add(request).await?
        }
        QuarantineCommand::Lift { workloads, all } => {
            let request = v1::QuarantineLiftRequest { workloads, all };
            client.quarantine_lift(request).await?
        }
    };
    let view = |it: v1::QuarantineView| QuarantineView {
        workload: it.workload,
        since_unix_s: it.since_unix_s,
        until_unix_s: (it.until_unix_s > 0).then_some(it.until_unix_s),
        by: it.by,
        because: it.because,
        known: it.known,
    };
    let quarantines = reply.into_inner().quarantines;
    output.print(&Quarantines {
        quarantines: quarantines.into_iter().map(view).collect(),
    })?;
    Ok(Answer::Yes)
}
