//! A load as a capture file: pcap, microseconds, Ethernet. Memory: one frame.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use pcap_file::pcap::{PcapPacket, PcapWriter};

use crate::load::Load;

/// When every capture begins, so that it is the same whenever it is made: 22 November 2026.
const BEGINS: Duration = Duration::from_secs(1_795_305_600);

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// Writes so many packets of a load, as many a second by their times.
pub fn write(
    load: &mut dyn Load,
    packets: u64,
    packets_per_second: u64,
    path: &Path,
) -> Result<Written> {
    let cannot = || {
        format!(
            "cannot write the capture {}: check the folder and its room",
            path.display()
        )
    };
    let file = File::create(path).with_context(cannot)?;
    let mut writer =
        PcapWriter::new(BufWriter::with_capacity(1 << 20, file)).with_context(cannot)?;
    let mut frame = Vec::new();
    let mut written = Written::default();
    for number in 0..packets {
        load.next(&mut frame);
        let after =
            Duration::from_nanos(number.saturating_mul(1_000_000_000) / packets_per_second.max(1));
        let packet = PcapPacket {
            timestamp: BEGINS + after,
            orig_len: frame.len() as u32,
            data: Cow::Borrowed(&frame),
        };
        writer.write_packet(&packet).with_context(cannot)?;
        written.packets += 1;
        written.bytes += frame.len() as u64;
    }
    std::io::Write::flush(&mut writer.into_writer()).with_context(cannot)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Packets, Shape, open};
    use weir_node::io::replay::Replay;

    #[test]
    fn a_capture_has_the_frames_of_its_load_in_time() {
        let path =
            std::env::temp_dir().join(format!("weir-perf-capture-{}.pcap", std::process::id()));
        let made = || open("churn", &Shape::default()).unwrap();
        let written = write(&mut *made(), 100, 1_000_000, &path).unwrap();
        let mut replay = Replay::open(&path).unwrap();
        for (number, (_, frame)) in Packets(made()).take(100).enumerate() {
            let captured = replay.next_packet().unwrap().unwrap();
            assert_eq!(captured.frame, frame);
            assert_eq!(captured.time_us, BEGINS.as_micros() as u64 + number as u64);
        }
        assert!(replay.next_packet().is_none());
        assert_eq!(written.packets, 100);
        std::fs::remove_file(path).unwrap();
    }
}
