//! Whether bytes begin a message of HTTP/1.

use crate::{Probe, ProbeInput};

/// A target this long, behind a known method, is HTTP even before its version is seen.
const TARGET_BYTES_CERTAIN: usize = 128;
const METHOD_BYTES_MAX: usize = 24;

const METHODS: &[&[u8]] = &[
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// Both sides of a connection, from wherever it was first seen.
pub(super) fn probe(input: &ProbeInput<'_>) -> Probe {
    if !input.from_start {
        return probe_midway(input);
    }
    let client = match input.to_server {
        [] => Probe::Unsure,
        bytes => request(bytes),
    };
    let server = match input.to_client {
        [] => Probe::Unsure,
        bytes => response(bytes),
    };
    match (client, server) {
        (Probe::NotMine, _) => Probe::NotMine,
        (Probe::Unsure, Probe::NotMine) => probe_simple(input),
        (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

fn probe_midway(input: &ProbeInput<'_>) -> Probe {
    // An empty line may end what went before.
    let begins = |bytes: &[u8]| {
        let empty = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        empty.count().min(4)
    };
    let (client, server) = (input.to_server, input.to_client);
    let certain = request(&client[begins(client)..]) == Probe::Certain
        || response(&server[begins(server)..]) == Probe::Certain;
    // The bytes may come from within a body: that says nothing.
    if certain {
        Probe::Certain
    } else {
        Probe::Unsure
    }
}

/// A request line, or its beginning.
pub(super) fn request(bytes: &[u8]) -> Probe {
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let length = bytes
        .iter()
        .position(|byte| !is_method(byte))
        .unwrap_or(bytes.len());
    let upper = bytes.first().is_none_or(u8::is_ascii_uppercase);
    if !upper || length > METHOD_BYTES_MAX {
        return Probe::NotMine;
    }
    match regular(bytes, length) {
        Probe::NotMine => tolerated(bytes),
        said => said,
    }
}

/// As the specification has it; the method is this long.
fn regular(bytes: &[u8], method_bytes: usize) -> Probe {
    let (method, rest) = bytes.split_at(method_bytes);
    let target = match rest {
        [] => return Probe::Unsure,
        [b' ', target @ ..] if !method.is_empty() => target,
        _ => return Probe::NotMine,
    };
    match target.first() {
        None => return Probe::Unsure,
        Some(b'/' | b'*' | b'[') => {}
        Some(byte) if byte.is_ascii_alphanumeric() => {}
        Some(_) => return Probe::NotMine,
    }
    let end = target.iter().position(|&byte| byte <= b' ' || byte == 0x7f);
    let path = target.starts_with(b"/") && METHODS.contains(&method);
    if path && end.unwrap_or(target.len()) >= TARGET_BYTES_CERTAIN {
        return Probe::Certain;
    }
    let Some(end) = end else {
        return Probe::Unsure;
    };
    match &target[end..] {
        [b' ', version @ ..] if version.starts_with(b"HTTP/1.") => Probe::Certain,
        [b' ', version @ ..] if b"HTTP/1.".starts_with(version) => Probe::Unsure,
        _ => Probe::NotMine,
    }
}

/// A known method, and the rest in disorder: with a version or a Host it is meant as HTTP all the
/// same. Without, the answer tells.
fn tolerated(bytes: &[u8]) -> Probe {
    let Some(method) = METHODS.iter().find(|method| bytes.starts_with(method)) else {
        return Probe::NotMine;
    };
    let newline = memchr::memchr(b'\n', bytes);
    let line = &bytes[method.len()..newline.unwrap_or(bytes.len())];
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b' '..=0x7e | 0x80..);
    if !line.iter().all(is_text) || line.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Probe::NotMine;
    }
    let Some(newline) = newline else {
        return Probe::Unsure;
    };
    let host = || memchr::memmem::find(&bytes[newline..], b"\nHost:").is_some();
    if memchr::memmem::find(line, b"HTTP/1.").is_some() || line.starts_with(b" /") && host() {
        return Probe::Certain;
    }
    Probe::Unsure
}

/// HTTP/0.9: `GET /path` and nothing more (RFC 1945, 4.1).
pub(super) fn is_simple(line: &[u8]) -> bool {
    let path = line.strip_prefix(b"GET /");
    path.is_some_and(|path| path.iter().all(|&byte| byte > b' ' && byte != 0x7f))
}

/// What an answer without a head begins with: a page.
fn is_page(bytes: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 4] = [b"<html", b"<!doctype html", b"<head", b"<title"];
    BEGINNINGS.iter().any(|beginning| {
        let front = bytes.get(..beginning.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(beginning))
    })
}

/// A simple request and the page that it asks for. The answer may still become one.
fn probe_simple(input: &ProbeInput<'_>) -> Probe {
    let line = super::head::line(input.to_server).map(|(line, _)| line);
    match line {
        Some(line) if is_simple(line) && is_page(input.to_client) => Probe::Certain,
        Some(line) if is_simple(line) && input.to_client.starts_with(b"<") => {
            match input.to_client.len() < 14 {
                true => Probe::Unsure,
                false => Probe::NotMine,
            }
        }
        _ => Probe::NotMine,
    }
}

/// A status line, or its beginning.
pub(super) fn response(bytes: &[u8]) -> Probe {
    const BEGINNING: &[u8; 7] = b"HTTP/1.";
    match bytes.split_first_chunk::<7>() {
        None if BEGINNING.starts_with(bytes) => Probe::Unsure,
        Some((BEGINNING, rest)) => match rest {
            [b'0'..=b'9', b' ', b'1'..=b'9', ..] => Probe::Certain,
            [] | [b'0'..=b'9'] | [b'0'..=b'9', b' '] => Probe::Unsure,
            _ => Probe::NotMine,
        },
        _ => Probe::NotMine,
    }
}
