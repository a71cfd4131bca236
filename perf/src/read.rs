//! `weir-perf read FILE`: what reading a capture costs and nothing else. Every program that takes captures does this
//! too; what it costs beyond is its own.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, ErrorKind, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use weir_perf::engine::thread_ns;

/// Longest packet.
const PACKET_BYTES_MAX: usize = 256 << 10;

/// A capture in the form of pcap, in the byte order of this machine.
#[derive(Args)]
pub struct ReadArguments {
    /// The file.
    file: PathBuf,
}

/// Prints one line of JSON: packets, bytes, nanoseconds a packet.
pub fn run(arguments: &ReadArguments) -> Result<()> {
    let shown = arguments.file.display();
    let file = File::open(&arguments.file).with_context(|| format!("cannot open {shown}"))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut head = [0; 24];
    reader
        .read_exact(&mut head)
        .with_context(|| format!("{shown} is too short to be a capture"))?;
    let magic = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
    ensure!(
        [0xa1b2_c3d4, 0xa1b2_3c4d].contains(&magic),
        "{shown} is no pcap of this machine's byte order"
    );
    let (mut packets, mut bytes, mut seen) = (0_u64, 0_u64, 0_u64);
    let mut frame = vec![0; PACKET_BYTES_MAX];
    let begun = thread_ns();
    loop {
        let mut record = [0; 16];
        match reader.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).with_context(|| format!("{shown}, packet {packets}")),
        }
        let length = u32::from_ne_bytes([record[8], record[9], record[10], record[11]]) as usize;
        let frame = frame
            .get_mut(..length)
            .with_context(|| format!("{shown}: packet {packets} has {length} bytes"))?;
        reader
            .read_exact(frame)
            .with_context(|| format!("{shown} ends within packet {packets}"))?;
        seen += u64::from(frame.get(12).copied().unwrap_or(0));
        packets += 1;
        bytes += length as u64;
    }
    black_box(seen);
    let ns = thread_ns() - begun;
    println!(
        "{}",
        json!({"packets": packets, "bytes": bytes, "reading_ns": ns as f64 / packets.max(1) as f64})
    );
    Ok(())
}
