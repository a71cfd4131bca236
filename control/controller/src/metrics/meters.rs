//! What has to be measured while it happens.
//!
//! Memory bound: the times of [`GIVEN_MAX`] versions; reviews by a closed set of kinds and verdicts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_metrics::Histogram;

/// Versions whose time is remembered.
const GIVEN_MAX: usize = 4_096;
/// From a change to what nodes acknowledged: below 100 ms is promised.
const PUSH_S: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0, 30.0,
];
const PUBLISH_S: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
const REVIEW_S: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 4.0, 8.0];

/// When versions were given out.
#[derive(Debug, Default)]
pub struct Given(Mutex<VecDeque<(u64, Instant)>>);

impl Given {
    /// This version is given out now.
    pub fn now(&self, version: u64) {
        let mut given = crate::lock(&self.0);
        if given.len() >= GIVEN_MAX {
            given.pop_front();
        }
        given.push_back((version, Instant::now()));
    }

    /// When this one was; None where that is not known any more.
    pub fn at(&self, version: u64) -> Option<Instant> {
        let given = crate::lock(&self.0);
        let place = given.binary_search_by_key(&version, |(version, _)| *version);
        place.ok().and_then(|place| given.get(place)).map(|it| it.1)
    }
}

/// What is measured.
#[derive(Debug)]
pub struct Meters {
    push: Histogram,
    publish: Histogram,
    unpublished: AtomicU64,
    reviews: Mutex<BTreeMap<(&'static str, &'static str), Histogram>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            push: Histogram::new(PUSH_S),
            publish: Histogram::new(PUBLISH_S),
            unpublished: AtomicU64::new(0),
            reviews: Mutex::default(),
        }
    }
}

impl Meters {
    /// A node acknowledged what it was given then.
    pub fn acknowledged(&self, since: Instant) {
        self.push.observe(since.elapsed().as_secs_f64());
    }

    /// What a source told was taken, or not; it began then.
    pub fn published(&self, begun: Instant, taken: bool) {
        self.publish.observe(begun.elapsed().as_secs_f64());
        if !taken {
            self.unpublished.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An admission review was answered.
    pub fn reviewed(&self, what: &'static str, verdict: &'static str, took: Duration) {
        let mut reviews = crate::lock(&self.reviews);
        let histogram = reviews
            .entry((what, verdict))
            .or_insert_with(|| Histogram::new(REVIEW_S));
        histogram.observe(took.as_secs_f64());
    }

    /// From a change to what nodes acknowledged.
    pub fn push(&self) -> &Histogram {
        &self.push
    }

    /// From what a source told to what was given out.
    pub fn publish(&self) -> &Histogram {
        &self.publish
    }

    /// How often nothing could be given out.
    pub fn unpublished(&self) -> u64 {
        self.unpublished.load(Ordering::Relaxed)
    }

    /// Reviews by what was asked about and the verdict.
    pub fn reviews(&self) -> BTreeMap<(&'static str, &'static str), Histogram> {
        crate::lock(&self.reviews).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_versions_are_bounded_and_found() {
        let given = Given::default();
        let before = Instant::now();
        for version in (2..20_000).step_by(2) {
            given.now(version);
        }
        assert!(given.at(19_998).is_some_and(|at| at >= before));
        assert_eq!(given.at(19_997), None);
        assert_eq!(given.at(2), None);
        assert_eq!(crate::lock(&given.0).len(), GIVEN_MAX);
    }
}
