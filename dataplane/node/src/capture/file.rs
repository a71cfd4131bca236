//! One capture as a file: pcapng (draft-ietf-opsawg-pcapng), an interface for each port, times in
//! nanoseconds. The section's comment says whose capture it is and why, each packet's which flow it
//! belongs to and what became of it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness, PcapError};

use super::Copied;

/// The longest comment.
const COMMENT_BYTES_MAX: usize = 4_096;

/// A file that is being written.
pub struct CaptureFile {
    writer: PcapNgWriter<BufWriter<File>>,
    /// Bytes of it so far.
    pub bytes: u64,
}

impl CaptureFile {
    /// Begins a file.
    pub fn begin(
        file: File,
        mut comment: String,
        ports: &[String],
        snap_bytes: usize,
    ) -> Result<Self, String> {
        comment.truncate(comment.floor_char_boundary(COMMENT_BYTES_MAX));
        let software = concat!("weir-node ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![
                SectionHeaderOption::Comment(Cow::Owned(comment)),
                SectionHeaderOption::OS(Cow::Borrowed(std::env::consts::OS)),
                SectionHeaderOption::UserApplication(Cow::Borrowed(software)),
            ],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(BufWriter::new(file), section);
        let mut begun = Self {
            writer: writer.map_err(told)?,
            bytes: 128,
        };
        for port in ports {
            let written = begun.writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: u32::try_from(snap_bytes).unwrap_or(u32::MAX),
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(port)),
                    InterfaceDescriptionOption::IfTsResol(9),
                ],
            });
            begun.bytes += written.map_err(told)? as u64;
        }
        begun.flush()?;
        Ok(begun)
    }

    /// Appends a packet.
    pub fn write(&mut self, packet: &Copied, unix: Duration) -> Result<(), String> {
        let comment = match packet.flow {
            0 => packet.outcome.to_string(),
            flow => format!("flow {flow}, {}", packet.outcome),
        };
        let written = self.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: packet.port.into(),
            timestamp: unix,
            original_len: packet.frame_bytes,
            data: Cow::Borrowed(&packet.bytes),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        });
        self.bytes += written.map_err(told)? as u64;
        Ok(())
    }

    /// Lets readers see what was written.
    pub fn flush(&mut self) -> Result<(), String> {
        let flushed = self.writer.get_mut().flush();
        flushed.map_err(|error| error.to_string())
    }
}

fn told(error: PcapError) -> String {
    match error {
        PcapError::IoError(error) => error.to_string(),
        other => other.to_string(),
    }
}
