//! Backslash escapes of JSON and JavaScript: `\n`, `\/`, `\u003c`, `\u{3c}`, `\x3c`, octal.
//!
//! JSON knows fewer than JavaScript does. A strict reader refuses the others, a lenient one reads them
//! as a script would, so there is one set of rules.

use memchr::memchr;

use super::held::{Held, Units, emit_code, hex_digit, hex_value};
use super::{Emit, Piecewise};

/// Decodes backslash escapes; a broken one stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Escapes {
    held: Held<9>,
    units: Units,
}

impl Escapes {
    /// One byte of an escape; false if the byte is not part of it.
    fn escape(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        let digit = hex_digit(byte).is_some();
        match self.held.as_slice() {
            [_] => return self.kind(byte, out),
            [_, b'x', high] if digit => {
                let code = hex_value(&[*high, byte]);
                self.code(code, out);
            }
            [_, b'u', b'{', digits @ ..] if byte == b'}' && !digits.is_empty() => {
                let code = hex_value(digits);
                self.code(code, out);
            }
            [_, b'u'] if byte == b'{' => self.held.push(byte),
            [_, b'u', b'{', digits @ ..] => match digit && digits.len() < 6 {
                true => self.held.push(byte),
                false => return self.broken(out),
            },
            [_, b'u', a, b, c] if digit => {
                let unit = hex_value(&[*a, *b, *c, byte]) as u16;
                self.held.clear();
                self.units.push(unit, out);
            }
            [_, b'x'] | [_, b'u', ..] if digit => self.held.push(byte),
            [_, b'0'..=b'7', ..] => return self.octal(byte, out),
            _ => return self.broken(out),
        }
        true
    }

    /// The byte after the backslash.
    fn kind(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        let simple = match byte {
            b'u' | b'x' | b'0'..=b'7' => {
                self.held.push(byte);
                return true;
            }
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            other => other,
        };
        self.held.clear();
        self.units.flush(out);
        // A line that goes on: neither the backslash nor the end of the line is part of it.
        if !matches!(byte, b'\n' | b'\r') {
            out.byte(simple);
        }
        true
    }

    /// Up to three octal digits, as long as they stand for a byte.
    fn octal(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        let digits = self.held.as_slice().get(1..).unwrap_or_default();
        let value = digits.iter().fold(0_u32, |value, digit| {
            value * 8 + u32::from(digit.saturating_sub(b'0'))
        });
        let goes_on = matches!(byte, b'0'..=b'7') && digits.len() < 3 && value < 32;
        match goes_on {
            true => self.held.push(byte),
            false => self.code(value, out),
        }
        goes_on
    }

    fn code(&mut self, code: u32, out: &mut impl Emit) {
        self.held.clear();
        self.units.flush(out);
        emit_code(code, out);
    }

    fn broken(&mut self, out: &mut impl Emit) -> bool {
        self.units.flush(out);
        self.held.give_back(out);
        false
    }
}

impl Piecewise for Escapes {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = if self.held.is_empty() {
                let next = memchr(b'\\', rest);
                let (text, escape) = rest.split_at(next.unwrap_or(rest.len()));
                if !text.is_empty() {
                    self.units.flush(out);
                    out.bytes(text);
                }
                if !escape.is_empty() {
                    self.held.push(b'\\');
                }
                text.len() + usize::from(!escape.is_empty())
            } else {
                usize::from(self.escape(*first, out))
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        // An octal number may end here.
        if let [_, b'0'..=b'7', ..] = self.held.as_slice() {
            self.octal(b'.', out);
        }
        self.units.flush(out);
        self.held.give_back(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    fn decode(input: &str) -> String {
        let out = cut_up(Escapes::default(), input.as_bytes(), &[]);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(decode(r#"\u003cscript\x3e\n\/\\\""#), "<script>\n/\\\"");
        assert_eq!(decode(r"\u{3c}\u{1f600}\ud83d\ude00"), "<😀😀");
        assert_eq!(decode(r"\74\074\0\1019\7\477"), "<<\0A9\u{7}'7");
        assert_eq!(decode("a\\\nb"), "ab");
        assert_eq!(decode(r"\ud83d\n\ud83d"), "\u{fffd}\n\u{fffd}");
    }

    #[test]
    fn broken_escapes_stay() {
        let texts = [
            r"\u00",
            r"\u00zz",
            r"\x",
            r"\xg1",
            r"\u{}",
            r"\u{1234567}",
            r"\u{3c",
        ];
        for text in texts {
            assert_eq!(decode(text), text);
        }
    }

    proptest! {
        #[test]
        fn strings_of_json_are_read_as_its_crate_reads_them(
            text in any::<String>(), cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let encoded = serde_json::to_string(&text).unwrap();
            let inner = &encoded.as_bytes()[1..encoded.len() - 1];
            prop_assert_eq!(cut_up(Escapes::default(), inner, &cuts), text.as_bytes());
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
            let escaped: String = units.collect();
            let out = cut_up(Escapes::default(), escaped.as_bytes(), &cuts);
            prop_assert_eq!(out, text.as_bytes());
        }

        #[test]
        fn any_cut_decodes_alike(
            input in r"(\\|u|x|\{|\}|[0-9a-f]|n|z){0,40}",
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let whole = cut_up(Escapes::default(), input.as_bytes(), &[]);
            prop_assert_eq!(cut_up(Escapes::default(), input.as_bytes(), &cuts), whole);
        }
    }
}
