//! The dynamic table of HPACK (RFC 7541, 2.3.2 and 4) in memory that it is lent.
//!
//! Memory: what is lent. An entry takes its bytes and eight more, where the specification counts
//! 32: a table of the default size, 4,096, always fits into as many bytes. Of a larger one the
//! newest entries are kept.

/// Bytes that an entry counts beyond its text (RFC 7541, 4.1).
const OVERHEAD_BYTES: u32 = 32;
/// Bytes that an entry takes beyond its text: both lengths, before and behind it.
const FRAME_BYTES: usize = 8;
/// Size before anybody says otherwise (RFC 9113, 6.5.2).
const SIZE_BYTES_DEFAULT: u32 = 4_096;

/// Where the entries are.
pub(super) struct Table {
    start: u16,
    end: u16,
    count: u16,
    /// Whether the other end may refer to entries that are not here.
    lossy: bool,
    /// As the specification counts it.
    size_bytes: u32,
    size_bytes_max: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            start: 0,
            end: 0,
            count: 0,
            lossy: false,
            size_bytes: 0,
            size_bytes_max: SIZE_BYTES_DEFAULT,
        }
    }
}

impl Table {
    /// Whether an index beyond the entries may be valid all the same.
    pub(super) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Entries may have been made that were not seen.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.lossy = true;
    }

    fn clear(&mut self) {
        *self = Self {
            size_bytes_max: self.size_bytes_max,
            lossy: self.lossy,
            ..Self::default()
        };
    }

    /// The other end keeps no more than this from here on.
    pub(super) fn resize(&mut self, memory: &[u8], size_bytes_max: u32) {
        self.size_bytes_max = size_bytes_max;
        while self.size_bytes > size_bytes_max {
            self.evict(memory);
        }
    }

    /// The name and value at `index`, 0 the newest.
    pub(super) fn get<'m>(&self, memory: &'m [u8], index: u32) -> Option<(&'m [u8], &'m [u8])> {
        if index >= u32::from(self.count) {
            return None;
        }
        let mut end = usize::from(self.end);
        for _ in 0..index {
            let (name, value) = lengths(memory, end.checked_sub(FRAME_BYTES / 2)?)?;
            end = end.checked_sub(name + value + FRAME_BYTES)?;
        }
        let (name, value) = lengths(memory, end.checked_sub(FRAME_BYTES / 2)?)?;
        let start = end.checked_sub(name + value + FRAME_BYTES / 2)?;
        memory
            .get(start..start + name + value)
            .map(|text| text.split_at(name))
    }

    /// Adds an entry; the oldest make room.
    pub(super) fn insert(&mut self, memory: &mut [u8], name: &[u8], value: &[u8]) {
        let text = name.len() + value.len();
        let Some(size) = u32::try_from(text)
            .ok()
            .and_then(|text| text.checked_add(OVERHEAD_BYTES))
            .filter(|&size| size <= self.size_bytes_max)
        else {
            // The specification has it so: what is too large empties the table.
            return self.clear();
        };
        while self.size_bytes + size > self.size_bytes_max {
            self.evict(memory);
        }
        let needed = text + FRAME_BYTES;
        if needed > memory.len() {
            return self.forget();
        }
        while usize::from(self.end - self.start) + needed > memory.len() {
            self.lossy = true;
            self.evict(memory);
        }
        if usize::from(self.end) + needed > memory.len() {
            memory.copy_within(usize::from(self.start)..usize::from(self.end), 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = usize::from(self.end);
        if let Some(place) = memory.get_mut(end..end + needed) {
            let frame = [
                (name.len() as u16).to_be_bytes(),
                (value.len() as u16).to_be_bytes(),
            ];
            let parts: [&[u8]; 4] = [frame.as_flattened(), name, value, frame.as_flattened()];
            for (to, from) in place.iter_mut().zip(parts.into_iter().flatten()) {
                *to = *from;
            }
        }
        self.end += needed as u16;
        self.count += 1;
        self.size_bytes += size;
    }

    fn evict(&mut self, memory: &[u8]) {
        let Some((name, value)) = lengths(memory, usize::from(self.start)) else {
            return self.forget();
        };
        if self.count <= 1 {
            return self.clear();
        }
        self.start += (name + value + FRAME_BYTES) as u16;
        self.count -= 1;
        self.size_bytes -= (name + value) as u32 + OVERHEAD_BYTES;
    }
}

fn lengths(memory: &[u8], at: usize) -> Option<(usize, usize)> {
    let &[a, b, c, d] = memory.get(at..)?.first_chunk::<4>()?;
    Some((
        u16::from_be_bytes([a, b]).into(),
        u16::from_be_bytes([c, d]).into(),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Slow and obvious.
    #[derive(Default)]
    struct Oracle {
        entries: VecDeque<(Vec<u8>, Vec<u8>)>,
        max: usize,
    }

    impl Oracle {
        fn shrink(&mut self, room: usize) {
            let size = |entries: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                entries
                    .iter()
                    .map(|(name, value)| name.len() + value.len() + 32)
                    .sum()
            };
            while !self.entries.is_empty() && size(&self.entries) + room > self.max {
                self.entries.pop_back();
            }
        }

        fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
            let size = name.len() + value.len() + 32;
            self.shrink(size);
            if size <= self.max {
                self.entries.push_front((name, value));
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert(Vec<u8>, Vec<u8>),
        Resize(u32),
    }

    fn act() -> impl Strategy<Value = Act> {
        let text = || {
            (any::<u8>(), prop_oneof![0..40_usize, 0..4_200_usize])
                .prop_map(|(byte, length)| vec![byte; length])
        };
        prop_oneof![
            9 => (text(), text()).prop_map(|(name, value)| Act::Insert(name, value)),
            1 => (0..=4_096_u32).prop_map(Act::Resize),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_the_oracle(acts in prop::collection::vec(act(), 0..200)) {
            let mut memory = [0; 4_096];
            let mut table = Table::default();
            let mut oracle = Oracle { max: 4_096, ..Oracle::default() };
            for act in acts {
                match act {
                    Act::Insert(name, value) => {
                        table.insert(&mut memory, &name, &value);
                        oracle.insert(name, value);
                    }
                    Act::Resize(size) => {
                        table.resize(&memory, size);
                        oracle.max = size as usize;
                        oracle.shrink(0);
                    }
                }
                prop_assert!(!table.is_lossy());
                for index in 0..=oracle.entries.len() {
                    let expected = oracle.entries.get(index);
                    let expected = expected.map(|(name, value)| (&name[..], &value[..]));
                    prop_assert_eq!(table.get(&memory, index as u32), expected);
                }
            }
        }

        #[test]
        fn of_a_larger_table_the_newest_are_kept(
            lengths in prop::collection::vec(0..600_usize, 0..200), memory in 0..300_usize,
        ) {
            let mut memory = vec![0; memory];
            let mut table = Table::default();
            table.resize(&memory, 65_536);
            let mut entries = VecDeque::new();
            for (number, length) in lengths.into_iter().enumerate() {
                let value = vec![number as u8; length];
                table.insert(&mut memory, b"x", &value);
                entries.push_front(value);
                for (index, value) in entries.iter().enumerate() {
                    match table.get(&memory, index as u32) {
                        Some(found) => prop_assert_eq!(found, (&b"x"[..], &value[..])),
                        None => prop_assert!(table.is_lossy()),
                    }
                }
            }
        }
    }
}
