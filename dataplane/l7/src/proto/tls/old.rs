//! The hellos of SSL 2.0, which old clients sent to every server (RFC 5246, E.2; the SSL protocol,
//! Hickman 1995).

use super::fields;
use super::{CLIENT_HELLO, certificate};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::{Buffer, EventKind, EventSink, Field, Probe, Step};

pub(super) const VERSION: u16 = 2;
const SERVER_HELLO: u8 = 4;
const FRONT_BYTES: usize = 11;
const SERVER_FRONT_BYTES: usize = 13;

/// A hello in the form of SSL 2.0: its version and whole length.
fn front(input: &[u8]) -> Option<(u16, usize)> {
    let mut cursor = Cursor::new(input);
    let length = usize::from(cursor.u16()?) & 0x7fff;
    let kind = cursor.u8()?;
    let version = cursor.u16()?;
    let [ciphers, session, challenge] =
        [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(usize::from);
    let sound = kind == CLIENT_HELLO
        && matches!(version, VERSION | 0x0300..=0x0304)
        && ciphers > 0
        && ciphers % 3 == 0
        && matches!(session, 0 | 16)
        && (16..=32).contains(&challenge)
        && length == 9 + ciphers + session + challenge;
    sound.then_some((version, 2 + length))
}

pub(super) fn probe_client(input: &[u8]) -> Probe {
    if input.len() >= FRONT_BYTES {
        return if front(input).is_some() {
            Probe::Certain
        } else {
            Probe::NotMine
        };
    }
    match input {
        [_, _, kind, ..] if *kind != CLIENT_HELLO => Probe::NotMine,
        [_, _, _, major, ..] if !matches!(major, 0 | 3) => Probe::NotMine,
        _ => Probe::Unsure,
    }
}

/// Reads a client's hello; the version it asks for.
pub(super) fn client(input: &[u8], sink: &mut dyn EventSink) -> Result<(u16, Step), Step> {
    if input.len() < FRONT_BYTES {
        return Err(Step::Incomplete);
    }
    let Some((version, length)) = front(input) else {
        return Err(Step::Violation("a malformed ClientHello"));
    };
    let told = [
        Field::bytes(fields::SNI, b""),
        Field::bytes(fields::ALPN, b""),
        Field::name(fields::VERSION, fields::version_name(version)),
        Field::name(fields::NOTE, "sslv2 hello"),
    ];
    fields::tell(EventKind::Request, &told, sink);
    Ok((version, Step::Skip(length as u64)))
}

/// Reads a server's hello, whose certificate stands in it.
pub(super) fn server(input: &[u8], sink: &mut dyn EventSink) -> Step {
    let mut cursor = Cursor::new(input);
    let (Some(length), Some([kind, _hit, certificate_kind])) = (cursor.u16(), cursor.array())
    else {
        return Step::Incomplete;
    };
    let total = 2 + usize::from(length & 0x7fff);
    if length & 0x8000 == 0 || kind != SERVER_HELLO || total < SERVER_FRONT_BYTES {
        // An error, in another form.
        return Step::Done;
    }
    let (Some(version), Some(certificate_length)) = (cursor.u16(), cursor.u16()) else {
        return Step::Incomplete;
    };
    let (Some(_ciphers), Some(_connection)) = (cursor.u16(), cursor.u16()) else {
        return Step::Incomplete;
    };
    let Some(certificate) = cursor.take(certificate_length.into()) else {
        return Step::Incomplete;
    };
    let told = [Field::name(fields::VERSION, fields::version_name(version))];
    fields::tell(EventKind::Response, &told, sink);
    fields::version_buffer(version, sink);
    if certificate_kind == 1 && certificate::tell("server", certificate, sink) {
        content::whole(Buffer::TlsCertificate, certificate, sink);
    }
    Step::Done
}
