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
    /// Who does it, where that is not the client of the connection at hand. IPv4 mapped into IPv6.
    pub source: Option<u128>,
    /// To whom, where that is not its server.
    pub target: Option<u128>,
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

    /// Names who does it.
    pub fn source(mut self, address: u128) -> Self {
        self.source = Some(address);
        self
    }

    /// Names to whom it is done.
    pub fn target(mut self, address: u128) -> Self {
        self.target = Some(address);
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
pub struct Found {
    findings: ArrayVec<Finding, FINDINGS_MAX>,
    sheds: bool,
    sightings: u32,
}

impl Found {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.findings.clear();
        self.sheds = false;
        self.sightings = 0;
    }

    /// Notes a threat, unless it is not looked for or was noted already. The evidence is made only then.
    pub fn note(&mut self, config: &Config, threat: Threat, evidence: impl FnOnce() -> Evidence) {
        self.sightings += 1;
        let action = config.action(threat);
        if action == Action::Off || self.findings.iter().any(|known| known.threat == threat) {
            return;
        }
        let _ = self.findings.try_push(Finding {
            threat,
            action,
            evidence: evidence(),
        });
    }

    /// How often a threat showed, whether it is looked for or not.
    pub(crate) fn sightings(&self) -> u32 {
        self.sightings
    }

    /// The packet belongs to a threat that was told before (a flood that lasts): where it drops, this packet
    /// is dropped without another word, and nothing else with it.
    pub fn shed(&mut self, config: &Config, threat: Threat) {
        self.sheds |= config.action(threat) == Action::Drop;
    }

    /// Whether this packet is dropped, whatever becomes of its connection.
    pub fn sheds(&self) -> bool {
        self.sheds
    }

    /// Whether there is nothing, to tell or to drop.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty() && !self.sheds
    }

    /// Whether one of them drops what it belongs to.
    pub fn drops(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.action == Action::Drop)
    }

    /// What was found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Takes what was found out.
    pub fn drain(&mut self) -> impl Iterator<Item = Finding> {
        self.findings.drain(..)
    }
}
