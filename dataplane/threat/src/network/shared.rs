//! What the detectors of all workers count together, and the telling of what lasts.
//!
//! Memory: every table at the start, by the sizes in [`Settings`]; about 8 MiB by default.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Action, Config, Evidence, Found, Threat};

use super::clock::{Rate, age_ms, halves, pack};
use super::key::{Keys, Kind};
use super::settings::Settings;
use super::table::Table;
use super::{beacon, floods, scan, syn_flood};

/// Findings of one kind that all workers tell in a second, whoever they are about.
const TOLD_PER_S: u32 = 20;
/// Findings whose telling is remembered.
const TOLD: usize = 8192;
/// How long what is worth it is kept in the tables without being touched.
const IDLE_MS: u32 = 600_000;

/// What the detectors of all workers count together.
#[derive(Debug)]
pub struct Shared {
    pub(super) keys: Keys,
    pub(super) sources: Table<{ syn_flood::SOURCE_WORDS }>,
    pub(super) targets: Table<{ floods::TARGET_WORDS }>,
    pub(super) pairs: Table<{ floods::PAIR_WORDS }>,
    pub(super) scanners: Table<{ scan::WORDS }>,
    pub(super) verticals: Table<{ scan::WORDS }>,
    pub(super) services: Table<{ beacon::WORDS }>,
    pub(super) turned_away: Box<[AtomicU64]>,
    told: Table<1>,
    /// By threat, findings of this second.
    budget: [AtomicU64; Threat::ALL.len()],
}

impl Shared {
    /// Allocates the tables. `secret` keys the hashes; take one that nobody outside knows.
    pub fn new(settings: &Settings, secret: [u64; 2]) -> Self {
        let turned_away = settings.turned_away.clamp(64, 1 << 24).next_power_of_two();
        Self {
            keys: Keys::new(secret),
            sources: Table::new(settings.sources, IDLE_MS),
            targets: Table::new(settings.targets, IDLE_MS),
            pairs: Table::new(settings.pairs, IDLE_MS),
            scanners: Table::new(
                settings.scanners,
                IDLE_MS.max(settings.scan_window_s * 1000),
            ),
            verticals: Table::new(
                settings.scanners,
                IDLE_MS.max(settings.scan_window_s * 1000),
            ),
            services: Table::new(settings.services, 24 * 3600 * 1000),
            turned_away: (0..turned_away).map(|_| AtomicU64::new(0)).collect(),
            told: Table::new(TOLD, IDLE_MS),
            budget: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// A moment at which detectors look.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub config: &'a Config,
    pub shared: &'a Shared,
    pub zone: u32,
    pub now_ms: u32,
}

impl<'a> Scene<'a> {
    pub fn settings(&self) -> &'a Settings {
        &self.config.network
    }

    /// Whether this is looked for.
    #[inline]
    pub fn wants(&self, threat: Threat) -> bool {
        self.config.action(threat) != Action::Off
    }

    pub fn key(&self, kind: Kind, one: u128, other: u128, number: u64) -> u64 {
        self.shared.keys.of(kind, self.zone, one, other, number)
    }

    pub fn hold_ms(&self) -> u32 {
        self.settings().flood_hold_s.saturating_mul(1000)
    }

    /// Tells a threat of these two (zero: whoever), unless that was done lately: how often it showed
    /// since then goes with the next telling. Of made-up addresses only so many are told.
    pub fn tell(
        &self,
        found: &mut Found,
        threat: Threat,
        one: u128,
        other: u128,
        evidence: impl FnOnce() -> Evidence,
    ) {
        if !self.wants(threat) {
            return;
        }
        let Some(since) = self.is_due(threat, one, other) else {
            return;
        };
        let second = Rate::add(&self.shared.budget[threat as usize], 1, self.now_ms, 1000);
        if second.current > TOLD_PER_S {
            return;
        }
        found.note(self.config, threat, || match since {
            0 => evidence(),
            since => evidence().counter("untold", u64::from(since)),
        });
    }

    /// None: it was told lately. Else how often it showed since it was told.
    fn is_due(&self, threat: Threat, one: u128, other: u128) -> Option<u32> {
        let key = self.key(Kind::Told, one, other, u64::from(threat.id()));
        let Some(entry) = self.shared.told.find(key) else {
            if let Some(entry) = self.shared.told.touch(key, self.now_ms) {
                entry.word(0).store(pack(self.now_ms, 0), Relaxed);
            }
            return Some(0);
        };
        let (told_ms, since) = halves(entry.word(0).load(Relaxed));
        if age_ms(self.now_ms, told_ms) < self.settings().repeat_s.saturating_mul(1000) {
            entry
                .word(0)
                .store(pack(told_ms, since.saturating_add(1)), Relaxed);
            return None;
        }
        self.shared.told.touch(key, self.now_ms);
        entry.word(0).store(pack(self.now_ms, 0), Relaxed);
        Some(since)
    }
}
