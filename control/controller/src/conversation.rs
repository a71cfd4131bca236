//! Learned conversations: what the store has of them, and what it does not have yet.
//!
//! Memory bound: [`CONVERSATIONS_MAX`] conversations; when full, those give way that say least:
//! without an application, seen once, longest ago.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use weir_learn::{Conversation, ConversationKey, Observation};

/// Conversations kept at most.
pub const CONVERSATIONS_MAX: usize = 200_000;

/// A conversation as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    key: ConversationKey,
    seen: Conversation,
}

/// All conversations, and which of them the store does not have yet.
#[derive(Debug)]
pub struct Conversations {
    max: usize,
    conversations: HashMap<ConversationKey, Conversation>,
    unwritten: HashSet<ConversationKey>,
    forgotten: HashSet<ConversationKey>,
    /// Denied and would-deny per workload, the sum over its conversations.
    denials: HashMap<String, (u64, u64)>,
}

/// Rows for the store.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// Keys and values to write.
    pub rows: Vec<(String, Vec<u8>)>,
    /// Keys to forget.
    pub forgotten: Vec<String>,
    keys: HashSet<ConversationKey>,
    forgotten_keys: HashSet<ConversationKey>,
}

impl Default for Conversations {
    fn default() -> Self {
        Self::with_max(CONVERSATIONS_MAX)
    }
}

impl Conversations {
    /// None yet, and at most this many.
    pub fn with_max(max: usize) -> Self {
        Self {
            max,
            conversations: HashMap::new(),
            unwritten: HashSet::new(),
            forgotten: HashSet::new(),
            denials: HashMap::new(),
        }
    }

    /// What the store had.
    pub fn from_store(stored: Vec<Stored>) -> Self {
        let mut conversations = Self::default();
        for Stored { key, seen } in stored {
            conversations.count_denials(&key, seen.denied, seen.would_deny);
            conversations.conversations.insert(key, seen);
        }
        conversations
    }

    /// Merges what a record adds.
    pub fn merge(&mut self, key: &ConversationKey, seen: &Observation) {
        if !self.conversations.contains_key(key) && self.conversations.len() >= self.max {
            self.make_room();
        }
        let conversation = self.conversations.entry(key.clone()).or_default();
        let before = (conversation.denied, conversation.would_deny);
        conversation.merge(seen);
        let (denied, would_deny) = (
            conversation.denied - before.0,
            conversation.would_deny - before.1,
        );
        self.count_denials(key, denied, would_deny);
        self.forgotten.remove(key);
        self.unwritten.insert(key.clone());
    }

    /// Every conversation, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationKey, &Conversation)> {
        self.conversations.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.conversations.len()
    }

    /// Denied and would-deny of a workload, in the conversations that are kept.
    pub fn denials(&self, workload: &str) -> (u64, u64) {
        self.denials.get(workload).copied().unwrap_or_default()
    }

    /// Takes what the store does not have yet.
    pub fn take_unwritten(&mut self) -> Unwritten {
        let keys = std::mem::take(&mut self.unwritten);
        let forgotten_keys = std::mem::take(&mut self.forgotten);
        let row = |key: &ConversationKey| {
            let stored = Stored {
                key: key.clone(),
                seen: self.conversations.get(key)?.clone(),
            };
            Some((row_name(key), serde_json::to_vec(&stored).ok()?))
        };
        Unwritten {
            rows: keys.iter().filter_map(row).collect(),
            forgotten: forgotten_keys.iter().map(row_name).collect(),
            keys,
            forgotten_keys,
        }
    }

    /// Writing failed: they are still unwritten.
    pub fn put_back(&mut self, unwritten: Unwritten) {
        let Unwritten {
            keys,
            forgotten_keys,
            ..
        } = unwritten;
        self.unwritten.extend(
            keys.into_iter()
                .filter(|key| self.conversations.contains_key(key)),
        );
        let gone = forgotten_keys
            .into_iter()
            .filter(|key| !self.conversations.contains_key(key));
        self.forgotten.extend(gone);
    }

    fn count_denials(&mut self, key: &ConversationKey, denied: u64, would_deny: u64) {
        if denied == 0 && would_deny == 0 {
            return;
        }
        let both = [&key.client, &key.server];
        let ends = if key.client == key.server {
            &both[..1]
        } else {
            &both[..]
        };
        for &end in ends {
            let counts = self.denials.entry(end.clone()).or_default();
            counts.0 = counts.0.saturating_add(denied);
            counts.1 = counts.1.saturating_add(would_deny);
        }
    }

    /// Forgets a sixteenth, so that the cost of choosing is spread over many additions.
    fn make_room(&mut self) {
        let mut all: Vec<_> = self
            .conversations
            .iter()
            .map(|(key, seen)| {
                (
                    !key.application.is_empty(),
                    seen.connections > 1,
                    seen.last_seen_us,
                    key.clone(),
                )
            })
            .collect();
        all.sort_unstable();
        for (.., key) in all.into_iter().take(self.max.div_ceil(16)) {
            self.conversations.remove(&key);
            self.unwritten.remove(&key);
            self.forgotten.insert(key);
        }
    }
}

impl Unwritten {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.forgotten.is_empty()
    }
}

/// The whole key, not its short id: two conversations never share a row.
fn row_name(key: &ConversationKey) -> String {
    let ConversationKey {
        client,
        server,
        application,
        port,
        protocol,
    } = key;
    format!("{client}\0{server}\0{application}\0{port}\0{protocol}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> ConversationKey {
        let (client, server) = ("shop/a".to_owned(), "shop/b".to_owned());
        ConversationKey {
            client,
            server,
            application: "http".into(),
            port,
            protocol: 6,
        }
    }

    fn at(time_unix_us: u64) -> Observation {
        Observation {
            node: "node-1".into(),
            zone: 0,
            time_unix_us,
            client_address: [10, 0, 0, 1].into(),
            connections: 1,
            bytes: 10,
            denied: 1,
            would_deny: 0,
            alerts: 0,
            confidence: weir_learn::Confidence::Content,
            from_start: true,
        }
    }

    #[test]
    fn denials_add_up_for_both_ends() {
        let mut conversations = Conversations::default();
        for port in [80, 80, 81] {
            conversations.merge(&key(port), &at(1));
        }
        assert_eq!(conversations.denials("shop/a"), (3, 0));
        assert_eq!(conversations.denials("shop/b"), (3, 0));
    }

    #[test]
    fn what_was_not_written_is_written_next_time() {
        let mut conversations = Conversations::default();
        conversations.merge(&key(80), &at(1));
        let unwritten = conversations.take_unwritten();
        assert_eq!(unwritten.rows.len(), 1);
        assert!(conversations.take_unwritten().is_empty());
        conversations.put_back(unwritten);
        let unwritten = conversations.take_unwritten();
        let stored = unwritten
            .rows
            .iter()
            .map(|row| serde_json::from_slice(&row.1).unwrap())
            .collect();
        let again = Conversations::from_store(stored);
        assert_eq!(again.conversations, conversations.conversations);
        assert_eq!(again.denials("shop/a"), (1, 0));
    }

    #[test]
    fn a_flood_of_conversations_forgets_those_that_say_least() {
        let mut conversations = Conversations::with_max(100);
        conversations.merge(&key(80), &at(1));
        conversations.merge(&key(80), &at(1));
        for number in 0..1000 {
            let client = format!("unknown-{number}");
            let flood = ConversationKey {
                client,
                application: String::new(),
                ..key(1)
            };
            conversations.merge(&flood, &at(9));
        }
        assert!(conversations.count() <= 100);
        assert!(conversations.iter().any(|(seen, _)| *seen == key(80)));
    }
}
