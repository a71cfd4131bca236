//! A hierarchical timer wheel over the flows of a table.
//!
//! Trusts: the caller's clock not to run backwards. Gives no reasons. Memory: 16 bytes a flow and four
//! wheels of 256 slots.
//!
//! A tick is 16.384 ms. A timer never fires early and at most one tick late (later where the
//! budget of a call ran out). Scheduling, cancelling and firing touch a bounded number of entries;
//! each timer is moved at most three times on its way down the wheels. Postponing writes one number: the
//! timer stays where it is and moves on when its old deadline comes.

use crate::table::FlowId;

const TICK_SHIFT: u32 = 14;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const WHEELS: usize = 4;
const NONE: u32 = u32::MAX;
/// In `previous`: the entry is the first of the slot that the other bits name.
const HEAD: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Timer {
    /// The tick it is due at and, in the lowest two bits, the wheel it is on; IDLE's when it is
    /// not scheduled.
    due_and_wheel: u64,
    previous: u32,
    next: u32,
}

const IDLE: Timer = Timer {
    due_and_wheel: u64::MAX,
    previous: NONE,
    next: NONE,
};

impl Timer {
    fn is_idle(&self) -> bool {
        self.due_and_wheel == u64::MAX
    }

    fn due_tick(&self) -> u64 {
        self.due_and_wheel >> 2
    }

    fn wheel(&self) -> usize {
        (self.due_and_wheel & 3) as usize
    }

    fn set(&mut self, due_tick: u64, wheel: usize) {
        self.due_and_wheel = due_tick << 2 | wheel as u64;
    }
}

/// One deadline for each flow.
pub struct TimerWheel {
    timers: Vec<Timer>,
    /// First timer of each slot, wheel after wheel.
    heads: Vec<u32>,
    /// Timers on each wheel: empty ones are passed over in one step.
    counts: [usize; WHEELS],
    /// The tick being worked on: all before it are done.
    tick: u64,
}

impl TimerWheel {
    /// For the flows of a table of that capacity.
    pub fn new(capacity: usize) -> Self {
        Self {
            timers: vec![IDLE; capacity],
            heads: vec![NONE; WHEELS * SLOTS],
            counts: [0; WHEELS],
            tick: 0,
        }
    }

    /// Sets the flow's deadline in place of any older one.
    pub fn schedule(&mut self, id: FlowId, deadline_us: u64) {
        let due_tick = deadline_us.div_ceil(1 << TICK_SHIFT);
        let timer = &mut self.timers[id.index()];
        if !timer.is_idle() {
            if due_tick >= timer.due_tick() {
                timer.set(due_tick, timer.wheel());
                return;
            }
            self.unlink(id.0);
        }
        self.link(id.0, due_tick);
    }

    /// Takes the flow's deadline away, if it has one.
    pub fn cancel(&mut self, id: FlowId) {
        if !self.timers[id.index()].is_idle() {
            self.unlink(id.0);
            self.timers[id.index()] = IDLE;
        }
    }

    /// True when the flow has a deadline.
    pub fn is_scheduled(&self, id: FlowId) -> bool {
        !self.timers[id.index()].is_idle()
    }

    /// How many flows have a deadline.
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// True when no flow has a deadline.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fires what is due, touching at most `budget` timers (fired or moved), and returns how many
    /// fired. What the budget left over is done by the next call. A timer that has fired is no longer
    /// scheduled.
    pub fn advance(&mut self, now_us: u64, budget: usize, mut fire: impl FnMut(FlowId)) -> usize {
        let target = now_us >> TICK_SHIFT;
        let (mut fired, mut left) = (0, budget);
        while self.tick <= target {
            for wheel in (1..WHEELS).rev() {
                if self.tick.trailing_zeros() >= SLOT_BITS * wheel as u32
                    && !self.cascade(wheel, &mut left)
                {
                    return fired;
                }
            }
            let slot = self.tick as usize % SLOTS;
            while self.heads[slot] != NONE {
                if left == 0 {
                    return fired;
                }
                left -= 1;
                let index = self.heads[slot];
                let due_tick = self.timers[index as usize].due_tick();
                self.unlink(index);
                if due_tick > self.tick {
                    self.link(index, due_tick);
                } else {
                    self.timers[index as usize] = IDLE;
                    fired += 1;
                    fire(FlowId(index));
                }
            }
            self.tick = self.next_busy_tick().min(target + 1);
        }
        fired
    }

    /// Moves a slot's timers down to where they belong now. False when the budget ran out before.
    fn cascade(&mut self, wheel: usize, left: &mut usize) -> bool {
        let slot = wheel * SLOTS + (self.tick >> (SLOT_BITS * wheel as u32)) as usize % SLOTS;
        while self.heads[slot] != NONE {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            let index = self.heads[slot];
            let due_tick = self.timers[index as usize].due_tick();
            self.unlink(index);
            self.link(index, due_tick);
        }
        true
    }

    /// The next tick at which anything can be due or to be moved.
    fn next_busy_tick(&self) -> u64 {
        let empty_wheels = self.counts.iter().take_while(|&&count| count == 0).count();
        if empty_wheels == WHEELS {
            return u64::MAX;
        }
        let step_bits = SLOT_BITS * empty_wheels as u32;
        ((self.tick >> step_bits) + 1) << step_bits
    }

    fn link(&mut self, index: u32, due_tick: u64) {
        let span_max = (1u64 << (SLOT_BITS * WHEELS as u32)) - 1;
        let due = due_tick.clamp(self.tick, self.tick + span_max);
        let wheel = (0..WHEELS - 1)
            .find(|&wheel| due - self.tick < 1 << (SLOT_BITS * (wheel as u32 + 1)))
            .unwrap_or(WHEELS - 1);
        let slot = wheel * SLOTS + (due >> (SLOT_BITS * wheel as u32)) as usize % SLOTS;
        let next = self.heads[slot];
        if next != NONE {
            self.timers[next as usize].previous = index;
        }
        self.heads[slot] = index;
        self.counts[wheel] += 1;
        let timer = &mut self.timers[index as usize];
        timer.set(due_tick, wheel);
        timer.previous = HEAD | slot as u32;
        timer.next = next;
    }

    fn unlink(&mut self, index: u32) {
        let timer = self.timers[index as usize];
        let (previous, next) = (timer.previous, timer.next);
        self.counts[timer.wheel()] -= 1;
        if previous & HEAD != 0 {
            self.heads[(previous & !HEAD) as usize] = next;
        } else {
            self.timers[previous as usize].next = next;
        }
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
    }
}
