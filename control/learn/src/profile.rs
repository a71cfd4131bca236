//! What was learned, in a form that is kept and exchanged: one profile for each workload.
//!
//! [`Profile::merge`] is commutative, associative and idempotent: controllers may write what they know
//! in any order and as often as they like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::renames::join_formerly;
use crate::{Conversation, ConversationKey, Decision};

/// A conversation as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Who, with whom, in what.
    pub key: ConversationKey,
    /// The evidence.
    pub seen: Conversation,
}

/// All that is known of one workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// "namespace/name"; empty for conversations of which no end is a workload.
    pub workload: String,
    /// Its conversations, sorted by key.
    pub conversations: Vec<Learned>,
    /// What was decided of them, sorted by key.
    pub decisions: Vec<Decision>,
    /// Workloads that this one goes on for, and when somebody said so: see [`crate::Renames`].
    pub formerly: BTreeMap<String, u64>,
}

/// The workload in whose profile a conversation is kept: the client, or the server where the client is
/// none.
pub fn home(key: &ConversationKey) -> &str {
    let ends = [
        (&key.client, key.client_end()),
        (&key.server, key.server_end()),
    ];
    let workload = ends.into_iter().find(|(_, end)| end.is_workload());
    workload.map_or("", |(name, _)| name)
}

/// A profile for each workload, sorted by name.
pub fn to_profiles<'a>(
    conversations: impl IntoIterator<Item = (&'a ConversationKey, &'a Conversation)>,
    decisions: impl IntoIterator<Item = &'a Decision>,
) -> Vec<Profile> {
    let mut profiles: BTreeMap<&str, Profile> = BTreeMap::new();
    for (key, seen) in conversations {
        let learned = Learned {
            key: key.clone(),
            seen: seen.clone(),
        };
        profiles
            .entry(home(key))
            .or_default()
            .conversations
            .push(learned);
    }
    for decision in decisions {
        let profile = profiles.entry(home(&decision.key)).or_default();
        profile.decisions.push(decision.clone());
    }
    let named = |(workload, profile): (&str, Profile)| {
        let mut sorted = Profile {
            workload: workload.to_owned(),
            ..Profile::default()
        };
        sorted.merge(&profile);
        sorted
    };
    profiles.into_iter().map(named).collect()
}

impl Profile {
    /// Adds what another knows of the same workload.
    pub fn merge(&mut self, other: &Self) {
        let mut conversations: BTreeMap<ConversationKey, Conversation> = BTreeMap::new();
        for learned in self.conversations.iter().chain(&other.conversations) {
            let seen = conversations.entry(learned.key.clone()).or_default();
            seen.join(&learned.seen);
        }
        let mut decisions: BTreeMap<ConversationKey, Decision> = BTreeMap::new();
        for decision in self.decisions.iter().chain(&other.decisions) {
            let known = decisions.entry(decision.key.clone());
            known.or_insert_with(|| decision.clone()).join(decision);
        }
        let learned = |(key, seen)| Learned { key, seen };
        self.conversations = conversations.into_iter().map(learned).collect();
        self.decisions = decisions.into_values().collect();
        join_formerly(&mut self.formerly, &other.formerly);
    }
}
