//! Recognition: a session's first message, or a four-letter word and its answer.

use super::{Zookeeper, operations, words};
use crate::read::cursor::Cursor;
use crate::{Application, Probe, ProbeInput};

/// A session's password.
const PASSWORD: u32 = 16;
const TIMEOUT_MAX_MS: u32 = 1 << 28;
const LENGTH_MAX: u32 = 1 << 20;

pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    let (client, server) = if input.from_start {
        (
            either(input.to_server, connect, word),
            either(input.to_client, connected, answer),
        )
    } else {
        (
            message(input.to_server, request),
            message(input.to_client, reply),
        )
    };
    let home = Zookeeper::PORTS.contains(&input.server_port);
    let word = input.to_server.first().is_some_and(u8::is_ascii_lowercase);
    match (client, server) {
        // Words that others may know too; their answer is nobody else's.
        (Probe::Certain, Probe::Unsure) if word && !home => Probe::Unsure,
        (Probe::Certain, Probe::NotMine) if word => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

fn either(
    input: &[u8],
    binary: fn(&[u8]) -> Option<bool>,
    text: fn(&[u8]) -> Option<bool>,
) -> Probe {
    match input.first() {
        None => Probe::Unsure,
        Some(0) => weigh(input, binary),
        Some(_) => weigh(input, text),
    }
}

fn message(input: &[u8], read: fn(&[u8]) -> Option<bool>) -> Probe {
    if input.is_empty() {
        return Probe::Unsure;
    }
    weigh(input, read)
}

/// None: too short to tell.
fn weigh(input: &[u8], read: fn(&[u8]) -> Option<bool>) -> Probe {
    match read(input) {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotMine,
        None => Probe::Unsure,
    }
}

fn word(input: &[u8]) -> Option<bool> {
    match words::begins(input) {
        Some(true) => Some(true),
        Some(false) => None,
        None => Some(false),
    }
}

fn answer(input: &[u8]) -> Option<bool> {
    words::certain(input)
}

/// ConnectRequest, whole: every length in it is known.
fn connect(input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    if !matches!(length, 28 | 29 | 44 | 45) {
        return Some(false);
    }
    if cursor.u32()? != 0 {
        return Some(false);
    }
    let last_transaction = u64::from_be_bytes(cursor.array()?);
    let timeout = cursor.u32()?;
    if last_transaction >> 63 != 0 || !(1..TIMEOUT_MAX_MS).contains(&timeout) {
        return Some(false);
    }
    cursor.take(8)?;
    let password = cursor.u32()?;
    if length >= 44 {
        if password != PASSWORD {
            return Some(false);
        }
        cursor.take(16)?;
    } else if !matches!(password, 0 | u32::MAX) {
        return Some(false);
    }
    if length % 2 == 1 {
        return Some(cursor.u8()? <= 1);
    }
    Some(true)
}

/// ConnectResponse, whole.
fn connected(input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    if !matches!(length, 36 | 37) {
        return Some(false);
    }
    let (protocol, timeout) = (cursor.u32()?, cursor.u32()?);
    cursor.take(8)?;
    if protocol != 0 || timeout >= TIMEOUT_MAX_MS || cursor.u32()? != PASSWORD {
        return Some(false);
    }
    cursor.take(16)?;
    if length == 37 {
        return Some(cursor.u8()? <= 1);
    }
    Some(true)
}

/// A request in the middle of a session: a ping, or one whose length its path explains.
fn request(input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    if !(8..LENGTH_MAX).contains(&length) {
        return Some(false);
    }
    let (number, operation) = (cursor.u32()? as i32, cursor.u32()? as i32);
    if operation == 11 {
        return Some(number == -2 && length == 8);
    }
    // Behind the path: a flag, a version or nothing.
    let behind = match operations::name(operation) {
        Some("exists" | "getData" | "getChildren" | "getChildren2") => 1,
        Some("delete") => 4,
        _ => return Some(false),
    };
    let size = cursor.u32()?;
    if number < 0 || size == 0 || size.checked_add(12 + behind) != Some(length) {
        return Some(false);
    }
    let path = cursor.take(size as usize)?;
    let plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f;
    if path.first() != Some(&b'/') || !path.iter().all(plain) {
        return Some(false);
    }
    if behind == 1 {
        return Some(cursor.u8()? <= 1);
    }
    Some(true)
}

/// An answer in the middle of a session: of a ping.
fn reply(input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input);
    let (length, number) = (cursor.u32()?, cursor.u32()?);
    if length != 16 || number as i32 != -2 {
        return Some(false);
    }
    cursor.take(8)?;
    Some(cursor.u32()? == 0)
}
