//! Prepared statements, in fixed room.

use super::Kind;

/// How many prepared statements are remembered by their number.
const PLACES: usize = 64;

/// The kinds of prepared statements, by number. Servers number them upwards, so the last ones are
/// kept; where they have names, the number is the name's hash. Preparing is judged too, so that a
/// clash of hashes opens nothing.
pub(crate) struct Prepared {
    ids: [u32; PLACES],
    kinds: [Kind; PLACES],
    /// Kinds that were ever prepared, a bit each.
    seen: u128,
    last: Kind,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            ids: [0; PLACES],
            kinds: [Kind::OTHER; PLACES],
            seen: 0,
            last: Kind::OTHER,
        }
    }
}

impl Prepared {
    /// A text was sent for preparation.
    pub(crate) fn sent(&mut self, kind: Kind) {
        self.seen |= 1 << (kind.index() & 127);
        self.last = kind;
    }

    /// The server gave it a number.
    pub(crate) fn numbered(&mut self, id: u32, kind: Kind) {
        let place = id as usize % PLACES;
        if let (Some(slot), Some(known)) = (self.ids.get_mut(place), self.kinds.get_mut(place)) {
            (*slot, *known) = (id, kind);
        }
    }

    /// The kind of a statement. One that is no longer remembered is known only if all that were
    /// ever prepared are of one kind.
    pub(crate) fn kind(&self, id: u32) -> Kind {
        // MariaDB: the statement prepared last.
        if id == u32::MAX {
            return self.last;
        }
        let place = id as usize % PLACES;
        if id != 0 && self.ids.get(place) == Some(&id) {
            return self.kinds.get(place).copied().unwrap_or(Kind::OTHER);
        }
        if self.seen.is_power_of_two() {
            self.last
        } else {
            Kind::OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_statements_are_named_only_when_there_is_no_doubt() {
        let (select, delete) = (
            Kind::of_word(b"SELECT").unwrap(),
            Kind::of_word(b"DELETE").unwrap(),
        );
        let mut prepared = Prepared::default();
        for id in 1..=100 {
            prepared.sent(select);
            prepared.numbered(id, select);
        }
        assert_eq!(prepared.kind(1), select);
        prepared.sent(delete);
        prepared.numbered(101, delete);
        assert_eq!(
            (prepared.kind(1), prepared.kind(100), prepared.kind(101)),
            (Kind::OTHER, select, delete)
        );
        assert_eq!(prepared.kind(u32::MAX), delete);
    }
}
