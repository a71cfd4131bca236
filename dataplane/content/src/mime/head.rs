//! Header lines of a mail or of a part (RFC 5322, section 2.2; RFC 2183).
//!
//! Lines are unfolded and cut to [`LINE_BYTES`]; what counts is kept in [`Facts`].

use arrayvec::ArrayVec;

use super::value::{self, Media, Parameters};
use crate::part::Name;
use crate::piecewise::{Alphabet, Base64, Base64Mode, Emit, Piecewise, Quoted};
use crate::readers::{Charset, Format};

/// So much of a header line is read.
const LINE_BYTES: usize = 2048;

/// How a part travels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Transfer {
    /// As it is: 7bit, 8bit, binary.
    #[default]
    Identity,
    Base64(Base64),
    /// Base64 up to the first byte that is none.
    Claimed(Base64),
    Quoted(Quoted),
}

/// What the header lines of a part say.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) media: Media,
    pub(super) boundary: ArrayVec<u8, 130>,
    pub(super) charset: Charset,
    pub(super) transfer: Transfer,
    /// The field's name.
    pub(super) name: Name,
    /// The file's name.
    pub(super) file: Name,
    /// It is a file, with a name or without.
    pub(super) is_file: bool,
}

/// The line that is being read.
pub(super) struct Head {
    line: [u8; LINE_BYTES],
    length: usize,
    place: Place,
    pub(super) facts: Facts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of a line, after the one that is kept.
    Start,
    /// A carriage return at the start of a line.
    StartCr,
    /// Within a line.
    Line,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            media: Media::Content(Format::Text),
            boundary: ArrayVec::new(),
            charset: Charset::named(b""),
            transfer: Transfer::Identity,
            name: Name::default(),
            file: Name::default(),
            is_file: false,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            line: [0; LINE_BYTES],
            length: 0,
            place: Place::Start,
            facts: Facts::default(),
        }
    }
}

/// A header line as it was read.
pub(super) struct Line<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Head {
    /// Another head begins.
    pub(super) fn begin(&mut self) {
        self.length = 0;
        self.place = Place::Start;
        self.facts = Facts::default();
    }

    /// Reads lines; returns what follows the empty line that ends them, if it is there. Every whole
    /// line is shown to `seen`.
    pub(super) fn piece<'a>(
        &mut self,
        input: &'a [u8],
        mut seen: impl FnMut(&Line<'_>),
    ) -> Option<&'a [u8]> {
        let mut rest = input;
        while let Some((byte, after)) = rest.split_first() {
            match (self.place, *byte) {
                (Place::Start | Place::StartCr, b'\n') => {
                    self.end_line(&mut seen);
                    return Some(after);
                }
                (Place::Start, b'\r') => self.place = Place::StartCr,
                (Place::Start, b' ' | b'\t') if self.length > 0 => {
                    self.push(b' ');
                    self.place = Place::Line;
                }
                (Place::Start | Place::StartCr, byte) => {
                    self.end_line(&mut seen);
                    self.push(byte);
                    self.place = Place::Line;
                }
                (Place::Line, b'\n') => {
                    self.place = Place::Start;
                    if self
                        .line
                        .get(..self.length)
                        .is_some_and(|line| line.ends_with(b"\r"))
                    {
                        self.length -= 1;
                    }
                }
                (Place::Line, byte) => self.push(byte),
            }
            rest = after;
        }
        None
    }

    /// The input is over, and with it the last line.
    pub(super) fn end(&mut self, mut seen: impl FnMut(&Line<'_>)) {
        self.end_line(&mut seen);
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn end_line(&mut self, seen: &mut impl FnMut(&Line<'_>)) {
        let text = self.line.get(..self.length).unwrap_or_default();
        self.length = 0;
        let Some(colon) = memchr::memchr(b':', text) else {
            return;
        };
        let (name, value) = text.split_at(colon);
        let line = Line {
            name: name.trim_ascii(),
            value: value.get(1..).unwrap_or_default().trim_ascii(),
        };
        self.facts.learn(&line);
        seen(&line);
    }
}

impl Facts {
    /// What the media type of a message says.
    pub(super) fn of_media_type(media_type: &[u8]) -> Self {
        let mut facts = Self::default();
        facts.learn_type(media_type);
        facts
    }

    fn learn(&mut self, line: &Line<'_>) {
        let is = |other: &str| line.name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if is("content-type") => self.learn_type(line.value),
            () if is("content-disposition") => self.learn_disposition(line.value),
            () if is("content-transfer-encoding") => {
                let encoding = value::front(line.value);
                let is = |other: &str| encoding.eq_ignore_ascii_case(other.as_bytes());
                self.transfer = match () {
                    () if is("base64") => {
                        Transfer::Base64(Base64::new(Alphabet::Standard, Base64Mode::Rfc2045))
                    }
                    () if is("quoted-printable") => Transfer::Quoted(Quoted::default()),
                    () => Transfer::Identity,
                };
            }
            () => {}
        }
    }

    fn learn_type(&mut self, value: &[u8]) {
        self.media = value::media(value);
        self.charset = value::charset(value);
        self.boundary.clear();
        // The first one counts where there are several; some servers look for the word alone.
        let named = Parameters::of(value).find(|parameter| parameter.is("boundary"));
        let any = || Parameters::of(value).find(|parameter| parameter.has("boundary"));
        if let Some(parameter) = named.or_else(any) {
            parameter.unescaped(&mut Boundary(&mut self.boundary));
        }
        for parameter in Parameters::of(value) {
            // The name of an attachment, where there is no disposition.
            if self.file.is_empty() {
                parameter.collect("name", &mut self.file);
            }
        }
    }

    fn learn_disposition(&mut self, value: &[u8]) {
        self.is_file |= value::front(value).eq_ignore_ascii_case(b"attachment");
        let mut encoded = false;
        for parameter in Parameters::of(value) {
            parameter.collect("name", &mut self.name);
            // Both may be there; the encoded one is what is used.
            let is_encoded = parameter.name.ends_with(b"*");
            if !encoded || is_encoded || parameter.name.contains(&b'*') {
                let collected = parameter.collect("filename", &mut self.file);
                self.is_file |= collected;
                encoded |= collected && is_encoded;
            }
        }
    }
}

/// A boundary, one byte longer at most than one that is accepted.
struct Boundary<'a>(&'a mut ArrayVec<u8, 130>);

impl Emit for Boundary<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let _ = self.0.try_push(*byte);
        }
    }
}

/// Whether base64 has this byte, the end of its lines and its padding included.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\r' | b'\n')
}

impl Transfer {
    /// For a form: most servers read its parts as they stand, whatever encoding they name, so that is
    /// believed only as long as it fits.
    pub(super) fn doubted(self) -> Self {
        match self {
            Self::Base64(decoder) => Self::Claimed(decoder),
            other => other,
        }
    }

    pub(super) fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        match self {
            Self::Identity => out.bytes(input),
            Self::Base64(decoder) => decoder.piece(input, out),
            Self::Claimed(decoder) => {
                let end = input.iter().position(|byte| !is_base64(*byte));
                let (encoded, rest) = input.split_at(end.unwrap_or(input.len()));
                decoder.piece(encoded, out);
                if !rest.is_empty() {
                    decoder.end(out);
                    *self = Self::Identity;
                    out.bytes(rest);
                }
            }
            Self::Quoted(decoder) => decoder.piece(input, out),
        }
    }

    pub(super) fn end(&mut self, out: &mut impl Emit) {
        match self {
            Self::Identity => {}
            Self::Base64(decoder) | Self::Claimed(decoder) => decoder.end(out),
            Self::Quoted(decoder) => decoder.end(out),
        }
    }
}
