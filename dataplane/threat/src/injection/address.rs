//! Forged requests (SSRF): does a value make the server ask a cloud's metadata service, or use a scheme
//! that no link of a page has?
//!
//! Addresses are told by their value, in every spelling that some resolver takes: decimal, octal and
//! hexadecimal parts, fewer parts than four, IPv6 with IPv4 within, names that carry an address.
//!
//! Trusts nothing. Time: linear. Memory: none.

use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use super::sighting::Sighting;

/// Where clouds answer questions about the machine that asks.
const METADATA: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

const NAMES: &[&[u8]] = &[
    b"metadata.google.internal",
    b"metadata.goog",
    b"metadata",
    b"instance-data",
    b"instance-data.ec2.internal",
    b"metadata.tencentyun.com",
    b"metadata.azure.internal",
];

/// Services that answer any name with the address in it.
const WILDCARDS: &[&[u8]] = &[
    b".nip.io",
    b".sslip.io",
    b".xip.io",
    b".ip6.name",
    b".traefik.me",
    b".localtest.me",
    b".1u.ms",
    b".rebind.it",
];

/// Schemes that make a server talk to others or read files, and that no visitor enters.
const SCHEMES: &[&[u8]] = &[
    b"gopher", b"dict", b"file", b"netdoc", b"jar", b"ldap", b"ldaps", b"tftp", b"sftp", b"rmi",
];

/// Whether `value` is an address that forges a request.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    let value = value.trim_ascii();
    let (scheme, rest) = split_scheme(value)?;
    if scheme.is_empty() {
        // Without a scheme, a number is a number.
        let host = host(rest);
        return (memchr::memchr2(b'.', b':', host).is_some() && is_metadata(host))
            .then(|| Sighting::new("address of a metadata service", 0, value.len()));
    } else {
        let known = SCHEMES
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let slashed = matches!(value.get(scheme.len() + 1), Some(b'/' | b'\\'));
        let nested = scheme.eq_ignore_ascii_case(b"jar");
        if known && (slashed || nested) && is_used(scheme, rest) {
            return Some(Sighting::new(
                "scheme that makes a server ask others",
                0,
                value.len(),
            ));
        }
    }
    let host = host(rest);
    is_metadata(host).then(|| Sighting::new("address of a metadata service", 0, value.len()))
}

/// `http://…`, `//…`, or an address on its own.
fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = value.strip_prefix(b"url:").unwrap_or(value);
    let colon = value
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')));
    match colon {
        Some(colon) if value[colon] == b':' && value[0].is_ascii_alphabetic() && colon >= 2 => {
            let rest = &value[colon + 1..];
            let slashes = rest
                .iter()
                .take_while(|byte| matches!(byte, b'/' | b'\\'))
                .count();
            // `host:80` has no scheme.
            if slashes == 0 && rest.first().is_some_and(u8::is_ascii_digit) {
                return Some((&[], value));
            }
            Some((&value[..colon], &rest[slashes..]))
        }
        _ => {
            let slashes = value
                .iter()
                .take_while(|byte| matches!(byte, b'/' | b'\\'))
                .count();
            // A path is not an address.
            (slashes != 1).then(|| (&[] as &[u8], &value[slashes..]))
        }
    }
}

/// Whether a scheme is used rather than talked about: something without blanks follows.
fn is_used(scheme: &[u8], rest: &[u8]) -> bool {
    let nested = scheme.eq_ignore_ascii_case(b"jar");
    !rest.is_empty()
        && !rest.iter().any(u8::is_ascii_whitespace)
        && (!nested || memchr::memmem::find(rest, b"://").is_some())
}

/// The host of what follows a scheme: behind the last `@`, before port and path.
fn host(rest: &[u8]) -> &[u8] {
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'\\' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let authority = &rest[..end];
    let authority = match memchr::memrchr(b'@', authority) {
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    if let [b'[', inner @ ..] = authority {
        let close = memchr::memchr(b']', inner).unwrap_or(inner.len());
        return &inner[..close];
    }
    let colons = memchr::memchr_iter(b':', authority).count();
    match memchr::memrchr(b':', authority) {
        Some(colon) if colons == 1 => &authority[..colon],
        _ => authority,
    }
}

fn is_metadata(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() || host.len() > 255 {
        return false;
    }
    if NAMES
        .iter()
        .any(|name| name.len() > 8 && host.eq_ignore_ascii_case(name))
    {
        return true;
    }
    if let Some(address) = ipv4(host) {
        return METADATA.contains(&address);
    }
    if let Some(address) = ipv6(host) {
        return METADATA_V6.contains(&address)
            || within(address).is_some_and(|v4| METADATA.contains(&v4));
    }
    WILDCARDS.iter().any(|name| {
        host.len() > name.len() && host[host.len() - name.len()..].eq_ignore_ascii_case(name)
    }) && carries_metadata(host)
}

/// As `inet_aton` reads: one to four parts, each decimal, octal or hexadecimal, the last fills the rest.
fn ipv4(host: &[u8]) -> Option<Ipv4Addr> {
    let mut parts: ArrayVec<u64, 4> = ArrayVec::new();
    for part in host.split(|byte| *byte == b'.') {
        parts.try_push(number(part)?).ok()?;
    }
    let (last, front) = parts.split_last()?;
    let mut address = 0u64;
    for part in front {
        address = address << 8 | u64::from(u8::try_from(*part).ok()?);
    }
    let bits = 8 * (4 - front.len() as u32);
    // Some read more than fits and forget the rest.
    let address = (address << bits) | (last & ((1 << bits) - 1));
    Some(Ipv4Addr::from(address as u32))
}

fn number(part: &[u8]) -> Option<u64> {
    let (radix, digits) = match part {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', digits @ ..] if !digits.is_empty() => (8, digits),
        digits => (10, digits),
    };
    let digits = digits
        .iter()
        .position(|byte| *byte != b'0')
        .map_or(&digits[digits.len().saturating_sub(1)..], |zeros| {
            &digits[zeros..]
        });
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, radix).ok()
}

fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(host).ok()?;
    let text = text.split('%').next().unwrap_or(text);
    text.parse().ok()
}

/// IPv4 within IPv6: mapped, compatible, translated, 6to4.
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last = Ipv4Addr::from(u32::from(g) << 16 | u32::from(h));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            Some(last)
        }
        [0x2002, ..] => Some(Ipv4Addr::from(u32::from(b) << 16 | u32::from(c))),
        _ => None,
    }
}

/// `169.254.169.254.nip.io`, `a-169-254-169-254.sslip.io`, `a9fea9fe.nip.io`
fn carries_metadata(host: &[u8]) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'.' | b'-');
    if host.split(is_separator).any(|part| {
        part.eq_ignore_ascii_case(b"a9fea9fe") || part.eq_ignore_ascii_case(b"646464c8")
    }) {
        return true;
    }
    let mut last = [None; 4];
    host.split(is_separator).any(|part| {
        last.rotate_left(1);
        last[3] = number(part).and_then(|number| u8::try_from(number).ok());
        matches!(last, [Some(a), Some(b), Some(c), Some(d)] if METADATA.contains(&Ipv4Addr::new(a, b, c, d)))
    })
}
