//! Decoders that go on where a piece of input ends.
//!
//! Each keeps only what it may still have to give back unread: a few bytes of an escape that could turn
//! out to be none. What is no valid encoding comes out as it stands, so nothing is ever hidden.

mod base64;
mod ebcdic;
mod entities;
mod escapes;
mod held;
mod percent;
mod quoted;
mod utf;

pub use base64::{Alphabet, Base64, Base64Mode};
pub use ebcdic::Ebcdic;
pub use entities::Entities;
pub use escapes::Escapes;
pub use percent::{Percent, PercentRules};
pub use quoted::Quoted;
pub use utf::{Canonical, Endian, Utf7, Utf16};

pub(crate) use base64::value as base64_value;
pub(crate) use held::hex_digit;

/// Takes decoded bytes.
pub trait Emit {
    /// The next bytes.
    fn bytes(&mut self, bytes: &[u8]);

    /// The next byte.
    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }
}

/// A decoder that is given its input in any pieces.
pub trait Piecewise {
    /// Decodes the next piece.
    fn piece(&mut self, input: &[u8], out: &mut impl Emit);

    /// The input is over: gives what was held back, and is ready for another.
    fn end(&mut self, out: &mut impl Emit);
}

/// Sends what is emitted through a decoder first.
pub struct Through<'a, D, E> {
    /// What the bytes go through.
    pub decoder: &'a mut D,
    /// Where they go then.
    pub next: &'a mut E,
}

impl<D: Piecewise, E: Emit> Emit for Through<'_, D, E> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.decoder.piece(bytes, self.next);
    }
}

#[cfg(test)]
impl Emit for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Decodes `input` cut at each of `cuts`.
    pub(crate) fn cut_up(mut decoder: impl Piecewise, input: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let mut out = Vec::new();
        for pair in cuts.windows(2) {
            decoder.piece(&input[pair[0]..pair[1]], &mut out);
        }
        decoder.end(&mut out);
        out
    }
}
