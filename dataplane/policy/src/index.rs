//! Finds the rules that concern a pair of identities, without looking at those that do not.
//!
//! A rule is found in one of two ways. Most stand under each **pair** of identities that they name: one
//! look-up finds exactly those of a pair. A rule that names many on both sides (a selector that matches
//! everything) would stand there product-wise; it is **wide** instead: it stands under each identity of
//! its shorter side, and whether its longer side has the other identity is asked when it is found: one
//! bit, or a search in a list that is short in comparison. A decision thus costs the rules that concern
//! the pair, and a bit each for the wide ones that name one of the two on their shorter side. Without
//! wide rules it costs nothing more than the pairs.
//!
//! Which rules are wide follows from all rules alone ([`Index::widest_pairs`]): those of more than 4,096
//! pairs, and fewer where the pairs would be too many in all. Nothing that is decided depends on it.
//!
//! Memory: for each identity that a rule names at most 16 bytes (where it binds, where it is wide, a bit
//! or a number of the longer side), and [`PAIRS_MAX`] pairs of about 30 bytes; rules name at most
//! [`crate::INDEX_ENTRIES_MAX`] identities, so about 200 MB at the very most.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::spec::{End, RuleSpec};

/// Stands for "any identity" in the index's keys; never an identity.
const ANY: u32 = u32::MAX;
/// How many pairs of all rules there are at most, but for those of rules that name anybody: these have
/// no more than they name identities.
const PAIRS_MAX: usize = 4 << 20;
/// A rule of more pairs than one of these is wide: the first with which all pairs find room.
const WIDEST_PAIRS: [usize; 3] = [4096, 256, 16];

/// Finds rules by the end they bind, that end's identity (the subject) and the other's (the peer).
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    server: Ending,
    client: Ending,
    /// In the order of their numbers.
    wide: Vec<Wide>,
}

/// The rules that bind one end.
#[derive(Debug, Default)]
struct Ending {
    /// By subject and peer.
    pairs: Lists<(u32, u32)>,
    /// Whether some rule binds it towards anybody, anybody's towards one, anybody's towards anybody.
    /// What no rule does need not be looked up: most policies name both ends.
    with_any: [bool; 3],
    /// All rules, by subject.
    subjects: Lists<u32>,
    /// Places of wide rules, by the subjects or by the peers, whichever are fewer.
    by_subject: Lists<u32>,
    by_peer: Lists<u32>,
}

/// A rule that stands under the identities of one side.
#[derive(Debug)]
struct Wide {
    rule: u32,
    /// The other side.
    far: Members,
}

/// Identities, to be asked for one.
#[derive(Debug)]
enum Members {
    /// One bit for each number.
    Bits(Box<[u64]>),
    /// Where bits would take more memory.
    Sorted(Box<[u32]>),
}

impl RuleIndex {
    pub(crate) fn new(rules: &[RuleSpec]) -> Self {
        Self::with(rules, Self::widest_pairs(rules))
    }

    /// So many pairs a rule may have that stands under each of them.
    fn widest_pairs(rules: &[RuleSpec]) -> usize {
        let fits = |widest: &usize| {
            let pairs = rules.iter().filter_map(pairs_of);
            let narrow = pairs.filter(|pairs| pairs <= widest);
            narrow.fold(0, usize::saturating_add) <= PAIRS_MAX
        };
        WIDEST_PAIRS.into_iter().find(fits).unwrap_or(0)
    }

    fn with(rules: &[RuleSpec], widest: usize) -> Self {
        let mut index = Self::default();
        for (number, rule) in (0..).zip(rules) {
            let (ending, subjects, peers) = match rule.end {
                End::Server => (&mut index.server, &rule.servers, &rule.clients),
                End::Client => (&mut index.client, &rule.clients, &rule.servers),
            };
            for &subject in or_any(subjects) {
                ending.subjects.push(subject, number);
            }
            if pairs_of(rule).is_some_and(|pairs| pairs > widest) {
                let place = u32::try_from(index.wide.len()).unwrap_or(u32::MAX);
                let (near, far, lists) = match subjects.len() <= peers.len() {
                    true => (subjects, peers, &mut ending.by_subject),
                    false => (peers, subjects, &mut ending.by_peer),
                };
                near.iter().for_each(|&one| lists.push(one, place));
                let far = Members::of(far);
                index.wide.push(Wide { rule: number, far });
                continue;
            }
            match (subjects.is_empty(), peers.is_empty()) {
                (false, true) => ending.with_any[0] = true,
                (true, false) => ending.with_any[1] = true,
                (true, true) => ending.with_any[2] = true,
                (false, false) => {}
            }
            for &subject in or_any(subjects) {
                for &peer in or_any(peers) {
                    ending.pairs.push((subject, peer), number);
                }
            }
        }
        index
    }

    fn ending(&self, end: End) -> &Ending {
        match end {
            End::Server => &self.server,
            End::Client => &self.client,
        }
    }

    /// The rules that bind `subject` at `end` and name `peer`, or anybody for either; ascending,
    /// each once.
    pub(crate) fn concerning(&self, end: End, subject: u32, peer: u32) -> Concerning<'_> {
        let Ending {
            pairs,
            with_any,
            by_subject,
            by_peer,
            ..
        } = self.ending(end);
        let asked = |places, other| Asked {
            places,
            wide: &self.wide,
            other,
        };
        let keys = [(subject, ANY), (ANY, peer), (ANY, ANY)];
        let [first, second, third] = std::array::from_fn(|shape| match with_any[shape] {
            true => pairs.get(keys[shape]),
            false => &[],
        });
        Concerning {
            exact: Merged([pairs.get((subject, peer)), first, second, third]),
            wide: [
                asked(by_subject.get(subject), peer),
                asked(by_peer.get(peer), subject),
            ],
        }
    }

    /// The rules that bind `subject` at `end`, whichever the peer; ascending, each once.
    pub(crate) fn binding(&self, end: End, subject: u32) -> impl Iterator<Item = u32> + '_ {
        let subjects = &self.ending(end).subjects;
        Merged([subjects.get(subject), subjects.get(ANY)])
    }
}

/// What a rule costs: the identities that it names.
pub fn index_entries(rule: &RuleSpec) -> usize {
    rule.clients.len().saturating_add(rule.servers.len()).max(1)
}

/// The pairs that a rule names; none of one that means anybody on a side.
fn pairs_of(rule: &RuleSpec) -> Option<usize> {
    let pairs = rule.clients.len().saturating_mul(rule.servers.len());
    (pairs > 0).then_some(pairs)
}

fn or_any(identities: &[u32]) -> &[u32] {
    if identities.is_empty() {
        &[ANY]
    } else {
        identities
    }
}

impl Members {
    /// Of a sorted list.
    fn of(list: &[u32]) -> Self {
        let last = list.last().copied().unwrap_or(0) as usize;
        if last / 64 >= list.len() {
            return Self::Sorted(list.into());
        }
        let mut bits = vec![0u64; last / 64 + 1];
        for &id in list {
            if let Some(word) = bits.get_mut(id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
        Self::Bits(bits.into())
    }

    fn has(&self, id: u32) -> bool {
        match self {
            Self::Bits(bits) => {
                let word = bits.get(id as usize / 64);
                word.is_some_and(|word| word & 1 << (id % 64) != 0)
            }
            Self::Sorted(list) => list.binary_search(&id).is_ok(),
        }
    }
}

#[derive(Debug)]
struct Lists<K>(HashMap<K, Vec<u32>, FixedState>);

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + std::hash::Hash> Lists<K> {
    fn push(&mut self, key: K, rule: u32) {
        self.0.entry(key).or_default().push(rule);
    }

    fn get(&self, key: K) -> &[u32] {
        self.0.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// The rules of a pair, ascending.
pub(crate) struct Concerning<'a> {
    exact: Merged<'a, 4>,
    wide: [Asked<'a>; 2],
}

/// Wide rules of one identity, as far as they have the other one too.
struct Asked<'a> {
    places: &'a [u32],
    wide: &'a [Wide],
    other: u32,
}

/// Ascending lists merged. A rule lies in one list only: it names an end's identities or any.
struct Merged<'a, const N: usize>([&'a [u32]; N]);

impl Iterator for Concerning<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let [subjects, peers] = &mut self.wide;
        if subjects.places.is_empty() && peers.places.is_empty() {
            return self.exact.next();
        }
        let heads = [self.exact.peek(), subjects.peek(), peers.peek()];
        let first = heads.into_iter().flatten().min()?;
        match heads {
            [Some(exact), ..] if exact == first => return self.exact.next(),
            [_, Some(subject), _] if subject == first => subjects.skip(),
            _ => peers.skip(),
        }
        Some(first)
    }
}

impl Asked<'_> {
    /// The next rule that has the other identity.
    fn peek(&mut self) -> Option<u32> {
        loop {
            let (place, rest) = self.places.split_first()?;
            match self.wide.get(*place as usize) {
                Some(wide) if wide.far.has(self.other) => return Some(wide.rule),
                _ => self.places = rest,
            }
        }
    }

    fn skip(&mut self) {
        self.places = self.places.split_first().map_or(&[], |(_, rest)| rest);
    }
}

impl<const N: usize> Merged<'_, N> {
    fn peek(&self) -> Option<u32> {
        let heads = self.0.iter().filter_map(|list| list.first());
        heads.min().copied()
    }
}

impl<const N: usize> Iterator for Merged<'_, N> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let next = self
            .0
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list[0])?;
        let (&first, rest) = next.split_first()?;
        *next = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::Action;

    fn rule(end: End, clients: Vec<u32>, servers: Vec<u32>) -> RuleSpec {
        RuleSpec {
            id: 0,
            name: String::new(),
            action: Action::Allow,
            end,
            clients,
            servers,
            applications: vec![],
            protocols: vec![],
            ports: vec![],
            conditions: vec![],
        }
    }

    fn identities() -> impl Strategy<Value = Vec<u32>> {
        // Numbers that stand close together and ones that do not: both forms of a side.
        let id = prop_oneof![4 => 0u32..12, 1 => 1000u32..1004, 1 => Just(u32::MAX - 1)];
        prop::collection::btree_set(id, 0..6).prop_map(|ids| ids.into_iter().collect())
    }

    fn rules() -> impl Strategy<Value = Vec<RuleSpec>> {
        let end = prop_oneof![Just(End::Client), Just(End::Server)];
        let rule = (end, identities(), identities());
        let rule = rule.prop_map(|(end, clients, servers)| self::rule(end, clients, servers));
        prop::collection::vec(rule, 0..30)
    }

    /// Every rule is looked at.
    fn slow(rules: &[RuleSpec], end: End, subject: u32, peer: u32) -> Vec<u32> {
        let has = |list: &[u32], id| list.is_empty() || list.contains(&id);
        let concerns = |rule: &RuleSpec| match rule.end {
            End::Server => has(&rule.servers, subject) && has(&rule.clients, peer),
            End::Client => has(&rule.clients, subject) && has(&rule.servers, peer),
        };
        let all = (0..).zip(rules);
        all.filter(|(_, rule)| rule.end == end && concerns(rule))
            .map(|(number, _)| number)
            .collect()
    }

    proptest! {
        #[test]
        fn whatever_is_wide_the_rules_of_a_pair_are_found(rules in rules(), widest in 0usize..30) {
            let index = RuleIndex::with(&rules, widest);
            let ids = (0..13).chain(1000..1005).chain([u32::MAX - 1]);
            for (subject, peer) in ids.clone().flat_map(|one| ids.clone().map(move |two| (one, two))) {
                for end in [End::Client, End::Server] {
                    let found: Vec<u32> = index.concerning(end, subject, peer).collect();
                    prop_assert_eq!(found, slow(&rules, end, subject, peer));
                }
            }
        }
    }

    #[test]
    fn everything_to_everything_costs_what_it_names() {
        let all: Vec<u32> = (1..=10_000).collect();
        let rules: Vec<RuleSpec> = (0..20)
            .map(|_| rule(End::Server, all.clone(), all.clone()))
            .collect();
        let index = RuleIndex::new(&rules);
        assert_eq!((index.wide.len(), index.server.pairs.0.len()), (20, 0));
        let members = index.wide.iter().map(|wide| match &wide.far {
            Members::Bits(bits) => bits.len() * 8,
            Members::Sorted(list) => list.len() * 4,
        });
        assert!(members.sum::<usize>() <= 20 * 10_000 / 4);
        assert_eq!(index.concerning(End::Server, 7, 9_999).count(), 20);
        assert_eq!(index.concerning(End::Server, 7, 10_001).count(), 0);
        // One server of everybody is found at the server's side only.
        let index = RuleIndex::new(&[rule(End::Server, all, vec![5])]);
        assert_eq!(index.server.by_subject.0.len(), 1);
    }

    #[test]
    fn where_pairs_would_be_too_many_the_widest_rules_have_none() {
        let sixty: Vec<u32> = (1..=60).collect();
        let one = rule(End::Server, sixty.clone(), sixty);
        assert_eq!(RuleIndex::widest_pairs(&vec![one.clone(); 1000]), 4096);
        assert_eq!(RuleIndex::widest_pairs(&vec![one; 1200]), 256);
    }
}
