//! The packets that raised alerts, as pcapng: for whoever wants to see what an alert is about.
//!
//! Bounds: two files of half the configured size; the older one makes way. Each packet's comment names its
//! flow as `flow_id` of the events does.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use tracing::warn;

use crate::event::EvidencePacket;

/// Bytes of a block around a packet and its comment.
const BLOCK_BYTES: u64 = 96;

/// Writes packets to `evidence.pcapng` of a directory, and keeps one file before it.
pub struct EvidenceFiles {
    directory: PathBuf,
    file_bytes_max: u64,
    file_bytes: u64,
    writer: Option<PcapNgWriter<BufWriter<File>>>,
}

impl EvidenceFiles {
    /// For files in this directory, together up to `mb` MiB. The first packet makes the file.
    pub fn new(directory: &Path, mb: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            file_bytes_max: (mb << 20) / 2,
            file_bytes: 0,
            writer: None,
        }
    }

    /// Appends a packet; what cannot be written is told once a file.
    pub fn write(&mut self, packet: &EvidencePacket, unix_us: u64) {
        if let Err(why) = self.append(packet, unix_us) {
            warn!(%why, directory = %self.directory.display(), "packets of alerts cannot be written; check the directory and its free space");
            self.writer = None;
            self.file_bytes = 0;
        }
    }

    /// Lets readers see what was written.
    pub fn flush(&mut self) {
        use std::io::Write;
        if let Some(writer) = &mut self.writer {
            let _ = writer.get_mut().flush();
        }
    }

    fn append(&mut self, packet: &EvidencePacket, unix_us: u64) -> anyhow::Result<()> {
        if self.file_bytes >= self.file_bytes_max {
            self.writer = None;
        }
        if self.writer.is_none() {
            self.writer = Some(self.next_file()?);
            self.file_bytes = 0;
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let comment = format!("flow_id {}", packet.flow);
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_micros(unix_us),
            original_len: packet.frame_bytes,
            data: Cow::Borrowed(&packet.bytes),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        })?;
        self.file_bytes += packet.bytes.len() as u64 + BLOCK_BYTES;
        Ok(())
    }

    fn next_file(&self) -> anyhow::Result<PcapNgWriter<BufWriter<File>>> {
        std::fs::create_dir_all(&self.directory)?;
        let path = self.directory.join("evidence.pcapng");
        if path.exists() {
            std::fs::rename(&path, self.directory.join("evidence.1.pcapng"))?;
        }
        let mut writer = PcapNgWriter::new(BufWriter::new(File::create(path)?))?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: u32::try_from(crate::event::EVIDENCE_BYTES).unwrap_or(u32::MAX),
            // The crate writes times in nanoseconds, and leaves it to us to say so.
            options: vec![InterfaceDescriptionOption::IfTsResol(9)],
        })?;
        Ok(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::replay::Replay;

    fn packet(flow: u64) -> EvidencePacket {
        EvidencePacket {
            time_us: 0,
            flow,
            frame_bytes: 1_000,
            bytes: std::iter::repeat_n(7, 1_000).collect(),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = EvidenceFiles::new(directory.path(), 1);
        files.write(&packet(3), 1_700_000_000_000_001);
        files.flush();
        let mut replay = Replay::open(&directory.path().join("evidence.pcapng")).unwrap();
        let read = replay.next_packet().unwrap().unwrap();
        assert_eq!(read.time_us, 1_700_000_000_000_001);
        assert_eq!(read.frame, vec![7; 1_000]);
    }

    #[test]
    fn files_stay_within_their_size() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = EvidenceFiles::new(directory.path(), 1);
        for flow in 0..5_000 {
            files.write(&packet(flow), flow);
        }
        files.flush();
        let sizes: Vec<u64> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().sum::<u64>() <= 1 << 20, "{sizes:?}");
    }
}
