//! `weir status`.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::command::mode;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct StatusView {
    version: String,
    source: String,
    /// This controller's name among several of a cluster; empty with files.
    controller: String,
    /// Which of them leads; empty where nobody is known to.
    leader: String,
    policy_version: u64,
    workload_count: u32,
    allowlist_count: u32,
    conversation_count: u64,
    alerts: AlertCountsView,
    problems: Vec<ProblemView>,
    nodes: Vec<NodeView>,
    workloads: Vec<WorkloadView>,
}

/// Since the controller started.
#[derive(Serialize)]
struct AlertCountsView {
    raised: u64,
    /// Made way for newer ones.
    forgotten: u64,
    /// Records of nodes that are no alerts although they say so.
    refused: u64,
}

/// A mistake in a document.
#[derive(Serialize)]
pub struct ProblemView {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub field: String,
    pub message: String,
    pub next_step: String,
    pub warning: bool,
}

/// A workload, and what was counted of it since its conversations are kept.
#[derive(Serialize)]
struct WorkloadView {
    workload: String,
    mode: &'static str,
    quarantined: bool,
    addresses: Vec<String>,
    rules: u32,
    denied: u64,
    would_deny: u64,
    /// Of the account it runs as, in a cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    spiffe_id: String,
}

#[derive(Serialize)]
struct NodeView {
    node: String,
    connected: bool,
    enforced_version: u64,
    refusal: String,
    last_seen: String,
    lost_records: u64,
    software: String,
}

impl ProblemView {
    /// Of a message.
    pub fn of(problem: v1::SourceProblem) -> Self {
        let v1::SourceProblem {
            file,
            line,
            column,
            field,
            message,
            next_step,
            warning,
        } = problem;
        Self {
            file,
            line,
            column,
            field,
            message,
            next_step,
            warning,
        }
    }

    /// Of a document that was read here.
    pub fn of_document(problem: &weir_model::Problem, warning: bool) -> Self {
        Self {
            file: problem.file.clone(),
            line: problem.line,
            column: problem.column,
            field: problem.field.clone(),
            message: problem.message.clone(),
            next_step: problem.next_step.clone(),
            warning,
        }
    }

    /// One line, as compilers write it.
    pub fn print(&self, page: &mut Page) {
        let (kind, tone) = if self.warning {
            ("warning", Tone::Warning)
        } else {
            ("error", Tone::Bad)
        };
        let mut place = self.file.clone();
        if self.line > 0 {
            place.push_str(&format!(":{}:{}", self.line, self.column));
        }
        let parts = [kind, &place, &self.field, &self.message];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let next = if self.next_step.is_empty() { "" } else { "; " };
        page.toned(
            tone,
            &format!("{}{next}{}", parts.join(": "), self.next_step),
        );
    }
}

impl View for StatusView {
    fn table(&self, page: &mut Page) {
        page.line(format!(
            "controller {} · policy version {} · source {}",
            self.version, self.policy_version, self.source
        ));
        if !self.controller.is_empty() {
            let leads = match self.leader.as_str() {
                "" => "nobody leads".to_owned(),
                leader if leader == self.controller => "leads".to_owned(),
                leader => format!("{leader} leads"),
            };
            page.line(format!("this controller is {} · {leads}", self.controller));
        }
        page.line(format!(
            "{} · {} · {} · {}",
            text::count(self.workload_count.into(), "workload"),
            text::count(self.allowlist_count.into(), "allowlist"),
            text::count(self.conversation_count, "conversation"),
            text::count(self.alerts.raised, "alert")
        ));
        if !self.problems.is_empty() {
            page.gap();
            if self.problems.iter().any(|problem| !problem.warning) {
                page.toned(Tone::Bad, "the last good policy holds, because of:");
            }
            for problem in &self.problems {
                problem.print(page);
            }
        }
        page.gap();
        let row = |node: &NodeView| {
            let (tone, state) = match (node.connected, node.refusal.is_empty()) {
                (false, _) => (Tone::Bad, "gone".to_owned()),
                (true, false) => (Tone::Bad, format!("refused {}", node.refusal)),
                (true, true) if node.enforced_version != self.policy_version => {
                    (Tone::Warning, "behind".to_owned())
                }
                (true, true) => (Tone::Plain, "current".to_owned()),
            };
            let version = node.enforced_version.to_string();
            let lost = node.lost_records.to_string();
            let seen = node.last_seen.clone();
            (
                tone,
                vec![
                    node.node.clone(),
                    version,
                    state,
                    seen,
                    lost,
                    node.software.clone(),
                ],
            )
        };
        let headers = [
            "node",
            "enforces",
            "state",
            "last seen",
            "lost records",
            "software",
        ];
        page.columns(
            &headers,
            self.nodes.iter().map(row).collect(),
            "no node has reported",
        );
        page.gap();
        let row = |workload: &WorkloadView| {
            let (tone, mode) = mode::shown(workload.mode, workload.quarantined);
            let cells = vec![
                workload.workload.clone(),
                mode,
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
        let rows = self.workloads.iter().map(row).collect();
        page.columns(&headers, rows, "no workloads");
    }
}

/// Asks and prints.
pub async fn run(client: &mut Client, output: &mut Output) -> Result<Answer, Failure> {
    let reply = client.status(v1::StatusRequest {}).await?.into_inner();
    let node = |node: v1::NodeStatus| NodeView {
        node: node.node,
        connected: node.connected,
        enforced_version: node.enforced_version,
        refusal: node.refusal,
        last_seen: text::time(node.last_seen_unix_us),
        lost_records: node.lost_records,
        software: node.software,
    };
    let workload = |status: v1::WorkloadStatus| WorkloadView {
        mode: text::mode(status.mode()),
        workload: status.name,
        quarantined: status.quarantined,
        addresses: status.addresses,
        rules: status.rules,
        denied: status.denied,
        would_deny: status.would_deny,
        spiffe_id: status.spiffe_id,
    };
    let alerts = reply.alerts.unwrap_or_default();
    output.print(&StatusView {
        version: reply.version,
        source: reply.source,
        controller: reply.controller,
        leader: reply.leader,
        policy_version: reply.policy_version,
        workload_count: reply.workloads,
        allowlist_count: reply.allowlists,
        conversation_count: reply.conversations,
        alerts: AlertCountsView {
            raised: alerts.raised,
            forgotten: alerts.forgotten,
            refused: alerts.refused,
        },
        problems: reply.problems.into_iter().map(ProblemView::of).collect(),
        nodes: reply.nodes.into_iter().map(node).collect(),
        workloads: reply.workload_status.into_iter().map(workload).collect(),
    })?;
    Ok(Answer::Yes)
}
