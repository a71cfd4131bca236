//! Memory for decoders that ask for it while they run: reserved at the start, handed out and taken back.
//!
//! Pieces come in fixed sizes, a number of each. What is reserved costs address space; a page of it is
//! the system's until it is first written to. Whoever gets none is told so with an empty piece.

use std::sync::{Arc, Mutex, PoisonError};

use brotli_decompressor::{Allocator, SliceWrapper, SliceWrapperMut};

/// Pieces of one size that nobody uses.
struct Size<T> {
    length: usize,
    free: Vec<Vec<T>>,
}

type Sizes<T> = Arc<Mutex<Vec<Size<T>>>>;

/// Pieces of a few sizes, the smallest first; shared by the decoders of one worker.
pub(super) struct Store<T> {
    sizes: Sizes<T>,
}

/// A piece in use. Gives itself back when it is dropped.
pub(super) struct Piece<T> {
    memory: Vec<T>,
    length: usize,
    home: Option<(Sizes<T>, usize)>,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self {
            sizes: Arc::clone(&self.sizes),
        }
    }
}

impl<T: Clone + Default> Store<T> {
    /// So many pieces of each length, shortest first, made by `make`.
    pub(super) fn new(sizes: &[(usize, usize)], make: fn(usize) -> Vec<T>) -> Self {
        let sizes = sizes.iter().map(|(length, count)| Size {
            length: *length,
            free: (0..*count).map(|_| make(*length)).collect(),
        });
        Self {
            sizes: Arc::new(Mutex::new(sizes.collect())),
        }
    }

    /// Bytes of all pieces, when none is in use.
    pub(super) fn memory_bytes(&self) -> usize {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |size: &Size<T>| size.length * size.free.len() * size_of::<T>();
        sizes.iter().map(bytes).sum()
    }
}

impl<T: Clone + Default> Allocator<T> for Store<T> {
    type AllocatedMemory = Piece<T>;

    fn alloc_cell(&mut self, length: usize) -> Piece<T> {
        if length == 0 {
            return Piece::default();
        }
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = sizes
            .iter_mut()
            .enumerate()
            .filter(|(_, size)| size.length >= length)
            .find_map(|(place, size)| Some((place, size.free.pop()?)));
        let Some((place, mut memory)) = fitting else {
            return Piece::default();
        };
        // Within the capacity, so nothing is allocated.
        if memory.len() < length {
            memory.resize(length, T::default());
        }
        Piece {
            memory,
            length,
            home: Some((Arc::clone(&self.sizes), place)),
        }
    }

    fn free_cell(&mut self, piece: Piece<T>) {
        drop(piece);
    }
}

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Self {
            memory: Vec::new(),
            length: 0,
            home: None,
        }
    }
}

impl<T> Drop for Piece<T> {
    fn drop(&mut self) {
        if let Some((sizes, place)) = self.home.take() {
            let mut sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(size) = sizes.get_mut(place) {
                size.free.push(std::mem::take(&mut self.memory));
            }
        }
    }
}

impl<T> SliceWrapper<T> for Piece<T> {
    fn slice(&self) -> &[T] {
        self.memory.get(..self.length).unwrap_or_default()
    }
}

impl<T> SliceWrapperMut<T> for Piece<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        self.memory.get_mut(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_and_are_refused_when_none_is_left() {
        let mut store: Store<u8> = Store::new(&[(4, 1), (16, 2)], |length| vec![0; length]);
        assert_eq!(store.memory_bytes(), 36);
        let small = store.alloc_cell(3);
        let spilled = store.alloc_cell(3);
        assert_eq!((small.slice().len(), spilled.slice().len()), (3, 3));
        let large = store.alloc_cell(16);
        assert_eq!(large.slice().len(), 16);
        assert!(store.alloc_cell(16).slice().is_empty());
        assert!(store.alloc_cell(17).slice().is_empty());
        drop((small, spilled, large));
        assert_eq!(store.memory_bytes(), 36);
        assert_eq!(store.alloc_cell(16).slice().len(), 16);
    }
}
