//! `weir-perf workers LOAD`: workers of one node over memory, for `perf/workers` to look at which lines they write.
//!
//! Each runs on a thread of its own with a load of its own; they are let poll one after the other, so that a tool that sees all
//! reads and writes (valgrind's lackey) can tell whose they are by the marks between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use weir_node::event::EventRing;
use weir_node::handover::Ownership;
use weir_node::io::memory::MemoryFrames;
use weir_node::worker::{Idle, Shared, Worker};
use weir_perf::load;
use weir_perf::node::{self, Options};
use weir_perf::port::{self, LoadQueue};

use crate::LoadArguments;

const EVENTS: usize = 1 << 12;

/// Written when the worker of that number begins to poll; the last, when none does.
static MARKS: [AtomicU64; 3] = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
const NOBODY: usize = 2;

/// What they work on.
#[derive(Args)]
pub struct WorkersArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Workers: 1 or 2.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    workers: u8,
    /// Polls of each between marks, once the load is what it is called.
    #[arg(long, default_value_t = 64)]
    polls: u32,
    /// Rules of the policy.
    #[arg(long, default_value_t = 100)]
    rules: u32,
}

/// One worker, which polls when it is told how often.
struct Crewman {
    tell: Sender<u32>,
    done: Receiver<usize>,
    thread: JoinHandle<()>,
}

/// Prints where the marks and the program are, then lets the workers poll, then prints what each received.
pub fn run(arguments: &WorkersArguments) -> Result<()> {
    let marks = MARKS.each_ref().map(|mark| std::ptr::from_ref(mark).addr());
    println!("{}", json!({"marks": marks, "base": base()?}));
    let shape = arguments.load.shape();
    let options = Options {
        flows: 1 << 14,
        rules: arguments.rules,
        identities: arguments.rules.clamp(1, 1_000),
        ..Options::default()
    };
    let shared = Shared::new(usize::from(arguments.workers), options.sessions());
    let counted = node::counted(&options);
    let mut crew = Vec::new();
    let ownerships = Ownership::shared(&shared.alive, &[true, true]);
    let mut warm_up = 0;
    for (index, ownership) in ownerships.into_iter().enumerate() {
        let load = load::open(&arguments.load.load, &shape)?;
        warm_up = load.warm_up_packets();
        let queues = Arc::new(Mutex::new(Some(port::pair(load, u64::MAX).into())));
        let path = node::path(&options, &counted, ownership, &EventRing::new(EVENTS))?;
        let worker = Worker::new(index, path, queues, Arc::clone(&shared), Idle::Spin);
        crew.push(start(index, worker)?);
    }
    shared.put_in_force(node::snapshot(&options)?, None)?;
    for crewman in &crew {
        let mut left = warm_up;
        while left > 0 {
            left = left.saturating_sub(crewman.poll(1)?.max(1) as u64);
        }
        // The loads that are always new are as they are from the beginning; tables and pools are warm after some bursts.
        crewman.poll(arguments.polls)?;
    }
    let mut received = vec![0; crew.len()];
    for _ in 0..arguments.polls {
        for (index, crewman) in crew.iter().enumerate() {
            received[index] += crewman.poll(0)?;
        }
    }
    for crewman in crew {
        drop(crewman.tell);
        let _ = crewman.thread.join();
    }
    println!("{}", json!({"received": received}));
    Ok(())
}

impl Crewman {
    /// So many polls; 0: one between marks. Returns how many packets came.
    fn poll(&self, times: u32) -> Result<usize> {
        self.tell.send(times).context("a worker ended")?;
        self.done.recv().context("a worker ended")
    }
}

fn start(index: usize, mut worker: Worker<LoadQueue, MemoryFrames>) -> Result<Crewman> {
    let (tell, told) = channel();
    let (say, done) = channel();
    let work = move || {
        for times in told {
            let came = match times {
                0 => {
                    MARKS[index].store(1, Ordering::SeqCst);
                    let came = worker.poll();
                    MARKS[NOBODY].store(1, Ordering::SeqCst);
                    came.unwrap_or(0)
                }
                _ => (0..times).map(|_| worker.poll().unwrap_or(0)).sum(),
            };
            if say.send(came).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(work)?;
    Ok(Crewman { tell, done, thread })
}

/// Where this program was loaded to.
fn base() -> Result<usize> {
    let program = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let line = maps
        .lines()
        .find(|line| line.ends_with(&*program.to_string_lossy()));
    let address = line
        .and_then(|line| line.split('-').next())
        .context("the program is not mapped")?;
    Ok(usize::from_str_radix(address, 16)?)
}
