//! Capture files as a source of frames with a clock of their own: pcap and pcapng.
//!
//! Link types: Ethernet; raw IP, Linux cooked (v1, v2) and BSD loopback are given an Ethernet header
//! so that the path sees what a wire would have carried. Any other link type is an error for the
//! file. A capture that ends within a packet gives the packets before it, and says so.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// First bytes of a pcapng file: the type of its section header block.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

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
        "{path}: link type {link:?} is not Ethernet, raw IP, Linux cooked or BSD loopback; convert the capture"
    )]
    Link {
        /// Its path.
        path: String,
        /// What it says.
        link: DataLink,
    },
}

enum Reader {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg(PcapNgReader<BufReader<File>>),
}

/// A capture that is being read.
pub struct Replay {
    path: String,
    reader: Reader,
    packet: u64,
    last_time_us: u64,
}

impl Replay {
    /// Opens a capture.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let name = path.display().to_string();
        let open = |source| ReplayError::Open {
            path: name.clone(),
            source,
        };
        let mut file = File::open(path).map_err(open)?;
        let mut magic = [0; 4];
        let read = file.read(&mut magic).map_err(open)?;
        file.seek(SeekFrom::Start(0)).map_err(open)?;
        let format = |why: String| ReplayError::Format {
            path: name.clone(),
            packet: 0,
            why,
        };
        if read < magic.len() {
            return Err(format("the file is too short to be a capture".into()));
        }
        let file = BufReader::new(file);
        let reader = if magic == PCAPNG_MAGIC {
            Reader::PcapNg(PcapNgReader::new(file).map_err(|error| format(error.to_string()))?)
        } else {
            Reader::Pcap(PcapReader::new(file).map_err(|error| format(error.to_string()))?)
        };
        Ok(Self {
            path: name,
            reader,
            packet: 0,
            last_time_us: 0,
        })
    }

    /// The next packet; None at the end. After an error there is no next one.
    pub fn next_packet(&mut self) -> Option<Result<Captured, ReplayError>> {
        self.packet += 1;
        let read = match &mut self.reader {
            Reader::Pcap(reader) => {
                let link = reader.header().datalink;
                reader.next_packet().map(|packet| {
                    packet
                        .map(|packet| (link, packet.data.into_owned(), Some(packet.timestamp)))
                        .map_err(|error| error.to_string())
                })
            }
            Reader::PcapNg(reader) => next_of_pcapng(reader),
        };
        let (link, bytes, time) = match read? {
            Ok(packet) => packet,
            Err(why) => {
                return Some(Err(ReplayError::Format {
                    path: self.path.clone(),
                    packet: self.packet,
                    why,
                }));
            }
        };
        let Some(frame) = as_ethernet(link, bytes) else {
            return Some(Err(ReplayError::Link {
                path: self.path.clone(),
                link,
            }));
        };
        // Packets without a time, and those that went back in time, count as simultaneous with the last.
        let time_us = time
            .and_then(|time| u64::try_from(time.as_micros()).ok())
            .unwrap_or(0)
            .max(self.last_time_us);
        self.last_time_us = time_us;
        Some(Ok(Captured { frame, time_us }))
    }
}

type PacketRead = Result<(DataLink, Vec<u8>, Option<Duration>), String>;

fn next_of_pcapng(reader: &mut PcapNgReader<BufReader<File>>) -> Option<PacketRead> {
    loop {
        let (interface, data, time) = match reader.next_block()? {
            Ok(Block::EnhancedPacket(packet)) => (
                packet.interface_id,
                packet.data.into_owned(),
                Some(packet.timestamp),
            ),
            Ok(Block::SimplePacket(packet)) => (0, packet.data.into_owned(), None),
            Ok(Block::Packet(packet)) => {
                let ticks = packet.timestamp;
                (
                    u32::from(packet.interface_id),
                    packet.data.into_owned(),
                    Some(Duration::from_micros(ticks)),
                )
            }
            Ok(_) => continue,
            Err(error) => return Some(Err(error.to_string())),
        };
        let Some(description) = reader.interfaces().get(interface as usize) else {
            return Some(Err(format!("interface {interface} is not described")));
        };
        return Some(Ok((description.linktype, data, time)));
    }
}

/// The packet behind an Ethernet header. None for a link type that is not known.
fn as_ethernet(link: DataLink, bytes: Vec<u8>) -> Option<Vec<u8>> {
    match link {
        DataLink::ETHERNET => Some(bytes),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 | DataLink::Unknown(12 | 14) => {
            Some(behind_header(&bytes, 0))
        }
        DataLink::NULL | DataLink::LOOP => Some(behind_header(&bytes, 4)),
        DataLink::LINUX_SLL => Some(with_ether_type(&bytes, 14, 16)),
        DataLink::LINUX_SLL2 => Some(with_ether_type(&bytes, 0, 20)),
        _ => None,
    }
}

/// An IP packet behind `skip` bytes: its version nibble gives the EtherType.
fn behind_header(bytes: &[u8], skip: usize) -> Vec<u8> {
    let packet = bytes.get(skip..).unwrap_or_default();
    let ether_type: u16 = if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        0x86dd
    } else {
        0x0800
    };
    ethernet(ether_type.to_be_bytes(), packet)
}

/// A packet behind a header of `length` bytes that has the EtherType at `at`.
fn with_ether_type(bytes: &[u8], at: usize, length: usize) -> Vec<u8> {
    let ether_type = bytes
        .get(at..at + 2)
        .map_or([0, 0], |pair| [pair[0], pair[1]]);
    ethernet(ether_type, bytes.get(length..).unwrap_or_default())
}

fn ethernet(ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + packet.len());
    frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    frame.extend(ether_type);
    frame.extend(packet);
    frame
}
