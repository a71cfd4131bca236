//! The datagrams that wait for fragments: found by a keyed hash, kept in the order of their age.

use std::ops::Range;

use siphasher::sip::SipHasher13;
use weir_wire::{Fragment, Packet, Reason};

use super::header;
use super::{Handles, Refusal};
use crate::pool::{CHUNK_BYTES, ChunkPool, NONE};

/// The most fragments of one datagram.
pub(super) const PARTS_MAX: usize = 64;
const PAYLOAD_MAX: usize = 65_535;
/// Chunks for the largest payload.
const CHUNKS: usize = PAYLOAD_MAX.div_ceil(CHUNK_BYTES);
/// The largest datagram: its payload, and headers of at most one chunk.
pub(super) const BYTES_MAX: usize = (CHUNKS + 1) * CHUNK_BYTES;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FragmentKey {
    source: u128,
    destination: u128,
    zone: u32,
    id: u32,
    /// IPv4 only.
    protocol: u8,
}

impl FragmentKey {
    pub fn new(packet: &Packet, zone: u32, fragment: Fragment) -> Self {
        Self {
            source: packet.source,
            destination: packet.destination,
            zone,
            id: fragment.id,
            protocol: if packet.is_ipv4 { packet.protocol } else { 0 },
        }
    }

    fn bytes(&self) -> [u8; 41] {
        let mut bytes = [0; 41];
        bytes[0..16].copy_from_slice(&self.source.to_ne_bytes());
        bytes[16..32].copy_from_slice(&self.destination.to_ne_bytes());
        bytes[32..36].copy_from_slice(&self.zone.to_ne_bytes());
        bytes[36..40].copy_from_slice(&self.id.to_ne_bytes());
        bytes[40] = self.protocol;
        bytes
    }
}

/// One fragment's place and bytes.
pub(super) struct Part<'a> {
    pub is_ipv4: bool,
    /// From the IP header to the fragment's payload, the IPv6 fragment header included.
    pub header: &'a [u8],
    pub payload: &'a [u8],
    pub start: usize,
    pub end: usize,
    pub more: bool,
}

impl<'a> Part<'a> {
    pub fn of(frame: &'a [u8], packet: &Packet) -> Result<(Self, Fragment), Reason> {
        let malformed = Reason::FragmentMalformed;
        let fragment = packet.fragment.ok_or(malformed)?;
        let header =
            part_of(frame, packet.network_offset, packet.transport_offset).ok_or(malformed)?;
        let payload =
            part_of(frame, packet.transport_offset, packet.payload_end).ok_or(malformed)?;
        let start = usize::from(fragment.offset);
        let end = start + payload.len();
        let header_max = if packet.is_ipv4 { 60 } else { CHUNK_BYTES };
        if payload.is_empty()
            || header.len() > header_max
            || fragment.more && !payload.len().is_multiple_of(8)
        {
            return Err(malformed);
        }
        if end > PAYLOAD_MAX {
            return Err(Reason::FragmentTooBig);
        }
        let part = Self {
            is_ipv4: packet.is_ipv4,
            header,
            payload,
            start,
            end,
            more: fragment.more,
        };
        Ok((part, fragment))
    }

    pub fn is_whole(&self) -> bool {
        self.start == 0 && !self.more
    }

    /// The payload cut at the chunks' edges: number of the chunk, range in it, range in the payload.
    fn pieces(&self) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
        let (start, end) = (self.start, self.end);
        (start / CHUNK_BYTES..=(end - 1) / CHUNK_BYTES).map(move |chunk| {
            let base = chunk * CHUNK_BYTES;
            let (from, to) = (start.max(base), end.min(base + CHUNK_BYTES));
            (chunk, from - base..to - base, from - start..to - start)
        })
    }
}

fn part_of(frame: &[u8], start: u32, end: u32) -> Option<&[u8]> {
    frame.get(start as usize..end as usize)
}

/// A datagram that is one fragment.
pub(super) fn assemble_whole(part: &Part<'_>, assembled: &mut Vec<u8>) -> Result<(), Reason> {
    assembled.clear();
    assembled.extend_from_slice(part.header);
    header::undo_fragmentation(assembled, part.is_ipv4)?;
    assembled.extend_from_slice(part.payload);
    header::set_length(assembled, part.is_ipv4)
}

struct Entry<H> {
    key: FragmentKey,
    begun_us: u64,
    /// In the order of arrival.
    handles: Handles<H>,
    /// The range of each, in the same order.
    ranges: [(u16, u16); PARTS_MAX],
    chunks: [u32; CHUNKS],
    header_chunk: u32,
    header_bytes: u16,
    is_ipv4: bool,
    received_bytes: u32,
    /// Known from the last fragment.
    total_bytes: Option<u32>,
    /// No more than a memory of the reason.
    given_up: Option<Reason>,
    /// The next with the same hash, or the next free one.
    next: u32,
    /// Neighbours by age.
    older: u32,
    younger: u32,
}

impl<H> Entry<H> {
    /// Whether these very bytes are at this place already, which one fragment brought.
    fn holds(&self, part: &Part<'_>, pool: &ChunkPool) -> bool {
        part.pieces().all(|(chunk, within, range)| {
            let held = self.chunks[chunk];
            held != NONE && pool.bytes(held)[within] == part.payload[range]
        })
    }
}

impl<H> Entry<H> {
    fn new(key: FragmentKey, begun_us: u64) -> Self {
        Self {
            key,
            begun_us,
            handles: Handles::new(),
            ranges: [(0, 0); PARTS_MAX],
            chunks: [NONE; CHUNKS],
            header_chunk: NONE,
            header_bytes: 0,
            is_ipv4: false,
            received_bytes: 0,
            total_bytes: None,
            given_up: None,
            next: NONE,
            older: NONE,
            younger: NONE,
        }
    }
}

/// All datagrams of a worker.
pub(super) struct Datagrams<H> {
    entries: Vec<Entry<H>>,
    buckets: Vec<u32>,
    hasher: SipHasher13,
    first_free: u32,
    oldest: u32,
    youngest: u32,
}

impl<H> Datagrams<H> {
    pub fn new(capacity: usize, secret: [u64; 2]) -> Self {
        let mut entries: Vec<Entry<H>> = Vec::with_capacity(capacity);
        for index in 1..=capacity as u32 {
            let mut entry = Entry::new(FragmentKey::default(), 0);
            entry.next = if index as usize == capacity {
                NONE
            } else {
                index
            };
            entries.push(entry);
        }
        Self {
            entries,
            buckets: vec![NONE; (2 * capacity).next_power_of_two()],
            hasher: SipHasher13::new_with_keys(secret[0], secret[1]),
            first_free: 0,
            oldest: NONE,
            youngest: NONE,
        }
    }

    pub fn is_full(&self) -> bool {
        self.first_free == NONE
    }

    pub fn find(&self, key: &FragmentKey) -> Option<u32> {
        let mut index = self.buckets[self.bucket(key)];
        while let Some(entry) = self.entries.get(index as usize) {
            if entry.key == *key {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    pub fn insert(&mut self, key: &FragmentKey, now_us: u64) -> Option<u32> {
        let index = self.first_free;
        let free = self.entries.get_mut(index as usize)?;
        self.first_free = free.next;
        *free = Entry::new(*key, now_us);
        free.older = self.youngest;
        let bucket = self.bucket(key);
        self.entries[index as usize].next = std::mem::replace(&mut self.buckets[bucket], index);
        match self.entries.get_mut(self.youngest as usize) {
            Some(youngest) => youngest.younger = index,
            None => self.oldest = index,
        }
        self.youngest = index;
        Some(index)
    }

    /// Forgets a datagram that was cleared.
    pub fn remove(&mut self, index: u32) {
        let Entry {
            key,
            next,
            older,
            younger,
            ..
        } = &self.entries[index as usize];
        let (bucket, next, older, younger) = (self.bucket(key), *next, *older, *younger);
        if self.buckets[bucket] == index {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while let Some(entry) = self.entries.get_mut(before as usize) {
                if entry.next == index {
                    entry.next = next;
                    break;
                }
                before = entry.next;
            }
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.younger = younger,
            None => self.oldest = younger,
        }
        match self.entries.get_mut(younger as usize) {
            Some(entry) => entry.older = older,
            None => self.youngest = older,
        }
        self.entries[index as usize].next = std::mem::replace(&mut self.first_free, index);
    }

    pub fn oldest(&self) -> Option<u32> {
        self.oldest_but(None)
    }

    pub fn oldest_but(&self, spared: Option<u32>) -> Option<u32> {
        let mut index = self.oldest;
        if Some(index) == spared {
            index = self.entries[index as usize].younger;
        }
        (index != NONE).then_some(index)
    }

    pub fn begun_us(&self, index: u32) -> u64 {
        self.entries[index as usize].begun_us
    }

    /// Gives handles and chunks back; returns how many handles.
    pub fn clear(&mut self, index: u32, pool: &mut ChunkPool, each: impl FnMut(H)) -> usize {
        let entry = &mut self.entries[index as usize];
        let header = std::iter::once(&mut entry.header_chunk);
        for chunk in entry
            .chunks
            .iter_mut()
            .chain(header)
            .filter(|chunk| **chunk != NONE)
        {
            pool.give_back(std::mem::replace(chunk, NONE));
        }
        let count = entry.handles.len();
        entry.handles.drain(..).for_each(each);
        count
    }

    pub fn mark_given_up(&mut self, index: u32, reason: Reason) {
        self.entries[index as usize].given_up = Some(reason);
    }

    /// Whether a fragment fits in with those that are there.
    pub fn admit(
        &self,
        index: u32,
        part: &Part<'_>,
        parts_max: usize,
        pool: &ChunkPool,
    ) -> Result<(), Refusal> {
        let entry = &self.entries[index as usize];
        if let Some(reason) = entry.given_up {
            return Err(Refusal::Drop(reason));
        }
        let ranges = &entry.ranges[..entry.handles.len()];
        let ends = |range: &(u16, u16)| (usize::from(range.0), usize::from(range.1));
        let is_last = entry.total_bytes == Some(part.end as u32);
        if ranges
            .iter()
            .map(ends)
            .any(|range| range == (part.start, part.end))
            && is_last != part.more
        {
            let reason = match entry.holds(part, pool) {
                true => Reason::FragmentRepeated,
                false => Reason::FragmentOverlap,
            };
            return Err(Refusal::Drop(reason));
        }
        if ranges
            .iter()
            .map(ends)
            .any(|(start, end)| part.start < end && start < part.end)
        {
            return Err(Refusal::GiveUp(Reason::FragmentOverlap));
        }
        let beyond_end = entry
            .total_bytes
            .is_some_and(|total| part.end as u32 > total || !part.more);
        let before_others = !part.more && ranges.iter().map(ends).any(|(_, end)| end > part.end);
        if beyond_end || before_others {
            return Err(Refusal::GiveUp(Reason::FragmentMalformed));
        }
        if ranges.len() >= parts_max {
            return Err(Refusal::GiveUp(Reason::FragmentLimit));
        }
        Ok(())
    }

    /// How many chunks the fragment needs beyond those that the datagram has.
    pub fn missing_chunks(&self, index: u32, part: &Part<'_>) -> usize {
        let entry = &self.entries[index as usize];
        let payload = part
            .pieces()
            .filter(|(chunk, ..)| entry.chunks[*chunk] == NONE)
            .count();
        payload + usize::from(part.start == 0)
    }

    /// Adds an admitted fragment; the pool has the chunks.
    pub fn add(&mut self, index: u32, part: &Part<'_>, handle: H, pool: &mut ChunkPool) {
        let entry = &mut self.entries[index as usize];
        for (chunk, within, range) in part.pieces() {
            if let Some(held) = or_take(&mut entry.chunks[chunk], pool) {
                pool.bytes_mut(held)[within].copy_from_slice(&part.payload[range]);
            }
        }
        if part.start == 0
            && let Some(held) = or_take(&mut entry.header_chunk, pool)
        {
            pool.bytes_mut(held)[..part.header.len()].copy_from_slice(part.header);
            entry.header_bytes = part.header.len() as u16;
            entry.is_ipv4 = part.is_ipv4;
        }
        if !part.more {
            entry.total_bytes = Some(part.end as u32);
        }
        entry.received_bytes += part.payload.len() as u32;
        entry.ranges[entry.handles.len()] = (part.start as u16, part.end as u16);
        entry.handles.push(handle);
    }

    /// No overlaps, so that the sum tells.
    pub fn is_complete(&self, index: u32) -> bool {
        let entry = &self.entries[index as usize];
        entry.total_bytes == Some(entry.received_bytes)
    }

    /// Puts a complete datagram together.
    pub fn assemble(
        &self,
        index: u32,
        pool: &ChunkPool,
        assembled: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let entry = &self.entries[index as usize];
        assembled.clear();
        assembled
            .extend_from_slice(&pool.bytes(entry.header_chunk)[..usize::from(entry.header_bytes)]);
        header::undo_fragmentation(assembled, entry.is_ipv4)?;
        let mut left = entry.received_bytes as usize;
        for &chunk in entry.chunks.iter().take_while(|chunk| **chunk != NONE) {
            let length = left.min(CHUNK_BYTES);
            assembled.extend_from_slice(&pool.bytes(chunk)[..length]);
            left -= length;
        }
        header::set_length(assembled, entry.is_ipv4)
    }

    fn bucket(&self, key: &FragmentKey) -> usize {
        self.hasher.hash(&key.bytes()) as usize & (self.buckets.len() - 1)
    }
}

fn or_take(place: &mut u32, pool: &mut ChunkPool) -> Option<u32> {
    if *place == NONE {
        *place = pool.take()?;
    }
    Some(*place)
}
