//! The signatures that loads are looked through for, and what a bare scan for them costs.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use hyperscan::{Builder, Matching, Pattern, PatternFlags, Patterns, Stream, StreamingDatabase};
use serde_json::json;
use weir_flow::FlowKey;
use weir_perf::engine::thread_ns;
use weir_perf::load::{self, Sender};
use weir_sigs::RuleSet;
use weir_sigs::rule::{self, Matcher, Rule, RuleReader};
use weir_wire::{DecodeOptions, decode, protocol};

use crate::LoadArguments;

/// Packets that lie in memory before the clock runs.
const CHUNK_PACKETS: u64 = 8 << 10;
/// Bytes of a literal that are looked for.
const LITERAL_BYTES: usize = 24;

/// A bare scan.
#[derive(Args)]
pub struct ScanArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// A folder of rule files.
    #[arg(long)]
    signatures: PathBuf,
    /// Of those so many, taken evenly; all unless told.
    #[arg(long)]
    signatures_max: Option<usize>,
    /// Packets, after the load has warmed up.
    #[arg(long, default_value_t = 500_000)]
    packets: u64,
    /// Rounds.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// The rules of a folder that are on and supported; so many, taken evenly.
pub fn read(folder: &Path, most: Option<usize>) -> Result<Vec<Rule>> {
    let files = weir_sigs::read_files(&[folder.to_owned()])
        .with_context(|| format!("signatures of {}", folder.display()))?;
    let mut reader = RuleReader::new(rule::Options::default());
    for file in &files {
        reader.read(&file.name, &file.bytes);
    }
    let (rules, _) = reader.finish();
    ensure!(
        !rules.is_empty(),
        "{} has no rules that are on and supported",
        folder.display()
    );
    let wanted = most.unwrap_or(rules.len()).clamp(1, rules.len());
    let step = rules.len() / wanted;
    Ok(rules.into_iter().step_by(step).take(wanted).collect())
}

/// Compiles them; and how many there are.
pub fn compile(folder: &Path, most: Option<usize>) -> Result<(RuleSet, usize)> {
    let rules = read(folder, most)?;
    let count = rules.len();
    let options = weir_sigs::Options {
        threads: 2,
        ..weir_sigs::Options::default()
    };
    let (set, uncompiled) = RuleSet::compile(rules, &options)?;
    Ok((set, count - uncompiled.len()))
}

/// Prints one line of JSON: nanoseconds a packet and a byte of Hyperscan alone, streaming, over the payload of a load's
/// TCP segments, for one literal of each rule.
pub fn scan(arguments: &ScanArguments) -> Result<()> {
    let rules = read(&arguments.signatures, arguments.signatures_max)?;
    let patterns: Patterns = rules.iter().filter_map(literal).collect();
    let literals = patterns.0.len();
    let database: StreamingDatabase = patterns.build().context("the literals of the rules")?;
    let scratch = database.alloc_scratch()?;
    let mut load = load::open(&arguments.load.load, &arguments.load.shape())?;
    let mut frame = Vec::new();
    for _ in 0..load.warm_up_packets() {
        load.next(&mut frame);
    }
    let mut streams: HashMap<(FlowKey, bool), Stream> = HashMap::new();
    let mut rounds = Vec::new();
    let mut found = 0_u64;
    for _ in 0..arguments.rounds {
        let (mut packets, mut bytes, mut ns) = (0, 0, 0);
        while packets < arguments.packets {
            let mut pieces = Vec::new();
            for _ in 0..CHUNK_PACKETS.min(arguments.packets - packets) {
                let sender = load.next(&mut frame);
                packets += 1;
                pieces.extend(payload(&frame, sender));
            }
            for (key, _) in &pieces {
                if !streams.contains_key(key) {
                    streams.insert(*key, database.open_stream()?);
                }
            }
            let begun = thread_ns();
            for (key, payload) in &pieces {
                let Some(stream) = streams.get(key) else {
                    continue;
                };
                bytes += payload.len() as u64;
                stream.scan(payload, &scratch, |_: u32, _: u64, _: u64, _: u32| {
                    found += 1;
                    Matching::Continue
                })?;
            }
            ns += thread_ns() - begun;
        }
        rounds.push(json!({
            "packets": packets,
            "bytes": bytes,
            "scan_ns": ns as f64 / packets as f64,
            "ns_per_byte": ns as f64 / bytes.max(1) as f64,
        }));
    }
    black_box(found);
    for (_, stream) in streams {
        stream.close(&scratch, ())?;
    }
    println!(
        "{}",
        json!({"rules": rules.len(), "literals": literals, "rounds": rounds})
    );
    Ok(())
}

/// The content of a TCP segment, and of which stream it is.
fn payload(frame: &[u8], sender: Sender) -> Option<((FlowKey, bool), Vec<u8>)> {
    let packet = decode(frame, &DecodeOptions::default()).ok()?;
    let content = packet.payload(frame);
    let wanted = packet.protocol == protocol::TCP && !content.is_empty();
    let key = (FlowKey::of(&packet, 0).key, sender == Sender::Client);
    wanted.then(|| (key, content.to_vec()))
}

/// The longest literal of a rule.
fn literal(rule: &Rule) -> Option<Pattern> {
    let matchers = rule.groups.iter().flat_map(|group| &group.matchers);
    let contents = matchers.filter_map(|matcher| match matcher {
        Matcher::Content(content) if !content.negated => Some(content),
        _ => None,
    });
    let longest = contents.max_by_key(|content| content.bytes.len())?;
    let escaped = longest
        .bytes
        .iter()
        .take(LITERAL_BYTES)
        .map(|byte| format!("\\x{byte:02x}"));
    let mut flags = PatternFlags::DOTALL;
    flags.set(PatternFlags::CASELESS, longest.nocase);
    Pattern::with_flags(escaped.collect::<String>(), flags).ok()
}
