//! Beacons.

use super::bench::{Bench, Fate, udp};
use crate::Threat;

const CLIENT: [u8; 4] = [10, 0, 0, 1];

/// Calls in these intervals, from a new port each.
fn call(server: [u8; 4], port: u16, intervals_ms: impl IntoIterator<Item = u64>) -> usize {
    let mut bench = Bench::new();
    for (index, interval_ms) in intervals_ms.into_iter().enumerate() {
        let client = (CLIENT, 30_000 + index as u16);
        assert_eq!(bench.connect(client, (server, port)), Fate::Passed);
        bench.wait_ms(interval_ms);
    }
    bench.told(Threat::Beacon)
}

#[test]
fn equal_intervals_to_an_outside_address_are_a_beacon() {
    assert_eq!(call([203, 0, 113, 5], 443, [60_000; 16]), 1);
    let jitter = (0..17).map(|index| 60_000 + (index * 7919) % 5000);
    assert_eq!(call([203, 0, 113, 5], 443, jitter), 1);
    assert_eq!(
        call([203, 0, 113, 5], 443, [60_000; 40]),
        2,
        "told again now and then"
    );
}

#[test]
fn few_calls_short_or_differing_intervals_are_none() {
    assert_eq!(call([203, 0, 113, 5], 443, [60_000; 15]), 0);
    assert_eq!(call([203, 0, 113, 5], 443, [2000; 100]), 0);
    let browsing = (0..100).map(|index: u64| 5000 + (index * index * 7919) % 90_000);
    assert_eq!(call([203, 0, 113, 5], 443, browsing), 0);
}

#[test]
fn probes_within_the_cluster_are_none() {
    assert_eq!(call([10, 0, 0, 2], 443, [10_000; 100]), 0);
    assert_eq!(call([203, 0, 113, 5], 53, [10_000; 100]), 0);
    let mut bench = Bench::new();
    for index in 0..50 {
        bench.send(&udp(
            (CLIENT, 30_000 + index),
            ([203, 0, 113, 5], 123),
            b"time",
        ));
        bench.wait_ms(64_000);
    }
    assert_eq!(bench.told(Threat::Beacon), 0);
}
