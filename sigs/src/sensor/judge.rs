//! What a match that Hyperscan found comes to: its bounds, its checks, its count, and whether its
//! sensor fires.

use arrayvec::ArrayVec;
use weir_policy::spec::SensorAction;

use super::compile::{SensorBits, SensorSet};
use super::count::{Sources, Values};
use super::excerpt::Excerpt;
use super::expression::WINDOW_BYTES;
use super::flow::{FlowState, HISTORY_BYTES, MessageKey, OpenContent, Recent};

/// What was kept of a stream, and the beginning of the next piece: every match that begins in the one
/// and ends in the other lies within.
pub(super) const JOINT_BYTES: usize = HISTORY_BYTES + JOINT_PIECE_BYTES;
/// So much of a piece; a match that ends behind it has its window in the piece.
const JOINT_PIECE_BYTES: usize = HISTORY_BYTES + 1;

/// A sensor fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorHit {
    /// Its place in the set.
    pub sensor: u16,
    /// The pattern that completed it: its place in the sensor.
    pub pattern: u16,
    /// What it does.
    pub action: SensorAction,
    /// Distinct matches until now: of the sender where that threshold was reached, else in the flow.
    pub count: u32,
    /// The match that completed it, masked; empty where the end of a message did.
    pub excerpt: Excerpt,
}

/// What is searched: the piece, and what was kept before it.
pub(super) struct Searched<'a> {
    pub(super) piece: &'a [u8],
    pub(super) joint: &'a [u8],
    pub(super) history_bytes: usize,
    /// The piece begins so many bytes into its content.
    pub(super) base: u64,
}

/// One search: all that a match is judged by.
pub(super) struct Judge<'a> {
    pub(super) set: &'a SensorSet,
    pub(super) flow: &'a mut FlowState,
    pub(super) values: &'a mut Values,
    pub(super) sources: &'a mut Sources,
    pub(super) applies: SensorBits,
    pub(super) sender: u128,
    pub(super) key: MessageKey,
    pub(super) now_us: u64,
    pub(super) on_hit: &'a mut dyn FnMut(SensorHit),
}

impl<'a> Searched<'a> {
    pub(super) fn whole(piece: &'a [u8]) -> Self {
        Self {
            piece,
            joint: &[],
            history_bytes: 0,
            base: 0,
        }
    }

    pub(super) fn after(
        content: &OpenContent,
        piece: &'a [u8],
        joint: &'a mut ArrayVec<u8, JOINT_BYTES>,
    ) -> Self {
        joint.clear();
        joint.extend(content.history.iter().copied());
        joint.extend(piece.iter().copied().take(JOINT_PIECE_BYTES));
        Self {
            piece,
            joint,
            history_bytes: content.history.len(),
            base: content.offset,
        }
    }

    /// The bytes around the match that ends there, the first place to look at, and its end in them.
    fn window(&self, to: u64) -> Option<(&'a [u8], usize, usize)> {
        let in_piece = to.checked_sub(self.base).map(|end| end as usize);
        let (bytes, end) = match in_piece {
            Some(end) if self.joint.is_empty() || end >= JOINT_PIECE_BYTES => (self.piece, end),
            Some(end) => (self.joint, self.history_bytes + end),
            None => {
                let before = (self.base - to) as usize;
                (self.joint, self.history_bytes.checked_sub(before)?)
            }
        };
        (end <= bytes.len()).then(|| (bytes, end.saturating_sub(WINDOW_BYTES), end))
    }
}

impl Judge<'_> {
    /// Hyperscan found an expression that ends there.
    pub(super) fn found(
        &mut self,
        searched: &Searched<'_>,
        recent: &mut Recent,
        expression: u32,
        to: u64,
    ) {
        let Some((pattern, finder)) = self.set.expressions.get(expression as usize) else {
            return;
        };
        let compiled = &self.set.patterns[*pattern as usize];
        let sensor = compiled.sensor;
        if !self.applies.contains(usize::from(sensor)) || self.is_told(sensor) {
            return;
        }
        let Some((bytes, first, end)) = searched.window(to) else {
            return;
        };
        let Some((start, value)) = finder.begin(bytes, first, end) else {
            return;
        };
        let starts_at = to - (end - start) as u64;
        if recent.overlaps(*pattern, starts_at) {
            return;
        }
        let value = &bytes[value..end];
        let spec = self.set.pattern_spec(compiled);
        let random = spec.entropy_millibits == 0
            || super::check::entropy_millibits(value) >= spec.entropy_millibits;
        if !random
            || !compiled.has(value)
            || !compiled.checks.iter().all(|check| (check.holds)(value))
        {
            return;
        }
        recent.add(*pattern, to);
        let excerpt = || Excerpt::of(value, spec.mask);
        self.matched(sensor, compiled.index, compiled.counts, value, &excerpt);
    }

    /// Whether the sensor has nothing more to tell of this message, or of this flow.
    fn is_told(&mut self, sensor: u16) -> bool {
        let message = self.flow.message(self.key);
        let found = message.found.iter().find(|found| found.sensor == sensor);
        let told_of_message = found.is_some_and(|found| found.told);
        let count = self.flow.counts.iter().find(|count| count.sensor == sensor);
        told_of_message || count.is_some_and(|count| count.told)
    }

    fn matched(
        &mut self,
        sensor: u16,
        pattern: u16,
        counts: bool,
        value: &[u8],
        excerpt: &dyn Fn() -> Excerpt,
    ) {
        let found = self.flow.message(self.key).of(sensor);
        found.patterns |= 1 << (pattern & 63);
        let patterns = found.patterns;
        let reached = self.count(sensor, counts, value);
        let spec = &self.set.sensors[usize::from(sensor)];
        let traits = &self.set.traits[usize::from(sensor)];
        if let Some(count) = reached
            && !traits.waits
            && spec.combination.holds(patterns)
        {
            self.tell(sensor, pattern, count, excerpt());
        }
    }

    /// Counts a match. Some where a threshold is reached, with the count.
    fn count(&mut self, sensor: u16, counts: bool, value: &[u8]) -> Option<u32> {
        let spec = &self.set.sensors[usize::from(sensor)];
        let traits = &self.set.traits[usize::from(sensor)];
        let owner = u64::from(sensor);
        if counts && !traits.at_once(spec) {
            let in_flow = [self.flow.number << 1, owner];
            if self.values.is_new(in_flow, value) {
                self.flow.count(sensor).matches += 1;
            }
            if let Some(source) = spec.source {
                let key = self.values.source_key(self.sender, sensor);
                let window_us = u64::from(source.window_s) * 1_000_000;
                let begins = self.sources.window_begin(key, self.now_us, window_us);
                // Odd, so that no flow's number equals it.
                let in_window = [key.rotate_left(17) ^ begins << 1 | 1, owner];
                if self.values.is_new(in_window, value) {
                    self.sources.add(key, self.now_us);
                }
            }
        }
        self.reached(sensor)
    }

    /// The count that reaches a threshold of the sensor.
    fn reached(&mut self, sensor: u16) -> Option<u32> {
        let spec = &self.set.sensors[usize::from(sensor)];
        let traits = &self.set.traits[usize::from(sensor)];
        if traits.at_once(spec) {
            return Some(1);
        }
        if let Some(source) = spec.source {
            let key = self.values.source_key(self.sender, sensor);
            let matches = self.sources.count(key, self.now_us);
            if matches >= source.matches {
                return Some(matches);
            }
        }
        let matches = self.flow.count(sensor).matches;
        let threshold = traits.flow_matches?;
        (matches >= threshold).then_some(matches)
    }

    fn tell(&mut self, sensor: u16, pattern: u16, count: u32, excerpt: Excerpt) {
        let spec = &self.set.sensors[usize::from(sensor)];
        if self.set.traits[usize::from(sensor)].at_once(spec) {
            self.flow.message(self.key).of(sensor).told = true;
        } else {
            self.flow.count(sensor).told = true;
        }
        (self.on_hit)(SensorHit {
            sensor,
            pattern,
            action: spec.action,
            count,
            excerpt,
        });
    }

    /// The message is over: what must not be found in it was not.
    pub(super) fn conclude(&mut self) {
        let Some(message) = self.flow.take_message(self.key) else {
            return;
        };
        for found in &message.found {
            let spec = &self.set.sensors[usize::from(found.sensor)];
            let traits = &self.set.traits[usize::from(found.sensor)];
            let told = self
                .flow
                .counts
                .iter()
                .any(|count| count.sensor == found.sensor && count.told);
            if !traits.waits || told || !spec.combination.holds(found.patterns) {
                continue;
            }
            if let Some(count) = self.reached(found.sensor) {
                let pattern = found.patterns.trailing_zeros() as u16;
                self.tell(found.sensor, pattern, count, Excerpt::default());
            }
        }
        self.flow.take_message(self.key);
    }
}
