//! The hellos: what is asked for, and what is agreed (RFC 8446, 4.1; RFC 5246, 7.4.1).

use arrayvec::ArrayVec;

use super::{ALPN, CIPHER, SNI, VERSION};
use crate::cursor::Cursor;
use crate::{Event, EventKind, EventSink, Field, Probe, Step, Value};

/// Version, random, an empty session, a cipher and a compression: no hello is shorter.
pub(super) const HELLO_BYTES_MIN: usize = 38;
const SERVER_NAME_BYTES_MAX: usize = 255;
const ALPN_BYTES_MAX: usize = 256;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;

/// The random of a ServerHello that asks for another ClientHello (RFC 8446, 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The first byte of a draft's version.
const DRAFT: u8 = 0x7f;

const MALFORMED_CLIENT: &str = "a malformed ClientHello";
const MALFORMED_SERVER: &str = "a malformed ServerHello";
const REPEATED: &str = "an extension that comes twice";

/// What a ServerHello means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Agreed,
    Retry,
}

#[derive(Default)]
struct Extensions<'a> {
    server_name: Option<&'a [u8]>,
    alpn: Option<Cursor<'a>>,
    versions: Option<Cursor<'a>>,
}

/// Reads a ClientHello and tells of it.
pub(super) fn client(body: &[u8], sink: &mut dyn EventSink) -> Result<(), &'static str> {
    let mut cursor = Cursor::new(body);
    let (mut version, extensions) = client_front(&mut cursor).ok_or(MALFORMED_CLIENT)?;
    let extensions = read_extensions(extensions, MALFORMED_CLIENT)?;
    if let Some(mut versions) = extensions.versions {
        let mut list = versions.vector8().ok_or(MALFORMED_CLIENT)?;
        let mut highest = None;
        while let Some(offered) = list.u16() {
            if !is_grease(offered) {
                highest = highest.max(Some(final_version(offered)));
            }
        }
        version = highest.unwrap_or(version);
    }
    let mut name = ArrayVec::<u8, SERVER_NAME_BYTES_MAX>::new();
    if let Some(server_name) = extensions.server_name {
        let whole = server_name.strip_suffix(b".").unwrap_or(server_name);
        let visible = whole.iter().all(|&byte| byte > b' ' && byte != 0x7f);
        if whole.len() > SERVER_NAME_BYTES_MAX || !visible {
            return Err("a malformed server name");
        }
        name.extend(whole.iter().map(u8::to_ascii_lowercase));
    }
    let mut offered = ArrayVec::<u8, ALPN_BYTES_MAX>::new();
    if let Some(list) = extensions.alpn {
        join(list, &mut offered)?;
    }
    let fields = [
        Field {
            index: SNI,
            value: Value::Bytes(&name),
        },
        Field {
            index: ALPN,
            value: Value::Bytes(&offered),
        },
        Field {
            index: VERSION,
            value: Value::Name(version_name(version)),
        },
    ];
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    Ok(())
}

/// The version of the header, and the extensions, which old clients leave out.
fn client_front<'a>(cursor: &mut Cursor<'a>) -> Option<(u16, Cursor<'a>)> {
    let version = cursor.u16()?;
    cursor.take(32)?;
    let session = cursor.vector8()?;
    let ciphers = cursor.vector16()?;
    let compressions = cursor.vector8()?;
    let sound = version >> 8 == 3
        && session.rest().len() <= 32
        && !ciphers.is_empty()
        && ciphers.rest().len() % 2 == 0
        && !compressions.is_empty();
    if !sound {
        return None;
    }
    let extensions = if cursor.is_empty() {
        Cursor::new(&[])
    } else {
        cursor.vector16()?
    };
    cursor.is_empty().then_some((version, extensions))
}

/// Reads a ServerHello and tells of it, unless it asks for another ClientHello.
pub(super) fn server(body: &[u8], sink: &mut dyn EventSink) -> Result<Answer, &'static str> {
    let mut cursor = Cursor::new(body);
    if body.first() == Some(&DRAFT) {
        // Early drafts of TLS 1.3 have another form.
        return Ok(Answer::Agreed);
    }
    let (mut version, random, cipher) = server_front(&mut cursor).ok_or(MALFORMED_SERVER)?;
    if random == RETRY {
        return Ok(Answer::Retry);
    }
    let extensions = match cursor.is_empty() {
        true => Cursor::new(&[]),
        false => cursor.vector16().ok_or(MALFORMED_SERVER)?,
    };
    let extensions = read_extensions(extensions, MALFORMED_SERVER)?;
    if let Some(mut versions) = extensions.versions {
        version = final_version(versions.u16().ok_or(MALFORMED_SERVER)?);
    }
    let mut chosen = ArrayVec::<u8, ALPN_BYTES_MAX>::new();
    if let Some(list) = extensions.alpn {
        join(list, &mut chosen)?;
    }
    let fields = [
        Field {
            index: VERSION,
            value: Value::Name(version_name(version)),
        },
        Field {
            index: CIPHER,
            value: Value::Number(cipher.into()),
        },
        Field {
            index: ALPN,
            value: Value::Bytes(&chosen),
        },
    ];
    let told = if chosen.is_empty() {
        &fields[..2]
    } else {
        &fields[..]
    };
    sink.event(&Event {
        kind: EventKind::Response,
        fields: told,
    });
    Ok(Answer::Agreed)
}

fn server_front(cursor: &mut Cursor<'_>) -> Option<(u16, [u8; 32], u16)> {
    let version = cursor.u16()?;
    let random = cursor.array::<32>()?;
    let session = cursor.vector8()?;
    let cipher = cursor.u16()?;
    let _compression = cursor.u8()?;
    (version >> 8 == 3 && session.rest().len() <= 32).then_some((version, random, cipher))
}

fn read_extensions<'a>(
    mut list: Cursor<'a>,
    malformed: &'static str,
) -> Result<Extensions<'a>, &'static str> {
    let mut extensions = Extensions::default();
    while !list.is_empty() {
        let kind = list.u16().ok_or(malformed)?;
        let mut content = list.vector16().ok_or(malformed)?;
        let repeated = match kind {
            // The server acknowledges with an empty one.
            EXTENSION_SERVER_NAME if content.is_empty() => false,
            EXTENSION_SERVER_NAME => {
                let name = server_name(&mut content).ok_or("a malformed server name")?;
                extensions.server_name.replace(name).is_some()
            }
            EXTENSION_ALPN => {
                let names = content.vector16().ok_or(malformed)?;
                extensions.alpn.replace(names).is_some()
            }
            EXTENSION_SUPPORTED_VERSIONS => extensions.versions.replace(content).is_some(),
            _ => false,
        };
        if repeated {
            return Err(REPEATED);
        }
    }
    Ok(extensions)
}

/// The one host name of the list (RFC 6066, 3): two would be read differently by two servers.
fn server_name<'a>(content: &mut Cursor<'a>) -> Option<&'a [u8]> {
    const HOST_NAME: u8 = 0;
    let mut list = content.vector16()?;
    let kind = list.u8()?;
    let name = list.vector16()?;
    (kind == HOST_NAME && list.is_empty() && content.is_empty()).then_some(name.rest())
}

fn join(
    mut list: Cursor<'_>,
    joined: &mut ArrayVec<u8, ALPN_BYTES_MAX>,
) -> Result<(), &'static str> {
    while !list.is_empty() {
        let name = list
            .vector8()
            .ok_or("a malformed list of application protocols")?
            .rest();
        if let &[high, low] = name
            && is_grease(u16::from_be_bytes([high, low]))
        {
            continue;
        }
        let separator: &[u8] = if joined.is_empty() { b"" } else { b"," };
        let fits = joined.try_extend_from_slice(separator).is_ok()
            && joined.try_extend_from_slice(name).is_ok();
        if !fits {
            return Err("more application protocols than are read");
        }
    }
    Ok(())
}

/// Values sent so that nobody comes to rely on their absence (RFC 8701).
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Drafts of TLS 1.3 count as TLS 1.3.
fn final_version(version: u16) -> u16 {
    if version >> 8 == u16::from(DRAFT) {
        0x0304
    } else {
        version
    }
}

fn version_name(version: u16) -> &'static str {
    match version {
        0x0002 => "SSL 2.0",
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => "unknown",
    }
}

/// A hello in the form of SSL 2.0, which old clients send to every server (RFC 5246, E.2): its
/// version and whole length.
fn old_front(input: &[u8]) -> Option<(u16, usize)> {
    let mut cursor = Cursor::new(input);
    let length = usize::from(cursor.u16()?) & 0x7fff;
    let kind = cursor.u8()?;
    let version = cursor.u16()?;
    let [ciphers, session, challenge] =
        [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(usize::from);
    let sound = kind == super::CLIENT_HELLO
        && matches!(version, 0x0002 | 0x0300..=0x0304)
        && ciphers > 0
        && ciphers % 3 == 0
        && matches!(session, 0 | 16)
        && (16..=32).contains(&challenge)
        && length == 9 + ciphers + session + challenge;
    sound.then_some((version, 2 + length))
}

const OLD_FRONT_BYTES: usize = 11;

pub(super) fn probe_old_client(input: &[u8]) -> Probe {
    if input.len() >= OLD_FRONT_BYTES {
        return if old_front(input).is_some() {
            Probe::Certain
        } else {
            Probe::NotMine
        };
    }
    match input {
        [_, _, kind, ..] if *kind != super::CLIENT_HELLO => Probe::NotMine,
        [_, _, _, major, ..] if !matches!(major, 0 | 3) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

/// Reads a hello in the form of SSL 2.0.
pub(super) fn old_client(input: &[u8], sink: &mut dyn EventSink) -> Step {
    if input.len() < OLD_FRONT_BYTES {
        return Step::Incomplete;
    }
    let Some((version, length)) = old_front(input) else {
        return Step::Violation(MALFORMED_CLIENT);
    };
    let fields = [
        Field {
            index: SNI,
            value: Value::Bytes(b""),
        },
        Field {
            index: ALPN,
            value: Value::Bytes(b""),
        },
        Field {
            index: VERSION,
            value: Value::Name(version_name(version)),
        },
    ];
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    Step::Skip(length as u64)
}
