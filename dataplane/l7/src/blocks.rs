//! Memory for parsers that need more than a session's share: tables, datagrams in pieces.

/// What such a parser takes at a time.
pub type Block = [u8; BLOCK_BYTES];

/// Bytes of a [`Block`].
pub const BLOCK_BYTES: usize = 8_192;

/// The blocks of a worker, all allocated at the start. A parser owns what it has taken until it
/// gives it back.
pub struct Blocks(Vec<Box<Block>>);

impl Blocks {
    /// So many blocks.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Box::new([0; BLOCK_BYTES])).collect())
    }

    /// A block with arbitrary content; None when all are taken.
    pub fn take(&mut self) -> Option<Box<Block>> {
        self.0.pop()
    }

    /// Takes a block back.
    pub fn give(&mut self, block: Box<Block>) {
        self.0.push(block);
    }

    /// Blocks that nobody has.
    pub fn free(&self) -> usize {
        self.0.len()
    }
}
