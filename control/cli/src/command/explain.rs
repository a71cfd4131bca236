//! `weir explain` and `weir what-if`: the decision and how it came about.

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::{Client, WhatIfArguments};
use crate::command::flows::FlowView;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct ExplanationView {
    client: String,
    server: String,
    application: String,
    port: u32,
    protocol: String,
    verdict: &'static str,
    rule_action: &'static str,
    mode: &'static str,
    wire_action: &'static str,
    decider: String,
    nearest: String,
    steps: Vec<StepView>,
    #[serde(skip)]
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<FlowView>,
}

#[derive(Serialize)]
struct StepView {
    rule: String,
    matched: bool,
    because: String,
}

impl ExplanationView {
    fn of(explanation: v1::Explanation) -> Self {
        let (rule_action, wire_action) = (explanation.rule_action(), explanation.wire_action());
        let step = |step: v1::ExplainStep| StepView {
            rule: step.rule,
            matched: step.matched,
            because: step.because,
        };
        Self {
            verdict: explanation.verdict().name(),
            rule_action: text::action(rule_action),
            mode: text::mode(explanation.mode()),
            wire_action: text::wire_action(wire_action),
            client: explanation.client,
            server: explanation.server,
            application: explanation.application,
            service: text::service(explanation.port, explanation.protocol),
            port: explanation.port,
            protocol: text::protocol(explanation.protocol),
            decider: explanation.decider,
            nearest: explanation.nearest,
            steps: explanation.steps.into_iter().map(step).collect(),
            seen: explanation.seen.map(FlowView::of),
        }
    }
}

impl View for ExplanationView {
    fn table(&self, page: &mut Page) {
        let application = match self.application.as_str() {
            "" => "application not yet known",
            name => name,
        };
        page.line(format!(
            "{} → {}, {application}, {}",
            self.client, self.server, self.service
        ));
        let tone = match self.verdict {
            "denied" => Tone::Bad,
            "would-deny" => Tone::Warning,
            _ => Tone::Good,
        };
        page.toned(
            tone,
            &format!(
                "{}: the policy says {}, the mode is {}, the wire gets {}",
                self.verdict, self.rule_action, self.mode, self.wire_action
            ),
        );
        page.line(format!("decided by {}", self.decider));
        if !self.nearest.is_empty() {
            page.line(format!("nearest: {}", self.nearest));
        }
        if !self.steps.is_empty() {
            page.gap();
            let row = |step: &StepView| {
                let applies = if step.matched { "yes" } else { "no" };
                (
                    Tone::Plain,
                    vec![applies.to_owned(), step.rule.clone(), step.because.clone()],
                )
            };
            let rows = self.steps.iter().map(row).collect();
            page.columns(&["applies", "considered", "because"], rows, "");
        }
        if let Some(seen) = &self.seen {
            page.gap();
            page.toned(seen.tone(), &seen.sentence());
        }
    }
}

/// A flow that was seen.
pub async fn explain(
    client: &mut Client,
    flow: String,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let explanation = client
        .explain(v1::ExplainRequest { flow })
        .await?
        .into_inner();
    output.print(&ExplanationView::of(explanation))?;
    Ok(Answer::Yes)
}

/// An imagined flow.
pub async fn what_if(
    client: &mut Client,
    arguments: WhatIfArguments,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let WhatIfArguments {
        from,
        to,
        application,
        port,
        protocol,
        fields,
    } = arguments;
    let request = v1::WhatIfRequest {
        client: from,
        server: to,
        application: application.unwrap_or_default(),
        port: port.into(),
        protocol: protocol.into(),
        fields: fields.into_iter().collect(),
    };
    let explanation = client.what_if(request).await?.into_inner();
    let allowed = explanation.rule_action() == v1::Action::Allow;
    output.print(&ExplanationView::of(explanation))?;
    Ok(if allowed { Answer::Yes } else { Answer::No })
}
