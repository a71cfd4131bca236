//! Stamped frames of settled flows by a schedule, as the two ports of a pair in memory: what a device with queues would give.
//!
//! A frame is due at its time, whether the worker asks for it or not, and is away from then on. What is due and not asked for
//! waits in a queue of [`DEPTH`]; beyond that it is lost, as on a device. While the machine has the worker's thread off its core,
//! as its `schedstat` tells, nothing is due.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use weir_node::io::memory::MemoryFrame;
use weir_node::io::{BURST, Queue};

use crate::stamped::frames::{self, Frames};
use crate::stamped::{Report, WINDOWS_PER_SECOND, Waiting, Windows};

/// Ticks of [`now`] in a second: without DPDK nobody knows the processor's own.
pub const SECOND: u64 = 1_000_000_000;
/// Whoever did not look for longer asks whether the machine had it off its core.
const LONG: u64 = SECOND / 50_000;
/// Frames that a port's queue holds.
pub const DEPTH: u64 = 4_096;

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_nanos() as u64
}

/// One port.
pub struct ScheduledQueue {
    port: usize,
    line: Arc<Mutex<Line>>,
}

/// Both ports, their schedule, and what came back.
pub struct Line {
    frames: Frames,
    next: [usize; 2],
    /// Frames that were sent by each port in this phase, or lost.
    made: [u64; 2],
    lost: u64,
    begun: u64,
    /// Between two frames of one port; 0: as many as are asked for.
    interval: f64,
    windows: Windows,
    waiting: Option<Waiting>,
    report: Report,
    looked: u64,
    received: u64,
    /// Buffers that came back.
    spare: Vec<Vec<u8>>,
}

/// The ports of so many flows of frames of `bytes`, and the line that they share.
pub fn pair(flows: u32, bytes: usize) -> Result<([ScheduledQueue; 2], Arc<Mutex<Line>>)> {
    let line = Arc::new(Mutex::new(Line {
        frames: frames::make(flows, bytes)?,
        next: [0; 2],
        made: [0; 2],
        lost: 0,
        begun: 0,
        interval: 0.0,
        windows: Windows::new(SECOND / WINDOWS_PER_SECOND, 1.0)?,
        waiting: None,
        report: Report::default(),
        looked: 0,
        received: 0,
        spare: Vec::new(),
    }));
    let ports = [0, 1].map(|port| ScheduledQueue {
        port,
        line: Arc::clone(&line),
    });
    Ok((ports, line))
}

/// Locked; nobody panics with it.
pub fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// From now on so many frames a second over both ports; 0: as many as are asked for. `waiting` is of the worker's thread.
    pub fn begin(&mut self, rate: f64, now: u64, waiting: Option<Waiting>) {
        (self.made, self.lost, self.received) = ([0; 2], 0, 0);
        (self.waiting, self.report) = (waiting, Report::default());
        (self.begun, self.looked) = (now, now);
        self.interval = match rate {
            0.0 => 0.0,
            rate => SECOND as f64 * 2.0 / rate,
        };
        self.windows.begin(now);
    }

    /// Nothing was due for so long until now.
    fn pause(&mut self, ticks: u64, now: u64) {
        self.begun += ticks;
        self.windows.stopped(now);
        self.report.pauses += 1;
        self.report.paused_ms += ticks as f64 / 1e6;
    }

    /// Asks what the machine did meanwhile, closes a window that is over.
    pub fn look(&mut self, now: u64) {
        let late = now - self.looked > LONG;
        self.looked = now;
        if let Some(waiting) = self.waiting.as_mut().filter(|_| late) {
            let waited = waiting.grown();
            if waited > 0 {
                self.pause(waited, now);
            }
        }
        let waited = self
            .windows
            .look(now, self.waiting.as_mut(), &mut self.report);
        self.begun += waited;
    }

    /// Nothing more is due.
    pub fn stop(&mut self) {
        self.interval = f64::INFINITY;
    }

    /// What became of the phase.
    pub fn tell(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.sent = self.made.iter().sum();
        report.received = self.received;
        self.windows.tell(&mut report);
        report
    }

    /// Frames that waited too long in a queue, and those that are on their way.
    pub fn lost_and_away(&self) -> (u64, u64) {
        let sent: u64 = self.made.iter().sum();
        (self.lost, sent - self.lost - self.received)
    }

    fn give(&mut self, port: usize, now: u64, into: &mut Vec<MemoryFrame>) {
        let due = match self.interval {
            0.0 => BURST as u64,
            interval => {
                let due = now.saturating_sub(self.begun) as f64 / interval;
                (due as u64).saturating_sub(self.made[port])
            }
        };
        let late = due.saturating_sub(DEPTH);
        self.lost += late;
        self.made[port] += late;
        for _ in 0..(due - late).min(BURST as u64) {
            self.made[port] += 1;
            let at = match self.interval {
                0.0 => now,
                interval => self.begun + (self.made[port] as f64 * interval) as u64,
            };
            let (sent, next) = (&self.frames.sent[port], &mut self.next[port]);
            let mut frame = self.spare.pop().unwrap_or_default();
            frame.clear();
            frame.extend_from_slice(&sent[*next]);
            frames::stamp(&mut frame, at);
            *next = (*next + 1) % sent.len();
            into.push(MemoryFrame(frame));
        }
    }
}

impl Queue for ScheduledQueue {
    type Frame = MemoryFrame;

    fn receive(&mut self, into: &mut Vec<MemoryFrame>) {
        let (mut line, now) = (locked(&self.line), now());
        line.look(now);
        line.give(self.port, now, into);
    }

    fn transmit(&mut self, from: &mut Vec<MemoryFrame>) {
        let mut line = locked(&self.line);
        let now = now();
        for MemoryFrame(frame) in from.drain(..) {
            if let Some(due) = frames::stamp_of(&frame) {
                line.received += 1;
                line.windows.came(due, now);
            }
            line.spare.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(port: &mut ScheduledQueue) -> Vec<MemoryFrame> {
        let mut frames = Vec::new();
        locked(&port.line).give(port.port, 2_000_000, &mut frames);
        frames
    }

    #[test]
    fn what_is_due_comes_once_and_what_a_queue_does_not_hold_is_lost() {
        let (mut ports, line) = pair(10, 64).unwrap();
        // Each port has a frame every 20 µs: 100 are due after two milliseconds.
        locked(&line).begin(1e5, 0, None);
        let mut came = 0;
        loop {
            let mut frames = take(&mut ports[0]);
            if frames.is_empty() {
                break;
            }
            came += frames.len();
            ports[1].transmit(&mut frames);
        }
        assert_eq!((came, locked(&line).lost_and_away()), (100, (0, 0)));
        // Every 200 ns: 10,000 are due, of which the queue holds 4,096.
        locked(&line).begin(1e7, 0, None);
        let burst = take(&mut ports[0]).len() as u64;
        assert_eq!(locked(&line).lost_and_away(), (10_000 - DEPTH, burst));
    }

    #[test]
    fn nothing_is_due_while_the_machine_has_the_thread_off_its_core() {
        let (mut ports, line) = pair(10, 64).unwrap();
        locked(&line).begin(1e5, 0, None);
        locked(&line).pause(2_000_000, 2_000_000);
        assert!(take(&mut ports[0]).is_empty());
    }
}
