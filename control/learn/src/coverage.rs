//! Whether a workload has shown all it does.

use crate::Conversation;

/// A workload is ready for protect below this chance.
pub const READY_BELOW: f64 = 0.02;

/// How much of a workload's behaviour is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// The chance that the next connection belongs to a conversation not seen before; 0 to 1.
    pub next_is_new: f64,
    /// Connections that this rests on.
    pub connections: u64,
    /// Whether the chance is below [`READY_BELOW`].
    pub ready: bool,
}

/// From the conversations that a workload takes part in. Good–Turing (I. J. Good, 1953): the chance
/// of something new is the share of what was seen once. One more of each keeps few observations
/// from saying anything: without any the chance is 1, and it cannot be below 1 in n + 1.
pub fn coverage<'a>(conversations: impl IntoIterator<Item = &'a Conversation>) -> Coverage {
    let (mut once, mut connections) = (0u64, 0u64);
    for conversation in conversations {
        once += u64::from(conversation.connections == 1);
        connections = connections.saturating_add(conversation.connections);
    }
    let next_is_new = (once as f64 + 1.0) / (connections as f64 + 1.0);
    Coverage {
        next_is_new,
        connections,
        ready: next_is_new < READY_BELOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn conversations(counts: &[u64]) -> Vec<Conversation> {
        counts
            .iter()
            .map(|&connections| Conversation {
                connections,
                ..Conversation::default()
            })
            .collect()
    }

    #[test]
    fn nothing_seen_is_not_ready_and_much_seen_is() {
        assert_eq!(
            coverage(&[]),
            Coverage {
                next_is_new: 1.0,
                connections: 0,
                ready: false
            }
        );
        assert!(!coverage(&conversations(&[20])).ready);
        assert!(coverage(&conversations(&[200, 300])).ready);
        assert!(!coverage(&conversations(&[200, 300, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])).ready);
    }

    proptest! {
        #[test]
        fn a_chance_lies_between_0_and_1(counts in proptest::collection::vec(any::<u64>(), 0..20)) {
            let chance = coverage(&conversations(&counts)).next_is_new;
            prop_assert!(chance > 0.0 && chance <= 1.0, "{}", chance);
        }

        #[test]
        fn seeing_the_same_again_makes_news_less_likely(counts in proptest::collection::vec(1u64..50, 1..20)) {
            let before = coverage(&conversations(&counts)).next_is_new;
            let more: Vec<u64> = counts.iter().map(|count| count + 1).collect();
            prop_assert!(coverage(&conversations(&more)).next_is_new < before);
        }
    }
}
