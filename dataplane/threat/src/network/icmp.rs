//! ICMP: messages too long, to everybody, and those that carry another conversation.
//!
//! Trusts: that requests and replies with one identifier are one flow. Distrusts: types, sequence numbers and
//! contents. Memory: [`Echo`], 20 bytes a flow.
//!
//! An echo reply returns what its request held (RFC 792), and a ping's requests differ only in their first 16
//! bytes, where the time stands. Tunnels (ptunnel, icmptunnel, hans, icmpsh) cannot keep to that: their
//! replies differ from the requests, come without one, or the content changes from request to request.

use weir_wire::{Packet, protocol};

use crate::{Connection, Evidence, Found, Threat};

use super::key::{is_group, v4};
use super::shared::Scene;

/// What is remembered of an echo flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// Of the last request's content.
    asked_hash: u32,
    /// Of what follows its time.
    tail_hash: u32,
    sequence: u16,
    length: u16,
    asked: u16,
    replied: u16,
    points: u8,
    changes: u8,
}

/// Bytes of a ping in which its time stands.
const TIME_BYTES: usize = 16;
/// Bytes of a message that are hashed at most.
const HASHED_BYTES: usize = 2048;
/// Replies that are later than this belong to no request that is remembered.
const LATE: u16 = 1024;

/// The first ten bits of fe80::/10.
const LINK_LOCAL: u128 = 0xfe80 >> 6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Reply,
    /// A query or reply of fixed length.
    Fixed(usize),
    Other,
}

fn message(packet: &Packet) -> Message {
    match (packet.protocol, packet.source_port >> 8) {
        (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => Message::Request,
        (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => Message::Reply,
        // Timestamp, information, address mask: bytes behind the first eight.
        (protocol::ICMP, 13 | 14) => Message::Fixed(12),
        (protocol::ICMP, 15 | 16) => Message::Fixed(0),
        (protocol::ICMP, 17 | 18) => Message::Fixed(4),
        _ => Message::Other,
    }
}

/// A message that would begin a flow.
pub fn arriving(scene: &Scene<'_>, packet: &Packet, frame: &[u8], found: &mut Found) {
    // A link-local sender's answers go no farther than its link: people look for their neighbours so.
    let to_all = is_group(packet.destination) && packet.source >> 118 != LINK_LOCAL
        || is_broadcast(packet.destination, frame);
    if to_all && message(packet) == Message::Request {
        scene.tell(
            found,
            Threat::Smurf,
            packet.source,
            packet.destination,
            || Evidence::sign("echo request to everybody"),
        );
        found.shed(scene.config, Threat::Smurf);
    }
}

/// A network's last address, as far as that can be told without its mask: what may be one, in a frame to everybody.
/// (Servers of DHCP ask in such frames whether an address is free, and in wide networks a host may end in 255.)
fn is_broadcast(address: u128, frame: &[u8]) -> bool {
    let to_all = frame.first_chunk() == Some(&[0xff; 6]);
    to_all && v4(address).is_some_and(|address| address & 7 == 7)
}

/// Any message.
pub fn length(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    let length = packet.payload_end - packet.payload_offset;
    if length > scene.settings().icmp_max_bytes {
        scene.tell(
            found,
            Threat::PingOfDeath,
            packet.source,
            packet.destination,
            || {
                Evidence::sign("message too long")
                    .counter("bytes", u64::from(length))
                    .counter("threshold", u64::from(scene.settings().icmp_max_bytes))
            },
        );
        found.shed(scene.config, Threat::PingOfDeath);
    }
}

/// Whether the message asks, or answers nothing that was asked on its flow.
pub fn is_unasked(echo: &Echo, packet: &Packet) -> bool {
    message(packet) != Message::Reply || echo.asked == 0
}

/// A message of a flow: does it carry something?
pub fn follow(
    scene: &Scene<'_>,
    echo: &mut Echo,
    connection: &Connection,
    packet: &Packet,
    frame: &[u8],
    found: &mut Found,
) {
    let kind = message(packet);
    let content = packet.payload(frame);
    let sequence = match frame.get(packet.transport_offset as usize + 6..) {
        Some([high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => return,
    };
    let mut sign = "answers that differ";
    let points = match kind {
        Message::Request => {
            echo.ask(content, sequence);
            0
        }
        Message::Reply if echo.asked == 0 => {
            echo.note_change(content);
            0
        }
        Message::Reply => echo.answer(content, sequence),
        Message::Fixed(length) if content.len() > length => {
            sign = "data where there is none";
            2
        }
        Message::Fixed(_) | Message::Other => return,
    };
    let points = if holds_packet(content) {
        sign = "a packet within";
        points + 6
    } else {
        points
    };
    echo.points = echo.points.saturating_add(points);
    let settings = scene.settings();
    if echo.changes >= settings.icmp_changes {
        sign = "contents that change";
    } else if echo.points < settings.icmp_tunnel_points {
        return;
    }
    let (points, changes) = (echo.points, echo.changes);
    (echo.points, echo.changes) = (0, 0);
    scene.tell(
        found,
        Threat::IcmpTunnel,
        connection.client,
        connection.server,
        || {
            Evidence::sign(sign)
                .bytes(content)
                .counter("points", u64::from(points))
                .counter("changes", u64::from(changes))
                .counter("requests", u64::from(echo.asked))
                .counter("replies", u64::from(echo.replied))
        },
    );
    found.shed(scene.config, Threat::IcmpTunnel);
}

impl Echo {
    /// Whether it ever asked.
    pub fn asks(&self) -> bool {
        self.asked > 0
    }

    fn ask(&mut self, content: &[u8], sequence: u16) {
        self.note_change(content);
        self.asked_hash = hash(content);
        self.sequence = sequence;
        self.asked = self.asked.saturating_add(1);
    }

    /// The content but for its time, against the message before of the same length. One byte repeated is
    /// a filling, which may differ.
    fn note_change(&mut self, content: &[u8]) {
        let length = content.len().min(usize::from(u16::MAX)) as u16;
        let tail = content.get(TIME_BYTES..).unwrap_or(&[]);
        let is_filling = tail.iter().all(|byte| Some(byte) == tail.first());
        let tail_hash = hash(tail);
        let seen = self.length != 0;
        if seen && self.length == length && self.tail_hash != tail_hash && !is_filling {
            self.changes = self.changes.saturating_add(1);
        }
        (self.length, self.tail_hash) = (length, tail_hash);
    }

    /// Points for a reply.
    fn answer(&mut self, content: &[u8], sequence: u16) -> u8 {
        self.replied = self.replied.saturating_add(1);
        let behind = self.sequence.wrapping_sub(sequence);
        match behind {
            // Some hosts cut what they return.
            0 if content.len() < usize::from(self.length) => 0,
            0 => 2 * u8::from(hash(content) != self.asked_hash),
            // Late, or twice: some are, never most.
            behind if behind <= LATE => u8::from(self.replied / 2 > self.asked.saturating_add(2)),
            _ => 2,
        }
    }
}

/// A whole IP packet, to the byte.
fn holds_packet(content: &[u8]) -> bool {
    let word = |at: usize| match content.get(at..at + 2) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    };
    let carried = |number: u8| {
        matches!(
            number,
            protocol::ICMP | protocol::TCP | protocol::UDP | protocol::ICMPV6
        )
    };
    match content.first() {
        Some(0x45..=0x4f) if content.len() >= 20 => word(2) == content.len() && carried(content[9]),
        Some(0x60..=0x6f) if content.len() >= 40 => {
            word(4) + 40 == content.len() && carried(content[6])
        }
        _ => false,
    }
}

/// Tells contents apart; whoever makes two that are equal here has gained nothing.
fn hash(content: &[u8]) -> u32 {
    let content = &content[..content.len().min(HASHED_BYTES)];
    let (words, rest) = content.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mixed = words
        .iter()
        .chain([&last])
        .fold(content.len() as u64, |mixed, word| {
            (mixed.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
    (mixed >> 32) as u32
}
