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
    #[serde(skip)]
    above: Option<f64>,
    #[serde(skip)]
    rejected: bool,
    /// Conversations that the policy allows already, where they are not listed.
    covered_count: usize,
    coverage: Vec<CoverageView>,
    /// Workloads that seem to go on under another name.
    successions: Vec<SuccessionView>,
}

/// What is asked of the review.
pub struct Asked {
    /// Only with this workload.
    pub workload: Option<String>,
    /// Only at least that sure.
    pub above: Option<f64>,
    /// Also what is covered.
    pub all: bool,
    /// What was rejected instead.
    pub rejected: bool,
}

#[derive(Serialize)]
pub struct ProposalView {
    pub id: String,
    pub state: String,
    pub client: String,
    pub server: String,
    pub application: String,
    pub port: u32,
    pub protocol: String,
    pub confidence: f64,
    pub connections: u64,
    pub days: u32,
    pub first_seen: String,
    pub last_seen: String,
    pub reasons_for: Vec<String>,
    pub reasons_against: Vec<String>,
    /// Why it was rejected, in a person's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rejected_because: String,
    /// When it was accepted or rejected.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decided: String,
    /// What is new since it was rejected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub news: Vec<String>,
    #[serde(skip)]
    pub service: String,
}

#[derive(Serialize)]
struct SuccessionView {
    old: String,
    new: String,
    similarity: f64,
    because: Vec<String>,
}

#[derive(Serialize)]
struct CoverageView {
    workload: String,
    conversations: u64,
    connections: u64,
    days: u32,
    next_is_new: f64,
    /// The 95 % interval.
    lower: f64,
    upper: f64,
    next_day_is_new: f64,
    ready: bool,
    missing: Vec<String>,
}

#[derive(Serialize)]
struct Accepted {
    accepted: Vec<String>,
    refused: Vec<String>,
    /// Where Weir may not write documents itself: those to apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<String>,
}

#[derive(Serialize)]
struct Rejected {
    rejected: Vec<String>,
    refused: Vec<String>,
}

#[derive(Serialize)]
struct Same {
    old: String,
    new: String,
    conversations: u64,
    decisions: u64,
}

impl View for Review {
    fn table(&self, page: &mut Page) {
        let row = |proposal: &ProposalView| {
            let mut reasons = proposal.reasons_for.join(", ");
            if !proposal.reasons_against.is_empty() {
                reasons = format!("{reasons}; but {}", proposal.reasons_against.join(", "));
            }
            if proposal.state == "rejected" && !proposal.rejected_because.is_empty() {
                reasons = format!("rejected: {}; {reasons}", proposal.rejected_because);
            }
            if !proposal.news.is_empty() {
                let news = proposal.news.join(", ");
                reasons = format!("rejected before, but {news}; {reasons}");
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
            0 if self.rejected => "nothing was rejected",
            0 if self.above.is_some() => "no proposal is that sure",
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
        for it in &self.successions {
            let because = it.because.join("; ");
            page.gap();
            page.line(format!(
                "{} seems to go on as {}: {because}",
                it.old, it.new
            ));
            page.line(format!("  if so: weir learn same {} {}", it.old, it.new));
        }
        if self.coverage.is_empty() || self.rejected {
            return;
        }
        page.gap();
        let row = |coverage: &CoverageView| {
            let ready = match coverage.missing.join("; ") {
                missing if missing.is_empty() => "yes".to_owned(),
                missing => format!("not yet: {missing}"),
            };
            let percent = |share: f64| format!("{:.1}", share * 100.0);
            let chance = format!(
                "{} % ({}–{})",
                percent(coverage.next_is_new),
                percent(coverage.lower),
                percent(coverage.upper)
            );
            let connections = coverage.connections.to_string();
            (
                Tone::Plain,
                vec![coverage.workload.clone(), connections, chance, ready],
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
            match self.documents.is_empty() {
                true => page.line("next: weir learn export --directory DIRECTORY, then weir policy apply DIRECTORY"),
                false => {
                    page.line("next: apply this with kubectl, or commit it where your documents are kept");
                    page.line("---");
                    for line in self.documents.join("---\n").trim_end().lines() {
                        page.line(line);
                    }
                }
            }
        }
    }
}

impl View for Rejected {
    fn table(&self, page: &mut Page) {
        for id in &self.rejected {
            page.toned(Tone::Good, &format!("rejected {id}"));
        }
        for refusal in &self.refused {
            page.toned(Tone::Bad, &format!("not rejected: {refusal}"));
        }
    }
}

impl View for Same {
    fn table(&self, page: &mut Page) {
        let conversations = text::count(self.conversations, "conversation");
        let decisions = text::count(self.decisions, "decision");
        page.line(format!(
            "{} goes on as {}: {conversations} and {decisions} went along",
            self.old, self.new
        ));
    }
}

impl ProposalView {
    /// As it came.
    pub fn of(proposal: v1::Proposal) -> Self {
        let time = |unix_us: u64| match unix_us {
            0 => String::new(),
            unix_us => text::time(unix_us),
        };
        Self {
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
            days: proposal.days,
            first_seen: time(proposal.first_seen_unix_us),
            last_seen: time(proposal.last_seen_unix_us),
            reasons_for: proposal.reasons_for,
            reasons_against: proposal.reasons_against,
            rejected_because: proposal.rejected_because,
            decided: time(proposal.decided_unix_us),
            news: proposal.news,
        }
    }
}

/// Prints the proposals.
pub async fn review(
    client: &mut Client,
    asked: Asked,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::LearnReviewRequest {
        workload: asked.workload.unwrap_or_default(),
        above: asked.above,
        rejected: asked.rejected,
    };
    let mut reply = client.learn_review(request).await?.into_inner();
    let total = reply.proposals.len();
    reply
        .proposals
        .retain(|proposal| asked.all || proposal.state != "covered");
    let covered_count = total - reply.proposals.len();
    let coverage = |coverage: v1::Coverage| CoverageView {
        workload: coverage.workload,
        conversations: coverage.conversations,
        connections: coverage.connections,
        days: coverage.days,
        next_is_new: coverage.next_is_new,
        lower: coverage.lower,
        upper: coverage.upper,
        next_day_is_new: coverage.next_day_is_new,
        ready: coverage.ready,
        missing: coverage.missing,
    };
    let succession = |it: v1::Succession| SuccessionView {
        old: it.old,
        new: it.new,
        similarity: it.similarity,
        because: it.because,
    };
    output.print(&Review {
        above: asked.above,
        rejected: asked.rejected,
        proposals: reply.proposals.into_iter().map(ProposalView::of).collect(),
        covered_count,
        coverage: reply.coverage.into_iter().map(coverage).collect(),
        successions: reply.successions.into_iter().map(succession).collect(),
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
    let files = reply.files.into_iter().filter(|_| !reply.writable);
    output.print(&Accepted {
        accepted: reply.accepted,
        refused: reply.refused,
        documents: files.map(|file| file.content).collect(),
    })?;
    Ok(if refused { Answer::No } else { Answer::Yes })
}

/// Rejects proposals; the answer is no if any of them was refused.
pub async fn reject(
    client: &mut Client,
    ids: Vec<String>,
    reason: String,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::LearnRejectRequest { ids, reason };
    let reply = client.learn_reject(request).await?.into_inner();
    let refused = !reply.refused.is_empty();
    output.print(&Rejected {
        rejected: reply.rejected,
        refused: reply.refused,
    })?;
    Ok(if refused { Answer::No } else { Answer::Yes })
}

/// Confirms that one workload goes on under another name.
pub async fn same(
    client: &mut Client,
    old: String,
    new: String,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let request = v1::LearnSameRequest {
        old: old.clone(),
        new: new.clone(),
    };
    let reply = client.learn_same(request).await?.into_inner();
    output.print(&Same {
        old,
        new,
        conversations: reply.conversations,
        decisions: reply.decisions,
    })?;
    Ok(Answer::Yes)
}
