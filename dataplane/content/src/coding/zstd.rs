//! Zstandard (RFC 8878), decoded by libzstd.
//!
//! A decoder holds its window and two blocks. libzstd allocates those when a frame first asks for them
//! and keeps them; asking for the largest before every message makes that happen at the start. Frames
//! with larger windows (RFC 9659 allows 8 MiB on the web) and with dictionaries are not decoded.

use std::ops::ControlFlow;

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::Out;
use crate::Outcome;

const OUT_BYTES: usize = 16 << 10;

pub(crate) struct Zstd {
    context: DCtx<'static>,
    window_log: u32,
    /// What the decoder wants to see next; 0 between frames.
    wanted: usize,
    out: Box<[u8]>,
}

impl Zstd {
    /// A decoder for windows of so many bytes, rounded up to a power of two; none without memory.
    pub(super) fn new(window_bytes: usize) -> Option<Self> {
        let window_log = window_bytes
            .max(1 << 10)
            .next_power_of_two()
            .ilog2()
            .min(27);
        let mut context = DCtx::try_create()?;
        context
            .set_parameter(DParameter::WindowLogMax(window_log))
            .ok()?;
        let mut zstd = Self {
            context,
            window_log,
            wanted: 0,
            out: vec![0; OUT_BYTES].into_boxed_slice(),
        };
        zstd.begin();
        Some(zstd)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.context.sizeof() + self.out.len()
    }

    /// Gets ready for another message, and has the decoder hold memory for the largest window.
    pub(super) fn begin(&mut self) {
        self.reset();
        // Magic number, no content size, and a window of 1 << window_log.
        let largest = [
            0x28,
            0xb5,
            0x2f,
            0xfd,
            0,
            ((self.window_log - 10) << 3) as u8,
            0,
        ];
        let mut out = OutBuffer::around(&mut self.out[..]);
        let mut input = InBuffer::around(&largest);
        // What becomes of this frame is of no interest: it is forgotten at once.
        let _ = self.context.decompress_stream(&mut out, &mut input);
        self.reset();
        self.wanted = 0;
    }

    fn reset(&mut self) {
        // Resetting a session alone cannot fail.
        let _ = self.context.reset(ResetDirective::SessionOnly);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.wanted == 0
    }

    pub(super) fn piece(&mut self, input: &[u8], out: &mut Out<'_>) -> ControlFlow<Outcome> {
        let mut rest = input;
        if rest.is_empty() {
            return ControlFlow::Continue(());
        }
        loop {
            // One block at a time: an error would keep back the blocks before it.
            let asked = rest.len().min(self.wanted.max(1));
            let mut taken = InBuffer::around(rest.get(..asked).unwrap_or_default());
            let mut given = OutBuffer::around(&mut self.out[..]);
            let hint = self.context.decompress_stream(&mut given, &mut taken);
            let (read, written) = (taken.pos(), given.pos());
            if let Some(given) = self.out.get(..written).filter(|given| !given.is_empty()) {
                out(given)?;
            }
            self.wanted = match hint {
                Ok(wanted) => wanted,
                Err(code) => return ControlFlow::Break(fault(code)),
            };
            rest = rest.get(read..).unwrap_or_default();
            let full = written == self.out.len();
            let flushed = !full || self.wanted == 0;
            if rest.is_empty() && flushed || read == 0 && written == 0 {
                return ControlFlow::Continue(());
            }
        }
    }
}

fn fault(code: usize) -> Outcome {
    match zstd_safe::get_error_name(code) {
        "Frame requires too much memory for decoding" => Outcome::Undecoded("window too large"),
        "Dictionary mismatch" => Outcome::Undecoded("dictionary"),
        _ => Outcome::Corrupt("zstd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libzstd_holds_stays_the_same() {
        let mut decoder = Zstd::new(1 << 20).expect("there is memory");
        let held = decoder.memory_bytes();
        assert!(held > 1 << 20, "the largest window is there from the start");
        let large = zstd::encode_all(&[7; 400_000][..], 1).unwrap();
        let small = zstd::encode_all(&b"small"[..], 1).unwrap();
        // libzstd makes itself smaller after 128 small frames in a row.
        for encoded in std::iter::once(&large).chain(std::iter::repeat_n(&small, 300)) {
            decoder.begin();
            let done = decoder.piece(encoded, &mut |_| ControlFlow::Continue(()));
            assert!(done.is_continue() && decoder.is_whole());
            assert_eq!(decoder.memory_bytes(), held);
        }
    }
}
