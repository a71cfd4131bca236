//! `weir alerts`: what fired, where, and what became of it.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::{Outcome, v1};
use weir_threat::Threat;

use crate::Answer;
use crate::args::{AlertsArguments, Client};
use crate::command::flows::is_zero;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Alerts {
    alerts: Vec<AlertView>,
    /// Older ones that the controller does not keep any more.
    forgotten: u64,
}

#[derive(Serialize)]
struct AlertView {
    time: String,
    node: String,
    kind: &'static str,
    generator: u32,
    id: u32,
    revision: u32,
    /// The threat's or sensor's name, the signature's class.
    name: String,
    message: String,
    /// What it asks for.
    action: &'static str,
    /// What became of the packet.
    outcome: &'static str,
    severity: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    technique: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sign: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    excerpt: String,
    excerpt_offset: u64,
    client: String,
    server: String,
    client_address: String,
    server_address: String,
    protocol: String,
    application: String,
    /// 0 where no flow was made of the packet.
    flow_id: u64,
    community_id: String,
    mode: &'static str,
    policy_version: u64,
    #[serde(skip_serializing_if = "is_zero")]
    skipped: u64,
    #[serde(skip)]
    tone: Tone,
}

/// One alert of a stream that has its header already.
#[derive(Serialize)]
#[serde(transparent)]
struct Followed(AlertView);

const HEADERS: [&str; 9] = [
    "time",
    "outcome",
    "kind",
    "alert",
    "client",
    "server",
    "application",
    "flow",
    "evidence",
];
/// Widths while following, when later rows are not known yet.
const WIDTHS: [usize; 9] = [24, 11, 9, 22, 20, 20, 11, 44, 0];

impl AlertView {
    fn of(view: v1::FlowView) -> Self {
        let record = view.record.unwrap_or_default();
        let mode = text::mode(record.mode());
        let alert = record.alert.unwrap_or_default();
        let outcome = alert.outcome();
        Self {
            time: text::time(record.time_unix_us),
            node: view.node,
            kind: match alert.kind() {
                v1::AlertKind::Unspecified => "",
                v1::AlertKind::Threat => "threat",
                v1::AlertKind::Signature => "signature",
                v1::AlertKind::Sensor => "sensor",
            },
            action: match alert.action() {
                v1::AlertAction::Unspecified => "",
                v1::AlertAction::Alert => "alert",
                v1::AlertAction::Drop => "drop",
            },
            outcome: outcome.name(),
            tone: match outcome {
                Outcome::Blocked => Tone::Bad,
                Outcome::WouldBlock => Tone::Warning,
                Outcome::Told => Tone::Plain,
            },
            generator: alert.generator,
            id: alert.id,
            revision: alert.revision,
            name: alert.name,
            message: alert.message,
            severity: alert.severity,
            technique: alert.technique,
            sign: alert.sign,
            counters: alert.counters,
            excerpt: alert.excerpt,
            excerpt_offset: alert.excerpt_offset,
            client: view.client,
            server: view.server,
            client_address: text::end(&record.client_address, record.client_port, record.protocol),
            server_address: text::end(&record.server_address, record.server_port, record.protocol),
            protocol: text::protocol(record.protocol),
            application: record.application,
            flow_id: record.flow_id,
            community_id: record.community_id,
            mode,
            policy_version: record.policy_version,
            skipped: view.skipped,
        }
    }

    fn cells(&self) -> Vec<String> {
        // A signature is known by its number and explains itself; of a threat `weir threats` tells what is
        // the same each time.
        let about = Threat::by_name(&self.name).map_or("", Threat::about);
        let (alert, message) = match self.kind {
            "signature" => (format!("{}:{}", self.generator, self.id), &*self.message),
            "threat" if self.message != about => (self.name.clone(), &*self.message),
            _ => (self.name.clone(), ""),
        };
        let counters = self.counters.iter();
        let counters: Vec<_> = counters
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let parts = [message, &self.sign, &counters.join(" "), &self.excerpt];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let application = match self.application.as_str() {
            "" => self.protocol.clone(),
            name => name.to_owned(),
        };
        vec![
            self.time.clone(),
            self.outcome.to_owned(),
            self.kind.to_owned(),
            alert,
            self.client.clone(),
            self.server.clone(),
            application,
            format!("{}->{}", self.client_address, self.server_address),
            parts.join("; "),
        ]
    }
}

impl View for Alerts {
    fn table(&self, page: &mut Page) {
        let row = |alert: &AlertView| (alert.tone, alert.cells());
        let rows = self.alerts.iter().map(row).collect();
        page.columns(&HEADERS, rows, "no such alerts");
        if self.forgotten > 0 {
            let older = text::count(self.forgotten, "older alert");
            page.gap();
            page.line(format!("{older} not kept any more"));
        }
    }
}

impl View for Followed {
    fn table(&self, page: &mut Page) {
        page.skipped(self.0.skipped);
        page.padded(self.0.tone, &self.0.cells(), &WIDTHS);
    }
}

/// Asks and prints, for as long as there are alerts.
pub async fn run(
    client: &mut Client,
    arguments: AlertsArguments,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let AlertsArguments {
        follow,
        limit,
        threat,
        workload,
        since,
    } = arguments;
    let request = v1::AlertsRequest {
        follow,
        limit,
        threat: threat.unwrap_or_default(),
        workload: workload.unwrap_or_default(),
        since_unix_us: since.unwrap_or_default(),
    };
    let mut stream = client.alerts(request).await?.into_inner();
    if !follow {
        let mut alerts = Vec::new();
        while let Some(view) = stream.message().await? {
            alerts.push(AlertView::of(view));
        }
        let status = client.status(v1::StatusRequest {}).await?.into_inner();
        let forgotten = status.alerts.unwrap_or_default().forgotten;
        output.print(&Alerts { alerts, forgotten })?;
        return Ok(Answer::Yes);
    }
    output.print_headers(&HEADERS, &WIDTHS)?;
    while let Some(view) = stream.message().await? {
        output.print_next(&Followed(AlertView::of(view)))?;
    }
    Ok(Answer::Yes)
}
