//! Numbers and sets of applications.

use crate::registry;

/// An application's number: its row in [`registry`], below 128. Rows keep their number forever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(u8);

impl AppId {
    /// Recognised as nothing that is known.
    pub const UNKNOWN: Self = Self(0);

    /// For the registry's macro; everybody else asks the registry.
    pub(crate) const fn new(number: u8) -> Self {
        assert!(number < 128, "application ids are below 128");
        Self(number)
    }

    /// The application with this number, where the registry has one; 0 is [`Self::UNKNOWN`].
    #[inline]
    pub fn from_number(number: u8) -> Option<Self> {
        REGISTERED[usize::from(number)].then_some(Self(number))
    }

    /// The number, as stored and sent.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The registry name; "unknown" for [`Self::UNKNOWN`].
    pub fn name(self) -> &'static str {
        registry::name(self)
    }
}

/// By number, whether the registry has a row of it: each packet asks some times.
static REGISTERED: [bool; 256] = registered();

const fn registered() -> [bool; 256] {
    let mut registered = [false; 256];
    let mut number = 0;
    while number < 128 {
        registered[number as usize] = AppSet::ALL.contains(AppId(number));
        number += 1;
    }
    registered
}

impl std::fmt::Debug for AppId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.name())
    }
}

impl std::fmt::Display for AppId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

/// A set of applications, [`AppId::UNKNOWN`] being a possible member.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct AppSet(u128);

impl AppSet {
    /// No application.
    pub const EMPTY: Self = Self(0);

    /// Every row of the registry, and [`AppId::UNKNOWN`].
    pub const ALL: Self = registry::ALL;

    /// The set of one.
    pub const fn of(app: AppId) -> Self {
        Self(1 << app.0)
    }

    /// This set and `app`; for constants.
    pub const fn with(self, app: AppId) -> Self {
        Self(self.0 | 1 << app.0)
    }

    /// Adds `app`.
    pub fn insert(&mut self, app: AppId) {
        self.0 |= 1 << app.0;
    }

    /// Takes `app` out.
    pub fn remove(&mut self, app: AppId) {
        self.0 &= !(1 << app.0);
    }

    /// Whether `app` is a member.
    pub const fn contains(self, app: AppId) -> bool {
        self.0 & (1 << app.0) != 0
    }

    /// Whether the sets share a member.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The shared members.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members of either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members that `other` lacks.
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Sixty-four bits that mostly differ where the sets do: for tables of sets.
    pub const fn digest(self) -> u64 {
        self.0 as u64 ^ (self.0 >> 64) as u64
    }

    /// The members in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = AppId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let number = rest.trailing_zeros() as u8;
            rest &= rest - 1;
            Some(AppId(number))
        })
    }
}

impl FromIterator<AppId> for AppSet {
    fn from_iter<I: IntoIterator<Item = AppId>>(apps: I) -> Self {
        apps.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl std::fmt::Debug for AppSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let mut set = AppSet::of(AppId::UNKNOWN);
        let last = AppId::new(127);
        set.insert(last);
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![AppId::UNKNOWN, last]);
        assert!(set.intersects(AppSet::of(last)));
        set.remove(last);
        assert!(!set.contains(last));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn only_registered_numbers_become_ids() {
        assert_eq!(AppId::from_number(0), Some(AppId::UNKNOWN));
        assert_eq!(AppId::from_number(127), None);
        assert_eq!(AppId::from_number(200), None);
    }
}
