//! A small compressed buffer as a whole.

use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::Written;

/// The first member of gzip; nothing where there is none. What stands before a fault is given.
pub fn gunzip(input: &[u8], output: &mut [u8]) -> Written {
    unpack(input, after_gzip_header(input), output)
}

/// The data of zlib; nothing where its header is missing. What stands before a fault is given.
pub fn zlib_decompress(input: &[u8], output: &mut [u8]) -> Written {
    let data = match input {
        [first, second, data @ ..] if first & 0x0f == 8 && second & 0x20 == 0 => {
            let sum = u16::from_be_bytes([*first, *second]);
            sum.is_multiple_of(31).then_some(data)
        }
        _ => None,
    };
    unpack(input, data, output)
}

fn unpack(input: &[u8], data: Option<&[u8]>, output: &mut [u8]) -> Written {
    let Some(data) = data else {
        return Written {
            changed: !input.is_empty(),
            ..Written::default()
        };
    };
    let mut decoder = DecompressorOxide::new();
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, _, length) = decompress(&mut decoder, data, output, 0, flags);
    Written {
        length,
        cut: status == miniz_oxide::inflate::TINFLStatus::HasMoreOutput,
        changed: output.get(..length) != Some(input),
    }
}

/// What follows the header of gzip, with the parts that its flags name.
fn after_gzip_header(input: &[u8]) -> Option<&[u8]> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, rest @ ..] = input else {
        return None;
    };
    let mut rest = rest;
    if flags & 4 != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest)?;
            rest = rest.get(end + 1..)?;
        }
    }
    match flags & 2 {
        0 => Some(rest),
        _ => rest.get(2..),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;

    use super::*;

    #[test]
    fn whole_buffers_are_unpacked_as_far_as_they_fit() {
        let text = b"select ".repeat(20);
        let mut gzip = flate2::GzBuilder::new()
            .filename("a")
            .comment("b")
            .extra(vec![1; 9])
            .write(Vec::new(), Compression::best());
        gzip.write_all(&text).unwrap();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&text).unwrap();
        let (gzip, zlib) = (gzip.finish().unwrap(), zlib.finish().unwrap());
        let mut output = [0; 256];
        for written in [
            gunzip(&gzip, &mut output),
            zlib_decompress(&zlib, &mut output),
        ] {
            assert_eq!((written.length, written.cut), (text.len(), false));
            assert_eq!(&output[..written.length], text);
        }
        let mut small = [0; 8];
        let written = gunzip(&gzip, &mut small);
        assert!(written.cut && small == text[..8]);
        assert_eq!(gunzip(&zlib, &mut output).length, 0);
        assert_eq!(zlib_decompress(b"plain", &mut output).length, 0);
        for end in 0..gzip.len() {
            gunzip(&gzip[..end], &mut output);
        }
    }
}
