//! What the installed library gets wrong, and how it is given bytes so that nothing is overlooked.
//!
//! Vectorscan before 5.4.13 overlooks matches among the last 64 bytes of what it reads at once, where a
//! processor with AVX-512 skips bytes that cannot begin a match or go on with one. What it reads at once
//! also ends wherever one of a database's automata waits for another, anywhere in a long piece. So:
//! whole buffers are read with [`END_MARK`] and padding behind them; streams that are searched for
//! literals only, among enough of them that none is skipped to; streams that are searched for expressions
//! in strides ([`read`]), the only way that is right for every expression. Strides cost about half of the
//! speed where many expressions are looked for.

use arrayvec::ArrayVec;
use hyperscan::{Matching, Scratch, Stream};

/// Stands behind the last byte of what Hyperscan is given, and bytes that mean nothing behind it.
pub(crate) const END_MARK: [u8; 8] = [0x1e, 0x0e, 0x1d, 0x0f, 0x1c, 0x10, 0x1b, 0x11];
/// Bytes that may be overlooked.
const PADDING: usize = 64;
/// Room that [`pad`] needs behind the bytes.
pub(crate) const PADDED_BEHIND: usize = END_MARK.len() + PADDING;
/// Of a read that is not longer nothing is overlooked.
const STRIDE: usize = 64;
/// Ends of one stride that are put in order.
const ENDS: usize = 256;

/// The bytes with the mark of their end behind them, and then what may be overlooked. Of more than there
/// is place for the last ones are taken.
pub(crate) fn pad<'a>(buffer: &'a mut [u8], bytes: &[u8]) -> &'a [u8] {
    let room = buffer.len() - END_MARK.len() - PADDING;
    let bytes = &bytes[bytes.len().saturating_sub(room)..];
    let (start, marked) = (bytes.len(), bytes.len() + END_MARK.len());
    buffer[..start].copy_from_slice(bytes);
    buffer[start..marked].copy_from_slice(&END_MARK);
    buffer[marked..marked + PADDING].fill(0);
    &buffer[..marked + PADDING]
}

/// The next bytes of a stream that is searched for expressions.
pub(crate) fn read(
    stream: &Stream,
    bytes: &[u8],
    scratch: &Scratch,
    on_match: &mut dyn FnMut(u32, u64),
) {
    for stride in bytes.chunks(STRIDE) {
        // An end that waited for the next byte is told behind ends that did not: the order of the
        // bytes is restored, so that it does not depend on where they were cut.
        let mut ends = ArrayVec::<(u64, u32), ENDS>::new();
        let gather = |id: u32, _: u64, to: u64, _: u32| {
            if ends.is_full() {
                in_order(&mut ends, on_match);
            }
            ends.push((to, id));
            Matching::Continue
        };
        // The only errors are of misuse; what was found until then has been told.
        let _ = stream.scan(stride, scratch, gather);
        in_order(&mut ends, on_match);
    }
}

fn in_order(ends: &mut ArrayVec<(u64, u32), ENDS>, on_match: &mut dyn FnMut(u32, u64)) {
    ends.sort_unstable();
    for (to, id) in ends.drain(..) {
        on_match(id, to);
    }
}

/// The stream is over, and begins anew; expressions that wait for its end are told. Whether it can be
/// used again: only misuse could bring about that it cannot.
pub(crate) fn end(stream: &Stream, scratch: &Scratch, on_match: &mut dyn FnMut(u32, u64)) -> bool {
    let on_match = |id: u32, _: u64, to: u64, _: u32| {
        on_match(id, to);
        Matching::Continue
    };
    stream.reset(scratch, on_match).is_ok()
}

/// Frees streams; the binding does so only when they are closed.
pub(crate) fn close(streams: impl IntoIterator<Item = Stream>, scratch: &Scratch) {
    for stream in streams {
        let _ = stream.close(scratch, ());
    }
}
