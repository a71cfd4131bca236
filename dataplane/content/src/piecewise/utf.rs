//! Characters written otherwise than in the shortest UTF-8: UTF-16, and overlong sequences.

use super::base64::value as base64_value;
use super::held::{Held, Units, emit_code};
use super::{Alphabet, Emit, Piecewise};

/// Which byte of a unit comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endian {
    /// The low byte.
    #[default]
    Little,
    /// The high byte.
    Big,
}

/// UTF-16 to UTF-8. A byte order mark at the front is believed, and not part of the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf16 {
    endian: Endian,
    begun: bool,
    odd: Option<u8>,
    units: Units,
}

impl Utf16 {
    /// A decoder that takes text without a mark as `endian`.
    pub fn new(endian: Endian) -> Self {
        Self {
            endian,
            ..Self::default()
        }
    }

    fn unit(&mut self, pair: [u8; 2], out: &mut impl Emit) {
        if !std::mem::replace(&mut self.begun, true) {
            match pair {
                [0xff, 0xfe] => self.endian = Endian::Little,
                [0xfe, 0xff] => self.endian = Endian::Big,
                _ => self.begun_with(pair, out),
            }
            return;
        }
        self.begun_with(pair, out);
    }

    fn begun_with(&mut self, pair: [u8; 2], out: &mut impl Emit) {
        let unit = match self.endian {
            Endian::Little => u16::from_le_bytes(pair),
            Endian::Big => u16::from_be_bytes(pair),
        };
        self.units.push(unit, out);
    }
}

impl Piecewise for Utf16 {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        if let (Some(first), Some(second)) = (self.odd, rest.first()) {
            self.unit([first, *second], out);
            self.odd = None;
            rest = rest.get(1..).unwrap_or_default();
        }
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            self.unit(*pair, out);
        }
        if let Some(byte) = odd.first() {
            self.odd = Some(*byte);
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.units.flush(out);
        if self.odd.is_some() {
            emit_code(0xfffd, out);
        }
        *self = Self::new(self.endian);
    }
}

/// UTF-7 (RFC 2152) to UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf7 {
    shifted: bool,
    /// Something stood in the shifted part; `+-` is a plus.
    any: bool,
    bits: u32,
    count: u8,
    units: Units,
}

impl Utf7 {
    /// A byte of a shifted part; returns whether it belongs to it.
    fn shifted(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        let Some(value) = base64_value(byte, Alphabet::Standard) else {
            self.units.flush(out);
            if byte == b'-' && !self.any {
                out.byte(b'+');
            }
            self.shifted = false;
            return byte == b'-';
        };
        self.any = true;
        self.bits = self.bits << 6 | u32::from(value);
        self.count += 6;
        if self.count >= 16 {
            self.count -= 16;
            self.units.push((self.bits >> self.count) as u16, out);
            self.bits &= (1 << self.count) - 1;
        }
        true
    }
}

impl Piecewise for Utf7 {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = if self.shifted {
                usize::from(self.shifted(*first, out))
            } else {
                let next = memchr::memchr(b'+', rest);
                let (text, shift) = rest.split_at(next.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.bytes(text);
                }
                if !shift.is_empty() {
                    *self = Self {
                        shifted: true,
                        ..Self::default()
                    };
                }
                text.len() + usize::from(!shift.is_empty())
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.units.flush(out);
        *self = Self::default();
    }
}

/// Gives characters in their shortest UTF-8: an overlong `c0 af` is `/`. Everything else stays,
/// whether it is UTF-8 or not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canonical {
    held: Held<6>,
}

impl Canonical {
    /// How long a sequence with this first byte is (up to the six of RFC 2279); 0 for none.
    fn length(first: u8) -> usize {
        match first.leading_ones() {
            length @ 2..=6 => length as usize,
            _ => 0,
        }
    }

    fn sequence(&mut self, byte: u8, out: &mut impl Emit) -> bool {
        if byte & 0xc0 != 0x80 {
            self.held.give_back(out);
            return false;
        }
        self.held.push(byte);
        let [first, rest @ ..] = self.held.as_slice() else {
            return true;
        };
        let length = Self::length(*first);
        if rest.len() + 1 < length {
            return true;
        }
        let front = u32::from(*first) & (0x7f >> length);
        let code = rest
            .iter()
            .fold(front, |code, byte| code << 6 | u32::from(byte & 0x3f));
        match char::from_u32(code) {
            Some(character) if character.len_utf8() < length => {
                emit_code(code, out);
                self.held.clear();
            }
            _ => self.held.give_back(out),
        }
        true
    }
}

impl Piecewise for Canonical {
    fn piece(&mut self, input: &[u8], out: &mut impl Emit) {
        let mut rest = input;
        while let Some(first) = rest.first() {
            let taken = if self.held.is_empty() {
                let begin = |byte: &u8| Self::length(*byte) > 0;
                let next = match rest.is_ascii() {
                    true => None,
                    false => rest.iter().position(begin),
                };
                let (text, sequence) = rest.split_at(next.unwrap_or(rest.len()));
                if !text.is_empty() {
                    out.bytes(text);
                }
                if let Some(byte) = sequence.first() {
                    self.held.push(*byte);
                }
                text.len() + usize::from(!sequence.is_empty())
            } else {
                usize::from(self.sequence(*first, out))
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn end(&mut self, out: &mut impl Emit) {
        self.held.give_back(out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::cut_up;
    use super::*;

    #[test]
    fn overlong_sequences_become_short() {
        let decode = |input: &[u8]| cut_up(Canonical::default(), input, &[]);
        assert_eq!(
            decode(b"..\xc0\xaf..\xe0\x80\xaf\xf0\x80\x80\xaf\xfc\x80\x80\x80\x80\xaf"),
            b"../..///"
        );
        assert_eq!(decode(b"\xc0x\xc0"), b"\xc0x\xc0");
        assert_eq!(decode("ä€😀".as_bytes()), "ä€😀".as_bytes());
    }

    #[test]
    fn a_mark_decides_the_order_and_half_a_pair_is_replaced() {
        let decode = |input: &[u8]| cut_up(Utf16::default(), input, &[1]);
        assert_eq!(decode(b"\xfe\xff\0<\0a"), b"<a");
        assert_eq!(decode(b"<\0a\0"), b"<a");
        assert_eq!(decode(b"\x3d\xd8<\0x"), "\u{fffd}<\u{fffd}".as_bytes());
    }

    #[test]
    fn utf7_is_unshifted() {
        let decode = |input: &[u8]| {
            let whole = cut_up(Utf7::default(), input, &[]);
            for cut in 0..input.len() {
                assert_eq!(cut_up(Utf7::default(), input, &[cut]), whole);
            }
            String::from_utf8_lossy(&whole).into_owned()
        };
        assert_eq!(decode(b"+ADw-script+AD4-1+-1+AD4.x"), "<script>1+1>.x");
        assert_eq!(
            decode(b"Hi Mom +Jjo-!+2D3eAA-+AD4"),
            "Hi Mom \u{263a}!\u{1f600}>"
        );
    }

    proptest! {
        #[test]
        fn what_is_canonical_already_stays(text in any::<String>(), cut in any::<usize>()) {
            prop_assert_eq!(cut_up(Canonical::default(), text.as_bytes(), &[cut]), text.as_bytes());
        }

        #[test]
        fn any_cut_decodes_alike(
            input in prop::collection::vec(prop::sample::select(vec![0xc0, 0xaf, 0xe0, 0x80, 0xf0, 0xfc, b'x']), 0..30),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let whole = cut_up(Canonical::default(), &input, &[]);
            prop_assert_eq!(cut_up(Canonical::default(), &input, &cuts), whole);
        }

        #[test]
        fn text_in_either_order_becomes_utf8(
            text in any::<String>(), cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            prop_assume!(!text.starts_with(['\u{feff}', '\u{fffe}']));
            prop_assert_eq!(cut_up(Utf16::new(Endian::Big), &big, &cuts), text.as_bytes());
            prop_assert_eq!(cut_up(Utf16::new(Endian::Little), &little, &cuts), text.as_bytes());
        }
    }
}
