//! Recognition: a connect packet, or the server's first answer to one.

use super::{HEADER, packet};
use crate::read::cursor::Cursor;
use crate::{Probe, ProbeInput};

/// Versions of the protocol.
const VERSIONS: std::ops::RangeInclusive<u16> = 300..=330;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !input.from_start {
        return Probe::NotMine;
    }
    match (
        judge(input.to_server, connect),
        judge(input.to_client, answer),
    ) {
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

fn judge(input: &[u8], read: fn(u8, usize, &[u8]) -> Option<bool>) -> Probe {
    let Some(&first) = input.first() else {
        return Probe::Unsure;
    };
    if first > 0x20 {
        return Probe::NotMine;
    }
    let verdict = (|| {
        let mut cursor = Cursor::new(input);
        let (length, checksum) = (cursor.u16()?, cursor.u16()?);
        let (kind, _, header_checksum) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
        let length = usize::from(length);
        if checksum != 0 || header_checksum != 0 || length < HEADER {
            return Some(false);
        }
        read(kind, length, input)
    })();
    match verdict {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

/// Version and oldest version, and a descriptor that begins as one or follows.
fn connect(kind: u8, length: usize, input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input.get(HEADER..)?);
    if kind != packet::CONNECT || length < 34 {
        return Some(false);
    }
    let (version, oldest) = (cursor.u16()?, cursor.u16()?);
    if !VERSIONS.contains(&version) || !(100..=version).contains(&oldest) {
        return Some(false);
    }
    cursor.take(12)?;
    let (size, start) = (usize::from(cursor.u16()?), usize::from(cursor.u16()?));
    // A long descriptor follows in a packet of its own.
    if start == length && size > 0 {
        return Some(start >= 34);
    }
    if !(26..=256).contains(&start) || start >= length || size == 0 {
        return Some(false);
    }
    let text = input.get(start..)?;
    Some(text.trim_ascii_start().first()? == &b'(')
}

/// Accepted with a version, refused with a descriptor, redirected or asked again.
fn answer(kind: u8, length: usize, input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input.get(HEADER..)?);
    match kind {
        packet::ACCEPT => {
            let version = cursor.u16()?;
            let (_, _, _, order) = (cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?);
            let known = VERSIONS.contains(&version) && matches!(order, 0x0001 | 0x0100);
            Some(known && (24..=128).contains(&length))
        }
        packet::REFUSE => {
            let (_, _, size) = (cursor.u8()?, cursor.u8()?, usize::from(cursor.u16()?));
            if size + HEADER + 4 != length {
                return Some(false);
            }
            Some(cursor.u8()? == b'(')
        }
        packet::REDIRECT => {
            let size = usize::from(cursor.u16()?);
            if size + HEADER + 2 == length {
                return Some(cursor.u8()? == b'(');
            }
            // The address follows in a packet of its own: little to go by.
            if length == HEADER + 2 {
                None
            } else {
                Some(false)
            }
        }
        packet::RESEND => {
            if length == HEADER {
                None
            } else {
                Some(false)
            }
        }
        _ => Some(false),
    }
}
