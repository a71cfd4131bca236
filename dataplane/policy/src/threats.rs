//! Which threat policies hold for whom, so that a worker finds those of two ends with two look-ups.
//!
//! Trusts the spec, which was validated. Memory: a number for each identity that a policy targets, and
//! the distinct sets of policies, of which there are never more than identities.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::spec::ThreatPolicySpec;

/// The sets of policies that hold for identities.
#[derive(Debug)]
pub(crate) struct ThreatSets {
    of: HashMap<u32, u32, FixedState>,
    /// Places in the spec's list, sorted. The first: what holds for everybody.
    sets: Vec<Vec<u32>>,
}

impl ThreatSets {
    /// Sorts policies by whom they hold for.
    pub(crate) fn new(policies: &[ThreatPolicySpec]) -> Self {
        let places = || (0..).zip(policies);
        let everybody: Vec<u32> = places()
            .filter(|(_, policy)| policy.targets.is_empty())
            .map(|(place, _)| place)
            .collect();
        let mut by_identity: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (place, policy) in places() {
            for &identity in &policy.targets {
                by_identity.entry(identity).or_default().push(place);
            }
        }
        let mut numbers = BTreeMap::from([(everybody.clone(), 0)]);
        let mut sets = vec![everybody.clone()];
        let mut of = HashMap::default();
        for (identity, mut own) in by_identity {
            own.extend(&everybody);
            own.sort_unstable();
            let number = *numbers.entry(own).or_insert_with_key(|own| {
                sets.push(own.clone());
                u32::try_from(sets.len() - 1).unwrap_or(u32::MAX)
            });
            of.insert(identity, number);
        }
        Self { of, sets }
    }

    /// The number of an identity's set; 0 where only what holds for everybody does.
    pub(crate) fn of(&self, identity: u32) -> u32 {
        self.of.get(&identity).copied().unwrap_or(0)
    }

    /// The places of a set's policies.
    pub(crate) fn places(&self, set: u32) -> &[u32] {
        self.sets.get(set as usize).map_or(&[], Vec::as_slice)
    }
}
