//! The hellos: what is asked for, and what is agreed (RFC 8446, 4.1; RFC 5246, 7.4.1; with a
//! cookie in RFC 6347, 4.2.1).

use arrayvec::ArrayVec;

use super::fields;
use super::fingerprint::{self, Carrier};
use crate::read::content;
use crate::read::cursor::Cursor;
use crate::{Buffer, EventKind, EventSink, Field, violation};

/// Version, random, an empty session, a cipher and a compression: no hello is shorter.
pub(crate) const HELLO_BYTES_MIN: usize = 38;
const SERVER_NAME_BYTES_MAX: usize = 255;
const ALPN_BYTES_MAX: usize = 256;

/// What a fingerprint is the hash of; real ones are below 1,000 bytes.
type FingerprintText = ArrayVec<u8, 8_192>;

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_HEARTBEAT: u16 = 15;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;
const EXTENSION_ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Up to TLS 1.2: the certificate follows in the clear.
    Agreed {
        /// And either side may send heartbeats (RFC 6520).
        heartbeats: bool,
    },
    /// What follows is encrypted.
    Encrypted,
    /// The client shall say hello again.
    Retry,
}

/// A ClientHello, cut into its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientHello<'a> {
    /// The version of the header.
    pub(crate) version: u16,
    /// Cipher suites, two bytes each.
    pub(crate) ciphers: &'a [u8],
    /// What lies within the extensions' length.
    extensions: &'a [u8],
    found: Extensions<'a>,
}

/// A ServerHello, cut into its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerHello<'a> {
    /// The version of the header.
    pub(crate) version: u16,
    /// The cipher suite chosen.
    pub(crate) cipher: u16,
    /// What lies within the extensions' length.
    pub(crate) extensions: &'a [u8],
    found: Extensions<'a>,
    retry: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extensions<'a> {
    server_name: Option<&'a [u8]>,
    alpn: Option<Cursor<'a>>,
    versions: Option<Cursor<'a>>,
    encrypted: bool,
    heartbeats: bool,
}

/// What is wrong with a ClientHello that could not be cut.
fn fault(body: &[u8], carrier: Carrier) -> &'static str {
    let ciphers = |mut cursor: Cursor<'_>| {
        cursor.take(2 + 32)?;
        cursor.vector8()?;
        if carrier == Carrier::Datagrams {
            cursor.vector8()?;
        }
        let length = usize::from(cursor.u16()?);
        Some(length > cursor.rest().len() || length % 2 == 1)
    };
    match ciphers(Cursor::new(body)) {
        Some(true) => violation::TLS_CIPHERS,
        _ => MALFORMED_CLIENT,
    }
}

impl<'a> ClientHello<'a> {
    /// Cuts a message; of datagrams with a cookie behind the session.
    pub(crate) fn read(body: &'a [u8], carrier: Carrier) -> Result<Self, &'static str> {
        Self::front(body, carrier)
            .ok_or_else(|| fault(body, carrier))
            .and_then(|mut hello| {
                hello.found = read_extensions(hello.extensions, MALFORMED_CLIENT)?;
                Ok(hello)
            })
    }

    fn front(body: &'a [u8], carrier: Carrier) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let version = cursor.u16()?;
        cursor.take(32)?;
        let session = cursor.vector8()?;
        let datagrams = carrier == Carrier::Datagrams;
        if datagrams {
            cursor.vector8()?;
        }
        let ciphers = cursor.vector16()?.rest();
        let compressions = cursor.vector8()?;
        let known = match version >> 8 {
            3 => !datagrams,
            0xfe => datagrams,
            // OpenSSL's DTLS before there was one.
            1 => datagrams && version == 0x0100,
            _ => false,
        };
        let sound = known
            && session.rest().len() <= 32
            && !ciphers.is_empty()
            && ciphers.len() % 2 == 0
            && !compressions.is_empty();
        if !sound {
            return None;
        }
        // Old clients leave the extensions out.
        let extensions: &[u8] = match cursor.is_empty() {
            true => &[],
            false => cursor.vector16()?.rest(),
        };
        cursor.is_empty().then_some(Self {
            version,
            ciphers,
            extensions,
            found: Extensions::default(),
        })
    }

    /// Every extension: its number and its content.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (u16, Cursor<'a>)> + use<'a> {
        extensions(self.extensions)
    }

    /// The content of an extension.
    pub(crate) fn extension(&self, wanted: u16) -> Option<Cursor<'a>> {
        self.extensions()
            .find_map(|(kind, content)| (kind == wanted).then_some(content))
    }

    /// The highest version offered; a draft's is its own.
    pub(crate) fn highest_version(&self) -> u16 {
        let list = self
            .found
            .versions
            .and_then(|mut versions| versions.vector8());
        let mut highest = None;
        if let Some(mut list) = list {
            while let Some(offered) = list.u16() {
                let rank = rank(offered);
                if !is_grease(offered) && highest.is_none_or(|(best, _)| rank > best) {
                    highest = Some((rank, offered));
                }
            }
        }
        highest.map_or(self.version, |(_, version)| version)
    }

    /// Tells of the hello. `version` stands in for TLS's where another protocol carries it.
    pub(crate) fn tell(
        &self,
        carrier: Carrier,
        version: Option<&'static str>,
        sink: &mut dyn EventSink,
    ) -> Result<(), &'static str> {
        if self
            .found
            .versions
            .is_some_and(|mut versions| versions.vector8().is_none())
        {
            return Err(MALFORMED_CLIENT);
        }
        let server_name = host_name(self.found.server_name)?;
        let mut offered = ArrayVec::<u8, ALPN_BYTES_MAX>::new();
        if let Some(list) = self.found.alpn {
            join(list, &mut offered)?;
        }
        let version = version.unwrap_or(fields::version_name(self.highest_version()));
        let ja3 = fingerprint::ja3(self);
        let ja4 = fingerprint::ja4(self, carrier);
        let mut told = ArrayVec::<Field<'_>, 6>::new();
        told.push(Field::bytes(fields::SNI, &server_name));
        told.push(Field::bytes(fields::ALPN, &offered));
        told.push(Field::name(fields::VERSION, version));
        told.push(Field::bytes(fields::JA3, &ja3));
        if let Some(ja4) = &ja4 {
            told.push(Field::bytes(fields::JA4, ja4));
        }
        if carrier != Carrier::Quic {
            let dns = offered
                .split(|&byte| byte == b',')
                .any(|name| name == b"dot");
            if dns {
                told.push(Field::name(fields::NOTE, "dns over tls"));
            } else if self.found.encrypted {
                told.push(Field::name(fields::NOTE, "ech"));
            }
        }
        fields::tell(EventKind::Request, &told, sink);
        tell_protocols(self.found.alpn, sink);
        if sink.wants(Buffer::Ja3String) {
            let mut text = FingerprintText::new();
            fingerprint::write_ja3(self, &mut text);
            content::whole(Buffer::Ja3String, &text, sink);
        }
        Ok(())
    }
}

impl<'a> ServerHello<'a> {
    /// Cuts a message. None: of an early draft of TLS 1.3, which has another form.
    pub(crate) fn read(body: &'a [u8]) -> Result<Option<Self>, &'static str> {
        if body.first() == Some(&DRAFT) {
            return Ok(None);
        }
        let mut hello = Self::front(body).ok_or(MALFORMED_SERVER)?;
        hello.found = read_extensions(hello.extensions, MALFORMED_SERVER)?;
        Ok(Some(hello))
    }

    fn front(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let version = cursor.u16()?;
        let random = cursor.array::<32>()?;
        let session = cursor.vector8()?;
        let cipher = cursor.u16()?;
        let _compression = cursor.u8()?;
        let known = matches!(version >> 8, 3 | 0xfe) || version == 0x0100;
        let extensions: &[u8] = match cursor.is_empty() {
            true => &[],
            false => cursor.vector16()?.rest(),
        };
        (known && session.rest().len() <= 32).then_some(Self {
            version,
            cipher,
            extensions,
            found: Extensions::default(),
            retry: random == RETRY,
        })
    }

    /// Tells of the answer.
    pub(crate) fn tell(
        &self,
        version: Option<&'static str>,
        sink: &mut dyn EventSink,
    ) -> Result<Answer, &'static str> {
        let chosen_version = match self.found.versions {
            Some(mut versions) => versions.u16().ok_or(MALFORMED_SERVER)?,
            None => self.version,
        };
        let mut chosen = ArrayVec::<u8, ALPN_BYTES_MAX>::new();
        if let Some(list) = self.found.alpn {
            join(list, &mut chosen)?;
        }
        let ja3s = fingerprint::ja3s(self);
        let mut told = ArrayVec::<Field<'_>, 5>::new();
        if self.retry && version.is_none() {
            told.push(Field::name(fields::NOTE, "retry"));
        }
        let name = version.unwrap_or(fields::version_name(chosen_version));
        told.push(Field::name(fields::VERSION, name));
        told.push(Field::number(fields::CIPHER, self.cipher.into()));
        told.push(Field::bytes(fields::JA3S, &ja3s));
        if !chosen.is_empty() {
            told.push(Field::bytes(fields::ALPN, &chosen));
        }
        fields::tell(EventKind::Response, &told, sink);
        tell_protocols(self.found.alpn, sink);
        fields::version_buffer(chosen_version, sink);
        if sink.wants(Buffer::Ja3sString) {
            let mut text = FingerprintText::new();
            fingerprint::write_ja3s(self, &mut text);
            content::whole(Buffer::Ja3sString, &text, sink);
        }
        Ok(match self.found.versions {
            _ if self.retry => Answer::Retry,
            Some(_) => Answer::Encrypted,
            None => Answer::Agreed {
                heartbeats: self.found.heartbeats,
            },
        })
    }
}

/// Reads a ClientHello and tells of it.
pub(crate) fn client(
    body: &[u8],
    carrier: Carrier,
    version: Option<&'static str>,
    sink: &mut dyn EventSink,
) -> Result<(), &'static str> {
    ClientHello::read(body, carrier)?.tell(carrier, version, sink)
}

/// Reads a ServerHello and tells of it.
pub(crate) fn server(
    body: &[u8],
    version: Option<&'static str>,
    sink: &mut dyn EventSink,
) -> Result<Answer, &'static str> {
    match ServerHello::read(body)? {
        Some(hello) => hello.tell(version, sink),
        None => Ok(Answer::Encrypted),
    }
}

/// Every extension of a list that was found sound: its number and its content.
pub(crate) fn extensions(list: &[u8]) -> impl Iterator<Item = (u16, Cursor<'_>)> + use<'_> {
    let mut list = Cursor::new(list);
    std::iter::from_fn(move || Some((list.u16()?, list.vector16()?)))
}

fn read_extensions<'a>(
    list: &'a [u8],
    malformed: &'static str,
) -> Result<Extensions<'a>, &'static str> {
    let mut list = Cursor::new(list);
    let mut found = Extensions::default();
    while !list.is_empty() {
        let kind = list.u16().ok_or(malformed)?;
        let mut content = list.vector16().ok_or(malformed)?;
        let repeated = match kind {
            // The server acknowledges with an empty one.
            EXTENSION_SERVER_NAME if content.is_empty() => false,
            EXTENSION_SERVER_NAME => {
                let name = server_name(&mut content).ok_or("a malformed server name")?;
                found.server_name.replace(name).is_some()
            }
            EXTENSION_ALPN => {
                let names = content.vector16().ok_or(malformed)?;
                found.alpn.replace(names).is_some()
            }
            EXTENSION_SUPPORTED_VERSIONS => found.versions.replace(content).is_some(),
            EXTENSION_ENCRYPTED_CLIENT_HELLO => {
                found.encrypted = true;
                false
            }
            EXTENSION_HEARTBEAT => {
                found.heartbeats = true;
                false
            }
            _ => false,
        };
        if repeated {
            return Err(REPEATED);
        }
    }
    Ok(found)
}

/// The one host name of the list (RFC 6066, 3): two would be read differently by two servers.
fn server_name<'a>(content: &mut Cursor<'a>) -> Option<&'a [u8]> {
    const HOST_NAME: u8 = 0;
    let mut list = content.vector16()?;
    let kind = list.u8()?;
    let name = list.vector16()?;
    (kind == HOST_NAME && list.is_empty() && content.is_empty()).then_some(name.rest())
}

/// The server's name as it is compared: lower case, without the dot of the root.
pub(crate) fn host_name(
    asked: Option<&[u8]>,
) -> Result<ArrayVec<u8, SERVER_NAME_BYTES_MAX>, &'static str> {
    let asked = asked.unwrap_or_default();
    let whole = asked.strip_suffix(b".").unwrap_or(asked);
    let visible = whole.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if whole.len() > SERVER_NAME_BYTES_MAX || !visible {
        return Err("a malformed server name");
    }
    Ok(whole.iter().map(u8::to_ascii_lowercase).collect())
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

/// Each application protocol of a list.
fn tell_protocols(list: Option<Cursor<'_>>, sink: &mut dyn EventSink) {
    let mut list = list.filter(|_| sink.wants(Buffer::TlsAlpn));
    while let Some(name) = list.as_mut().and_then(Cursor::vector8) {
        content::whole(Buffer::TlsAlpn, name.rest(), sink);
    }
}

/// Values sent so that nobody comes to rely on their absence (RFC 8701).
pub(crate) fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// How new a version is: drafts of TLS 1.3 come before it; DTLS counts downwards.
fn rank(version: u16) -> u16 {
    match version >> 8 {
        0xfe => u16::MAX - version,
        0x7f => 0x0607,
        _ => version.saturating_mul(2),
    }
}
