//! The loads are what they are called: recognised, let through or not, settled, out of order, one bucket.

use std::collections::BTreeSet;

use weir_flow::FlowTable;
use weir_perf::engine::{self, Round, Run};
use weir_perf::load::{Family, LEAKED_SECRET, Packets, Shape, Size, TABLE, open};
use weir_perf::node::{Node, Options};

const FLOWS: u64 = 64;

/// Takes a load along the path; the node after it, and what it cost.
fn taken(name: &str, family: Family, packets: u64, options: &Options) -> (Node, Vec<Round>) {
    let shape = Shape {
        flows: FLOWS,
        family,
        ..Shape::default()
    };
    let mut node = Node::new(options).unwrap();
    let mut load = open(name, &shape).unwrap();
    let run = Run {
        rounds: 1,
        packets,
        burst_us: 4,
        nothing_dropped: false,
    };
    let rounds = engine::run(&mut node, &mut *load, &run).unwrap();
    (node, rounds)
}

fn options() -> Options {
    Options {
        flows: 1 << 14,
        ..Options::default()
    }
}

/// The applications of all flows.
fn applications(node: &mut Node) -> BTreeSet<&'static str> {
    let known = |event: &weir_node::event::Event| {
        event.flow.application.map_or("undecided", |app| app.name())
    };
    node.stop().iter().map(known).collect()
}

#[test]
fn applications_are_recognised_in_both_families_and_all_of_it_passes() {
    for (name, wanted) in [
        ("settled-udp", vec!["unknown"]),
        ("settled-tcp", vec!["unknown"]),
        ("churn", vec!["dns", "http", "tls"]),
        ("connections", vec!["http"]),
        ("http", vec!["http"]),
        ("web", vec!["http"]),
        ("tls", vec!["tls"]),
        ("mysql", vec!["mysql"]),
        ("redis", vec!["redis"]),
        ("grpc", vec!["grpc"]),
        ("dns", vec!["dns"]),
        ("bulk", vec!["tls"]),
    ] {
        for family in [Family::V4, Family::V6] {
            let (mut node, rounds) = taken(name, family, 40 * FLOWS, &options());
            assert_eq!(
                node.path.counts().dropped_total(),
                0,
                "{name}: {:?}",
                node.path.counts()
            );
            assert_eq!(rounds[0].allocations, 0, "{name}");
            let found: Vec<_> = applications(&mut node).into_iter().collect();
            assert_eq!(found, wanted, "{name} {family:?}");
        }
    }
}

#[test]
fn settled_datagrams_of_any_length_are_of_no_application() {
    for size in [
        Size::Bytes(64),
        Size::Imix,
        Size::Bytes(1_500),
        Size::Bytes(9_000),
    ] {
        let shape = Shape {
            flows: FLOWS,
            size,
            ..Shape::default()
        };
        let mut node = Node::new(&options()).unwrap();
        let mut load = open("settled-udp", &shape).unwrap();
        let run = Run {
            rounds: 1,
            packets: 4 * FLOWS,
            burst_us: 4,
            nothing_dropped: true,
        };
        engine::run(&mut node, &mut *load, &run).unwrap();
        let found: Vec<_> = applications(&mut node).into_iter().collect();
        assert_eq!(found, ["unknown"], "{size:?}");
    }
}

#[test]
fn frames_are_as_long_as_their_load_says() {
    for (name, mean_bytes) in [("churn", 88), ("web", 878), ("bulk", 1_029)] {
        let load = open(
            name,
            &Shape {
                flows: FLOWS,
                ..Shape::default()
            },
        )
        .unwrap();
        let skipped = 8 * FLOWS as usize;
        let lengths: Vec<_> = Packets(load)
            .skip(skipped)
            .take(6_400)
            .map(|(_, frame)| frame.len())
            .collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!(
            mean.abs_diff(mean_bytes) <= mean_bytes / 50,
            "{name}: {mean} bytes in the mean"
        );
    }
}

#[test]
fn a_connection_has_nine_packets() {
    let (node, rounds) = taken("connections", Family::V4, 90 * FLOWS, &options());
    assert_eq!(rounds[0].packets, 90 * FLOWS);
    // Those of before the round too: warming up takes less than one connection each.
    assert!(
        (10 * FLOWS..=12 * FLOWS).contains(&node.flows()),
        "{}",
        node.flows()
    );
}

#[test]
fn colliding_flows_share_a_bucket_only_where_the_secret_is_known() {
    let buckets = |secret| {
        let table = FlowTable::<()>::new(16 * FLOWS as usize, secret);
        let shape = Shape {
            flows: FLOWS,
            family: Family::Both,
            ..Shape::default()
        };
        let packets = Packets(open("colliding", &shape).unwrap()).take(2 * FLOWS as usize);
        let bucket = |frame: Vec<u8>| {
            let seen = weir_wire::glance(&frame, true).unwrap();
            std::ptr::from_ref(table.bucket(table.key(&seen, 0).1))
        };
        packets
            .map(|(_, frame)| bucket(frame))
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!(buckets(LEAKED_SECRET), 1);
    assert!(buckets([7, 9]) > FLOWS as usize / 3);
}

#[test]
fn every_frame_of_hostile_loads_is_accounted_for() {
    for entry in TABLE.iter().filter(|entry| entry.hostile) {
        let (mut node, _) = taken(entry.name, Family::Both, 100 * FLOWS, &options());
        node.stop();
        assert!(
            node.path.counts().balances(0),
            "{}: {:?}",
            entry.name,
            node.path.counts()
        );
    }
}
