//! Takes one load along the packet's way, in memory: what `perf/instructions` runs under callgrind.
//!
//! `weir-perf LOAD` prints one line of JSON: packets, nanoseconds and allocations a packet, memory
//! a flow. Nothing else runs on the thread between two bursts but making the next one, and
//! only [`measured_burst`] is counted.

mod frames;
mod loads;
mod mixed;
mod node;

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use weir_node::io::memory::{MemoryFrame, MemoryFrames};
use weir_node::io::{BURST, Outbox};
use weir_node::path::{Arrived, Path};

use loads::Load;

/// Takes one load along the packet's way.
#[derive(Parser)]
struct Arguments {
    /// What the packets are.
    load: LoadName,
    /// Flows that live at a time.
    #[arg(long, default_value_t = 10_000)]
    flows: usize,
    /// Of the load mixed: only this application.
    #[arg(long)]
    application: Option<String>,
    /// Without threat detectors, which a node has unless each is switched off.
    #[arg(long)]
    bare: bool,
    /// Packets to measure, rounded up to whole bursts.
    #[arg(long, default_value_t = 1_000_000)]
    packets: usize,
}

/// The loads; `loads.rs` says what each is.
#[derive(Clone, Copy, ValueEnum)]
enum LoadName {
    SettledUdp,
    SettledTcp,
    Churn,
    Http,
    Mixed,
}

/// Of all measured bursts.
#[derive(Default)]
struct Measured {
    packets: usize,
    allocations: u64,
    /// Nanoseconds of each burst, divided by its packets.
    nanoseconds: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut load: Box<dyn Load> = match arguments.load {
        LoadName::SettledUdp => Box::new(loads::SettledUdp::new(arguments.flows)),
        LoadName::SettledTcp => Box::new(loads::SettledTcp::new(arguments.flows)),
        LoadName::Churn => Box::new(loads::Churn::new()),
        LoadName::Http => Box::new(loads::Http::new(arguments.flows)),
        LoadName::Mixed => Box::new(mixed::Mixed::new(arguments.application.as_deref())?),
    };
    let mut node = node::Node::new(arguments.bare)?;
    let mut warm_up = load.warm_up_packets();
    let mut measured = Measured::default();
    while measured.packets < arguments.packets {
        load.burst(&mut node.burst);
        let packets = node.burst.len();
        ensure!(packets <= BURST, "a load made a burst of {packets}");
        node.now_us += 4;
        if warm_up > 0 {
            warm_up = warm_up.saturating_sub(packets);
            node.path.run(&mut node.burst, node.now_us, &mut node.out);
        } else {
            let begun = Instant::now();
            let allocations = allocation_counter::measure(|| {
                measured_burst(&mut node.path, &mut node.burst, node.now_us, &mut node.out);
            });
            let nanoseconds = begun.elapsed().as_nanos() as f64;
            measured.nanoseconds.push(nanoseconds / packets as f64);
            measured.allocations += allocations.count_total;
            measured.packets += packets;
        }
        node.after_burst();
    }
    ensure!(
        node.path.counts().dropped_total() == 0,
        "the load is honest, yet packets were dropped: {:?}",
        node.path.counts()
    );
    print(&mut measured, &node);
    Ok(())
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

fn print(measured: &mut Measured, node: &node::Node) {
    measured.nanoseconds.sort_by(f64::total_cmp);
    let quantile = |part: f64| {
        let index = (measured.nanoseconds.len() as f64 * part) as usize;
        measured.nanoseconds.get(index).copied().unwrap_or(0.0)
    };
    println!(
        r#"{{"packets":{},"nanoseconds_median":{:.1},"nanoseconds_p10":{:.1},"nanoseconds_p90":{:.1},"allocations":{},"flows":{},"flow_bytes":{}}}"#,
        measured.packets,
        quantile(0.5),
        quantile(0.1),
        quantile(0.9),
        measured.allocations,
        node.flows(),
        node::FLOW_BYTES,
    );
}
