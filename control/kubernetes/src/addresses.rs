//! Whose an address is, now and at a time in the past.
//!
//! An address has one holder, whoever claims it: a node before a pod, a pod before a service; of two
//! pods the one that got it last; of two services the older one. Pods are ordered by the events in
//! which they came to claim the address, and within one listing, which has no order, by what their
//! status says: one that is told to end behind one that is not, then by time.
//!
//! Memory bound: one entry for each address that is claimed, and [`PAST_MAX`] past holders in all.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Past holders that are remembered, the latest ones.
pub(crate) const PAST_MAX: usize = 200_000;
/// Past holders of one address.
const PAST_OF_ONE_MAX: usize = 16;

/// Who claims an address, by its place in [`crate::World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claimant {
    Node(u32),
    Pod(u32),
    Service(u32),
}

/// The greatest holds the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) rank: Rank,
    /// The event or listing in which the claim came up.
    pub(crate) sequence: u64,
    /// The claimant has not been told to end.
    pub(crate) lasting: bool,
    pub(crate) bound_us: u64,
    /// Decides where nothing else does, the same after every restart.
    pub(crate) uid: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Service,
    Pod,
    Node,
}

/// What became of an address's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: Option<Claimant>,
    pub(crate) to: Option<Claimant>,
    /// From when to when the former holder had it, where it has it no longer.
    pub(crate) ended_us: Option<(u64, u64)>,
}

/// Who had an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The holder of now.
    Still(Claimant),
    /// One of before, by its name of then.
    Then(Arc<str>),
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    by: Claimant,
    order: Order,
}

#[derive(Debug, Default)]
struct Entry {
    claims: Vec<Claim>,
    since_us: u64,
    /// Services that have it among their endpoints.
    backs: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Past {
    who: Arc<str>,
    from_us: u64,
    to_us: u64,
}

/// Every address that somebody claims.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    entries: HashMap<IpAddr, Entry>,
    past: HashMap<IpAddr, VecDeque<Past>>,
    /// The addresses of the past ones, the oldest first.
    past_order: VecDeque<IpAddr>,
}

impl Addresses {
    /// Who holds the address.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<Claimant> {
        self.entries.get(&address).and_then(Entry::holder)
    }

    /// All who claim it.
    pub(crate) fn claimants(&self, address: IpAddr) -> impl Iterator<Item = Claimant> {
        let claims = self.entries.get(&address).map(|entry| &entry.claims[..]);
        claims.unwrap_or_default().iter().map(|claim| claim.by)
    }

    /// The services that have it among their endpoints.
    pub(crate) fn backs(&self, address: IpAddr) -> &[u32] {
        self.entries
            .get(&address)
            .map_or(&[], |entry| &entry.backs[..])
    }

    /// Addresses that are claimed or back a service.
    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Takes a claim, or what changed of one: that keeps the sequence in which it came up. `at_us` is
    /// from when the address is the claimant's, if it comes to hold it.
    pub(crate) fn claim(
        &mut self,
        address: IpAddr,
        by: Claimant,
        order: Order,
        at_us: u64,
    ) -> Moved {
        self.change(address, at_us, |claims| {
            match claims.iter_mut().find(|claim| claim.by == by) {
                Some(claim) => {
                    let sequence = claim.order.sequence;
                    claim.order = Order { sequence, ..order };
                }
                None => {
                    claims.reserve_exact(1);
                    claims.push(Claim { by, order });
                }
            }
        })
    }

    /// Takes a claim back.
    pub(crate) fn release(&mut self, address: IpAddr, by: Claimant, at_us: u64) -> Moved {
        self.change(address, at_us, |claims| {
            claims.retain(|claim| claim.by != by);
        })
    }

    /// The service has the address among its endpoints, or no longer.
    pub(crate) fn back(&mut self, address: IpAddr, service: u32, backs: bool) {
        let entry = self.entries.entry(address).or_default();
        entry.backs.retain(|it| *it != service);
        if backs {
            entry.backs.push(service);
        }
        if entry.is_idle() {
            self.entries.remove(&address);
        }
    }

    /// Who held the address then.
    pub(crate) fn who_had(&self, address: IpAddr, time_us: u64) -> Option<Who> {
        if let Some(entry) = self.entries.get(&address)
            && let Some(holder) = entry.holder()
            && entry.since_us <= time_us
        {
            return Some(Who::Still(holder));
        }
        let past = self.past.get(&address)?.iter().rev();
        let mut then = past.filter(|past| past.from_us <= time_us && time_us < past.to_us);
        then.next().map(|past| Who::Then(past.who.clone()))
    }

    fn change(
        &mut self,
        address: IpAddr,
        at_us: u64,
        change: impl FnOnce(&mut Vec<Claim>),
    ) -> Moved {
        let entry = self.entries.entry(address).or_default();
        let from = entry.holder();
        change(&mut entry.claims);
        let to = entry.holder();
        let since_us = entry.since_us;
        let mut ended_us = None;
        if from != to {
            // Never two holders at one time, however wrong a clock is.
            let before = self.past.get(&address).and_then(VecDeque::back);
            let at_us = at_us.max(since_us).max(before.map_or(0, |past| past.to_us));
            entry.since_us = at_us;
            ended_us = from.map(|_| (since_us, at_us));
        }
        if entry.is_idle() {
            self.entries.remove(&address);
        }
        Moved { from, to, ended_us }
    }

    /// Remembers a holder that [`Moved::ended_us`] told of.
    pub(crate) fn remember(&mut self, address: IpAddr, who: Arc<str>, ended_us: (u64, u64)) {
        let (from_us, to_us) = ended_us;
        let past = Past {
            who,
            from_us,
            to_us,
        };
        if self.past_order.len() >= PAST_MAX {
            self.forget_oldest();
        }
        let of_one = self.past.entry(address).or_default();
        of_one.push_back(past);
        self.past_order.push_back(address);
        if of_one.len() > PAST_OF_ONE_MAX {
            // Its mark in the order stays and then finds a younger one: the bound holds, if not the
            // strict order.
            of_one.pop_front();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(address) = self.past_order.pop_front() else {
            return;
        };
        if let Some(of_one) = self.past.get_mut(&address) {
            of_one.pop_front();
            if of_one.is_empty() {
                self.past.remove(&address);
            }
        }
    }
}

impl Entry {
    fn holder(&self) -> Option<Claimant> {
        let greatest = self.claims.iter().max_by_key(|claim| claim.order);
        greatest.map(|claim| claim.by)
    }

    fn is_idle(&self) -> bool {
        self.claims.is_empty() && self.backs.is_empty()
    }
}
