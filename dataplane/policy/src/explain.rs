//! The decision with its reasons: the same walk, written down.

use crate::decide::Watch;
use crate::nearest::{application_sentence, condition_sentence, port_sentence, protocol_sentence};
use crate::spec::{Action, End, RuleSpec};
use crate::weigh::Outcome;
use crate::{Certainty, Decider, Decision, Nearest, Question, Snapshot};

/// A decision and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Snapshot::decide`] answers.
    pub decision: Decision,
    /// Name of the decider.
    pub decider: String,
    /// Everything that was considered, in order.
    pub steps: Vec<ExplainStep>,
    /// For a denial by default: the rule that came nearest.
    pub nearest: Option<Nearest>,
    /// Its sentence, empty where there is none.
    pub nearest_sentence: String,
}

/// One thing that was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainStep {
    /// The rule's name, or what stands in for a rule.
    pub rule: String,
    /// Whether it applies to the connection.
    pub matched: bool,
    /// Why, or why not.
    pub because: String,
}

/// Writes down what the walk looks at.
#[derive(Default)]
struct Notes(Vec<(u32, End, Outcome)>);

impl Watch for Notes {
    fn considered(&mut self, rule: u32, end: End, outcome: Outcome) {
        self.0.push((rule, end, outcome));
    }
}

impl Snapshot {
    /// The decision, every rule that was considered for it and why, and the nearest rule of a denial.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let question = &self.with_known_ends(question);
        let mut notes = Notes::default();
        let decision = self.walk(question, &mut notes);
        let nearest = self.nearest(question, &decision);
        let mut steps = vec![self.quarantine_step(question)];
        steps.extend(notes.0.iter().filter_map(|&(index, end, outcome)| {
            let rule = self.spec().rules.get(index as usize)?;
            Some(rule_step(rule, end, outcome, question))
        }));
        steps.extend(self.closing_step(question, &decision));
        Explanation {
            decider: self.rule_name(decision.decider).into_owned(),
            steps,
            nearest,
            nearest_sentence: nearest.map_or(String::new(), |nearest| {
                self.nearest_sentence(&nearest, question)
            }),
            decision,
        }
    }

    fn quarantine_step(&self, question: &Question<'_>) -> ExplainStep {
        let (matched, because) = match self.quarantined(question) {
            Some(id) => (
                true,
                format!(
                    "{} is quarantined: nothing from or to it passes",
                    self.identity_name(id)
                ),
            ),
            None => (false, "neither end is quarantined".to_string()),
        };
        ExplainStep {
            rule: "quarantine".into(),
            matched,
            because,
        }
    }

    /// What decided where no rule did, or why a rule's word is not the last.
    fn closing_step(&self, question: &Question<'_>, decision: &Decision) -> Option<ExplainStep> {
        let because = match decision.decider {
            Decider::Default(_) => {
                let at = match decision.decider {
                    _ if question.client == question.server => "one",
                    Decider::Default(id) if id == question.server => "the server's",
                    _ => "the client's",
                };
                format!("no rule of it allows this connection at {at} end")
            }
            Decider::Unknown => "nobody knows the address and no managed end judges".to_string(),
            Decider::Unmanaged => "neither end is managed here: nothing is judged".to_string(),
            Decider::Rule(_) if decision.rule_action == Action::Allow => match decision.certainty {
                Certainty::Final => return None,
                Certainty::NeedsApplication => {
                    "allowed until the application is known, then decided again".into()
                }
                Certainty::PerRequest => "decided again for each request".into(),
            },
            Decider::Rule(_) | Decider::Quarantine(_) | Decider::Link => return None,
        };
        Some(ExplainStep {
            rule: self.rule_name(decision.decider).into_owned(),
            matched: true,
            because,
        })
    }
}

fn rule_step(rule: &RuleSpec, end: End, outcome: Outcome, question: &Question<'_>) -> ExplainStep {
    let end = match end {
        End::Server => "server",
        End::Client => "client",
    };
    let verb = match rule.action {
        Action::Allow => "allows",
        Action::Deny => "denies",
    };
    let because = match outcome {
        Outcome::Protocol => protocol_sentence(rule, question.protocol),
        Outcome::Port => port_sentence(rule, question.server_port),
        Outcome::Application => application_sentence(rule, question.application),
        Outcome::Condition(number) => condition_sentence(rule, number, question),
        Outcome::Waits => {
            let fields: Vec<_> = rule
                .conditions
                .iter()
                .map(|condition| condition.field.as_str())
                .collect();
            format!(
                "it {verb} this at the {end}'s end depending on {} of each request",
                fields.join(", ")
            )
        }
        Outcome::Applies => format!("it {verb} this at the {end}'s end"),
    };
    ExplainStep {
        rule: rule.name.clone(),
        matched: outcome == Outcome::Applies,
        because,
    }
}
