//! Which rules to propose, how sure, and why.
//!
//! Evidence for a conversation adds up towards 1 but never reaches it; each doubt takes its share
//! away. More evidence never lowers the confidence; a doubt never raises it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use weir_l7::registry;

use crate::{Confidence, Conversation, ConversationKey, End, obstacle};

/// A rule that could be written, with what speaks for and against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Who, with whom, in what.
    pub key: ConversationKey,
    /// From 0 to 1.
    pub confidence: f64,
    /// Sentences.
    pub reasons_for: Vec<String>,
    /// Sentences.
    pub reasons_against: Vec<String>,
}

/// What is weighed of one conversation.
struct Weighing {
    /// The share of belief that nothing supports yet.
    unsupported: f64,
    /// What the doubts leave.
    left: f64,
    proposal: Proposal,
}

/// The addresses that each client was seen with, over all of its conversations.
type Replicas<'a> = HashMap<&'a str, BTreeSet<IpAddr>>;

/// Proposes a rule for every conversation that a rule can be written for, the surest first; equals in
/// the order of their keys.
pub fn propose(conversations: &[(ConversationKey, Conversation)]) -> Vec<Proposal> {
    let mut replicas = Replicas::new();
    for (key, conversation) in conversations {
        replicas
            .entry(&key.client)
            .or_default()
            .extend(&conversation.client_replicas);
    }
    let mut proposals: Vec<Proposal> = conversations
        .iter()
        .filter(|(key, _)| obstacle(key).is_none())
        .map(|(key, conversation)| weigh(key, conversation, &replicas))
        .collect();
    proposals.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then_with(|| a.key.cmp(&b.key))
    });
    proposals
}

fn weigh(key: &ConversationKey, seen: &Conversation, replicas: &Replicas<'_>) -> Proposal {
    let mut weighing = Weighing::new(key);
    weighing.how_often(seen);
    weighing.by_whom(
        seen,
        replicas.get(key.client.as_str()).map_or(0, BTreeSet::len),
    );
    weighing.in_what(seen);
    weighing.with_whom();
    weighing.what_happened(seen);
    let Weighing {
        unsupported,
        left,
        mut proposal,
    } = weighing;
    proposal.confidence = ((1.0 - unsupported) * left).clamp(0.0, 1.0);
    proposal
}

impl Weighing {
    fn new(key: &ConversationKey) -> Self {
        let (reasons_for, reasons_against) = (Vec::new(), Vec::new());
        let proposal = Proposal {
            key: key.clone(),
            confidence: 0.0,
            reasons_for,
            reasons_against,
        };
        Self {
            unsupported: 1.0,
            left: 1.0,
            proposal,
        }
    }

    /// Supports by `share` (0 to 1) of `weight`.
    fn support(&mut self, weight: f64, share: f64) {
        self.unsupported *= 1.0 - weight * share;
    }

    fn reason_for(&mut self, sentence: impl Into<String>) {
        self.proposal.reasons_for.push(sentence.into());
    }

    fn doubt(&mut self, left: f64, sentence: impl Into<String>) {
        self.left *= left;
        self.proposal.reasons_against.push(sentence.into());
    }

    fn how_often(&mut self, seen: &Conversation) {
        self.support(0.6, saturating(seen.connections, 5.0));
        match seen.connections {
            0 => self.doubt(0.5, "no connection was completed"),
            1 => self.doubt(0.8, "seen only once"),
            often => self.reason_for(format!("seen {often} times")),
        }
        let days = seen.days.count();
        self.support(0.4, saturating(u64::from(days.saturating_sub(1)), 3.0));
        if days > 1 {
            self.reason_for(format!("on {days} days"));
        }
    }

    fn by_whom(&mut self, seen: &Conversation, known: usize) {
        let replicas = seen.client_replicas.len();
        if known == 0 {
            return;
        }
        let share = replicas as f64 / known as f64;
        self.support(0.3, share);
        if known == 1 {
            return;
        }
        if replicas == known {
            self.reason_for(format!("by all {known} replicas of the client"));
        } else if share < 0.5 {
            self.proposal.reasons_against.push(format!(
                "by only {replicas} of {known} replicas of the client"
            ));
        } else {
            self.reason_for(format!("by {replicas} of {known} replicas of the client"));
        }
    }

    fn in_what(&mut self, seen: &Conversation) {
        let application = self.proposal.key.application.clone();
        let Some(row) = registry::by_name(&application).and_then(registry::info) else {
            return self.doubt(0.5, "the application was not recognised");
        };
        match seen.confidence {
            Confidence::Content => {
                self.support(0.3, 1.0);
                self.reason_for(format!("{application} by its content"));
            }
            Confidence::Port | Confidence::None => {
                self.proposal
                    .reasons_against
                    .push(format!("{application} only by its port"));
            }
        }
        let port = self.proposal.key.port;
        if row.ports.contains(&port) {
            self.support(0.2, 1.0);
            self.reason_for(format!("port {port} is customary for {application}"));
        } else if let Some(other) = customary(port) {
            self.doubt(
                0.6,
                format!("port {port} is customary for {other}, not for {application}"),
            );
        }
    }

    fn with_whom(&mut self) {
        let key = self.proposal.key.clone();
        for (role, name, end) in [
            ("client", &key.client, key.client_end()),
            ("server", &key.server, key.server_end()),
        ] {
            match end {
                End::Workload(..) => {}
                End::Named(_) => self.doubt(0.8, format!("the {role} {name} is outside")),
                End::Unknown => self.doubt(0.4, format!("nobody knows the {role}'s address")),
            }
        }
    }

    fn what_happened(&mut self, seen: &Conversation) {
        if seen.denied > 0 {
            self.doubt(0.5, format!("denied {} times before", seen.denied));
        }
        match seen.alerts {
            0 => {}
            1 => self.doubt(0.1, "an alert was raised on it"),
            alerts => self.doubt(0.1, format!("{alerts} alerts were raised on it")),
        }
        if !seen.from_start {
            self.doubt(0.9, "never seen from the start of a connection");
        }
    }
}

/// 0 for nothing, towards 1 for much; one half at `half`.
fn saturating(count: u64, half: f64) -> f64 {
    count as f64 / (count as f64 + half)
}

/// The application that a port is customary for.
fn customary(port: u16) -> Option<&'static str> {
    registry::applications()
        .iter()
        .find(|row| row.ports.contains(&port))
        .map(|row| row.name)
}
