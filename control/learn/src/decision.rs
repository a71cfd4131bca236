//! What a person said of a proposal, and how long that holds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::evidence::Evidence;
use crate::{ConversationKey, Proposal};

/// Kinds of evidence that only grow or shrink with time: they change nothing about the kind of what
/// is known.
const MATTERS_OF_DEGREE: [Evidence; 10] = [
    Evidence::Often,
    Evidence::Days,
    Evidence::Once,
    Evidence::NotAgain,
    Evidence::Late,
    Evidence::Burst,
    Evidence::Fleeting,
    Evidence::Unanswered,
    Evidence::NotCompleted,
    Evidence::Denied,
];

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A rule is wanted.
    Accepted,
    /// None is; at equal times this is believed.
    Rejected,
}

/// What a person said of a proposal. Of two about the same the later one holds: [`Decision::join`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Decision {
    /// When, microseconds since 1970.
    #[serde(default)]
    pub at_us: u64,
    /// Which.
    pub verdict: Verdict,
    /// Of what.
    pub key: ConversationKey,
    /// Why, in a person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The kinds of evidence that there were.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub basis: BTreeSet<String>,
}

impl Decision {
    /// On a proposal as it stands now.
    pub fn on(proposal: &Proposal, verdict: Verdict, reason: &str, at_us: u64) -> Self {
        Self {
            at_us,
            verdict,
            key: proposal.key.clone(),
            reason: reason.to_owned(),
            basis: basis(proposal),
        }
    }

    /// Takes the later of two.
    pub fn join(&mut self, other: &Self) {
        if *self < *other {
            self.clone_from(other);
        }
    }

    /// What has changed in kind for the better since: a rejection does not hold against it. More of
    /// the same, or worse, changes nothing.
    pub fn news(&self, proposal: &Proposal) -> Vec<String> {
        let now = basis(proposal);
        let kind = |name: &String| Evidence::all().find(|evidence| evidence.name() == name);
        let better =
            |name: &&String, is_for: bool| kind(name).is_some_and(|it| it.is_for() == is_for);
        let came = now
            .difference(&self.basis)
            .filter(|name| better(name, true));
        let went = self
            .basis
            .difference(&now)
            .filter(|name| better(name, false));
        came.map(|name| format!("now {name}"))
            .chain(went.map(|name| format!("no longer {name}")))
            .collect()
    }
}

fn basis(proposal: &Proposal) -> BTreeSet<String> {
    let reasons = proposal.reasons.iter();
    reasons
        .filter(|reason| !MATTERS_OF_DEGREE.contains(&reason.evidence))
        .map(|reason| reason.evidence.name().to_owned())
        .collect()
}
