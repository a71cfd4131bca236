//! `weir learn`: from what was seen to what is allowed.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Review {
    proposals: Vec<ProposalView>,
    /// Conversations that the policy allows already, where they are not listed.
    covered_count: usize,
    coverage: Vec<CoverageView>,
}

#[derive(Serialize)]
struct ProposalView {
    id: String,
    state: String,
    client: String,
    server: String,
    application: String,
    port: u32,
    protocol: String,
    confidence: f64,
    connections: u64,
    reasons_for: Vec<String>,
    reasons_against: Vec<String>,
    #[serde(skip)]
    service: String,
}

#[derive(Serialize)]
struct CoverageView {
    workload: String,
    connections: u64,
    next_is_new: f64,
    ready: bool,
}

#[derive(Serialize)]
struct Accepted {
    accepted: Vec<String>,
    refused: Vec<String>,
}

impl View for Review {
    fn table(&self, page: &mut Page) {
        let row = |proposal: &ProposalView| {
            let mut reasons = proposal.reasons_for.join(", ");
            if !proposal.reasons_against.is_empty() {
                reasons = format!("{reasons}; but {}", proposal.reasons_against.join(", "));
            }
            let application = match proposal.application.as_str() {
                "" => "any",
                name => name,
            };
            let tone = match proposal.state.as_str() {
                "proposed" if proposal.reasons_against.is_empty() => Tone::Plain,
                "proposed" => Tone::Warning,
                _ => Tone::Good,
            };
            let cells = vec![
                proposal.id.clone(),
                proposal.state.clone(),
                format!("{:.2}", proposal.confidence),
                proposal.client.clone(),
                proposal.server.clone(),
                application.to_owned(),
                proposal.service.clone(),
                proposal.connections.to_string(),
                reasons,
            ];
            (tone, cells)
        };
        let headers = [
            "id",
            "state",
            "confidence",
            "client",
            "server",
            "application",
            "port",
            "connections",
            "because",
        ];
        let rows = self.proposals.iter().map(row).collect();
        let nothing = match self.covered_count {
            0 => "nothing to propose: no conversation was seen that a rule could be written for",
            _ => "nothing to propose: the policy covers what was seen",
        };
        page.columns(&headers, rows, nothing);
        if self.covered_count > 0 {
            page.line(format!(
                "{} covered by the policy already (--all lists them)",
                self.covered_count
            ));
        }
        if self.coverage.is_empty() {
            return;
        }
        page.gap();
        let row = |coverage: &CoverageView| {
            let ready = if coverage.ready { "yes" } else { "not yet" };
            let chance = format!("{:.1} %", coverage.next_is_new * 100.0);
            let connections = coverage.connections.to_string();
            (
                Tone::Plain,
                vec![
                    coverage.workload.clone(),
                    connections,
                    chance,
                    ready.to_owned(),
                ],
            )
        };
        let headers = ["workload", "connections", "next is new", "ready to protect"];
        page.columns(&headers, self.coverage.iter().map(row).collect(), "");
    }
}

impl View for Accepted {
    fn table(&self, page: &mut Page) {
        for id in &self.accepted {
            page.toned(Tone::Good, &format!("accepted {id}"));
        }
        for refusal in &self.refused {
            page.toned(Tone::Bad, &format!("not accepted: {refusal}"));
        }
        if self.accepted.is_empty() && self.refused.is_empty() {
            page.line("nothing to accept");
        }
        if !self.accepted.is_empty() {
            page.line("next: weir policy export --learned, then weir policy apply");
        }
    }
}

/// Prints the proposals.
pub async fn review(
    client: &mut Client,
    workload: Option<String>,
    all: bool,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::LearnReviewRequest {
        workload: workload.unwrap_or_default(),
    };
    let mut reply = client.learn_review(request).await?.into_inner();
    let total = reply.proposals.len();
    reply
        .proposals
        .retain(|proposal| all || proposal.state != "covered");
    let covered_count = total - reply.proposals.len();
    let proposal = |proposal: v1::Proposal| ProposalView {
        id: proposal.id,
        state: proposal.state,
        client: proposal.client,
        server: proposal.server,
        application: proposal.application,
        service: text::service(proposal.port, proposal.protocol),
        port: proposal.port,
        protocol: text::protocol(proposal.protocol),
        confidence: proposal.confidence,
        connections: proposal.connections,
        reasons_for: proposal.reasons_for,
        reasons_against: proposal.reasons_against,
    };
    let coverage = |coverage: v1::Coverage| CoverageView {
        workload: coverage.workload,
        connections: coverage.connections,
        next_is_new: coverage.next_is_new,
        ready: coverage.ready,
    };
    output.print(&Review {
        proposals: reply.proposals.into_iter().map(proposal).collect(),
        covered_count,
        coverage: reply.coverage.into_iter().map(coverage).collect(),
    })?;
    Ok(Answer::Yes)
}

/// Accepts proposals; the answer is no if any of them was refused.
pub async fn accept(
    client: &mut Client,
    ids: Vec<String>,
    all: bool,
    above: Option<f64>,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::LearnAcceptRequest { ids, all, above };
    let reply = client.learn_accept(request).await?.into_inner();
    let refused = !reply.refused.is_empty();
    output.print(&Accepted {
        accepted: reply.accepted,
        refused: reply.refused,
    })?;
    Ok(if refused { Answer::No } else { Answer::Yes })
}
