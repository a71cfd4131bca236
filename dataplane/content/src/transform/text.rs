//! Byte by byte: case, whitespace, zeros, hexadecimal, exclusive or.

use super::{Emit, Output, Written};
use crate::piecewise::hex_digit;

/// What counts as whitespace: that of C.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Writes what `map` makes of each byte.
fn each(input: &[u8], output: &mut [u8], mut map: impl FnMut(usize, u8) -> Option<u8>) -> Written {
    let mut out = Output::new(output);
    for (at, byte) in input.iter().enumerate() {
        if let Some(byte) = map(at, *byte) {
            out.byte(byte);
        }
    }
    out.written(input)
}

/// ASCII letters made small.
pub fn lowercase(input: &[u8], output: &mut [u8]) -> Written {
    each(input, output, |_, byte| Some(byte.to_ascii_lowercase()))
}

/// ASCII letters made capital.
pub fn uppercase(input: &[u8], output: &mut [u8]) -> Written {
    each(input, output, |_, byte| Some(byte.to_ascii_uppercase()))
}

/// Without whitespace.
pub fn strip_whitespace(input: &[u8], output: &mut [u8]) -> Written {
    each(input, output, |_, byte| (!is_space(byte)).then_some(byte))
}

/// Of several whitespace bytes in a row the first.
pub fn compress_whitespace(input: &[u8], output: &mut [u8]) -> Written {
    let mut space = false;
    each(input, output, |_, byte| {
        let again = is_space(byte) && space;
        space = is_space(byte);
        (!again).then_some(byte)
    })
}

/// Without zero bytes.
pub fn strip_nul(input: &[u8], output: &mut [u8]) -> Written {
    each(input, output, |_, byte| (byte != 0).then_some(byte))
}

/// A dot before the input, so that `.example.com` finds the domain and what is below it.
pub fn dot_prefix(input: &[u8], output: &mut [u8]) -> Written {
    let mut out = Output::new(output);
    out.byte(b'.');
    out.bytes(input);
    out.written(input)
}

/// Exclusive or with the key over and over; an empty key changes nothing.
pub fn xor(input: &[u8], key: &[u8], output: &mut [u8]) -> Written {
    each(input, output, |at, byte| {
        let place = at.checked_rem(key.len()).unwrap_or(0);
        Some(byte ^ key.get(place).copied().unwrap_or(0))
    })
}

/// Bytes as small hexadecimal digits.
pub fn hex_encode(input: &[u8], output: &mut [u8]) -> Written {
    let mut out = Output::new(output);
    for byte in input {
        for digit in [byte >> 4, byte & 0xf] {
            out.byte(if digit < 10 {
                b'0' + digit
            } else {
                b'a' + digit - 10
            });
        }
    }
    out.written(input)
}

/// Pairs of hexadecimal digits, whitespace between them ignored, up to anything else.
pub fn hex_decode(input: &[u8], output: &mut [u8]) -> Written {
    let mut out = Output::new(output);
    let mut high = None;
    for byte in input.iter().filter(|byte| !is_space(**byte)) {
        match (hex_digit(*byte), high.take()) {
            (Some(low), Some(high)) => out.byte(high << 4 | low),
            (digit @ Some(_), None) => high = digit,
            (None, _) => break,
        }
    }
    out.written(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(transform: impl Fn(&mut [u8]) -> Written) -> Vec<u8> {
        let mut output = [0; 64];
        let length = transform(&mut output).length;
        output[..length].to_vec()
    }

    #[test]
    fn each_does_what_it_is_called() {
        assert_eq!(text(|out| lowercase(b"SeLECT\xc4", out)), b"select\xc4");
        assert_eq!(text(|out| uppercase(b"SeLECT", out)), b"SELECT");
        assert_eq!(text(|out| strip_whitespace(b" a\t b\x0b\r\n", out)), b"ab");
        assert_eq!(
            text(|out| compress_whitespace(b"a \t b\n\n", out)),
            b"a b\n"
        );
        assert_eq!(text(|out| strip_nul(b"s\0e\0", out)), b"se");
        assert_eq!(text(|out| dot_prefix(b"example.com", out)), b".example.com");
        assert_eq!(text(|out| hex_encode(b"\x00\xfa", out)), b"00fa");
        assert_eq!(text(|out| hex_decode(b"3c 53\n4", out)), b"<S");
        assert_eq!(text(|out| hex_decode(b"3czz53", out)), b"<");
        assert_eq!(text(|out| xor(b"abc", b"\x01\x02", out)), b"``b");
        assert_eq!(text(|out| xor(b"abc", b"", out)), b"abc");
    }
}
