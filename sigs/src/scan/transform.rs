//! Buffers made from buffers: the transforms of a group, one after another.
//!
//! Memory: two buffers, reserved at the start; what does not fit is cut and counted.

use weir_content::transform::{
    base64_decode, compress_whitespace, dot_prefix, lowercase, md5, percent_decode, sha1, sha256,
    strip_whitespace, uppercase, xor,
};

use super::evaluate::base64_rules;
use crate::rule::{Transform, XorKey};

/// The longest that a transformed buffer gets.
pub(crate) const TRANSFORMED_BYTES: usize = 16 << 10;

/// Where transforms write.
pub(crate) struct Transformer {
    buffers: [Vec<u8>; 2],
    /// Buffers that were cut.
    pub cut: u64,
}

impl Transformer {
    /// With its buffers.
    pub fn new() -> Self {
        Self {
            buffers: [vec![0; TRANSFORMED_BYTES], vec![0; TRANSFORMED_BYTES]],
            cut: 0,
        }
    }

    /// Memory of the buffers.
    pub fn memory_bytes(&self) -> usize {
        self.buffers.iter().map(Vec::len).sum()
    }

    /// `bytes` with all of `transforms` done.
    pub fn apply<'a>(&'a mut self, transforms: &[Transform], bytes: &'a [u8]) -> &'a [u8] {
        let Some((first, rest)) = transforms.split_first() else {
            return bytes;
        };
        let [one, other] = &mut self.buffers;
        let (mut from, mut to) = (one, other);
        let (mut length, mut cut) = write(first, bytes, from);
        for transform in rest {
            let (written, was_cut) = write(transform, &from[..length], to);
            (length, cut) = (written, cut || was_cut);
            std::mem::swap(&mut from, &mut to);
        }
        self.cut += u64::from(cut);
        &from[..length]
    }
}

/// Writes what a transform makes of `bytes`; how much, and whether it was cut.
fn write(transform: &Transform, bytes: &[u8], out: &mut [u8]) -> (usize, bool) {
    let written = match transform {
        Transform::ToLowercase => lowercase(bytes, out),
        Transform::ToUppercase => uppercase(bytes, out),
        Transform::ToMd5 => md5(bytes, out),
        Transform::ToSha1 => sha1(bytes, out),
        Transform::ToSha256 => sha256(bytes, out),
        Transform::StripWhitespace => strip_whitespace(bytes, out),
        Transform::CompressWhitespace => compress_whitespace(bytes, out),
        Transform::DotPrefix => dot_prefix(bytes, out),
        Transform::Xor { key, offset } => return xor_from(bytes, key, *offset as usize, out),
        Transform::Subslice {
            offset,
            bytes: length,
            truncate,
        } => {
            let part = subslice(bytes, *offset, *length, *truncate);
            return gather(std::iter::once(part), out);
        }
        Transform::UrlDecode => {
            let rules = weir_content::piecewise::PercentRules {
                plus_is_space: true,
                ..Default::default()
            };
            percent_decode(bytes, rules, out)
        }
        Transform::FromBase64 {
            bytes: most,
            offset,
            mode,
        } => {
            let rules = weir_content::transform::Base64Rules {
                offset: *offset as usize,
                bytes: most.map_or(usize::MAX, |most| most as usize),
                ..base64_rules(*mode)
            };
            base64_decode(bytes, rules, out)
        }
        Transform::StripPseudoHeaders => {
            let kept = bytes.split_inclusive(|&byte| byte == b'\n');
            return gather(kept.filter(|line| line.first() != Some(&b':')), out);
        }
        Transform::HeaderLowercase => return lower_names(bytes, out),
        Transform::Inflate { max_bytes } => return inflate(bytes, *max_bytes, out, true),
        Transform::Gunzip { max_bytes } => {
            let body = gzip_body(bytes).unwrap_or_default();
            return inflate(body, *max_bytes, out, false);
        }
        // Rules with these are refused.
        Transform::Capture(_) | Transform::Domain | Transform::PublicSuffix => return (0, false),
    };
    (written.length, written.cut)
}

fn gather<'a>(parts: impl Iterator<Item = &'a [u8]>, out: &mut [u8]) -> (usize, bool) {
    let mut length = 0;
    for part in parts {
        let room = &mut out[length..];
        let taken = part.len().min(room.len());
        room[..taken].copy_from_slice(&part[..taken]);
        length += taken;
        if taken < part.len() {
            return (length, true);
        }
    }
    (length, false)
}

/// Combines what is behind `offset` with a key; what is before stays.
fn xor_from(bytes: &[u8], key: &XorKey, offset: usize, out: &mut [u8]) -> (usize, bool) {
    let key = match key {
        XorKey::Bytes(key) => Some(&key[..]),
        XorKey::Within {
            offset,
            bytes: length,
        } => {
            let from = *offset as usize;
            bytes.get(from..from.saturating_add(*length as usize))
        }
    };
    let (Some(key), Some((before, rest))) = (key, bytes.split_at_checked(offset)) else {
        return gather(std::iter::once(bytes), out);
    };
    let (length, cut) = gather(std::iter::once(before), out);
    let written = xor(rest, key, &mut out[length..]);
    (length + written.length, cut || written.cut)
}

/// A part of the buffer; places below 0 count from its end.
fn subslice(bytes: &[u8], offset: i32, length: Option<i32>, truncate: bool) -> &[u8] {
    let total = bytes.len() as i64;
    let place = |at: i64| if at < 0 { total + at } else { at };
    let start = place(offset.into());
    let end = match length {
        None => total,
        Some(length) if length < 0 => total + i64::from(length),
        Some(length) => start + i64::from(length),
    };
    if !truncate && (start < 0 || end > total) {
        return &[];
    }
    let (start, end) = (start.clamp(0, total), end.clamp(0, total));
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

/// Each line up to its colon in lower case.
fn lower_names(bytes: &[u8], out: &mut [u8]) -> (usize, bool) {
    let length = bytes.len().min(out.len());
    let mut in_name = true;
    for (to, &from) in out.iter_mut().zip(bytes) {
        *to = if in_name {
            from.to_ascii_lowercase()
        } else {
            from
        };
        in_name = from == b'\n' || in_name && from != b':';
    }
    (length, length < bytes.len())
}

fn inflate(bytes: &[u8], max_bytes: u32, out: &mut [u8], zlib: bool) -> (usize, bool) {
    let room = out.len().min(max_bytes as usize);
    let parts = std::iter::once(bytes);
    match miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut out[..room], parts, zlib, true)
    {
        Ok(length) => (length, false),
        Err(miniz_oxide::inflate::TINFLStatus::HasMoreOutput) => (room, true),
        Err(_) => (0, false),
    }
}

/// What is behind the header of gzip (RFC 1952, 2.3).
fn gzip_body(bytes: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = bytes.split_first_chunk::<10>()?;
    let flags = header.starts_with(&[0x1f, 0x8b, 8]).then_some(header[3])?;
    if flags & 4 != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(transforms: &[Transform], bytes: &[u8]) -> Vec<u8> {
        Transformer::new().apply(transforms, bytes).to_vec()
    }

    #[test]
    fn transforms_are_done_in_order() {
        assert_eq!(
            of(&[Transform::ToLowercase, Transform::DotPrefix], b"A.Org"),
            b".a.org"
        );
        assert_eq!(
            of(&[Transform::DotPrefix, Transform::ToUppercase], b"a"),
            b".A"
        );
        assert_eq!(of(&[Transform::UrlDecode], b"a%41+"), b"aA ");
        let key = XorKey::Bytes(vec![1, 2]);
        assert_eq!(
            of(&[Transform::Xor { key, offset: 1 }], b"\0\0\0"),
            [0, 1, 2]
        );
        let key = XorKey::Within {
            offset: 0,
            bytes: 1,
        };
        assert_eq!(
            of(&[Transform::Xor { key, offset: 1 }], b"\x03\x01"),
            [3, 2]
        );
        let part = |offset, bytes, truncate| {
            of(
                &[Transform::Subslice {
                    offset,
                    bytes,
                    truncate,
                }],
                b"abcdef",
            )
        };
        assert_eq!(part(1, Some(2), false), b"bc");
        assert_eq!(part(-2, None, false), b"ef");
        assert_eq!(part(2, Some(-1), false), b"cde");
        assert_eq!(
            (part(4, Some(9), false), part(4, Some(9), true)),
            (vec![], b"ef".to_vec())
        );
        assert_eq!(of(&[Transform::ToMd5], b"").len(), 16);
        assert_eq!(
            of(&[Transform::HeaderLowercase], b"AbC: De\r\nF: G"),
            b"abc: De\r\nf: G"
        );
        assert_eq!(
            of(&[Transform::StripPseudoHeaders], b":a: b\r\nc: d\r\n"),
            b"c: d\r\n"
        );
    }

    #[test]
    fn compressed_buffers_are_unpacked_within_bounds() {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(&[b'a'; 100], 6);
        let unpack = |max_bytes| of(&[Transform::Inflate { max_bytes }], &packed);
        assert_eq!(unpack(1_000), [b'a'; 100]);
        assert_eq!(unpack(10), [b'a'; 10]);
        let mut gzip = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0, b'n', 0];
        gzip.extend(miniz_oxide::deflate::compress_to_vec(b"hello", 6));
        assert_eq!(of(&[Transform::Gunzip { max_bytes: 99 }], &gzip), b"hello");
        assert_eq!(of(&[Transform::Gunzip { max_bytes: 99 }], b"nothing"), b"");
    }
}
