//! Devices by their drivers: a capture replayed, frames out of nothing, a capture written; hot-plugging.

mod common;

use std::fs;
use std::path::Path;

use common::frame;
use weir_dpdk::{DeviceError, Pool, Port, PortConfig, cycles, cycles_per_second};

/// A capture file with these frames (pcap 2.4, microseconds, Ethernet).
fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [1, 0, length, length] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("capture written");
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("capture read");
    let mut rest = &bytes[24..];
    let mut frames = Vec::new();
    while rest.len() >= 16 {
        let length = u32::from_le_bytes([rest[8], rest[9], rest[10], rest[11]]) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

#[test]
fn devices_replay_discard_record_come_and_go() {
    let directory = tempfile::tempdir().expect("directory");
    let (replayed, recorded) = (
        directory.path().join("in.pcap"),
        directory.path().join("out.pcap"),
    );
    let frames: Vec<Vec<u8>> = (0..300).map(|n| frame(n, 60 + n * 4)).collect();
    write_capture(&replayed, &frames);
    let eal = common::start(vec![
        format!(
            "net_pcap0,rx_pcap={},tx_pcap={}",
            replayed.display(),
            recorded.display()
        ),
        "net_null0,size=64".to_owned(),
    ]);
    assert!(!eal.huge_pages_used());
    assert!(cycles_per_second() > 1_000_000);
    let before = cycles();
    let names: Vec<String> = eal.ports().into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["net_pcap0", "net_null0"]);
    let info = eal.ports().remove(1);
    assert_eq!(
        (info.driver.as_str(), info.device.as_str()),
        ("net_null", "net_null0")
    );

    let pool = Pool::new("frames", 2047, 64, 2048, None).expect("pool");
    replay(&eal, &pool, &frames);
    assert_eq!(read_capture(&recorded), frames);

    let null = eal.find_port("net_null0").expect("null device");
    let (port, report) = Port::start(null, &PortConfig::default(), &pool).expect("start");
    assert_eq!(report.driver, "net_null");
    let mut queue = port.rx_queue(0).expect("queue");
    let mut burst = Vec::new();
    assert_eq!(queue.receive(&mut burst, 32), 32);
    assert!(
        burst
            .iter()
            .all(|mbuf| mbuf.len() == 64 && mbuf.port() == null)
    );
    drop((port, queue, burst));
    assert_eq!(pool.available(), 2047);
    assert!(eal.ports().is_empty(), "dropped ports are detached");

    come_and_go(&eal);
    assert!(cycles() > before);
}

/// All frames through the replaying device, and out again to its recording side.
fn replay(eal: &weir_dpdk::Eal, pool: &Pool, frames: &[Vec<u8>]) {
    let id = eal.find_port("net_pcap0").expect("capture device");
    let (port, report) = Port::start(id, &PortConfig::default(), pool).expect("start");
    assert_eq!(report.id, id);
    let mut rx = port.rx_queue(0).expect("rx");
    let mut tx = port.tx_queue(0).expect("tx");
    let mut burst = Vec::new();
    let mut seen = 0;
    while rx.receive(&mut burst, 32) > 0 {
        for mbuf in &burst {
            assert_eq!(mbuf.bytes(), frames[seen]);
            seen += 1;
        }
        while !burst.is_empty() {
            tx.transmit(&mut burst);
        }
    }
    assert_eq!(seen, frames.len());
    assert_eq!(port.stats().received, frames.len() as u64);
}

fn come_and_go(eal: &weir_dpdk::Eal) {
    for _ in 0..3 {
        let added = eal.attach("net_null7,no-rx=1").expect("attached");
        assert_eq!(eal.find_port("net_null7"), added.first().copied());
        let again = eal.attach("net_null7,no-rx=1");
        assert!(
            matches!(again, Err(DeviceError::Refused { .. })),
            "{again:?}"
        );
        eal.detach(added[0]).expect("detached");
        assert!(matches!(
            eal.detach(added[0]),
            Err(DeviceError::NoPort { .. })
        ));
    }
    let unknown = eal
        .attach("net_nothing0")
        .expect_err("no such driver")
        .to_string();
    assert!(
        unknown.contains("net_nothing0") && unknown.contains("driver"),
        "{unknown}"
    );
    let absent = eal
        .attach("net_pcap9,rx_pcap=/nonexistent.pcap")
        .expect_err("no such file")
        .to_string();
    assert!(absent.contains("next:"), "{absent}");
}
