//! Packet headers (RFC 8999; RFC 9000, 17; RFC 9369, 3; Google's before them).

use crate::Probe;
use crate::read::cursor::Cursor;

pub(super) const LONG: u8 = 0x80;
pub(super) const FIXED: u8 = 0x40;
const CONNECTION_BYTES_MAX: usize = 20;
/// Number, one byte, and what proves it: no packet is shorter.
const CONTENT_BYTES_MIN: u64 = 20;
const TAG_BYTES: usize = 16;
/// Google's public header.
const HAS_VERSION: u8 = 0x01;
const RESET: u8 = 0x02;
const HAS_CONNECTION: u8 = 0x08;
const GOOGLE_VERSION_AT: usize = 9;
/// Where a message of Google's handshake stands at the latest: behind header, hash and frame.
pub(super) const GOOGLE_MESSAGE_AT_MAX: usize = 96;

/// How a version writes its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 9000 and its drafts from 22 on.
    One,
    /// RFC 9369.
    Two,
    /// Google's with the handshake of TLS or its own, encrypted like drafts.
    GoogleEncrypted,
    /// Google's last with its handshake in the clear.
    Google46,
    /// Reserved, so that nobody comes to rely on its absence.
    Reserved,
}

/// The type of a packet with a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    EarlyData,
    Handshake,
    Retry,
}

/// A packet with a long header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long<'a> {
    pub(super) version: u32,
    pub(super) form: Form,
    pub(super) kind: Kind,
    pub(super) destination: &'a [u8],
    pub(super) source: &'a [u8],
    /// Where the protected number stands.
    pub(super) number_at: usize,
    /// Where the packet ends.
    pub(super) end: usize,
}

pub(super) fn form(version: u32) -> Option<Form> {
    match version {
        1 | 0xff00_0016..=0xff00_0022 | 0xface_b000..=0xface_b0ff => Some(Form::One),
        0x6b33_43cf | 0x709a_50c4 | 0xff02_0000 => Some(Form::Two),
        _ => match version.to_be_bytes() {
            [b'Q' | b'T', b'0', b'5', b'0'..=b'9'] => Some(Form::GoogleEncrypted),
            [b'Q', b'0', b'4', b'4'..=b'9'] => Some(Form::Google46),
            _ if version & 0x0f0f_0f0f == 0x0a0a_0a0a => Some(Form::Reserved),
            _ => None,
        },
    }
}

/// What the version is called.
pub(super) fn version_name(version: u32) -> &'static str {
    match version {
        1 => "QUIC 1",
        0x6b33_43cf | 0x709a_50c4 | 0xff02_0000 => "QUIC 2",
        0xff00_0000..=0xff00_ffff => "QUIC draft",
        0xface_b000..=0xface_b0ff => "mvfst",
        _ => match version.to_be_bytes() {
            [b'Q' | b'T', b'0', ..] => "gQUIC",
            _ => "unknown",
        },
    }
}

fn kind(first: u8, form: Form) -> Kind {
    let bits = first >> 4 & 3;
    let bits = match form {
        Form::Two => bits.wrapping_sub(1) & 3,
        _ => bits,
    };
    match bits {
        0 => Kind::Initial,
        1 => Kind::EarlyData,
        2 => Kind::Handshake,
        _ => Kind::Retry,
    }
}

/// A number of one to eight bytes (RFC 9000, 16).
pub(super) fn number(cursor: &mut Cursor<'_>) -> Option<u64> {
    let first = cursor.u8()?;
    let more = (1_usize << (first >> 6)) - 1;
    let start = u64::from(first & 0x3f);
    let rest = cursor.take(more)?;
    Some(
        rest.iter()
            .fold(start, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

fn connection<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let id = cursor.vector8()?.rest();
    (id.len() <= CONNECTION_BYTES_MAX).then_some(id)
}

impl<'a> Long<'a> {
    /// The packet at the front, of a version that is known.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(datagram);
        let first = cursor.u8()?;
        let version = cursor.u32()?;
        let form = form(version)?;
        if first & (LONG | FIXED) != LONG | FIXED || form == Form::Google46 {
            return None;
        }
        let destination = connection(&mut cursor)?;
        let source = connection(&mut cursor)?;
        let kind = kind(first, form);
        let mut packet = Self {
            version,
            form,
            kind,
            destination,
            source,
            number_at: 0,
            end: datagram.len(),
        };
        if kind == Kind::Retry {
            return (cursor.rest().len() >= TAG_BYTES).then_some(packet);
        }
        if kind == Kind::Initial {
            let token = usize::try_from(number(&mut cursor)?).ok()?;
            cursor.take(token)?;
        }
        let length = number(&mut cursor)?;
        packet.number_at = datagram.len() - cursor.rest().len();
        let length = (length >= CONTENT_BYTES_MIN).then_some(length)?;
        cursor.take(usize::try_from(length).ok()?)?;
        packet.end = datagram.len() - cursor.rest().len();
        Some(packet)
    }

    /// The answer to a version that the server does not speak: versions that it does.
    pub(super) fn is_negotiation(datagram: &[u8]) -> bool {
        let listed = || {
            let mut cursor = Cursor::new(datagram);
            let first = cursor.u8()?;
            let version = cursor.u32()?;
            connection(&mut cursor)?;
            connection(&mut cursor)?;
            let (versions, rest) = cursor.rest().as_chunks::<4>();
            let known = versions
                .iter()
                .any(|&version| form(u32::from_be_bytes(version)).is_some());
            Some(first & LONG != 0 && version == 0 && rest.is_empty() && known)
        };
        listed().unwrap_or(false)
    }
}

/// Google's header of version 46: the length of both ids in one byte, a number, and a hash before
/// the frames in the clear.
fn is_google_46(datagram: &[u8]) -> bool {
    let mut cursor = Cursor::new(datagram);
    let front = || {
        let first = cursor.u8()?;
        let version = cursor.u32()?;
        let lengths = cursor.u8()?;
        let sound = first & (LONG | FIXED) == LONG | FIXED
            && form(version) == Some(Form::Google46)
            && matches!(lengths, 0x50 | 0x05 | 0x55 | 0x00);
        Some(sound && cursor.rest().len() >= 8)
    };
    let mut front = front;
    front().unwrap_or(false)
}

/// Google's public header with a version in it, or an answer that is known by its message.
fn is_google(datagram: &[u8], from_server: bool) -> bool {
    let Some(&flags) = datagram.first() else {
        return false;
    };
    if flags & LONG != 0 {
        return false;
    }
    let behind = datagram.get(GOOGLE_VERSION_AT..).unwrap_or_default();
    if flags & HAS_VERSION != 0 && flags & HAS_CONNECTION != 0 {
        return matches!(behind, [b'Q', b'0', b'0'..=b'4', b'0'..=b'9', ..]);
    }
    if flags & RESET != 0 && flags & HAS_CONNECTION != 0 {
        return behind.starts_with(b"PRST");
    }
    from_server && flags & (HAS_VERSION | RESET) == 0 && google_message(datagram).is_some()
}

/// The message of Google's handshake, in the clear, within the datagram.
pub(super) fn google_message(content: &[u8]) -> Option<&[u8]> {
    let front = content.get(..GOOGLE_MESSAGE_AT_MAX).unwrap_or(content);
    // Name and number of its tags, of which there are few.
    let at = front.windows(8).position(|window| {
        matches!(window, [b'C', b'H', b'L', b'O', _, 0, 0, 0])
            || matches!(window, [b'R', b'E', b'J', 0, _, 0, 0, 0])
            || matches!(window, [b'S', b'H', b'L', b'O', _, 0, 0, 0])
    })?;
    content.get(at..)
}

/// What a datagram is, as far as it can be told alone.
pub(super) fn probe(datagram: &[u8], from_server: bool) -> Probe {
    let Some(&first) = datagram.first() else {
        return Probe::Unsure;
    };
    if is_google(datagram, from_server) || is_google_46(datagram) {
        return Probe::Certain;
    }
    if first & LONG == 0 {
        // Behind the handshake hardly anything can be told.
        let long_enough = datagram.len() >= 21;
        return match first & FIXED != 0 && long_enough {
            true => Probe::Unsure,
            false => Probe::NotMine,
        };
    }
    if from_server && Long::is_negotiation(datagram) {
        return Probe::Certain;
    }
    match Long::read(datagram) {
        Some(packet) if packet.form == Form::Reserved => Probe::Unsure,
        Some(_) => Probe::Certain,
        None => Probe::NotMine,
    }
}
