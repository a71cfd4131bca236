//! Recognition: PRELOGIN, logins, and packets whose headers leave no doubt.

use super::server::answers;
use super::text::little_u32;
use super::{HEADER, Mssql, packet};
use crate::read::cursor::Cursor;
use crate::{Application, ByteSet, Probe, ProbeInput};

/// Versions that a LOGIN7 may ask for.
const VERSIONS: &[u32] = &[
    0x7000_0000,
    0x7100_0000,
    0x7100_0001,
    0x7209_0002,
    0x730a_0003,
    0x730b_0003,
    0x7400_0004,
    0x0800_0000,
];
/// The packet that a login of before TDS 7 comes in.
const OLD_PACKET: usize = 512;
/// Headers with a transaction, alone: what stands before every batch and call since TDS 7.2.
const TRANSACTION: &[u8] = &[22, 0, 0, 0, 18, 0, 0, 0, 2, 0];

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let openings = Mssql::OPENINGS;
    let client = judge(
        input.to_server,
        openings.to_server,
        |kind, last, length, body| match kind {
            packet::PRELOGIN => options(body, length),
            packet::LOGIN => login(body, length, last),
            packet::OLD_LOGIN if input.from_start => old_login(body, length),
            packet::BATCH | packet::RPC => front(body, TRANSACTION),
            packet::SSPI => front(body, b"NTLMSSP\0"),
            _ => Some(false),
        },
    );
    let server = judge(
        input.to_client,
        openings.to_client,
        |kind, _, length, body| match kind {
            packet::RESPONSE if body.first()? == &0 => options(body, length),
            packet::RESPONSE => answers(body, length),
            _ => Some(false),
        },
    );
    match (client, server) {
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

fn judge(
    input: &[u8],
    openings: ByteSet,
    read: impl FnOnce(u8, bool, usize, &[u8]) -> Option<bool>,
) -> Probe {
    let Some(&first) = input.first() else {
        return Probe::Unsure;
    };
    if !openings.contains(first) {
        return Probe::NotMine;
    }
    let verdict = (|| {
        let mut cursor = Cursor::new(input);
        let (kind, status, length) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
        cursor.take(3)?;
        let window = cursor.u8()?;
        if status > 0x1f || usize::from(length) <= HEADER || window != 0 {
            return Some(false);
        }
        let length = usize::from(length) - HEADER;
        read(kind, status & 1 != 0, length, cursor.rest())
    })();
    match verdict {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

/// Options of a PRELOGIN: a version comes first, each lies within the packet.
fn options(body: &[u8], length: usize) -> Option<bool> {
    let mut cursor = Cursor::new(body);
    let mut first = None;
    for place in 0..12_u16 {
        let option = cursor.u8()?;
        if option == 0xff {
            return Some(place > 0 && first == Some(place * 5 + 1));
        }
        let (start, size) = (cursor.u16()?, cursor.u16()?);
        let fits = usize::from(start) + usize::from(size) <= length;
        if option > 12 || !fits || (place == 0) != (option == 0) {
            return Some(false);
        }
        if place == 0 {
            first = (size == 6).then_some(start);
        }
    }
    Some(false)
}

fn login(body: &[u8], length: usize, last: bool) -> Option<bool> {
    let (inner, version) = (little_u32(body)?, little_u32(body.get(4..)?)?);
    let size = if last {
        inner as usize == length
    } else {
        (length..1 << 17).contains(&(inner as usize))
    };
    Some(size && VERSIONS.contains(&version))
}

/// Texts of 30 bytes, filled with zeros, with their lengths behind them: host, user, password,
/// process.
fn old_login(body: &[u8], length: usize) -> Option<bool> {
    if length + HEADER != OLD_PACKET {
        return Some(false);
    }
    for place in [0, 31, 62, 93] {
        let text = body.get(place..place + 31)?;
        let (size, text) = text.split_last()?;
        let padding = text.get(usize::from(*size)..);
        if padding.is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
            return Some(false);
        }
    }
    Some(true)
}

fn front(body: &[u8], expected: &[u8]) -> Option<bool> {
    let front = body.get(..expected.len()).unwrap_or(body);
    if !expected.starts_with(front) {
        return Some(false);
    }
    (front.len() == expected.len()).then_some(true)
}
