//! The timer wheel fires what a heap would fire, never early and at most a tick late.

mod common;

use std::collections::HashMap;

use common::key;
use proptest::prelude::*;
use weir_flow::{FlowId, FlowTable, Life, Timeouts, TimerWheel};

const TICK_US: u64 = 1 << 14;

fn flows(count: u32) -> Vec<FlowId> {
    let mut table: FlowTable<()> = FlowTable::new(count as usize, [1, 2]);
    (0..count)
        .map(|n| {
            let key = key(n, 1, 0xffff, 2).key;
            let hash = table.hash(&key);
            table.insert(key, hash, true, 0, |_, _| ())
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(usize, u64),
    Cancel(usize),
    Advance(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Spans of microseconds up to months, so that every wheel is used.
    let span = (0u32..43).prop_flat_map(|bits| 0u64..=1 << bits);
    let step = prop_oneof![
        5 => (0usize..40, span.clone()).prop_map(|(flow, after)| Step::Schedule(flow, after)),
        1 => (0usize..40).prop_map(Step::Cancel),
        3 => (span, 1usize..30).prop_map(|(by, budget)| Step::Advance(by, budget)),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn fires_what_a_map_of_deadlines_would(steps in steps(), start in 0u64..1 << 52) {
        let ids = flows(40);
        let mut wheel = TimerWheel::new(40);
        let mut deadlines: HashMap<FlowId, u64> = HashMap::new();
        let mut now = start;
        // Time begins with the first call: from zero, the lowest budget would spend all calls on laps of decades.
        wheel.advance(now, 1, |_| ());
        for step in steps {
            match step {
                Step::Schedule(flow, after) => {
                    wheel.schedule(ids[flow], now + after);
                    deadlines.insert(ids[flow], now + after);
                }
                Step::Cancel(flow) => {
                    wheel.cancel(ids[flow]);
                    deadlines.remove(&ids[flow]);
                }
                Step::Advance(by, budget) => {
                    now += by;
                    let mut fired = Vec::new();
                    // Every call does something as long as something is left: some calls do it all.
                    for _ in 0..400 {
                        let before = fired.len();
                        let count = wheel.advance(now, budget, |id| fired.push(id));
                        prop_assert_eq!(count, fired.len() - before);
                        prop_assert!(count <= budget);
                    }
                    for id in fired {
                        let due = deadlines.remove(&id);
                        prop_assert!(due.is_some_and(|due| due <= now), "fired early or twice: {:?} at {}", due, now);
                        prop_assert!(!wheel.is_scheduled(id));
                    }
                    for &due in deadlines.values() {
                        prop_assert!(due + 2 * TICK_US > now, "{} not fired by {}", due, now);
                    }
                }
            }
            prop_assert_eq!(wheel.len(), deadlines.len());
        }
    }
}

#[test]
fn a_budget_is_kept_and_the_rest_comes_later() {
    let ids = flows(1_000);
    let mut wheel = TimerWheel::new(1_000);
    for &id in &ids {
        wheel.schedule(id, 5_000_000);
    }
    assert_eq!(wheel.advance(4_999_999, 10_000, |_| panic!("early")), 0);
    let mut fired = 0;
    let mut calls = 0;
    while !wheel.is_empty() {
        fired += wheel.advance(5_100_000, 64, |_| ());
        calls += 1;
    }
    assert_eq!(fired, 1_000);
    assert!((15..=33).contains(&calls), "{calls}");
}

#[test]
fn timeouts_follow_protocol_and_life() {
    let timeouts = Timeouts::default();
    assert_eq!(timeouts.for_flow(6, Life::Opening), 20_000_000);
    assert_eq!(timeouts.for_flow(6, Life::Established), 1_200_000_000);
    assert_eq!(timeouts.for_flow(6, Life::Closing), 90_000_000);
    assert_eq!(timeouts.for_flow(6, Life::Closed), 15_000_000);
    assert_eq!(timeouts.for_flow(17, Life::Opening), 30_000_000);
    assert_eq!(timeouts.for_flow(58, Life::Established), 5_000_000);
    assert_eq!(timeouts.for_flow(47, Life::Opening), timeouts.other_us);
}
