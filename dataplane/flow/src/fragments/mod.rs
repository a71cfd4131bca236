//! Defragmentation: fragments are held until their datagram is whole, then judged as one.
//!
//! Trusts: the decoded offsets of the frame. Distrusts: identification, offset, length and order of
//! the fragments. Reasons: `FragmentMalformed`, `FragmentOverlap`, `FragmentRepeated`, `FragmentLimit`,
//! `FragmentTooBig` and, for what [`Defragmenter::expire`] returns, `FragmentTimeout`. Memory: `bytes` for payloads, half
//! a KiB and 64 handles for each of `datagrams`, all allocated at the start.
//!
//! * A datagram is known by zone, addresses, identification and, for IPv4, protocol (RFC 791; for IPv6 RFC 8200, 4.5).
//! * Whoever overlaps gives the datagram up (RFC 5722), for IPv4 too. So does whoever contradicts its end, and
//!   whoever sends more fragments than the limit. What still comes of it is
//!   dropped until its time is over. A fragment with the place and length of another is a
//!   repetition: it is dropped, and the first one counts.
//! * A fragment impossible in itself (no payload; more to follow but not a multiple of eight bytes;
//!   beyond 65,535 bytes) is dropped, without a trace.
//! * When there are too many datagrams or bytes the oldest datagram gives way: the fragments of honest
//!   datagrams arrive together, and a flood of incomplete ones cannot keep them out.
//!   Its fragments are handed back by [`Defragmenter::take_evicted`].

mod datagram;
mod header;

use arrayvec::ArrayVec;
use weir_wire::{Packet, Reason};

use crate::pool::ChunkPool;
use datagram::{Datagrams, FragmentKey, PARTS_MAX, Part};

/// The memory and time that defragmentation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams at a time. 1,024.
    pub datagrams: usize,
    /// Fragments of one datagram, at most 64. 64.
    pub fragments_per_datagram: usize,
    /// Payload bytes of all held fragments. 8 MiB.
    pub bytes: usize,
    /// How long a datagram may take from its first fragment on. 10 s.
    pub timeout_us: u64,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            datagrams: 1024,
            fragments_per_datagram: PARTS_MAX,
            bytes: 8 << 20,
            timeout_us: 10_000_000,
        }
    }
}

/// What became of a fragment. For all but `Held` the handles concerned are to be fetched with
/// [`Defragmenter::take_fragments`] before the next fragment is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentOutcome {
    /// It waits for the rest of its datagram.
    Held,
    /// The datagram is whole: its bytes are in [`Defragmenter::datagram`], its fragments are to be taken.
    Complete,
    /// The datagram is given up: all its fragments, this one last, are to be taken and dropped.
    GiveUp(Reason),
    /// This fragment alone is to be taken and dropped: it is malformed, a repetition
    /// (`FragmentRepeated`, with other bytes `FragmentOverlap`), or belongs to a datagram that was given up (with the reason for that).
    Drop(Reason),
}

/// Handles that were evicted and not taken yet, at most; beyond that new datagrams are refused.
const EVICTED_MAX: usize = 64 * PARTS_MAX;

/// Holds fragments; `H` is the handle of a held packet.
pub struct Defragmenter<H> {
    datagrams: Datagrams<H>,
    pool: ChunkPool,
    limits: FragmentLimits,
    /// The last whole datagram.
    assembled: Vec<u8>,
    /// The fragments of the last outcome.
    released: Vec<H>,
    evicted: Vec<H>,
    evicted_datagrams: u64,
    held: usize,
}

impl<H> Defragmenter<H> {
    /// Allocates everything at once. `secret` keys the hash of the datagrams.
    pub fn new(limits: FragmentLimits, secret: [u64; 2]) -> Self {
        let limits = FragmentLimits {
            datagrams: limits.datagrams.clamp(1, 1 << 24),
            fragments_per_datagram: limits.fragments_per_datagram.clamp(2, PARTS_MAX),
            ..limits
        };
        Self {
            datagrams: Datagrams::new(limits.datagrams, secret),
            // Never less than one datagram of the largest size and its header.
            pool: ChunkPool::new(limits.bytes.max(datagram::BYTES_MAX)),
            limits,
            assembled: Vec::with_capacity(datagram::BYTES_MAX),
            released: Vec::with_capacity(PARTS_MAX + 1),
            evicted: Vec::with_capacity(EVICTED_MAX + PARTS_MAX),
            evicted_datagrams: 0,
            held: 0,
        }
    }

    /// Takes a fragment (`packet.fragment` is set; of `frame` only the bytes that `packet` names are read).
    pub fn fragment(
        &mut self,
        handle: H,
        frame: &[u8],
        packet: &Packet,
        zone: u32,
        now_us: u64,
    ) -> FragmentOutcome {
        let (part, fragment) = match Part::of(frame, packet) {
            Ok(both) => both,
            Err(reason) => return self.drop_one(handle, reason),
        };
        if part.is_whole() {
            // An atomic fragment (RFC 6946) has nothing to do with any other of the same identification.
            self.released.push(handle);
            return match datagram::assemble_whole(&part, &mut self.assembled) {
                Ok(()) => FragmentOutcome::Complete,
                Err(reason) => FragmentOutcome::Drop(reason),
            };
        }
        let key = FragmentKey::new(packet, zone, fragment);
        let index = match self.datagrams.find(&key) {
            Some(index) => index,
            None => match self.begin(&key, now_us) {
                Some(index) => index,
                None => return self.drop_one(handle, Reason::FragmentLimit),
            },
        };
        self.join(index, handle, &part)
    }

    /// The bytes of the last whole datagram, from its IP header: fragmentation undone, lengths and the
    /// IPv4 header checksum put right. Holds until the next fragment is given.
    pub fn datagram(&self) -> &[u8] {
        &self.assembled
    }

    /// The handles of the last outcome, in the order of arrival.
    pub fn take_fragments(&mut self, each: impl FnMut(H)) {
        self.released.drain(..).for_each(each);
    }

    /// The handles of datagrams that had to give way since the last call (`FragmentLimit`). To be called
    /// once for each burst; while too many wait here, new datagrams are refused.
    pub fn take_evicted(&mut self, each: impl FnMut(H)) {
        self.evicted.drain(..).for_each(each);
    }

    /// Ends what has taken too long and hands its fragments back (`FragmentTimeout`), after those
    /// that were evicted and not taken.
    pub fn expire(&mut self, now_us: u64, mut each: impl FnMut(H)) {
        self.take_evicted(&mut each);
        while let Some(index) = self.datagrams.oldest() {
            let age_us = now_us.saturating_sub(self.datagrams.begun_us(index));
            if age_us < self.limits.timeout_us {
                break;
            }
            self.held -= self.datagrams.clear(index, &mut self.pool, &mut each);
            self.datagrams.remove(index);
        }
    }

    /// Handles that are held, those not yet taken included.
    pub fn held(&self) -> usize {
        self.held + self.released.len() + self.evicted.len()
    }

    /// How many datagrams had to give way.
    pub fn evicted(&self) -> u64 {
        self.evicted_datagrams
    }

    /// Hands every handle back and forgets all datagrams.
    pub fn drain_all(&mut self, mut each: impl FnMut(H)) {
        self.take_fragments(&mut each);
        self.take_evicted(&mut each);
        while let Some(index) = self.datagrams.oldest() {
            self.held -= self.datagrams.clear(index, &mut self.pool, &mut each);
            self.datagrams.remove(index);
        }
    }

    fn drop_one(&mut self, handle: H, reason: Reason) -> FragmentOutcome {
        self.released.push(handle);
        FragmentOutcome::Drop(reason)
    }

    /// A new datagram, for which the oldest may have to give way.
    fn begin(&mut self, key: &FragmentKey, now_us: u64) -> Option<u32> {
        if self.datagrams.is_full() && !self.evict_oldest(None) {
            return None;
        }
        self.datagrams.insert(key, now_us)
    }

    fn join(&mut self, index: u32, handle: H, part: &Part<'_>) -> FragmentOutcome {
        match self
            .datagrams
            .admit(index, part, self.limits.fragments_per_datagram, &self.pool)
        {
            Err(Refusal::Drop(reason)) => return self.drop_one(handle, reason),
            Err(Refusal::GiveUp(reason)) => return self.give_up(index, handle, reason),
            Ok(()) => {}
        }
        let needed = self.datagrams.missing_chunks(index, part);
        while self.pool.free() < needed {
            if !self.evict_oldest(Some(index)) {
                return self.give_up(index, handle, Reason::FragmentLimit);
            }
        }
        self.datagrams.add(index, part, handle, &mut self.pool);
        self.held += 1;
        if !self.datagrams.is_complete(index) {
            return FragmentOutcome::Held;
        }
        let assembled = self
            .datagrams
            .assemble(index, &self.pool, &mut self.assembled);
        let released = &mut self.released;
        self.held -= self
            .datagrams
            .clear(index, &mut self.pool, |handle| released.push(handle));
        match assembled {
            Ok(()) => {
                self.datagrams.remove(index);
                FragmentOutcome::Complete
            }
            Err(reason) => {
                self.datagrams.mark_given_up(index, reason);
                FragmentOutcome::GiveUp(reason)
            }
        }
    }

    fn give_up(&mut self, index: u32, handle: H, reason: Reason) -> FragmentOutcome {
        let released = &mut self.released;
        self.held -= self
            .datagrams
            .clear(index, &mut self.pool, |handle| released.push(handle));
        self.released.push(handle);
        self.datagrams.mark_given_up(index, reason);
        FragmentOutcome::GiveUp(reason)
    }

    /// The oldest datagram other than `spared` gives way. False when there is none, or when too many evicted
    /// fragments wait to be taken.
    fn evict_oldest(&mut self, spared: Option<u32>) -> bool {
        let Some(index) = self.datagrams.oldest_but(spared) else {
            return false;
        };
        if self.evicted.len() >= EVICTED_MAX {
            return false;
        }
        let evicted = &mut self.evicted;
        self.held -= self
            .datagrams
            .clear(index, &mut self.pool, |handle| evicted.push(handle));
        self.datagrams.remove(index);
        self.evicted_datagrams += 1;
        true
    }
}

/// Why a datagram does not take a fragment.
enum Refusal {
    Drop(Reason),
    GiveUp(Reason),
}

type Handles<H> = ArrayVec<H, PARTS_MAX>;
