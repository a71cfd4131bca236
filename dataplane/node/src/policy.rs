//! The policy in force on one worker: the snapshot, its epoch, and the addresses that DNS answers gave.

use std::collections::HashMap;
use std::sync::Arc;

use weir_policy::{Snapshot, spec::UNKNOWN_IDENTITY};

use crate::event::LearnedName;

/// A snapshot behind a count that belongs to this worker alone, so that taking it writes no line that
/// another worker reads.
pub type OwnSnapshot = Arc<Arc<Snapshot>>;

/// The policy in force.
pub struct Policy {
    snapshot: OwnSnapshot,
    received: bool,
    epoch: u32,
    learned: HashMap<u128, LearnedName>,
    learned_max: usize,
}

impl Policy {
    /// No policy yet: nobody is known. Room for so many learned addresses.
    pub fn new(learned_max: usize) -> Self {
        Self {
            snapshot: Arc::new(Arc::new(Snapshot::empty())),
            received: false,
            epoch: 0,
            learned: HashMap::with_capacity(learned_max),
            learned_max,
        }
    }

    /// Puts a snapshot in force. Every flow that was decided before has another epoch now.
    pub fn install(&mut self, snapshot: Arc<Snapshot>) {
        let known = |name: &LearnedName| snapshot.identity(name.identity).is_some();
        self.learned.retain(|_, name| known(name));
        self.snapshot = Arc::new(snapshot);
        self.received = true;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Lets every flow be asked again at its next packet.
    pub fn renew(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The snapshot in force, to be used while the rest of the worker changes.
    pub fn snapshot_shared(&self) -> OwnSnapshot {
        Arc::clone(&self.snapshot)
    }

    /// Whether a policy was ever received. Until then only what fails open passes.
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// Changes with every snapshot.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whose address it is: by the snapshot, else by a DNS answer that has not expired.
    pub fn identity_of(&self, zone: u32, address: u128, now_us: u64) -> u32 {
        match self.snapshot.identity_of(zone, address) {
            UNKNOWN_IDENTITY if !self.learned.is_empty() => self
                .learned
                .get(&address)
                .filter(|name| name.expires_us > now_us)
                .map_or(UNKNOWN_IDENTITY, |name| name.identity),
            identity => identity,
        }
    }

    /// Takes an address learned from a DNS answer. When the room is used up the one that ends
    /// first makes way.
    pub fn learn(&mut self, name: LearnedName) {
        if self.learned.len() >= self.learned_max && !self.learned.contains_key(&name.address) {
            let first = self
                .learned
                .values()
                .min_by_key(|known| known.expires_us)
                .map(|known| known.address);
            first.map(|address| self.learned.remove(&address));
        }
        if self.learned.len() < self.learned_max || self.learned.contains_key(&name.address) {
            self.learned.insert(name.address, name);
        }
    }
}
