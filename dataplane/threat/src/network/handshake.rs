//! The beginning of a TCP connection: who says what, and with which options.
//!
//! Trusts: directions. Distrusts: flags and options. Memory: a few marks a connection.

use weir_wire::tcp_flags::{ACK, FIN, RST, SYN};
use weir_wire::{Direction, Packet};

use crate::{Connection, Evidence, Found, Threat};

use super::scan::{self, Failure, Place};
use super::shared::Scene;
use super::{Watch, syn_flood};

/// The client's SYN was seen.
pub const CLIENT_SYN: u8 = 1;
/// The server's SYN+ACK was seen.
pub const SERVER_SYN: u8 = 2;
/// The client acknowledged it.
pub const FINISHED: u8 = 4;
/// Something was said.
pub const DATA: u8 = 8;
/// Its failure was counted.
pub const FAILED: u8 = 16;
/// It counts among its source's connections.
pub const COUNTED: u8 = 32;
/// The server answered (UDP).
pub const ANSWERED: u8 = 64;
/// Both ends scale their windows.
pub const SCALES: u8 = 128;

const SETTLED: u8 = FINISHED | DATA;
const OPTION_MSS: u8 = 2;
/// Fast Open (RFC 7413), and its experimental form with a magic number.
const OPTION_FAST_OPEN: u8 = 34;
const OPTIONS_EXPERIMENTAL: [u8; 2] = [253, 254];
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

/// The options of a SYN that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    mss: Option<u16>,
    fast_open: bool,
}

impl Options {
    fn of(packet: &Packet, frame: &[u8]) -> Self {
        const FIXED: usize = 20;
        let start = packet.transport_offset as usize + FIXED;
        let mut rest = frame
            .get(start..packet.payload_offset as usize)
            .unwrap_or(&[]);
        let mut options = Self::default();
        loop {
            rest = match rest {
                [1, rest @ ..] => rest,
                [0, ..] | [] | [_] => break,
                [kind, length, ..] => {
                    let Some((option, rest)) = rest.split_at_checked(usize::from(*length)) else {
                        break;
                    };
                    let Some(value) = option.get(2..) else { break };
                    options.take(*kind, value);
                    rest
                }
            };
        }
        options
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (OPTION_MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (OPTION_FAST_OPEN, _) => self.fast_open = true,
            (kind, value) if OPTIONS_EXPERIMENTAL.contains(&kind) => {
                self.fast_open |= value.starts_with(&FAST_OPEN_MAGIC);
            }
            _ => {}
        }
    }
}

/// A segment that would begin a connection.
pub fn arriving(scene: &Scene<'_>, packet: &Packet, frame: &[u8], found: &mut Found) {
    if packet.tcp.flags & SYN == 0 {
        return;
    }
    judge_options(scene, packet, frame, found);
    if packet.tcp.flags & (SYN | ACK | RST | FIN) == SYN {
        syn_flood::begun(scene, packet, found);
    }
}

fn judge_options(scene: &Scene<'_>, packet: &Packet, frame: &[u8], found: &mut Found) {
    let options = Options::of(packet, frame);
    let (source, destination) = (packet.source, packet.destination);
    if let Some(mss) = options.mss.filter(|&mss| mss < scene.settings().mss_min) {
        scene.tell(found, Threat::SmallMss, source, destination, || {
            Evidence::sign("maximum segment size")
                .counter("bytes", u64::from(mss))
                .counter("threshold", u64::from(scene.settings().mss_min))
        });
        found.shed(scene.config, Threat::SmallMss);
    }
    let payload = packet.payload(frame);
    let opens = packet.tcp.flags & (SYN | ACK | RST) == SYN;
    if opens && !payload.is_empty() && !options.fast_open {
        scene.tell(found, Threat::SynData, source, destination, || {
            Evidence::sign("data without fast open")
                .bytes(payload)
                .counter("bytes", payload.len() as u64)
        });
        found.shed(scene.config, Threat::SynData);
    }
}

/// Whether [`segment`] has nothing to do.
#[inline]
pub fn is_over(watch: &Watch, packet: &Packet) -> bool {
    packet.tcp.flags & (SYN | RST) == 0 && watch.marks & SETTLED == SETTLED
}

/// A segment of a connection.
#[inline]
pub fn segment(
    scene: &Scene<'_>,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    packet: &Packet,
    frame: &[u8],
    found: &mut Found,
) {
    if is_over(watch, packet) {
        return;
    }
    let flags = packet.tcp.flags & (SYN | RST);
    if packet.payload_end > packet.payload_offset && flags == 0 {
        watch.marks |= DATA;
    }
    if flags & RST != 0 {
        reset(scene, watch, connection, direction, found);
    } else if flags & SYN != 0 {
        synchronize(scene, watch, connection, direction, packet, frame, found);
    } else if direction == Direction::ToServer
        && packet.tcp.flags & ACK != 0
        && watch.marks & (SERVER_SYN | FINISHED) == SERVER_SYN
    {
        watch.marks |= FINISHED;
        syn_flood::finished(scene, connection.client, connection.server);
        scan::answered(scene, connection.client, place(connection));
    }
}

fn synchronize(
    scene: &Scene<'_>,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    packet: &Packet,
    frame: &[u8],
    found: &mut Found,
) {
    let answers = packet.tcp.flags & ACK != 0;
    match (direction, answers) {
        (Direction::ToServer, false) => {
            watch.marks |= CLIENT_SYN;
            watch.scale = packet.tcp.window_scale.unwrap_or(u8::MAX);
        }
        (Direction::ToClient, true) => {
            watch.marks |= SERVER_SYN;
            if packet.tcp.window_scale.is_some() && watch.scale != u8::MAX {
                watch.marks |= SCALES;
            }
            if connection.packets != [0, 1] {
                judge_options(scene, packet, frame, found);
            }
        }
        (Direction::ToClient, false) if watch.marks & (CLIENT_SYN | SERVER_SYN) == CLIENT_SYN => {
            let (client, server) = (connection.client, connection.server);
            scene.tell(found, Threat::SplitHandshake, client, server, || {
                Evidence::sign("a server's SYN without ACK")
                    .counter("port", connection.server_port.into())
            });
            found.shed(scene.config, Threat::SplitHandshake);
        }
        _ => {}
    }
}

fn reset(
    scene: &Scene<'_>,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    found: &mut Found,
) {
    let marks = watch.marks;
    if marks & FAILED != 0 {
        return;
    }
    let failure = match direction {
        // The answer to a SYN, or to a segment out of nowhere.
        Direction::ToClient if marks & CLIENT_SYN != 0 && marks & SERVER_SYN == 0 => {
            Failure::Refused
        }
        Direction::ToClient if !connection.from_start && connection.packets == [1, 1] => {
            Failure::Refused
        }
        Direction::ToServer if marks & SERVER_SYN != 0 && marks & DATA == 0 => Failure::GivenUp,
        _ => return,
    };
    watch.marks |= FAILED;
    scan::failed(scene, connection.client, place(connection), failure, found);
}

/// Where a connection leads.
pub fn place(connection: &Connection) -> Place {
    Place {
        address: connection.server,
        port: connection.server_port,
        protocol: connection.protocol,
    }
}
