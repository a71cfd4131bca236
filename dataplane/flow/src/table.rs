//! The flow table: every flow a worker knows, found in two cache lines at most.
//!
//! Trusts: the caller's hash (made by [`FlowTable::hash`]). Distrusts: keys, which an attacker picks;
//! the hash is keyed with a secret, so that nobody outside can aim at a bucket, and were a bucket
//! full nevertheless, one flow gives way: a lookup never looks further than two buckets.
//! Gives no reasons. Memory: fixed at the start, about 80 bytes a flow beside the caller's cold state.
//!
//! Each flow has two candidate buckets. It goes into the first unless that is over half full, then into
//! the emptier one: nearly every lookup ends in the first, and both being full stays a rarity below full
//! load, since there are half as many places again as entries. A bucket is one cache line: ten 16-bit
//! tags and ten 32-bit indices of entries.
//!
//! Eviction happens where no entry is free or both buckets are full. Of the flows in the two buckets,
//! the first by this order goes: closed, then never established, then the others; among equals the
//! one idle longest. (Should both buckets be empty while no entry is free, which only tiny tables
//! see, the entries are taken in turn.)

use std::hint::black_box;

use weir_wire::Direction;

use crate::key::{FlowKey, KeyHasher};

const SLOTS: usize = 10;
/// As long as the first bucket has so many free slots, a flow goes there.
const FREE_ENOUGH: u32 = 5;
/// In `places`: the entry is free and the other bits name the next free one.
const FREE: u32 = 1 << 31;
const LAST_FREE: u32 = u32::MAX;

/// How far a flow's life has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Life {
    /// Only one end was heard, or the handshake is not finished.
    #[default]
    Opening = 0,
    /// Both ends take part.
    Established = 1,
    /// One end has said that it is done.
    Closing = 2,
    /// Both are done, or it was reset; what still comes are stragglers.
    Closed = 3,
}

/// Names an entry of a [`FlowTable`]; holds until the flow is removed or evicted, then the entry may
/// become another flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub(crate) u32);

impl FlowId {
    /// The entry's number, below the table's capacity.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What every packet of a flow needs: one cache line.
///
/// `epoch`, `verdict` and `work` belong to the node; nothing in this crate reads them.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    /// Who speaks with whom.
    pub key: FlowKey,
    /// When the last packet was seen.
    pub last_seen_us: u64,
    /// The policy epoch the verdict was made in.
    pub epoch: u32,
    /// The key's low endpoint opened the flow.
    pub initiator_is_low: bool,
    /// How far its life has come; the order of eviction reads it.
    pub life: Life,
    /// The node's verdict.
    pub verdict: u8,
    /// What the flow still needs of the node.
    pub work: u8,
}

const _: () = assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);

impl Hot {
    /// The direction of a packet, seen from who opened the flow.
    pub fn direction(&self, from_low: bool) -> Direction {
        if from_low == self.initiator_is_low {
            Direction::ToServer
        } else {
            Direction::ToClient
        }
    }

    /// Client address and port, server address and port.
    pub fn endpoints(&self) -> (u128, u16, u128, u16) {
        self.key.endpoints(self.initiator_is_low)
    }
}

/// Tags of zero mark empty slots.
#[derive(Clone, Default)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; SLOTS],
    entries: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// A bit for each slot that holds the tag; compiles to a few vector compares.
    fn matches(&self, tag: u16) -> u32 {
        let mut mask = 0;
        for (slot, &held) in self.tags.iter().enumerate() {
            mask |= u32::from(held == tag) << slot;
        }
        mask
    }

    fn free(&self) -> u32 {
        self.matches(0)
    }
}

/// Where a hash leads to.
#[derive(Clone, Copy)]
struct Candidates {
    buckets: [usize; 2],
    tag: u16,
}

/// The flows of one worker, with cold state `C` of the caller's for each.
pub struct FlowTable<C> {
    buckets: Vec<Bucket>,
    hot: Vec<Hot>,
    cold: Vec<C>,
    /// For each entry the place it is named at (bucket × 10 + slot), or FREE and the next free one.
    places: Vec<u32>,
    first_free: u32,
    len: usize,
    evicted: u64,
    changes: u64,
    /// The next entry to give way where the buckets name none.
    hand: u32,
    hasher: KeyHasher,
}

impl<C: Default> FlowTable<C> {
    /// The most flows a table can hold.
    pub const CAPACITY_MAX: usize = 1 << 27;

    /// Allocates everything at once. `capacity` is brought into 1 ..= [`Self::CAPACITY_MAX`].
    pub fn new(capacity: usize, secret: [u64; 2]) -> Self {
        let capacity = capacity.clamp(1, Self::CAPACITY_MAX);
        let bucket_count = (capacity + capacity / 2).div_ceil(SLOTS).max(2);
        let mut places: Vec<u32> = (1..=capacity as u32).map(|next| FREE | next).collect();
        places[capacity - 1] = LAST_FREE;
        Self {
            buckets: vec![Bucket::default(); bucket_count],
            hot: vec![Hot::default(); capacity],
            cold: std::iter::repeat_with(C::default).take(capacity).collect(),
            places,
            first_free: 0,
            len: 0,
            evicted: 0,
            changes: 0,
            hand: 0,
            hasher: KeyHasher::new(secret),
        }
    }

    /// The key's hash, keyed with the table's secret.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.hasher.hash(key)
    }

    /// Starts loading the first bucket of a hash, ahead of [`Self::find`] for a whole burst.
    ///
    /// Stable Rust has no prefetch without `unsafe`. A plain load whose value nothing waits for does
    /// the same on a processor that runs ahead of it: the burst's misses overlap instead of queueing.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        black_box(self.buckets[self.first_bucket(hash)].tags[0]);
    }

    /// The flow of a key.
    pub fn find(&self, key: &FlowKey, hash: u64) -> Option<FlowId> {
        let candidates = self.candidates(hash);
        for bucket in candidates.buckets {
            let bucket = &self.buckets[bucket];
            let mut mask = bucket.matches(candidates.tag);
            while mask != 0 {
                let entry = bucket.entries[mask.trailing_zeros() as usize];
                if self.hot[entry as usize].key == *key {
                    return Some(FlowId(entry));
                }
                mask &= mask - 1;
            }
        }
        None
    }

    /// Adds a flow; never fails, but another may have to give way (see the order above), which
    /// `on_evict` is shown before its cold state is reset. The new flow takes the entry of the one
    /// that gave way: a timer of that id is to be scheduled anew. Where the key is already there, its
    /// old flow ends in the same way, though it is not counted as evicted.
    ///
    /// `from_low` says that the initiator is the key's low endpoint.
    pub fn insert(
        &mut self,
        key: FlowKey,
        hash: u64,
        from_low: bool,
        now_us: u64,
        on_evict: impl FnOnce(&Hot, &mut C),
    ) -> FlowId {
        let candidates = self.candidates(hash);
        let same = self.find(&key, hash);
        if let Some(id) = same.or_else(|| self.victim(&candidates)) {
            on_evict(&self.hot[id.index()], &mut self.cold[id.index()]);
            self.evicted += u64::from(same.is_none());
            self.remove(id);
        }
        let id = FlowId(self.first_free);
        let index = id.index();
        let next = self.places[index];
        self.first_free = if next == LAST_FREE {
            LAST_FREE
        } else {
            next & !FREE
        };
        self.places[index] = self.occupy(&candidates, id);
        self.hot[index] = Hot {
            key,
            last_seen_us: now_us,
            initiator_is_low: from_low,
            ..Hot::default()
        };
        self.len += 1;
        self.changes += 1;
        id
    }

    /// Removes a flow and resets its cold state to the default. Does nothing when it is gone already.
    pub fn remove(&mut self, id: FlowId) {
        let index = id.index();
        let place = self.places[index];
        if place & FREE != 0 {
            return;
        }
        self.buckets[place as usize / SLOTS].tags[place as usize % SLOTS] = 0;
        self.places[index] = if self.first_free == LAST_FREE {
            LAST_FREE
        } else {
            FREE | self.first_free
        };
        self.first_free = id.0;
        self.cold[index] = C::default();
        self.len -= 1;
        self.changes += 1;
    }

    /// The flow's cache line.
    pub fn hot(&self, id: FlowId) -> &Hot {
        &self.hot[id.index()]
    }

    /// The flow's cache line.
    pub fn hot_mut(&mut self, id: FlowId) -> &mut Hot {
        &mut self.hot[id.index()]
    }

    /// The caller's state of the flow.
    pub fn cold(&self, id: FlowId) -> &C {
        &self.cold[id.index()]
    }

    /// The caller's state of the flow.
    pub fn cold_mut(&mut self, id: FlowId) -> &mut C {
        &mut self.cold[id.index()]
    }

    /// Both at once.
    pub fn hot_and_cold_mut(&mut self, id: FlowId) -> (&mut Hot, &mut C) {
        (&mut self.hot[id.index()], &mut self.cold[id.index()])
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most flows there can be.
    pub fn capacity(&self) -> usize {
        self.hot.len()
    }

    /// How many flows had to give way so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Counts up with every flow added or removed: while it stays, what [`Self::find`] said holds.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The flow at an entry number below [`Self::capacity`], for walks in small steps.
    pub fn id_at(&self, index: usize) -> Option<FlowId> {
        let place = *self.places.get(index)?;
        (place & FREE == 0).then_some(FlowId(index as u32))
    }

    /// Every flow, in the order of the entries.
    pub fn ids(&self) -> impl Iterator<Item = FlowId> {
        (0..self.places.len()).filter_map(|index| self.id_at(index))
    }

    /// The bucket where a flow most likely is.
    #[inline(always)]
    fn first_bucket(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn candidates(&self, hash: u64) -> Candidates {
        let count = self.buckets.len() as u64;
        let first = self.first_bucket(hash) as u64;
        let other = ((hash & 0xffff_ffff) * (count - 1)) >> 32;
        // Never the first again: a second choice that is none would be half the room for that key.
        let second = if other >= first { other + 1 } else { other };
        let tag = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16;
        Candidates {
            buckets: [first as usize, second as usize],
            tag: tag.max(1),
        }
    }

    /// Names the entry in one of its buckets and returns the place. A slot is free: the caller has made
    /// room.
    fn occupy(&mut self, candidates: &Candidates, id: FlowId) -> u32 {
        let [first, second] = candidates.buckets;
        let (first_free, second_free) = (self.buckets[first].free(), self.buckets[second].free());
        let room = first_free.count_ones();
        let (bucket, free) = if room < FREE_ENOUGH && second_free.count_ones() > room {
            (second, second_free)
        } else {
            (first, first_free)
        };
        let slot = free.trailing_zeros() as usize % SLOTS;
        self.buckets[bucket].tags[slot] = candidates.tag;
        self.buckets[bucket].entries[slot] = id.0;
        (bucket * SLOTS + slot) as u32
    }

    /// Who has to give way, if anyone must.
    fn victim(&mut self, candidates: &Candidates) -> Option<FlowId> {
        let room = candidates
            .buckets
            .iter()
            .any(|&bucket| self.buckets[bucket].free() != 0);
        if room && self.first_free != LAST_FREE {
            return None;
        }
        let named = candidates.buckets.iter().flat_map(|&bucket| {
            let bucket = &self.buckets[bucket];
            (0..SLOTS)
                .filter(|&slot| bucket.tags[slot] != 0)
                .map(|slot| bucket.entries[slot])
        });
        let worst = named.min_by_key(|&entry| {
            let hot = &self.hot[entry as usize];
            (rank(hot.life), hot.last_seen_us)
        });
        let entry = worst.unwrap_or_else(|| {
            self.hand = (self.hand + 1) % self.hot.len() as u32;
            self.hand
        });
        Some(FlowId(entry))
    }
}

/// The order of eviction, lowest first.
fn rank(life: Life) -> u8 {
    match life {
        Life::Closed => 0,
        Life::Opening => 1,
        Life::Closing | Life::Established => 2,
    }
}
