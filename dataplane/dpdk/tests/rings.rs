//! Frames through ports made of rings: what goes in comes out, and every buffer comes back.

mod common;

use std::sync::OnceLock;
use std::thread;

use common::frame;
use weir_dpdk::rings::{self, RingPort};
use weir_dpdk::{
    ChecksumState, Eal, Mbuf, Pool, Port, PortConfig, PortError, RxQueue, TxQueue, free_bulk,
    register_thread,
};

const MBUFS: u32 = 1023;

fn eal() -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| common::start(Vec::new()))
}

struct Bench {
    pool: Pool,
    far: RingPort,
    port: Port,
    rx: RxQueue,
    tx: TxQueue,
}

fn bench(name: &str, capacity: u32, data_room_bytes: u16) -> Bench {
    eal();
    let pool = Pool::new(name, MBUFS, 64, data_room_bytes, None).expect("pool");
    let far = RingPort::new(name, 1, capacity).expect("rings");
    let (port, _) = Port::start(far.id(), &PortConfig::default(), &pool).expect("start");
    let rx = port.rx_queue(0).expect("receive queue");
    let tx = port.tx_queue(0).expect("transmit queue");
    Bench {
        pool,
        far,
        port,
        rx,
        tx,
    }
}

#[test]
fn frames_pass_bit_identical_and_no_buffer_is_lost() {
    let Bench {
        pool,
        far,
        port,
        mut rx,
        mut tx,
    } = bench("pass", 256, 2048);
    register_thread().expect("registered");
    register_thread().expect("twice is once");
    let mut burst = Vec::with_capacity(32);
    for round in 0..200 {
        let sent: Vec<Vec<u8>> = (0..20)
            .map(|n| frame(round * 20 + n, 60 + n * 70))
            .collect();
        for bytes in &sent {
            assert!(far.inject_bytes(0, &pool, bytes));
        }
        assert_eq!(rx.receive(&mut burst, 32), 20);
        assert_eq!(burst.capacity(), 32, "no allocation beyond the first");
        for (mbuf, bytes) in burst.iter().zip(&sent) {
            mbuf.prefetch();
            assert_eq!(mbuf.bytes(), bytes);
            assert_eq!(mbuf.rss_hash(), None);
            assert_eq!(mbuf.checksum_status().l4, ChecksumState::Unknown);
        }
        assert_eq!(tx.transmit(&mut burst), 20);
        assert!(burst.is_empty());
        for bytes in &sent {
            assert_eq!(far.take(0).expect("transmitted").bytes(), bytes);
        }
        assert!(far.take(0).is_none());
    }
    assert_eq!(port.stats().received, 4000);
    assert_eq!(port.stats().transmitted, 4000);
    assert!(port.link().up);
    assert_eq!(pool.available(), MBUFS);
}

#[test]
fn a_full_device_leaves_the_rest_in_order() {
    let Bench {
        pool, far, mut tx, ..
    } = bench("full", 8, 2048);
    let mut burst = Vec::new();
    assert!(pool.allocate_bulk(&mut burst, 20));
    for (number, mbuf) in burst.iter_mut().enumerate() {
        assert!(mbuf.copy_from(&frame(number, 64)));
    }
    assert_eq!(tx.transmit(&mut burst), 8);
    assert_eq!(tx.transmit(&mut burst), 0);
    assert_eq!(burst.len(), 12);
    for number in 0..3 {
        assert_eq!(far.take(0).expect("first").bytes(), frame(number, 64));
    }
    assert_eq!(tx.transmit(&mut burst), 3);
    assert_eq!(burst.first().expect("rest").bytes(), frame(11, 64));
    for number in 3..11 {
        assert_eq!(far.take(0).expect("next").bytes(), frame(number, 64));
    }
    free_bulk(&mut burst);
    free_bulk(&mut burst);
    assert_eq!(pool.available(), MBUFS);
}

#[test]
fn a_pool_gives_all_it_has_and_no_more() {
    eal();
    let pool = Pool::new("bounded", 63, 16, 256, None).expect("pool");
    let mut all = Vec::new();
    assert!(!pool.allocate_bulk(&mut all, 64), "all or none");
    assert!(all.is_empty());
    while let Some(mbuf) = pool.allocate() {
        all.push(mbuf);
    }
    assert_eq!((all.len(), pool.available(), pool.capacity()), (63, 0, 63));
    let mbuf = all.first_mut().expect("buffer");
    assert_eq!(mbuf.room_bytes(), 256);
    assert!(mbuf.is_empty());
    assert!(mbuf.copy_from(&[7; 256]));
    assert!(!mbuf.copy_from(&[8; 257]));
    assert!(!mbuf.set_len(70_000));
    assert_eq!(mbuf.bytes(), [7; 256]);
    assert!(mbuf.set_len(3));
    mbuf.bytes_mut().reverse();
    assert_eq!(mbuf.len(), 3);
    // The pool goes first: its memory has to stay while a buffer is out.
    drop(pool);
    assert_eq!(all.first().expect("buffer").bytes(), [7; 3]);
    free_bulk(&mut all);
}

#[test]
fn tags_that_a_device_took_off_are_put_back() {
    let Bench {
        pool, far, mut rx, ..
    } = bench("tags", 64, 2048);
    let mut single = frame(1, 80);
    single.splice(12..16, [0x81, 0x00, 0xa0, 0x2a]);
    let mut double = frame(2, 90);
    double.splice(12..20, [0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x20, 0x09]);
    let untagged = frame(3, 70);
    for (bytes, tags, stripped) in [
        (&single, true, 76),
        (&double, true, 82),
        (&untagged, false, 70),
    ] {
        let mut mbuf = pool.allocate().expect("buffer");
        assert!(mbuf.copy_from(bytes));
        assert_eq!(rings::strip_tags(&mut mbuf), tags);
        assert_eq!(mbuf.len(), stripped);
        assert!(far.inject(0, mbuf).is_ok());
    }
    let mut burst = Vec::new();
    assert_eq!(rx.receive(&mut burst, 32), 3);
    let received: Vec<&[u8]> = burst.iter().map(Mbuf::bytes).collect();
    assert_eq!(received, [&single[..], &double[..], &untagged[..]]);
    assert_eq!(rx.counters().tags_restored, 3);
    assert_eq!(rx.counters().refused(), 0);
    free_bulk(&mut burst);
    assert_eq!(pool.available(), MBUFS);
}

#[test]
fn scattered_frames_are_put_together_or_refused_and_counted() {
    let Bench {
        pool, far, mut rx, ..
    } = bench("scattered", 64, 512);
    let scatter = |pieces: &[&[u8]]| -> Vec<Mbuf> {
        pieces
            .iter()
            .map(|piece| {
                let mut mbuf = pool.allocate().expect("buffer");
                assert!(mbuf.copy_from(piece));
                mbuf
            })
            .collect()
    };
    let whole = frame(5, 500);
    assert!(far.inject_segments(
        0,
        scatter(&[&whole[..100], &whole[100..101], &whole[101..]])
    ));
    assert!(far.inject_segments(0, scatter(&[&whole, &whole])));
    assert!(far.inject_bytes(0, &pool, &whole));
    assert!(!far.inject_segments(0, Vec::new()));
    assert!(
        !far.inject_segments(1, scatter(&[&whole])),
        "there is no queue 1"
    );
    let mut burst = Vec::new();
    assert_eq!(rx.receive(&mut burst, 32), 2);
    assert!(burst.iter().all(|mbuf| mbuf.bytes() == whole));
    let counters = rx.counters();
    assert_eq!(
        (
            counters.linearised,
            counters.refused_long,
            counters.refused()
        ),
        (1, 1, 1)
    );
    drop(burst);
    assert_eq!(pool.available(), MBUFS);
}

#[test]
fn settings_that_are_refused_are_reported() {
    eal();
    let pool = Pool::new("report", MBUFS, 0, 2048, None).expect("pool");
    let far = RingPort::new("report", 2, 64).expect("rings");
    let config = PortConfig {
        rx_queues: 9,
        tx_queues: 9,
        mtu: 9000,
        ..PortConfig::default()
    };
    let (port, report) = Port::start(far.id(), &config, &pool).expect("start");
    assert_eq!((report.rx_queues.given, report.tx_queues.given), (2, 2));
    assert_eq!((port.rx_queues(), port.tx_queues()), (2, 2));
    assert!(!report.symmetric_rss.given, "rings do not hash");
    assert_eq!(report.mtu.given, 2048 - 26);
    let text = report.deviations().join("\n");
    for part in [
        "receive queues 2 instead of 9",
        "MTU 2022 instead of 9000",
        "symmetric RSS off",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(matches!(
        Port::start(far.id(), &config, &pool),
        Err(PortError::InUse { .. })
    ));
    assert!(matches!(
        Port::start(31, &config, &pool),
        Err(PortError::NoPort { port: 31 })
    ));
    assert!(eal().detach(port.id()).is_err(), "in use");
}

#[test]
fn a_queue_has_one_owner_and_the_device_ends_with_the_last() {
    let Bench {
        pool,
        far,
        port,
        mut rx,
        tx,
    } = bench("owner", 64, 2048);
    assert!(port.rx_queue(0).is_none(), "taken");
    assert!(port.rx_queue(1).is_none(), "not there");
    drop(tx);
    let mut tx = port.tx_queue(0).expect("given back");
    let id = port.id();
    port.stop();
    for number in 0..10 {
        assert!(far.inject_bytes(0, &pool, &frame(number, 64)));
    }
    let worker = thread::spawn(move || {
        let mut burst = Vec::new();
        let received = rx.receive(&mut burst, 32);
        (received, burst.len())
    });
    assert_eq!(worker.join().expect("worker"), (0, 0));
    let named = |name: &str| {
        eal()
            .ports()
            .iter()
            .any(|port| port.id == id && port.name == name)
    };
    assert!(named("net_ring_owner"), "a queue is left");
    let mut burst = vec![pool.allocate().expect("buffer")];
    assert_eq!(tx.transmit(&mut burst), 0);
    drop(tx);
    assert!(!named("net_ring_owner"));
    burst.clear();
    drop(far);
    assert_eq!(
        pool.available(),
        MBUFS,
        "what waited in the rings came back"
    );
    let again = RingPort::new("owner", 1, 8).expect("the name is free again");
    assert!(eal().find_port("net_ring_owner").is_some());
    drop(again);
    assert!(
        eal().find_port("net_ring_owner").is_none(),
        "also when it was never started"
    );
}

#[test]
fn queues_work_from_several_threads_at_once() {
    eal();
    let pool = Pool::new("threads", MBUFS, 32, 2048, None).expect("pool");
    let far = RingPort::new("threads", 2, 512).expect("rings");
    let config = PortConfig {
        rx_queues: 2,
        tx_queues: 2,
        ..PortConfig::default()
    };
    let (port, _) = Port::start(far.id(), &config, &pool).expect("start");
    thread::scope(|scope| {
        for queue in 0..2 {
            let (mut rx, mut tx) = (
                port.rx_queue(queue).expect("rx"),
                port.tx_queue(queue).expect("tx"),
            );
            scope.spawn(move || {
                register_thread().expect("registered");
                let mut burst = Vec::with_capacity(32);
                let mut passed = 0;
                while passed < 2000 {
                    rx.receive(&mut burst, 32);
                    passed += tx.transmit(&mut burst);
                    thread::yield_now();
                }
            });
        }
        for queue in 0..2 {
            let (far, pool) = (&far, &pool);
            scope.spawn(move || {
                let (mut sent, mut seen) = (0, 0);
                while seen < 2000 {
                    if sent < 2000
                        && sent - seen < 200
                        && far.inject_bytes(queue, pool, &frame(sent, 64))
                    {
                        sent += 1;
                    }
                    while let Some(mbuf) = far.take(queue) {
                        assert_eq!(mbuf.bytes(), frame(seen, 64));
                        seen += 1;
                    }
                    thread::yield_now();
                }
            });
        }
    });
    drop(port);
    assert_eq!(pool.available(), MBUFS);
}

#[test]
fn impossible_pools_are_refused_with_what_to_do() {
    eal();
    let message = |result: Result<Pool, weir_dpdk::PoolError>| {
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert!(message(Pool::new("none", 0, 0, 2048, None)).contains("at least one"));
    assert!(message(Pool::new("wide", 16, 0, u16::MAX, None)).contains("65,535"));
    let large = message(Pool::new("large", 1_000_000, 0, 9000, None));
    assert!(large.contains("large") && large.contains("-m"), "{large}");
    assert!(
        message(Pool::new(
            "a name that is far too long for DPDK",
            15,
            0,
            64,
            None
        ))
        .contains("name")
    );
}
