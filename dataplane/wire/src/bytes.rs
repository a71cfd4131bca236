//! Reading big-endian numbers: the length is checked once, by [`at`], and infallible from then on.

/// The `N` bytes from `offset`, if they are all there.
#[inline(always)]
pub(crate) fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

/// The 16-bit number at `offset`, a constant within the header.
#[inline(always)]
pub(crate) fn be16<const N: usize>(header: &[u8; N], offset: usize) -> u16 {
    u16::from_be_bytes(part(header, offset))
}

/// The 32-bit number at `offset`, a constant within the header.
#[inline(always)]
pub(crate) fn be32<const N: usize>(header: &[u8; N], offset: usize) -> u32 {
    u32::from_be_bytes(part(header, offset))
}

/// The 128-bit number at `offset`, a constant within the header.
#[inline(always)]
pub(crate) fn be128<const N: usize>(header: &[u8; N], offset: usize) -> u128 {
    u128::from_be_bytes(part(header, offset))
}

/// Some bytes of a header in one load. Put together byte by byte the compiler loads them byte by byte.
#[inline(always)]
fn part<const N: usize, const M: usize>(header: &[u8; N], offset: usize) -> [u8; M] {
    header[offset..].first_chunk().copied().unwrap_or([0; M])
}
