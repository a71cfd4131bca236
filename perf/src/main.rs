//! What the scripts of `perf/` run: loads as captures, and loads along the packet's way.

mod path;
mod read;
mod signatures;
mod swap;
mod workers;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser};
use weir_perf::capture;
use weir_perf::load::{self, Family, Shape, Size};

/// Loads, and what a worker of Weir makes of them. Everything is the same on every run, but times.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Lists the loads.
    Loads,
    /// Writes a load as a capture file.
    Capture(CaptureArguments),
    /// Takes a load along the packet's way in memory: nanoseconds, allocations, and what reading alone costs.
    Path(path::PathArguments),
    /// Reads a capture and does nothing with it.
    Read(read::ReadArguments),
    /// Looks through a load for the literals of signatures by Hyperscan alone.
    Scan(signatures::ScanArguments),
    /// Changes the policy while packets flow: what is lost, and how long packets are away.
    Swap(swap::SwapArguments),
    /// Lets workers of one node poll in turn, for a tool that sees which lines of memory each writes.
    Workers(workers::WorkersArguments),
}

#[derive(Args)]
struct CaptureArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// The file, pcap.
    #[arg(long)]
    out: PathBuf,
    /// Packets a second by their times.
    #[arg(long, default_value_t = 1_000_000)]
    rate: u64,
    /// Packets; every flow once, or some turns of each, unless told.
    #[arg(long)]
    packets: Option<u64>,
}

/// A load.
#[derive(Args)]
struct LoadArguments {
    /// Its name (weir-perf loads), or the path of a capture.
    load: String,
    /// Flows that live at a time; of churn and floods, until they come again.
    #[arg(long, default_value_t = 10_000)]
    flows: u64,
    /// Frames of loads without an application: bytes, or imix.
    #[arg(long, default_value = "64")]
    size: Size,
    /// Addresses.
    #[arg(long, value_enum, default_value_t)]
    family: Family,
    /// Drawn from it: order, sequence numbers, contents.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Of arrivals: packets of new flows in a thousand.
    #[arg(long, default_value_t = 50)]
    new_per_thousand: u64,
}

impl LoadArguments {
    fn shape(&self) -> Shape {
        Shape {
            flows: self.flows.max(1),
            size: self.size,
            family: self.family,
            seed: self.seed,
            new_per_thousand: self.new_per_thousand,
        }
    }
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Loads => {
            for entry in load::TABLE {
                println!("{:<16}{}", entry.name, entry.about);
            }
            Ok(())
        }
        Command::Capture(arguments) => {
            let mut load = load::open(&arguments.load.load, &arguments.load.shape())?;
            let packets = arguments.packets.unwrap_or_else(|| load.turn_packets());
            let written = capture::write(&mut *load, packets, arguments.rate, &arguments.out)?;
            println!("{} packets, {} bytes", written.packets, written.bytes);
            Ok(())
        }
        Command::Path(arguments) => path::run(&arguments),
        Command::Read(arguments) => read::run(&arguments),
        Command::Scan(arguments) => signatures::scan(&arguments),
        Command::Swap(arguments) => swap::run(&arguments),
        Command::Workers(arguments) => workers::run(&arguments),
    }
}
