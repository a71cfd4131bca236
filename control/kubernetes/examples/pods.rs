//! Memory a pod and time an event, of 100,000 pods from memory through the core:
//! `cargo run --release -p weir-kubernetes --example pods [pods]`.
//!
//! 20 pods a workload, 40 namespaces, one service a workload with its endpoints, two addresses a pod.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_kubernetes::{
    Event, ExternalAddresses, Labels, Meta, Object, ObjectName, Owner, OwnerKind, Pod, Service,
    Slice, Step, Watched, World,
};

const PODS_OF_ONE: usize = 20;
const EVENTS: usize = 20_000;

fn main() {
    let argument = std::env::args().nth(1).and_then(|it| it.parse().ok());
    let pods: usize = argument.unwrap_or(100_000);
    let before = resident_bytes();
    let mut world = World::new("cluster.local", ExternalAddresses::default());
    let began = Instant::now();
    for kind in Watched::ALL {
        world.apply(Event::ListBegins(kind), 1);
        objects(kind, pods).for_each(|object| {
            world.apply(Event::Upsert(Box::new(object)), 1);
        });
        world.apply(Event::ListEnds(kind), 1);
    }
    let listed = began.elapsed();
    let told = world.changes(1);
    let whole = began.elapsed();
    let bytes = resident_bytes().saturating_sub(before);
    println!("{:?}", world.counts());
    println!(
        "listed in {listed:?}, {} documents told after {whole:?}",
        told.len()
    );
    println!(
        "memory: {} MB, {} bytes a pod with its part of workload, owner, service and document",
        bytes / 1_000_000,
        bytes / pods.max(1)
    );
    drop(told);
    let events = EVENTS.min(pods / 7);
    let mut took = Vec::with_capacity(events);
    for number in 0..events {
        // A pod goes, and one of another workload comes with its addresses.
        let old = number * 7 % pods;
        let mut new = pod((old + PODS_OF_ONE) % pods);
        new.meta.name.name.push_str("-again");
        new.meta.uid += 1 << 64;
        new.addresses = addresses(old).into();
        let name = pod(old).meta.name;
        let began = Instant::now();
        world.apply(Event::Upsert(Box::new(Object::Pod(new))), 2);
        world.apply(Event::Remove(Watched::Pod, name), 3);
        let changes = world.changes(3);
        took.push(began.elapsed());
        assert!(!changes.is_empty());
    }
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    let all: Duration = took.iter().sum();
    println!(
        "a pod replaced, address reused: mean {:?}, median {:?}, p99 {:?}, max {:?}",
        all / events.max(1) as u32,
        at(50),
        at(99),
        took.last().copied().unwrap_or_default()
    );
}

fn objects(kind: Watched, pods: usize) -> Box<dyn Iterator<Item = Object>> {
    let workloads = pods / PODS_OF_ONE;
    match kind {
        Watched::Pod => Box::new((0..pods).map(pod).map(Object::Pod)),
        Watched::ReplicaSet => Box::new((0..workloads).map(replica_set).map(Object::Step)),
        Watched::Service => Box::new((0..workloads).map(service).map(Object::Service)),
        Watched::EndpointSlice => Box::new((0..workloads).map(slice).map(Object::Slice)),
        _ => Box::new(std::iter::empty()),
    }
}

fn meta(workload: usize, name: String, uid: usize) -> Meta {
    Meta {
        name: ObjectName {
            namespace: format!("team-{}", workload % 40),
            name,
        },
        uid: uid as u128,
        created_us: 1,
    }
}

fn labels(workload: usize) -> Labels {
    let pairs = [
        ("app.kubernetes.io/name", format!("service-{workload}")),
        (
            "app.kubernetes.io/part-of",
            format!("suite-{}", workload % 100),
        ),
        ("pod-template-hash", "5d4f8c7b9".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn pod(number: usize) -> Pod {
    let workload = number / PODS_OF_ONE;
    Pod {
        meta: meta(
            workload,
            format!("service-{workload}-5d4f8c7b9-{number:05}"),
            number,
        ),
        labels: labels(workload),
        owner: Some(Owner {
            kind: OwnerKind::ReplicaSet,
            name: format!("service-{workload}-5d4f8c7b9"),
            uid: workload as u128,
        }),
        service_account: Some(format!("service-{workload}")),
        images: [format!("registry.example/team/service-{workload}:1.2.3")].into(),
        node: Some(format!("worker-{}", number % 1_000)),
        host_network: false,
        addresses: addresses(number).into(),
        finished: false,
        terminating: false,
        bound_us: 1,
    }
}

fn addresses(number: usize) -> [IpAddr; 2] {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    let six = (0xfd << 120) | number as u128;
    [IpAddr::from([10, a, b, c]), IpAddr::from(six.to_be_bytes())]
}

fn replica_set(workload: usize) -> Step {
    Step {
        meta: meta(workload, format!("service-{workload}-5d4f8c7b9"), workload),
        kind: OwnerKind::ReplicaSet,
        owner: Some(Owner {
            kind: OwnerKind::Deployment,
            name: format!("service-{workload}"),
            uid: workload as u128,
        }),
    }
}

fn service(workload: usize) -> Service {
    let [_, _, b, c] = (workload as u32).to_be_bytes();
    let mut selector = labels(workload);
    selector.remove("pod-template-hash");
    Service {
        meta: meta(workload, format!("service-{workload}"), workload),
        selector,
        cluster_addresses: vec![IpAddr::from([172, 20, b, c])],
        external_addresses: Vec::new(),
        balancer_addresses: Vec::new(),
        balanced: false,
        external_name: None,
    }
}

fn slice(workload: usize) -> Slice {
    let pods = workload * PODS_OF_ONE..(workload + 1) * PODS_OF_ONE;
    Slice {
        meta: meta(workload, format!("service-{workload}-x"), workload),
        service: Some(format!("service-{workload}")),
        addresses: pods.map(|pod| addresses(pod)[0]).collect(),
    }
}

/// Of this process, as the kernel counts it.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}
