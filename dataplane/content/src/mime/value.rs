//! Values of header fields with parameters: `multipart/form-data; boundary="x"`, and the ways in which
//! names that are not ASCII are written (RFC 2231, 5987).

use memchr::memchr;

use crate::part::Name;
use crate::piecewise::{Emit, Percent, Piecewise, hex_digit};
use crate::readers::{Charset, Format};

/// What stands before the first `;`.
pub(super) fn front(value: &[u8]) -> &[u8] {
    let end = memchr(b';', value).unwrap_or(value.len());
    value.get(..end).unwrap_or_default().trim_ascii()
}

/// The parameters of a value, in order; at most so many that a value can hold.
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    /// Without its quotes, with its backslashes.
    pub(super) value: &'a [u8],
}

impl<'a> Parameters<'a> {
    pub(super) fn of(value: &'a [u8]) -> Self {
        let begin = memchr(b';', value).unwrap_or(value.len());
        let rest = value.get(begin..).unwrap_or_default();
        Self { rest }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        let is_between = |byte: &u8| matches!(byte, b';' | b' ' | b'\t');
        let begin = self.rest.iter().position(|byte| !is_between(byte))?;
        let rest = self.rest.get(begin..)?;
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';'));
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        let (value, after) = match after.split_first() {
            Some((b'=', value)) => parameter_value(value.trim_ascii_start()),
            _ => (&[][..], after),
        };
        self.rest = after;
        Some(Parameter {
            name: name.trim_ascii(),
            value,
        })
    }
}

/// The value that `rest` begins with, and what follows it.
fn parameter_value(rest: &[u8]) -> (&[u8], &[u8]) {
    let Some((b'"', quoted)) = rest.split_first() else {
        let end = memchr(b';', rest).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        return (value.trim_ascii(), after);
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (value, after) = quoted.split_at(end.unwrap_or(quoted.len()));
    let end = memchr(b';', after).unwrap_or(after.len());
    (value, after.get(end..).unwrap_or_default())
}

impl Parameter<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether `word` is part of the name.
    pub(super) fn has(&self, word: &str) -> bool {
        let mut windows = self.name.windows(word.len());
        windows.any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Writes the value without the backslashes that stand before quotes and backslashes. Others stay,
    /// since old browsers put whole paths there.
    pub(super) fn unescaped(&self, out: &mut impl Emit) {
        let mut escaped = false;
        for byte in self.value {
            if escaped && !matches!(byte, b'"' | b'\\') {
                out.byte(b'\\');
            }
            escaped = *byte == b'\\' && !escaped;
            if !escaped {
                out.byte(*byte);
            }
        }
        if escaped {
            out.byte(b'\\');
        }
    }

    /// Writes the value to `name` if this parameter is the one of that name, a part of it (`name*0`), or
    /// an encoded form (`name*`, `name*0*`); returns whether it is.
    pub(super) fn collect(&self, wanted: &str, name: &mut Name) -> bool {
        let Some((front, tail)) = self.name.split_at_checked(wanted.len()) else {
            return false;
        };
        if !front.eq_ignore_ascii_case(wanted.as_bytes()) {
            return false;
        }
        let (section, encoded) = match tail {
            [] => (None, false),
            [b'*'] => (None, true),
            [b'*', section @ .., b'*'] => (Some(section), true),
            [b'*', section @ ..] => (Some(section), false),
            _ => return false,
        };
        let continues = section.is_some_and(|section| section != b"0");
        if !continues {
            name.truncate(0);
        }
        match encoded {
            true => {
                let value = if continues {
                    self.value
                } else {
                    after_charset(self.value)
                };
                let mut percent = Percent::default();
                percent.piece(value, name);
                percent.end(name);
            }
            false => self.unescaped(name),
        }
        true
    }
}

/// What follows `charset'language'`.
fn after_charset(value: &[u8]) -> &[u8] {
    let mut quotes = value.iter().enumerate().filter(|(_, byte)| **byte == b'\'');
    let second = quotes.nth(1).map_or(0, |(at, _)| at + 1);
    value.get(second..).unwrap_or_default()
}

/// What a media type says a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Multipart,
    Mail,
    Content(Format),
}

/// Reads the front of a media type.
pub(super) fn media(value: &[u8]) -> Media {
    let name = front(value);
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let begins = |other: &str| {
        let front = name.get(..other.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(other.as_bytes()))
    };
    let ends = |other: &str| {
        let at = name.len().checked_sub(other.len());
        let back = at.and_then(|at| name.get(at..));
        back.is_some_and(|back| back.eq_ignore_ascii_case(other.as_bytes()))
    };
    match () {
        () if begins("multipart/") => Media::Multipart,
        () if is("message/rfc822") || is("message/global") => Media::Mail,
        () if is("application/x-www-form-urlencoded") => Media::Content(Format::Form),
        () if ends("json")
            || ends("ndjson")
            || ends("json-seq")
            || is("application/csp-report") =>
        {
            Media::Content(Format::Json)
        }
        () if is("text/html") || ends("/xml") || ends("+xml") || ends("xml-dtd") => {
            Media::Content(Format::Markup)
        }
        () if is("") || is("text/plain") => Media::Content(Format::Unsure),
        () if begins("text/") => Media::Content(Format::Text),
        () => Media::Content(Format::Other),
    }
}

/// The charset that a media type names.
pub(super) fn charset(value: &[u8]) -> Charset {
    let named = Parameters::of(value).find(|parameter| parameter.is("charset"));
    Charset::named(named.map_or(&[], |parameter| parameter.value.trim_ascii()))
}

/// Decodes the encoded words of a header line (RFC 2047): `=?utf-8?B?…?=`, `=?utf-8?Q?…?=`.
pub(super) fn encoded_words(value: &[u8], out: &mut impl Emit) {
    let mut rest = value;
    let mut after_word = false;
    while let Some(begin) = memchr::memmem::find(rest, b"=?") {
        let (text, word) = rest.split_at(begin);
        // Blanks between two words are not part of the text.
        let between = after_word && text.trim_ascii().is_empty();
        if !between {
            out.bytes(text);
        }
        match encoded_word(word, out) {
            Some(after) => {
                rest = after;
                after_word = true;
            }
            None => {
                if between {
                    out.bytes(text);
                }
                out.bytes(b"=?");
                rest = word.get(2..).unwrap_or_default();
                after_word = false;
            }
        }
    }
    out.bytes(rest);
}

/// Decodes the encoded word at the front; returns what follows it.
fn encoded_word<'a>(word: &'a [u8], out: &mut impl Emit) -> Option<&'a [u8]> {
    let rest = word.get(2..)?;
    let (_charset, rest) = rest.split_at(memchr(b'?', rest)?);
    let [b'?', encoding, b'?', rest @ ..] = rest else {
        return None;
    };
    let end = memchr::memmem::find(rest, b"?=")?;
    let (text, after) = rest.split_at(end);
    match encoding {
        b'B' | b'b' => {
            let mut decoder = crate::piecewise::Base64::new(
                crate::piecewise::Alphabet::Standard,
                crate::piecewise::Base64Mode::Rfc2045,
            );
            decoder.piece(text, out);
            decoder.end(out);
        }
        b'Q' | b'q' => quoted_word(text, out),
        _ => return None,
    }
    after.get(2..)
}

/// Quoted-printable as in encoded words, where `_` is a space.
fn quoted_word(text: &[u8], out: &mut impl Emit) {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, after) {
            (b'=', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match (digits, byte) {
            (Some((high, low)), _) => {
                out.byte(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            (None, b'_') => out.byte(b' '),
            (None, byte) => out.byte(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(value: &str, wanted: &str) -> String {
        let mut name = Name::default();
        for parameter in Parameters::of(value.as_bytes()) {
            parameter.collect(wanted, &mut name);
        }
        String::from_utf8_lossy(name.as_slice()).into_owned()
    }

    #[test]
    fn parameters_are_found_however_they_are_written() {
        assert_eq!(
            collected("form-data; name=\"a\\\"b\"; filename=x", "name"),
            "a\"b"
        );
        assert_eq!(collected("form-data;NAME = a ;x", "name"), "a");
        assert_eq!(collected("form-data; x=\"; name=b\"; name=c", "name"), "c");
        assert_eq!(
            collected("f; filename=\"C:\\dir\\a.php\"", "filename"),
            "C:\\dir\\a.php"
        );
        assert_eq!(
            collected("f; filename*=UTF-8'en'%e2%82%ac%20.php", "filename"),
            "€ .php"
        );
        let split = "f; filename*0*=utf-8''a%2e; filename*1=\"ph\"; filename*2=p";
        assert_eq!(collected(split, "filename"), "a.php");
        assert_eq!(collected("f; filename=\"open", "filename"), "open");
        assert_eq!(collected("f", "name"), "");
    }

    #[test]
    fn encoded_words_are_decoded() {
        let decode = |input: &str| {
            let mut out = Vec::new();
            encoded_words(input.as_bytes(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(decode("=?UTF-8?B?w6Q=?= =?utf-8?q?b_=3dc?= d"), "äb =c d");
        assert_eq!(
            decode("a =?x?= b =?utf-8?Z?a?= c"),
            "a =?x?= b =?utf-8?Z?a?= c"
        );
        assert_eq!(decode("plain = ? text"), "plain = ? text");
    }

    #[test]
    fn media_types_are_known_by_their_front() {
        assert_eq!(media(b"Multipart/Form-Data; boundary=x"), Media::Multipart);
        assert_eq!(
            media(b"application/vnd.api+json"),
            Media::Content(Format::Json)
        );
        assert_eq!(
            media(b"application/soap+xml;charset=utf-8"),
            Media::Content(Format::Markup)
        );
        assert_eq!(media(b"image/png"), Media::Content(Format::Other));
        assert_eq!(media(b""), Media::Content(Format::Unsure));
    }
}
