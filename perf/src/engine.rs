//! Takes a load along the packet's way of one worker, in memory, and says what it cost.
//!
//! Packets are made a chunk at a time and lie in memory before the clock runs. Timed are bursts, as a worker forms
//! them, through [`Path::run`], and what time brings about ([`Path::tick`]); freeing what left and telling events are
//! not: devices and other threads do that. *Reading* is the same without the path: bursts are formed, and the first
//! line of each frame is looked at. Time is processor time of this thread, so that other work on the machine does
//! not count, but for the caches that it empties.

use std::hint::black_box;

use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};
use weir_node::io::memory::{MemoryFrame, MemoryFrames};
use weir_node::io::{BURST, Frame, Outbox};
use weir_node::path::{Arrived, Path};

use crate::load::{self, Load, Shape};
use crate::node::{CHUNK_PACKETS, Node};

/// Bytes of frames that a chunk has about: more than a second-level cache holds.
const CHUNK_BYTES: usize = 8 << 20;
/// Packets that a warm-up takes at a time.
const WARM_UP_PACKETS: u64 = 1 << 10;

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Rounds, told one by one.
    pub rounds: u32,
    /// Packets of a round, rounded up to whole bursts.
    pub packets: u64,
    /// Microseconds between two bursts, by the clock that the path is told.
    pub burst_us: u64,
    /// The load is honest: a packet that is dropped is a mistake.
    pub nothing_dropped: bool,
}

/// What one round cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Nanoseconds of the path, all in all.
    pub path_ns: u64,
    /// Nanoseconds of reading alone.
    pub reading_ns: u64,
    /// Allocations on the path.
    pub allocations: u64,
}

/// Fills the tables once with that many flows and ends all of them: a node that runs for a while has touched its memory.
/// The first touch of a page costs more than the packets on it.
pub fn touch(node: &mut Node, flows: u64) -> Result<()> {
    let shape = Shape {
        flows,
        ..Shape::default()
    };
    let mut load = load::open("settled-udp", &shape)?;
    let mut chunk = Vec::new();
    let mut left = flows;
    while left > 0 {
        let packets = left.min(WARM_UP_PACKETS);
        fill(&mut chunk, &mut *load, packets as usize);
        pass(node, &mut chunk, 1);
        node.after_chunk();
        left -= packets;
    }
    node.stop();
    Ok(())
}

/// Warms up, then runs the rounds.
pub fn run(node: &mut Node, load: &mut dyn Load, run: &Run) -> Result<Vec<Round>> {
    let mut chunk = Vec::new();
    let mut left = load.warm_up_packets();
    while left > 0 {
        let packets = left.min(WARM_UP_PACKETS);
        fill(&mut chunk, load, packets as usize);
        pass(node, &mut chunk, run.burst_us);
        node.after_chunk();
        left -= packets;
    }
    let mut rounds = Vec::new();
    for _ in 0..run.rounds {
        rounds.push(round(node, load, &mut chunk, run));
        ensure!(
            !run.nothing_dropped || node.path.counts().dropped_total() == 0,
            "the load is honest, yet packets were dropped: {:?}",
            node.path.counts()
        );
    }
    Ok(rounds)
}

fn round(
    node: &mut Node,
    load: &mut dyn Load,
    chunk: &mut Vec<Arrived<MemoryFrame>>,
    run: &Run,
) -> Round {
    let mut round = Round::default();
    while round.packets < run.packets {
        let wanted = (run.packets - round.packets).next_multiple_of(BURST as u64);
        fill(chunk, load, wanted as usize);
        round.packets += chunk.len() as u64;
        round.bytes += chunk
            .iter()
            .map(|one| one.frame.bytes().len() as u64)
            .sum::<u64>();
        let begun = thread_ns();
        read(chunk);
        let read_at = thread_ns();
        let allocated = allocation_counter::measure(|| pass(node, chunk, run.burst_us));
        round.path_ns += thread_ns() - read_at;
        round.reading_ns += read_at - begun;
        round.allocations += allocated.count_total;
        node.after_chunk();
    }
    round
}

/// The next packets of a load, as they would come in.
fn fill(chunk: &mut Vec<Arrived<MemoryFrame>>, load: &mut dyn Load, packets: usize) {
    let mut bytes = 0;
    let mut frame = Vec::new();
    chunk.clear();
    while chunk.len() < packets.min(CHUNK_PACKETS)
        && (bytes < CHUNK_BYTES || !chunk.len().is_multiple_of(BURST))
    {
        let sender = load.next(&mut frame);
        bytes += frame.len();
        chunk.push(Arrived {
            frame: MemoryFrame(frame.clone()),
            port: sender as u8,
            received_us: 0,
            at_owner: false,
        });
    }
}

/// Forms bursts and looks at the first line of each frame.
#[inline(never)]
fn read(chunk: &[Arrived<MemoryFrame>]) {
    let mut burst: Vec<&Arrived<MemoryFrame>> = Vec::with_capacity(BURST);
    for frames in chunk.chunks(BURST) {
        burst.extend(frames);
        let sum: u64 = burst
            .drain(..)
            .map(|one| u64::from(one.frame.bytes()[12]))
            .sum();
        black_box(sum);
    }
}

/// Bursts through the path, and what time brings about each millisecond.
fn pass(node: &mut Node, chunk: &mut Vec<Arrived<MemoryFrame>>, burst_us: u64) {
    let mut frames = chunk.drain(..);
    loop {
        node.burst.extend(frames.by_ref().take(BURST));
        if node.burst.is_empty() {
            break;
        }
        node.now_us += burst_us;
        measured_burst(&mut node.path, &mut node.burst, node.now_us, &mut node.out);
        node.tick();
    }
}

/// What is counted. A function of its own, so that callgrind can be told to count from here on.
#[inline(never)]
fn measured_burst(
    path: &mut Path<MemoryFrames>,
    burst: &mut Vec<Arrived<MemoryFrame>>,
    now_us: u64,
    out: &mut Outbox<MemoryFrame>,
) {
    path.run(burst, now_us, out);
}

/// How long this thread ran.
pub fn thread_ns() -> u64 {
    // A thread always has a clock of its own on Linux.
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    let time = time.unwrap_or_else(|error| unreachable!("the clock of a thread: {error}"));
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
