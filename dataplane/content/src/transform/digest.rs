//! Digests of a whole buffer, as bytes.

use md5::Digest;

use super::{Emit, Output, Written};

fn write(digest: &[u8], input: &[u8], output: &mut [u8]) -> Written {
    let mut out = Output::new(output);
    out.bytes(digest);
    out.written(input)
}

/// MD5, 16 bytes.
pub fn md5(input: &[u8], output: &mut [u8]) -> Written {
    write(&md5::Md5::digest(input), input, output)
}

/// SHA-1, 20 bytes.
pub fn sha1(input: &[u8], output: &mut [u8]) -> Written {
    write(&sha1::Sha1::digest(input), input, output)
}

/// SHA-256, 32 bytes.
pub fn sha256(input: &[u8], output: &mut [u8]) -> Written {
    write(&sha2::Sha256::digest(input), input, output)
}

#[cfg(test)]
mod tests {
    use super::super::hex_encode;
    use super::*;

    fn hex(digest: fn(&[u8], &mut [u8]) -> Written) -> String {
        let (mut bytes, mut text) = ([0; 32], [0; 64]);
        let length = digest(b"abc", &mut bytes).length;
        let length = hex_encode(&bytes[..length], &mut text).length;
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn digests_of_abc_are_those_of_the_standards() {
        assert_eq!(hex(md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let long = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(sha256), long);
    }
}
