//! What a detector found, with its evidence: fixed in size, made without allocation.

use arrayvec::ArrayVec;

use crate::{Action, Config, Threat};

/// Most bytes of an attack that are shown.
pub const EXCERPT_BYTES: usize = 96;
/// Most counters that a finding shows.
pub const COUNTERS_MAX: usize = 4;
/// Most findings of one call; the rest of them is lost, the first are the reason already.
pub const FINDINGS_MAX: usize = 8;

/// Why a detector says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Which sign of it, where a threat has several.
    pub sign: &'static str,
    /// The bytes that show it, cut.
    pub excerpt: ArrayVec<u8, EXCERPT_BYTES>,
    /// Name and value.
    pub counters: ArrayVec<(&'static str, u64), COUNTERS_MAX>,
}

impl Evidence {
    /// Nothing but a sign.
    pub fn sign(sign: &'static str) -> Self {
        Self {
            sign,
            ..Self::default()
        }
    }

    /// Shows these bytes, the first of them.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.excerpt = bytes.iter().copied().take(EXCERPT_BYTES).collect();
        self
    }

    /// Shows a counter; beyond [`COUNTERS_MAX`] it is left out.
    pub fn counter(mut self, name: &'static str, value: u64) -> Self {
        let _ = self.counters.try_push((name, value));
        self
    }
}

/// A threat that showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub threat: Threat,
    /// What it does.
    pub action: Action,
    /// Why.
    pub evidence: Evidence,
}

/// What one call of the detectors found.
#[derive(Debug, Default)]
pub struct Found(ArrayVec<Finding, FINDINGS_MAX>);

impl Found {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a threat, unless it is not looked for or was noted already. The evidence is made only then.
    pub fn note(&mut self, config: &Config, threat: Threat, evidence: impl FnOnce() -> Evidence) {
        let action = config.action(threat);
        if action == Action::Off || self.0.iter().any(|known| known.threat == threat) {
            return;
        }
        let _ = self.0.try_push(Finding {
            threat,
            action,
            evidence: evidence(),
        });
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them drops.
    pub fn drops(&self) -> bool {
        self.0.iter().any(|finding| finding.action == Action::Drop)
    }

    /// What was found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Takes what was found out.
    pub fn drain(&mut self) -> impl Iterator<Item = Finding> {
        self.0.drain(..)
    }
}
