//! Learned conversations: what the store has of them, and what it does not have yet.
//!
//! Memory bound: [`CONVERSATIONS_MAX`] conversations, each bounded by itself (some 600 bytes, at most
//! 8 KiB); when full, those give way that say least: without an application, seen once, longest ago.

use std::collections::{HashMap, HashSet};

use weir_learn::{
    Ageing, Conversation, ConversationKey, End, Learned, Observation, Profile, Renames, Tally, home,
};

use crate::time::now_unix_us;

/// Conversations kept at most.
pub const CONVERSATIONS_MAX: usize = 200_000;

/// A conversation as the store keeps it.
pub type Stored = Learned;

/// All conversations, and which of them the store does not have yet.
#[derive(Debug)]
pub struct Conversations {
    max: usize,
    /// By the workload in whose profile they are kept.
    profiles: HashMap<String, HashMap<ConversationKey, Conversation>>,
    count: usize,
    newest_us: u64,
    unwritten: HashSet<ConversationKey>,
    forgotten: HashSet<ConversationKey>,
    /// Workloads of which something has changed, and whether a person waits for it; none where nobody
    /// asks.
    changed: Option<HashMap<String, bool>>,
    renames: Renames,
    /// Denied and would-deny per workload, the sum over its conversations.
    denials: HashMap<String, (u64, u64)>,
}

/// What is known of a workload in few words.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How much of its behaviour is known.
    pub tally: Tally,
    /// Conversations that it takes part in.
    pub conversations: u64,
    /// When any of them was seen last.
    pub last_seen_us: u64,
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
            profiles: HashMap::new(),
            count: 0,
            newest_us: 0,
            unwritten: HashSet::new(),
            forgotten: HashSet::new(),
            changed: None,
            renames: Renames::default(),
            denials: HashMap::new(),
        }
    }

    /// What the store had.
    pub fn from_store(stored: Vec<Stored>, renames: Renames) -> Self {
        let mut conversations = Self {
            renames,
            ..Self::default()
        };
        for Stored { key, seen } in stored {
            conversations.count_denials(&key, seen.denied, seen.would_deny);
            conversations.newest_us = conversations.newest_us.max(seen.last_seen_us);
            *conversations.entry(&key) = seen;
        }
        conversations
    }

    /// Merges what a record adds.
    pub fn merge(&mut self, key: &ConversationKey, seen: &Observation) {
        self.make_room_for(key);
        self.change(key, |conversation| conversation.merge(seen));
    }

    /// Adds what another controller knows; said again it adds nothing. Names are those of today.
    pub fn join(&mut self, profile: &Profile) {
        for Learned { key, seen } in &profile.conversations {
            let renamed = self.renames.key(key, seen.first_seen_us);
            self.join_one(renamed.as_ref().unwrap_or(key), seen);
        }
    }

    fn join_one(&mut self, key: &ConversationKey, seen: &Conversation) {
        let mut joined = self.get(key).cloned().unwrap_or_default();
        joined.join(seen);
        if self.get(key) != Some(&joined) {
            self.make_room_for(key);
            self.change(key, |conversation| *conversation = joined);
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
        let over: Vec<ConversationKey> = self.iter().filter_map(over).collect();
        over.iter().for_each(|key| self.forget(key));
        over
    }

    /// What one workload did until then goes on as what another does. Returns how many conversations
    /// that were.
    pub fn rename(&mut self, old: &str, new: &str, at_us: u64) -> u64 {
        if !self.renames.add(old, new, at_us) {
            return 0;
        }
        self.mark_said(old);
        self.mark_said(new);
        let named = |(key, seen): &(&ConversationKey, &Conversation)| {
            (key.client == old || key.server == old) && seen.first_seen_us <= at_us
        };
        let keys = self.iter().filter(named);
        let keys: Vec<ConversationKey> = keys.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            let Some(seen) = self.get(key).cloned() else {
                continue;
            };
            let renamed = self.renames.key(key, seen.first_seen_us);
            self.forget(key);
            self.join_one(renamed.as_ref().unwrap_or(key), &seen);
        }
        keys.len() as u64
    }

    /// Which names workloads had before.
    pub fn renames(&self) -> &Renames {
        &self.renames
    }

    /// Forgets names of before this time, and returns them.
    pub fn forget_renames(&mut self, before_us: u64) -> Vec<String> {
        self.renames.forget_before(before_us)
    }

    fn change(&mut self, key: &ConversationKey, change: impl FnOnce(&mut Conversation)) {
        let conversation = self.entry(key);
        let before = (conversation.denied, conversation.would_deny);
        change(conversation);
        let last_seen_us = conversation.last_seen_us;
        let more = (
            conversation.denied.saturating_sub(before.0),
            conversation.would_deny.saturating_sub(before.1),
        );
        self.newest_us = self.newest_us.max(last_seen_us);
        self.count_denials(key, more.0, more.1);
        self.forgotten.remove(key);
        self.unwritten.insert(key.clone());
        self.mark_ends(key);
    }

    fn forget(&mut self, key: &ConversationKey) {
        let Some(profile) = self.profiles.get_mut(home(key)) else {
            return;
        };
        let Some(seen) = profile.remove(key) else {
            return;
        };
        if profile.is_empty() {
            self.profiles.remove(home(key));
        }
        self.count -= 1;
        self.uncount_denials(key, &seen);
        self.unwritten.remove(key);
        self.forgotten.insert(key.clone());
        self.mark_ends(key);
    }

    fn get(&self, key: &ConversationKey) -> Option<&Conversation> {
        self.profiles.get(home(key))?.get(key)
    }

    fn entry(&mut self, key: &ConversationKey) -> &mut Conversation {
        let home = home(key);
        if !self.profiles.contains_key(home) {
            self.profiles.insert(home.to_owned(), HashMap::new());
        }
        let profile = self.profiles.entry(home.to_owned()).or_default();
        if !profile.contains_key(key) {
            self.count += 1;
        }
        profile.entry(key.clone()).or_default()
    }

    /// From now on it is kept in mind which workloads change.
    pub fn watch(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The workloads of which something has changed since this was asked last, and whether a person
    /// waits for it.
    pub fn take_changed(&mut self) -> HashMap<String, bool> {
        self.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Something about this workload has changed.
    pub fn mark(&mut self, workload: &str) {
        if let Some(changed) = &mut self.changed
            && !changed.contains_key(workload)
            && End::of(workload).is_workload()
        {
            changed.insert(workload.to_owned(), false);
        }
    }

    /// A person has said something about this workload.
    pub fn mark_said(&mut self, workload: &str) {
        self.mark(workload);
        if let Some(urgent) = self.changed.as_mut().and_then(|all| all.get_mut(workload)) {
            *urgent = true;
        }
    }

    fn mark_ends(&mut self, key: &ConversationKey) {
        if self.changed.is_some() {
            self.mark(&key.client);
            self.mark(&key.server);
        }
    }

    /// What is kept of one workload, without decisions.
    pub fn profile(&self, workload: &str) -> Profile {
        let kept = self.profiles.get(workload).into_iter().flatten();
        let learned = |(key, seen): (&ConversationKey, &Conversation)| Learned {
            key: key.clone(),
            seen: seen.clone(),
        };
        Profile {
            workload: workload.to_owned(),
            conversations: kept.map(learned).collect(),
            decisions: Vec::new(),
            formerly: self.renames.formerly(workload),
        }
    }

    /// Every workload in few words.
    pub fn summaries(&self) -> HashMap<String, Summary> {
        let mut summaries: HashMap<&str, Summary> = HashMap::new();
        for (key, seen) in self.iter() {
            for end in ends(key).filter(|end| End::of(end).is_workload()) {
                let summary = summaries.entry(end).or_default();
                summary.tally.add(seen);
                summary.conversations += 1;
                summary.last_seen_us = summary.last_seen_us.max(seen.last_seen_us);
            }
        }
        let owned = summaries.into_iter();
        owned.map(|(name, it)| (name.to_owned(), it)).collect()
    }

    /// Every conversation, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationKey, &Conversation)> {
        self.profiles.values().flatten()
    }

    /// When something was seen last, in whichever conversation, or now where nothing was. What is not seen
    /// is absent only while others are: an hour, or a month, without nodes says nothing of anybody.
    pub fn newest_us(&self) -> u64 {
        let now_us = now_unix_us();
        match self.newest_us {
            0 => now_us,
            newest_us => newest_us.min(now_us),
        }
    }

    /// A copy of every conversation, in no order.
    pub fn all(&self) -> Vec<(ConversationKey, Conversation)> {
        let all = self.iter();
        all.map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
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
                seen: self.get(key)?.clone(),
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
        let is_there = |key: &ConversationKey| self.get(key).is_some();
        let (keys, _): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_there);
        let (_, gone): (Vec<_>, Vec<_>) = forgotten_keys.into_iter().partition(is_there);
        self.unwritten.extend(keys);
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

    fn make_room_for(&mut self, key: &ConversationKey) {
        if self.count >= self.max && self.get(key).is_none() {
            self.make_room();
        }
    }

    /// Forgets a sixteenth, so that the cost of choosing is spread over many additions.
    fn make_room(&mut self) {
        let say = |(key, seen): (&ConversationKey, &Conversation)| {
            let known = !key.application.is_empty();
            (known, seen.connections > 1, seen.last_seen_us, key.clone())
        };
        let mut all: Vec<_> = self.iter().map(say).collect();
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
        assert_eq!(conversations.rename("shop/a", "shop/a-v2", 50 * DAY_US), 1);
        let (left, seen) = conversations.iter().next().unwrap();
        assert_eq!((conversations.count(), left), (1, &new));
        assert_eq!((seen.days.count(), seen.first_seen_us), (2, DAY_US));
        assert_eq!(conversations.denials("shop/a"), (0, 0));
        assert_eq!(conversations.rename("shop/a", "shop/a-v2", 50 * DAY_US), 0);
        // Another controller, which has not heard of it yet, brings the old name; and another workload
        // takes it.
        let mut other = Conversations::default();
        other.merge(&key(80), &at(2 * DAY_US));
        let profiles = weir_learn::to_profiles(other.iter(), &[]);
        conversations.join(&profiles[0]);
        assert_eq!(conversations.count(), 1);
        conversations.merge(&key(80), &at(51 * DAY_US));
        assert_eq!(conversations.count(), 2);
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
        conversations.watch();
        conversations.join(&profiles[0]);
        assert!(conversations.take_unwritten().is_empty());
        assert!(conversations.take_changed().is_empty(), "it knew that");
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
        let again = Conversations::from_store(stored, Renames::default());
        assert_eq!(again.profiles, conversations.profiles);
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
