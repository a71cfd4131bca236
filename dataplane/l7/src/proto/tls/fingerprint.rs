//! Fingerprints of the hellos: JA3, JA3S (MD5) and JA4 (SHA-256).
//!
//! What is hashed is written into the hash as it is read, so that no hello is too long; only the
//! sorted lists of JA4 are held, up to a size that no real hello reaches: a longer one has none.

use arrayvec::ArrayVec;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::hello::{self, ClientHello, ServerHello};
use crate::read::cursor::Cursor;

const LIST_MAX: usize = 2_048;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_POINT_FORMATS: u16 = 11;
const EXTENSION_SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENSION_ALPN: u16 = 16;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A JA3 or JA3S.
pub(crate) type Ja3 = [u8; 32];
/// A JA4.
pub(crate) type Ja4 = [u8; 36];

/// What carries the hello: the first letter of a JA4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Datagrams,
    Quic,
}

/// MD5 of the hello's numbers: version, ciphers, extensions, groups, point formats.
pub(crate) fn ja3(hello: &ClientHello<'_>) -> Ja3 {
    let mut hash = Md5::new();
    write_ja3(hello, &mut hash);
    digits(&hash.finalize().into())
}

/// What JA3 is the hash of.
pub(crate) fn write_ja3(hello: &ClientHello<'_>, sheet: &mut dyn Sheet) {
    let mut text = Text(sheet);
    text.number(hello.version);
    text.comma();
    text.numbers(pairs(hello.ciphers));
    text.comma();
    text.numbers(hello.extensions().map(|(kind, _)| kind));
    text.comma();
    let groups = hello
        .extension(EXTENSION_GROUPS)
        .and_then(|mut content| content.vector16());
    text.numbers(groups.into_iter().flat_map(|list| pairs(list.rest())));
    text.comma();
    let formats = hello
        .extension(EXTENSION_POINT_FORMATS)
        .and_then(|mut content| content.vector8());
    let formats = formats.as_ref().map_or(&[][..], Cursor::rest);
    text.numbers(formats.iter().map(|&format| format.into()));
}

/// MD5 of the answer's numbers: version, cipher, extensions.
pub(crate) fn ja3s(hello: &ServerHello<'_>) -> Ja3 {
    let mut hash = Md5::new();
    write_ja3s(hello, &mut hash);
    digits(&hash.finalize().into())
}

/// What JA3S is the hash of.
pub(crate) fn write_ja3s(hello: &ServerHello<'_>, sheet: &mut dyn Sheet) {
    let mut text = Text(sheet);
    text.number(hello.version);
    text.comma();
    text.number(hello.cipher);
    text.comma();
    text.numbers(hello::extensions(hello.extensions).map(|(kind, _)| kind));
}

/// See the JA4 specification. None of a hello with longer lists than are sorted.
pub(crate) fn ja4(hello: &ClientHello<'_>, carrier: Carrier) -> Option<Ja4> {
    let mut ciphers = ArrayVec::<u16, LIST_MAX>::new();
    for cipher in pairs(hello.ciphers).filter(|&value| !hello::is_grease(value)) {
        ciphers.try_push(cipher).ok()?;
    }
    let mut named = false;
    let mut count = 0_usize;
    let mut kinds = ArrayVec::<u16, LIST_MAX>::new();
    for (kind, _) in hello.extensions() {
        if hello::is_grease(kind) {
            continue;
        }
        count += 1;
        named |= kind == EXTENSION_SERVER_NAME;
        if !matches!(kind, EXTENSION_SERVER_NAME | EXTENSION_ALPN) {
            kinds.try_push(kind).ok()?;
        }
    }
    let letter = match carrier {
        Carrier::Tcp => b't',
        Carrier::Datagrams => b'd',
        Carrier::Quic => b'q',
    };
    let mut text = ArrayVec::<u8, 36>::new();
    text.push(letter);
    text.extend(version(hello.highest_version()));
    text.push(if named { b'd' } else { b'i' });
    text.extend(two_digits(ciphers.len()));
    text.extend(two_digits(count));
    text.extend(protocol(hello));
    text.push(b'_');
    ciphers.sort_unstable();
    text.extend(hash(&ciphers, None));
    text.push(b'_');
    kinds.sort_unstable();
    let algorithms = hello
        .extension(EXTENSION_SIGNATURE_ALGORITHMS)
        .and_then(|mut content| content.vector16());
    text.extend(hash(&kinds, algorithms));
    text.into_inner().ok()
}

fn version(version: u16) -> [u8; 2] {
    *match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

fn two_digits(count: usize) -> [u8; 2] {
    let count = count.min(99) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of the first protocol offered; of its hexadecimal digits when one of
/// them is neither a letter nor a digit.
fn protocol(hello: &ClientHello<'_>) -> [u8; 2] {
    let first = hello.extension(EXTENSION_ALPN).and_then(|mut content| {
        let mut list = content.vector16()?;
        Some(list.vector8()?.rest())
    });
    let (Some(&first_byte), Some(&last_byte)) =
        (first.and_then(<[u8]>::first), first.and_then(<[u8]>::last))
    else {
        return *b"00";
    };
    if first_byte.is_ascii_alphanumeric() && last_byte.is_ascii_alphanumeric() {
        [first_byte, last_byte]
    } else {
        [hex(first_byte)[0], hex(last_byte)[1]]
    }
}

pub(super) fn hex(byte: u8) -> [u8; 2] {
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 15)]
}

/// The first twelve digits of the SHA-256 of a list, and of another behind it.
fn hash(list: &[u16], second: Option<Cursor<'_>>) -> [u8; 12] {
    if list.is_empty() {
        return [b'0'; 12];
    }
    let mut sha = Sha256::new();
    let mut separator: &[u8] = b"";
    let second = second.as_ref().map_or(&[][..], Cursor::rest);
    for &value in list {
        sha.update(separator);
        sha.update(four_digits(value));
        separator = b",";
    }
    separator = b"_";
    for value in pairs(second).filter(|&value| !hello::is_grease(value)) {
        sha.update(separator);
        sha.update(four_digits(value));
        separator = b",";
    }
    let digest = sha.finalize();
    let mut digits = [b'0'; 12];
    for (to, &byte) in digits.chunks_exact_mut(2).zip(digest.iter()) {
        to.copy_from_slice(&hex(byte));
    }
    digits
}

fn four_digits(value: u16) -> [u8; 4] {
    let [high, low] = value.to_be_bytes().map(hex);
    [high[0], high[1], low[0], low[1]]
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&pair| u16::from_be_bytes(pair))
}

/// What is written on.
pub(crate) trait Sheet {
    /// Adds to the end, as far as there is room.
    fn add(&mut self, bytes: &[u8]);
}

impl Sheet for Md5 {
    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl<const ROOM: usize> Sheet for ArrayVec<u8, ROOM> {
    fn add(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.remaining_capacity());
        self.extend(bytes.iter().take(fits).copied());
    }
}

/// Decimal numbers on their way onto a sheet.
struct Text<'a>(&'a mut dyn Sheet);

impl Text<'_> {
    fn number(&mut self, number: u16) {
        let mut digits = ArrayVec::<u8, 5>::new();
        let mut divisor = 10_000;
        while divisor > 0 {
            let digit = (number / divisor % 10) as u8;
            if digit > 0 || !digits.is_empty() || divisor == 1 {
                digits.push(b'0' + digit);
            }
            divisor /= 10;
        }
        self.0.add(&digits);
    }

    fn numbers(&mut self, numbers: impl Iterator<Item = u16>) {
        let mut separator: &[u8] = b"";
        for number in numbers.filter(|&value| !hello::is_grease(value)) {
            self.0.add(separator);
            self.number(number);
            separator = b"-";
        }
    }

    fn comma(&mut self) {
        self.0.add(b",");
    }
}

/// The hexadecimal digits of an MD5.
pub(crate) fn digits(digest: &[u8; 16]) -> Ja3 {
    let mut digits = [0; 32];
    for (to, &byte) in digits.chunks_exact_mut(2).zip(digest) {
        to.copy_from_slice(&hex(byte));
    }
    digits
}
