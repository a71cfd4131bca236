//! Frames in ordinary memory: for captures and for tests.

use super::{Frame, FrameSource};

/// A frame on the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame(pub Vec<u8>);

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes [`MemoryFrame`]s.
#[derive(Default)]
pub struct MemoryFrames;

impl FrameSource for MemoryFrames {
    type Frame = MemoryFrame;

    fn frame(&mut self, bytes: &[u8]) -> Option<MemoryFrame> {
        Some(MemoryFrame(bytes.to_vec()))
    }
}
