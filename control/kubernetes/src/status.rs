//! From what became of a document to the status of its object: conditions as the Gateway API has them.
//!
//! `Accepted`: Weir took it as it is. `ResolvedRefs`: everything that it names exists. `Programmed`: every
//! node that needs it has acknowledged a policy with it. `Degraded`: it holds in part only, or a state of
//! it from before does. All of them are about the generation that is named in them.
//!
//! Pure: time is an argument. What comes from nodes is bounded here.

use std::fmt::Write;

use weir_model::{ConditionStatus, DraftStatus, Kind, ObjectStatus, Problem, StatusCondition};
use weir_sources::{Programmed, Standing};

/// Problems, or nodes, that a message names.
const NAMED_MAX: usize = 5;
/// The longest message of a condition; the API server takes 32768.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// The longest part of it that comes from one node.
const REFUSAL_CHARS_MAX: usize = 300;

/// What is counted of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rules that came of it.
    pub rules: Option<u32>,
    /// Workloads that it is for.
    pub targets: Option<u32>,
    /// Connections and requests that its rules decided.
    pub hits: Option<u64>,
    /// Of a draft, what it would have done.
    pub draft: Option<DraftStatus>,
}

/// Whether people write objects of this kind, so that they have a status.
pub fn is_object_kind(kind: Kind) -> bool {
    !matches!(kind, Kind::Namespace | Kind::LearnedProfile)
}

/// Whether nodes need it; others concern the controller only.
fn is_for_nodes(kind: Kind) -> bool {
    is_object_kind(kind) && !matches!(kind, Kind::Guardrail | Kind::ResponseRule)
}

/// The status of an object. `previous` is the one that it has: a condition that is as it was keeps its
/// time. `now`: RFC 3339.
pub fn object_status(
    kind: Kind,
    standing: &Standing,
    counts: &Counts,
    previous: Option<&ObjectStatus>,
    now: &str,
) -> ObjectStatus {
    let generation = i64::try_from(standing.revision).ok().filter(|it| *it > 0);
    let mut conditions = vec![accepted(standing), resolved(standing)];
    if is_for_nodes(kind) {
        conditions.push(match counts.draft.is_some() {
            true => draft(),
            false => programmed(standing),
        });
    }
    conditions.push(degraded(standing));
    let conditions = conditions
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let before = previous.and_then(|previous| previous.condition(kind));
            let before = before.filter(|before| before.status == status);
            StatusCondition {
                kind: kind.to_owned(),
                status,
                observed_generation: generation,
                last_transition_time: before.map_or_else(
                    || now.to_owned(),
                    |before| before.last_transition_time.clone(),
                ),
                reason: reason.to_owned(),
                message: bounded(&message, MESSAGE_CHARS_MAX),
            }
        });
    let nodes = &standing.programmed;
    let for_nodes = is_for_nodes(kind) && counts.draft.is_none();
    ObjectStatus {
        observed_generation: generation,
        conditions: conditions.collect(),
        rules: counts.rules,
        targets: counts.targets,
        nodes_enforcing: for_nodes.then_some(nodes.enforcing),
        nodes_wanted: for_nodes.then_some(nodes.wanted),
        programmed: match (is_for_nodes(kind), for_nodes) {
            (true, true) => Some(format!("{}/{}", nodes.enforcing, nodes.wanted)),
            (true, false) => Some("draft".to_owned()),
            (false, _) => None,
        },
        hits: counts.hits,
        draft: counts.draft,
    }
}

type Said = (&'static str, ConditionStatus, &'static str, String);

fn accepted(standing: &Standing) -> Said {
    match standing.refused.is_empty() {
        true => {
            let message = "Weir took it as it is".to_owned();
            ("Accepted", ConditionStatus::True, "Accepted", message)
        }
        false => {
            let message = problems(&standing.refused);
            ("Accepted", ConditionStatus::False, "Invalid", message)
        }
    }
}

fn resolved(standing: &Standing) -> Said {
    match (standing.unresolved.is_empty(), standing.refused.is_empty()) {
        (false, _) => {
            let message = problems(&standing.unresolved);
            (
                "ResolvedRefs",
                ConditionStatus::False,
                "RefNotFound",
                message,
            )
        }
        (true, true) => {
            let message = "everything that it names exists".to_owned();
            (
                "ResolvedRefs",
                ConditionStatus::True,
                "ResolvedRefs",
                message,
            )
        }
        (true, false) => {
            let message = "not looked at, since it is not accepted".to_owned();
            (
                "ResolvedRefs",
                ConditionStatus::Unknown,
                "NotAccepted",
                message,
            )
        }
    }
}

fn draft() -> Said {
    let message = "a draft has no effect on any node; status.draft says what it would do";
    (
        "Programmed",
        ConditionStatus::False,
        "Draft",
        message.to_owned(),
    )
}

fn programmed(standing: &Standing) -> Said {
    let Programmed {
        enforcing,
        wanted,
        refusals,
    } = &standing.programmed;
    let (status, reason, mut message) = match () {
        () if !standing.refused.is_empty() => {
            let message = match wanted {
                0 => "no node has it, since it is not accepted".to_owned(),
                _ => format!(
                    "this state of it is not accepted; the last good one is enforced by \
                     {enforcing} of {}",
                    nodes(*wanted)
                ),
            };
            (ConditionStatus::False, "Invalid", message)
        }
        () if *wanted == 0 => {
            let message =
                "no node needs it: nothing that it is for runs on a node that has subscribed";
            (ConditionStatus::False, "NoNodes", message.to_owned())
        }
        () if enforcing == wanted => {
            let message = match wanted {
                1 => "1 of 1 node enforces it".to_owned(),
                _ => format!("{enforcing} of {wanted} nodes enforce it"),
            };
            (ConditionStatus::True, "Programmed", message)
        }
        () => {
            let reason = match refusals.is_empty() {
                true => "Pending",
                false => "Refused",
            };
            let message = format!("{enforcing} of {} enforce it", nodes(*wanted));
            (ConditionStatus::False, reason, message)
        }
    };
    if !refusals.is_empty() && status != ConditionStatus::True {
        let _ = write!(message, "; {}", refused_by(refusals));
    }
    ("Programmed", status, reason, message)
}

fn degraded(standing: &Standing) -> Said {
    let refusals = &standing.programmed.refusals;
    let (status, reason, message) = match () {
        () if !refusals.is_empty() => {
            let message = format!(
                "{}; the last good policy is enforced there",
                refused_by(refusals)
            );
            (ConditionStatus::True, "NodeRefused", message)
        }
        () if !standing.refused.is_empty() && standing.programmed.wanted > 0 => {
            let message = "its newest state is not accepted; the last good one is enforced";
            (ConditionStatus::True, "LastGoodState", message.to_owned())
        }
        () => (
            ConditionStatus::False,
            "AsWritten",
            "nothing holds in part only".to_owned(),
        ),
    };
    ("Degraded", status, reason, message)
}

fn nodes(number: u32) -> String {
    match number {
        1 => "1 node".to_owned(),
        number => format!("{number} nodes"),
    }
}

fn refused_by(refusals: &[(String, String)]) -> String {
    let mut text = String::new();
    for (index, (node, why)) in refusals.iter().take(NAMED_MAX).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let why = bounded(why, REFUSAL_CHARS_MAX);
        let _ = write!(text, "{separator}node {node} refused it: {why}");
    }
    more(text, refusals.len())
}

fn problems(problems: &[Problem]) -> String {
    let told = problems.iter().take(NAMED_MAX).map(|problem| {
        let place = match problem.field.as_str() {
            "" => String::new(),
            field => format!("{field}: "),
        };
        let next = match problem.next_step.as_str() {
            "" => String::new(),
            next_step => format!("; {next_step}"),
        };
        format!("{place}{}{next}", problem.message)
    });
    let told: Vec<String> = told.collect();
    more(told.join(". "), problems.len())
}

fn more(mut text: String, number: usize) -> String {
    if number > NAMED_MAX {
        let _ = write!(text, "; and {} more", number - NAMED_MAX);
    }
    text
}

fn bounded(text: &str, chars_max: usize) -> String {
    let printable = text.chars().map(|char| match char.is_control() {
        true => ' ',
        false => char,
    });
    let short: String = printable.take(chars_max).collect();
    match text.chars().nth(chars_max) {
        Some(_) => format!("{short} …"),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(enforcing: u32, wanted: u32) -> Standing {
        Standing {
            revision: 7,
            refused: Vec::new(),
            unresolved: Vec::new(),
            programmed: Programmed {
                enforcing,
                wanted,
                refusals: Vec::new(),
            },
        }
    }

    fn status(standing: &Standing, previous: Option<&ObjectStatus>, now: &str) -> ObjectStatus {
        object_status(Kind::Allowlist, standing, &Counts::default(), previous, now)
    }

    fn condition(status: &ObjectStatus, kind: &str) -> (ConditionStatus, String, String) {
        let it = status.condition(kind).unwrap();
        assert_eq!(it.observed_generation, Some(7));
        (it.status, it.reason.clone(), it.message.clone())
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let first = status(&standing(1, 3), None, "2026-01-01T00:00:00Z");
        let second = status(&standing(2, 3), Some(&first), "2026-01-02T00:00:00Z");
        let third = status(&standing(3, 3), Some(&second), "2026-01-03T00:00:00Z");
        let time = |status: &ObjectStatus, kind| {
            let it = status.condition(kind).unwrap();
            it.last_transition_time[..10].to_owned()
        };
        assert_eq!(time(&second, "Programmed"), "2026-01-01");
        assert_eq!(second.programmed.as_deref(), Some("2/3"));
        assert_eq!(time(&third, "Programmed"), "2026-01-03");
        assert_eq!(time(&third, "Accepted"), "2026-01-01");
        assert_eq!(
            condition(&third, "Programmed"),
            (
                ConditionStatus::True,
                "Programmed".to_owned(),
                "3 of 3 nodes enforce it".to_owned()
            )
        );
        let same = status(&standing(3, 3), Some(&third), "2026-01-04T00:00:00Z");
        assert_eq!(same, third, "nothing to write");
    }

    #[test]
    fn a_node_that_refuses_is_named_with_its_reason() {
        let mut refusing = standing(1, 2);
        let why = format!("out of memory {}", "x".repeat(10_000));
        refusing.programmed.refusals = vec![("node-2".to_owned(), why)];
        let status = status(&refusing, None, "");
        let (degraded, reason, message) = condition(&status, "Degraded");
        assert_eq!(
            (degraded, reason.as_str()),
            (ConditionStatus::True, "NodeRefused")
        );
        assert!(message.contains("node node-2 refused it: out of memory"));
        assert!(message.chars().count() < 500);
        let (programmed, reason, _) = condition(&status, "Programmed");
        assert_eq!(
            (programmed, reason.as_str()),
            (ConditionStatus::False, "Refused")
        );
    }

    #[test]
    fn what_is_not_accepted_says_why_and_that_the_last_good_state_holds() {
        let mut refused = standing(2, 2);
        let problem = Problem::of_file("allowlist shop/db", "there is no \"mysq\"", "write mysql");
        refused.refused = vec![problem; 9];
        let status = status(&refused, None, "");
        let (accepted, reason, message) = condition(&status, "Accepted");
        assert_eq!(
            (accepted, reason.as_str()),
            (ConditionStatus::False, "Invalid")
        );
        assert!(
            message.contains("there is no \"mysq\"; write mysql"),
            "{message}"
        );
        assert!(message.ends_with("; and 4 more"), "{message}");
        assert_eq!(condition(&status, "Programmed").0, ConditionStatus::False);
        assert_eq!(condition(&status, "Degraded").1, "LastGoodState");
    }

    #[test]
    fn a_draft_and_what_no_node_needs_are_not_programmed() {
        let none = status(&standing(0, 0), None, "");
        assert_eq!(condition(&none, "Programmed").1, "NoNodes");
        let counts = Counts {
            draft: Some(DraftStatus::default()),
            ..Counts::default()
        };
        let draft = object_status(Kind::Allowlist, &standing(0, 0), &counts, None, "");
        assert_eq!(condition(&draft, "Programmed").1, "Draft");
        assert_eq!(draft.programmed.as_deref(), Some("draft"));
        let rule = object_status(
            Kind::ResponseRule,
            &standing(0, 0),
            &Counts::default(),
            None,
            "",
        );
        assert!(rule.condition("Programmed").is_none() && rule.programmed.is_none());
    }
}
