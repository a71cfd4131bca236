//! What a certificate says of its holder (RFC 5280, 4.1): a bounded walk over its DER.
//!
//! Trusts nothing, and proves nothing: no signature is checked. What does not fit, or is malformed,
//! is left out. Memory: two names of 256 bytes on the stack.

use arrayvec::ArrayVec;
use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

use super::{fields, fingerprint};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::{Buffer, EventKind, EventSink, Field};

const NAME_BYTES_MAX: usize = 256;
const ALTERNATIVES_MAX: usize = 32;

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const MAIL: u8 = 0x81;
const HOST: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// "2036-11-19T00:30:32Z".
type Time = [u8; 20];
type Name = ArrayVec<u8, NAME_BYTES_MAX>;

struct Certificate<'a> {
    serial: Cursor<'a>,
    issuer: Cursor<'a>,
    subject: Cursor<'a>,
    not_before: Option<Time>,
    not_after: Option<Time>,
    extensions: Option<Cursor<'a>>,
}

/// Tells of the first certificate of a list (RFC 5246, 7.4.2), if there is one.
pub(crate) fn tell_first(side: &'static str, list: &[u8], sink: &mut dyn EventSink) {
    let mut cursor = Cursor::new(list);
    if cursor.u24().is_none() {
        return;
    }
    let first = cursor
        .u24()
        .and_then(|length| cursor.take(usize::try_from(length).ok()?));
    if first.is_some_and(|first| tell(side, first, sink)) {
        tell_chain(list, sink);
    }
}

/// Tells of a certificate; returns whether it is one.
pub(crate) fn tell(side: &'static str, der: &[u8], sink: &mut dyn EventSink) -> bool {
    let Some(certificate) = read(der) else {
        return false;
    };
    let subject = distinguished(certificate.subject);
    let issuer = distinguished(certificate.issuer);
    let mut told = ArrayVec::<Field<'_>, { ALTERNATIVES_MAX + 8 }>::new();
    told.push(Field::name(fields::SIDE, side));
    told.push(Field::bytes(fields::SUBJECT, &subject));
    told.push(Field::bytes(fields::ISSUER, &issuer));
    if let Some(time) = &certificate.not_before {
        told.push(Field::bytes(fields::NOT_BEFORE, time));
    }
    if let Some(time) = &certificate.not_after {
        told.push(Field::bytes(fields::NOT_AFTER, time));
    }
    let mut identity = None;
    let mut names = certificate.extensions.and_then(alternatives);
    let mut listed = ArrayVec::<Field<'_>, ALTERNATIVES_MAX>::new();
    while let Some((tag, content)) = names.as_mut().and_then(any) {
        let field = match tag {
            HOST | MAIL => Field::bytes(fields::NAME, content.rest()),
            URI => {
                let text = content.rest();
                if text.starts_with(b"spiffe://") {
                    identity.get_or_insert(text);
                }
                Field::bytes(fields::NAME, text)
            }
            ADDRESS => match address(content.rest()) {
                Some(address) => Field::address(fields::NAME_ADDRESS, address),
                None => continue,
            },
            _ => continue,
        };
        if listed.try_push(field).is_err() {
            break;
        }
    }
    if let Some(identity) = identity {
        told.push(Field::bytes(fields::SPIFFE_ID, identity));
    }
    for &field in listed.iter() {
        if told.try_push(field).is_err() {
            break;
        }
    }
    fields::tell(EventKind::Session, &told, sink);
    if sink.wants(Buffer::TlsSerial) {
        // A zero before the highest bit is no part of the number.
        let serial = match certificate.serial.rest() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        };
        let text = octets(serial, u8::to_ascii_uppercase);
        content::whole(Buffer::TlsSerial, &text, sink);
    }
    if sink.wants(Buffer::TlsFingerprint) {
        let text = octets(&Sha1::digest(der), u8::to_ascii_lowercase);
        content::whole(Buffer::TlsFingerprint, &text, sink);
    }
    true
}

/// Hexadecimal digits, a colon between bytes.
fn octets(bytes: &[u8], case: fn(&u8) -> u8) -> Name {
    let mut text = Name::new();
    for (at, &byte) in bytes.iter().enumerate() {
        let [high, low] = fingerprint::hex(byte).map(|digit| case(&digit));
        if at > 0 {
            append(&mut text, b":");
        }
        append(&mut text, &[high, low]);
    }
    text
}

/// Tells every certificate of a list that is here whole (RFC 5246, 7.4.2).
pub(crate) fn tell_chain(list: &[u8], sink: &mut dyn EventSink) {
    if !sink.wants(Buffer::TlsCertificate) {
        return;
    }
    let mut cursor = Cursor::new(list);
    let _length = cursor.u24();
    while let Some(length) = cursor.u24() {
        let Some(der) = usize::try_from(length)
            .ok()
            .and_then(|length| cursor.take(length))
        else {
            return;
        };
        content::whole(Buffer::TlsCertificate, der, sink);
    }
}

/// The front of the certificate: the signature behind it may be missing.
fn read(der: &[u8]) -> Option<Certificate<'_>> {
    let mut outer = open(&mut Cursor::new(der), SEQUENCE)?;
    let mut body = open(&mut outer, SEQUENCE)?;
    if body.rest().first() == Some(&VERSION) {
        any(&mut body)?;
    }
    let serial = open(&mut body, INTEGER)?;
    open(&mut body, SEQUENCE)?;
    let issuer = open(&mut body, SEQUENCE)?;
    let mut validity = open(&mut body, SEQUENCE)?;
    let not_before = any(&mut validity).and_then(time);
    let not_after = any(&mut validity).and_then(time);
    let subject = open(&mut body, SEQUENCE)?;
    open(&mut body, SEQUENCE)?;
    let mut extensions = None;
    while let Some((tag, mut content)) = any(&mut body) {
        if tag == EXTENSIONS {
            extensions = open(&mut content, SEQUENCE);
        }
    }
    Some(Certificate {
        serial,
        issuer,
        subject,
        not_before,
        not_after,
        extensions,
    })
}

/// The next element: its tag and its content.
fn any<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, Cursor<'a>)> {
    let tag = cursor.u8()?;
    let length = match cursor.u8()? {
        length @ 0..=0x7f => usize::from(length),
        0x81 => usize::from(cursor.u8()?),
        0x82 => usize::from(cursor.u16()?),
        0x83 => usize::try_from(cursor.u24()?).ok()?,
        _ => return None,
    };
    Some((tag, Cursor::new(cursor.take(length)?)))
}

/// The content of the next element, which must have this tag.
fn open<'a>(cursor: &mut Cursor<'a>, wanted: u8) -> Option<Cursor<'a>> {
    any(cursor).and_then(|(tag, content)| (tag == wanted).then_some(content))
}

/// The list of alternative names.
fn alternatives(mut extensions: Cursor<'_>) -> Option<Cursor<'_>> {
    while let Some(mut extension) = open(&mut extensions, SEQUENCE) {
        let kind = open(&mut extension, OBJECT)?;
        if kind.rest() != ALTERNATIVE_NAMES {
            continue;
        }
        if extension.rest().first() == Some(&BOOLEAN) {
            any(&mut extension)?;
        }
        let mut content = open(&mut extension, OCTETS)?;
        return open(&mut content, SEQUENCE);
    }
    None
}

fn address(content: &[u8]) -> Option<IpAddr> {
    match content.len() {
        4 => <[u8; 4]>::try_from(content).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(content).ok().map(IpAddr::from),
        _ => None,
    }
}

/// "C=DE, O=Example, CN=example.org", as the parts come; cut off where it is too long.
fn distinguished(mut list: Cursor<'_>) -> Name {
    let mut text = Name::new();
    while let Some(mut set) = open(&mut list, SET) {
        while let Some(mut pair) = open(&mut set, SEQUENCE) {
            let (Some(kind), Some((tag, value))) = (open(&mut pair, OBJECT), any(&mut pair)) else {
                continue;
            };
            let Some(label) = label(kind.rest()) else {
                continue;
            };
            let separator: &[u8] = if text.is_empty() { b"" } else { b", " };
            for part in [separator, label, b"="] {
                append(&mut text, part);
            }
            // BMPString has two bytes a character, of which the first is mostly zero.
            const WIDE: u8 = 0x1e;
            for &byte in value.rest() {
                if tag != WIDE || byte != 0 {
                    append(&mut text, &[byte]);
                }
            }
        }
    }
    text
}

fn append(text: &mut Name, part: &[u8]) {
    let fitting = part.len().min(text.remaining_capacity());
    text.extend(part.iter().take(fitting).copied());
}

/// Short names of RFC 4519 for the attributes that are told.
fn label(kind: &[u8]) -> Option<&'static [u8]> {
    Some(match kind {
        [0x55, 0x04, 3] => b"CN",
        [0x55, 0x04, 5] => b"serialNumber",
        [0x55, 0x04, 6] => b"C",
        [0x55, 0x04, 7] => b"L",
        [0x55, 0x04, 8] => b"ST",
        [0x55, 0x04, 10] => b"O",
        [0x55, 0x04, 11] => b"OU",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => b"emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => b"DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => b"UID",
        _ => return None,
    })
}

/// UTC only, as RFC 5280, 4.1.2.5 demands; two digits of a year below 50 are of this century.
fn time((tag, content): (u8, Cursor<'_>)) -> Option<Time> {
    let digits = content.rest();
    let (century, rest) = match tag {
        UTC_TIME => {
            let recent = digits.first().is_some_and(|&tens| tens < b'5');
            (if recent { *b"20" } else { *b"19" }, digits)
        }
        GENERALIZED_TIME => {
            let (&century, rest) = digits.split_first_chunk::<2>()?;
            (century, rest)
        }
        _ => return None,
    };
    let seconds = match rest.len() {
        11 => &b"00"[..],
        13.. => rest.get(10..12)?,
        _ => return None,
    };
    let mut time = *b"0000-00-00T00:00:00Z";
    let parts = [
        (0, &century[..]),
        (2, rest.get(0..2)?),
        (5, rest.get(2..4)?),
        (8, rest.get(4..6)?),
        (11, rest.get(6..8)?),
        (14, rest.get(8..10)?),
        (17, seconds),
    ];
    for (at, part) in parts {
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        time.get_mut(at..at + 2)?.copy_from_slice(part);
    }
    Some(time)
}
