//! Messages with a length in a head: reading one after the other, and finding the next after a gap.

use weir_wire::Direction;

use crate::Step;

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A message of so many bytes, more than none; not all of them need be there.
    Message(usize),
    /// Too few bytes to tell.
    Partial,
    /// No message.
    Other,
}

/// How `front` looks at bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A message is expected here: what the receiver would read as one is one.
    Expected,
    /// A message may begin here, or not: only what can hardly be anything else is one.
    Searching,
}

/// Where in the messages each direction is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framing {
    lost: [bool; 2],
}

impl Framing {
    /// The next message of this direction begins somewhere ahead.
    pub(crate) fn lose(&mut self, direction: Direction) {
        self.lost[direction as usize] = true;
    }

    /// The length of the message at the front of `input`, or what to do instead of reading one.
    pub(crate) fn next(
        &mut self,
        direction: Direction,
        input: &[u8],
        front: fn(&[u8], Look) -> Front,
        wrong: &'static str,
    ) -> Result<usize, Step> {
        let lost = &mut self.lost[direction as usize];
        let look = match lost {
            true => Look::Searching,
            false => Look::Expected,
        };
        match front(input, look) {
            Front::Message(length) => {
                *lost = false;
                Ok(length)
            }
            Front::Partial => Err(Step::Incomplete),
            Front::Other if *lost => {
                let next = (1..input.len())
                    .find(|&at| front(input.get(at..).unwrap_or_default(), look) != Front::Other);
                Err(Step::Consumed(next.unwrap_or(input.len())))
            }
            Front::Other => Err(Step::Violation(wrong)),
        }
    }
}

/// What the first bytes of a direction look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Whole messages, one after the other.
    pub whole: usize,
    /// What follows them is no message.
    pub broken: bool,
    /// What follows them begins one.
    pub partial: bool,
}

/// Counts the messages that `bytes` begin with.
pub(crate) fn count(bytes: &[u8], front: impl Fn(&[u8], Look) -> Front) -> Run {
    let mut run = Run::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        match front(rest, Look::Searching) {
            Front::Message(length) => match rest.get(length..) {
                Some(next) if length > 0 => {
                    run.whole += 1;
                    rest = next;
                }
                _ => {
                    run.partial = true;
                    return run;
                }
            },
            Front::Partial => {
                run.partial = true;
                return run;
            }
            Front::Other => {
                run.broken = true;
                return run;
            }
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 7, a length, and so many bytes.
    fn front(bytes: &[u8], _look: Look) -> Front {
        match bytes {
            [7, length, ..] => Front::Message(2 + usize::from(*length)),
            [7] => Front::Partial,
            _ => Front::Other,
        }
    }

    #[test]
    fn messages_are_counted() {
        let run = |whole, broken, partial| Run {
            whole,
            broken,
            partial,
        };
        assert_eq!(count(&[], front), run(0, false, false));
        assert_eq!(count(&[7, 1, 9, 7, 0], front), run(2, false, false));
        assert_eq!(count(&[7, 1, 9, 7, 2, 9], front), run(1, false, true));
        assert_eq!(count(&[7, 0, 8], front), run(1, true, false));
    }

    #[test]
    fn the_next_message_is_found_after_a_gap() {
        let mut framing = Framing::default();
        let direction = Direction::ToServer;
        let next =
            |framing: &mut Framing, input: &[u8]| framing.next(direction, input, front, "wrong");
        assert_eq!(
            next(&mut framing, &[1, 7, 0]),
            Err(Step::Violation("wrong"))
        );
        framing.lose(direction);
        assert_eq!(next(&mut framing, &[1, 2]), Err(Step::Consumed(2)));
        assert_eq!(next(&mut framing, &[1, 2, 7, 0]), Err(Step::Consumed(2)));
        assert_eq!(next(&mut framing, &[7]), Err(Step::Incomplete));
        assert_eq!(next(&mut framing, &[7, 0]), Ok(2));
        assert_eq!(next(&mut framing, &[1]), Err(Step::Violation("wrong")));
    }
}
