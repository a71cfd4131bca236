//! Residence times by windows of a millisecond, of which those count in which both sides were at work.
//!
//! The machine is shared. Where this process was stopped, or the one under test had to wait for its core (as
//! `/proc/PID/task/TID/schedstat` tells), frames were late for reasons of the machine's: such a window and those in which what
//! had gathered is still on its way are left out. What is left out is reported.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::Report;

const LONGEST_NS: u64 = 60_000_000_000;
/// More than come back in a window.
const TIMES_MAX: usize = 1 << 16;
/// Windows left out after the process under test had to wait: its queues are full then.
const AFTER_WAITING: u64 = 4;

/// How long a thread had to wait for a core so far.
pub struct Waiting {
    schedstat: File,
    nanoseconds: u64,
}

impl Waiting {
    /// Of the thread with this `schedstat`.
    pub fn of(schedstat: &Path) -> Result<Self> {
        let open = File::open(schedstat);
        let mut waiting = Self {
            schedstat: open.with_context(|| format!("cannot read {}", schedstat.display()))?,
            nanoseconds: 0,
        };
        waiting.grown();
        Ok(waiting)
    }

    /// Nanoseconds since the last call.
    pub fn grown(&mut self) -> u64 {
        let mut text = [0; 64];
        let length = self.schedstat.read_at(&mut text, 0).unwrap_or(0);
        let second = std::str::from_utf8(&text[..length])
            .ok()
            .and_then(|text| text.split(' ').nth(1));
        // Gone, the thread waits no longer.
        let now = second
            .and_then(|number| number.parse().ok())
            .unwrap_or(self.nanoseconds);
        now - std::mem::replace(&mut self.nanoseconds, now)
    }
}

/// The windows of one phase.
pub struct Windows {
    length: u64,
    cycle_ns: f64,
    begun: u64,
    counted_from: u64,
    times_ns: Vec<u64>,
    received: u64,
    counted: Histogram<u64>,
    counted_received: u64,
    counted_cycles: u64,
}

impl Windows {
    /// Memory for one window, to be used for all phases.
    pub fn new(length: u64, cycle_ns: f64) -> Result<Self> {
        Ok(Self {
            length,
            cycle_ns,
            begun: 0,
            counted_from: 0,
            times_ns: Vec::with_capacity(TIMES_MAX),
            received: 0,
            counted: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
            counted_received: 0,
            counted_cycles: 0,
        })
    }

    /// From now on, with nothing counted.
    pub fn begin(&mut self, now: u64) {
        self.counted.reset();
        (self.counted_received, self.counted_cycles) = (0, 0);
        self.open(now);
        self.counted_from = now;
    }

    fn open(&mut self, now: u64) {
        self.begun = now;
        self.times_ns.clear();
        self.received = 0;
    }

    /// A frame came back.
    pub fn came(&mut self, sent: u64, now: u64) {
        self.received += 1;
        if self.times_ns.len() < TIMES_MAX {
            let away = now.saturating_sub(sent) as f64 * self.cycle_ns;
            self.times_ns.push(away as u64);
        }
    }

    /// This process was stopped until now.
    pub fn stopped(&mut self, now: u64) {
        self.counted_from = now + self.length;
    }

    /// Closes the window when it is over. Gives how many cycles the other side had to wait meanwhile.
    pub fn look(&mut self, now: u64, waiting: Option<&mut Waiting>, report: &mut Report) -> u64 {
        if now < self.begun + self.length {
            return 0;
        }
        let waited_ns = waiting.map_or(0, Waiting::grown);
        if waited_ns > 0 {
            report.waits += 1;
            report.waited_ms += waited_ns as f64 / 1e6;
            self.counted_from = now + AFTER_WAITING * self.length;
        }
        if self.begun >= self.counted_from {
            self.counted_received += self.received;
            self.counted_cycles += now - self.begun;
            for &time_ns in &self.times_ns {
                self.counted.saturating_record(time_ns);
            }
        }
        self.open(now);
        (waited_ns as f64 / self.cycle_ns) as u64
    }

    /// What was counted.
    pub fn tell(&self, report: &mut Report) {
        report.counted = self.counted_received;
        report.counted_seconds = self.counted_cycles as f64 * self.cycle_ns / 1e9;
        report.residence(&self.counted);
    }
}
