//! The flow table does what a `HashMap` does, within two buckets, whatever keys it is given.

mod common;

use std::collections::HashMap;

use common::{key, packet};
use proptest::prelude::*;
use weir_flow::{FlowKey, FlowTable, Life};
use weir_wire::{Direction, Packet};

const SECRET: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

fn number(key: u32) -> FlowKey {
    key_of(key, 443)
}

fn key_of(source: u32, port: u16) -> FlowKey {
    key(source, 40_000, 0xffff_0000, port).key
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Find(u32),
    Remove(u32),
    Close(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u32..120;
    let step = prop_oneof![
        3 => key.clone().prop_map(Step::Insert),
        2 => key.clone().prop_map(Step::Find),
        1 => key.clone().prop_map(Step::Remove),
        1 => key.prop_map(Step::Close),
    ];
    prop::collection::vec(step, 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn does_what_a_map_does(steps in steps(), capacity in 1usize..150, secret: [u64; 2]) {
        let mut table: FlowTable<u64> = FlowTable::new(capacity, secret);
        let mut map: HashMap<FlowKey, u64> = HashMap::new();
        for (now, step) in steps.into_iter().enumerate() {
            let now = now as u64;
            match step {
                Step::Insert(n) => {
                    let hash = table.hash(&number(n));
                    let mut gone = None;
                    let id = table.insert(number(n), hash, true, now, |hot, cold| gone = Some((hot.key, *cold)));
                    if let Some((key, cold)) = gone {
                        prop_assert_eq!(map.remove(&key), Some(cold));
                    }
                    prop_assert_eq!(*table.cold(id), 0, "cold state begins at its default");
                    *table.cold_mut(id) = now + 1;
                    map.insert(number(n), now + 1);
                }
                Step::Find(n) => {
                    let id = table.find(&number(n), table.hash(&number(n)));
                    prop_assert_eq!(id.map(|id| *table.cold(id)), map.get(&number(n)).copied());
                }
                Step::Remove(n) => {
                    if let Some(id) = table.find(&number(n), table.hash(&number(n))) {
                        table.remove(id);
                        table.remove(id);
                    }
                    map.remove(&number(n));
                }
                Step::Close(n) => {
                    if let Some(id) = table.find(&number(n), table.hash(&number(n))) {
                        table.hot_mut(id).life = Life::Closed;
                    }
                }
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert!(table.len() <= table.capacity());
        }
        let mut listed: Vec<u64> = table.ids().map(|id| *table.cold(id)).collect();
        let mut expected: Vec<u64> = map.values().copied().collect();
        listed.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(listed, expected);
    }
}

#[test]
fn holds_its_capacity_without_evicting() {
    let mut table: FlowTable<()> = FlowTable::new(100_000, SECRET);
    for n in 0..100_000 {
        let hash = table.hash(&number(n));
        table.insert(number(n), hash, true, 0, |_, _| ());
    }
    assert_eq!((table.len(), table.evicted()), (100_000, 0));
    for n in 0..100_000 {
        assert!(table.find(&number(n), table.hash(&number(n))).is_some());
    }
}

/// The keys that fell on 2,299 values of an additive hash: every combination has the same sum.
#[test]
fn keys_chosen_against_an_additive_hash_spread() {
    let mut table: FlowTable<()> = FlowTable::new(60_000, SECRET);
    for n in 0..60_000u32 {
        let key = key(
            0x0a00_0000 + n,
            65_535 - n as u16,
            0x0b00_0000 - n,
            n as u16,
        )
        .key;
        let hash = table.hash(&key);
        table.insert(key, hash, true, 0, |_, _| ());
    }
    assert_eq!((table.len(), table.evicted()), (60_000, 0));
}

/// Even keys that all had one hash only fight for their two buckets.
#[test]
fn one_hash_for_all_keys_takes_two_buckets_and_no_more() {
    let mut table: FlowTable<()> = FlowTable::new(10_000, SECRET);
    let bystander = number(999_999);
    let bystander_hash = table.hash(&bystander);
    table.insert(bystander, bystander_hash, true, 0, |_, _| ());
    for n in 0..5_000 {
        table.insert(
            number(n),
            0x1234_5678_9abc_def0,
            true,
            u64::from(n),
            |_, _| (),
        );
    }
    assert_eq!(table.len(), 21);
    assert_eq!(table.evicted(), 5_000 - 20);
    assert!(table.find(&bystander, bystander_hash).is_some());
    assert!(
        table.find(&number(4_999), 0x1234_5678_9abc_def0).is_some(),
        "the newest is there"
    );
    assert!(
        table.find(&number(0), 0x1234_5678_9abc_def0).is_none(),
        "the longest idle went"
    );
}

#[test]
fn closed_goes_before_opening_before_the_longest_idle() {
    const HASH: u64 = 77;
    let mut table: FlowTable<()> = FlowTable::new(1_000, SECRET);
    let lives = [
        Life::Established,
        Life::Closing,
        Life::Opening,
        Life::Closed,
    ];
    for n in 0..20u32 {
        let seen_us = u64::from(n * 7 % 20);
        let id = table.insert(number(n), HASH, true, seen_us, |_, _| ());
        table.hot_mut(id).life = lives[n as usize % 4];
    }
    let mut order = Vec::new();
    for n in 100..120 {
        let id = table.insert(number(n), HASH, true, 1_000, |hot, _| {
            order.push((hot.life, hot.last_seen_us))
        });
        table.hot_mut(id).life = Life::Established;
    }
    let ranks: Vec<u8> = order
        .iter()
        .map(|(life, _)| match life {
            Life::Closed => 0,
            Life::Opening => 1,
            _ => 2,
        })
        .collect();
    assert_eq!(ranks, [[0; 5].as_slice(), &[1; 5], &[2; 10]].concat());
    let idle: Vec<u64> = order[10..].iter().map(|(_, seen)| *seen).collect();
    assert_eq!(idle, [0, 3, 4, 7, 8, 11, 12, 15, 16, 19]);
}

#[test]
fn both_directions_have_one_key() {
    let there = key(1, 1000, 2, 80);
    let back = key(2, 80, 1, 1000);
    assert_eq!(there.key, back.key);
    assert_ne!(there.from_low, back.from_low);
    assert_eq!(there.key.endpoints(there.from_low), (1, 1000, 2, 80));
    assert_eq!(back.key.endpoints(back.from_low), (2, 80, 1, 1000));
    let mut table: FlowTable<()> = FlowTable::new(10, SECRET);
    let hash = table.hash(&there.key);
    let id = table.insert(there.key, hash, there.from_low, 0, |_, _| ());
    assert_eq!(table.hot(id).direction(there.from_low), Direction::ToServer);
    assert_eq!(table.hot(id).direction(back.from_low), Direction::ToClient);
    assert_eq!(table.hot(id).endpoints(), (1, 1000, 2, 80));
}

#[test]
fn echo_request_and_reply_meet_and_zones_stay_apart() {
    let request = Packet {
        protocol: 1,
        source_port: 8 << 8,
        destination_port: 77,
        ..packet()
    };
    let reply = Packet {
        protocol: 1,
        source: request.destination,
        destination: request.source,
        source_port: 0,
        destination_port: 77,
        ..packet()
    };
    assert_eq!(FlowKey::of(&request, 3).key, FlowKey::of(&reply, 3).key);
    assert_ne!(FlowKey::of(&request, 3).key, FlowKey::of(&request, 4).key);
    assert_eq!(
        (
            FlowKey::of(&request, 3).key.zone(),
            FlowKey::of(&request, 3).key.protocol()
        ),
        (3, 1)
    );
    let unreachable = Packet {
        source_port: 3 << 8 | 1,
        destination_port: 0,
        ..request
    };
    let exceeded = Packet {
        source_port: 11 << 8,
        destination_port: 0,
        ..request
    };
    assert_eq!(
        FlowKey::of(&unreachable, 3).key,
        FlowKey::of(&exceeded, 3).key
    );
    let other = Packet {
        destination_port: 78,
        ..request
    };
    assert_ne!(FlowKey::of(&request, 3).key, FlowKey::of(&other, 3).key);
}

#[test]
fn every_field_counts_for_the_hash_in_both_families() {
    let table: FlowTable<()> = FlowTable::new(1, SECRET);
    for family in [0xffff_0000_0000_u128, 0x2001_0db8 << 96] {
        let first = Packet {
            source: family | 1,
            destination: family | 2,
            source_port: 3,
            destination_port: 4,
            ..packet()
        };
        let others = [
            Packet {
                source: family | 9,
                ..first
            },
            Packet {
                destination: family | 9,
                ..first
            },
            Packet {
                source_port: 9,
                ..first
            },
            Packet {
                destination_port: 9,
                ..first
            },
            Packet {
                protocol: 17,
                ..first
            },
            // The same numbers in the other family.
            Packet {
                source: first.source ^ (1 << 127),
                ..first
            },
        ];
        let hash = |packet: &Packet, zone| table.hash(&FlowKey::of(packet, zone).key);
        let mut hashes: Vec<u64> = others.iter().map(|packet| hash(packet, 5)).collect();
        hashes.extend([hash(&first, 5), hash(&first, 9)]);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), others.len() + 2);
    }
}

#[test]
fn changes_tell_whether_what_was_found_still_holds() {
    let mut table: FlowTable<()> = FlowTable::new(4, SECRET);
    let insert = |table: &mut FlowTable<()>, n| {
        let hash = table.hash(&number(n));
        table.insert(number(n), hash, true, 0, |_, _| {})
    };
    let id = insert(&mut table, 1);
    let before = table.changes();
    table.hot_mut(id).life = Life::Closed;
    assert_eq!(table.find(&number(1), table.hash(&number(1))), Some(id));
    assert_eq!(table.changes(), before);
    insert(&mut table, 2);
    let after_insert = table.changes();
    assert_ne!(after_insert, before);
    table.remove(id);
    let after_remove = table.changes();
    assert_ne!(after_remove, after_insert);
    table.remove(id);
    assert_eq!(table.changes(), after_remove, "it was gone already");
}
