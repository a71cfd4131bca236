//! What the bytes of a content or of a part mean: fields, strings, text.
//!
//! A reader never refuses: what breaks the rules of a format is read as somebody lenient would. State is
//! a few hundred bytes.

mod charset;
mod form;
mod json;

use crate::PartKind;
use crate::part::Writer;
use crate::piecewise::{Emit, Entities, Piecewise};
pub(crate) use charset::Charset;
use charset::Sniffed;
use form::Fields;
use json::Json;

/// How a content is read.
#[derive(Clone, Copy, Debug, Default)]
enum Reading {
    /// Not at all: it is given as the body already.
    #[default]
    Ignored,
    /// Its first byte decides whether it is JSON, markup, or neither.
    Unsure,
    /// As it stands.
    Plain,
    /// References resolved.
    Markup(Entities),
    Form(Fields),
    Json(Json),
}

/// What a content is, as its media type says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing that is looked into.
    #[default]
    Other,
    /// Plain text, or no type at all: there are receivers that read JSON whatever it is called.
    Unsure,
    Text,
    Markup,
    Form,
    Json,
}

/// Reads a content: its characters, then what they mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader {
    charset: Charset,
    reading: Reading,
}

impl Reader {
    /// For a content that is all of a message.
    pub(crate) fn begin(format: Format, charset: Charset, writer: &mut Writer<'_>) -> Self {
        let reading = match format {
            Format::Other => return Self::default(),
            // Only if it turns out that its characters are not as in the body.
            Format::Text => Reading::Ignored,
            Format::Unsure => Reading::Unsure,
            Format::Markup => {
                writer.open(PartKind::Text, b"");
                Reading::Markup(Entities::default())
            }
            // The characters of a form are decoded where its percent signs were.
            Format::Form => Reading::Form(Fields::new(charset)),
            Format::Json => Reading::Json(Json::default()),
        };
        let charset = match format {
            Format::Form => Charset::default(),
            _ => charset,
        };
        let mut reader = Self { charset, reading };
        if charset.is_known() {
            reader.show(writer);
        }
        reader
    }

    /// For a part of a message: what is no markup or form is read as it stands.
    pub(crate) fn begin_part(
        format: Format,
        charset: Charset,
        kind: PartKind,
        name: &[u8],
        writer: &mut Writer<'_>,
    ) -> Self {
        let is_text = kind != PartKind::File;
        match format {
            Format::Form | Format::Json if is_text => Self::begin(format, charset, writer),
            _ => {
                writer.open(kind, name);
                let reading = match format {
                    Format::Markup if is_text => Reading::Markup(Entities::default()),
                    _ => Reading::Plain,
                };
                let charset = if is_text { charset } else { Charset::default() };
                Self { charset, reading }
            }
        }
    }

    /// Text is told if its characters had to be decoded.
    fn show(&mut self, writer: &mut Writer<'_>) {
        if matches!(self.reading, Reading::Ignored | Reading::Unsure) {
            writer.open(PartKind::Text, b"");
            self.reading = Reading::Plain;
        }
    }

    pub(crate) fn piece(&mut self, input: &[u8], writer: &mut Writer<'_>) {
        let mut rest = input;
        while let Some((byte, after)) = rest.split_first() {
            match self.charset.sniff(*byte) {
                Sniffed::Known => break,
                Sniffed::More => {}
                Sniffed::Text(first) => self.decode(&[first, *byte], writer),
                Sniffed::Encoded(first) => {
                    self.show(writer);
                    self.decode(&[first, *byte], writer);
                }
            }
            rest = after;
        }
        self.decode(rest, writer);
    }

    fn decode(&mut self, input: &[u8], writer: &mut Writer<'_>) {
        if matches!(self.reading, Reading::Ignored) || input.is_empty() {
            return;
        }
        let Self { charset, reading } = self;
        charset.piece(input, &mut Read { reading, writer });
    }

    /// The content is over, and with it its last part.
    pub(crate) fn end(&mut self, writer: &mut Writer<'_>) {
        if let Some(first) = self.charset.end_sniffing() {
            self.decode(&[first], writer);
        }
        let Self { charset, reading } = self;
        charset.end(&mut Read {
            reading,
            writer: &mut *writer,
        });
        match reading {
            Reading::Ignored | Reading::Unsure | Reading::Plain => {}
            Reading::Markup(entities) => entities.end(writer),
            Reading::Form(fields) => fields.end(writer),
            Reading::Json(json) => json.end(writer),
        }
        writer.close();
        *self = Self::default();
    }
}

/// Characters on their way to the reading.
struct Read<'a, 'b> {
    reading: &'a mut Reading,
    writer: &'a mut Writer<'b>,
}

impl Read<'_, '_> {
    /// Looks for the first byte that is no blank and no mark of byte order.
    fn decide(&mut self, bytes: &[u8]) {
        let is_first =
            |byte: &u8| !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf);
        let Some(at) = bytes.iter().position(is_first) else {
            return;
        };
        let rest = bytes.get(at..).unwrap_or_default();
        *self.reading = match rest.first() {
            Some(b'{' | b'[') => Reading::Json(Json::default()),
            Some(b'<') => {
                self.writer.open(PartKind::Text, b"");
                Reading::Markup(Entities::default())
            }
            _ => Reading::Ignored,
        };
        self.bytes(rest);
    }
}

impl Emit for Read<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) {
        match self.reading {
            Reading::Ignored => {}
            Reading::Unsure => self.decide(bytes),
            Reading::Plain => self.writer.bytes(bytes),
            Reading::Markup(entities) => entities.piece(bytes, self.writer),
            Reading::Form(fields) => fields.piece(bytes, self.writer),
            Reading::Json(json) => json.piece(bytes, self.writer),
        }
    }
}
