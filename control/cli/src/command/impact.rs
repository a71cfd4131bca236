//! `weir policy impact`: what would have been dropped.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::{Client, ImpactArguments};
use crate::command::status::ProblemView;
use crate::documents;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Impact {
    since: String,
    conversations: u64,
    connections: u64,
    dropped_conversations: u64,
    dropped_connections: u64,
    rows: Vec<RowView>,
    notes: Vec<String>,
    problems: Vec<ProblemView>,
}

#[derive(Serialize)]
struct RowView {
    workload: String,
    decider: String,
    client: String,
    server: String,
    application: String,
    port: u32,
    protocol: String,
    connections: u64,
    days: u32,
    last_seen: String,
    /// The proposal that would cover it.
    proposal: String,
    confidence: f64,
    state: String,
    /// Where single requests would be dropped: the last such one, and how many are known.
    #[serde(skip_serializing_if = "String::is_empty")]
    request: String,
    requests: u64,
    #[serde(skip)]
    service: String,
}

impl View for Impact {
    fn table(&self, page: &mut Page) {
        for problem in &self.problems {
            problem.print(page);
        }
        if !self.problems.is_empty() {
            return;
        }
        let mut rest = self.rows.as_slice();
        while let Some(first) = rest.first() {
            let same = |row: &&RowView| row.decider == first.decider;
            let (rows, others) = rest.split_at(rest.iter().take_while(same).count());
            let connections = rows.iter().map(|row| row.connections).sum();
            let connections = text::count(connections, "connection");
            page.toned(Tone::Warning, &format!("{}: {connections}", first.decider));
            page.columns(&HEADERS, rows.iter().map(RowView::cells).collect(), "");
            page.gap();
            rest = others;
        }
        let (of, conversations) = (
            text::count(self.connections, "connection"),
            text::count(self.conversations, "conversation"),
        );
        let since = &self.since;
        match self.dropped_connections + self.rows.len() as u64 {
            0 => page.toned(
                Tone::Good,
                &format!(
                    "nothing would have been dropped of {of} in {conversations} since {since}"
                ),
            ),
            _ => page.line(format!(
                "{} of {of} would have been dropped, {} of {conversations}, since {since}",
                self.dropped_connections, self.dropped_conversations
            )),
        }
        for note in &self.notes {
            page.line(format!("note: {note}"));
        }
    }
}

const HEADERS: [&str; 7] = [
    "client",
    "server",
    "application",
    "port",
    "connections",
    "last seen",
    "proposal",
];

impl RowView {
    fn of(row: v1::ImpactRow) -> Self {
        Self {
            workload: row.workload,
            decider: row.decider,
            client: row.client,
            server: row.server,
            application: row.application,
            service: text::service(row.port, row.protocol),
            port: row.port,
            protocol: text::protocol(row.protocol),
            connections: row.connections,
            days: row.days,
            last_seen: text::time(row.last_seen_unix_us),
            proposal: row.proposal,
            confidence: row.confidence,
            state: row.state,
            request: row.request,
            requests: row.requests,
        }
    }

    fn cells(&self) -> (Tone, Vec<String>) {
        let application = match self.application.as_str() {
            "" => "any",
            name => name,
        };
        let proposal = match self.proposal.as_str() {
            "" => "no rule can be written".to_owned(),
            id => format!("{id} {} {:.2}", self.state, self.confidence),
        };
        let connections = match self.requests {
            0 => self.connections.to_string(),
            requests => format!("{requests} requests: {}", self.request),
        };
        let cells = vec![
            self.client.clone(),
            self.server.clone(),
            application.to_owned(),
            self.service.clone(),
            connections,
            self.last_seen.clone(),
            proposal,
        ];
        (Tone::Plain, cells)
    }
}

/// Prints what would have been dropped; the answer is no if anything.
pub async fn run(
    client: &mut Client,
    arguments: ImpactArguments,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let files = match arguments.files.as_slice() {
        [] => Vec::new(),
        paths => documents::read(paths, false)?,
    };
    let mode = match arguments.mode.as_deref() {
        Some("discover") => v1::Mode::Discover,
        Some("monitor") => v1::Mode::Monitor,
        Some("protect") => v1::Mode::Protect,
        _ => v1::Mode::Unspecified,
    };
    let request = v1::PolicyImpactRequest {
        days: arguments.days,
        mode: mode.into(),
        workload: arguments.workload.unwrap_or_default(),
        files,
        drafts: arguments.drafts,
    };
    let reply = client.policy_impact(request).await?.into_inner();
    let yes = reply.rows.is_empty() && reply.problems.is_empty();
    output.print(&Impact {
        since: text::time(reply.since_unix_us),
        conversations: reply.conversations,
        connections: reply.connections,
        dropped_conversations: reply.dropped_conversations,
        dropped_connections: reply.dropped_connections,
        rows: reply.rows.into_iter().map(RowView::of).collect(),
        notes: reply.notes,
        problems: reply.problems.into_iter().map(ProblemView::of).collect(),
    })?;
    Ok(if yes { Answer::Yes } else { Answer::No })
}
