//! A node process takes over from the one before it: connections go on, and no packet passes between the two
//! that policy forbids.
//!
//! What one process leaves is an [`Estate`]: who every connection belongs to, its windows, what it speaks, and
//! whether it was denied. Parsers' state is not part of it. The next process has it before its ports come up;
//! each connection is decided by the policy in force then. In between the ports are closed.
//!
//! What becomes of a connection:
//!
//! | it was | and now |
//! |---|---|
//! | denied | it stays denied, unless another policy allows all of its application |
//! | settled | settled again, if policy still allows it; where requests are judged, by the rule that allowed the last one |
//! | named, between two messages | read on at the next byte, exactly |
//! | named, within a message | read on at the next message that is found, as behind a loss of bytes; where policy judges its requests it ends ([`Midway`]) |
//! | not named yet | picked up in the middle |
//!
//! Trusts: the file is the node's own (mode 0600, in a directory of its own). Distrusts: its bytes, its age, and
//! that it is of this machine's run, these ports and this version: otherwise it is refused as a whole, which is
//! told, and connections are picked up in the middle. Memory: one [`LeftFlow`] a connection, freed when all
//! workers have theirs.

pub mod bytes;
mod estate;
mod file;
mod flow;
mod successor;

use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

pub use estate::{Estate, Left, LeftFlow, LeftName, LeftStanding, Share};
pub use file::{Moment, TakeoverError, keep, take};
pub use flow::Taken;
pub use successor::{Predecessor, Successor};

/// `[upgrade]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeSettings {
    /// Whether connections are left to the next process when this one is told to end.
    pub hand_over: bool,
    /// Where; by default `flows` in `node.state_directory`.
    pub file: Option<PathBuf>,
    /// Seconds for which what was left is taken.
    pub valid_s: u64,
    /// What becomes of connections whose requests policy judges and which were within a message.
    pub midway: Midway,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self {
            hand_over: true,
            file: None,
            valid_s: 60,
            midway: Midway::End,
        }
    }
}

impl UpgradeSettings {
    /// The file that connections are left in.
    pub fn path(&self, state_directory: &FilePath) -> PathBuf {
        let usual = || state_directory.join("flows");
        self.file.clone().unwrap_or_else(usual)
    }
}

/// What becomes of a connection whose requests policy judges one by one, and which was within a message: the
/// rest of that message cannot be told from the beginning of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Midway {
    /// It ends, as if its request had been denied.
    #[default]
    End,
    /// It is read on where a message seems to begin. Who sends may have chosen what seems to be one.
    Resume,
}

/// What workers leave when they stop.
#[derive(Debug, Default)]
pub struct Leaving {
    wanted: AtomicBool,
    left: Mutex<Vec<Left>>,
}

impl Leaving {
    /// From now on a worker that stops leaves its connections.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Whether they are wanted.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// A worker's.
    pub fn add(&self, left: Left) {
        self.lock().push(left);
    }

    /// All of them, once every worker has stopped.
    pub fn collect(&self) -> Vec<Left> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
