//! `weir flows`: connections as the nodes saw them.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::{Client, FlowsArguments};
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

/// One record.
#[derive(Serialize)]
pub struct FlowView {
    time: String,
    event: &'static str,
    node: String,
    flow_id: u64,
    community_id: String,
    client: String,
    server: String,
    client_address: String,
    server_address: String,
    protocol: String,
    application: String,
    confidence: String,
    verdict: &'static str,
    rule_action: &'static str,
    mode: &'static str,
    wire_action: &'static str,
    decider: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    nearest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
    packets_to_server: u64,
    packets_to_client: u64,
    bytes_to_server: u64,
    bytes_to_client: u64,
    policy_version: u64,
    #[serde(skip_serializing_if = "is_zero")]
    skipped: u64,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Flows(Vec<FlowView>);

/// One record of a stream that has its header already.
#[derive(Serialize)]
#[serde(transparent)]
struct Followed(FlowView);

const HEADERS: [&str; 8] = [
    "time",
    "verdict",
    "client",
    "server",
    "application",
    "flow",
    "bytes",
    "decided by",
];
/// Widths while following, when later rows are not known yet.
const WIDTHS: [usize; 8] = [24, 10, 20, 20, 11, 44, 10, 0];

impl FlowView {
    /// Of a message.
    pub fn of(view: v1::FlowView) -> Self {
        let record = view.record.unwrap_or_default();
        Self {
            time: text::time(record.time_unix_us),
            event: match record.event() {
                v1::FlowEvent::Unspecified => "",
                v1::FlowEvent::New => "new",
                v1::FlowEvent::Update => "update",
                v1::FlowEvent::End => "end",
                v1::FlowEvent::Verdict => "verdict",
                v1::FlowEvent::Alert => "alert",
            },
            node: view.node,
            flow_id: record.flow_id,
            client: view.client,
            server: view.server,
            client_address: text::end(&record.client_address, record.client_port, record.protocol),
            server_address: text::end(&record.server_address, record.server_port, record.protocol),
            protocol: text::protocol(record.protocol),
            verdict: record.verdict().name(),
            rule_action: text::action(record.rule_action()),
            mode: text::mode(record.mode()),
            wire_action: text::wire_action(record.wire_action()),
            packets_to_server: record.packets_to_server,
            packets_to_client: record.packets_to_client,
            bytes_to_server: record.bytes_to_server,
            bytes_to_client: record.bytes_to_client,
            policy_version: record.policy_version,
            community_id: record.community_id,
            application: record.application,
            confidence: record.confidence,
            decider: record.decider,
            nearest: record.nearest,
            reason: record.reason,
            detail: record.detail,
            fields: record.fields,
            skipped: view.skipped,
        }
    }

    /// How the verdict stands out.
    pub fn tone(&self) -> Tone {
        match self.verdict {
            "denied" => Tone::Bad,
            "would-deny" => Tone::Warning,
            _ => Tone::Plain,
        }
    }

    /// The record in one line.
    pub fn sentence(&self) -> String {
        format!(
            "seen {} on {}: {} {}->{} {}, {} to the server, {} to the client, then {} by {} under version {}",
            self.time,
            self.node,
            self.protocol,
            self.client_address,
            self.server_address,
            self.application,
            text::bytes(self.bytes_to_server),
            text::bytes(self.bytes_to_client),
            self.verdict,
            self.decider,
            self.policy_version
        )
    }

    fn cells(&self) -> Vec<String> {
        let application = match self.application.as_str() {
            "" => self.protocol.clone(),
            name => name.to_owned(),
        };
        let mut decided = self.decider.clone();
        for more in [&self.detail, &self.nearest] {
            if !more.is_empty() {
                decided = format!("{decided}; {more}");
            }
        }
        vec![
            self.time.clone(),
            self.verdict.to_owned(),
            self.client.clone(),
            self.server.clone(),
            application,
            format!("{}->{}", self.client_address, self.server_address),
            text::bytes(self.bytes_to_server.saturating_add(self.bytes_to_client)),
            decided,
        ]
    }
}

impl View for Flows {
    fn table(&self, page: &mut Page) {
        let rows = self
            .0
            .iter()
            .map(|flow| (flow.tone(), flow.cells()))
            .collect();
        page.columns(&HEADERS, rows, "no such flows");
    }
}

impl View for Followed {
    fn table(&self, page: &mut Page) {
        page.skipped(self.0.skipped);
        page.padded(self.0.tone(), &self.0.cells(), &WIDTHS);
    }
}

/// Asks and prints, for as long as there are records.
pub async fn run(
    client: &mut Client,
    arguments: FlowsArguments,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let FlowsArguments {
        follow,
        limit,
        workload,
        application,
        verdict,
        every,
    } = arguments;
    let request = v1::FlowsRequest {
        follow,
        limit,
        workload: workload.unwrap_or_default(),
        application: application.unwrap_or_default(),
        verdict: verdict.unwrap_or_default(),
        every,
    };
    let mut stream = client.flows(request).await?.into_inner();
    if !follow {
        let mut flows = Vec::new();
        while let Some(view) = stream.message().await? {
            flows.push(FlowView::of(view));
        }
        output.print(&Flows(flows))?;
        return Ok(Answer::Yes);
    }
    output.print_headers(&HEADERS, &WIDTHS)?;
    while let Some(view) = stream.message().await? {
        output.print_next(&Followed(FlowView::of(view)))?;
    }
    Ok(Answer::Yes)
}

/// For numbers that are told only where there is something to tell.
pub fn is_zero(number: &u64) -> bool {
    *number == 0
}
