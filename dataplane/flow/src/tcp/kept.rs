//! A connection's state in bytes, for the process that goes on with it.
//!
//! Trusts: nothing; what is no state that following segments could have led to is refused, so that no number
//! read from outside makes a check pass that would not have passed. Memory: [`KEPT_BYTES`] a connection.

use weir_wire::Direction;

use super::side::{Side, mark};
use super::{SCALE_MAX, TcpConnection};

/// Bytes of a connection's state.
pub const KEPT_BYTES: usize = 50;
const SIDE_BYTES: usize = 22;
const MARKS: u8 = mark::SEEN
    | mark::BEGAN
    | mark::OFFERS_SCALE
    | mark::ACKNOWLEDGES
    | mark::FINISHED
    | mark::FINISH_ACKNOWLEDGED;
const PICKED_UP: u8 = 1;
const RESET: u8 = 2;

impl TcpConnection {
    /// Its state; [`Self::from_kept`] makes it again.
    pub fn kept(&self) -> [u8; KEPT_BYTES] {
        let mut kept = [0; KEPT_BYTES];
        for (side, bytes) in self.sides.iter().zip(kept.chunks_exact_mut(SIDE_BYTES)) {
            side.keep(bytes);
        }
        let rest = &mut kept[2 * SIDE_BYTES..];
        rest[0] = if self.picked_up { PICKED_UP } else { 0 } | if self.reset { RESET } else { 0 };
        rest[1] = match self.pending_syn {
            None => 0,
            Some(Direction::ToServer) => 1,
            Some(Direction::ToClient) => 2,
        };
        rest[2..].copy_from_slice(&self.pending_sequence.to_le_bytes());
        kept
    }

    /// The connection of this state. None: no connection has such a state.
    pub fn from_kept(kept: &[u8; KEPT_BYTES]) -> Option<Self> {
        let [first, second, rest] = [0, SIDE_BYTES, 2 * SIDE_BYTES].map(|at| &kept[at..]);
        let sides = [Side::from_kept(first)?, Side::from_kept(second)?];
        let pending_syn = match rest[1] {
            0 => None,
            1 => Some(Direction::ToServer),
            2 => Some(Direction::ToClient),
            _ => return None,
        };
        (rest[0] & !(PICKED_UP | RESET) == 0).then_some(Self {
            sides,
            pending_syn,
            picked_up: rest[0] & PICKED_UP != 0,
            reset: rest[0] & RESET != 0,
            pending_sequence: word(rest, 2),
        })
    }

    /// Behind the last byte that this direction's sender was seen to send.
    pub fn sent_until(&self, direction: Direction) -> u32 {
        self.sides[direction as usize].end
    }

    /// Whether neither end has sent anything behind its SYN, so that a reader misses nothing by beginning here.
    pub fn is_unspoken(&self) -> bool {
        let begun = |side: &Side| side.is(mark::SEEN | mark::BEGAN) && side.end == side.first;
        !self.picked_up && self.sides.iter().all(begun)
    }
}

impl Side {
    fn keep(&self, bytes: &mut [u8]) {
        let words = [
            self.first,
            self.end,
            self.max_end,
            self.max_window,
            self.highest_acknowledgement,
        ];
        for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes[20] = self.scale;
        bytes[21] = self.marks;
    }

    fn from_kept(bytes: &[u8]) -> Option<Self> {
        let side = Self {
            first: word(bytes, 0),
            end: word(bytes, 4),
            max_end: word(bytes, 8),
            max_window: word(bytes, 12),
            highest_acknowledgement: word(bytes, 16),
            scale: bytes[20],
            marks: bytes[21],
        };
        (side.scale <= SCALE_MAX && side.marks & !MARKS == 0).then_some(side)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_wire::TcpFields;
    use weir_wire::tcp_flags::{ACK, SYN};

    use super::*;
    use crate::{TcpLimits, TcpVerdict};

    fn fields(flags: u8, sequence: u32, acknowledgement: u32) -> TcpFields {
        TcpFields {
            flags,
            sequence,
            acknowledgement,
            window: 1000,
            window_scale: (flags & SYN != 0).then_some(7),
        }
    }

    #[test]
    fn a_connection_goes_on_where_it_was() {
        let limits = TcpLimits::default();
        let mut before = TcpConnection::open(&fields(SYN, 100, 0), 0);
        before.segment(
            Direction::ToClient,
            &fields(SYN | ACK, 500, 101),
            0,
            &limits,
        );
        before.segment(Direction::ToServer, &fields(ACK, 101, 501), 0, &limits);
        assert!(before.is_unspoken());
        let mut after = TcpConnection::from_kept(&before.kept()).unwrap();
        assert_eq!(after.life(), before.life());
        // A segment within the window passes, one beyond it does not: no allowance of a pick-up.
        let near = fields(ACK, 101, 501);
        assert_eq!(
            after.segment(Direction::ToServer, &near, 10, &limits),
            TcpVerdict::Accept
        );
        assert!(!after.is_unspoken());
        let far = fields(ACK, 101 + 1_000_000, 501);
        assert!(matches!(
            after.segment(Direction::ToServer, &far, 10, &limits),
            TcpVerdict::Drop(_)
        ));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_kept(bytes in proptest::array::uniform32(any::<u8>()), more in proptest::array::uniform18(any::<u8>())) {
            let mut kept = [0; KEPT_BYTES];
            kept[..32].copy_from_slice(&bytes);
            kept[32..].copy_from_slice(&more);
            // Half of them as they could be, so that there is something to compare.
            if bytes[0] & 1 == 0 {
                for at in [20, 42] {
                    kept[at] %= SCALE_MAX + 1;
                    kept[at + 1] &= MARKS;
                }
                kept[44] &= 3;
                kept[45] %= 3;
            }
            match TcpConnection::from_kept(&kept) {
                Some(connection) => prop_assert_eq!(connection.kept(), kept),
                None => prop_assert!(bytes[0] & 1 == 1),
            }
        }
    }
}
