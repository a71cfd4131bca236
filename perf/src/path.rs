//! `weir-perf path LOAD`: what the packet's way costs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use weir_perf::engine::{self, Run};
use weir_perf::load;
use weir_perf::node::{self, Node, Options};

use crate::LoadArguments;

/// What is taken along the path, and what is on.
#[derive(Args)]
pub struct PathArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Packets of a round.
    #[arg(long, default_value_t = 1_000_000)]
    packets: u64,
    /// Rounds.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Without threat detectors, which a node has unless each is switched off.
    #[arg(long)]
    bare: bool,
    /// Rules of the policy.
    #[arg(long, default_value_t = 10_000)]
    rules: u32,
    /// Identities they are about.
    #[arg(long, default_value_t = 1_000)]
    identities: u32,
    /// Signatures: a folder of rule files.
    #[arg(long)]
    signatures: Option<PathBuf>,
    /// Of those so many, taken evenly; all unless told.
    #[arg(long, requires = "signatures")]
    signatures_max: Option<usize>,
    /// Flow tables keyed with this in place of what `colliding` was made for.
    #[arg(long, default_value_t = 1)]
    secret: u64,
    /// With tables that nothing has been in yet: the first touch of their memory counts.
    #[arg(long)]
    cold: bool,
    /// Microseconds between two bursts.
    #[arg(long, default_value_t = 4)]
    burst_us: u64,
}

/// Prints one line of JSON: the rounds, memory a flow, what was dropped.
pub fn run(arguments: &PathArguments) -> Result<()> {
    let shape = arguments.load.shape();
    let mut load = load::open(&arguments.load.load, &shape)?;
    let most = usize::try_from(shape.flows)?;
    let (signatures, signature_count) = match &arguments.signatures {
        Some(folder) => {
            let rules = crate::signatures::compile(folder, arguments.signatures_max)?;
            (Some(Arc::new(rules.0)), rules.1)
        }
        None => (None, 0),
    };
    let table_flows = (most + most / 4).max(1 << 20);
    let mut node = Node::new(&Options {
        flows: table_flows,
        detectors: !arguments.bare,
        signatures,
        secret: [arguments.secret, load::LEAKED_SECRET[1]],
        rules: arguments.rules,
        identities: arguments.identities,
    })?;
    if !arguments.cold {
        engine::touch(&mut node, table_flows as u64)?;
    }
    let run = Run {
        rounds: arguments.rounds,
        packets: arguments.packets,
        burst_us: arguments.burst_us,
        nothing_dropped: load::is_honest(&arguments.load.load),
    };
    let rounds = engine::run(&mut node, &mut *load, &run)?;
    let rounds: Vec<_> = rounds
        .iter()
        .map(|round| {
            let per_packet = |ns: u64| (ns as f64 / round.packets as f64 * 100.0).round() / 100.0;
            json!({
                "packets": round.packets,
                "bytes": round.bytes,
                "path_ns": per_packet(round.path_ns),
                "reading_ns": per_packet(round.reading_ns),
                "allocations": round.allocations,
            })
        })
        .collect();
    let counts = node.path.counts();
    println!(
        "{}",
        json!({
            "load": arguments.load.load,
            "rounds": rounds,
            "flows": node.flows(),
            "flow_bytes": node::FLOW_BYTES,
            "dropped": counts.dropped_total(),
            "received": counts.received,
            "signatures": signature_count,
        })
    );
    Ok(())
}
