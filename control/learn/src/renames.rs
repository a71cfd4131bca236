//! Workloads that go on under another name, as somebody said ([`crate::successions`] suggests them).
//!
//! Several controllers know what a workload did, and one is told that it has another name now. The others
//! must not bring the old name back: so what was said is kept, with its time, and whatever began before
//! goes by the new name wherever it comes from. What begins afterwards under the old name is another
//! workload of that name.
//!
//! Memory bound: [`RENAMES_MAX`], and of one workload [`LearnedStatus::FORMERLY_MAX`] names.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::LearnedStatus;

use crate::{ConversationKey, Decision};

/// The latest stay.
const RENAMES_MAX: usize = 4_096;

/// Old names, each with the new one and when somebody said so (microseconds since 1970).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    names: BTreeMap<String, (String, u64)>,
}

/// Takes the later time of each name, and of too many names the latest.
pub(crate) fn join_formerly(known: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (name, at_us) in others {
        let own = known.entry(name.clone()).or_default();
        *own = (*own).max(*at_us);
    }
    let mut latest: BTreeSet<(u64, &String)> = known.iter().map(|(name, at)| (*at, name)).collect();
    while latest.len() > LearnedStatus::FORMERLY_MAX {
        latest.pop_first();
    }
    let kept: BTreeSet<String> = latest.into_iter().map(|(_, name)| name.clone()).collect();
    known.retain(|name, _| kept.contains(name));
}

impl Renames {
    /// What went by the old name until then goes by the new one. Of two that are said of one name the
    /// later holds. False where that is known already.
    pub fn add(&mut self, old: &str, new: &str, at_us: u64) -> bool {
        let said = (at_us, new);
        let known = self.names.get(old);
        if old == new || known.is_some_and(|(new, at_us)| said <= (*at_us, new.as_str())) {
            return false;
        }
        self.names.insert(old.to_owned(), (new.to_owned(), at_us));
        while self.names.len() > RENAMES_MAX {
            let earliest = self.names.iter().min_by_key(|(old, said)| (said.1, *old));
            let Some(earliest) = earliest.map(|(old, _)| old.clone()) else {
                break;
            };
            self.names.remove(&earliest);
        }
        true
    }

    /// The name by which goes now what began then under this one. Each step is later than the one
    /// before, so that a name may come back to itself.
    pub fn name<'a>(&'a self, name: &'a str, began_us: u64) -> &'a str {
        let (mut name, mut step_us) = (name, None);
        while let Some((new, at_us)) = self.names.get(name)
            && began_us <= *at_us
            && step_us.is_none_or(|step_us| step_us < *at_us)
        {
            (name, step_us) = (new, Some(*at_us));
        }
        name
    }

    /// The key by which a conversation that began then goes now; none where it is the same.
    pub fn key(&self, key: &ConversationKey, began_us: u64) -> Option<ConversationKey> {
        if self.names.is_empty() {
            return None;
        }
        let client = self.name(&key.client, began_us);
        let server = self.name(&key.server, began_us);
        let same = client == key.client && server == key.server;
        (!same).then(|| ConversationKey {
            client: client.to_owned(),
            server: server.to_owned(),
            ..key.clone()
        })
    }

    /// The decision with the names of today.
    pub fn decision(&self, decision: &Decision) -> Decision {
        let key = self.key(&decision.key, decision.at_us);
        Decision {
            key: key.unwrap_or_else(|| decision.key.clone()),
            ..decision.clone()
        }
    }

    /// What a workload goes on for.
    pub fn formerly(&self, new: &str) -> BTreeMap<String, u64> {
        let names = self.names.iter();
        let names = names.filter(|(old, said)| *old != new && self.name(old, said.1) == new);
        let names = names.map(|(old, said)| (old.clone(), said.1)).collect();
        let mut kept = BTreeMap::new();
        join_formerly(&mut kept, &names);
        kept
    }

    /// All of them: old name, new name, when.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let all = self.names.iter();
        all.map(|(old, (new, at_us))| (old.as_str(), new.as_str(), *at_us))
    }

    /// Forgets what was said before this time: what began earlier is forgotten as well. Returns the old
    /// names.
    pub fn forget_before(&mut self, time_us: u64) -> Vec<String> {
        let over = self.names.iter().filter(|(_, said)| said.1 < time_us);
        let over: Vec<String> = over.map(|(old, _)| old.clone()).collect();
        for old in &over {
            self.names.remove(old);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_goes_by_the_new_name_and_what_begins_after_does_not() {
        let mut renames = Renames::default();
        assert!(renames.add("shop/a", "shop/b", 100));
        assert!(!renames.add("shop/a", "shop/b", 100), "said again");
        assert_eq!(renames.name("shop/a", 100), "shop/b");
        assert_eq!(renames.name("shop/a", 101), "shop/a");
        assert!(renames.add("shop/b", "shop/c", 200));
        assert_eq!(renames.name("shop/a", 100), "shop/c");
        let formerly = renames.formerly("shop/c");
        assert_eq!(
            formerly.into_iter().collect::<Vec<_>>(),
            [("shop/a".to_owned(), 100), ("shop/b".to_owned(), 200)]
        );
        // It takes its first name again.
        assert!(renames.add("shop/c", "shop/a", 300));
        assert_eq!(renames.name("shop/a", 50), "shop/a");
        assert_eq!(renames.name("shop/b", 50), "shop/a");
        assert!(!renames.formerly("shop/a").contains_key("shop/a"));
        assert_eq!(renames.forget_before(250), ["shop/a", "shop/b"]);
        assert_eq!(renames.iter().count(), 1);
    }

    #[test]
    fn names_are_bounded() {
        let mut renames = Renames::default();
        for number in 0..5_000 {
            renames.add(&format!("shop/old-{number}"), "shop/new", number);
        }
        assert_eq!(renames.iter().count(), RENAMES_MAX);
        assert_eq!(
            renames.formerly("shop/new").len(),
            LearnedStatus::FORMERLY_MAX
        );
        assert!(renames.formerly("shop/new").contains_key("shop/old-4999"));
    }
}
