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

use weir_wire::{Direction, Glance};

use crate::key::{FlowKey, KeyHasher, Oriented};

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

/// Tags, four to a word, and entries. Tags of zero mark empty slots; the last two lanes stay empty.
#[derive(Clone, Default)]
#[repr(C, align(64))]
pub struct Bucket {
    tags: [u64; WORDS],
    entries: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Words of tags in a bucket, and tags in a word.
const WORDS: usize = 3;
const LANES: usize = 4;
/// The lowest and the highest bit of each tag in a word.
const LOWEST: u64 = 0x0001_0001_0001_0001;
const HIGHEST: u64 = LOWEST << 15;

impl Bucket {
    /// The highest bit of each tag in a word that is equal to `tag`.
    #[inline(always)]
    fn matches(word: u64, tag: u16) -> u64 {
        let different = word ^ (u64::from(tag) * LOWEST);
        // The sums of the lower bits carry into the highest unless all are zero, and never beyond.
        let carries = (different & !HIGHEST) + !HIGHEST;
        !(carries | different) & HIGHEST
    }

    fn tag(&self, slot: usize) -> u16 {
        (self.tags[slot / LANES] >> (16 * (slot % LANES))) as u16
    }

    fn set_tag(&mut self, slot: usize, tag: u16) {
        let shift = 16 * (slot % LANES);
        let word = &mut self.tags[slot / LANES];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    /// A bit for each free slot.
    fn free(&self) -> u32 {
        (0..SLOTS).fold(0, |free, slot| {
            free | u32::from(self.tag(slot) == 0) << slot
        })
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
        Self::prepared(capacity, secret, &|_, _| ())
    }

    /// As [`Self::new`]; `prepare` is shown each array's memory, start and bytes, before anything is in it.
    pub fn prepared(capacity: usize, secret: [u64; 2], prepare: &dyn Fn(*const u8, usize)) -> Self {
        let capacity = capacity.clamp(1, Self::CAPACITY_MAX);
        let bucket_count = (capacity + capacity / 2).div_ceil(SLOTS).max(2);
        let free = |index| match index + 1 == capacity {
            true => LAST_FREE,
            false => FREE | (index as u32 + 1),
        };
        Self {
            buckets: filled(bucket_count, prepare, |_| Bucket::default()),
            hot: filled(capacity, prepare, |_| Hot::default()),
            cold: filled(capacity, prepare, |_| C::default()),
            places: filled(capacity, prepare, free),
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

    /// The key of a plain packet within a zone, and its hash.
    #[inline(always)]
    pub fn key(&self, seen: &Glance, zone: u32) -> (Oriented, u64) {
        self.hasher.key(seen, zone)
    }

    /// Where a flow most likely is named: to be loaded ahead of [`Self::likely`], for a whole burst.
    #[inline(always)]
    pub fn bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[self.first_bucket(hash)]
    }

    /// Where the flow of a hash most likely is, ahead of [`Self::find_likely`]; its lines are to be loaded meanwhile.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> Option<FlowId> {
        let bucket = self.bucket(hash);
        let tag = tag_of(hash);
        for (at, &word) in bucket.tags.iter().enumerate() {
            let matches = Bucket::matches(word, tag);
            if matches != 0 {
                let slot = at * LANES + matches.trailing_zeros() as usize / 16;
                return bucket.entries.get(slot).map(|&entry| FlowId(entry));
            }
        }
        None
    }

    /// The flow of a key, looked for where [`Self::likely`] says first. No flow came or went since.
    #[inline(always)]
    pub fn find_likely(&self, likely: Option<FlowId>, key: &FlowKey, hash: u64) -> Option<FlowId> {
        match likely {
            Some(id) if self.hot[id.index()].key.is(key) => likely,
            _ => self.find(key, hash),
        }
    }

    /// The flow of a key.
    pub fn find(&self, key: &FlowKey, hash: u64) -> Option<FlowId> {
        let first = self.first_bucket(hash);
        self.find_in(first, key, hash)
            .or_else(|| self.find_in(self.second_bucket(hash, first), key, hash))
    }

    fn find_in(&self, bucket: usize, key: &FlowKey, hash: u64) -> Option<FlowId> {
        let bucket = &self.buckets[bucket];
        let tag = tag_of(hash);
        for (at, &word) in bucket.tags.iter().enumerate() {
            let mut matches = Bucket::matches(word, tag);
            while matches != 0 {
                let slot = at * LANES + matches.trailing_zeros() as usize / 16;
                let entry = *bucket.entries.get(slot)?;
                if self.hot.get(entry as usize)?.key.is(key) {
                    return Some(FlowId(entry));
                }
                matches &= matches - 1;
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
        self.buckets[place as usize / SLOTS].set_tag(place as usize % SLOTS, 0);
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

    /// The bucket where it is otherwise. Never the first again: a second choice that is none would be half the
    /// room for that key.
    #[inline(always)]
    fn second_bucket(&self, hash: u64, first: usize) -> usize {
        let others = self.buckets.len() as u64 - 1;
        let other = (((hash & 0xffff_ffff) * others) >> 32) as usize;
        other + usize::from(other >= first)
    }

    fn candidates(&self, hash: u64) -> Candidates {
        let first = self.first_bucket(hash);
        Candidates {
            buckets: [first, self.second_bucket(hash, first)],
            tag: tag_of(hash),
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
        self.buckets[bucket].set_tag(slot, candidates.tag);
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
                .filter(|&slot| bucket.tag(slot) != 0)
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

fn filled<T>(
    count: usize,
    prepare: &dyn Fn(*const u8, usize),
    entry: impl FnMut(usize) -> T,
) -> Vec<T> {
    let mut entries = Vec::with_capacity(count);
    let room = entries.spare_capacity_mut();
    prepare(room.as_ptr().cast(), size_of_val(room));
    entries.extend((0..count).map(entry));
    entries
}

/// Never zero, and of bits that both buckets have a part in.
#[inline(always)]
fn tag_of(hash: u64) -> u16 {
    ((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16).max(1)
}

/// The order of eviction, lowest first.
fn rank(life: Life) -> u8 {
    match life {
        Life::Closed => 0,
        Life::Opening => 1,
        Life::Closing | Life::Established => 2,
    }
}
