//! OpenVPN: how a tunnel begins, over UDP and TCP (OpenVPN Wire Protocol, draft-openvpn-wire-protocol).
//!
//! Trusts nothing. Distrusts: the opcode alone: recognised is the first packet of either side,
//! whose size and fields are fixed: plain, with tls-auth (of any digest in use), or with tls-crypt.
//! All that follows is wrapped TLS; a direction is done where its data begins. Violations, on
//! streams only: no opcode. Memory: none.

use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Blocks, ByteSet, Event, EventKind, EventSink, Field, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

const RESET_CLIENT_1: u8 = 1;
const RESET_SERVER_1: u8 = 2;
const DATA_1: u8 = 6;
const RESET_CLIENT_2: u8 = 7;
const RESET_SERVER_2: u8 = 8;
const DATA_2: u8 = 9;
const RESET_CLIENT_3: u8 = 10;
const OPCODES: std::ops::RangeInclusive<u8> = 1..=11;

/// Digests of tls-auth in use: none, MD5, SHA-1, SHA-256, SHA-384, SHA-512.
const DIGEST_BYTES: [usize; 6] = [0, 16, 20, 32, 48, 64];
/// tls-crypt: its digest.
const TAG_BYTES: usize = 32;
const FRONT_BYTES: usize = 9;
const REPLAY_BYTES: usize = 8;
/// How many packets an acknowledgement names.
const ACKNOWLEDGED_MAX: u8 = 8;
/// The first packet of a side, and how often it may have been sent again.
const FIRST_PACKETS: std::ops::RangeInclusive<u32> = 1..=64;
/// The upper half of the number of a packet that asks for an early negotiation of cookies.
const EARLY: [u32; 2] = [0x0f00, 0x0a01];
/// Times before this one: 2001.
const TIME_MIN: u32 = 1_000_000_000;
/// Behind the server's first packet: what it tells of itself (version 2.6).
const EARLY_BYTES_MAX: usize = 16;
/// The wrapped key of tls-crypt-v2, with its length.
const WRAPPED_BYTES: std::ops::RangeInclusive<usize> = 290..=1_024;
const PACKET_BYTES_MIN: usize = 14;
const PACKET_BYTES_MAX: usize = 2_048;
const LENGTH_BYTES: usize = 2;

const MESSAGE: u8 = 0;
const PROTECTION: u8 = 1;
const SESSION: u8 = 2;
const KEY: u8 = 3;

/// The parser.
#[derive(Default)]
pub struct Openvpn {
    stream: bool,
}

/// The first packet of a side.
struct Reset {
    protection: &'static str,
    session: u64,
}

impl Application for Openvpn {
    const NAME: &'static str = "openvpn";
    const ABOUT: &'static str = "OpenVPN tunnels, how they begin (OpenVPN Wire Protocol)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[1194];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::text(
            "message",
            "client reset or server reset, of version 1, 2 or 3",
        ),
        FieldSpec::text("protection", "none, tls-auth or tls-crypt"),
        FieldSpec::number("session", "Session id of the sender"),
        FieldSpec::number("key", "Key id: 0 of a new tunnel"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[
            RESET_CLIENT_1 << 3,
            RESET_CLIENT_2 << 3,
            RESET_CLIENT_3 << 3,
        ])
        .and_range(0, (PACKET_BYTES_MAX >> 8) as u8),
        to_client: ByteSet::of(&[RESET_SERVER_1 << 3, RESET_SERVER_2 << 3])
            .and_range(0, (PACKET_BYTES_MAX >> 8) as u8),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let stream = input.transport == Transport::Tcp;
        let client = probe_side(input.to_server, stream, Direction::ToServer);
        let server = probe_side(input.to_client, stream, Direction::ToClient);
        match (client, server) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (packet, whole) = match self.stream {
            false => (input, input.len()),
            true => match framed(input) {
                Some(packet) => (packet, LENGTH_BYTES + packet.len()),
                None if input.len() < LENGTH_BYTES + 1 => return Step::Incomplete,
                None => (input.get(LENGTH_BYTES..).unwrap_or_default(), 0),
            },
        };
        let first = packet.first().copied().unwrap_or_default();
        let opcode = first >> 3;
        if !OPCODES.contains(&opcode) {
            return match self.stream {
                true => Step::Violation("openvpn: no opcode"),
                false => Step::Consumed(input.len()),
            };
        }
        if matches!(opcode, DATA_1 | DATA_2) {
            return Step::Done;
        }
        if whole == 0 {
            return Step::Incomplete;
        }
        if let Some(reset) = Reset::read(packet, direction) {
            reset.tell(first, sink);
        }
        Step::Consumed(whole)
    }
}

/// The packet behind its length, when it is all there.
fn framed(input: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = input.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(length));
    rest.get(..length).filter(|packet| !packet.is_empty())
}

fn probe_side(input: &[u8], stream: bool, direction: Direction) -> Probe {
    if input.is_empty() {
        return Probe::Unsure;
    }
    if !stream {
        return match Reset::read(input, direction) {
            Some(_) => Probe::Certain,
            None => Probe::NotMine,
        };
    }
    if let Some(packet) = framed(input) {
        return match Reset::read(packet, direction) {
            Some(_) => Probe::Certain,
            None => Probe::NotMine,
        };
    }
    let length = input.first_chunk().copied().map(u16::from_be_bytes);
    let length = length.map_or(PACKET_BYTES_MIN, usize::from);
    let sound = input
        .first()
        .is_some_and(|&high| usize::from(high) <= PACKET_BYTES_MAX >> 8)
        && (PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&length)
        && input
            .get(LENGTH_BYTES)
            .is_none_or(|&first| is_reset(first, direction));
    if sound { Probe::Unsure } else { Probe::NotMine }
}

/// A first packet has the first key.
fn is_reset(first: u8, direction: Direction) -> bool {
    let opcodes: &[u8] = match direction {
        Direction::ToServer => &[RESET_CLIENT_1, RESET_CLIENT_2, RESET_CLIENT_3],
        Direction::ToClient => &[RESET_SERVER_1, RESET_SERVER_2],
    };
    first & 7 == 0 && opcodes.contains(&(first >> 3))
}

impl Reset {
    fn read(packet: &[u8], direction: Direction) -> Option<Self> {
        let mut cursor = Cursor::new(packet);
        let first = cursor.u8()?;
        let session = cursor.array().map(u64::from_be_bytes)?;
        if !is_reset(first, direction) || session == 0 {
            return None;
        }
        let server = direction == Direction::ToClient;
        for digest_bytes in DIGEST_BYTES {
            if is_plain(packet, digest_bytes, server) == Some(true) {
                return Some(Self {
                    protection: if digest_bytes == 0 {
                        "none"
                    } else {
                        "tls-auth"
                    },
                    session,
                });
            }
        }
        is_encrypted(packet, first >> 3, server).then_some(Self {
            protection: "tls-crypt",
            session,
        })
    }

    fn tell(&self, first: u8, sink: &mut dyn EventSink) {
        let (kind, message) = match first >> 3 {
            RESET_CLIENT_1 => (EventKind::Request, "client reset 1"),
            RESET_CLIENT_2 => (EventKind::Request, "client reset 2"),
            RESET_CLIENT_3 => (EventKind::Request, "client reset 3"),
            RESET_SERVER_1 => (EventKind::Response, "server reset 1"),
            _ => (EventKind::Response, "server reset 2"),
        };
        let fields = [
            Field::name(MESSAGE, message),
            Field::name(PROTECTION, self.protection),
            Field::number(SESSION, self.session),
            Field::number(KEY, (first & 7).into()),
        ];
        sink.event(&Event {
            kind,
            fields: &fields,
        });
    }
}

/// In the clear, behind a digest of this size: acknowledgements, and the number of the packet, which
/// is the first.
fn is_plain(packet: &[u8], digest_bytes: usize, server: bool) -> Option<bool> {
    let mut cursor = Cursor::new(packet.get(FRONT_BYTES..)?);
    if digest_bytes > 0 {
        cursor.take(digest_bytes)?;
        if !is_first(&mut cursor)? {
            return None;
        }
    }
    let count = cursor.u8()?;
    if count > if server { ACKNOWLEDGED_MAX } else { 0 } {
        return None;
    }
    for place in 0..count {
        // The client's first packet is acknowledged first, and the client named behind the list.
        if cursor.u32()? != 0 && place == 0 {
            return None;
        }
    }
    if count > 0 {
        cursor.take(8)?;
    }
    Some(cursor.u32()? == 0 && cursor.is_empty())
}

/// Number and time of a packet, against replays: of one of the first, in a time that can be.
fn is_first(cursor: &mut Cursor<'_>) -> Option<bool> {
    let number = cursor.u32()?;
    let time = cursor.u32()?;
    let early = EARLY.contains(&(number >> 16));
    let first = FIRST_PACKETS.contains(&if early { number & 0xffff } else { number });
    Some(first && time >= TIME_MIN)
}

/// tls-crypt: number and time in the clear, then a digest and what is encrypted.
fn is_encrypted(packet: &[u8], opcode: u8, server: bool) -> bool {
    let Some(mut cursor) = packet.get(FRONT_BYTES..).map(Cursor::new) else {
        return false;
    };
    if is_first(&mut cursor) != Some(true) {
        return false;
    }
    let rest = cursor.rest();
    let fixed = FRONT_BYTES + REPLAY_BYTES + TAG_BYTES;
    let encrypted = packet.len().saturating_sub(fixed);
    match (opcode, server) {
        (RESET_CLIENT_2, false) => encrypted == 5,
        // Behind it the wrapped key, whose length comes last.
        (RESET_CLIENT_3, false) => rest.last_chunk().is_some_and(|&length| {
            let wrapped = usize::from(u16::from_be_bytes(length));
            WRAPPED_BYTES.contains(&wrapped)
                && (5..5 + EARLY_BYTES_MAX).contains(&encrypted.wrapping_sub(wrapped))
        }),
        (RESET_SERVER_2, true) => {
            let of = |count: usize| match count {
                0 => 5,
                count => 5 + 4 * count + 8,
            };
            (0..=2).any(|count| (of(count)..of(count) + EARLY_BYTES_MAX).contains(&encrypted))
        }
        _ => false,
    }
}
