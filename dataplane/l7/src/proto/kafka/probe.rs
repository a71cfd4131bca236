//! Knowing Kafka: a request whose header, lengths and body agree, or answers that only it gives.

use super::Kafka;
use super::api::{self, Naming};
use super::client::{self, Head, SIZE};
use super::reader::{Fault, Read, Reader};
use crate::read::weigh::{self, ENOUGH, Sight, Weight, weigh};
use crate::{Application, Probe, ProbeInput};

/// socket.request.max.bytes, as everybody leaves it.
const REQUEST_MAX: u32 = 100 << 20;
/// What of a message is looked at, so that it fits what a probe sees.
const SHOWN: usize = 1_024;
/// What a header's zero bytes, closed key and version say.
const HEADER: u32 = 20;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !weigh::opens(&Kafka::OPENINGS, input) {
        return Probe::NotMine;
    }
    let first = correlation(input.to_server);
    weigh::verdict(
        weigh(input.to_server, request),
        answers(input.to_client, first, input.from_start),
        Kafka::PORTS.contains(&input.server_port),
    )
}

/// Length and what is behind it; None: it is not here yet.
fn sized(input: &[u8]) -> Option<(u32, &[u8])> {
    let (&size, rest) = input.split_first_chunk::<SIZE>()?;
    let size = u32::from_be_bytes(size);
    Some((size, rest.get(..size as usize).unwrap_or(rest)))
}

fn readable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b' '..0x7f).contains(byte))
}

fn request(input: &[u8]) -> Sight {
    let Some((size, bytes)) = sized(input) else {
        return Sight::Partial;
    };
    if !(8..=REQUEST_MAX).contains(&size) {
        return Sight::Foreign;
    }
    // The client's name must fit.
    let named = bytes.get(8..10).and_then(|length| length.first_chunk());
    if named.is_some_and(|&length| i64::from(i16::from_be_bytes(length)) + 10 > size.into()) {
        return Sight::Foreign;
    }
    let whole = bytes.len() == size as usize;
    let bytes = bytes.get(..SHOWN).unwrap_or(bytes);
    let all = whole || bytes.len() == SHOWN;
    let head = match client::head(bytes) {
        Ok(head) => head,
        Err(Fault::Short) if !all => return Sight::Partial,
        Err(_) => return Sight::Foreign,
    };
    if !readable(head.client) {
        return Sight::Foreign;
    }
    if !all {
        return Sight::Partial;
    }
    let mut reader = Reader::new(bytes.get(head.used..).unwrap_or_default(), head.flexible());
    let body = match body(&head, &mut reader) {
        Ok(bits) => bits,
        Err(Fault::Short) if bytes.len() < size as usize => 8,
        // A version that is newer than is known may look otherwise.
        Err(_) if head.version > head.api.last => 0,
        Err(_) => return Sight::Foreign,
    };
    let client = match head.client.len() as u32 {
        // A null is told from an empty text by its length.
        0 if bytes.get(8..10) == Some(&[0xff, 0xff]) => 8,
        0 => 0,
        length => 4 + length.min(12),
    };
    Sight::Message {
        bits: HEADER + body + client,
        length: SIZE + size as usize,
    }
}

/// Bits of a body that is just so.
fn body(head: &Head<'_>, reader: &mut Reader<'_>) -> Read<u32> {
    match head.key {
        api::API_VERSIONS if head.flexible() => {
            let software = reader.text()?;
            let version = reader.text()?;
            reader.tags()?;
            let fine = readable(software) && readable(version);
            return if fine && (reader.left() == 0 || head.version > head.api.last) {
                Ok(12)
            } else {
                Err(Fault::Bad)
            };
        }
        // Old clients send an empty list.
        api::API_VERSIONS => {
            return match reader.take(reader.left()) {
                Ok([] | [0, 0, 0, 0]) => Ok(12),
                _ => Err(Fault::Bad),
            };
        }
        api::PRODUCE => {
            if head.version >= 3 {
                reader.text()?;
            }
            if !(-1..=1).contains(&reader.i16()?) || reader.i32()? < 0 {
                return Err(Fault::Bad);
            }
            let topics = reader.count()?;
            let named = head.version >= 13 || is_topic(reader.text()?);
            return match topics {
                Some(1..) if named => Ok(16),
                _ => Err(Fault::Bad),
            };
        }
        _ => {}
    }
    let Some(layout) = api::layout_of(head.key, head.version) else {
        return Ok(0);
    };
    api::pass(reader, layout.before)?;
    match (reader.count()?, layout.naming) {
        (Some(1..), Naming::Name) if !is_topic(reader.text()?) => Err(Fault::Bad),
        (Some(1..), Naming::Name) => Ok(16),
        (Some(1..), _) => Ok(4),
        (_, _) => Ok(2),
    }
}

/// What Kafka accepts as the name of a topic.
fn is_topic(name: &[u8]) -> bool {
    (1..=249).contains(&name.len())
        && name
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The correlation id of the first request.
fn correlation(input: &[u8]) -> Option<u32> {
    let (_, bytes) = sized(input)?;
    Some(u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?))
}

/// Answers: the first one's correlation id is that of the first request, or its body is known.
fn answers(input: &[u8], asked: Option<u32>, from_start: bool) -> Weight {
    let mut first = from_start;
    weigh(input, |input| {
        let Some((size, bytes)) = sized(input) else {
            return Sight::Partial;
        };
        if !(4..=REQUEST_MAX).contains(&size) {
            return Sight::Foreign;
        }
        let whole = bytes.len() == size as usize;
        let bytes = bytes.get(..SHOWN).unwrap_or(bytes);
        if !whole && bytes.len() < SHOWN {
            return Sight::Partial;
        }
        let Some((&correlation, body)) = bytes.split_first_chunk::<4>() else {
            return Sight::Foreign;
        };
        let matches = asked == Some(u32::from_be_bytes(correlation));
        let bits = match () {
            () if api_versions(body).is_ok() || brokers(body).is_ok() => ENOUGH,
            () if matches && std::mem::take(&mut first) => 12,
            () => 0,
        };
        first = false;
        Sight::Message {
            bits,
            length: SIZE + size as usize,
        }
    })
}

/// The answer to ApiVersions: keys in order, each with its versions.
fn api_versions(body: &[u8]) -> Read<()> {
    for flexible in [false, true] {
        let mut reader = Reader::new(body, flexible);
        if reader.i16()? != 0 {
            return Err(Fault::Bad);
        }
        let Ok(Some(count @ 8..=200)) = reader.count() else {
            continue;
        };
        let mut keys = 0;
        for _ in 0..count {
            let (key, low, high) = (reader.i16()?, reader.i16()?, reader.i16()?);
            reader.tags()?;
            let known = (0..1_000).contains(&key) && (0..=high).contains(&low) && high < 64;
            if !known {
                return Err(Fault::Bad);
            }
            keys += 1;
        }
        return if keys >= 8 { Ok(()) } else { Err(Fault::Bad) };
    }
    Err(Fault::Bad)
}

/// The answer to Metadata: the brokers with their hosts and ports.
fn brokers(body: &[u8]) -> Read<()> {
    for (throttled, flexible) in [(false, false), (true, false), (true, true)] {
        let mut reader = Reader::new(body, flexible);
        let found = some_brokers(&mut reader, throttled);
        if found.is_ok() {
            return found;
        }
    }
    Err(Fault::Bad)
}

fn some_brokers(reader: &mut Reader<'_>, throttled: bool) -> Read<()> {
    reader.tags()?;
    if throttled && !(0..=60_000).contains(&reader.i32()?) {
        return Err(Fault::Bad);
    }
    let Some(1..=1_000) = reader.count()? else {
        return Err(Fault::Bad);
    };
    let node = reader.i32()?;
    let host = reader.text()?;
    let port = reader.i32()?;
    let named = host.len() >= 4
        && host
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'_'));
    if node >= 0 && named && (1..=65_535).contains(&port) {
        Ok(())
    } else {
        Err(Fault::Bad)
    }
}
