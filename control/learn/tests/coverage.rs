//! The figures of coverage against simulated workloads of which the truth is known.

#[path = "simulation/random.rs"]
mod random;

use random::Random;
use weir_learn::{Conversation, Coverage, DAY_US, Observation, coverage};

const START_DAY: u64 = 20_000;

/// A workload with conversations of very different chances per hour, each opening several connections
/// at once.
struct Workload {
    chances: Vec<f64>,
    seen: Vec<Conversation>,
}

impl Workload {
    fn new(random: &mut Random, many: u64) -> Self {
        let chance =
            |nth: u64, random: &mut Random| (0.2 + random.share()) * 0.5 / (nth + 1) as f64;
        Self {
            chances: (0..many).map(|nth| chance(nth, random)).collect(),
            seen: vec![Conversation::default(); many as usize],
        }
    }

    fn live(&mut self, random: &mut Random, days: std::ops::Range<u64>) {
        for hour in days.start * 24..days.end * 24 {
            for (chance, seen) in self.chances.iter().zip(&mut self.seen) {
                if random.chance(*chance) {
                    seen.merge(&observation(hour, 1 + random.below(30)));
                }
            }
        }
    }

    /// The chance that the next thing seen in some hour is a conversation not seen so far.
    fn truth(&self) -> f64 {
        let sum = |new: bool| -> f64 {
            let all = self.chances.iter().zip(&self.seen);
            let wanted = all.filter(|(_, seen)| !new || seen.connections == 0);
            wanted.map(|(chance, _)| chance).sum()
        };
        sum(true) / sum(false)
    }

    fn estimate(&self, days: u64) -> Coverage {
        coverage(&self.seen, (START_DAY + days) * DAY_US)
    }
}

fn observation(hour: u64, connections: u64) -> Observation {
    Observation {
        node: "node-1".into(),
        zone: 0,
        time_unix_us: START_DAY * DAY_US + hour * DAY_US / 24,
        client_address: [10, 0, 0, 1].into(),
        connections,
        unanswered: 0,
        bytes: 0,
        bytes_sent: 0,
        denied: 0,
        would_deny: 0,
        alerts: Vec::new(),
        resolved: None,
        confidence: weir_learn::Confidence::Content,
        from_start: true,
    }
}

#[test]
fn the_chance_of_news_is_the_truth_on_average_and_within_its_interval() {
    let mut random = Random::new(7);
    for days in [1, 3, 10] {
        let (mut truths, mut estimates, mut within) = (0.0, 0.0, 0);
        const ROUNDS: u32 = 200;
        for _ in 0..ROUNDS {
            let many = 5 + random.below(60);
            let mut workload = Workload::new(&mut random, many);
            workload.live(&mut random, 0..days);
            let (truth, found) = (workload.truth(), workload.estimate(days));
            truths += truth / f64::from(ROUNDS);
            // Without the one more that keeps few observations from saying anything.
            let plain = (found.next_is_new * (found.occurrences + 1) as f64 - 1.0)
                / found.occurrences.max(1) as f64;
            estimates += plain / f64::from(ROUNDS);
            within += u32::from(truth <= found.upper);
        }
        let error = (estimates - truths).abs();
        assert!(
            error < 0.15 * truths + 0.002,
            "{days} days: {estimates} for {truths}"
        );
        assert!(
            within >= ROUNDS * 92 / 100,
            "{days} days: the truth is above {within} of {ROUNDS}"
        );
    }
}

#[test]
fn the_chance_of_news_on_the_next_day_is_the_share_of_days_with_news() {
    let mut random = Random::new(11);
    let (mut expected, mut happened) = (0.0, 0.0);
    const ROUNDS: u32 = 300;
    for _ in 0..ROUNDS {
        let mut workload = Workload::new(&mut random, 30);
        // Seldom enough that something is left for later.
        workload
            .chances
            .iter_mut()
            .for_each(|chance| *chance *= 0.1);
        workload.live(&mut random, 0..6);
        expected += workload.estimate(6).next_day_is_new / f64::from(ROUNDS);
        let before = workload
            .seen
            .iter()
            .filter(|seen| seen.connections > 0)
            .count();
        workload.live(&mut random, 6..7);
        let after = workload
            .seen
            .iter()
            .filter(|seen| seen.connections > 0)
            .count();
        happened += f64::from(u8::from(after > before)) / f64::from(ROUNDS);
    }
    assert!(
        (expected - happened).abs() < 0.08,
        "{expected} for {happened}"
    );
}
