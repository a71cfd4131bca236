//! Memory for bytes that must be kept between packets: all of it allocated at the start.
//!
//! Two sizes of buffers, since most kept beginnings are small and few are large. A buffer begins
//! small and moves once when it outgrows that.

/// A handle to kept bytes; empty without memory.
#[derive(Default)]
pub(crate) struct Kept {
    place: Place,
    length: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    None,
    Small(u32),
    Large(u32),
}

/// The worker's buffers.
pub(crate) struct Pool {
    small: Class,
    large: Class,
}

struct Class {
    bytes: Vec<u8>,
    size: usize,
    free: Vec<u32>,
}

impl Kept {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Class {
    fn new(size: usize, budget: usize) -> Self {
        let size = size.max(1);
        let count = u32::try_from(budget / size).unwrap_or(u32::MAX);
        Self {
            bytes: vec![0; size * count as usize],
            size,
            free: (0..count).rev().collect(),
        }
    }

    fn slot(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.size;
        &self.bytes[start..start + self.size]
    }

    fn slot_mut(&mut self, slot: u32) -> &mut [u8] {
        let start = slot as usize * self.size;
        &mut self.bytes[start..start + self.size]
    }
}

impl Pool {
    /// Half of `budget` in buffers of `small`, half in buffers of `large` bytes.
    pub(crate) fn new(small: usize, large: usize, budget: usize) -> Self {
        Self {
            small: Class::new(small.min(large), budget / 2),
            large: Class::new(large, budget / 2),
        }
    }

    /// What the buffer holds.
    pub(crate) fn bytes(&self, buffer: &Kept) -> &[u8] {
        match buffer.place {
            Place::None => &[],
            Place::Small(slot) => &self.small.slot(slot)[..buffer.length],
            Place::Large(slot) => &self.large.slot(slot)[..buffer.length],
        }
    }

    /// Appends as much as fits into the largest size, or into what memory is left; returns how
    /// much that was.
    pub(crate) fn append(&mut self, buffer: &mut Kept, bytes: &[u8]) -> usize {
        self.reserve(buffer, buffer.length.saturating_add(bytes.len()));
        let room = match buffer.place {
            Place::None => return 0,
            Place::Small(slot) => self.small.slot_mut(slot),
            Place::Large(slot) => self.large.slot_mut(slot),
        };
        let taken = bytes.len().min(room.len() - buffer.length);
        room[buffer.length..buffer.length + taken].copy_from_slice(&bytes[..taken]);
        buffer.length += taken;
        taken
    }

    /// Forgets the first `count` bytes; an empty buffer gives its memory back.
    pub(crate) fn drop_front(&mut self, buffer: &mut Kept, count: usize) {
        if count >= buffer.length {
            return self.release(buffer);
        }
        let room = match buffer.place {
            Place::None => return,
            Place::Small(slot) => self.small.slot_mut(slot),
            Place::Large(slot) => self.large.slot_mut(slot),
        };
        room.copy_within(count..buffer.length, 0);
        buffer.length -= count;
    }

    /// Empties the buffer and takes its memory back.
    pub(crate) fn release(&mut self, buffer: &mut Kept) {
        match std::mem::take(buffer).place {
            Place::None => {}
            Place::Small(slot) => self.small.free.push(slot),
            Place::Large(slot) => self.large.free.push(slot),
        }
    }

    /// Bytes of the buffers in use.
    pub(crate) fn used_bytes(&self) -> usize {
        let used = |class: &Class| class.bytes.len() - class.free.len() * class.size;
        used(&self.small) + used(&self.large)
    }

    fn reserve(&mut self, buffer: &mut Kept, wanted: usize) {
        let fits_small = wanted <= self.small.size;
        match buffer.place {
            Place::None if wanted == 0 => {}
            Place::None if fits_small && !self.small.free.is_empty() => {
                buffer.place = self.small.free.pop().map_or(Place::None, Place::Small);
            }
            Place::None => match self.large.free.pop() {
                Some(slot) => buffer.place = Place::Large(slot),
                None => buffer.place = self.small.free.pop().map_or(Place::None, Place::Small),
            },
            Place::Small(slot) if !fits_small => {
                if let Some(large) = self.large.free.pop() {
                    let kept = &self.small.slot(slot)[..buffer.length];
                    self.large.slot_mut(large)[..buffer.length].copy_from_slice(kept);
                    self.small.free.push(slot);
                    buffer.place = Place::Large(large);
                }
            }
            Place::Small(_) | Place::Large(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_once_and_returns_all_memory() {
        let mut pool = Pool::new(4, 16, 64);
        let mut buffer = Kept::default();
        assert_eq!(pool.append(&mut buffer, b"abc"), 3);
        assert_eq!(pool.used_bytes(), 4);
        assert_eq!(pool.append(&mut buffer, b"defgh"), 5);
        assert_eq!(pool.used_bytes(), 16);
        assert_eq!(pool.bytes(&buffer), b"abcdefgh");
        pool.drop_front(&mut buffer, 3);
        assert_eq!(pool.bytes(&buffer), b"defgh");
        assert_eq!(pool.append(&mut buffer, &[b'x'; 20]), 11);
        pool.drop_front(&mut buffer, 99);
        assert!(buffer.is_empty());
        assert_eq!(pool.used_bytes(), 0);
    }

    #[test]
    fn an_empty_pool_takes_nothing() {
        let mut pool = Pool::new(4, 16, 0);
        let mut buffer = Kept::default();
        assert_eq!(pool.append(&mut buffer, b"abc"), 0);
        assert!(pool.bytes(&buffer).is_empty());
    }
}
