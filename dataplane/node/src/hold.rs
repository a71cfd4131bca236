//! Packets of addresses that nobody knows yet: kept for a stated time, until they are known.
//!
//! Memory bound: `capacity` frames. When it is full the packet that comes is judged at once, as if
//! its time were over; nothing waits without bound.

use std::collections::VecDeque;

use crate::path::Arrived;

/// The packets that wait, oldest first.
pub struct Hold<F> {
    waiting: VecDeque<Arrived<F>>,
    capacity: usize,
    retry: bool,
}

impl<F> Hold<F> {
    /// Room for so many frames.
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: VecDeque::with_capacity(capacity),
            capacity,
            retry: false,
        }
    }

    /// Whether another frame can be kept.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.capacity
    }

    /// Keeps a frame; the caller asked [`Self::has_room`].
    pub fn keep(&mut self, arrived: Arrived<F>) {
        self.waiting.push_back(arrived);
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What is known has changed: all that wait may be asked again.
    pub fn retry(&mut self) {
        self.retry = true;
    }

    /// How many frames, from the oldest on, are to be asked again now: all after a change of what
    /// is known, else those that waited `hold_us`.
    pub fn due(&mut self, now_us: u64, hold_us: u64) -> usize {
        if std::mem::take(&mut self.retry) {
            return self.waiting.len();
        }
        self.waiting
            .iter()
            .take_while(|arrived| now_us.saturating_sub(arrived.received_us) >= hold_us)
            .count()
    }

    /// The oldest frame.
    pub fn pop(&mut self) -> Option<Arrived<F>> {
        self.waiting.pop_front()
    }
}
