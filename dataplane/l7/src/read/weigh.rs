//! Weighing: protocols that no single mark proves are known by several messages that agree.
//!
//! Each message counts with the bits of its structure that had to be just so. What is read first
//! decides: neither more bytes nor another cut of the stream can change an answer.

use crate::{Openings, Probe, ProbeInput};

/// Bits that leave no doubt.
pub(crate) const ENOUGH: u32 = 32;
/// What the customary port adds once both sides speak for the application.
const PORT: u32 = 8;

/// What the front of a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A message of this length, which may reach beyond the input.
    Message { bits: u32, length: usize },
    /// Possible; more bytes will tell.
    Partial,
    /// No message of this application.
    Foreign,
}

/// Whether both sides begin as promised, where their beginning was seen.
pub(crate) fn opens(openings: &Openings, input: &ProbeInput<'_>) -> bool {
    let may =
        |set: crate::ByteSet, bytes: &[u8]| bytes.first().is_none_or(|&byte| set.contains(byte));
    !input.from_start
        || may(openings.to_server, input.to_server) && may(openings.to_client, input.to_client)
}

/// How much a direction speaks for the application.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    bits: u32,
    foreign: bool,
}

/// Looks at one message after the other. `look` must say the same of a message however much
/// follows it.
pub(crate) fn weigh(input: &[u8], mut look: impl FnMut(&[u8]) -> Sight) -> Weight {
    let mut weight = Weight::default();
    let mut rest = input;
    while !rest.is_empty() && weight.bits < ENOUGH {
        match look(rest) {
            Sight::Message { bits, length } => {
                weight.bits = weight.bits.saturating_add(bits);
                rest = rest.get(length.max(1)..).unwrap_or_default();
            }
            Sight::Partial => break,
            Sight::Foreign => {
                weight.foreign = true;
                break;
            }
        }
    }
    weight
}

/// The answer of both directions together; `at_home`: the server's port is a customary one.
pub(crate) fn verdict(one: Weight, other: Weight, at_home: bool) -> Probe {
    let port = if at_home && one.bits > 0 && other.bits > 0 {
        PORT
    } else {
        0
    };
    if one.bits.saturating_add(other.bits).saturating_add(port) >= ENOUGH {
        Probe::Certain
    } else if one.foreign || other.foreign {
        Probe::NotMine
    } else {
        Probe::Unsure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(input: &[u8]) -> Sight {
        match input {
            [b'a'..=b'z', ..] => Sight::Message {
                bits: 12,
                length: 1,
            },
            _ => Sight::Foreign,
        }
    }

    #[test]
    fn what_was_enough_stays_enough() {
        let none = Weight::default();
        assert_eq!(verdict(weigh(b"ab", letters), none, false), Probe::Unsure);
        assert_eq!(verdict(weigh(b"abc", letters), none, false), Probe::Certain);
        assert_eq!(
            verdict(weigh(b"abc0", letters), none, false),
            Probe::Certain
        );
        assert_eq!(verdict(weigh(b"ab0", letters), none, false), Probe::NotMine);
        let one = weigh(b"a", letters);
        assert_eq!(verdict(one, one, false), Probe::Unsure);
        assert_eq!(verdict(one, one, true), Probe::Certain);
        assert_eq!(verdict(weigh(b"ab0", letters), one, false), Probe::Certain);
    }
}
