//! The policy in force on one worker: the snapshot, its epoch, and the addresses that DNS answers gave.

use std::collections::HashMap;
use std::sync::Arc;

use weir_policy::{Decision, Memo, Question, Snapshot, spec::UNKNOWN_IDENTITY};

use crate::event::LearnedName;

/// The policy in force.
pub struct Policy {
    snapshot: Arc<Snapshot>,
    received: bool,
    epoch: u32,
    memo: Memo,
    learned: HashMap<u128, LearnedName>,
    learned_max: usize,
}

impl Policy {
    /// No policy yet: nobody is known. Room for so many learned addresses.
    pub fn new(learned_max: usize) -> Self {
        Self {
            snapshot: Arc::new(Snapshot::empty()),
            received: false,
            epoch: 0,
            memo: Memo::new(),
            learned: HashMap::with_capacity(learned_max),
            learned_max,
        }
    }

    /// Puts a snapshot in force. Every flow that was decided before has another epoch now.
    pub fn install(&mut self, snapshot: Arc<Snapshot>) {
        let known = |name: &LearnedName| snapshot.identity(name.identity).is_some();
        self.learned.retain(|_, name| known(name));
        self.snapshot = snapshot;
        self.memo.forget();
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

    /// May this client reach this server? 5 % of the instructions of HTTP and new flows were deciding anew what was
    /// decided for the flow before.
    pub fn decide(&mut self, question: &Question<'_>) -> Decision {
        self.memo.decide(&self.snapshot, question)
    }

    /// The snapshot in force, and what it decided lately.
    pub fn asking(&mut self) -> (&Snapshot, &mut Memo) {
        (&self.snapshot, &mut self.memo)
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

    /// The addresses that DNS answers gave.
    pub fn learned(&self) -> impl Iterator<Item = &LearnedName> {
        self.learned.values()
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
