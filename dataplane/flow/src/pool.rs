//! A slab of equal chunks and its free list: the memory behind reassembly and defragmentation.

/// Bytes in a chunk.
pub(crate) const CHUNK_BYTES: usize = 2048;
/// No chunk.
pub(crate) const NONE: u32 = u32::MAX;

/// Chunks of [`CHUNK_BYTES`], all allocated at the start.
pub(crate) struct ChunkPool {
    slab: Vec<u8>,
    /// The free ones' successors.
    next_free: Vec<u32>,
    first_free: u32,
    free: u32,
}

impl ChunkPool {
    /// As many chunks as fit into `bytes`, at least one.
    pub fn new(bytes: usize) -> Self {
        let count = (bytes / CHUNK_BYTES).clamp(1, NONE as usize - 1);
        let mut next_free: Vec<u32> = (1..=count as u32).collect();
        next_free[count - 1] = NONE;
        Self {
            slab: vec![0; count * CHUNK_BYTES],
            next_free,
            first_free: 0,
            free: count as u32,
        }
    }

    pub fn count(&self) -> usize {
        self.next_free.len()
    }

    pub fn free(&self) -> usize {
        self.free as usize
    }

    pub fn used_bytes(&self) -> usize {
        (self.count() - self.free()) * CHUNK_BYTES
    }

    pub fn take(&mut self) -> Option<u32> {
        let chunk = self.first_free;
        if chunk == NONE {
            return None;
        }
        self.first_free = self.next_free[chunk as usize];
        self.free -= 1;
        Some(chunk)
    }

    pub fn give_back(&mut self, chunk: u32) {
        self.next_free[chunk as usize] = self.first_free;
        self.first_free = chunk;
        self.free += 1;
    }

    pub fn bytes(&self, chunk: u32) -> &[u8] {
        let start = chunk as usize * CHUNK_BYTES;
        &self.slab[start..start + CHUNK_BYTES]
    }

    pub fn bytes_mut(&mut self, chunk: u32) -> &mut [u8] {
        let start = chunk as usize * CHUNK_BYTES;
        &mut self.slab[start..start + CHUNK_BYTES]
    }
}
