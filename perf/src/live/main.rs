//! Sends stamped frames through whatever forwards between two DPDK ports, and measures how long each was away.
//!
//! `weir-live --vdev … --vdev …` starts two ports, then reads one [`Phase`] a line from its standard input (JSON), plays it
//! and answers with one line: what was sent, what came back, and the residence time. So one process can find the most that
//! passes, then send parts of it, while whoever drives it changes something meanwhile. `perf/latency`, `perf/swap` and
//! `perf/flood` do.
//!
//! Trusted: the clock of the processor, which all cores share. Memory: the buffers of the pool and one frame a flow.

mod flood;
mod generator;

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use weir_dpdk::{Eal, EalOptions, Pool, Port, PortConfig};

use generator::{Generator, Phase};
use weir_perf::stamped::frames;

/// Buffers: two queues of 1,024 each way, on both sides, and what is on its way between them.
const BUFFERS: u32 = 16_383;
const CACHED_BUFFERS: u32 = 256;
const DESCRIPTORS: u16 = 1024;
/// Beside the frame: what drivers put before it.
const ROOM_BYTES: u16 = 2_176;

/// Sends stamped frames through whatever forwards between two ports; reads phases from standard input.
#[derive(Parser)]
struct Arguments {
    /// A DPDK virtual device; two of them: frames leave by the first and come back by the second.
    #[arg(long = "vdev", required = true)]
    virtual_devices: Vec<String>,
    /// Passed on to DPDK, as `--eal=--single-file-segments`.
    #[arg(long = "eal", allow_hyphen_values = true)]
    extra: Vec<String>,
    /// Where DPDK's memory comes from.
    #[arg(long, default_value = "auto")]
    huge_pages: HugePages,
    /// Of DPDK's memory.
    #[arg(long, default_value_t = 256)]
    memory_mb: u32,
    /// The core that sends and receives.
    #[arg(long)]
    core: usize,
    /// Bytes of each frame, without its check sequence.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Flows of datagrams, in an order that no cache can guess.
    #[arg(long, default_value_t = 10_000)]
    flows: u32,
    /// Microseconds between two rounds of sending and receiving after which this process itself was stopped: what was on
    /// its way then is not counted.
    #[arg(long, default_value_t = 20)]
    pause_us: u64,
}

/// As for weir-node.
#[derive(Clone, Copy, ValueEnum)]
enum HugePages {
    Auto,
    Required,
    Never,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let [first, second] = &arguments.virtual_devices[..] else {
        bail!("two --vdev are needed: one that frames leave by and one that they come back by");
    };
    let options = EalOptions {
        huge_pages: match arguments.huge_pages {
            HugePages::Auto => weir_dpdk::HugePages::Auto,
            HugePages::Required => weir_dpdk::HugePages::Required,
            HugePages::Never => weir_dpdk::HugePages::Never,
        },
        memory_mb: arguments.memory_mb,
        virtual_devices: arguments.virtual_devices.clone(),
        extra: arguments.extra.clone(),
        main_core: Some(arguments.core),
        ..EalOptions::default()
    };
    let eal = Eal::start(&options)?;
    if !core_affinity::set_for_current(core_affinity::CoreId { id: arguments.core }) {
        bail!(
            "cannot run on core {}; the cores of this process are in /proc/self/status",
            arguments.core
        );
    }
    weir_dpdk::register_thread()?;
    let pool = Pool::new("live", BUFFERS, CACHED_BUFFERS, ROOM_BYTES, None)?;
    let ports = [start(&eal, first, &pool)?, start(&eal, second, &pool)?];
    let frames = frames::make(arguments.flows, arguments.bytes)?;
    let mut generator = Generator::new(ports, pool, frames, arguments.pause_us)?;
    say("{\"ready\":true}")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let phase: Phase =
            serde_json::from_str(&line).with_context(|| format!("no phase: {line}"))?;
        say(&serde_json::to_string(&generator.play(&phase)?)?)?;
    }
    Ok(())
}

fn start(eal: &Eal, device: &str, pool: &Pool) -> Result<Port> {
    let name = device.split(',').next().unwrap_or(device);
    let id = eal
        .find_port(name)
        .with_context(|| format!("DPDK made no port of {device}"))?;
    let settings = PortConfig {
        rx_descriptors: DESCRIPTORS,
        tx_descriptors: DESCRIPTORS,
        ..PortConfig::default()
    };
    Ok(Port::start(id, &settings, pool)?.0)
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
