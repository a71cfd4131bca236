//! What is telling about a piece of SQL.

/// One observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sign {
    /// `and`, `or`, `&&` followed by a condition.
    Logical,
    /// `||`: *or* in one dialect, joining texts in others.
    Joined,
    /// A comparison.
    Compared,
    /// A comparison of two literals behind *and* or *or*.
    Tautology,
    /// A condition that is a literal.
    Constant,
    Arithmetic,
    Case,
    /// A function of SQL's.
    Function,
    /// A question about the server.
    Asking,
    /// A function that waits, reads files, or runs commands.
    Abuse,
    Subselect,
    /// A subselect that could be prose.
    FaintSubselect,
    Union,
    /// A union that could be prose.
    FaintUnion,
    /// The database's own tables.
    Catalog,
    Stacked,
    Order,
    /// `having`, `where`.
    Clause,
    /// `into outfile`.
    File,
    /// An operand is a name.
    Named,
    /// A name that attackers ask for.
    Wanted,
}

/// A set of [`Sign`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs(u32);

impl Signs {
    pub(super) fn add(&mut self, sign: Sign) {
        self.0 |= 1 << sign as u32;
    }

    pub(super) fn remove(&mut self, sign: Sign) {
        self.0 &= !(1 << sign as u32);
    }

    /// The signs of both.
    pub(super) fn and_all(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, sign: Sign) -> bool {
        self.0 & (1 << sign as u32) != 0
    }

    pub(super) fn any(self, signs: &[Sign]) -> bool {
        signs.iter().any(|sign| self.has(*sign))
    }

    /// Whether one of `signs` came since `before`.
    pub(super) fn gained(self, before: Self, signs: &[Sign]) -> bool {
        Self(self.0 & !before.0).any(signs)
    }
}
