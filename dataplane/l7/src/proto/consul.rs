//! Consul: its interface over HTTP (Consul HTTP API), and the gossip of its agents (Serf on
//! memberlist, `net.go` of hashicorp/memberlist).
//!
//! The interface is told by the headers of its answers and read as HTTP. Gossip is recognised here:
//! messages in MessagePack whose field names are of a closed list, whose parts add up, or whose
//! checksum is right; encrypted gossip is not. Its content is passed over. No memory.

use weir_wire::Direction;

use super::http::fields;
use crate::read::cursor::Cursor;
use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};

/// The row.
#[derive(Default)]
pub struct Consul;

const COMPOUND: u8 = 7;
const CHECKSUM: u8 = 12;
/// Bytes that a checksum is computed over at most: a datagram within an Ethernet frame.
const CHECKED_BYTES_MAX: usize = 1_500;

/// Messages that are a map, by their kind, with the names that it may begin with: they are written
/// in the order of the alphabet, or of the structure.
const MAPS: &[(u8, &[&[u8]])] = &[
    (0, &[b"Node", b"SeqNo"]),
    (
        1,
        &[
            b"Nack",
            b"Node",
            b"Port",
            b"SeqNo",
            b"Target",
            b"SourceAddr",
        ],
    ),
    (2, &[b"Payload", b"SeqNo"]),
    (3, &[b"From", b"Incarnation"]),
    (4, &[b"Addr", b"Incarnation"]),
    (5, &[b"From", b"Incarnation"]),
    (6, &[b"Join", b"Nodes"]),
    (9, &[b"Algo"]),
    (11, &[b"SeqNo"]),
    (13, &[b"Error"]),
];

impl Application for Consul {
    const NAME: &'static str = "consul";
    const ABOUT: &'static str =
        "Consul's interface over HTTP, and the gossip of its agents (Consul HTTP API, memberlist)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[8301, 8302, 8500];
    const FIELDS: &'static [FieldSpec] = &fields::FIELDS;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE.and_range(0, 13),
        to_client: ByteSet::NONE.and_range(0, 13),
    };
    const REFINES: Option<&'static str> = Some("http");

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if input.transport == Transport::Tcp && !input.from_start {
            return Probe::NotMine;
        }
        let whole = input.transport == Transport::Udp;
        // Of datagrams only the one is judged that is new: the agents are each other's peers.
        match (input.to_server, input.to_client) {
            ([], bytes) | (bytes, []) => message(bytes, whole, 0),
            (client, server) => match (message(client, whole, 0), message(server, whole, 0)) {
                (Probe::Certain, _) | (_, Probe::Certain) if whole => Probe::Certain,
                (Probe::Certain, Probe::Certain) => Probe::Certain,
                (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
                _ => Probe::Unsure,
            },
        }
    }

    fn parse(&mut self, _: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        sink.settle();
        Step::Skip(input.len() as u64)
    }
}

/// A message of gossip, or the beginning of one where it is not `whole`.
fn message(bytes: &[u8], whole: bool, depth: u8) -> Probe {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Probe::Unsure;
    };
    match kind {
        COMPOUND if whole && depth < 2 => compound(rest, depth),
        CHECKSUM if whole && depth == 0 => checksum(rest),
        _ => match MAPS.iter().find(|(of, _)| *of == kind) {
            Some((_, names)) => map(rest, names, whole),
            None => Probe::NotMine,
        },
    }
}

/// A small map, and the first name in it.
fn map(bytes: &[u8], names: &[&[u8]], whole: bool) -> Probe {
    let short = if whole { Probe::NotMine } else { Probe::Unsure };
    match *bytes {
        [] => short,
        [0x81..=0x8f] => short,
        [0x81..=0x8f, name, ref rest @ ..] => {
            let length = usize::from(name & 0x1f);
            let of_length = |known: &&&[u8]| name & 0xe0 == 0xa0 && known.len() == length;
            let mut known = names.iter().filter(of_length);
            match rest.get(..length) {
                Some(name) if known.any(|known| *known == name) => Probe::Certain,
                None if known.any(|known| known.starts_with(rest)) => short,
                _ => Probe::NotMine,
            }
        }
        _ => Probe::NotMine,
    }
}

/// A count, as many lengths, and the messages: they add up, and the first is one.
fn compound(bytes: &[u8], depth: u8) -> Probe {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.u8().unwrap_or_default();
    let mut sum = 0;
    let mut first = None;
    for _ in 0..count {
        let Some(length) = cursor.u16() else {
            return Probe::NotMine;
        };
        first = first.or(Some(usize::from(length)));
        sum += usize::from(length);
    }
    let rest = cursor.rest();
    match first.and_then(|first| rest.get(..first)) {
        Some(first) if sum == rest.len() => match message(first, true, depth + 1) {
            // A message of Serf, which is not read here, in parts that add up.
            Probe::NotMine if first.first() == Some(&8) && count > 1 => Probe::Certain,
            said => said,
        },
        _ => Probe::NotMine,
    }
}

fn checksum(bytes: &[u8]) -> Probe {
    match bytes.split_first_chunk::<4>() {
        Some((sum, rest)) if (2..=CHECKED_BYTES_MAX).contains(&rest.len()) => {
            let right = rest[0] <= 13 && crc32(rest) == u32::from_be_bytes(*sum);
            if right {
                Probe::Certain
            } else {
                Probe::NotMine
            }
        }
        _ => Probe::NotMine,
    }
}

/// CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn datagrams_of_gossip_are_known() {
        let ping = b"\0\x82\xa4Node\xa1a\xa5SeqNo\x01";
        let two = [b"\x07\x02\0\x10\0\x10".as_slice(), ping, ping].concat();
        let mut summed = vec![CHECKSUM];
        summed.extend(crc32(ping).to_be_bytes());
        summed.extend(ping);
        let mut wrong = summed.clone();
        wrong[2] ^= 1;
        for (bytes, said) in [
            (&ping[..], Probe::Certain),
            (&two, Probe::Certain),
            (&two[..two.len() - 1], Probe::NotMine),
            (&summed, Probe::Certain),
            (&wrong, Probe::NotMine),
            (b"\0\x82\xa4Noda\xa1a\xa5SeqNo\x01", Probe::NotMine),
            (&[0; 40], Probe::NotMine),
        ] {
            assert_eq!(message(bytes, true, 0), said, "{}", bytes.escape_ascii());
        }
    }
}
