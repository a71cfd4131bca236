//! Passes addresses that one worker learned from DNS answers on to the others.

use crate::event::EventRing;
use crate::worker::Shared;

/// Empties every worker's ring of learned names into the queues of the others. A full queue loses
/// the name: that worker then holds or judges the address as unknown until the next answer.
pub fn pass_on(rings: &[EventRing], shared: &Shared) {
    for (learner, ring) in rings.iter().enumerate() {
        while let Some(name) = ring.names.pop() {
            let others = shared
                .names
                .iter()
                .enumerate()
                .filter(|(worker, _)| *worker != learner);
            others.for_each(|(_, queue)| {
                let _ = queue.push(name);
            });
        }
    }
}
