//! Sends by a schedule, receives, and measures from when a frame was to be sent: a device under test that stands still makes
//! every frame late that was due meanwhile (no coordinated omission). While this process itself was stopped nothing was due.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use weir_dpdk::{Mbuf, Pool, Port, RxQueue, TxQueue, cycles, cycles_per_second, free_bulk};

use weir_perf::stamped::frames::{self, Frames};
use weir_perf::stamped::{Report, WINDOWS_PER_SECOND, Waiting, Windows};

use crate::flood::Flood;

const BURST: usize = 32;
/// Nothing came for so long: what was sent and is not back is lost.
const QUIET_MS: u64 = 30;

/// What is sent for how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// So long.
    pub seconds: f64,
    /// Stamped frames a second; 0: as many as the device takes.
    pub rate: f64,
    /// Each other frame goes from server to client, in by the second port.
    #[serde(default)]
    pub both_ways: bool,
    /// SYNs a second of senders that do not exist, beside.
    #[serde(default)]
    pub flood_rate: f64,
    /// `schedstat` of the thread under test.
    pub watch: Option<PathBuf>,
}

/// One of the two ports.
struct End {
    receive: RxQueue,
    transmit: TxQueue,
    /// Made and stamped, not taken yet.
    waiting: Vec<Mbuf>,
    _port: Port,
}

impl End {
    fn new(port: Port) -> Result<Self> {
        Ok(Self {
            receive: port
                .rx_queue(0)
                .context("the device has no receive queue")?,
            transmit: port
                .tx_queue(0)
                .context("the device has no transmit queue")?,
            waiting: Vec::with_capacity(BURST),
            _port: port,
        })
    }

    /// Hands over what waits; whether something is left.
    fn transmit(&mut self) -> bool {
        self.transmit.transmit(&mut self.waiting);
        !self.waiting.is_empty()
    }
}

/// The two ports and what is sent by them.
pub struct Generator {
    ends: [End; 2],
    pool: Pool,
    frames: Frames,
    /// Of [`Frames::sent`], each way.
    next: [usize; 2],
    flood: Flood,
    pause_cycles: u64,
    received: Vec<Mbuf>,
    windows: Windows,
}

/// When what is due, in cycles.
struct Schedule {
    begun: u64,
    end: u64,
    /// 0: at once.
    interval: f64,
    made: u64,
}

impl Schedule {
    fn new(seconds: f64, rate: f64, now: u64) -> Self {
        let second = cycles_per_second() as f64;
        let interval = if rate > 0.0 { second / rate } else { 0.0 };
        Self {
            begun: now,
            end: now + (seconds * second) as u64,
            interval,
            made: 0,
        }
    }

    /// When the frame after so many more is to be sent.
    fn at(&self, further: usize, now: u64) -> u64 {
        if self.interval == 0.0 {
            return now;
        }
        self.begun + ((self.made + further as u64) as f64 * self.interval) as u64
    }

    /// Frames to be made now.
    fn due(&self, now: u64) -> usize {
        if self.interval == 0.0 {
            return BURST;
        }
        let due = (now.saturating_sub(self.begun) as f64 / self.interval) as u64;
        due.saturating_sub(self.made).min(BURST as u64) as usize
    }

    /// Nothing was due for so long.
    fn pause(&mut self, cycles: u64) {
        self.begun += cycles;
        self.end += cycles;
    }
}

impl Generator {
    /// Over started ports. After `pause_us` between two rounds this process counts as stopped.
    pub fn new(ports: [Port; 2], pool: Pool, frames: Frames, pause_us: u64) -> Result<Self> {
        let [first, second] = ports;
        let per_second = cycles_per_second();
        Ok(Self {
            ends: [End::new(first)?, End::new(second)?],
            pool,
            frames,
            next: [0; 2],
            flood: Flood::default(),
            pause_cycles: per_second / 1_000_000 * pause_us,
            received: Vec::with_capacity(BURST),
            windows: Windows::new(per_second / WINDOWS_PER_SECOND, 1e9 / per_second as f64)?,
        })
    }

    /// Sends for as long as the phase says, then waits for what is still away.
    pub fn play(&mut self, phase: &Phase) -> Result<Report> {
        let mut waiting = phase.watch.as_deref().map(Waiting::of).transpose()?;
        let mut report = Report::default();
        let begun = cycles();
        let mut schedule = Schedule::new(phase.seconds, phase.rate, begun);
        let mut flood =
            (phase.flood_rate > 0.0).then(|| Schedule::new(phase.seconds, phase.flood_rate, begun));
        self.windows.begin(begun);
        let (mut last, mut by) = (begun, 0);
        loop {
            let now = cycles();
            if now - last > self.pause_cycles {
                schedule.pause(now - last);
                flood.iter_mut().for_each(|flood| flood.pause(now - last));
                self.windows.stopped(now);
                note_pause(now - last, &mut report);
            }
            last = now;
            if now >= schedule.end {
                break;
            }
            self.make(&mut schedule, now, by)?;
            if let Some(flood) = &mut flood {
                self.make_flood(flood, now)?;
            }
            for end in &mut self.ends {
                report.refused_rounds += u64::from(end.transmit());
            }
            by = (by + usize::from(phase.both_ways)) % 2;
            self.receive(&mut report);
            let waited = self.windows.look(now, waiting.as_mut(), &mut report);
            schedule.pause(waited);
            flood.iter_mut().for_each(|flood| flood.pause(waited));
        }
        report.seconds = last.saturating_sub(schedule.begun) as f64 / cycles_per_second() as f64;
        self.windows.tell(&mut report);
        report.sent = schedule.made;
        report.flood_sent = flood.map_or(0, |flood| flood.made);
        self.wait_for_the_rest(&mut report);
        Ok(report)
    }

    /// Makes what is due by one end, unless some of before still waits there.
    fn make(&mut self, schedule: &mut Schedule, now: u64, by: usize) -> Result<()> {
        let waiting = &mut self.ends[by].waiting;
        if !waiting.is_empty() {
            return Ok(());
        }
        let due = schedule.due(now);
        if due == 0 || !self.pool.allocate_bulk(waiting, due as u32) {
            return Ok(());
        }
        let (frames, next) = (&self.frames.sent[by], &mut self.next[by]);
        for (further, mbuf) in waiting.iter_mut().enumerate() {
            ensure!(
                mbuf.copy_from(&frames[*next]),
                "a frame does not fit a buffer"
            );
            frames::stamp(mbuf.bytes_mut(), schedule.at(further, now));
            *next = if *next + 1 == frames.len() {
                0
            } else {
                *next + 1
            };
        }
        schedule.made += due as u64;
        Ok(())
    }

    /// Adds what is due of the flood to what waits at the first port.
    fn make_flood(&mut self, schedule: &mut Schedule, now: u64) -> Result<()> {
        let waiting = &mut self.ends[0].waiting;
        for _ in 0..schedule.due(now).min(BURST.saturating_sub(waiting.len())) {
            let Some(mut mbuf) = self.pool.allocate() else {
                break;
            };
            ensure!(
                mbuf.copy_from(self.flood.next()?),
                "a SYN does not fit a buffer"
            );
            waiting.push(mbuf);
            schedule.made += 1;
        }
        Ok(())
    }

    /// Takes what has come back; returns how many.
    fn receive(&mut self, report: &mut Report) -> usize {
        let mut came = 0;
        for end in &mut self.ends {
            came += end.receive.receive(&mut self.received, BURST);
            let now = cycles();
            for mbuf in &self.received {
                match frames::stamp_of(mbuf.bytes()) {
                    Some(sent) => {
                        report.received += 1;
                        self.windows.came(sent, now);
                    }
                    None => report.flood_received += 1,
                }
            }
            free_bulk(&mut self.received);
        }
        came
    }

    fn wait_for_the_rest(&mut self, report: &mut Report) {
        for end in &mut self.ends {
            for mbuf in end.waiting.drain(..) {
                match frames::stamp_of(mbuf.bytes()) {
                    Some(_) => report.sent -= 1,
                    None => report.flood_sent -= 1,
                }
            }
        }
        let quiet = cycles_per_second() / 1_000 * QUIET_MS;
        let mut last = cycles();
        let mut quiet_for = 0;
        while quiet_for < quiet {
            let now = cycles();
            // Whoever was stopped saw nothing come.
            quiet_for += (now - last).min(self.pause_cycles);
            last = now;
            if self.receive(report) > 0 {
                quiet_for = 0;
            }
        }
    }
}

fn note_pause(paused: u64, report: &mut Report) {
    report.pauses += 1;
    report.paused_ms += paused as f64 * 1e3 / cycles_per_second() as f64;
}
