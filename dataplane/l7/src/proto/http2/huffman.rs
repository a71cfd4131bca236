//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of the symbols, and
//! shorter codes come before longer ones. So the lengths alone give the whole code.

const SYMBOLS: usize = 257;
const LENGTH_BITS_MAX: usize = 30;
/// The symbol that no string may hold.
const END_OF_STRING: u16 = 256;

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The codes of one length, as the top bits of 32.
#[derive(Clone, Copy)]
struct Row {
    /// Of these codes the first.
    first: u32,
    /// Behind the last.
    end: u64,
    /// Where their symbols begin in `Code::symbols`.
    symbols: u16,
}

struct Code {
    rows: [Row; LENGTH_BITS_MAX + 1],
    symbols: [u16; SYMBOLS],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        rows: [Row {
            first: 0,
            end: 0,
            symbols: 0,
        }; LENGTH_BITS_MAX + 1],
        symbols: [0; SYMBOLS],
    };
    let mut next = 0_u64;
    let mut placed = 0;
    let mut length = 1;
    while length <= LENGTH_BITS_MAX {
        let row = &mut code.rows[length];
        row.first = next as u32;
        row.symbols = placed as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code.symbols[placed] = symbol as u16;
                placed += 1;
                next += 1 << (32 - length);
            }
            symbol += 1;
        }
        row.end = next;
        length += 1;
    }
    code
}

/// Hands every byte of a coded string to `take`. None when the string is malformed: it holds the
/// end-of-string symbol, or ends in anything but up to seven one bits (RFC 7541, 5.2).
pub(super) fn decode(input: &[u8], mut take: impl FnMut(u8)) -> Option<()> {
    let mut bytes = input.iter();
    let mut bits = 0_u64;
    let mut count = 0_usize;
    loop {
        while count < 32
            && let Some(&byte) = bytes.next()
        {
            bits = bits << 8 | u64::from(byte);
            count += 8;
        }
        let held = bits & ((1 << count) - 1);
        if count < 8 && held == (1 << count) - 1 {
            return Some(());
        }
        // The next 32 bits, ones behind the end.
        let window = match count {
            0..32 => held << (32 - count) | u64::from(u32::MAX >> count),
            _ => held >> (count - 32),
        };
        let (symbol, length) = symbol(window)?;
        if length > count || symbol == END_OF_STRING {
            return None;
        }
        count -= length;
        take(symbol as u8);
    }
}

/// The symbol at the front of 32 bits, and the length of its code.
fn symbol(window: u64) -> Option<(u16, usize)> {
    let length = (5..=LENGTH_BITS_MAX).find(|&length| window < CODE.rows[length].end)?;
    let row = &CODE.rows[length];
    let place = (window - u64::from(row.first)) >> (32 - length);
    let symbol = CODE
        .symbols
        .get(usize::from(row.symbols) + place as usize)?;
    Some((*symbol, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        decode(input, |byte| bytes.push(byte))?;
        Some(bytes)
    }

    /// Slow and obvious: one bit after the other.
    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for &byte in text {
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let row = &CODE.rows[length];
            let place = CODE.symbols[usize::from(row.symbols)..]
                .iter()
                .position(|&symbol| symbol == u16::from(byte))
                .expect("a symbol of this length");
            let code = (row.first >> (32 - length)) as usize + place;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        while bits.len() % 8 != 0 {
            bits.push(true);
        }
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, &bit| sum << 1 | u8::from(bit)))
            .collect()
    }

    #[test]
    fn the_code_is_that_of_the_appendix() {
        for (symbol, code, length) in [
            (b' ', 0x14, 6),
            (b'0', 0, 5),
            (b'a', 3, 5),
            (b'z', 0x7b, 7),
            (b'{', 0x7ffe, 15),
            (0xff, 0x3ff_ffee, 26),
            (b'\n', 0x3fff_fffc, 30),
        ] {
            assert_eq!(LENGTHS[usize::from(symbol)], length);
            let window = (code << (32 - u64::from(length))) & 0xffff_ffff;
            assert_eq!(
                super::symbol(window),
                Some((u16::from(symbol), usize::from(length)))
            );
        }
        assert_eq!(super::symbol(0xffff_ffff), Some((END_OF_STRING, 30)));
    }

    #[test]
    fn padding_is_checked() {
        assert_eq!(decoded(b""), Some(Vec::new()));
        // "0" is 00000, and three ones.
        assert_eq!(decoded(&[0b0000_0111]), Some(b"0".to_vec()));
        assert_eq!(decoded(&[0b0000_0110]), None);
        assert_eq!(decoded(&[0b0000_0111, 0xff]), None);
        assert_eq!(decoded(&[0xff; 4]), None);
    }

    proptest! {
        #[test]
        fn reads_what_is_written(text in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decoded(&encoded(&text)), Some(text));
        }
    }
}
