//! Packets of addresses that nobody knows: held until the address is known or their time is over.

use crate::io::{BURST, FrameSource, Outbox};
use crate::path::{Arrived, Fate, Path, Slot};

impl<S: FrameSource> Path<S> {
    /// How long a packet of an unknown address may wait, microseconds.
    fn hold_us(&self) -> u64 {
        u64::from(self.policy.snapshot().spec().unknown.hold_ms) * 1000
    }

    /// Whether a packet of an unknown address still has time to wait, and there is room.
    pub(crate) fn may_wait(&self, arrived: &Arrived<S::Frame>, now_us: u64) -> bool {
        now_us.saturating_sub(arrived.received_us) < self.hold_us() && self.hold.has_room()
    }

    /// Takes held packets along the way again: all of them after a change of what is known, else
    /// those whose time is over.
    pub(crate) fn release_held(&mut self, now_us: u64, out: &mut Outbox<S::Frame>) {
        let mut due = self.hold.due(now_us, self.hold_us());
        while due > 0 {
            let batch = due.min(BURST);
            for _ in 0..batch {
                let Some(arrived) = self.hold.pop() else {
                    break;
                };
                self.slots.push(Slot::new(arrived));
            }
            self.stages.start();
            self.walk(now_us, out);
            due -= batch;
        }
    }

    /// Gives every held packet up: the node stops.
    pub(crate) fn drop_held(&mut self, out: &mut Outbox<S::Frame>) {
        while let Some(arrived) = self.hold.pop() {
            self.dispose(arrived, Fate::Drop(weir_wire::Reason::Shutdown), out);
        }
    }
}
