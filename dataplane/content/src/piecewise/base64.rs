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

/// Whole groups are given so many bytes at once.
const BATCH_BYTES: usize = 192;
/// Stands for a character outside the alphabet.
const NONE: u8 = 0xff;

/// The six bits of every character, for each alphabet.
static VALUES: [[u8; 256]; 3] = [
    values(Alphabet::Standard),
    values(Alphabet::UrlSafe),
    values(Alphabet::Either),
];

const fn values(alphabet: Alphabet) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < 64 {
        let [standard, url_safe] = match at as u8 {
            0..26 => [b'A' + at as u8; 2],
            26..52 => [b'a' + at as u8 - 26; 2],
            52..62 => [b'0' + at as u8 - 52; 2],
            62 => [b'+', b'-'],
            _ => [b'/', b'_'],
        };
        if !matches!(alphabet, Alphabet::UrlSafe) {
            values[standard as usize] = at as u8;
        }
        if !matches!(alphabet, Alphabet::Standard) {
            values[url_safe as usize] = at as u8;
        }
        at += 1;
    }
    values
}

impl Base64 {
    /// Whole groups from the front, as long as there is nothing else; returns what follows.
    fn groups<'a>(&self, input: &'a [u8], out: &mut impl Emit) -> &'a [u8] {
        let values = &VALUES[self.alphabet as usize];
        let mut batch = [0; BATCH_BYTES];
        let mut rest = input;
        loop {
            let mut used = 0;
            for place in batch.as_chunks_mut::<3>().0 {
                let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() else {
                    break;
                };
                let [a, b, c, d] = [a, b, c, d].map(|byte| values[usize::from(*byte)]);
                if (a | b | c | d) > 0x3f {
                    break;
                }
                *place = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
                used += 3;
                rest = after;
            }
            if used > 0 {
                out.bytes(batch.get(..used).unwrap_or_default());
            }
            if used < BATCH_BYTES {
                return rest;
            }
        }
    }
}

impl Piecewise for Base64 {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some((byte, after)) = rest.split_first() {
            if self.stopped {
                return;
            }
            if self.count == 0 && rest.len() >= 4 {
                let others = self.groups(rest, out);
                if others.len() < rest.len() {
                    rest = others;
                    continue;
                }
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
            rest = after;
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.flush(out);
        self.stopped = false;
    }
}

/// The six bits that a character stands for.
pub(crate) fn value(byte: u8, alphabet: Alphabet) -> Option<u8> {
    let value = VALUES[alphabet as usize][usize::from(byte)];
    (value != NONE).then_some(value)
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
