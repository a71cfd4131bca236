//! Which addresses a client was seen with, and when.
//!
//! Memory bound: [`REPLICAS_MAX`] addresses; those that were seen last stay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::days::day_of;

/// Client addresses that are told apart.
pub const REPLICAS_MAX: usize = 64;

/// The first and the last day on which an address was seen, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Span {
    /// The first day.
    pub first: u32,
    /// The last day.
    pub last: u32,
}

/// Addresses with their days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Replicas(BTreeMap<IpAddr, Span>);

impl Replicas {
    /// Remembers that an address was seen.
    pub fn insert(&mut self, address: IpAddr, time_unix_us: u64) {
        let day = day_of(time_unix_us);
        let known = self.0.entry(address).or_insert(Span {
            first: day,
            last: day,
        });
        *known = Span {
            first: known.first.min(day),
            last: known.last.max(day),
        };
        self.bound(REPLICAS_MAX);
    }

    /// Adds the addresses of another. Of an address that both have, the later span stays: one of them
    /// may have dropped an earlier one, and that must make no difference.
    pub fn join(&mut self, other: &Self) {
        for (&address, &span) in &other.0 {
            let known = self.0.entry(address).or_insert(span);
            let rank = |span: &Span| (span.last, std::cmp::Reverse(span.first));
            *known = std::cmp::max_by_key(*known, span, rank);
        }
        self.bound(REPLICAS_MAX);
    }

    /// How many addresses.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses, each with its days.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Span)> {
        self.0.iter().map(|(&address, &span)| (address, span))
    }

    /// How many of them were seen within these days.
    pub fn within(&self, days: Span) -> usize {
        self.0.values().filter(|span| span.overlaps(days)).count()
    }

    /// Whether the bound was reached, so that there may have been more.
    pub fn is_full(&self) -> bool {
        self.0.len() >= REPLICAS_MAX
    }

    /// Keeps those seen last; at equal days the greater address. An order over everything, so that it
    /// does not matter what was dropped before.
    fn bound(&mut self, max: usize) {
        while self.0.len() > max {
            let rank = |(address, span): (&IpAddr, &Span)| (span.last, *address);
            let Some((_, least)) = self.0.iter().map(rank).min() else {
                return;
            };
            self.0.remove(&least);
        }
    }
}

/// Of too many those seen last.
impl FromIterator<(IpAddr, Span)> for Replicas {
    fn from_iter<T: IntoIterator<Item = (IpAddr, Span)>>(addresses: T) -> Self {
        let mut replicas = Self::default();
        for (address, span) in addresses {
            replicas.join(&Self([(address, span)].into()));
        }
        replicas
    }
}

impl Span {
    /// Whether they share a day.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && self.last >= other.first
    }
}

impl From<(u32, u32)> for Span {
    fn from((first, last): (u32, u32)) -> Self {
        Self { first, last }
    }
}

impl From<Span> for (u32, u32) {
    fn from(span: Span) -> Self {
        (span.first, span.last)
    }
}

/// Stores of earlier versions have a list of addresses here.
impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Spans(BTreeMap<IpAddr, Span>),
            Addresses(Vec<IpAddr>),
        }
        let mut replicas = Self(match Written::deserialize(deserializer)? {
            Written::Spans(spans) => spans,
            Written::Addresses(addresses) => {
                let always = Span { first: 0, last: 0 };
                addresses
                    .into_iter()
                    .map(|address| (address, always))
                    .collect()
            }
        });
        replicas.bound(REPLICAS_MAX);
        Ok(replicas)
    }
}
