//! `weir-perf swap`: changes of policy under load, in one process.
//!
//! A worker on a core of its own takes stamped frames of settled flows by a schedule and sends them back; meanwhile another
//! thread builds whole snapshots and puts them in force, as a node does with what its controller sends. Every flow is judged
//! again after each. Told are what was lost and how long frames were away, before the changes and during them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use weir_node::event::EventRing;
use weir_node::handover::Ownership;
use weir_node::io::memory::MemoryFrames;
use weir_node::worker::{Idle, Shared, Worker};
use weir_perf::node::{self, Options};
use weir_perf::scheduled::{self, Line, SECOND, ScheduledQueue, locked, now};
use weir_perf::stamped::{Report, Waiting};

const EVENTS: usize = 1 << 17;
const FRAME_BYTES: usize = 64;
/// Rounds that what is on its way has to come back in.
const LAST_ROUNDS: u32 = 10_000;

/// The load, and what is changed.
#[derive(Args)]
pub struct SwapArguments {
    /// Flows of datagrams, both ways.
    #[arg(long, default_value_t = 10_000)]
    flows: u32,
    /// Rules of the policy.
    #[arg(long, default_value_t = 10_000)]
    rules: u32,
    /// Of what passes at most.
    #[arg(long, default_values_t = [0.5, 0.9])]
    part: Vec<f64>,
    /// Changes at each load.
    #[arg(long, default_value_t = 10)]
    changes: u32,
    /// Between two changes.
    #[arg(long, default_value_t = 200)]
    interval_ms: u64,
    /// Where the worker runs; changes are made elsewhere.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

type Busy = Worker<ScheduledQueue, MemoryFrames>;

/// Prints one line of JSON: what passes at most, and for each part of it the reports before and during the changes.
pub fn run(arguments: &SwapArguments) -> Result<()> {
    let options = Options {
        rules: arguments.rules,
        ..Options::default()
    };
    let (ports, line) = scheduled::pair(arguments.flows, FRAME_BYTES)?;
    let shared = Shared::new(1, options.sessions());
    let ownership = Ownership::shared(&shared.alive, &[true]);
    let ownership = ownership.into_iter().next().context("there is no worker")?;
    let path = node::path(
        &options,
        &node::counted(&options),
        ownership,
        &EventRing::new(EVENTS),
    )?;
    let queues = Arc::new(Mutex::new(Some(ports.into())));
    let mut worker = Worker::new(0, path, queues, Arc::clone(&shared), Idle::Spin);
    shared.put_in_force(node::snapshot(&options)?, None)?;
    let core = core_affinity::CoreId { id: arguments.core };
    let told = std::thread::scope(|scope| {
        let work = || -> Result<Vec<Value>> {
            if !core_affinity::set_for_current(core) {
                bail!("cannot run on core {}", core.id);
            }
            phases(&mut worker, &line, &shared, arguments, &options)
        };
        let worker = scope.spawn(work);
        worker
            .join()
            .unwrap_or_else(|_| bail!("the worker panicked"))
    })?;
    println!(
        "{}",
        json!({"rules": arguments.rules, "flows": arguments.flows, "phases": told})
    );
    Ok(())
}

fn phases(
    worker: &mut Busy,
    line: &Mutex<Line>,
    shared: &Shared,
    arguments: &SwapArguments,
    options: &Options,
) -> Result<Vec<Value>> {
    let seconds = f64::from(arguments.changes) * arguments.interval_ms as f64 / 1e3;
    // Until every flow is settled, then as much as passes.
    play(worker, line, 0.0, 1.0)?;
    let most = play(worker, line, 0.0, 1.0)?.1;
    let most = most.counted as f64 / most.counted_seconds.max(1e-9);
    let mut told = vec![json!({"most": most})];
    for part in &arguments.part {
        let before = play(worker, line, most * part, seconds)?;
        let over = AtomicBool::new(false);
        let (during, changed) = std::thread::scope(|scope| {
            let changing = scope.spawn(|| change(shared, arguments, options, &over));
            let during = play(worker, line, most * part, seconds);
            over.store(true, Ordering::Relaxed);
            (during, changing.join())
        });
        let changed = changed.unwrap_or_else(|_| bail!("the changing thread panicked"))?;
        let said = |(lost, report): (u64, Report)| json!({"lost": lost, "report": report});
        told.push(json!({"part": part, "changes": changed, "before": said(before), "during": said(during?)}));
    }
    Ok(told)
}

/// Puts one snapshot after the other in force, on another core than the worker's; returns how many.
fn change(
    shared: &Shared,
    arguments: &SwapArguments,
    options: &Options,
    over: &AtomicBool,
) -> Result<u32> {
    let others = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(other) = others.into_iter().find(|core| core.id != arguments.core) {
        core_affinity::set_for_current(other);
    }
    for number in 0..arguments.changes {
        let changed = Options {
            rules: options.rules + number % 2,
            ..options.clone()
        };
        let snapshot = node::snapshot(&changed)?;
        std::thread::sleep(Duration::from_millis(arguments.interval_ms));
        if over.load(Ordering::Relaxed) {
            return Ok(number);
        }
        shared.put_in_force(snapshot, None)?;
    }
    Ok(arguments.changes)
}

/// Frames at this rate for so long, then what is still on its way; and how many were lost.
fn play(worker: &mut Busy, line: &Mutex<Line>, rate: f64, seconds: f64) -> Result<(u64, Report)> {
    let waiting = Waiting::of("/proc/thread-self/schedstat".as_ref())?;
    let (begun, length) = (now(), (seconds * SECOND as f64) as u64);
    locked(line).begin(rate, begun, Some(waiting));
    while now() < begun + length {
        poll(worker)?;
    }
    locked(line).stop();
    for _ in 0..LAST_ROUNDS {
        if locked(line).lost_and_away().1 == 0 {
            break;
        }
        poll(worker)?;
    }
    let mut line = locked(line);
    let (late, away) = line.lost_and_away();
    let mut report = line.tell();
    report.seconds = seconds - report.paused_ms / 1e3;
    Ok((late + away, report))
}

fn poll(worker: &mut Busy) -> Result<usize> {
    worker
        .poll()
        .map_err(|_| anyhow::anyhow!("the queues are gone"))
}
