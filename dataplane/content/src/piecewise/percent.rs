//! Percent encoding: RFC 3986, `+` of HTML forms, and the `%uXXXX` of old scripts and IIS.

use memchr::{memchr, memchr2};

use super::held::{Held, Units, hex_digit, hex_value};
use super::{Emit, Piecewise};

/// What counts as encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PercentRules {
    /// `+` is a space, as in forms and query strings.
    pub plus_is_space: bool,
    /// `%uXXXX` is a UTF-16 unit; it becomes UTF-8.
    pub unicode: bool,
}

/// Decodes percent encoding; what is no escape stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Percent {
    rules: PercentRules,
    held: Held<6>,
    units: Units,
}

impl Percent {
    /// A decoder by these rules.
    pub fn new(rules: PercentRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Text up to the next escape; returns how much that was.
    fn text(&mut self, input: &[u8], out: &mut impl Emit) -> usize {
        let next = match self.rules.plus_is_space {
            true => memchr2(b'%', b'+', input),
            false => memchr(b'%', input),
        };
        let (text, rest) = input.split_at(next.unwrap_or(input.len()));
        if !text.is_empty() {
            self.units.flush(out);
            out.bytes(text);
        }
        match rest.first() {
            Some(b'+') => {
                self.units.flush(out);
                out.byte(b' ');
            }
            Some(byte) => self.held.push(*byte),
            None => return text.len(),
        }
        text.len() + 1
    }

    /// One byte of what may be an escape; false if the byte is not part of it.
    fn escape(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        let digit = hex_digit(byte);
        match (self.held.as_slice(), digit) {
            ([_], None) if self.rules.unicode && matches!(byte, b'u' | b'U') => {
                self.held.push(byte);
            }
            ([_, b'u' | b'U', a, b, c], Some(_)) => {
                let unit = hex_value(&[*a, *b, *c, byte]) as u16;
                self.held.clear();
                self.units.push(unit, out);
            }
            ([_, b'u' | b'U', ..] | [_], Some(_)) => self.held.push(byte),
            ([_, high], Some(low)) => {
                let value = hex_digit(*high).unwrap_or(0) << 4 | low;
                self.held.clear();
                self.units.flush(out);
                out.byte(value);
            }
            _ => {
                self.units.flush(out);
                self.held.give_back(out);
                return false;
            }
        }
        true
    }
}

impl Piecewise for Percent {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = match self.held.is_empty() {
                true => self.text(rest, out),
                false => usize::from(self.escape(*first, out)),
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.units.flush(out);
        self.held.give_back(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    const FORM: PercentRules = PercentRules {
        plus_is_space: true,
        unicode: true,
    };

    #[test]
    fn escapes_become_bytes_and_the_rest_stays() {
        let decode = |input: &str| {
            let out = cut_up(Percent::new(FORM), input.as_bytes(), &[]);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(decode("a%20b+c%2b"), "a b c+");
        assert_eq!(decode("100% sure %zz %4 %"), "100% sure %zz %4 %");
        assert_eq!(decode("%%41%4%42"), "%A%4B");
        assert_eq!(decode("%u003cscript%U003E"), "<script>");
        assert_eq!(decode("%u12"), "%u12");
        assert_eq!(decode("%u12%41"), "%u12A");
        assert_eq!(decode("%ud83d%ude00%ud83dx"), "😀\u{fffd}x");
    }

    proptest! {
        #[test]
        fn any_cut_decodes_as_the_crate_does(
            input in "[%+a-f0-9uU]{0,40}", cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let rules = PercentRules::default();
            let out = cut_up(Percent::new(rules), input.as_bytes(), &cuts);
            let oracle: Vec<u8> = percent_encoding::percent_decode_str(&input).collect();
            prop_assert_eq!(out, oracle);
            let whole = cut_up(Percent::new(FORM), input.as_bytes(), &[]);
            prop_assert_eq!(cut_up(Percent::new(FORM), input.as_bytes(), &cuts), whole);
        }
    }
}
