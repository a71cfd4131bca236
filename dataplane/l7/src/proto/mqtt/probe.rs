//! Knowing MQTT: by its CONNECT, or by packets whose flags and lengths are just so.

use super::{Header, Mqtt, Read, filter, filter_list, header, kind};
use crate::read::cursor::Cursor;
use crate::read::weigh::{self, ENOUGH, Sight, Weight, weigh};
use crate::{Application, Probe, ProbeInput};

/// Bits of the packets of two and four bytes.
const SHORT: u32 = 14;
/// Packets other than a PUBLISH are not larger where a connection is picked up.
const PACKET_MAX: usize = 1_500;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !weigh::opens(&Mqtt::OPENINGS, input) {
        return Probe::NotMine;
    }
    weigh::verdict(
        side(input.to_server, client),
        side(input.to_client, server),
        Mqtt::PORTS.contains(&input.server_port),
    )
}

/// Short packets count twice at most: many of a kind say no more.
fn side(input: &[u8], look: fn(&[u8]) -> Sight) -> Weight {
    let mut short = 0;
    weigh(input, |rest| match look(rest) {
        Sight::Message { bits, length } if bits <= SHORT => {
            short += 1;
            Sight::Message {
                bits: if short > 2 { 0 } else { bits },
                length,
            }
        }
        sight => sight,
    })
}

fn client(input: &[u8]) -> Sight {
    sight(input, |header, body| match (header.kind, header.flags) {
        (kind::CONNECT, 0) => Some(connect(header, body)),
        (kind::SUBSCRIBE, 2) => Some(filters(header, body, true)),
        (kind::UNSUBSCRIBE, 2) => Some(filters(header, body, false)),
        (kind::PINGREQ, 0) => Some(exactly(header, 0, 12)),
        (kind::DISCONNECT, 0) => Some(exactly(header, 0, 8)),
        _ => None,
    })
}

fn server(input: &[u8]) -> Sight {
    sight(input, |header, body| match (header.kind, header.flags) {
        (kind::CONNACK, 0) => Some(connack(header, body)),
        (kind::SUBACK, 0) => Some(suback(header, body)),
        (kind::UNSUBACK, 0) => Some(exactly(header, 2, 14)),
        (kind::PINGRESP, 0) => Some(exactly(header, 0, 12)),
        _ => None,
    })
}

/// What a body says: its bits, that there is too little of it, or that it is none.
type Found = Result<Option<u32>, ()>;

/// Looks at one packet; `own` knows those that only this side sends.
fn sight(input: &[u8], own: fn(Header, &[u8]) -> Option<Found>) -> Sight {
    let header = match header(input) {
        Read::Whole(header) => header,
        Read::Partial if input.first().is_some_and(|&byte| possible(byte)) => {
            return Sight::Partial;
        }
        _ => return Sight::Foreign,
    };
    let body = input.get(header.used..).unwrap_or_default();
    let body = body.get(..header.length).unwrap_or(body);
    let found = match own(header, body) {
        Some(found) => found,
        None => match (header.kind, header.flags) {
            (kind::PUBLISH, _) => publish(header, body),
            (kind::PUBREL, 2) | (kind::PUBACK | kind::PUBREC | kind::PUBCOMP, 0) => {
                exactly(header, 2, 14)
            }
            _ => Err(()),
        },
    };
    match found {
        Ok(Some(bits)) => Sight::Message {
            bits,
            length: header.used + header.length,
        },
        Ok(None) => Sight::Partial,
        Err(()) => Sight::Foreign,
    }
}

fn possible(first: u8) -> bool {
    match first >> 4 {
        kind::PUBLISH => first & 6 != 6,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => first & 15 == 2,
        0 => false,
        _ => first & 15 == 0,
    }
}

fn exactly(header: Header, length: usize, bits: u32) -> Found {
    if header.length == length {
        Ok(Some(bits))
    } else {
        Err(())
    }
}

fn connect(header: Header, body: &[u8]) -> Found {
    let names: [&[u8]; 2] = [b"\0\x04MQTT", b"\0\x06MQIsdp"];
    for name in names {
        let shown = body.len().min(name.len());
        if body.get(..shown) == name.get(..shown) {
            return match () {
                () if header.length < name.len() + 6 => Err(()),
                () if shown < name.len() => Ok(None),
                () => Ok(Some(ENOUGH)),
            };
        }
    }
    Err(())
}

fn connack(header: Header, body: &[u8]) -> Found {
    let codes = match (header.length, body.first()) {
        (2, Some(0 | 1)) => 0..=5,
        (3.., Some(0 | 1)) => 0..=0x9f,
        (_, None) => return Ok(None),
        _ => return Err(()),
    };
    match body.get(1) {
        Some(code) if !codes.contains(code) => Err(()),
        Some(_) if header.length == 2 => Ok(Some(28)),
        Some(1..0x80) => Err(()),
        // The properties fill the rest.
        Some(_) => match (header.length, body.get(2)) {
            (_, None) => Ok(None),
            (3..=130, Some(&size)) if usize::from(size) + 3 == header.length => Ok(Some(28)),
            (131.., Some(0x80..)) => Ok(Some(20)),
            _ => Err(()),
        },
        None => Ok(None),
    }
}

fn suback(header: Header, body: &[u8]) -> Found {
    if !(3..=PACKET_MAX).contains(&header.length) {
        return Err(());
    }
    if body.len() < header.length {
        return Ok(None);
    }
    let codes = |list: &[u8]| list.iter().all(|&code| code <= 2 || code >= 0x80);
    let some = |properties| filter_list(body, properties).is_some_and(codes);
    let numbered = body.starts_with(&[0, 0]);
    if !numbered && (some(false) || some(true)) {
        Ok(Some(16))
    } else {
        Err(())
    }
}

fn filters(header: Header, body: &[u8], options: bool) -> Found {
    if !(5..=PACKET_MAX).contains(&header.length) {
        return Err(());
    }
    if body.len() < header.length {
        return Ok(None);
    }
    let fits = |properties| {
        let mut cursor = Cursor::new(filter_list(body, properties).unwrap_or_default());
        let mut topics = 0;
        while let Some((topic, _)) = filter(&mut cursor, options) {
            if !is_topic(topic) {
                return false;
            }
            topics += 1;
        }
        topics > 0 && cursor.is_empty()
    };
    let numbered = body.starts_with(&[0, 0]);
    if !numbered && (fits(false) || fits(true)) {
        Ok(Some(28))
    } else {
        Err(())
    }
}

fn publish(header: Header, body: &[u8]) -> Found {
    let identifier = if header.flags & 6 == 0 { 0 } else { 2 };
    let Some(&[high, low]) = body.first_chunk::<2>() else {
        return if header.flags & 6 == 6 || header.length < 3 {
            Err(())
        } else {
            Ok(None)
        };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let fits = 2 + length + identifier <= header.length && (1..=1_024).contains(&length);
    if header.flags & 6 == 6 || !fits {
        return Err(());
    }
    match body.get(2..2 + length) {
        None => Ok(None),
        Some(topic) if is_topic(topic) && !topic.iter().any(|byte| matches!(byte, b'+' | b'#')) => {
            Ok(Some(8 + (length as u32).min(12)))
        }
        Some(_) => Err(()),
    }
}

/// Readable characters, as everybody uses.
fn is_topic(topic: &[u8]) -> bool {
    let control = |&byte: &u8| byte < b' ' || byte == 0x7f;
    !topic.is_empty() && !topic.iter().any(control) && std::str::from_utf8(topic).is_ok()
}
