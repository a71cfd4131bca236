//! SMB in NetBIOS datagrams: mailslots, by which machines announce themselves (RFC 1002, 4.4;
//! MS-BRWS).

use arrayvec::ArrayVec;

use super::{ACCESS, COMMAND, FILE, HOST, SHARE, USER, number16};
use crate::{Event, EventKind, EventSink, Field, Probe, ProbeInput};

/// Type, flags, id, address, port, length, offset (RFC 1002, 4.4.1).
const HEADER: usize = 14;
/// A name in half-bytes.
const NAME: usize = 32;
/// Parts of a name behind the first: its scope.
const LABELS_MAX: usize = 8;
/// Transaction of version 1 (MS-CIFS, 2.2.4.33).
const TRANSACTION: u8 = 0x25;

/// What a datagram is about.
struct Datagram<'a> {
    source: [u8; 15],
    source_length: usize,
    slot: &'a [u8],
}

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let known = |bytes: &[u8]| bytes.is_empty() || read(bytes).is_some();
    match (input.to_server, input.to_client) {
        ([], []) => Probe::Unsure,
        (client, server) if known(client) && known(server) => Probe::Certain,
        _ => Probe::NotMine,
    }
}

/// None: it is none.
pub(super) fn tell(input: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let datagram = read(input)?;
    let host = datagram.source.get(..datagram.source_length)?;
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &[
            Field::name(COMMAND, "transaction"),
            Field::bytes(SHARE, &[]),
            Field::bytes(FILE, datagram.slot),
            Field::name(ACCESS, ""),
            Field::bytes(USER, &[]),
            Field::bytes(HOST, host),
        ],
    });
    Some(())
}

fn read(input: &[u8]) -> Option<Datagram<'_>> {
    let (head, names) = input.split_first_chunk::<HEADER>()?;
    // To one, to a group, to all; the last four flags.
    let &[0x10..=0x12, 0..=0x0f, .., high, low, 0, 0] = head else {
        return None;
    };
    if usize::from(u16::from_be_bytes([high, low])) != names.len() {
        return None;
    }
    let message = behind_name(behind_name(names)?)?;
    if !message.starts_with(b"\xffSMB") || message.get(4) != Some(&TRANSACTION) {
        return None;
    }
    let words = usize::from(*message.get(32)?);
    let rest = message.get(33 + 2 * words + 2..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    number16(message, 33 + 2 * words)?;
    let (source, source_length) = decoded(names)?;
    Some(Datagram {
        source,
        source_length,
        slot: rest.get(..end)?,
    })
}

/// What follows a name and its scope.
fn behind_name(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(&[NAME as u8])?;
    let (name, scope) = rest.split_at_checked(NAME)?;
    if !name.iter().all(|byte| matches!(byte, b'A'..=b'P')) {
        return None;
    }
    rest = scope;
    for _ in 0..LABELS_MAX {
        let (&length, tail) = rest.split_first()?;
        match length {
            0 => return Some(tail),
            1..=63 => rest = tail.get(usize::from(length)..)?,
            _ => return None,
        }
    }
    None
}

/// The name without its padding; its last byte is a type.
fn decoded(bytes: &[u8]) -> Option<([u8; 15], usize)> {
    let halves = bytes.get(1..1 + NAME)?;
    let text: ArrayVec<u8, 16> = halves
        .chunks_exact(2)
        .map(|pair| (pair[0].wrapping_sub(b'A') << 4) | (pair[1].wrapping_sub(b'A') & 0x0f))
        .collect();
    let name = *text.first_chunk::<15>()?;
    let length = name
        .iter()
        .rposition(|byte| !matches!(byte, 0 | b' '))
        .map_or(0, |at| at + 1);
    Some((name, length))
}
