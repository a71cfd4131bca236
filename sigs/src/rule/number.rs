//! Tests of numbers, and sets of addresses and ports: everything that a rule says with `<`, `>`, `!`
//! and lists, brought into one form each that is quick to ask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A test of an unsigned number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberTest {
    /// From the first to the last, both included.
    Within(u64, u64),
    /// Below the first or above the last.
    Outside(u64, u64),
    /// Whether the bits under `mask` are `value` has the answer `equal`.
    Masked {
        /// The bits that are looked at.
        mask: u64,
        /// What they are compared with.
        value: u64,
        /// The answer wanted.
        equal: bool,
    },
}

impl NumberTest {
    /// Only this number.
    pub const fn equals(number: u64) -> Self {
        Self::Within(number, number)
    }

    /// Whether `number` passes.
    pub const fn holds(self, number: u64) -> bool {
        match self {
            Self::Within(low, high) => low <= number && number <= high,
            Self::Outside(low, high) => number < low || number > high,
            Self::Masked { mask, value, equal } => (number & mask == value) == equal,
        }
    }
}

/// Numbers as ranges: sorted, none touching another, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ranges<T>(Vec<(T, T)>);

/// What [`Ranges`] are made of.
pub trait Ordinal: Copy + Ord {
    /// The lowest.
    const FIRST: Self;
    /// The highest.
    const LAST: Self;
    /// The next higher; None behind the highest.
    fn next(self) -> Option<Self>;
    /// The next lower; None before the lowest.
    fn previous(self) -> Option<Self>;
}

macro_rules! ordinals {
    ($($number:ty)*) => {$(
        impl Ordinal for $number {
            const FIRST: Self = Self::MIN;
            const LAST: Self = Self::MAX;
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn previous(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    )*};
}

ordinals!(u16 u32 u128);

impl<T: Ordinal> Ranges<T> {
    /// No number.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Every number.
    pub fn all() -> Self {
        Self(vec![(T::FIRST, T::LAST)])
    }

    /// Whether every number is a member.
    pub fn is_all(&self) -> bool {
        self.0 == [(T::FIRST, T::LAST)]
    }

    /// Whether no number is a member.
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[(T, T)] {
        &self.0
    }

    /// Whether `number` is a member: logarithmic in the number of ranges.
    pub fn contains(&self, number: T) -> bool {
        let before = self.0.partition_point(|&(low, _)| low <= number);
        before > 0 && number <= self.0[before - 1].1
    }

    /// Those that are no members.
    pub fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.0.len() + 1);
        let mut from = Some(T::FIRST);
        for &(low, high) in &self.0 {
            if let (Some(start), Some(end)) = (from, low.previous())
                && start <= end
            {
                ranges.push((start, end));
            }
            from = high.next();
        }
        if let Some(start) = from {
            ranges.push((start, T::LAST));
        }
        Self(ranges)
    }

    /// The members of either.
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// The members of both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.complement().union(&other.complement()).complement()
    }
}

impl<T: Ordinal> FromIterator<(T, T)> for Ranges<T> {
    fn from_iter<I: IntoIterator<Item = (T, T)>>(ranges: I) -> Self {
        let mut unsorted: Vec<(T, T)> = ranges.into_iter().filter(|(a, b)| a <= b).collect();
        unsorted.sort_unstable();
        let mut sorted: Vec<(T, T)> = Vec::with_capacity(unsorted.len());
        for (low, high) in unsorted {
            match sorted.last_mut() {
                Some(last) if last.1.next().is_none_or(|next| low <= next) => {
                    last.1 = last.1.max(high);
                }
                _ => sorted.push((low, high)),
            }
        }
        Self(sorted)
    }
}

/// Ports.
pub type PortSet = Ranges<u16>;

/// Addresses of both families, with every negation and variable worked out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressSet {
    /// Of version 4.
    pub v4: Ranges<u32>,
    /// Of version 6.
    pub v6: Ranges<u128>,
}

impl AddressSet {
    /// No address.
    pub const fn none() -> Self {
        Self {
            v4: Ranges::none(),
            v6: Ranges::none(),
        }
    }

    /// Every address.
    pub fn any() -> Self {
        Self {
            v4: Ranges::all(),
            v6: Ranges::all(),
        }
    }

    /// From one address to another of the same family; None where they differ in family or order.
    pub fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        let mut set = Self::none();
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                set.v4 = [(u32::from(first), u32::from(last))].into_iter().collect();
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                set.v6 = [(u128::from(first), u128::from(last))]
                    .into_iter()
                    .collect();
            }
            _ => return None,
        }
        Some(set)
    }

    /// A network; None where the prefix is longer than the address.
    pub fn network(address: IpAddr, prefix: u32) -> Option<Self> {
        match address {
            IpAddr::V4(address) => {
                let host = host_bits(128 - 32 + prefix)? as u32;
                let first = u32::from(address) & !host;
                Self::between(
                    Ipv4Addr::from(first).into(),
                    Ipv4Addr::from(first | host).into(),
                )
            }
            IpAddr::V6(address) => {
                let host = host_bits(prefix)?;
                let first = u128::from(address) & !host;
                Self::between(
                    Ipv6Addr::from(first).into(),
                    Ipv6Addr::from(first | host).into(),
                )
            }
        }
    }

    /// Whether every address is a member.
    pub fn is_any(&self) -> bool {
        self.v4.is_all() && self.v6.is_all()
    }

    /// Whether no address is a member.
    pub const fn is_none(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Whether `address` is a member.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.into()),
            IpAddr::V6(address) => self.v6.contains(address.into()),
        }
    }

    /// The addresses that are no members.
    pub fn complement(&self) -> Self {
        Self {
            v4: self.v4.complement(),
            v6: self.v6.complement(),
        }
    }

    /// The members of either.
    pub fn union(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.union(&other.v4),
            v6: self.v6.union(&other.v6),
        }
    }

    /// The members of both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.intersection(&other.v4),
            v6: self.v6.intersection(&other.v6),
        }
    }
}

impl fmt::Display for AddressSet {
    /// As a rule would write it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return out.write_str("any");
        }
        let v4 = self.v4.as_slice().iter();
        let v4 = v4.map(|&(low, high)| (Ipv4Addr::from(low).into(), Ipv4Addr::from(high).into()));
        let v6 = self.v6.as_slice().iter();
        let v6 = v6.map(|&(low, high)| (Ipv6Addr::from(low).into(), Ipv6Addr::from(high).into()));
        let ranges: Vec<(IpAddr, IpAddr)> = v4.chain(v6).collect();
        write_list(out, &ranges, '-')
    }
}

impl fmt::Display for PortSet {
    /// As a rule would write it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return out.write_str("any");
        }
        write_list(out, self.as_slice(), ':')
    }
}

/// `[1,3:5]`; what has no member is `!any`.
fn write_list<T: fmt::Display + PartialEq>(
    out: &mut fmt::Formatter<'_>,
    ranges: &[(T, T)],
    to: char,
) -> fmt::Result {
    let mut separator = '[';
    for (low, high) in ranges {
        write!(out, "{separator}{low}")?;
        if low != high {
            write!(out, "{to}{high}")?;
        }
        separator = ',';
    }
    out.write_str(if ranges.is_empty() { "!any" } else { "]" })
}

/// The bits behind a prefix of 128; None where it is longer.
const fn host_bits(prefix: u32) -> Option<u128> {
    match prefix {
        0 => Some(u128::MAX),
        1..=128 => Some(match u128::MAX.checked_shr(prefix) {
            Some(bits) => bits,
            None => 0,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_answer_as_a_list_would(
            one in prop::collection::vec((0u16..40, 0u16..40), 0..6),
            other in prop::collection::vec((0u16..40, 0u16..40), 0..6),
        ) {
            let has = |list: &[(u16, u16)], number| {
                list.iter().any(|&(low, high)| low <= number && number <= high)
            };
            let (a, b): (PortSet, PortSet) =
                (one.iter().copied().collect(), other.iter().copied().collect());
            for number in (0..50).chain([u16::MAX]) {
                let (in_a, in_b) = (has(&one, number), has(&other, number));
                prop_assert_eq!(a.contains(number), in_a);
                prop_assert_eq!(a.complement().contains(number), !in_a);
                prop_assert_eq!(a.union(&b).contains(number), in_a || in_b);
                prop_assert_eq!(a.intersection(&b).contains(number), in_a && in_b);
            }
            prop_assert_eq!(a.complement().complement(), a);
        }
    }

    #[test]
    fn networks() {
        let network = |text: &str, prefix| AddressSet::network(text.parse().unwrap(), prefix);
        let ten = network("10.1.2.3", 8).unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(!ten.contains("11.0.0.0".parse().unwrap()));
        assert!(!ten.contains("::1".parse().unwrap()));
        assert!(network("1.2.3.4", 0).unwrap().v4.is_all());
        assert!(network("::", 0).unwrap().v6.is_all());
        assert_eq!(network("1.2.3.4", 33), None);
        assert_eq!(network("::", 129), None);
        let one = network("2001:db8::1", 128).unwrap();
        assert_eq!(one.v6.as_slice().len(), 1);
        assert!(one.complement().contains("2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn numbers() {
        assert!(NumberTest::Within(3, 5).holds(5) && !NumberTest::Within(3, 5).holds(6));
        assert!(NumberTest::Outside(3, 5).holds(6) && !NumberTest::Outside(3, 5).holds(3));
        let bit = NumberTest::Masked {
            mask: 4,
            value: 4,
            equal: true,
        };
        assert!(bit.holds(6) && !bit.holds(3));
    }
}
