//! The front of compressed messages: as much as fits into the output, without memory of its own.
//!
//! What is asked for is the head of a message, so the output may be smaller than the message, and
//! the input may end early: what could be read by then is returned. Bytes that are no valid
//! compression give what stood before the fault, since the receiver refuses such a message anyway.
//! Trusts nothing; never reads before the output's begin. Sources: `format_description.txt`
//! (Google Snappy), `lz4_Block_format.md` (LZ4), RFC 1950 and 1951 (zlib, by miniz_oxide).

use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::read::cursor::Cursor;

/// Output with what was written.
struct Output<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Output<'_> {
    /// Appends; none when it is full.
    fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        let room = self.bytes.get_mut(self.length..)?;
        let count = bytes.len().min(room.len());
        room.get_mut(..count)?.copy_from_slice(bytes.get(..count)?);
        self.length += count;
        (count == bytes.len()).then_some(())
    }

    /// Repeats what stands `distance` bytes before, perhaps into itself.
    fn repeat(&mut self, distance: usize, count: usize) -> Option<()> {
        if distance == 0 {
            return None;
        }
        for _ in 0..count {
            let byte = *self.bytes.get(self.length.checked_sub(distance)?)?;
            *self.bytes.get_mut(self.length)? = byte;
            self.length += 1;
        }
        Some(())
    }
}

/// Snappy, raw: a length of up to five bytes, then elements. Returns how much was written.
pub(crate) fn snappy(input: &[u8], output: &mut [u8]) -> usize {
    let mut output = Output {
        bytes: output,
        length: 0,
    };
    let head = input
        .iter()
        .take(5)
        .position(|byte| byte & 0x80 == 0)
        .map_or(5, |last| last + 1);
    let mut cursor = Cursor::new(input.get(head..).unwrap_or_default());
    while snappy_element(&mut cursor, &mut output).is_some() {}
    output.length
}

/// How much raw Snappy unpacks to: the length at its front.
pub(crate) fn snappy_length(input: &[u8]) -> usize {
    let bytes = input.iter().take(5);
    let last = bytes.clone().position(|byte| byte & 0x80 == 0).unwrap_or(4);
    bytes
        .take(last + 1)
        .rev()
        .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f))
}

fn snappy_element(cursor: &mut Cursor<'_>, output: &mut Output<'_>) -> Option<()> {
    let tag = cursor.u8()?;
    let size = usize::from(tag >> 2);
    match tag & 3 {
        0 => {
            let length = match size {
                0..60 => size,
                60 => usize::from(cursor.u8()?),
                61 => usize::from(u16::from_le_bytes(cursor.array()?)),
                62 => {
                    let [low, middle, high] = cursor.array()?;
                    u32::from_le_bytes([low, middle, high, 0]) as usize
                }
                _ => u32::from_le_bytes(cursor.array()?) as usize,
            };
            literal(cursor, length.saturating_add(1), output)
        }
        1 => {
            let distance = usize::from(tag >> 5) << 8 | usize::from(cursor.u8()?);
            output.repeat(distance, (size & 7) + 4)
        }
        2 => output.repeat(u16::from_le_bytes(cursor.array()?).into(), size + 1),
        _ => output.repeat(u32::from_le_bytes(cursor.array()?) as usize, size + 1),
    }
}

/// An LZ4 block: sequences of literals and a match. Returns how much was written.
pub(crate) fn lz4(input: &[u8], output: &mut [u8]) -> usize {
    let mut output = Output {
        bytes: output,
        length: 0,
    };
    let mut cursor = Cursor::new(input);
    while lz4_sequence(&mut cursor, &mut output).is_some() {}
    output.length
}

fn lz4_sequence(cursor: &mut Cursor<'_>, output: &mut Output<'_>) -> Option<()> {
    let token = cursor.u8()?;
    let length = lz4_length(cursor, token >> 4)?;
    literal(cursor, length, output)?;
    let distance = u16::from_le_bytes(cursor.array()?);
    let length = lz4_length(cursor, token & 15)?;
    output.repeat(distance.into(), length + 4)
}

fn lz4_length(cursor: &mut Cursor<'_>, nibble: u8) -> Option<usize> {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        loop {
            let more = cursor.u8()?;
            length = length.saturating_add(more.into());
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

/// Copies literals, as many as there are.
fn literal(cursor: &mut Cursor<'_>, length: usize, output: &mut Output<'_>) -> Option<()> {
    match cursor.take(length) {
        Some(bytes) => output.literal(bytes),
        None => {
            output.literal(cursor.rest());
            None
        }
    }
}

/// zlib. Returns how much was written. The decoder's 11 KiB of tables lie on the stack.
pub(crate) fn zlib(input: &[u8], output: &mut [u8]) -> usize {
    let mut decoder = DecompressorOxide::new();
    let flags = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (_, _, written) = decompress(&mut decoder, input, output, 0, flags);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repeats_are_read() {
        let mut output = [0; 64];
        // "abcd" and 8 bytes from 4 before.
        let length = snappy(b"\x0c\x0cabcd\x1e\x04\x00", &mut output);
        assert_eq!(&output[..length], b"abcdabcdabcd");
        let length = lz4(b"\x44abcd\x04\x00\x10x", &mut output);
        assert_eq!(&output[..length], b"abcdabcdabcdx");
        let packed = b"\x78\x9c\x4b\x4c\x4a\x4e\x49\x84\x62\x00\x1e\x00\x04\x9f";
        let length = zlib(packed, &mut output);
        assert_eq!(&output[..length], b"abcdabcdabcd");
    }

    #[test]
    fn what_is_cut_or_wrong_gives_what_stood_before() {
        let mut output = [0; 3];
        assert_eq!(snappy(b"\x0c\x0cabcd", &mut output), 3);
        assert_eq!(lz4(b"\x44ab", &mut output), 2);
        assert_eq!(lz4(b"\x14a\x09\x00", &mut output), 1);
        assert_eq!(snappy(b"\x0c\x0e\x00\x00", &mut output), 0);
        assert_eq!(zlib(b"\x78\x9c\xff\xff", &mut output), 0);
        for byte in 0..=255 {
            let input = [byte; 40];
            snappy(&input, &mut output);
            lz4(&input, &mut output);
            zlib(&input, &mut output);
        }
    }
}
