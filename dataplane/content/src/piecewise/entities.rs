//! Character references of HTML and XML: `&lt;`, `&#60;`, `&#x3c`, with and without the semicolon.
//!
//! Of the 2,231 names of HTML those are known that stand for a character which means something to a
//! parser (of markup, script, shell, SQL or paths), and the ones common in text.

use memchr::memchr;

use super::held::{Held, emit_code};
use super::{Emit, Piecewise, hex_digit};

/// A name, and what it stands for.
struct Name {
    name: &'static str,
    code: u32,
    /// Browsers read it without its semicolon too.
    bare: bool,
}

const fn name(name: &'static str, code: u32) -> Name {
    let bare = false;
    Name { name, code, bare }
}

const fn bare(name: &'static str, code: u32) -> Name {
    let bare = true;
    Name { name, code, bare }
}

const NAMES: &[Name] = &[
    bare("lt", 0x3c),
    bare("LT", 0x3c),
    bare("gt", 0x3e),
    bare("GT", 0x3e),
    bare("amp", 0x26),
    bare("AMP", 0x26),
    bare("quot", 0x22),
    bare("QUOT", 0x22),
    bare("nbsp", 0xa0),
    bare("shy", 0xad),
    bare("copy", 0xa9),
    bare("reg", 0xae),
    bare("laquo", 0xab),
    bare("raquo", 0xbb),
    bare("middot", 0xb7),
    name("apos", 0x27),
    name("Tab", 0x09),
    name("NewLine", 0x0a),
    name("excl", 0x21),
    name("num", 0x23),
    name("dollar", 0x24),
    name("percnt", 0x25),
    name("lpar", 0x28),
    name("rpar", 0x29),
    name("ast", 0x2a),
    name("midast", 0x2a),
    name("plus", 0x2b),
    name("comma", 0x2c),
    name("period", 0x2e),
    name("sol", 0x2f),
    name("colon", 0x3a),
    name("semi", 0x3b),
    name("equals", 0x3d),
    name("quest", 0x3f),
    name("commat", 0x40),
    name("lsqb", 0x5b),
    name("lbrack", 0x5b),
    name("bsol", 0x5c),
    name("rsqb", 0x5d),
    name("rbrack", 0x5d),
    name("Hat", 0x5e),
    name("lowbar", 0x5f),
    name("UnderBar", 0x5f),
    name("grave", 0x60),
    name("DiacriticalGrave", 0x60),
    name("lcub", 0x7b),
    name("lbrace", 0x7b),
    name("verbar", 0x7c),
    name("vert", 0x7c),
    name("VerticalLine", 0x7c),
    name("rcub", 0x7d),
    name("rbrace", 0x7d),
    name("hyphen", 0x2010),
    name("dash", 0x2010),
    name("ndash", 0x2013),
    name("mdash", 0x2014),
    name("lsquo", 0x2018),
    name("rsquo", 0x2019),
    name("ldquo", 0x201c),
    name("rdquo", 0x201d),
    name("minus", 0x2212),
    name("hellip", 0x2026),
    name("euro", 0x20ac),
    name("ZeroWidthSpace", 0x200b),
    name("zwnj", 0x200c),
    name("zwj", 0x200d),
];

/// `&` and the longest name.
const HELD: usize = 17;

/// What 0x80 to 0x9f mean when written as numbers (windows-1252), as HTML has it.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039,
    0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc,
    0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
];

/// Decodes character references; what is none stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entities {
    held: Held<HELD>,
    number: Option<Number>,
}

/// `&#` with at least one digit: a character whatever follows, however many digits.
#[derive(Clone, Copy, Debug)]
struct Number {
    value: u32,
    hex: bool,
}

impl Number {
    /// Takes another digit.
    fn push(&mut self, byte: u8) -> bool {
        let (digit, base) = match self.hex {
            true => (hex_digit(byte), 16),
            false => (hex_digit(byte).filter(|digit| *digit < 10), 10),
        };
        let Some(digit) = digit else { return false };
        self.value = self.value.saturating_mul(base).saturating_add(digit.into());
        true
    }

    fn emit(self, out: &mut impl Emit) {
        let code = match self.value {
            0 => 0xfffd,
            0x80..=0x9f => WINDOWS_1252[(self.value - 0x80) as usize].into(),
            value => value,
        };
        emit_code(code, out);
    }
}

impl Entities {
    /// One byte of what may be a reference; false if the byte is not part of it.
    fn reference(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        if let Some(number) = &mut self.number {
            if number.push(byte) {
                return true;
            }
            number.emit(out);
            self.number = None;
            self.held.clear();
            return byte == b';';
        }
        match (self.held.as_slice(), byte) {
            ([_], b'#') | ([_, b'#'], b'x' | b'X') => {
                self.held.push(byte);
                true
            }
            ([_, b'#', hex @ ..], _) => {
                let hex = !hex.is_empty();
                let mut number = Number { value: 0, hex };
                let digit = number.push(byte);
                match digit {
                    true => self.number = Some(number),
                    false => self.held.give_back(out),
                }
                digit
            }
            (held, _) if byte.is_ascii_alphanumeric() && held.len() < HELD => {
                self.held.push(byte);
                true
            }
            _ => self.end_name(byte == b';', out),
        }
    }

    /// The name is over; returns whether its semicolon belongs to it.
    fn end_name(&mut self, semicolon: bool, out: &mut impl Emit) -> bool {
        let text = self.held.as_slice().get(1..).unwrap_or_default();
        let whole = |name: &&Name| semicolon && name.name.as_bytes() == text;
        let begun = |name: &&Name| name.bare && text.starts_with(name.name.as_bytes());
        let known = NAMES.iter().find(whole);
        let Some(name) = known.or_else(|| NAMES.iter().find(begun)) else {
            self.held.give_back(out);
            return false;
        };
        emit_code(name.code, out);
        let after = text.get(name.name.len()..).unwrap_or_default();
        out.bytes(after);
        let belongs = semicolon && after.is_empty();
        self.held.clear();
        belongs
    }
}

impl Piecewise for Entities {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = if self.held.is_empty() {
                let next = memchr(b'&', rest);
                let (text, escape) = rest.split_at(next.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.bytes(text);
                }
                if !escape.is_empty() {
                    self.held.push(b'&');
                }
                text.len() + usize::from(!escape.is_empty())
            } else {
                usize::from(self.reference(*first, out))
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        if let Some(number) = self.number.take() {
            number.emit(out);
            self.held.clear();
        } else if !self.held.is_empty() {
            self.end_name(false, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    fn decode(input: &str) -> String {
        let out = cut_up(Entities::default(), input.as_bytes(), &[]);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn references_become_characters() {
        assert_eq!(decode("&lt;script&gt;"), "<script>");
        assert_eq!(decode("&ltscript&gt"), "<script>");
        let spelled = "java&#115;cript&colon;alert&lpar;1&rpar;";
        assert_eq!(decode(spelled), "javascript:alert(1)");
        assert_eq!(decode("&#60&#x3C;&#X3c&#0000000000000000000060;"), "<<<<");
        assert_eq!(
            decode("&#150;&#0;&#xd800;&#9999999999;"),
            "–\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(decode("&apos;&NewLine;&Tab;&DiacriticalGrave;"), "'\n\t`");
    }

    #[test]
    fn what_is_no_reference_stays() {
        let texts = [
            "a & b",
            "&",
            "&#",
            "&#x",
            "&#xg;",
            "&unknown;",
            "&colon",
            "&&",
            "&averyveryverylongname;",
        ];
        for text in texts {
            assert_eq!(decode(text), text);
        }
        assert_eq!(decode("&&lt;"), "&<");
        assert_eq!(decode("?a=1&b=2&amp;c"), "?a=1&b=2&c");
    }

    proptest! {
        #[test]
        fn any_cut_decodes_alike(
            input in "(&|#|x|[0-9]|lt|gt|colon|;|[a-z]){0,40}",
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let whole = cut_up(Entities::default(), input.as_bytes(), &[]);
            prop_assert_eq!(cut_up(Entities::default(), input.as_bytes(), &cuts), whole);
        }
    }
}
