//! Which characters a text is written in: what its charset says, or its first two bytes.
//!
//! A receiver that sees `<` and a zero byte reads UTF-16 without being told, so that is looked for.

use crate::piecewise::{Ebcdic, Emit, Endian, Piecewise, Utf7, Utf16};

/// How characters are decoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Charset {
    /// The first bytes decide.
    Sniffing(Option<u8>),
    /// Nothing to decode: UTF-8, or something of which ASCII is part.
    #[default]
    Bytes,
    Utf16(Utf16),
    Utf7(Utf7),
    Ebcdic(Ebcdic),
}

/// What another byte tells about the charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// Nothing: it is known.
    Known,
    /// Another byte is needed; this one is kept.
    More,
    /// The kept byte and this one are text as it is.
    Text(u8),
    /// They have to be decoded.
    Encoded(u8),
}

impl Charset {
    /// The charset of this name; unknown ones, and none, are looked at.
    pub(crate) fn named(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if is("utf-16le") => Self::Utf16(Utf16::new(Endian::Little)),
            () if is("utf-16be") => Self::Utf16(Utf16::new(Endian::Big)),
            () if is("utf-7") || is("unicode-1-1-utf-7") => Self::Utf7(Utf7::default()),
            () if is("ibm037") || is("cp037") || is("ibm1140") => Self::Ebcdic(Ebcdic),
            () => Self::Sniffing(None),
        }
    }

    /// Whether characters have to be decoded for certain.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Utf16(_) | Self::Utf7(_) | Self::Ebcdic(_))
    }

    pub(super) fn sniff(&mut self, byte: u8) -> Sniffed {
        let Self::Sniffing(first) = self else {
            return Sniffed::Known;
        };
        let Some(first) = *first else {
            *self = Self::Sniffing(Some(byte));
            return Sniffed::More;
        };
        let endian = match (first, byte) {
            (0xff, 0xfe) | (1.., 0) => Some(Endian::Little),
            (0xfe, 0xff) | (0, 1..) => Some(Endian::Big),
            _ => None,
        };
        match endian {
            Some(endian) => {
                *self = Self::Utf16(Utf16::new(endian));
                Sniffed::Encoded(first)
            }
            None => {
                *self = Self::Bytes;
                Sniffed::Text(first)
            }
        }
    }

    /// The only byte there was.
    pub(super) fn end_sniffing(&mut self) -> Option<u8> {
        let Self::Sniffing(first) = *self else {
            return None;
        };
        *self = Self::Bytes;
        first
    }
}

impl Piecewise for Charset {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        match self {
            Self::Sniffing(_) | Self::Bytes => out.bytes(input),
            Self::Utf16(utf16) => utf16.piece(input, out),
            Self::Utf7(utf7) => utf7.piece(input, out),
            Self::Ebcdic(ebcdic) => ebcdic.piece(input, out),
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        match self {
            Self::Sniffing(_) | Self::Bytes => {}
            Self::Utf16(utf16) => utf16.end(out),
            Self::Utf7(utf7) => utf7.end(out),
            Self::Ebcdic(ebcdic) => ebcdic.end(out),
        }
    }
}
