//! One buffer in, one buffer out: what rules, detectors and sensors look at instead of the original.
//!
//! Every function writes into the caller's buffer and tells in [`Written`] how much, and whether
//! something did not fit. None allocates; each takes as long as its input, or the room for its output, is
//! long. Nothing but [`dot_prefix`], [`hex_encode`], [`utf16_decode`], the digests and what unpacks needs
//! more room than the input.

mod digest;
mod sql;
mod text;
mod unpack;

pub use digest::{md5, sha1, sha256};
pub use sql::{SqlRules, sql_without_comments};
pub use text::{
    compress_whitespace, dot_prefix, hex_decode, hex_encode, lowercase, strip_nul,
    strip_whitespace, uppercase, xor,
};
pub use unpack::{gunzip, zlib_decompress};

use crate::piecewise::base64_value;
use crate::piecewise::{
    Alphabet, Base64, Base64Mode, Canonical, Emit, Entities, Escapes, Percent, PercentRules,
    Piecewise, Quoted, Through, Utf16,
};

/// What a transformation wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes at the front of the output.
    pub length: usize,
    /// The output was too small for all of it.
    pub cut: bool,
    /// The output differs from the input.
    pub changed: bool,
}

/// Which base64 is decoded, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Base64Rules {
    /// The characters that stand for 62 and 63.
    pub alphabet: Alphabet,
    /// What happens at other characters.
    pub mode: Base64Mode,
    /// Nothing is decoded unless all of it is whole groups of the alphabet, padded.
    pub strict: bool,
    /// Bytes of the input that are skipped first.
    pub offset: usize,
    /// Bytes of the input that are decoded at most.
    pub bytes: usize,
}

impl Default for Base64Rules {
    fn default() -> Self {
        Self {
            alphabet: Alphabet::Standard,
            mode: Base64Mode::Rfc4648,
            strict: false,
            offset: 0,
            bytes: usize::MAX,
        }
    }
}

/// The caller's buffer while it is filled.
struct Output<'a> {
    bytes: &'a mut [u8],
    length: usize,
    cut: bool,
}

impl<'a> Output<'a> {
    fn new(bytes: &'a mut [u8]) -> Self {
        Self {
            bytes,
            length: 0,
            cut: false,
        }
    }

    fn written(self, input: &[u8]) -> Written {
        Written {
            length: self.length,
            cut: self.cut,
            changed: self.bytes.get(..self.length) != Some(input),
        }
    }
}

impl Emit for Output<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let taken = bytes.len().min(room.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..taken), bytes.get(..taken)) {
            room.copy_from_slice(bytes);
        }
        self.length += taken;
        self.cut |= taken < bytes.len();
    }

    fn byte(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.cut = true,
        }
    }
}

/// Runs a decoder over a whole buffer.
pub fn decode(mut decoder: impl Piecewise, input: &[u8], output: &mut [u8]) -> Written {
    let mut out = Output::new(output);
    decoder.piece(input, &mut out);
    decoder.end(&mut out);
    out.written(input)
}

/// Percent encoding, once.
pub fn percent_decode(input: &[u8], rules: PercentRules, output: &mut [u8]) -> Written {
    decode(Percent::new(rules), input, output)
}

/// Percent encoding up to three times over; `+` is a space only the first time.
pub fn percent_decode_repeated(input: &[u8], rules: PercentRules, output: &mut [u8]) -> Written {
    let again = PercentRules {
        plus_is_space: false,
        ..rules
    };
    let mut out = Output::new(output);
    let (mut first, mut second, mut third) = (
        Percent::new(rules),
        Percent::new(again),
        Percent::new(again),
    );
    let mut into_third = Through {
        decoder: &mut third,
        next: &mut out,
    };
    let mut into_second = Through {
        decoder: &mut second,
        next: &mut into_third,
    };
    first.piece(input, &mut into_second);
    first.end(&mut into_second);
    second.end(&mut into_third);
    third.end(&mut out);
    out.written(input)
}

/// Character references of HTML and XML.
pub fn entities_decode(input: &[u8], output: &mut [u8]) -> Written {
    decode(Entities::default(), input, output)
}

/// Backslash escapes of JSON and JavaScript.
pub fn escapes_decode(input: &[u8], output: &mut [u8]) -> Written {
    decode(Escapes::default(), input, output)
}

/// Quoted-printable.
pub fn quoted_decode(input: &[u8], output: &mut [u8]) -> Written {
    decode(Quoted::default(), input, output)
}

/// UTF-16 to UTF-8; may need half as much room again as the input.
pub fn utf16_decode(input: &[u8], decoder: Utf16, output: &mut [u8]) -> Written {
    decode(decoder, input, output)
}

/// Overlong UTF-8 made short.
pub fn utf8_canonical(input: &[u8], output: &mut [u8]) -> Written {
    decode(Canonical::default(), input, output)
}

/// Base64; nothing is written where nothing could be decoded.
pub fn base64_decode(input: &[u8], rules: Base64Rules, output: &mut [u8]) -> Written {
    let asked = input.get(rules.offset..).unwrap_or_default();
    let asked = asked.get(..rules.bytes).unwrap_or(asked);
    let refused = rules.strict && !is_strict(asked, rules.alphabet);
    let asked = if refused { &[] } else { asked };
    let mut out = Output::new(output);
    let mut decoder = Base64::new(rules.alphabet, rules.mode);
    decoder.piece(asked, &mut out);
    decoder.end(&mut out);
    out.written(input)
}

/// Whole groups of four, padding only at the end and where it is needed.
fn is_strict(input: &[u8], alphabet: Alphabet) -> bool {
    let text = match input {
        [text @ .., b'=', b'='] | [text @ .., b'='] => text,
        text => text,
    };
    let known = text
        .iter()
        .all(|byte| base64_value(*byte, alphabet).is_some());
    // One character of a group holds no whole byte.
    known && input.len().is_multiple_of(4) && text.len() % 4 != 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(transform: impl Fn(&mut [u8]) -> Written) -> String {
        let mut output = [0; 256];
        let written = transform(&mut output);
        assert!(!written.cut);
        let full = &output[..written.length];
        for room in 0..written.length {
            let mut small = vec![0; room];
            let cut = transform(&mut small);
            assert!(
                cut.cut && cut.length == room,
                "{room} of {}",
                written.length
            );
            assert_eq!(small, full[..room], "a small output holds the front");
        }
        String::from_utf8_lossy(full).into_owned()
    }

    #[test]
    fn repeated_percent_encoding_is_undone_three_times() {
        let rules = PercentRules {
            plus_is_space: true,
            unicode: true,
        };
        let decode = |input: &str| run(|out| percent_decode_repeated(input.as_bytes(), rules, out));
        assert_eq!(decode("%2e%252e%25252e+%252B"), "... +");
        assert_eq!(decode("%2525252e"), "%2e");
        assert_eq!(decode("%%32%65"), ".");
        assert_eq!(decode("a%2"), "a%2");
    }

    #[test]
    fn base64_is_limited_and_strict_where_asked() {
        let rules = Base64Rules::default();
        let decode = |input: &str, rules| run(|out| base64_decode(input.as_bytes(), rules, out));
        assert_eq!(
            decode("xxZm9vYmFy", Base64Rules { offset: 2, ..rules }),
            "foobar"
        );
        assert_eq!(decode("Zm9vYmFy", Base64Rules { bytes: 4, ..rules }), "foo");
        assert_eq!(decode("Zm9v", Base64Rules { offset: 9, ..rules }), "");
        let strict = Base64Rules {
            strict: true,
            ..rules
        };
        assert_eq!(decode("Zm9vYg==", strict), "foob");
        for wrong in [
            "Zm9vYg=",
            "Zm9vYg",
            "Zm9 v",
            "Zm9vYg===",
            "Z===",
            "=Zm9",
            "Zg==Zg==",
        ] {
            assert_eq!(decode(wrong, strict), "", "{wrong}");
        }
    }

    #[test]
    fn what_is_not_encoded_is_not_changed() {
        let plain = b"select 1 from dual where a = 'b'";
        let mut output = [0; 64];
        for transform in [entities_decode, escapes_decode, utf8_canonical] {
            let written = transform(plain, &mut output);
            assert!(!written.changed && written.length == plain.len());
        }
        assert!(entities_decode(b"&lt;", &mut output).changed);
    }
}
