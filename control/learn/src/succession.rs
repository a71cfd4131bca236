//! A workload that goes on under another name: a suggestion, for a person to confirm.
//!
//! In Kubernetes a new ReplicaSet is the same workload already. What is looked for here is a
//! Deployment, or a named host in files, that was renamed: `app` to `app-v2`.

use std::collections::{BTreeMap, BTreeSet};

use crate::days::DAY_US;
use crate::workloads::{family, stem};
use crate::{Context, Conversation, ConversationKey};

/// Conversations that must be the same at least.
const SHARED_MIN: usize = 2;
/// Their share among those of both.
const SIMILARITY_MIN: f64 = 0.5;

/// One workload that seems to have taken the place of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Succession {
    /// The name that is not seen any more.
    pub old: String,
    /// The name under which the same is seen now.
    pub new: String,
    /// The share of conversations that both have, of all that either has; 0 to 1.
    pub similarity: f64,
    /// Sentences.
    pub because: Vec<String>,
}

/// What a workload does, with itself left out.
#[derive(Default)]
struct Behaviour<'a> {
    does: BTreeSet<(bool, &'a str, &'a str, u16, u8)>,
    first_seen_us: u64,
    last_seen_us: u64,
}

/// Workloads that seem to go on under another name, the most alike first.
pub fn successions(
    conversations: &[(ConversationKey, Conversation)],
    context: &Context<'_>,
) -> Vec<Succession> {
    let mut behaviours: BTreeMap<&str, Behaviour<'_>> = BTreeMap::new();
    for (key, seen) in conversations {
        for (own, other, is_client) in [
            (&key.client, &key.server, true),
            (&key.server, &key.client, false),
        ] {
            let end = if is_client {
                key.client_end()
            } else {
                key.server_end()
            };
            if end.is_workload() && own != other {
                let does = (
                    is_client,
                    other.as_str(),
                    key.application.as_str(),
                    key.port,
                    key.protocol,
                );
                behaviours.entry(own).or_default().add(does, seen);
            }
        }
    }
    // Only what is of a kind, or named alike, is compared.
    let mut groups: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for name in behaviours.keys().copied() {
        let Some((namespace, own)) = name.split_once('/') else {
            continue;
        };
        let kinds = BTreeSet::from([
            family(name, context.workloads),
            format!("name {}", stem(own)),
        ]);
        for kind in kinds {
            groups.entry((namespace, kind)).or_default().push(name);
        }
    }
    let mut found: BTreeMap<(&str, &str), Succession> = BTreeMap::new();
    for names in groups.values() {
        for (old, new) in pairs(names) {
            let both = (&behaviours[old], &behaviours[new]);
            if let Some(succession) = compare((old, new), both, context) {
                found.insert((old, new), succession);
            }
        }
    }
    let mut found: Vec<Succession> = found.into_values().collect();
    found.sort_by(|one, other| other.similarity.total_cmp(&one.similarity));
    found
}

/// Every ordered pair; groups are small, and those that are not are no renames.
fn pairs<'a>(names: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    const GROUP_MAX: usize = 32;
    let names = names.get(..GROUP_MAX).unwrap_or(names).to_vec();
    let others = names.clone();
    names.into_iter().flat_map(move |old| {
        let others = others.clone();
        others
            .into_iter()
            .filter(move |new| *new != old)
            .map(move |new| (old, new))
    })
}

fn compare(
    (old, new): (&str, &str),
    (before, after): (&Behaviour<'_>, &Behaviour<'_>),
    context: &Context<'_>,
) -> Option<Succession> {
    let gone = !context.workloads.contains_key(old);
    let quiet = before.last_seen_us.saturating_add(DAY_US) < after.last_seen_us;
    // The new one must not be older, and must not have lived beside the old one for long.
    let follows = after.first_seen_us > before.first_seen_us
        && before.last_seen_us < after.first_seen_us.saturating_add(7 * DAY_US);
    if !(gone || quiet) || !follows {
        return None;
    }
    let shared = before.does.intersection(&after.does).count();
    let all = before.does.union(&after.does).count();
    let similarity = shared as f64 / all.max(1) as f64;
    if shared < SHARED_MIN || similarity < SIMILARITY_MIN {
        return None;
    }
    let mut because = vec![format!("{shared} of {all} conversations are the same")];
    let both = (context.workloads.get(old), context.workloads.get(new));
    if let (Some(one), Some(other)) = both
        && one.is_like(other)
    {
        because.push("labels or image say that both are instances of the same".to_owned());
    }
    let names = (old.split_once('/')?.1, new.split_once('/')?.1);
    if stem(names.0) == stem(names.1) {
        because.push("the names differ as those of releases do".to_owned());
    }
    because.push(match gone {
        true => format!("{old} is no longer there"),
        false => format!("{old} was not seen since"),
    });
    Some(Succession {
        old: old.to_owned(),
        new: new.to_owned(),
        similarity,
        because,
    })
}

impl<'a> Behaviour<'a> {
    fn add(&mut self, does: (bool, &'a str, &'a str, u16, u8), seen: &Conversation) {
        self.first_seen_us = match self.does.is_empty() {
            true => seen.first_seen_us,
            false => self.first_seen_us.min(seen.first_seen_us),
        };
        self.last_seen_us = self.last_seen_us.max(seen.last_seen_us);
        self.does.insert(does);
    }
}
