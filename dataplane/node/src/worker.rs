//! poll: burst → path → tx → timers → snapshot check → counters.
//!
//! A worker is one thread on one core. It owns its [`Path`]; it shares its queues with the watchdog
//! (behind an uncontended lock, taken per burst), the policy in force (swapped between bursts), the
//! event ring out, and a page of counters that others read by copying.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;
use tracing::error;
use weir_policy::Snapshot;
use weir_sigs::Prepared;
use weir_sigs::sensor::{SensorScanner, SensorScannerError, SensorSet};

use crate::capture::Wanted;
use crate::counters::Stages;
use crate::event::LearnedName;
use crate::io::{BURST, FrameCounts, FrameSource, Outbox, PortIndex, Queue};
use crate::limits::Rules;
use crate::path::{Arrived, Path};
use crate::sensors;
use crate::takeover::{Leaving, Left, Midway, Taken};

/// How often time-driven work is done.
const TICK_US: u64 = 1_000;
/// How often the counter page is written.
const PAGE_US: u64 = 20_000;
/// Empty polls before a worker that may sleep does.
const SPINS_BEFORE_SLEEP: u32 = 2_000;
/// Longest sleep of an idle worker.
const IDLE_SLEEP: Duration = Duration::from_micros(50);

/// What a worker does when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Polls on: lowest latency, one core always busy.
    Spin,
    /// Sleeps for up to 50 µs: for machines whose cores are shared.
    Sleep,
}

/// The queues of a worker, one per port; None once the watchdog has taken them.
pub type SharedQueues<Q> = Arc<Mutex<Option<Vec<Q>>>>;

/// A copy of a worker's counters.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Frames by fate.
    pub counts: FrameCounts,
    /// Frames inside.
    pub held: u64,
    /// Per-stage counters.
    pub stages: Stages,
    /// Sizes.
    pub gauges: Vec<(&'static str, u64)>,
    /// Residence time of packets: p50, p99, p99.9 and maximum, nanoseconds.
    pub residence_ns: [u64; 4],
    /// Frames that a device gave in a form that cannot be taken ([`Queue::refused`]).
    pub refused: u64,
}

/// What a worker shares with the rest of the process.
pub struct Shared {
    /// The policy to be in force.
    pub snapshot: ArcSwapOption<Snapshot>,
    /// Its sensors, compiled.
    pub sensors: ArcSwapOption<SensorSet>,
    /// What each worker looks for them with, on its way to it.
    pub sensing: Vec<ArrayQueue<Option<SensorScanner>>>,
    /// What workers looked for sensors with before, to be dropped elsewhere.
    pub retired_sensing: ArrayQueue<SensorScanner>,
    /// Flows under inspection at a time, on each worker.
    pub sessions: usize,
    /// Counts up with every change of `snapshot`.
    pub generation: AtomicU64,
    /// Which packets are to be copied; mostly none.
    pub captures: ArcSwapOption<Wanted>,
    /// How to look at packets, when that has changed since the start.
    pub rules: ArcSwapOption<Rules>,
    /// The generation each worker has in force.
    pub installed: Vec<AtomicU64>,
    /// Counts up with every poll of each worker, on a line that nobody else writes.
    pub heartbeat: Vec<CachePadded<AtomicU64>>,
    /// Which workers still run.
    pub alive: Arc<Vec<AtomicBool>>,
    /// Frames of lost workers' queues: forwarded uninspected, dropped.
    pub bypassed: [AtomicU64; 2],
    /// Counters of each worker.
    pub pages: Vec<Mutex<Page>>,
    /// How many signatures are looked for, and how many were refused.
    pub signature_counts: [AtomicU64; 2],
    /// Signatures on their way to each worker.
    pub signatures: Vec<ArrayQueue<Prepared>>,
    /// Signatures that workers gave back, to be dropped elsewhere.
    pub retired: ArrayQueue<Prepared>,
    /// Learned names on their way to each worker.
    pub names: Vec<ArrayQueue<LearnedName>>,
    /// What workers leave to the next process when they stop.
    pub leaving: Leaving,
    /// The node stops.
    pub stop: AtomicBool,
    /// Zero of the workers' clock.
    pub started: Instant,
}

impl Shared {
    /// For so many workers, each with so many flows under inspection at a time.
    pub fn new(workers: usize, sessions: usize) -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwapOption::empty(),
            sensors: ArcSwapOption::empty(),
            sensing: (0..workers).map(|_| ArrayQueue::new(1)).collect(),
            retired_sensing: ArrayQueue::new(2 * workers.max(1)),
            sessions,
            generation: AtomicU64::new(0),
            captures: ArcSwapOption::empty(),
            rules: ArcSwapOption::empty(),
            installed: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            heartbeat: (0..workers).map(|_| CachePadded::default()).collect(),
            alive: Arc::new((0..workers).map(|_| AtomicBool::new(true)).collect()),
            bypassed: Default::default(),
            pages: (0..workers).map(|_| Mutex::default()).collect(),
            signature_counts: Default::default(),
            signatures: (0..workers).map(|_| ArrayQueue::new(1)).collect(),
            retired: ArrayQueue::new(2 * workers.max(1)),
            names: (0..workers).map(|_| ArrayQueue::new(1024)).collect(),
            leaving: Leaving::default(),
            stop: AtomicBool::new(false),
            started: Instant::now(),
        })
    }

    /// Microseconds on the workers' clock.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Hands a snapshot with its sensors to the workers; returns the generation to wait for. Where the
    /// sensors are those in force already, what was counted for them stays. Where their memory cannot be
    /// had nothing changes.
    pub fn put_in_force(
        &self,
        snapshot: Arc<Snapshot>,
        sensors: Option<Arc<SensorSet>>,
    ) -> Result<u64, SensorScannerError> {
        let address = |set: &Option<Arc<SensorSet>>| set.as_ref().map(Arc::as_ptr);
        if address(&sensors) != address(&self.sensors.load_full()) {
            let prepare = |_| sensors::prepare(sensors.as_ref(), self.sessions);
            let prepared: Result<Vec<_>, _> = self.sensing.iter().map(prepare).collect();
            for (queue, scanner) in self.sensing.iter().zip(prepared?) {
                // One that the worker has not taken yet is out of date.
                queue.force_push(scanner);
            }
            self.sensors.store(sensors);
        }
        self.snapshot.store(Some(snapshot));
        Ok(self.generation.fetch_add(1, Ordering::Release) + 1)
    }

    /// Lets the workers look at packets by these rules from now on.
    pub fn look_by(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether every worker that runs has this generation in force.
    pub fn in_force(&self, generation: u64) -> bool {
        self.installed
            .iter()
            .zip(self.alive.iter())
            .all(|(installed, alive)| {
                installed.load(Ordering::Acquire) >= generation || !alive.load(Ordering::Acquire)
            })
    }

    /// A worker's counters.
    pub fn page(&self, worker: usize) -> Page {
        self.pages[worker]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// One worker.
pub struct Worker<Q, S: FrameSource> {
    index: usize,
    path: Path<S>,
    queues: SharedQueues<Q>,
    ports: usize,
    shared: Arc<Shared>,
    idle: Idle,
    burst: Vec<Arrived<S::Frame>>,
    received: Vec<S::Frame>,
    out: Outbox<S::Frame>,
    generation: u64,
    /// That of the captures that it copies for; 0 for none.
    captures: u64,
    ticked_us: u64,
    paged_us: u64,
    /// In cycles, which are read faster than the clock.
    residence: Histogram<u64>,
    started: (Instant, u64),
}

/// The watchdog has taken the queues: the worker has nothing left to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Seized;

impl<Q, S> Worker<Q, S>
where
    S: FrameSource,
    Q: Queue<Frame = S::Frame>,
{
    /// A worker over queues that the watchdog may take.
    pub fn new(
        index: usize,
        path: Path<S>,
        queues: SharedQueues<Q>,
        shared: Arc<Shared>,
        idle: Idle,
    ) -> Self {
        let ports = queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map_or(0, Vec::len);
        // Up to some seconds at two significant digits: a few tens of kilobytes.
        let residence = Histogram::new_with_bounds(1, 10_000_000_000, 2)
            .unwrap_or_else(|_| Histogram::new(2).unwrap());
        Self {
            index,
            path,
            queues,
            ports,
            shared,
            idle,
            burst: Vec::with_capacity(2 * BURST),
            received: Vec::with_capacity(2 * BURST),
            out: Outbox::new(ports),
            generation: 0,
            captures: 0,
            ticked_us: 0,
            paged_us: 0,
            residence,
            started: (Instant::now(), weir_dpdk::cycles()),
        }
    }

    /// [`Self::run`], and lets the others know when this worker is lost.
    pub fn run_watched(&mut self) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            error!(
                worker = self.index,
                "the worker died; the panic's message stands above"
            );
        }
        if !self.shared.stop.load(Ordering::Relaxed) {
            self.shared.alive[self.index].store(false, Ordering::Release);
        }
    }

    /// Polls until the node stops or the queues are taken.
    pub fn run(&mut self) {
        let mut empty_polls = 0_u32;
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.poll() {
                Err(Seized) => return,
                Ok(0) if self.idle == Idle::Sleep && empty_polls >= SPINS_BEFORE_SLEEP => {
                    std::thread::sleep(IDLE_SLEEP)
                }
                Ok(0) => empty_polls += 1,
                Ok(_) => empty_polls = 0,
            }
        }
        self.stop();
    }

    /// One round over all ports; returns how many frames came.
    pub fn poll(&mut self) -> Result<usize, Seized> {
        // Nobody else writes it: no locked instruction is needed.
        let heartbeat = &self.shared.heartbeat[self.index];
        heartbeat.store(
            heartbeat.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
        self.check_snapshot();
        let mut frames = 0;
        // The clock is read once a round: a round is far shorter than whatever time decides.
        let now_us = self.shared.now_us();
        for port in 0..self.ports {
            self.receive(port, now_us)?;
            frames += self.take_along(now_us)?;
        }
        self.path.take_handed_over(&mut self.burst);
        frames += self.take_along(now_us)?;
        if now_us - self.ticked_us >= TICK_US {
            self.tick(now_us)?;
        }
        Ok(frames)
    }

    fn receive(&mut self, port: usize, now_us: u64) -> Result<(), Seized> {
        with_queues(&self.queues, |queues| {
            queues[port].receive(&mut self.received)
        })?;
        let port = port as PortIndex;
        self.burst
            .extend(self.received.drain(..).map(|frame| Arrived {
                frame,
                port,
                received_us: now_us,
                at_owner: false,
            }));
        Ok(())
    }

    /// Takes the burst along the path and sends what leaves.
    fn take_along(&mut self, now_us: u64) -> Result<usize, Seized> {
        let frames = self.burst.len();
        if frames == 0 {
            return Ok(0);
        }
        let begun = weir_dpdk::cycles();
        self.path.run(&mut self.burst, now_us, &mut self.out);
        self.send()?;
        let residence = weir_dpdk::cycles().wrapping_sub(begun);
        self.residence
            .saturating_record_n(residence.max(1), frames as u64);
        Ok(frames)
    }

    /// Sends what is in the outbox; what a full queue refuses is dropped and counted.
    fn send(&mut self) -> Result<(), Seized> {
        let (out, mut refused) = (&mut self.out, 0);
        with_queues(&self.queues, |queues| {
            for (queue, frames) in queues.iter_mut().zip(&mut out.transmit) {
                if !frames.is_empty() {
                    queue.transmit(frames);
                    refused += frames.len() as u64;
                    frames.clear();
                }
            }
        })?;
        out.finished.clear();
        self.path.transmit_refused(refused);
        Ok(())
    }

    fn check_snapshot(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        if let Some(snapshot) = self.shared.snapshot.load_full() {
            self.path.install(snapshot);
            if let Some(scanner) = self.shared.sensing[self.index].pop()
                && let Some(old) = self.path.sense_with(scanner)
            {
                // Should nobody have emptied it, the worker drops it itself.
                let _ = self.shared.retired_sensing.push(old);
            }
        }
        if let Some(rules) = self.shared.rules.load_full() {
            self.path.look_by((*rules).clone());
        }
        self.generation = generation;
        self.shared.installed[self.index].store(generation, Ordering::Release);
    }

    /// What is captured is no policy: no flow is asked again because of it.
    fn check_captures(&mut self) {
        let wanted = self.shared.captures.load();
        let generation = wanted.as_ref().map_or(0, |wanted| wanted.generation);
        if generation != self.captures {
            self.captures = generation;
            let recorder = wanted.as_ref().and_then(|it| it.recorder(self.index));
            drop(self.path.record(recorder));
        }
    }

    fn tick(&mut self, now_us: u64) -> Result<(), Seized> {
        self.ticked_us = now_us;
        self.check_captures();
        while let Some(name) = self.shared.names[self.index].pop() {
            self.path.learn_name(name);
        }
        if let Some(prepared) = self.shared.signatures[self.index].pop()
            && let Some(old) = self.path.look_for(prepared)
        {
            // Should nobody have emptied it, the worker drops it itself.
            let _ = self.shared.retired.push(old);
        }
        self.path.tick(now_us, &mut self.out);
        self.send()?;
        if now_us - self.paged_us >= PAGE_US {
            self.paged_us = now_us;
            self.write_page();
        }
        Ok(())
    }

    /// Copies the counters where others can read them; a reader that is there now is not waited for.
    fn write_page(&mut self) {
        let refused = with_queues(&self.queues, |queues| {
            queues.iter().map(Queue::refused).sum()
        });
        let Ok(mut page) = self.shared.pages[self.index].try_lock() else {
            return;
        };
        page.counts = self.path.counts().clone();
        page.held = self.path.held();
        page.stages = self.path.stages().clone();
        page.gauges.clear();
        page.gauges.extend(self.path.gauges());
        let (started, started_cycles) = self.started;
        let cycles = weir_dpdk::cycles().wrapping_sub(started_cycles);
        let cycle_ns = started.elapsed().as_nanos() as f64 / cycles.max(1) as f64;
        page.residence_ns = [0.5, 0.99, 0.999, 1.0]
            .map(|quantile| (self.residence.value_at_quantile(quantile) as f64 * cycle_ns) as u64);
        page.refused = refused.unwrap_or(page.refused);
    }

    /// Takes over what a worker of another process left, under the policy in force. To be called before it runs;
    /// where no policy is in force nothing is taken.
    pub fn take_over(&mut self, left: &Left, midway: Midway) -> Taken {
        self.check_snapshot();
        match self.shared.snapshot.load().is_some() {
            true => self.path.take_over(left, midway, self.shared.now_us()),
            false => Taken::default(),
        }
    }

    /// Drains what came already, gives up what waits, leaves the flows or ends them.
    fn stop(&mut self) {
        let now_us = self.shared.now_us();
        self.path.take_handed_over(&mut self.burst);
        let _ = self.take_along(now_us);
        if self.shared.leaving.is_wanted() {
            self.shared.leaving.add(self.path.leave(self.index, now_us));
        }
        self.path.shut_down(now_us, &mut self.out);
        let _ = self.send();
        self.write_page();
    }
}

/// Uses the queues, unless they have been taken.
fn with_queues<Q, R>(
    queues: &SharedQueues<Q>,
    use_them: impl FnOnce(&mut Vec<Q>) -> R,
) -> Result<R, Seized> {
    let mut queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
    queues.as_mut().map(use_them).ok_or(Seized)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker writes with every poll lies on lines of its own, those that are loaded in pairs included.
    #[test]
    fn workers_write_no_common_line_when_they_poll() {
        const LINES: usize = 128;
        let shared = Shared::new(3, 1);
        let line = |worker: usize| std::ptr::from_ref(&*shared.heartbeat[worker]).addr() / LINES;
        assert!(line(0) != line(1) && line(1) != line(2));
    }
}
