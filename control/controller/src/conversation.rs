//! Learned conversations: what the store has of them, and what it does not have yet.
//!
//! Memory bound: [`CONVERSATIONS_MAX`] conversations, each bounded by itself (some 600 bytes, at most
//! 8 KiB); when full, those give way that say least: without an application, seen once, longest ago.

use std::collections::{HashMap, HashSet};

use weir_learn::{Ageing, Conversation, ConversationKey, Learned, Observation, Profile};

use crate::time::now_unix_us;

/// Conversations kept at most.
pub const CONVERSATIONS_MAX: usize = 200_000;

/// A conversation as the store keeps it.
pub type Stored = Learned;

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
        self.change(key, |conversation| conversation.merge(seen));
    }

    /// Adds what another controller knows; said again it adds nothing.
    pub fn join(&mut self, profile: &Profile) {
        for Learned { key, seen } in &profile.conversations {
            if !self.conversations.contains_key(key) && self.conversations.len() >= self.max {
                self.make_room();
            }
            self.change(key, |conversation| conversation.join(seen));
        }
    }

    /// Forgets what was not seen for long; nothing that was accepted. Returns what is forgotten.
    pub fn age(
        &mut self,
        ageing: &Ageing,
        accepted: &HashSet<ConversationKey>,
        now_us: u64,
    ) -> Vec<ConversationKey> {
        let over = |(key, seen): (&ConversationKey, &Conversation)| {
            let is_over = ageing.is_over(seen, accepted.contains(key), now_us);
            is_over.then(|| key.clone())
        };
        let over: Vec<ConversationKey> = self.conversations.iter().filter_map(over).collect();
        over.iter().for_each(|key| self.forget(key));
        over
    }

    /// What one workload did goes on as what another does. Returns how many conversations that were.
    pub fn rename(&mut self, old: &str, new: &str) -> u64 {
        let named = |key: &&ConversationKey| key.client == old || key.server == old;
        let keys: Vec<ConversationKey> = self.conversations.keys().filter(named).cloned().collect();
        for key in &keys {
            let Some(seen) = self.conversations.get(key).cloned() else {
                continue;
            };
            self.forget(key);
            self.change(&renamed(key, old, new), |conversation| {
                conversation.join(&seen)
            });
        }
        keys.len() as u64
    }

    fn change(&mut self, key: &ConversationKey, change: impl FnOnce(&mut Conversation)) {
        let conversation = self.conversations.entry(key.clone()).or_default();
        let before = (conversation.denied, conversation.would_deny);
        change(conversation);
        let more = (
            conversation.denied.saturating_sub(before.0),
            conversation.would_deny.saturating_sub(before.1),
        );
        self.count_denials(key, more.0, more.1);
        self.forgotten.remove(key);
        self.unwritten.insert(key.clone());
    }

    fn forget(&mut self, key: &ConversationKey) {
        if let Some(seen) = self.conversations.remove(key) {
            self.uncount_denials(key, &seen);
            self.unwritten.remove(key);
            self.forgotten.insert(key.clone());
        }
    }

    /// Every conversation, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationKey, &Conversation)> {
        self.conversations.iter()
    }

    /// When something was seen last, in whichever conversation, or now where nothing was. What is not seen
    /// is absent only while others are: an hour, or a month, without nodes says nothing of anybody.
    pub fn newest_us(&self) -> u64 {
        let newest = self
            .conversations
            .values()
            .map(|seen| seen.last_seen_us)
            .max();
        newest.unwrap_or(u64::MAX).min(now_unix_us())
    }

    /// A copy of every conversation, in no order.
    pub fn all(&self) -> Vec<(ConversationKey, Conversation)> {
        let all = self.iter();
        all.map(|(key, seen)| (key.clone(), seen.clone())).collect()
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
        for end in ends(key) {
            let counts = self.denials.entry(end.clone()).or_default();
            counts.0 = counts.0.saturating_add(denied);
            counts.1 = counts.1.saturating_add(would_deny);
        }
    }

    /// So that what is denied of a workload stays the sum over the conversations that are kept.
    fn uncount_denials(&mut self, key: &ConversationKey, seen: &Conversation) {
        for end in ends(key) {
            let Some(counts) = self.denials.get_mut(end) else {
                continue;
            };
            counts.0 = counts.0.saturating_sub(seen.denied);
            counts.1 = counts.1.saturating_sub(seen.would_deny);
            if *counts == (0, 0) {
                self.denials.remove(end);
            }
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
            self.forget(&key);
        }
    }
}

impl Unwritten {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.forgotten.is_empty()
    }
}

fn ends(key: &ConversationKey) -> impl Iterator<Item = &String> {
    let server = Some(&key.server).filter(|server| **server != key.client);
    std::iter::once(&key.client).chain(server)
}

/// The same between other ends.
pub fn renamed(key: &ConversationKey, old: &str, new: &str) -> ConversationKey {
    let end = |name: &String| match name == old {
        true => new.to_owned(),
        false => name.clone(),
    };
    ConversationKey {
        client: end(&key.client),
        server: end(&key.server),
        ..key.clone()
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
            alerts: Vec::new(),
            unanswered: 0,
            bytes_sent: 0,
            resolved: None,
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

    const DAY_US: u64 = weir_learn::DAY_US;

    #[test]
    fn what_is_old_is_forgotten_but_not_what_was_accepted() {
        let mut conversations = Conversations::default();
        for port in [80, 81] {
            conversations.merge(&key(port), &at(DAY_US));
        }
        conversations.merge(&key(82), &at(60 * DAY_US));
        let accepted = HashSet::from([key(81)]);
        let ageing = Ageing {
            forget_after_days: 30,
            ..Ageing::default()
        };
        conversations.take_unwritten();
        assert!(
            conversations
                .age(&ageing, &accepted, 31 * DAY_US)
                .is_empty()
        );
        assert_eq!(
            conversations.age(&ageing, &accepted, 32 * DAY_US),
            [key(80)]
        );
        assert_eq!(
            (conversations.count(), conversations.denials("shop/a")),
            (2, (2, 0))
        );
        let unwritten = conversations.take_unwritten();
        assert_eq!(unwritten.forgotten, [row_name(&key(80))]);
    }

    #[test]
    fn a_renamed_workload_takes_along_what_it_did() {
        let mut conversations = Conversations::default();
        let new = ConversationKey {
            client: "shop/a-v2".into(),
            ..key(80)
        };
        conversations.merge(&key(80), &at(DAY_US));
        conversations.merge(&new, &at(9 * DAY_US));
        assert_eq!(conversations.rename("shop/a", "shop/a-v2"), 1);
        let (left, seen) = conversations.iter().next().unwrap();
        assert_eq!((conversations.count(), left), (1, &new));
        assert_eq!((seen.days.count(), seen.first_seen_us), (2, DAY_US));
        assert_eq!(conversations.denials("shop/a"), (0, 0));
        assert_eq!(conversations.rename("shop/a", "shop/a-v2"), 0);
    }

    #[test]
    fn what_another_controller_knows_is_added_once() {
        let mut other = Conversations::default();
        other.merge(&key(80), &at(DAY_US));
        let profiles = weir_learn::to_profiles(other.iter(), &[]);
        let mut conversations = Conversations::default();
        for _ in 0..3 {
            conversations.join(&profiles[0]);
        }
        assert_eq!(conversations.denials("shop/a"), (1, 0));
        assert_eq!(conversations.take_unwritten().rows.len(), 1);
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
