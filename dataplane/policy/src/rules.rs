//! Rules as the decision reads them, and the index that finds those which concern a pair.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use weir_l7::{AppSet, Field, registry};

use crate::pattern::PatternSet;
use crate::spec::{Action, ConditionSpec, End, RuleSpec};
use crate::text::with_text;

/// Stands for "any identity" in the index's keys; never an identity.
const ANY: u32 = u32::MAX;

/// A rule without its identities, which the index holds.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) applications: AppSet,
    /// One bit for each protocol number.
    protocols: [u128; 2],
    /// Empty: any.
    ports: Box<[(u16, u16)]>,
    pub(crate) conditions: Box<[Condition]>,
}

#[derive(Debug)]
pub(crate) struct Condition {
    /// Index into the fields that the rule's applications share.
    field: u8,
    patterns: PatternSet,
}

impl Rule {
    /// `spec` has been validated: every name in it is known.
    pub(crate) fn new(spec: &RuleSpec) -> Self {
        let mut protocols = if spec.protocols.is_empty() {
            [u128::MAX; 2]
        } else {
            [0; 2]
        };
        for &protocol in &spec.protocols {
            protocols[usize::from(protocol >> 7)] |= 1 << (protocol & 127);
        }
        let applications = match spec.applications.as_slice() {
            [] => AppSet::ALL,
            names => names
                .iter()
                .filter_map(|name| registry::by_name(name))
                .map(registry::special_cases)
                .fold(AppSet::EMPTY, AppSet::union),
        };
        Self {
            action: spec.action,
            applications,
            protocols,
            ports: spec.ports.clone().into(),
            conditions: spec.conditions.iter().filter_map(Condition::new).collect(),
        }
    }

    pub(crate) fn has_protocol(&self, protocol: u8) -> bool {
        self.protocols[usize::from(protocol >> 7)] & 1 << (protocol & 127) != 0
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty()
            || self
                .ports
                .iter()
                .any(|&(first, last)| (first..=last).contains(&port))
    }

    /// Index of the first condition that the request does not meet. A request without any field is
    /// one that could not be read: it may be what a deny is meant for, so it meets every deny.
    pub(crate) fn unmet(&self, request: &[Field<'_>]) -> Option<usize> {
        if request.is_empty() && self.action == Action::Deny {
            return None;
        }
        self.conditions
            .iter()
            .position(|condition| !condition.holds(self.action, request))
    }
}

impl Condition {
    fn new(spec: &ConditionSpec) -> Option<Self> {
        let field = registry::field(&spec.field)?.index;
        Some(Self {
            field,
            patterns: PatternSet::new(&spec.patterns),
        })
    }

    /// Of a field that occurs several times an allow wants all to match and a deny any.
    fn holds(&self, action: Action, request: &[Field<'_>]) -> bool {
        let mut occurs = false;
        for field in request.iter().filter(|field| field.index == self.field) {
            occurs = true;
            let matches = with_text(field.value, |text| self.patterns.matches(text));
            match action {
                Action::Allow if !matches => return false,
                Action::Deny if matches => return true,
                _ => {}
            }
        }
        match occurs {
            true => action == Action::Allow,
            false => self.patterns.matches(b""),
        }
    }
}

/// Finds rules by the end they bind, that end's identity (the subject) and the other's (the peer).
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    server_pairs: Lists<(u32, u32)>,
    client_pairs: Lists<(u32, u32)>,
    server_subjects: Lists<u32>,
    client_subjects: Lists<u32>,
    /// Of each end: whether some rule binds it towards anybody, anybody's towards one, anybody's
    /// towards anybody. What no rule does need not be looked up: most policies name both ends.
    with_any: [[bool; 3]; 2],
}

/// The place of an end in [`RuleIndex::with_any`].
fn place(end: End) -> usize {
    match end {
        End::Server => 0,
        End::Client => 1,
    }
}

impl RuleIndex {
    /// What the index costs in entries.
    pub(crate) fn pairs_of(rules: &[RuleSpec]) -> usize {
        let entries = rules.iter().map(index_entries);
        entries.fold(0, usize::saturating_add)
    }

    pub(crate) fn new(rules: &[RuleSpec]) -> Self {
        let mut index = Self::default();
        for (number, rule) in (0..).zip(rules) {
            let (subjects, peers) = match rule.end {
                End::Server => (or_any(&rule.servers), or_any(&rule.clients)),
                End::Client => (or_any(&rule.clients), or_any(&rule.servers)),
            };
            let (by_pair, by_subject) = match rule.end {
                End::Server => (&mut index.server_pairs, &mut index.server_subjects),
                End::Client => (&mut index.client_pairs, &mut index.client_subjects),
            };
            let with_any = &mut index.with_any[place(rule.end)];
            match (subjects == [ANY], peers == [ANY]) {
                (false, true) => with_any[0] = true,
                (true, false) => with_any[1] = true,
                (true, true) => with_any[2] = true,
                (false, false) => {}
            }
            for &subject in subjects {
                by_subject.push(subject, number);
                for &peer in peers {
                    by_pair.push((subject, peer), number);
                }
            }
        }
        index
    }

    /// The rules that bind `subject` at `end` and name `peer`, or anybody for either; ascending,
    /// each once.
    pub(crate) fn concerning(
        &self,
        end: End,
        subject: u32,
        peer: u32,
    ) -> impl Iterator<Item = u32> + '_ {
        let lists = match end {
            End::Server => &self.server_pairs,
            End::Client => &self.client_pairs,
        };
        let keys = [(subject, ANY), (ANY, peer), (ANY, ANY)];
        let [first, second, third] =
            std::array::from_fn(|shape| match self.with_any[place(end)][shape] {
                true => lists.get(keys[shape]),
                false => &[],
            });
        Merged([lists.get((subject, peer)), first, second, third])
    }

    /// The rules that bind `subject` at `end`, whichever the peer; ascending, each once.
    pub(crate) fn binding(&self, end: End, subject: u32) -> impl Iterator<Item = u32> + '_ {
        let lists = match end {
            End::Server => &self.server_subjects,
            End::Client => &self.client_subjects,
        };
        Merged([lists.get(subject), lists.get(ANY)])
    }
}

/// How many entries a rule takes in the index: the pairs of identities that it names.
pub fn index_entries(rule: &RuleSpec) -> usize {
    let (clients, servers) = (rule.clients.len().max(1), rule.servers.len().max(1));
    clients.saturating_mul(servers)
}

fn or_any(identities: &[u32]) -> &[u32] {
    if identities.is_empty() {
        &[ANY]
    } else {
        identities
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

/// Ascending lists merged. A rule lies in one list only: it names an end's identities or any.
struct Merged<'a, const N: usize>([&'a [u32]; N]);

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
