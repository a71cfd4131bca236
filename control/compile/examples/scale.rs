//! What policy for a cluster costs: `cargo run --release -p weir-compile --example scale [workloads] [allowlists] [nodes]`.
//!
//! Builds everything from nothing, then moves pods: a workload's address changes, on a node of many. Prints
//! seconds, memory of the process and microseconds per pod event, with the scopes of all nodes kept.

use std::sync::Arc;
use std::time::Instant;

use weir_compile::{Change, Compilation, Scopes};
use weir_model::{Document, Located, parse_documents};

/// Workloads of one namespace.
const SPACE: usize = 100;
const EVENTS: usize = 2000;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let most: usize = numbers.next().unwrap_or(100_000);
    let allowlists: usize = numbers.next().unwrap_or(10_000);
    let nodes: usize = numbers.next().unwrap_or(1000);
    println!("{allowlists} allowlists, {nodes} nodes");
    for workloads in [most / 100, most / 10, most] {
        measure(workloads.max(1), allowlists, nodes);
    }
}

fn measure(workloads: usize, allowlists: usize, nodes: usize) {
    let before = resident_bytes();
    let mut compilation = Compilation::new(None);
    let spaces = workloads.div_ceil(SPACE);
    let documents = (0..workloads)
        .map(|number| workload(number, 0, nodes))
        .chain((0..allowlists).map(|number| allowlist(number, spaces)))
        .chain([protected()]);
    let documents: Vec<Change> = documents.map(Change::Put).collect();
    let start = Instant::now();
    let effect = compilation.apply(documents);
    let compiled_s = start.elapsed().as_secs_f64();
    let refused = compilation.refused().next();
    assert!(
        refused.is_none(),
        "what is measured is in force: {refused:?}"
    );
    let compiled_bytes = resident_bytes().saturating_sub(before);

    let mut scopes = Scopes::default();
    let start = Instant::now();
    scopes.apply(&effect);
    for node in 0..nodes {
        scopes.add_node(&node_name(node));
    }
    let scoped_s = start.elapsed().as_secs_f64();
    let all_bytes = resident_bytes().saturating_sub(before);
    let one = scopes.everything(&node_name(1)).unwrap_or_default();

    let events: Vec<Change> = (0..EVENTS)
        .map(|event| Change::Put(workload(event * 7919 % workloads, 1 + event, nodes)))
        .collect();
    let (mut compile_us, mut scope_us, mut told) = (Vec::new(), Vec::new(), 0);
    for event in events {
        let start = Instant::now();
        let effect = compilation.apply([event]);
        compile_us.push(start.elapsed().as_secs_f64() * 1e6);
        let start = Instant::now();
        told += scopes.apply(&effect).len();
        scope_us.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let middle = |list: &mut Vec<f64>| {
        list.sort_by(f64::total_cmp);
        (list[list.len() / 2], list[list.len() * 99 / 100])
    };
    let (compile, scope) = (middle(&mut compile_us), middle(&mut scope_us));
    println!(
        "{workloads:>7} workloads: compiled in {compiled_s:.2} s, {} MB; scoped in {scoped_s:.2} s, {} MB in all; \
         a node knows {} identities and {} rules",
        compiled_bytes >> 20,
        all_bytes >> 20,
        one.identities.len(),
        one.rules.len()
    );
    println!(
        "        a pod event: compile {:.0} µs (p99 {:.0}), scopes {:.0} µs (p99 {:.0}); {:.1} nodes told",
        compile.0,
        compile.1,
        scope.0,
        scope.1,
        told as f64 / EVENTS as f64
    );
}

/// A workload of two pods, on two nodes; `turn` moves the second one.
fn workload(number: usize, turn: usize, nodes: usize) -> Arc<Located<Document>> {
    let address = |number: usize| {
        format!(
            "{}.{}.{}.{}",
            10 + (number >> 24),
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        )
    };
    let second = 0x0080_0000 + number + turn % 32 * 0x0002_0000;
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: w{number}, namespace: ns{}, labels: {{app: a{}, tier: t{}}}}}\n\
         spec: {{addresses: [{}, {}], nodes: [{}, {}], serviceAccount: default}}\n",
        number / SPACE,
        number % 20,
        number % 3,
        address(number),
        address(second),
        node_name(number % nodes),
        node_name((number * 31 + turn) % nodes)
    ))
}

/// One application of a namespace is reached by another, asks DNS, and one beyond the cluster.
fn allowlist(number: usize, spaces: usize) -> Arc<Located<Document>> {
    let space = number % spaces;
    let (app, peer) = (number / spaces % 20, (number + 1) % 20);
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: l{number}, namespace: ns{space}}}\n\
         spec:\n  target: {{matchLabels: {{app: a{app}}}}}\n  ingress:\n    - {{from: [{{matchLabels: {{app: a{peer}}}}}], applications: [http], ports: [80]}}\n\
         \x20 egress:\n    - {{to: [{{workload: ns0/w0}}], applications: [dns], ports: [53]}}\n\
         \x20   - {{to: [{{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {{cidr: 192.168.{}.0/24}}], applications: [postgresql]}}\n",
        number % 20
    ))
}

fn protected() -> Arc<Located<Document>> {
    read(
        "apiVersion: weir.dev/v1alpha1\nkind: ClusterAllowlist\nmetadata: {name: all}\nspec: {target: {matchLabels: {}}, stage: protect}\n",
    )
}

fn read(text: &str) -> Arc<Located<Document>> {
    let (documents, problems) = parse_documents("scale.yaml", text);
    assert!(problems.is_empty(), "{problems:?}");
    Arc::new(documents.into_iter().next().expect("one document"))
}

fn node_name(number: usize) -> String {
    format!("n{number}")
}

/// What the process has in memory, from the kernel; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
