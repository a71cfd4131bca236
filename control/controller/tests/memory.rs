//! What nodes report takes no more memory than the records and counts that are kept, however much it is.

use weir_api::v1;
use weir_controller::conversation::Conversations;
use weir_controller::observe::Observed;
use weir_learn::Ageing;
use weir_policy::Snapshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More flows than are tracked, and than records are kept of.
const FLOWS: u64 = 150_000;
const BATCH: u64 = 1_000;
/// Records and counts of as many flows as are kept: 94 MB when this was written.
const KEPT_MAX_KB: u64 = 150 << 10;
/// What the allocator and the kernel round up to.
const NOISE_KB: u64 = 12 << 10;

fn record(number: u64) -> v1::FlowRecord {
    v1::FlowRecord {
        event: v1::FlowEvent::End.into(),
        flow_id: number,
        first_seen_unix_us: number,
        time_unix_us: number + 5,
        client_address: vec![10, 0, 0, 2],
        server_address: vec![10, 0, 0, 3],
        client_port: (number % 60_000) as u32,
        server_port: 3306,
        protocol: 6,
        application: "mysql".into(),
        confidence: "content".into(),
        community_id: format!("1:{number:027}="),
        packets_to_client: 5,
        bytes_to_server: 500,
        rule_action: v1::Action::Allow.into(),
        wire_action: v1::WireAction::Forward.into(),
        decider: "allowlist shop/photo-db ingress[0]".into(),
        ..Default::default()
    }
}

fn report(observed: &Observed, snapshot: &Snapshot, from: u64) {
    for first in (from..from + FLOWS).step_by(BATCH as usize) {
        let batch = v1::ObservationBatch {
            node: "node-1".into(),
            flows: (first..first + BATCH).map(record).collect(),
            ..Default::default()
        };
        observed.merge(batch, snapshot, snapshot);
    }
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().nth(1));
    words.unwrap().parse().unwrap()
}

#[test]
fn reports_without_end_take_no_more_memory_than_is_kept_of_them() {
    let observed = Observed::new(Conversations::default(), Ageing::default());
    let snapshot = Snapshot::build(Default::default()).unwrap();
    let begun_kb = resident_kb();
    report(&observed, &snapshot, 0);
    let full_kb = resident_kb();
    report(&observed, &snapshot, FLOWS);
    report(&observed, &snapshot, 2 * FLOWS);
    let after_kb = resident_kb();
    println!(
        "{begun_kb} kB, {full_kb} kB with all that is kept, {after_kb} kB after three times as much"
    );
    assert!(full_kb - begun_kb < KEPT_MAX_KB, "{begun_kb} {full_kb}");
    assert!(after_kb < full_kb + NOISE_KB, "{full_kb} {after_kb}");
}
