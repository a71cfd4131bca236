//! The few bytes of an escape that is not whole yet, and the characters that escapes stand for.

use super::Emit;

/// Bytes that may still turn out to be plain text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Default for Held<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }
}

impl<const N: usize> Held<N> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Keeps `byte` if there is room.
    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Gives what was held as it stood.
    pub(crate) fn give_back(&mut self, out: &mut impl Emit) {
        if self.length > 0 {
            out.bytes(self.as_slice());
            self.length = 0;
        }
    }
}

/// UTF-16 units that escapes stand for; a pair of surrogates may come in two escapes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Units {
    high: Option<u16>,
}

impl Units {
    pub(crate) fn push(&mut self, unit: u16, out: &mut impl Emit) {
        match (self.high.take(), unit) {
            (Some(high), 0xdc00..=0xdfff) => {
                let code = 0x1_0000 + (u32::from(high - 0xd800) << 10) + u32::from(unit - 0xdc00);
                emit_code(code, out);
            }
            (high, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                if high.is_some() {
                    emit_code(0xfffd, out);
                }
            }
            (high, _) => {
                if high.is_some() {
                    emit_code(0xfffd, out);
                }
                emit_code(unit.into(), out);
            }
        }
    }

    /// No unit follows: half a pair is told as the replacement character.
    pub(crate) fn flush(&mut self, out: &mut impl Emit) {
        if self.high.take().is_some() {
            emit_code(0xfffd, out);
        }
    }
}

/// Gives the character with this number, the replacement character if there is none.
pub(crate) fn emit_code(code: u32, out: &mut impl Emit) {
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.bytes(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The value of a hexadecimal digit.
pub(crate) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The value of hexadecimal digits, as far as they are some; 32 bits of it.
pub(crate) fn hex_value(digits: &[u8]) -> u32 {
    let digits = digits.iter().map_while(|digit| hex_digit(*digit));
    digits.fold(0, |value, digit| value << 4 | u32::from(digit))
}
