//! Quoted-printable (RFC 2045, section 6.7), also with the faults that mail programs forgive.

use memchr::memchr;

use super::held::{Held, hex_digit};
use super::{Emit, Piecewise};

/// Decodes quoted-printable; a `=` that encodes nothing stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quoted {
    held: Held<8>,
}

impl Quoted {
    /// One byte after `=`; false if the byte is not part of the escape.
    fn escape(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        match (self.held.as_slice(), byte) {
            ([_, .., b'\r'] | [_] | [_, .., b' ' | b'\t'], b'\n') => self.held.clear(),
            ([_, .., b'\r'], _) => {
                self.held.clear();
                return false;
            }
            // Blanks at the end of a line were added on the way.
            ([_] | [_, b' ' | b'\t', ..], b' ' | b'\t' | b'\r')
                if self.held.as_slice().len() < 8 =>
            {
                self.held.push(byte);
            }
            ([_], _) if hex_digit(byte).is_some() => self.held.push(byte),
            ([_, high], _) => match (hex_digit(*high), hex_digit(byte)) {
                (Some(high), Some(low)) => {
                    self.held.clear();
                    out.byte(high << 4 | low);
                }
                _ => {
                    self.held.give_back(out);
                    return false;
                }
            },
            _ => {
                self.held.give_back(out);
                return false;
            }
        }
        true
    }
}

impl Piecewise for Quoted {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = if self.held.is_empty() {
                let next = memchr(b'=', rest);
                let (text, escape) = rest.split_at(next.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.bytes(text);
                }
                if !escape.is_empty() {
                    self.held.push(b'=');
                }
                text.len() + usize::from(!escape.is_empty())
            } else {
                usize::from(self.escape(*first, out))
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        match self.held.as_slice() {
            [_, .., b'\r'] => self.held.clear(),
            _ => self.held.give_back(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    #[test]
    fn escapes_and_soft_line_ends_are_resolved() {
        let decode = |input: &str| {
            let out = cut_up(Quoted::default(), input.as_bytes(), &[]);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(decode("a=3D=C3=A4 =3c"), "a=ä <");
        assert_eq!(decode("lo=\r\nng=\nline= \t\r\nx=\r"), "longlinex");
        assert_eq!(decode("1 = 2 =zz =4 = ="), "1 = 2 =zz =4 = =");
    }

    proptest! {
        #[test]
        fn any_cut_decodes_alike(
            input in "(=|\r|\n| |\t|[0-9A-Fa-fz]){0,40}",
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let whole = cut_up(Quoted::default(), input.as_bytes(), &[]);
            prop_assert_eq!(cut_up(Quoted::default(), input.as_bytes(), &cuts), whole);
        }

        #[test]
        fn every_byte_written_as_an_escape_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let encoded: String = bytes.iter().map(|byte| format!("={byte:02X}")).collect();
            prop_assert_eq!(cut_up(Quoted::default(), encoded.as_bytes(), &[3]), bytes);
        }
    }
}
