//! Base64 (RFC 4648) as it stands in mail (RFC 2045), tokens and payloads.

use super::{Emit, Piecewise};

/// Which characters stand for 62 and 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alphabet {
    /// `+` and `/`.
    #[default]
    Standard,
    /// `-` and `_`.
    UrlSafe,
    /// Any of the four.
    Either,
}

/// What happens at a character outside the alphabet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base64Mode {
    /// Decoding stops; what came before is given (RFC 4648).
    #[default]
    Rfc4648,
    /// It is skipped; padding ends a group and the next one follows (RFC 2045).
    Rfc2045,
}

/// Decodes base64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base64 {
    alphabet: Alphabet,
    mode: Base64Mode,
    group: u32,
    count: u8,
    stopped: bool,
}

impl Base64 {
    /// A decoder of this alphabet.
    pub fn new(alphabet: Alphabet, mode: Base64Mode) -> Self {
        Self {
            alphabet,
            mode,
            ..Self::default()
        }
    }

    /// Whether decoding ended at padding or at a character outside the alphabet.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// A group ends early: the whole bytes in it.
    fn flush(&mut self, out: &mut impl Emit) {
        let [_, first, second, _] =
            (self.group << (6 * (4 - u32::from(self.count.min(4))))).to_be_bytes();
        match self.count {
            2 => out.byte(first),
            3 => out.bytes(&[first, second]),
            _ => {}
        }
        self.count = 0;
        self.group = 0;
    }
}

impl Piecewise for Base64 {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        for byte in input {
            if self.stopped {
                return;
            }
            match value(*byte, self.alphabet) {
                Some(value) => {
                    self.group = self.group << 6 | u32::from(value);
                    self.count += 1;
                    if self.count == 4 {
                        let [_, a, b, c] = self.group.to_be_bytes();
                        out.bytes(&[a, b, c]);
                        self.count = 0;
                        self.group = 0;
                    }
                }
                None if self.mode == Base64Mode::Rfc4648 => {
                    self.flush(out);
                    self.stopped = true;
                }
                None if *byte == b'=' => self.flush(out),
                None => {}
            }
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.flush(out);
        self.stopped = false;
    }
}

/// The six bits that a character stands for.
pub(crate) fn value(byte: u8, alphabet: Alphabet) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' if alphabet != Alphabet::UrlSafe => Some(62),
        b'/' if alphabet != Alphabet::UrlSafe => Some(63),
        b'-' if alphabet != Alphabet::Standard => Some(62),
        b'_' if alphabet != Alphabet::Standard => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    #[test]
    fn a_foreign_character_stops_or_is_skipped() {
        let decode = |mode, input: &str| {
            cut_up(Base64::new(Alphabet::Standard, mode), input.as_bytes(), &[])
        };
        assert_eq!(decode(Base64Mode::Rfc4648, "Zm 9v Ym Fy"), b"f");
        assert_eq!(decode(Base64Mode::Rfc2045, "Zm$9v\r\nYm.Fy"), b"foobar");
        assert_eq!(decode(Base64Mode::Rfc2045, "Zg==Zm8=Z"), b"ffo");
        assert_eq!(decode(Base64Mode::Rfc4648, "Zm9"), b"fo");
    }

    proptest! {
        #[test]
        fn what_the_crate_encodes_is_decoded(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            for mode in [Base64Mode::Rfc4648, Base64Mode::Rfc2045] {
                let encoded = STANDARD.encode(&bytes);
                let decoder = Base64::new(Alphabet::Standard, mode);
                prop_assert_eq!(&cut_up(decoder, encoded.as_bytes(), &cuts), &bytes);
                let encoded = URL_SAFE_NO_PAD.encode(&bytes);
                let decoder = Base64::new(Alphabet::UrlSafe, mode);
                prop_assert_eq!(&cut_up(decoder, encoded.as_bytes(), &cuts), &bytes);
                let decoder = Base64::new(Alphabet::Either, mode);
                prop_assert_eq!(&cut_up(decoder, encoded.as_bytes(), &cuts), &bytes);
            }
        }
    }
}
