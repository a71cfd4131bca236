//! Capture files as a source of frames with a clock of their own: pcap and pcapng.
//!
//! Link types: those of [`super::link`]. Any other link type is an error for the file. A capture that ends within a packet gives the
//! packets before it, and says so.
//!
//! Distrusts: every byte of the file. Memory: one buffer, which grows to 16 MiB for blocks of
//! pcapng that are no packets; a packet has at most 256 KiB.

use std::fs::File;
use std::path::Path;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, InterfaceDescriptionBlock, PcapBlockOwned, PcapError, PcapHeader};

use super::link::as_ethernet;

/// Longest packet; the longest that others write.
const PACKET_BYTES_MAX: usize = 256 << 10;
/// The buffer at first: a packet and more.
const BUFFER_BYTES: usize = 2 * PACKET_BYTES_MAX;
/// The buffer at most: pcapng carries names, secrets and comments in blocks of any length.
const BUFFER_BYTES_MAX: usize = 16 << 20;
/// The block that the enhanced packet block replaced; old files have it.
const PACKET_BLOCK: u32 = 2;

/// A packet of a capture.
#[derive(Debug)]
pub struct Captured {
    /// An Ethernet frame.
    pub frame: Vec<u8>,
    /// Since 1970, microseconds.
    pub time_us: u64,
}

/// Why a capture cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be opened.
    #[error("cannot open the capture {path}: {source}; check the path and its permissions")]
    Open {
        /// Its path.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is no capture, or damaged.
    #[error("{path}: packet {packet}: {why}; the packets before it were read")]
    Format {
        /// Its path.
        path: String,
        /// Which packet, counted from 1.
        packet: u64,
        /// What is wrong.
        why: String,
    },
    /// Its packets are not of a network that the path knows.
    #[error(
        "{path}: link type {link} is not Ethernet and not known to carry IP; convert the capture"
    )]
    Link {
        /// Its path.
        path: String,
        /// What it says (<https://www.tcpdump.org/linktypes.html>).
        link: u16,
    },
}

/// Where packets were captured: what is in front of them, and how their times count.
#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    ticks_per_second: u64,
    offset_s: i64,
}

/// A packet as the file has it.
struct Record<'a> {
    interface: Interface,
    /// Since 1970, microseconds.
    time_us: u64,
    data: &'a [u8],
}

/// What is known of the file's packets so far.
#[derive(Default)]
struct Context {
    /// Of pcap, the only one; of pcapng, those of the section.
    interfaces: Vec<Interface>,
    big_endian: bool,
}

/// A capture that is being read.
pub struct Replay {
    path: String,
    reader: Box<dyn PcapReaderIterator>,
    context: Context,
    packet: u64,
    last_time_us: u64,
    ended: bool,
}

impl Replay {
    /// Opens a capture.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|source| ReplayError::Open {
            path: name.clone(),
            source,
        })?;
        let reader = pcap_parser::create_reader(BUFFER_BYTES, file).map_err(|error| {
            ReplayError::Format {
                path: name.clone(),
                packet: 0,
                why: match error {
                    PcapError::Eof | PcapError::Incomplete(_) => {
                        "the file is too short to be a capture".into()
                    }
                    error => explain(&error),
                },
            }
        })?;
        Ok(Self {
            path: name,
            reader,
            context: Context::default(),
            packet: 0,
            last_time_us: 0,
            ended: false,
        })
    }

    /// The next packet; None at the end. After an error there is no next one.
    pub fn next_packet(&mut self) -> Option<Result<Captured, ReplayError>> {
        if self.ended {
            return None;
        }
        self.packet += 1;
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }

    /// Reads blocks until one is a packet.
    fn read(&mut self) -> Result<Option<Captured>, ReplayError> {
        loop {
            let (length, found) = match self.reader.next() {
                Ok((length, block)) => match self.context.read(&block) {
                    Ok(record) => (length, record.map(|record| record.captured())),
                    Err(why) => return Err(self.format(why)),
                },
                Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => {
                    self.read_more()?;
                    continue;
                }
                Err(error) => {
                    let why = explain(&error);
                    return match self.reader.data().is_empty() {
                        true => Ok(None),
                        false => Err(self.format(why)),
                    };
                }
            };
            self.reader.consume(length);
            if let Some(found) = found {
                return self.in_time(found).map(Some);
            }
        }
    }

    /// Packets without a time, and those that went back in time, count as simultaneous with the last.
    fn in_time(&mut self, found: Result<Captured, u16>) -> Result<Captured, ReplayError> {
        let captured = found.map_err(|link| ReplayError::Link {
            path: self.path.clone(),
            link,
        })?;
        self.last_time_us = self.last_time_us.max(captured.time_us);
        Ok(Captured {
            time_us: self.last_time_us,
            ..captured
        })
    }

    /// Reads on in the file. A buffer that is full grows once.
    fn read_more(&mut self) -> Result<(), ReplayError> {
        let before = self.reader.data().len();
        if let Err(error) = self.reader.refill() {
            let why = explain(&error);
            return Err(self.format(why));
        }
        let is_full = self.reader.data().len() == before && !self.reader.reader_exhausted();
        if is_full && !self.reader.grow(BUFFER_BYTES_MAX) {
            return Err(self.format("a block that is damaged, or longer than 16 MiB".into()));
        }
        Ok(())
    }

    fn format(&self, why: String) -> ReplayError {
        ReplayError::Format {
            path: self.path.clone(),
            packet: self.packet,
            why,
        }
    }
}

impl Context {
    /// The packet in a block; None where it has none.
    fn read<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Result<Option<Record<'a>>, String> {
        let record = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.interfaces = vec![Interface::of_pcap(header)];
                return Ok(None);
            }
            PcapBlockOwned::Legacy(packet) => {
                let interface = self.interface(0)?;
                let fraction = u64::from(packet.ts_usec) * 1_000_000 / interface.ticks_per_second;
                Record {
                    interface,
                    time_us: u64::from(packet.ts_sec) * 1_000_000 + fraction,
                    data: packet.data,
                }
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                self.big_endian = section.big_endian();
                self.interfaces.clear();
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
                self.interfaces.push(Interface::of_pcapng(described));
                return Ok(None);
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.at(packet.if_id, ticks, packet.packet_data())?
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                self.at(0, 0, packet.packet_data())?
            }
            PcapBlockOwned::NG(Block::Unknown(unknown)) if self.is_packet(unknown.block_type) => {
                self.old_packet(unknown.data)?
            }
            PcapBlockOwned::NG(_) => return Ok(None),
        };
        if record.data.len() > PACKET_BYTES_MAX {
            return Err(format!(
                "it is {} bytes long, more than the {PACKET_BYTES_MAX} that a packet may have",
                record.data.len()
            ));
        }
        Ok(Some(record))
    }

    fn interface(&self, index: u32) -> Result<Interface, String> {
        self.interfaces
            .get(index as usize)
            .copied()
            .ok_or_else(|| format!("interface {index} is not described"))
    }

    fn at<'a>(&self, interface: u32, ticks: u64, data: &'a [u8]) -> Result<Record<'a>, String> {
        let interface = self.interface(interface)?;
        Ok(Record {
            interface,
            time_us: interface.time_us(ticks),
            data,
        })
    }

    fn is_packet(&self, block_type: u32) -> bool {
        match self.big_endian {
            true => block_type.swap_bytes() == PACKET_BLOCK,
            false => block_type == PACKET_BLOCK,
        }
    }

    /// Interface (16 bits), drops (16), time (64), captured and original length (32 each), packet.
    fn old_packet<'a>(&self, body: &'a [u8]) -> Result<Record<'a>, String> {
        let cut = || "a packet block that ends too early".to_owned();
        let word = |at: usize| {
            let bytes = body.get(at..at + 4).and_then(|word| word.try_into().ok());
            let word = bytes.ok_or_else(cut)?;
            Ok::<u32, String>(match self.big_endian {
                true => u32::from_be_bytes(word),
                false => u32::from_le_bytes(word),
            })
        };
        let interface = match self.big_endian {
            true => word(0)? >> 16,
            false => word(0)? & 0xffff,
        };
        let ticks = u64::from(word(4)?) << 32 | u64::from(word(8)?);
        let length = word(12)? as usize;
        let data = body.get(20..).and_then(|data| data.get(..length));
        self.at(interface, ticks, data.ok_or_else(cut)?)
    }
}

impl Interface {
    fn of_pcap(header: &PcapHeader) -> Self {
        Self {
            // The upper bits tell of frame check sequences, which decode takes for padding.
            link: header.network.0 as u16,
            ticks_per_second: match header.is_nanosecond_precision() {
                true => 1_000_000_000,
                false => 1_000_000,
            },
            offset_s: 0,
        }
    }

    fn of_pcapng(described: &InterfaceDescriptionBlock<'_>) -> Self {
        // The upper bit tells a power of two from a power of ten.
        let exponent = u32::from(described.if_tsresol & 0x7f);
        let base: u64 = if described.if_tsresol & 0x80 == 0 {
            10
        } else {
            2
        };
        Self {
            link: described.linktype.0 as u16,
            ticks_per_second: base.checked_pow(exponent).unwrap_or(u64::MAX),
            offset_s: described.if_tsoffset,
        }
    }

    /// Microseconds since 1970.
    fn time_us(&self, ticks: u64) -> u64 {
        let since = u128::from(ticks) * 1_000_000 / u128::from(self.ticks_per_second);
        u64::try_from(since)
            .unwrap_or(u64::MAX)
            .saturating_add_signed(self.offset_s.saturating_mul(1_000_000))
    }
}

impl Record<'_> {
    /// As an Ethernet frame; the link type where that is not known.
    fn captured(&self) -> Result<Captured, u16> {
        let link = self.interface.link;
        Ok(Captured {
            frame: as_ethernet(link, self.data).ok_or(link)?,
            time_us: self.time_us,
        })
    }
}

fn explain(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::UnexpectedEof => "the capture ends within it".into(),
        PcapError::HeaderNotRecognized => "the file is no capture (pcap or pcapng)".into(),
        PcapError::ReadError => "the file cannot be read on".into(),
        _ => "the block that should hold it is damaged".into(),
    }
}
